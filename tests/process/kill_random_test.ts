import { assertEquals, assertLessOrEqual } from "@std/assert";
import { Random } from "../sim/random.ts";
import type { ChainNode } from "./chain_node.ts";
import { ChainFleet, type FourNodes } from "./chain_fleet.ts";
import { numberedText } from "./numbered_text.ts";
import { assertSameText } from "./same_text.ts";

const ROUNDS = 7;
const ROUND_BYTES = 1_500_000;

/** Kills without end wait for nothing longer than this. */
const TROUBLE_MS_MAX = 400;

/** SKEIN_SEED repeats the choices of a run, though not its timing. */
const seed = Number(
  Deno.env.get("SKEIN_SEED") ?? Math.floor(Math.random() * 1e6),
);

const FLAGS: Readonly<
  Record<string, (fleet: ChainFleet, name: string) => string[]>
> = {
  "only the tail has a spool": (fleet, name) =>
    name === "tail" ? ["--spool", fleet.path("spool-tail")] : [],
  "every node has a spool": (
    fleet,
    name,
  ) => ["--spool", fleet.path(`spool-${name}`)],
};

for (const [what, flags] of Object.entries(FLAGS)) {
  Deno.test(`kill: any node, over and over, during one transfer, where ${what}`, async () => {
    await using fleet = new ChainFleet();
    const nodes = fleet.fourNodes({
      head: flags(fleet, "head"),
      second: flags(fleet, "second"),
      third: flags(fleet, "third"),
      tail: [...flags(fleet, "tail"), "--output", fleet.path("output")],
    });
    await fleet.startReady();
    const text = numberedText({ bytesMin: ROUNDS * ROUND_BYTES, seed });
    const send = fleet.send({ to: ["head"], input: "piped" });
    const random = new Random(seed);
    for (let round = 0; round < ROUNDS; round += 1) {
      const feeding = send.feed(
        text.bytes.subarray(round * ROUND_BYTES, (round + 1) * ROUND_BYTES),
      );
      await trouble(nodes, { fleet, random });
      await feeding;
    }
    await send.feed(text.bytes.subarray(ROUNDS * ROUND_BYTES));
    await send.endInput();
    const { code, sent, delivered } = await send.outcome();
    assertEquals(
      [code, sent, delivered],
      [0, text.lineCount, text.lineCount],
      `SKEIN_SEED=${seed}\n${fleet.describe()}`,
    );
    assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
  });
}

/** Kills one to three nodes, at moments of its own choice, and restarts them. */
async function trouble(
  nodes: FourNodes,
  by: { readonly fleet: ChainFleet; readonly random: Random },
): Promise<void> {
  const { fleet, random } = by;
  const left: ChainNode[] = Object.values(nodes);
  const victims: ChainNode[] = [];
  const count = 1 + random.int(3);
  for (let at = 0; at < count; at += 1) {
    const [victim] = left.splice(random.int(left.length), 1);
    await progressOf(fleet, random.int(ROUND_BYTES));
    await victim.kill();
    victims.push(victim);
  }
  assertLessOrEqual(victims.length, 3);
  while (victims.length > 0) {
    const [victim] = victims.splice(random.int(victims.length), 1);
    await victim.start();
  }
}

/** Resolves when so many more bytes have arrived; soon, when nothing moves. */
async function progressOf(fleet: ChainFleet, bytes: number): Promise<void> {
  const goal = fleet.fileSize("output") + bytes;
  const deadlineMs = performance.now() + TROUBLE_MS_MAX;
  await fleet.until(
    "some progress, or its time is over",
    () => fleet.fileSize("output") >= goal || performance.now() > deadlineMs,
  );
}
