import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { EPOCH_NONE } from "../../protocol/epoch.ts";
import { LocalDisk } from "../../storage/disk.ts";
import { StorageError } from "../../storage/errors.ts";
import { SegmentLog } from "../../storage/segment_log.ts";
import {
  appendAll,
  entriesOf,
  epochOf,
  LOG_DIRECTORY,
  openLog,
  textsIn,
  textsOfEntries,
} from "./log_fixture.ts";
import { readAll, simDisk } from "./record_fixture.ts";
import { SteppedDisk } from "./stepped_disk.ts";

Deno.test("segment log: a new one is empty, and says that it is new", async () => {
  const disk = simDisk();
  const { log, created, cutBytes, damage } = await openLog(disk);
  assertEquals([created, cutBytes, damage], [true, 0, undefined]);
  assertEquals(log.shape, {
    base: { index: 0, epoch: EPOCH_NONE },
    runs: [],
    lastIndex: 0,
  });
  assertEquals([log.firstIndex, log.lastIndex], [1, 0]);
  assertEquals(log.read(1, { bytesMax: 100 }), []);
  await log.close();
  const again = await openLog(disk);
  assertEquals(again.created, false);
  await again.log.close();
});

Deno.test("segment log: the same on a real disk, over many segments", async () => {
  const directory = Deno.makeTempDirSync();
  try {
    const disk = new LocalDisk();
    const { log } = await openLog(disk, {}, directory);
    while (log.segments.length < 4) {
      log.append(entriesOf(log.lastIndex + 1, 5));
      if (log.lastIndex % 2 === 0) log.syncNow();
      else await log.sync();
      // A next segment is made beside what goes on.
      await log.compact(0);
    }
    const after = log.lastIndex - 3;
    log.cut(after);
    await appendAll(log, entriesOf(after + 1, 5, 2));
    const texts = textsIn(log);
    assertEquals(
      texts,
      textsOfEntries([
        ...entriesOf(1, after),
        ...entriesOf(after + 1, 5, 2),
      ]),
    );
    await log.close();
    const again = await openLog(disk, {}, directory);
    assertEquals(again.cutBytes, 0);
    assertEquals(textsIn(again.log), texts);
    assertEquals(again.log.shape.runs, [
      { index: 1, epoch: epochOf(1) },
      { index: after + 1, epoch: epochOf(2) },
    ]);
    const { index } = await again.log.compact(after);
    assert(index > 0 && index <= after);
    await again.log.reset({ index: 7, epoch: epochOf(3) });
    assertEquals(disk.list(directory).length, 1);
    await again.log.close();
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("segment log: reads stop at their bounds, and begin anywhere", async () => {
  const { log } = await openLog(simDisk());
  const entries = entriesOf(1, 30);
  await appendAll(log, entries);
  const { length } = entries[0].command;
  for (let from = 1; from <= 30; from++) {
    for (const count of [1, 2, 5, 40]) {
      const range = { bytesMax: count * length + count };
      const read = log.read(from, range);
      assertEquals(read, entries.slice(from - 1, from - 1 + read.length));
      assert(read.length >= Math.min(count, 31 - from));
    }
    assertEquals(log.read(from, { bytesMax: 0 }).length, 1);
    assertEquals(log.read(from, { bytesMax: 1e9, to: from }).length, 1);
    assertEquals(log.read(from, { bytesMax: 1e9, to: from - 1 }), []);
  }
  assertEquals(log.read(0, { bytesMax: 100 }), []);
  assertEquals(log.read(31, { bytesMax: 100 }), []);
  await log.close();
});

Deno.test("segment log: entries that do not follow, or are too long, are refused whole", async () => {
  const { log } = await openLog(simDisk());
  log.append(entriesOf(1, 2));
  const long = { ...entriesOf(4, 1)[0], command: new Uint8Array(1001) };
  for (
    const wrong of [
      entriesOf(2, 1),
      entriesOf(4, 1),
      [...entriesOf(3, 1), ...entriesOf(5, 1)],
      [...entriesOf(3, 1), long],
    ]
  ) {
    assertThrows(() => log.append(wrong), RangeError);
    assertEquals(log.lastIndex, 2);
  }
  log.append([]);
  for (const after of [-1, 3, NaN]) {
    assertThrows(() => log.cut(after), RangeError);
  }
  const most = { ...entriesOf(3, 1)[0], command: new Uint8Array(1000) };
  log.append([most]);
  await log.sync();
  assertEquals(log.read(3, { bytesMax: 1 }), [most]);
  await log.close();
});

Deno.test("segment log: options out of range are refused", async () => {
  for (
    const options of [
      { segmentBytesMax: 255 },
      { segmentBytesMax: 2 ** 31 },
      { segmentBytesMax: NaN },
      { entryBytesMax: 0 },
      { tailBytesMax: -1 },
    ]
  ) {
    const error = await assertRejects(
      () => SegmentLog.open(simDisk(), LOG_DIRECTORY, options),
      RangeError,
    );
    assert(error.message.startsWith(Object.keys(options)[0]));
  }
});

Deno.test("segment log: a blocking sync and another one exclude each other", async () => {
  const { disk, finish } = steppedDisk();
  const { log } = await finish(openLog(disk));
  log.append(entriesOf(1, 1));
  const sync = log.sync();
  assert(log.isSyncing);
  assertThrows(() => log.syncNow(), Error, "a sync runs");
  await finish(sync);
  assert(!log.isSyncing);
  log.append(entriesOf(2, 1));
  log.syncNow();
  await finish(log.close());
});

Deno.test("segment log: one sync covers all that was appended before it, also from several callers", async () => {
  const { disk, finish, running } = steppedDisk();
  const { log } = await finish(openLog(disk, { segmentBytesMax: 65_536 }));
  const done: number[] = [];
  for (let i = 1; i <= 5; i++) {
    log.append(entriesOf(i, 1));
    log.sync().then(() => done.push(i));
  }
  assertEquals(running(), 1);
  await finish(Promise.resolve());
  while (done.length < 5) await finish(log.sync());
  assertEquals(done, [1, 2, 3, 4, 5]);
  await finish(log.close());
});

Deno.test("segment log: without a sync a segment does not end", async () => {
  const { log } = await openLog(simDisk());
  log.append(entriesOf(1, 50));
  for (let turn = 0; turn < 100; turn++) await null;
  log.append(entriesOf(51, 50));
  assertEquals(log.segments.length, 1);
  await log.sync();
  assertEquals(log.segments.length, 2);
  log.append(entriesOf(101, 1));
  await log.sync();
  assertEquals(log.segments[1].first, 101);
  await log.close();
});

Deno.test("segment log: compaction takes whole old segments only, and its base tells", async () => {
  const disk = simDisk();
  const { log } = await openLog(disk);
  await appendAll(log, entriesOf(1, 30));
  const { segments } = log;
  const [first, second] = [...segments];
  assertEquals((await log.compact(first.count - 1)).index, 0);
  assertEquals((await log.compact(first.count)).index, first.count);
  assertEquals(log.base, { index: first.count, epoch: epochOf(1) });
  assertEquals(log.firstIndex, second.first);
  assertEquals(log.read(first.count, { bytesMax: 10 }), []);
  // Never the one that is written.
  await log.compact(1e9);
  assertEquals(log.segments.length, 1);
  const { base } = log;
  await log.close();
  const again = await openLog(disk);
  assertEquals(again.log.base, base);
  assertEquals(disk.list(LOG_DIRECTORY).length, 1);
  assertEquals(
    textsIn(again.log),
    textsOfEntries(entriesOf(base.index + 1, 30 - base.index)),
  );
  await again.log.close();
});

Deno.test("segment log: after a cut across segments the old ones may be compacted", async () => {
  const disk = simDisk();
  const { log } = await openLog(disk);
  await appendAll(log, entriesOf(1, 30));
  log.cut(4);
  await appendAll(log, entriesOf(5, 3, 2));
  const texts = textsIn(log);
  assertEquals(
    texts,
    textsOfEntries([...entriesOf(1, 4), ...entriesOf(5, 3, 2)]),
  );
  assertEquals(await log.compact(4), { index: 4, epoch: epochOf(1) });
  assertEquals(textsIn(log), texts.slice(4));
  await log.close();
  const again = await openLog(disk);
  assertEquals(again.damage, undefined);
  assertEquals(again.log.base, { index: 4, epoch: epochOf(1) });
  assertEquals(textsIn(again.log), texts.slice(4));
  assertEquals(again.log.shape.runs, [{ index: 5, epoch: epochOf(2) }]);
  await again.log.close();
});

Deno.test("segment log: a cut to the base empties it", async () => {
  const disk = simDisk();
  const { log } = await openLog(disk);
  await log.reset({ index: 100, epoch: epochOf(4) });
  await appendAll(log, entriesOf(101, 20, 5));
  log.cut(100);
  assertEquals(log.shape, {
    base: { index: 100, epoch: epochOf(4) },
    runs: [],
    lastIndex: 100,
  });
  await appendAll(log, entriesOf(101, 1, 6));
  await log.close();
  const again = await openLog(disk);
  assertEquals(textsIn(again.log), textsOfEntries(entriesOf(101, 1, 6)));
  await again.log.close();
});

Deno.test("segment log: changes of whole segments wait for one another and for the close", async () => {
  const disk = simDisk();
  const { log } = await openLog(disk);
  await appendAll(log, entriesOf(1, 30));
  const order: string[] = [];
  const compacted = log.compact(20).then(() => order.push("compact"));
  const reset = log.reset({ index: 50, epoch: epochOf(2) })
    .then(() => order.push("reset"));
  await log.close();
  await Promise.all([compacted, reset]);
  assertEquals(order, ["compact", "reset"]);
  assertThrows(() => log.append([]), Error, "closed");
  assertThrows(() => log.compact(1), Error, "closed");
  await log.close();
  const again = await openLog(disk);
  assertEquals(again.log.lastIndex, 50);
  await again.log.close();
});

Deno.test("segment log: a failed write is final, and the next start has what was synced", async () => {
  const disk = simDisk();
  const { log } = await openLog(disk);
  await appendAll(log, entriesOf(1, 3));
  disk.freeBytes = 20;
  const error = assertThrows(() => log.append(entriesOf(4, 1)), StorageError);
  assert(error instanceof StorageError);
  assertEquals(error.code, "write-failed");
  assert(assertThrows(() => log.append(entriesOf(4, 1))) === error);
  assert(await assertRejects(() => log.sync()) === error);
  assert(await assertRejects(() => log.close()) === error);
  disk.freeBytes = Infinity;
  disk.kill();
  const again = await openLog(disk);
  assert(again.cutBytes > 0);
  assertEquals(textsIn(again.log), textsOfEntries(entriesOf(1, 3)));
  await again.log.close();
});

Deno.test("segment log: a next segment that cannot be made is told before it is needed", async () => {
  const disk = simDisk();
  const { log } = await openLog(disk);
  // Half of a segment: the next one is made in the meantime.
  log.append(entriesOf(1, 4));
  await log.sync();
  disk.freeBytes = 0;
  let error: unknown;
  for (let i = 5; i < 50 && error === undefined; i++) {
    disk.freeBytes = 70;
    try {
      log.append(entriesOf(i, 1));
      disk.freeBytes = 0;
      await log.sync();
    } catch (thrown) {
      error = thrown;
    }
  }
  assert(error instanceof StorageError);
  assertEquals(error.code, "write-failed");
});

Deno.test("segment log: zeros written ahead are nothing, to reads, starts and stops", async () => {
  const disk = simDisk();
  const options = { aheadBytes: 4000, tailBytesMax: 0 };
  const path = `${LOG_DIRECTORY}/log-000001.log`;
  const { log } = await openLog(disk, options);
  for (let index = 1; index <= 5; index++) {
    log.append(entriesOf(index, 1));
    log.syncNow();
    // Each read sees what was zeros when the one before read it.
    assertEquals(textsIn(log), textsOfEntries(entriesOf(1, index)));
  }
  const size = log.activeBytes;
  assert(readAll(disk, path).length > size);
  disk.kill();
  const again = await openLog(disk, options);
  assertEquals([again.cutBytes, again.log.lastIndex], [0, 5]);
  again.log.append(entriesOf(6, 1));
  await again.log.close();
  const entry = 16 + 25 + entriesOf(6, 1)[0].command.length;
  // A record more, and a mark.
  assertEquals(readAll(disk, path).length, size + entry + 16);
  const third = await openLog(disk);
  assertEquals([third.cutBytes, third.log.lastIndex], [0, 6]);
  await third.log.close();
});

Deno.test("segment log: other files of the directory are left alone, its own leftovers go", async () => {
  const disk = simDisk();
  const others = [
    "lock",
    "acceptor-000001.log",
    "log-1.log",
    "log-abcdef.log",
    "log-000009.log.damaged",
    "log.log",
  ];
  for (const name of others) disk.create(`${LOG_DIRECTORY}/${name}`);
  for (const suffix of [".new", ".repair", ".repair.new"]) {
    disk.create(`${LOG_DIRECTORY}/log-000001.log${suffix}`);
  }
  disk.remove(`${LOG_DIRECTORY}/log-000001.log.repair`);
  const { log } = await openLog(disk);
  await log.close();
  assertEquals(
    disk.list(LOG_DIRECTORY),
    [...others, "log-000001.log"].sort(),
  );
});

function steppedDisk() {
  const stepped = new SteppedDisk(1);
  let count = 0;
  const { disk } = stepped;
  const create = disk.create.bind(disk);
  disk.create = (path) => {
    const file = create(path);
    const sync = file.sync.bind(file);
    file.sync = () => {
      count += 1;
      return sync().finally(() => count -= 1);
    };
    return file;
  };
  return {
    disk,
    running: () => count,
    finish: <T>(promise: Promise<T>) => stepped.finish(promise),
  };
}
