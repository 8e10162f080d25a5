import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ChatFleet } from "./chat_fleet.ts";
import type { ChatNode } from "./chat_node.ts";
import { Load } from "./load.ts";
import { SmallDisk, smallDiskMissing } from "./small_disk.ts";

const DISK_BYTES = 64_000_000;

/** What is left on the disk before it is full: little, and any file may meet the end. */
const LEFT_BYTES = 200_000 + Math.floor(Math.random() * 300_000);

/** A load that soon fills disks and segments. */
const BIG = { textBytes: 8_000 };

/** A view that is so old is not one of a row of them. */
const SETTLED_MS = 1_000;

const reason = smallDiskMissing();

for (const name of ["c", "a"]) {
  const what = `chat disk: ${
    name === "c" ? "the primary's" : "a member's"
  } disk is full; it ends and the others go on`;
  Deno.test({
    name: reason === undefined ? what : `${what} (skipped: ${reason})`,
    ignore: reason !== undefined,
    fn: async () => {
      using disk = new SmallDisk(DISK_BYTES);
      const data = `${disk.path}/data`;
      await using fleet = new ChatFleet({ nodes: { [name]: { data } } });
      const node = fleet.node(name);
      await fleet.startReady();
      await using load = await Load.start(fleet, BIG);
      node.expectEnd();
      disk.fill(LEFT_BYTES);
      const { code } = await node.process.ended();
      assertEquals(code, 1, node.describe());
      const text = node.errors().join("\n");
      assertStringIncludes(text, data, "the file is named");
      assert(/no space|full/i.test(text), text);
      await load.more();
      // It does not come back as long as there is no room, and says why.
      const { exit } = await node.refusal();
      assertEquals(exit.code, 1, node.describe());
      disk.clear();
      await node.start();
      await fleet.complete();
      await load.more();
      await load.verify();
    },
  });
}

/** The log's segments, the first one first. */
function segments(node: ChatNode): string[] {
  return [...Deno.readDirSync(node.place.data)]
    .map(({ name }) => name).filter((name) => /^log-\d+\.log$/.test(name))
    .sort().map((name) => `${node.place.data}/${name}`);
}

/** Turns one bit of a file round, in the middle of what is written there. */
function damage(path: string): void {
  using file = Deno.openSync(path, { read: true, write: true });
  const bytes = Deno.readFileSync(path);
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
  const at = Math.floor(end / 2);
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(Uint8Array.of(bytes[at] ^ 1));
}

for (const name of ["c", "a"]) {
  Deno.test(`chat disk: a damaged byte in the log of ${name}, which repairs itself`, async () => {
    await using fleet = new ChatFleet();
    const node = fleet.node(name);
    await fleet.startReady();
    await using load = await Load.start(fleet, BIG);
    await load.more(100);
    await node.kill();
    const [first] = segments(node);
    damage(first);
    await load.more();
    await node.start();
    assert(/damaged/.test(node.errors().join()), node.describe());
    await fleet.complete();
    await load.more();
    await load.verify();
  });
}

Deno.test("chat disk: a byte that rots while a server runs is found and mended", async () => {
  const node = { flags: ["--segment", "1MiB", "--scrub", "1MiB"] };
  await using fleet = new ChatFleet({ nodes: { a: node, b: node, c: node } });
  const [a, , c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet, BIG);
  // The first one is full for certain, and is looked after; at four a snapshot
  // would take its place.
  await fleet.until(
    "there are some segments",
    () => [a, c].every((one) => segments(one).length === 3),
  );
  await load.stop();
  const bad = new Map<ChatNode, string>();
  for (const rotten of [a, c]) {
    const [first] = segments(rotten);
    damage(first);
    bad.set(rotten, first);
  }
  for (const rotten of [a, c]) {
    await fleet.until(
      `the log of ${rotten.name} is mended, or a snapshot stands for it`,
      () =>
        !segments(rotten).includes(bad.get(rotten) ?? "") ||
        rotten.process.lines.some((line) => line.includes('"Mended the log')),
    );
    await rotten.kill();
    await rotten.start();
    assertEquals(rotten.errors(), [], "nothing is wrong any more");
    await fleet.complete();
  }
  await load.verify();
});

Deno.test("chat disk: after a full stop a member with a damaged log is not believed", async () => {
  await using fleet = new ChatFleet();
  const [a, b, c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet, BIG);
  await load.more(100);
  await Promise.all(fleet.nodes.map((node) => node.kill()));
  damage(segments(c)[0]);
  // All but a good server: nothing can be served from what C has left.
  await fleet.start([c, ...fleet.witnesses]);
  await fleet.until("C says whom it waits for", async () => {
    const status = await c.status();
    assert(status?.isWritable !== true);
    const text = status?.waitsFor.join() ?? "";
    return /\ba\b/.test(text) && /\bb\b/.test(text);
  });
  await fleet.start([a, b]);
  await fleet.complete();
  await load.more();
  await load.verify();
});

Deno.test("chat disk: a server that lost everything comes back as a new one", async () => {
  await using fleet = new ChatFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet);
  for (const node of [...fleet.servers, fleet.witnesses[0]]) {
    const before = (await node.status())?.store;
    await node.kill();
    Deno.removeSync(node.place.data, { recursive: true });
    await load.more(10);
    await node.start();
    await node.ready();
    const after = (await node.status())?.store;
    assert(before !== after && after !== undefined, `${before}, ${after}`);
  }
  await fleet.complete();
  await fleet.complete(SETTLED_MS);
  // The new ones vote in the place of the old ones: any two may die again.
  await Promise.all([fleet.node("c").kill(), fleet.node("w2").kill()]);
  await load.more();
  await fleet.start([fleet.node("c"), fleet.node("w2")]);
  await load.verify();
});

Deno.test("chat disk: a state that is gone is made anew from the log", async () => {
  await using fleet = new ChatFleet();
  const [a, , c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet);
  for (const node of [a, c]) {
    await node.kill();
    for (const { name } of Deno.readDirSync(node.place.data)) {
      if (!name.startsWith("state.db")) continue;
      Deno.removeSync(`${node.place.data}/${name}`);
    }
    await node.start();
    await node.ready();
  }
  await load.more();
  await load.verify();
});
