import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { ChainFleet, type FourNodes } from "./chain_fleet.ts";
import { type NumberedText, numberedText } from "./numbered_text.ts";
import { assertSameText } from "./same_text.ts";
import type { SendProcess } from "./send_process.ts";

const TEXT_BYTES = 32_000_000;
/** What has arrived when a node is killed; far from the end on any machine. */
const KILL_AT_BYTES = [1_000_000, 8_000_000];

const text: NumberedText = numberedText({ bytesMin: TEXT_BYTES, seed: 4 });

/** What a transfer must have come to, whatever was killed. */
async function assertAllArrived(
  fleet: ChainFleet,
  send: SendProcess,
): Promise<{ resent: number }> {
  const { seconds: _, resent, ...counts } = await send.outcome();
  assertEquals(counts, {
    code: 0,
    sent: text.lineCount,
    delivered: text.lineCount,
    leftOut: 0,
  }, fleet.describe());
  assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
  return { resent };
}

const VICTIMS: readonly {
  readonly what: string;
  readonly names: readonly (keyof FourNodes)[];
  readonly flags?: readonly string[];
}[] = [
  { what: "the head is", names: ["head"] },
  { what: "a middle node is", names: ["second"] },
  { what: "both middle nodes are", names: ["second", "third"] },
  { what: "the tail with --spool is", names: ["tail"] },
];

for (const { what, names } of VICTIMS) {
  Deno.test(`kill: a file goes through unharmed while ${what} twice killed and restarted`, async () => {
    await using fleet = new ChainFleet();
    const output = ["--output", fleet.path("output")];
    const spool = names.includes("tail")
      ? ["--spool", fleet.path("spool")]
      : [];
    const nodes = fleet.fourNodes({ tail: [...output, ...spool] });
    await fleet.startReady();
    const file = fleet.file("input", text.bytes);
    const send = fleet.send({ to: ["head"], flags: ["--file", file] });
    for (const bytes of KILL_AT_BYTES) {
      await fleet.grown("output", bytes);
      await Promise.all(names.map((name) => nodes[name].kill()));
      assertLess(
        fleet.fileSize("output"),
        text.bytes.length,
        "it was killed in the middle of the transfer",
      );
      await fleet.start(names.map((name) => nodes[name]));
    }
    const { resent } = await assertAllArrived(fleet, send);
    if (names.includes("head")) {
      assertGreater(resent, 0, "what the head had was sent again");
      assertLess(resent, text.lineCount);
    } else assertEquals(resent, 0, "the nodes before it sent it again");
  });
}

Deno.test("kill: the head dies with what it has, the sender sends that again", async () => {
  await using fleet = new ChainFleet();
  const { head, second } = fleet.fourNodes({
    tail: ["--output", fleet.path("output")],
  });
  await fleet.startReady();
  await second.freeze();
  const send = fleet.send({ to: ["head"], input: "piped" });
  const half = text.bytes.subarray(0, text.bytes.lastIndexOf(10, 4e6) + 1);
  const halfCount = half.reduce((sum, byte) => byte === 10 ? sum + 1 : sum, 0);
  await send.feed(half);
  await fleet.until(
    "the head has the first part",
    async () =>
      (await head.metric("skein_chain_messages_received_total")) === halfCount,
  );
  await head.kill();
  assertEquals(fleet.fileSize("output"), 0);
  second.thaw();
  await head.start();
  await send.feed(text.bytes.subarray(half.length));
  await send.endInput();
  const { resent } = await assertAllArrived(fleet, send);
  assertEquals(resent, halfCount);
});

Deno.test("kill: what the tail has and nobody was told of is not delivered twice", async () => {
  await using fleet = new ChainFleet();
  const nodes = fleet.fourNodes({
    tail: ["--output", fleet.path("output"), "--spool", fleet.path("spool")],
  });
  await fleet.startReady();
  const file = fleet.file("input", text.bytes);
  const send = fleet.send({ to: ["head"], flags: ["--file", file] });
  await fleet.grown("output", KILL_AT_BYTES[0]);
  await nodes.head.freeze();
  for (const node of [nodes.second, nodes.third]) {
    await fleet.until(
      `all that ${node.name} has is delivered`,
      async () => (await node.metric("skein_chain_queued_bytes")) === 0,
    );
  }
  // With the head dies the only one who could have passed it on to the sender.
  const all = Object.values(nodes);
  await Promise.all(all.map((node) => node.kill()));
  assertLess(fleet.fileSize("output"), text.bytes.length);
  await fleet.start(all);
  const { resent } = await assertAllArrived(fleet, send);
  assertGreater(resent, 0);
});

Deno.test("kill: a tail without a spool may repeat, and loses nothing", async () => {
  await using fleet = new ChainFleet();
  const { tail } = fleet.fourNodes({
    tail: ["--output", fleet.path("output")],
  });
  await fleet.startReady();
  const file = fleet.file("input", text.bytes);
  const send = fleet.send({ to: ["head"], flags: ["--file", file] });
  await fleet.grown("output", KILL_AT_BYTES[0]);
  await tail.restart();
  assertEquals((await send.outcome()).code, 0, fleet.describe());
  // All lines in order, once a repetition of some whole lines is cut out.
  const output = Deno.readFileSync(fleet.path("output"));
  const surplus = output.length - text.bytes.length;
  assert(surplus >= 0, `${-surplus} bytes are missing`);
  const same = commonLength(output, text.bytes);
  const cut = new Uint8Array(text.bytes.length);
  cut.set(output.subarray(0, same));
  cut.set(output.subarray(same + surplus), same);
  assertSameText(cut, text.bytes);
});

function commonLength(left: Uint8Array, right: Uint8Array): number {
  const length = Math.min(left.length, right.length);
  let at = 0;
  while (at < length && left[at] === right[at]) at += 1;
  return at;
}
