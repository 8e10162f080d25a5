/** What a record file makes of torn, rotten and forged bytes. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { StorageError } from "../../storage/errors.ts";
import { RecordFile } from "../../storage/record_file.ts";
import { FILE_HEADER_BYTES, putRecord } from "../../storage/record_format.ts";
import { plant } from "./planted.ts";
import {
  bytesOf,
  diskWith,
  open,
  PATH,
  readAll,
  RECORD_BYTES_MAX,
  simDisk,
  textsOf,
} from "./record_fixture.ts";

/** Three synced batches, and a fourth which no mark speaks of. */
const BATCHES = [["one"], ["two", "three"], ["four"], ["fifth", "sixth"]];

interface Sample {
  readonly bytes: Uint8Array;
  /** Of each record, where it begins. */
  readonly positions: number[];
  readonly texts: string[];
  /** What the newest record says was synced. */
  readonly mark: number;
}

async function sample(): Promise<Sample> {
  const disk = simDisk();
  const { file } = await open(disk);
  let mark = file.syncedSize;
  for (const batch of BATCHES) {
    mark = file.syncedSize;
    file.append(batch.map(bytesOf));
    await file.sync();
  }
  disk.kill();
  const bytes = readAll(disk);
  const { positions, payloads } = await open(await diskWith(bytes));
  assertEquals(textsOf(payloads), BATCHES.flat());
  return { bytes, positions, texts: BATCHES.flat(), mark };
}

Deno.test("recovery: a last record cut at any byte is cut off, and the rest is there", async () => {
  const { bytes, positions, texts } = await sample();
  const last = positions.length - 1;
  for (let size = positions[last]; size < bytes.length; size++) {
    const disk = await diskWith(bytes.subarray(0, size));
    const { file, payloads, cutBytes } = await open(disk);
    assertEquals(textsOf(payloads), texts.slice(0, last));
    assertEquals(cutBytes, size - positions[last]);
    assertEquals(file.size, positions[last]);
    file.append([bytesOf("after")]);
    await file.close();
    const again = await open(disk);
    assertEquals(textsOf(again.payloads), [...texts.slice(0, last), "after"]);
  }
});

Deno.test("recovery: any bit that changed before the mark is damage, named, and nothing is touched", async () => {
  await rotBeforeMark(RecordFile);
});

Deno.test("recovery: that check fails if nothing is looked for behind a bad record", async () => {
  const directory = plant({
    file: "record_replay.ts",
    find: "const proof = findSyncedAbove(window, end, rules);",
    replace: "const proof = findSyncedAbove(window, window.size, rules);",
  });
  try {
    const module: { RecordFile: typeof RecordFile } = await import(
      `file://${directory}/record_file.ts`
    );
    await assertRejects(
      () => rotBeforeMark(module.RecordFile),
      Error,
      "Expected",
    );
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

async function rotBeforeMark(recordFileClass: typeof RecordFile) {
  const { bytes, positions, mark } = await sample();
  for (let at = 0; at < mark; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const rotten = bytes.slice();
      rotten[at] ^= 1 << bit;
      const disk = await diskWith(rotten);
      const error = await assertRejects(
        () => open(disk, { class: recordFileClass }),
        Error,
      );
      assert("code" in error && "position" in error && "path" in error);
      const position = positions.findLast((position) => position <= at) ?? 0;
      if (at < 4) assertEquals(error.code, "wrong-format");
      else assertEquals([error.code, error.position], ["damaged", position]);
      assertEquals(error.path, PATH);
      assertEquals(readAll(disk), rotten);
    }
  }
}

Deno.test("recovery: any bit that changed after the mark cuts the file at its record", async () => {
  const { bytes, positions, texts, mark } = await sample();
  for (let at = mark; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const rotten = bytes.slice();
      rotten[at] ^= 1 << bit;
      const record = positions.findLastIndex((position) => position <= at);
      const { file, payloads, cutBytes } = await open(await diskWith(rotten));
      assertEquals(textsOf(payloads), texts.slice(0, record));
      assertEquals(cutBytes, bytes.length - positions[record]);
      assertEquals(file.size, positions[record]);
    }
  }
});

Deno.test("recovery: the message says what was found and what can be done", async () => {
  const { bytes, positions } = await sample();
  const rotten = bytes.slice();
  rotten[positions[1] + 16] ^= 1;
  const disk = await diskWith(rotten);
  const error = await assertRejects(() => open(disk), StorageError);
  assertEquals(
    error.message,
    'Cannot read "/data/test.log": what begins at byte 35 is damaged, ' +
      "although the first 75 bytes were safely on disk; check the disk, " +
      "keep a copy of the file, and restore it from a backup, " +
      "or move it away if this node can fetch its content from its peers",
  );
});

Deno.test("recovery: whole records behind a torn one are cut off with it", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  file.append([bytesOf("one")]);
  await file.sync();
  file.append([bytesOf("two")]);
  file.append([bytesOf("three"), bytesOf("four")]);
  disk.kill();
  disk.flip(PATH, 40, 0xff);
  const { payloads, cutBytes } = await open(disk);
  assertEquals(textsOf(payloads), ["one"]);
  assertEquals(cutBytes, 19 + 21 + 20);
});

Deno.test("recovery: the record that proves damage may be megabytes away", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  const long = new Uint8Array(RECORD_BYTES_MAX).fill(1);
  for (let i = 0; i < 256; i++) file.append([long]);
  await file.sync();
  file.append([bytesOf("proof")]);
  disk.kill();
  disk.flip(PATH, 20, 1);
  const error = await assertRejects(() => open(disk), StorageError);
  assertEquals([error.code, error.position], ["damaged", 16]);
});

