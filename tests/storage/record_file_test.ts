/** A record file in use: its life, its bounds, its syncs and its failures. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { type DiskFile, LocalDisk } from "../../storage/disk.ts";
import { StorageError } from "../../storage/errors.ts";
import { RecordFile, UNFINISHED_SUFFIX } from "../../storage/record_file.ts";
import { Random } from "../sim/random.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import {
  bytesOf,
  diskWith,
  KIND,
  open,
  PATH,
  readAll,
  RECORD_BYTES_MAX,
  simDisk,
  textsOf,
} from "./record_fixture.ts";

Deno.test("record file: made, written, closed, and all there again", async () => {
  const disk = simDisk();
  const first = await open(disk);
  assertEquals([first.created, first.cutBytes], [true, 0]);
  assertEquals([first.file.size, first.file.syncedSize], [16, 16]);
  first.file.append([bytesOf("one"), bytesOf("two")]);
  first.file.append([]);
  assertEquals([first.file.size, first.file.syncedSize], [54, 16]);
  await first.file.sync();
  assertEquals([first.file.size, first.file.syncedSize], [54, 54]);
  first.file.append([bytesOf("three")]);
  await first.file.close();

  disk.crash();
  const second = await open(disk);
  assertEquals([second.created, second.cutBytes], [false, 0]);
  assertEquals(textsOf(second.payloads), ["one", "two", "three"]);
  assertEquals(second.positions, [16, 35, 54]);
  assertEquals([second.file.size, second.file.syncedSize], [91, 91]);
  second.file.append([bytesOf("four")]);
  await second.file.close();
  assertEquals(
    textsOf((await open(disk)).payloads),
    ["one", "two", "three", "four"],
  );
});

Deno.test("record file: the same on a real disk", async () => {
  const directory = Deno.makeTempDirSync();
  try {
    const random = new Random(7);
    const written: Uint8Array[] = [];
    for (let life = 0; life < 3; life++) {
      const found: Uint8Array[] = [];
      const { file, cutBytes } = await RecordFile.open(
        new LocalDisk(),
        `${directory}/log`,
        {
          kind: KIND,
          recordBytesMax: 300_000,
          onRecord: (payload) => found.push(payload),
        },
      );
      assertEquals(cutBytes, 0);
      assertEquals(found, written);
      for (let i = 0; i < 50; i++) {
        const payloads = [random.bytes(1 + random.int(500))];
        if (i === 25) payloads.push(random.bytes(300_000));
        file.append(payloads);
        written.push(...payloads);
        if (random.chance(0.3)) await file.sync();
      }
      await file.close();
    }
    assertEquals(new LocalDisk().list(directory), ["log"]);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

// The bytes that FORMAT.md shows. If this test changes, the page does.
Deno.test("record file: the bytes are those of FORMAT.md", async () => {
  const disk = simDisk();
  disk.randomUint32 = () => 0x01020304;
  const { file } = await open(disk);
  file.append([bytesOf("hi")]);
  await file.close();
  const hex = Array.from(
    { length: 4 },
    (_, line) => readAll(disk).subarray(16 * line, 16 * line + 16).toHex(),
  );
  assertEquals(hex, [
    "534b4e01" + "74657374" + "01020304" + "3cb9bc16",
    "00000002" + "ac0e59ef" + "0102030401020314",
    "6869" + "00000000" + "613ada4d" + "010203040102",
    "0326",
  ]);
});

Deno.test("record file: closing twice, or with nothing new, adds nothing", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  await file.close();
  await file.close();
  assertEquals(readAll(disk).length, 16);
  for (let life = 0; life < 3; life++) {
    const { file } = await open(disk);
    if (life === 0) file.append([bytesOf("one")]);
    await file.close();
    assertEquals(readAll(disk).length, 16 + 19 + 16);
  }
});

Deno.test("record file: a mark is written once all is synced, and only once", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  file.mark();
  assertEquals(file.size, 16);
  file.append([bytesOf("one")]);
  file.mark();
  assertEquals(file.size, 35);
  await file.sync();
  file.mark();
  file.mark();
  assertEquals([file.size, file.syncedSize], [51, 35]);
  file.append([bytesOf("two")]);
  await file.sync();
  disk.crash();
  const { payloads, positions } = await open(disk);
  assertEquals(textsOf(payloads), ["one", "two"]);
  assertEquals(positions, [16, 51]);
});

Deno.test("record file: a payload out of bounds is our mistake, and nothing is written", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  const tooLong = new Uint8Array(RECORD_BYTES_MAX + 1);
  for (const wrong of [tooLong, new Uint8Array(0)]) {
    const error = assertThrows(
      () => file.append([bytesOf("fine"), wrong]),
      RangeError,
    );
    assertStringIncludes(error.message, `${wrong.length} bytes, wanted 1 to`);
  }
  assertEquals(file.size, 16);
  file.append([tooLong.subarray(1)]);
  await file.close();
  assertEquals((await open(disk)).payloads, [tooLong.subarray(1)]);
});

Deno.test("record file: kind and bound are checked before anything is touched", async () => {
  const disk = simDisk();
  const onRecord = () => {};
  for (const kind of ["", "abc", "abcde", "ab d", "abc\n", "abcé"]) {
    await assertRejects(
      () => RecordFile.open(disk, PATH, { kind, recordBytesMax: 1, onRecord }),
      RangeError,
    );
  }
  for (const recordBytesMax of [0, -1, 1.5, NaN, 2 ** 30 + 1]) {
    await assertRejects(
      () =>
        RecordFile.open(disk, PATH, { kind: KIND, recordBytesMax, onRecord }),
      RangeError,
    );
  }
  assertEquals(disk.list("/data"), []);
});

Deno.test("record file: what onRecord throws comes out of open, and the file is free", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  file.append([bytesOf("one")]);
  await file.close();
  const mine = new Error("Not for me");
  const error = await assertRejects(() =>
    RecordFile.open(disk, PATH, {
      kind: KIND,
      recordBytesMax: RECORD_BYTES_MAX,
      onRecord: () => {
        throw mine;
      },
    })
  );
  assert(error === mine);
  assertEquals(textsOf((await open(disk)).payloads), ["one"]);
});

Deno.test("record file: a half-made file is made anew", async () => {
  const disk = simDisk();
  disk.create(PATH + UNFINISHED_SUFFIX).write(bytesOf("rest of a crash"), 0);
  const { file, created } = await open(disk);
  assert(created);
  await file.close();
  assertEquals(disk.list("/data"), ["test.log"]);
});

Deno.test("record file: a batch is one write, of up to a MiB", async () => {
  const writes: number[] = [];
  const disk = spiedDisk((file) => {
    const write = file.write.bind(file);
    file.write = (bytes, position) => {
      writes.push(bytes.length);
      write(bytes, position);
    };
  });
  const { file } = await open(disk, { recordBytesMax: 2 ** 22 });
  const batches = [
    { sizes: Array.from({ length: 64 }, () => 200), writes: [64 * 216] },
    { sizes: [600_000, 400_000, 300_000], writes: [1_000_032, 300_016] },
    { sizes: [10, 3_000_000, 10], writes: [26, 3_000_016, 26] },
  ];
  for (const batch of batches) {
    writes.length = 0;
    file.append(batch.sizes.map((size) => new Uint8Array(size).fill(size)));
    assertEquals(writes, batch.writes);
  }
  await file.close();
  const { payloads } = await open(disk, { recordBytesMax: 2 ** 22 });
  assertEquals(
    payloads.map((payload) => payload.length),
    batches.flatMap((batch) => batch.sizes),
  );
});

Deno.test("record file: syncs asked for while one runs share the next", async () => {
  let syncs = 0;
  const waiting: (() => void)[] = [];
  const disk = spiedDisk((file) => {
    file.sync = () => {
      syncs += 1;
      return new Promise((resolve) => waiting.push(resolve));
    };
  });
  const opening = open(disk);
  // One for the new file, one when it is open.
  for (let i = 0; i < 2; i++) await release(waiting);
  const { file } = await opening;
  syncs = 0;

  await file.sync(); // Nothing to do.
  assertEquals(syncs, 0);
  file.append([bytesOf("one")]);
  const done: string[] = [];
  const early = [file.sync(), file.sync()];
  for (const sync of early) sync.then(() => done.push("early"));
  assertEquals(syncs, 1);
  file.append([bytesOf("two")]);
  const late = Array.from({ length: 50 }, () => file.sync());
  late[0].then(() => done.push("late"));
  assertEquals(syncs, 1);
  assertEquals(file.syncedSize, 16);

  await release(waiting);
  await Promise.all(early);
  assertEquals(done, ["early", "early"]);
  assertEquals(file.syncedSize, 35);
  assertEquals(syncs, 2);
  await release(waiting);
  await Promise.all(late);
  assertEquals(file.syncedSize, file.size);
  assertEquals(syncs, 2);
});

Deno.test("record file: a failed write is final", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  file.append([bytesOf("one")]);
  await file.sync();
  disk.freeBytes = 20;
  const error = assertThrows(
    () => file.append([bytesOf("two"), bytesOf("three")]),
    StorageError,
  );
  assertEquals(error.code, "write-failed");
  assertStringIncludes(error.message, `Cannot write "${PATH}": No space`);
  disk.freeBytes = Infinity;
  assert(assertThrows(() => file.append([bytesOf("four")])) === error);
  assert(assertThrows(() => file.mark()) === error);
  assert(await assertRejects(() => file.sync()) === error);
  assert(await assertRejects(() => file.close()) === error);

  // The 20 bytes that went through hold record "two" and a part of "three".
  const again = await open(disk);
  assertEquals(textsOf(again.payloads), ["one", "two"]);
  assertEquals(again.cutBytes, 1);
});

Deno.test("record file: a failed sync is final, for all who wait and all who come", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  disk.syncFailChance = 1;
  file.append([bytesOf("one")]);
  const first = file.sync();
  file.append([bytesOf("two")]);
  const second = file.sync();
  const error = await assertRejects(() => first, StorageError);
  assertEquals(error.code, "write-failed");
  disk.syncFailChance = 0;
  assert(await assertRejects(() => second) === error);
  assert(await assertRejects(() => file.sync()) === error);
  assert(assertThrows(() => file.append([bytesOf("three")])) === error);
  assertEquals(file.syncedSize, 16);
  assert(await assertRejects(() => file.close()) === error);
});

Deno.test("record file: a disk that fails while opening says which file", async () => {
  const disk = simDisk();
  disk.syncFailChance = 1;
  const unmade = await assertRejects(() => open(disk), StorageError);
  assertEquals(unmade.code, "open-failed");
  assertStringIncludes(unmade.message, `Cannot make "${PATH}"`);
  disk.syncFailChance = 0;
  await (await open(disk)).file.close();
  disk.syncFailChance = 1;
  const unsettled = await assertRejects(() => open(disk), StorageError);
  assertEquals([unsettled.code, unsettled.path], ["write-failed", PATH]);
});

Deno.test("record file: a file or directory that cannot be used says why", async () => {
  const directory = Deno.makeTempDirSync();
  try {
    const path = `${directory}/none/log`;
    const options = { kind: KIND, recordBytesMax: 1, onRecord: () => {} };
    const disk = new LocalDisk();
    for (const at of [path, directory]) {
      const error = await assertRejects(
        () => RecordFile.open(disk, at, options),
        StorageError,
      );
      assertEquals(error.code, "open-failed");
      assertStringIncludes(error.message, at);
      assert(error.cause instanceof Error);
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("record file: a closed one is of no use", async () => {
  const { file } = await open(simDisk());
  await file.close();
  assertThrows(() => file.append([bytesOf("one")]), Error, "was closed");
  assertThrows(() => file.mark(), Error, "was closed");
  await assertRejects(() => file.sync(), Error, "was closed");
});

Deno.test("record file: another kind, version or file is refused", async () => {
  const whole = simDisk();
  await (await open(whole)).file.close();
  const header = readAll(whole);
  const newer = header.slice();
  newer[3] = 2;
  const cases: [bytes: Uint8Array, message: string][] = [
    [newer, "its format version is 2, wanted 1"],
    [bytesOf('{"json":"and nothing else"}'), "does not begin as a Skein"],
    [header.subarray(0, 15), "does not begin as a Skein"],
    [new Uint8Array(0), "does not begin as a Skein"],
  ];
  for (const [bytes, message] of cases) {
    const disk = await diskWith(bytes);
    const error = await assertRejects(() => open(disk), StorageError, message);
    assertEquals(error.code, "wrong-format");
    assertStringIncludes(error.message, PATH);
    assertEquals(readAll(disk), bytes);
  }
  const options = { kind: "else", recordBytesMax: 1, onRecord: () => {} };
  const error = await assertRejects(
    () => RecordFile.open(whole, PATH, options),
    StorageError,
    'its kind is "test", wanted "else"',
  );
  assertEquals(error.code, "wrong-format");
});

/** A simulated disk of which a test sees every file that is made or opened. */
function spiedDisk(spy: (file: DiskFile) => void): SimDisk {
  class SpiedDisk extends SimDisk {
    override create(path: string): DiskFile {
      const file = super.create(path);
      spy(file);
      return file;
    }
  }
  const disk = new SpiedDisk({
    random: new Random(1),
    wait: () => Promise.resolve(),
  });
  disk.createDirectory("/data");
  return disk;
}

/** Lets the next of those who wait go on, as soon as there is one. */
async function release(waiting: (() => void)[]): Promise<void> {
  for (let turn = 0; turn < 100 && waiting.length === 0; turn++) await null;
  const next = waiting.shift();
  assert(next !== undefined, "Nobody waits");
  next();
  for (let turn = 0; turn < 20; turn++) await null;
}
