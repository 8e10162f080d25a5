/** Blocking syncs, and generations begun in one of them. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { StorageError } from "../../storage/errors.ts";
import { GenerationLog } from "../../storage/generation_log.ts";
import { bytesOf, open, simDisk, textsOf } from "./record_fixture.ts";
import { DIRECTORY, SteppedDisk } from "./stepped_disk.ts";

Deno.test("record file: what a blocking sync covered survives a crash", async () => {
  for (let seed = 0; seed < 50; seed++) {
    const disk = simDisk(seed);
    const { file } = await open(disk);
    file.append([bytesOf("a"), bytesOf("b")]);
    file.syncNow();
    assertEquals(file.syncedSize, file.size);
    file.syncNow();
    file.append([bytesOf("c")]);
    disk.crash();
    const { payloads } = await open(disk);
    assertEquals(textsOf(payloads).slice(0, 2), ["a", "b"]);
  }
});

Deno.test("record file: a blocking sync never runs beside another", async () => {
  const stepped = new SteppedDisk(1);
  const { file } = await stepped.finish(open(stepped.disk));
  file.append([bytesOf("a")]);
  const sync = file.sync();
  assert(file.isSyncing);
  const before = file.syncedSize;
  assertThrows(() => file.syncNow(), Error, "a sync runs");
  assertEquals(file.syncedSize, before);
  await stepped.finish(sync);
  assert(!file.isSyncing);
  file.append([bytesOf("b")]);
  file.syncNow();
  assertEquals(file.syncedSize, file.size);
});

Deno.test("record file: a failed blocking sync is final", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  file.append([bytesOf("a")]);
  disk.syncFailChance = 1;
  const error = assertThrows(() => file.syncNow(), StorageError);
  disk.syncFailChance = 0;
  assert(error instanceof StorageError);
  assertEquals(error.code, "write-failed");
  assert(assertThrows(() => file.syncNow()) === error);
  assert(assertThrows(() => file.append([bytesOf("b")])) === error);
  assert(await assertRejects(() => file.sync()) === error);
});

function openGenerations(disk = simDisk()) {
  return GenerationLog.open(disk, DIRECTORY, {
    name: "test",
    kind: "test",
    recordBytesMax: 1000,
    first: bytesOf("first"),
  });
}

Deno.test("generation log: a prepared generation begins in one blocking sync", async () => {
  const disk = simDisk();
  const { log } = await openGenerations(disk);
  assertThrows(() => log.renewNow(bytesOf("x")), Error, "No next generation");
  assert(!log.isPrepared);
  await log.prepare();
  assert(log.isPrepared);
  await assertRejects(() => log.renew(bytesOf("x")), Error, "use renewNow");
  log.append([bytesOf("still the old")]);
  log.renewNow(bytesOf("second"));
  assert(!log.isPrepared);
  log.append([bytesOf("more")]);
  log.syncNow();
  await log.prepare();
  assertEquals(disk.list(DIRECTORY), ["test-000002.log", "test-000003.log"]);
  await log.close();
  assertEquals(disk.list(DIRECTORY), ["test-000002.log"]);
  const again = await openGenerations(disk);
  assertEquals(textsOf(again.records), ["second", "more"]);
  await again.log.close();
});

Deno.test("generation log: one that was prepared and not begun does not count", async () => {
  const disk = simDisk();
  const { log } = await openGenerations(disk);
  log.append([bytesOf("a")]);
  log.syncNow();
  await log.prepare();
  disk.crash();
  const again = await openGenerations(disk);
  assertEquals(textsOf(again.records), ["first", "a"]);
  assertEquals(disk.list(DIRECTORY), ["test-000001.log"]);
  await again.log.close();
});
