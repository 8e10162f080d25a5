/** Rot, missing and foreign files in a log: found, named, and mended. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { StorageError } from "../../storage/errors.ts";
import type { SegmentLog } from "../../storage/segment_log.ts";
import { Random } from "../sim/random.ts";
import {
  appendAll,
  areGenuine,
  diskOf,
  entriesOf,
  epochOf,
  type Files,
  filesOf,
  LOG_DIRECTORY,
  openLog,
  putFiles,
  textsIn,
} from "./log_fixture.ts";
import { simDisk } from "./record_fixture.ts";
import { SteppedDisk } from "./stepped_disk.ts";

/** A log of some segments with cuts within and across them, closed cleanly. */
async function someLog(): Promise<{ files: Files; texts: string[] }> {
  const disk = simDisk();
  const { log } = await openLog(disk);
  await appendAll(log, entriesOf(1, 9));
  log.cut(7);
  await appendAll(log, entriesOf(8, 6, 2));
  log.cut(5);
  await appendAll(log, entriesOf(6, 8, 3));
  await log.close();
  const again = await openLog(disk);
  const texts = textsIn(again.log);
  assertEquals(again.damage, undefined);
  assert(again.log.segments.length >= 3);
  await again.log.close();
  return { files: filesOf(disk), texts };
}

Deno.test("segment log: any one rotten byte is harmless, or found and named", async () => {
  const { files, texts } = await someLog();
  const random = new Random(1);
  let damageCount = 0;
  for (const [name, bytes] of files) {
    for (let position = 0; position < bytes.length; position++) {
      const disk = await diskOf(files);
      const path = `${LOG_DIRECTORY}/${name}`;
      disk.flip(path, position, 1 + random.int(255));
      const { log, damage } = await openLog(disk);
      if (damage === undefined) {
        assertEquals(textsIn(log), texts, `${name}, byte ${position}`);
        await log.close();
        continue;
      }
      damageCount += 1;
      assert(
        damage.position <= position,
        `${name}: byte ${damage.position} is named, ${position} is rotten`,
      );
      assertEquals(log.lastIndex, damage.goodTo.index);
      assert(areGenuine(log.read(log.firstIndex, { bytesMax: Infinity })));
      await drop(log);
      await log.close();
    }
  }
  const all = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  // All but the marks at the ends.
  assertEquals(damageCount, all - 16 * files.size);
});

/** Goes on with what is good of a damaged log, and comes back to it. */
async function drop(log: SegmentLog): Promise<void> {
  const texts = textsIn(log);
  const { shape } = log;
  await log.dropDamaged();
  assertEquals(textsIn(log), texts);
  assertEquals(log.shape, shape);
  await appendAll(log, entriesOf(log.lastIndex + 1, 12, 9));
  assertEquals(textsIn(log).length, texts.length + 12);
}

Deno.test("segment log: what was dropped with the damage does not come back", async () => {
  const { files } = await someLog();
  const names = [...files.keys()];
  for (const name of names) {
    const disk = await diskOf(files);
    disk.flip(`${LOG_DIRECTORY}/${name}`, 30, 1);
    const { log, damage } = await openLog(disk);
    assert(damage !== undefined);
    assertEquals(damage.path, `${LOG_DIRECTORY}/${name}`);
    await drop(log);
    const texts = textsIn(log);
    await log.close();
    const again = await openLog(disk);
    assertEquals(again.damage, undefined);
    assertEquals(again.cutBytes, 0);
    assertEquals(textsIn(again.log), texts);
    await again.log.close();
    const kept = disk.list(LOG_DIRECTORY)
      .filter((file) => file.endsWith(".damaged"));
    assertEquals(
      kept,
      names.slice(names.indexOf(name)).map((file) => `${file}.damaged`),
    );
  }
});

Deno.test("segment log: damage changes nothing on disk until it is dropped", async () => {
  const { files } = await someLog();
  const disk = await diskOf(files);
  disk.flip(`${LOG_DIRECTORY}/log-000002.log`, 100, 1);
  const before = filesOf(disk);
  const { log } = await openLog(disk);
  for (
    const act of [
      () => log.append(entriesOf(log.lastIndex + 1, 1)),
      () => log.cut(log.firstIndex),
      () => log.syncNow(),
    ]
  ) {
    let message = "";
    try {
      act();
    } catch (error) {
      message = error instanceof Error ? error.message : "";
    }
    assert(message.includes("damaged"), message);
  }
  await assertRejects(() => log.sync(), Error, "damaged");
  await assertRejects(() => log.compact(3), Error, "damaged");
  await log.close();
  assertEquals(filesOf(disk), before);
});