Deno.test("recovery: rot in what was synced last looks like a torn tail", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  file.append([bytesOf("acknowledged")]);
  await file.sync();
  disk.kill();
  disk.flip(PATH, 35, 1);
  const { payloads, cutBytes } = await open(disk);
  assertEquals([payloads.length, cutBytes], [0, 28]);
});

Deno.test("recovery: not after a mark, and not after a clean close", async () => {
  for (const ending of ["mark", "close"]) {
    const disk = simDisk();
    const { file } = await open(disk);
    file.append([bytesOf("acknowledged")]);
    await file.sync();
    if (ending === "mark") file.mark();
    else await file.close();
    disk.kill();
    const bytes = readAll(disk);
    for (let at = 4; at < bytes.length; at++) {
      const rotten = bytes.slice();
      rotten[at] ^= 0x10;
      const disk = await diskWith(rotten);
      if (at < 44) {
        const error = await assertRejects(() => open(disk), StorageError);
        assertEquals(error.code, "damaged");
      } else {
        // The mark itself: no loss, since a mark holds nothing.
        const { payloads, cutBytes } = await open(disk);
        assertEquals(textsOf(payloads), ["acknowledged"]);
        assertEquals(cutBytes, 16);
      }
    }
  }
});

Deno.test("recovery: a record above the bound is bad, and never read into memory", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  file.append([bytesOf("one"), bytesOf("twelve bytes")]);
  disk.kill();
  const { payloads, cutBytes } = await open(disk, { recordBytesMax: 11 });
  assertEquals(textsOf(payloads), ["one"]);
  assertEquals(cutBytes, 28);
});

Deno.test("recovery: zeros where pages were lost are no records", async () => {
  for (const mask of [0, 1, 0xffffffff]) {
    const disk = simDisk();
    disk.randomUint32 = () => mask;
    const { file } = await open(disk);
    file.append([bytesOf("one")]);
    disk.kill();
    const bytes = new Uint8Array(100_000);
    bytes.set(readAll(disk));
    const { payloads, cutBytes } = await open(await diskWith(bytes));
    assertEquals(textsOf(payloads), ["one"]);
    assertEquals(cutBytes, 100_000 - 35);
  }
});

Deno.test("recovery: a record that says what cannot be is bad, whatever its checksum", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  file.append([bytesOf("one")]);
  disk.kill();
  const good = readAll(disk);
  const mask = new DataView(good.buffer).getUint32(8);
  const payload = bytesOf("two");
  for (const synced of [0, 15, 16, 35, 36, 2 ** 32 + 16]) {
    const bytes = new Uint8Array(35 + 19);
    bytes.set(good);
    putRecord(bytes, 35, { payload, synced, mask });
    const { payloads } = await open(await diskWith(bytes));
    const isGood = synced >= 16 && synced <= 35;
    assertEquals(textsOf(payloads), isGood ? ["one", "two"] : ["one"]);
  }
});

/** A torn record, and behind it a payload that holds a record made for `mask`. */
async function tornBeforeForged(guess: (mask: number) => number) {
  const disk = simDisk();
  const { file } = await open(disk);
  const mask = new DataView(readAll(disk).buffer).getUint32(8);
  const forged = new Uint8Array(100);
  const synced = FILE_HEADER_BYTES + 1;
  const payload = bytesOf("x");
  putRecord(forged, 50, { payload, synced, mask: guess(mask) });
  file.append([bytesOf("torn"), forged]);
  disk.kill();
  disk.flip(PATH, 33, 1);
  return disk;
}

Deno.test("recovery: who sends a payload cannot make it pass for a record", async () => {
  const disk = await tornBeforeForged((mask) => mask ^ 1);
  assertEquals((await open(disk)).cutBytes, 20 + 116);
  // Only because of the mask: who knows it can.
  const seen = await tornBeforeForged((mask) => mask);
  const error = await assertRejects(() => open(seen), StorageError);
  assertEquals(error.code, "damaged");
});

Deno.test("recovery: the search behind a bad record ends, whatever is there", async () => {
  const disk = simDisk();
  const recordBytesMax = 2 ** 22;
  const { file } = await open(disk, { recordBytesMax });
  const mask = new DataView(readAll(disk).buffer).getUint32(8);
  // Every 16 bytes a header of a long record, in a file of 4 MiB: to checksum
  // all of them would take 512 GiB.
  const payload = new Uint8Array(recordBytesMax);
  const view = new DataView(payload.buffer);
  for (let at = 0; at < payload.length; at += 16) {
    view.setUint32(at, Math.floor(recordBytesMax / 2));
    view.setUint32(at + 8, mask);
    view.setUint32(at + 12, (FILE_HEADER_BYTES + 1) ^ mask);
  }
  file.append([payload]);
  disk.kill();
  disk.flip(PATH, 20, 1);
  const error = await assertRejects(
    () => open(disk, { recordBytesMax }),
    StorageError,
  );
  assertEquals(error.code, "damaged");
});

Deno.test("recovery: a start refused is refused again, a start made is clean", async () => {
  const { bytes, mark } = await sample();
  const rotten = bytes.slice();
  rotten[mark - 1] ^= 1;
  const disk = await diskWith(rotten);
  for (let start = 0; start < 3; start++) {
    await assertRejects(() => open(disk), StorageError);
  }
  const torn = await diskWith(bytes.subarray(0, bytes.length - 1));
  assert((await open(torn)).cutBytes > 0);
  torn.kill();
  assertEquals((await open(torn)).cutBytes, 0);
});
