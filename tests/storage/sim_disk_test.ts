/** That the simulated disk has the faults it is there for, and no others. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Random } from "../sim/random.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { readAll, simDisk } from "./record_fixture.ts";

const PAGE_BYTES = 4096;

Deno.test("simulated disk: what was synced survives a crash", async () => {
  for (let seed = 0; seed < 200; seed++) {
    const disk = simDisk(seed);
    const file = disk.create("/data/file");
    const bytes = new Random(seed).bytes(1 + 100 * seed);
    file.write(bytes, 0);
    await file.sync();
    await disk.syncDirectory("/data");
    file.write(new Uint8Array(10_000), bytes.length);
    disk.crash();
    assertEquals(readAll(disk, "/data/file").subarray(0, bytes.length), bytes);
  }
});

Deno.test("simulated disk: what was not is kept, lost, cut short, torn and out of order", async () => {
  const seen = new Set<string>();
  const pages = 8;
  for (let seed = 0; seed < 300; seed++) {
    const disk = simDisk(seed);
    const file = disk.create("/data/file");
    await disk.syncDirectory("/data");
    for (let page = 0; page < pages; page++) {
      const bytes = new Uint8Array(PAGE_BYTES).fill(1 + page);
      file.write(bytes, page * PAGE_BYTES);
    }
    disk.crash();
    const bytes = readAll(disk, "/data/file");
    const states: string[] = [];
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
      const page = bytes.subarray(at, at + PAGE_BYTES);
      const kept = page.filter((byte) => byte === 1 + at / PAGE_BYTES).length;
      const lost = page.filter((byte) => byte === 0).length;
      assertEquals(kept + lost, page.length, "Bytes that nobody wrote");
      states.push(kept === 0 ? "lost" : lost === 0 ? "kept" : "torn");
    }
    if (bytes.length === 0) seen.add("all lost");
    if (bytes.length % PAGE_BYTES > 0) seen.add("cut short");
    if (states.join().includes("lost,kept")) seen.add("out of order");
    if (states.includes("torn")) seen.add("torn");
    if (states.filter((state) => state === "kept").length === pages) {
      seen.add("all kept");
    }
  }
  assertEquals(
    [...seen].sort(),
    ["all kept", "all lost", "cut short", "out of order", "torn"],
  );
});

Deno.test("simulated disk: a cut that was not synced may be undone", async () => {
  const sizes = new Set<number>();
  for (let seed = 0; seed < 50; seed++) {
    const disk = simDisk(seed);
    const file = disk.create("/data/file");
    file.write(new Uint8Array(100).fill(1), 0);
    await file.sync();
    await disk.syncDirectory("/data");
    file.truncate(40);
    disk.crash();
    sizes.add(readAll(disk, "/data/file").length);
  }
  assert(sizes.has(40) && sizes.has(100));
});

Deno.test("simulated disk: a dead process leaves all it wrote, none of it safe", async () => {
  let lostCount = 0;
  for (let seed = 0; seed < 50; seed++) {
    const disk = simDisk(seed);
    const file = disk.create("/data/file");
    await disk.syncDirectory("/data");
    file.write(new Uint8Array(100).fill(1), 0);
    disk.kill();
    assertThrows(() => file.size(), Error, "dead");
    assertEquals(readAll(disk, "/data/file").length, 100);
    disk.crash();
    if (readAll(disk, "/data/file").length < 100) lostCount += 1;
  }
  assert(lostCount > 10);
});

Deno.test("simulated disk: names are certain after a sync of their directory only", async () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    const disk = simDisk(seed);
    disk.create("/data/a");
    await disk.syncDirectory("/data");
    disk.create("/data/b");
    disk.rename("/data/b", "/data/c");
    disk.remove("/data/a");
    disk.crash();
    outcomes.add(disk.list("/data").join(" "));
  }
  // In order, as one journal keeps them.
  assertEquals([...outcomes].sort(), ["a", "a b", "a c", "c"]);
});

Deno.test("simulated disk: a slow sync covers what came before it, not what came after", async () => {
  let finish = () => {};
  for (let seed = 0; seed < 50; seed++) {
    const disk = new SimDisk({
      random: new Random(seed),
      wait: (ms) => {
        assertEquals(ms, 7);
        return new Promise((resolve) => finish = resolve);
      },
    });
    disk.syncMs = 7;
    disk.createDirectory("/data");
    const file = disk.create("/data/file");
    const names = disk.syncDirectory("/data");
    finish();
    await names;
    file.write(Uint8Array.of(1), 0);
    const sync = file.sync();
    file.write(Uint8Array.of(2), 1);
    finish();
    await sync;
    disk.crash();
    const bytes = readAll(disk, "/data/file");
    assertEquals(bytes[0], 1);
  }
});

Deno.test("simulated disk: a sync that a crash meets never settles", async () => {
  let finish = () => {};
  const disk = new SimDisk({
    random: new Random(1),
    wait: () => new Promise((resolve) => finish = resolve),
  });
  disk.createDirectory("/data");
  let settled = false;
  disk.create("/data/file").sync().then(() => settled = true);
  disk.crash();
  finish();
  for (let turn = 0; turn < 20; turn++) await null;
  assert(!settled);
});

Deno.test("simulated disk: after a failed sync no later one makes up for it", async () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    const disk = simDisk(seed);
    const file = disk.create("/data/file");
    await disk.syncDirectory("/data");
    file.write(Uint8Array.of(1), 0);
    disk.syncFailChance = 1;
    await assertRejects(() => file.sync(), Error, "Input/output error");
    disk.syncFailChance = 0;
    assertEquals(readAll(disk, "/data/file"), Uint8Array.of(1));
    const isRewritten = seed % 2 === 1;
    if (isRewritten) file.write(Uint8Array.of(1), 0);
    await file.sync();
    disk.crash();
    const { length } = readAll(disk, "/data/file");
    outcomes.add(`${isRewritten ? "written anew" : "only synced"}: ${length}`);
  }
  assertEquals(
    [...outcomes].sort(),
    ["only synced: 0", "only synced: 1", "written anew: 1"],
  );
});

Deno.test("simulated disk: a full disk takes a prefix", () => {
  const disk = simDisk();
  const file = disk.create("/data/file");
  disk.freeBytes = 5;
  file.write(Uint8Array.of(1, 2, 3), 0);
  const error = assertThrows(() => file.write(Uint8Array.of(4, 5, 6), 3));
  assert(error instanceof Error && error.message.includes("No space left"));
  assertEquals(readAll(disk, "/data/file"), Uint8Array.of(1, 2, 3, 4, 5));
  file.write(Uint8Array.of(9), 0);
});

Deno.test("simulated disk: one seed, one story", () => {
  const run = (seed: number) => {
    const disk = simDisk(seed);
    const file = disk.create("/data/file");
    for (let i = 0; i < 20; i++) file.write(new Uint8Array(1000).fill(i), i);
    disk.crash();
    return disk.list("/data").map((name) => readAll(disk, `/data/${name}`));
  };
  for (let seed = 0; seed < 20; seed++) assertEquals(run(seed), run(seed));
});
