import { assertGreater } from "@std/assert";
import { Random } from "../../sim/random.ts";
import { ChatFleet } from "./chat_fleet.ts";
import type { ChatNode } from "./chat_node.ts";
import { Load } from "./load.ts";

/** SKEIN_SEED repeats the choices of a run, though not its timing. */
const seed = Number(
  Deno.env.get("SKEIN_SEED") ?? Math.floor(Math.random() * 1e6),
);

/** The smallest segments there are, so that snapshots come all the time. */
const SMALL_SEGMENTS = ["--segment", "64KiB"];

/** Some 20 messages fill a segment. */
const BIG = { textBytes: 4_000 };

const KILLS = 5;

/** A view that is so old is not one of a row of them. */
const SETTLED_MS = 1_000;

/** Fleets whose servers take snapshots often. */
function compactingFleet(): ChatFleet {
  const node = { flags: SMALL_SEGMENTS };
  return new ChatFleet({ nodes: { a: node, b: node, c: node } });
}

function files(node: ChatNode, pattern: RegExp): string[] {
  return [...Deno.readDirSync(node.place.data)].map(({ name }) => name)
    .filter((name) => pattern.test(name)).sort();
}

function snapshotCount(node: ChatNode): number {
  return node.process.lines
    .filter((line) => line.includes('"Took a snapshot"')).length;
}

/** The first number in the name of its first segment: it grows by compaction. */
function firstSegment(node: ChatNode): string {
  return files(node, /^log-\d+\.log$/)[0];
}

Deno.test("chat compaction: a server is killed in the middle of it, over and over", async () => {
  await using fleet = compactingFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet, { ...BIG, seed });
  const random = new Random(seed);
  for (let kill = 0; kill < KILLS; kill += 1) {
    const node = random.pick(fleet.servers);
    const before = firstSegment(node);
    const count = snapshotCount(node);
    // Somewhere between the first byte of a snapshot and the last segment removed.
    const at = random.int(3);
    await fleet.until("a snapshot is being taken", () => {
      if (at === 0) return files(node, /\.snap\.new$/).length > 0;
      if (at === 1) return snapshotCount(node) > count;
      return firstSegment(node) !== before;
    });
    await node.kill();
    await load.more(5);
    await node.start();
    await node.ready();
  }
  await load.verify();
});

Deno.test("chat compaction: a server that is too far behind gets a snapshot, whoever is killed meanwhile", async () => {
  await using fleet = compactingFleet();
  const [a, b, c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet, BIG);
  const last = firstSegment(a);
  await a.kill();
  // What A lacks is not in the log of the others any more.
  await fleet.until(
    "the log is compacted",
    () =>
      [b, c].every((node) =>
        firstSegment(node) > last && snapshotCount(node) > 2
      ),
  );
  await load.more();
  for (const victim of [a, c]) {
    const starting = a.start();
    await fleet.until(
      "A gets a snapshot",
      () => a.process.lines.some((line) => line.includes("Getting a snapshot")),
    );
    await starting;
    await victim.kill();
    await load.more();
    if (victim !== a) await victim.start();
  }
  await fleet.complete();
  assertGreater(
    a.process.lines.filter((line) => line.includes('"Installed a snapshot"'))
      .length,
    0,
    a.describe(),
  );
  await load.verify();
});

Deno.test("chat compaction: a server without data gets all of it by a snapshot, and may lead then", async () => {
  await using fleet = compactingFleet();
  const [a, b, c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet, BIG);
  await fleet.until(
    "snapshots are taken",
    () => fleet.servers.every((node) => snapshotCount(node) > 0),
  );
  await c.kill();
  Deno.removeSync(c.place.data, { recursive: true });
  await load.more();
  await c.start();
  await c.ready();
  await fleet.complete(SETTLED_MS);
  await Promise.all([a.kill(), b.kill()]);
  await load.more();
  await fleet.start([a, b]);
  await load.verify();
});
