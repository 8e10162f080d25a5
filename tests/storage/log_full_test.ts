/** A log and snapshots on a disk that is really full. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { AcceptorFile } from "../../storage/acceptor_file.ts";
import { LocalDisk } from "../../storage/disk.ts";
import { StorageError } from "../../storage/errors.ts";
import { SnapshotReader } from "../../storage/snapshot_reader.ts";
import { SnapshotWriter } from "../../storage/snapshot_writer.ts";
import {
  entriesOf,
  epochOf,
  openLog,
  textsIn,
  textsOfEntries,
} from "./log_fixture.ts";
import { onSmallDisk, whyNoSmallDisk } from "./small_disk.ts";

const DISK_BYTES = 512 * 1024;
const FILLER_BYTES = 64 * 1024;
const OPTIONS = { segmentBytesMax: 32 * 1024, tailBytesMax: 1024 };

const refusal = whyNoSmallDisk();

const TESTS: Record<string, (directory: string) => Promise<void>> = {
  "what was synced stays, the rest is refused, and room helps": fillLog,
  "a snapshot that does not fit leaves nothing, and the log goes on":
    fillWithSnapshot,
  "a vote that cannot be saved is refused": fillVotes,
};

for (const [name, test] of Object.entries(TESTS)) {
  Deno.test({
    name: refusal === undefined
      ? `log on a full disk: ${name}`
      : `log on a full disk: not run, since none can be mounted: ${refusal}`,
    ignore: refusal !== undefined,
    fn: () => onSmallDisk(DISK_BYTES, test),
  });
}

async function fillLog(directory: string): Promise<void> {
  Deno.writeFileSync(`${directory}/filler`, new Uint8Array(FILLER_BYTES));
  const disk = new LocalDisk();
  const { log } = await openLog(disk, OPTIONS, directory);
  let synced = 0;
  const error = await assertRejects(async () => {
    for (let i = 0; i < 1000; i++) {
      log.append(entriesOf(log.lastIndex + 1, 20));
      await log.sync();
      synced = log.lastIndex;
    }
  }, StorageError);
  assertEquals(error.code, "write-failed");
  assert(error.message.includes("No space left on device"), error.message);
  assert(synced > 1000);
  Deno.removeSync(`${directory}/filler`);
  // It does not come back to life by itself.
  await assertRejects(() => log.sync(), StorageError);
  await assertRejects(() => log.close(), StorageError);

  const again = await openLog(disk, OPTIONS, directory);
  assertEquals(again.damage, undefined);
  const { lastIndex } = again.log;
  assert(lastIndex >= synced, "A synced entry is lost");
  assertEquals(textsIn(again.log), textsOfEntries(entriesOf(1, lastIndex)));
  const { index } = await again.log.compact(lastIndex - 100);
  assert(index > 100);
  again.log.append(entriesOf(lastIndex + 1, 500));
  again.log.syncNow();
  await again.log.close();
}

async function fillWithSnapshot(directory: string): Promise<void> {
  const disk = new LocalDisk();
  const { log } = await openLog(disk, OPTIONS, directory);
  log.append(entriesOf(1, 100));
  await log.sync();
  const position = { index: 50, epoch: epochOf(1) };
  const writer = await SnapshotWriter.create(disk, directory, position);
  const error = await assertRejects(async () => {
    for (let i = 0; i < 100; i++) await writer.write(new Uint8Array(20_000));
  }, StorageError);
  assertEquals(error.code, "write-failed");
  await writer.abandon();
  log.append(entriesOf(101, 100));
  await log.sync();
  const smaller = await SnapshotWriter.create(disk, directory, position);
  await smaller.write(new Uint8Array(20_000));
  await smaller.finish();
  const { snapshot, damaged } = SnapshotReader.newest(disk, directory);
  assertEquals([snapshot?.info.index, damaged], [50, []]);
  snapshot?.close();
  await log.close();
}

async function fillVotes(directory: string): Promise<void> {
  const disk = new LocalDisk();
  const { file } = await AcceptorFile.open(disk, directory, { hasLog: false });
  file.saveNow({ ...file.state, promised: epochOf(1) });
  const room = DISK_BYTES - 8 * 1024;
  Deno.writeFileSync(`${directory}/filler`, new Uint8Array(room));
  let saved = 1;
  const error = await assertRejects(async () => {
    for (let counter = 2; counter < 1000; counter++) {
      await file.save({ ...file.state, promised: epochOf(counter) });
      saved = counter;
    }
  }, StorageError);
  assertEquals(error.code, "write-failed");
  await assertRejects(() => file.close(), StorageError);
  Deno.removeSync(`${directory}/filler`);
  const again = await AcceptorFile.open(disk, directory, { hasLog: true });
  assertEquals(again.origin, undefined);
  assert(again.file.state.promised.counter >= saved);
  assertEquals(again.file.store, file.store);
  await again.file.close();
}