Deno.test("segment log: a reset mends any damage", async () => {
  const { files } = await someLog();
  for (const name of files.keys()) {
    for (const position of [0, 5, 20, 100]) {
      const disk = await diskOf(files);
      disk.flip(`${LOG_DIRECTORY}/${name}`, position, 255);
      const { log, damage } = await openLog(disk);
      assert(damage !== undefined);
      const base = { index: 40, epoch: epochOf(7) };
      await log.reset(base);
      await appendAll(log, entriesOf(41, 3, 8));
      await log.close();
      const again = await openLog(disk);
      assertEquals(again.damage, undefined);
      assertEquals(again.log.base, base);
      assertEquals(again.log.lastIndex, 43);
      await again.log.close();
    }
  }
});

Deno.test("segment log: a file that ends too early is damage, unless it is the last", async () => {
  const { files, texts } = await someLog();
  const names = [...files.keys()];
  for (const [at, name] of names.entries()) {
    const bytes = files.get(name) ?? new Uint8Array(0);
    for (let length = 0; length < bytes.length - 16; length += 3) {
      const disk = await diskOf(
        new Map(files).set(name, bytes.slice(0, length)),
      );
      const { log, damage } = await openLog(disk);
      if (at < names.length - 1 || length < 16) {
        assert(damage !== undefined, `${name} of ${length} bytes`);
      }
      const found = log.read(log.firstIndex, { bytesMax: Infinity });
      assert(areGenuine(found));
      assert(found.length <= texts.length + 4);
      await log.close();
    }
  }
});

Deno.test("segment log: a missing segment is damage, if others follow", async () => {
  const { files, texts } = await someLog();
  const names = [...files.keys()];
  for (const [at, name] of names.entries()) {
    const rest = new Map(files);
    rest.delete(name);
    const disk = await diskOf(rest);
    const { log, damage } = await openLog(disk);
    // Without the first it looks like a compacted log: its base tells.
    if (at === 0) {
      assertEquals(damage, undefined);
      assert(log.base.index > 0);
    } else if (at < names.length - 1) {
      assertEquals(damage?.path, `${LOG_DIRECTORY}/${name}`);
      await drop(log);
    } else {
      assertEquals(damage, undefined);
      assert(textsIn(log).length < texts.length);
    }
    await log.close();
  }
});

Deno.test("segment log: segments of another log among its own are damage", async () => {
  const { files } = await someLog();
  const disk = simDisk();
  const { log: other } = await openLog(disk);
  await appendAll(other, entriesOf(1, 30, 5));
  await other.close();
  for (const [name, bytes] of filesOf(disk)) {
    if (!files.has(name) || name === "log-000001.log") continue;
    const mixed = await diskOf(new Map(files).set(name, bytes));
    const { log, damage } = await openLog(mixed);
    assert(damage !== undefined, name);
    await drop(log);
    await log.close();
  }
});

Deno.test("segment log: a file of another version or kind is refused, not mended", async () => {
  const { files } = await someLog();
  const disk = await diskOf(files);
  const { RecordFile } = await import("../../storage/record_file.ts");
  const path = `${LOG_DIRECTORY}/log-000002.log`;
  disk.remove(path);
  const { file } = await RecordFile.open(disk, path, {
    kind: "CQUE",
    recordBytesMax: 100,
    onRecord: () => {},
  });
  await file.close();
  const error = await assertRejects(() => openLog(disk), StorageError);
  assertEquals([error.code, error.path], ["wrong-format", path]);
});

Deno.test("segment log: a crash while damage is dropped leaves a log that opens", async () => {
  const { files } = await someLog();
  let damagedCount = 0;
  for (let seed = 0; seed < 300; seed++) {
    const stepped = new SteppedDisk(seed);
    const { disk } = stepped;
    const random = new Random(seed);
    await stepped.finish(putFiles(disk, files));
    const name = random.pick([...files.keys()]);
    disk.flip(`${LOG_DIRECTORY}/${name}`, random.int(100), 1);
    const first = await stepped.finish(openLog(disk));
    assert(first.damage !== undefined);
    const good = textsIn(first.log);
    first.log.dropDamaged();
    await stepped.finishOne();
    for (let step = random.int(14); step > 0; step--) await stepped.finishOne();
    stepped.die(random.pick(["kill", "crash"]));
    const { log, damage } = await stepped.finish(openLog(disk));
    const texts = textsIn(log);
    assertEquals(texts, good.slice(0, texts.length));
    if (damage === undefined) {
      await stepped.finish(log.close());
      continue;
    }
    damagedCount += 1;
    assertEquals(texts, good);
    await stepped.finish(log.dropDamaged());
    assertEquals(textsIn(log), texts);
    await stepped.finish(log.close());
  }
  assert(damagedCount > 20 && damagedCount < 280, `${damagedCount}`);
});
