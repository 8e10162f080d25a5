import { assert, assertLess } from "@std/assert";
import { Bystander } from "./bystander.ts";
import { LinesClient } from "./lines_client.ts";

const MIB = 1024 * 1024;
const RESIDENT_BYTES_MAX = 200 * MIB;
const LINE = "a line of one who asks and never listens\n";
const LINES_A_WRITE = 5_000;

/** More answers than any system keeps for one who does not read them. */
const FLOOD_LINES = 1_500_000;

Deno.test("answers: a client that floods and never reads is cut off, the others are not", async () => {
  await using chain = await Bystander.start(4);
  const { fleet, head } = chain;
  await using client = await LinesClient.connect(fleet, {
    to: "head",
    reads: false,
  });
  const flood = LINE.repeat(LINES_A_WRITE);
  let writtenLines = 0;
  let wasCutOff = false;
  const flooding = (async () => {
    try {
      while (writtenLines < FLOOD_LINES) {
        await client.write(flood);
        writtenLines += LINES_A_WRITE;
      }
    } catch (error) {
      assert(error instanceof Error);
      wasCutOff = true;
    }
  })();
  await using _flooding = {
    async [Symbol.asyncDispose]() {
      await flooding;
    },
  };
  for (let part = 0; part < 3; part += 1) await chain.feed();
  await fleet.until("its answers pile up", () => writtenLines > 500_000);
  assertLess(head.process.residentBytes(), RESIDENT_BYTES_MAX);
  await head.process.line(/Closing .*: Answers were not read for 30000 ms/);
  await fleet.until(
    "the head has forgotten it",
    async () => (await head.metric("skein_chain_connections")) === 1,
  );
  assertLess(head.process.residentBytes(), RESIDENT_BYTES_MAX);
  await flooding;
  assert(wasCutOff || writtenLines >= FLOOD_LINES);
  await chain.assertUnharmed([], [LINE.trimEnd()]);
});
