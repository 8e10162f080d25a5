/** What every {@linkcode Disk} does, the real one and the simulated one. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Disk, type DiskFile, LocalDisk } from "../../storage/disk.ts";
import { OverlayDisk } from "../../storage/overlay_disk.ts";
import { simDisk } from "./record_fixture.ts";
import { Random } from "../sim/random.ts";

type Check = (disk: Disk, directory: string) => void | Promise<void>;

const CHECKS: Record<string, Check> = {
  "a file that is not there does not open": (disk, directory) => {
    assertEquals(disk.open(`${directory}/none`), undefined);
  },

  "a file is made only in a directory that is there": (disk, directory) => {
    assertThrows(() => disk.create(`${directory}/none/file`));
  },

  "what is written is read, at any position": (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    file.write(bytes(1, 2, 3, 4, 5), 0);
    file.write(bytes(6, 7), 5);
    file.write(bytes(9), 1);
    assertEquals(file.size(), 7);
    assertEquals(contentOf(file), bytes(1, 9, 3, 4, 5, 6, 7));
    const two = new Uint8Array(2);
    assertEquals(file.read(two, 4), 2);
    assertEquals(two, bytes(5, 6));
  },

  "a read ends at the end of the file": (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    file.write(bytes(1, 2, 3), 0);
    const into = bytes(8, 8, 8, 8);
    assertEquals(file.read(into, 1), 2);
    assertEquals(into, bytes(2, 3, 8, 8));
    assertEquals(file.read(into, 3), 0);
    assertEquals(file.read(into, 100), 0);
  },

  "a write may be long": (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    const long = new Random(1).bytes(3_000_000);
    file.write(long, 0);
    assert(equal(contentOf(file), long));
  },

  "a write of nothing does nothing": (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    file.write(bytes(1), 0);
    file.write(bytes(), 1);
    assertEquals(contentOf(file), bytes(1));
  },

  "the bytes written are the caller's again": (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    const mine = bytes(1, 2);
    file.write(mine, 0);
    mine.fill(7);
    assertEquals(contentOf(file), bytes(1, 2));
  },

  "a cut file is shorter, and grows from there": (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    file.write(bytes(1, 2, 3, 4), 0);
    file.truncate(2);
    assertEquals(file.size(), 2);
    file.write(bytes(5), 2);
    assertEquals(contentOf(file), bytes(1, 2, 5));
  },

  "another handle sees what is written": (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    using other = opened(disk.open(`${directory}/file`));
    file.write(bytes(1, 2), 0);
    assertEquals(contentOf(other), bytes(1, 2));
  },

  "to make a file that is there empties it": (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    file.write(bytes(1, 2), 0);
    using again = opened(disk.create(`${directory}/file`));
    assertEquals(again.size(), 0);
    assertEquals(file.size(), 0);
  },

  "a sync resolves, after writes and after a cut": async (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    file.write(bytes(1, 2, 3), 0);
    await file.sync();
    file.truncate(1);
    await file.sync();
    await file.sync();
    await disk.syncDirectory(directory);
    assertEquals(contentOf(file), bytes(1));
  },

  "a blocking sync returns, after writes and after a cut": (
    disk,
    directory,
  ) => {
    using file = opened(disk.create(`${directory}/file`));
    file.write(bytes(1, 2, 3), 0);
    file.syncNow();
    file.truncate(1);
    file.syncNow();
    file.syncNow();
    assertEquals(contentOf(file), bytes(1));
  },

  "a blocking sync may come while another runs": async (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    file.write(new Uint8Array(100_000), 0);
    const sync = file.sync();
    file.write(bytes(1), 100_000);
    file.syncNow();
    await sync;
    file.syncNow();
    assertEquals(file.size(), 100_001);
  },

  "reads, writes and cuts go on while a sync runs": async (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    for (let round = 0; round < 20; round++) {
      const start = file.size();
      file.write(new Uint8Array(100_000).fill(round), start);
      const sync = file.sync();
      file.write(bytes(1, 2, 3), start + 100_000);
      file.truncate(start + 100_001);
      assertEquals(file.size(), start + 100_001);
      const last = new Uint8Array(3);
      assertEquals(file.read(last, start + 99_999), 2);
      assertEquals(last, bytes(round, 1, 0));
      await sync;
    }
  },

  "syncs may overlap": async (disk, directory) => {
    using file = opened(disk.create(`${directory}/file`));
    const syncs: Promise<void>[] = [];
    for (let at = 0; at < 10; at++) {
      file.write(bytes(at), at);
      syncs.push(file.sync());
    }
    await Promise.all(syncs);
    assertEquals(file.size(), 10);
  },

  "a closed handle is of no use": (disk, directory) => {
    const file = disk.create(`${directory}/file`);
    file.close();
    assertThrows(() => file.size());
    assertThrows(() => file.write(bytes(1), 0));
    assertThrows(() => file.read(bytes(1), 0));
    assertThrows(() => file.truncate(0));
    assertThrows(() => file.syncNow());
  },

  "a rename replaces, and open handles follow the file": (disk, directory) => {
    using file = opened(disk.create(`${directory}/new`));
    file.write(bytes(1), 0);
    disk.create(`${directory}/old`).close();
    disk.rename(`${directory}/new`, `${directory}/old`);
    assertEquals(disk.open(`${directory}/new`), undefined);
    file.write(bytes(2), 1);
    using old = opened(disk.open(`${directory}/old`));
    assertEquals(contentOf(old), bytes(1, 2));
    assertEquals(disk.list(directory), ["old"]);
  },

  "what is not there is neither renamed nor removed": (disk, directory) => {
    assertThrows(() => disk.rename(`${directory}/a`, `${directory}/b`));
    assertThrows(() => disk.remove(`${directory}/a`));
  },

  "a removed file is gone": (disk, directory) => {
    disk.create(`${directory}/file`).close();
    disk.remove(`${directory}/file`);
    assertEquals(disk.open(`${directory}/file`), undefined);
    assertEquals(disk.list(directory), []);
  },

  "a list is of names, in order": (disk, directory) => {
    for (const name of ["b", "a10", "a9"]) {
      disk.create(`${directory}/${name}`).close();
    }
    disk.createDirectory(`${directory}/c/inner`);
    disk.create(`${directory}/c/other`).close();
    assertEquals(disk.list(directory), ["a10", "a9", "b", "c"]);
    assertEquals(disk.list(`${directory}/c`), ["inner", "other"]);
    assertThrows(() => disk.list(`${directory}/none`));
  },

  "a directory is made with its parents, and made again": (disk, directory) => {
    disk.createDirectory(`${directory}/a/b/c`);
    disk.create(`${directory}/a/b/c/file`).close();
    disk.createDirectory(`${directory}/a/b/c`);
    assertEquals(disk.list(`${directory}/a/b/c`), ["file"]);
  },

  "random numbers differ and fill 32 bits": (disk) => {
    const numbers = Array.from({ length: 64 }, () => disk.randomUint32());
    assert(numbers.every((number) => number >>> 0 === number));
    assert(new Set(numbers).size > 60);
    assert(numbers.some((number) => number >= 2 ** 31));
  },
};

for (const [name, check] of Object.entries(CHECKS)) {
  Deno.test(`disk contract: local: ${name}`, async () => {
    const directory = Deno.makeTempDirSync();
    try {
      await check(new LocalDisk(), directory);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
  Deno.test(`disk contract: simulated: ${name}`, async () => {
    const disk = simDisk();
    disk.createDirectory("/some/directory");
    await check(disk, "/some/directory");
  });
  Deno.test(`disk contract: overlay: ${name}`, async () => {
    const below = simDisk();
    below.createDirectory("/some/directory");
    await check(new OverlayDisk(below), "/some/directory");
    assertEquals(below.list("/some/directory"), []);
  });
}

Deno.test("disk: overlay: shows what is below, and changes none of it", () => {
  const below = simDisk();
  below.createDirectory("/below");
  for (const [name, byte] of [["a", 1], ["b", 2], ["c", 3]] as const) {
    using file = opened(below.create(`/below/${name}`));
    file.write(bytes(byte, byte), 0);
  }
  const disk = new OverlayDisk(below);
  using before = opened(disk.open("/below/a"));
  {
    using a = opened(disk.open("/below/a"));
    a.write(bytes(9, 9), 1);
    a.truncate(2);
  }
  assertEquals(contentOf(before), bytes(1, 9));
  disk.remove("/below/b");
  disk.rename("/below/c", "/below/d");
  disk.create("/below/a").close();
  assertEquals(contentOf(before), bytes());
  assertEquals(disk.list("/below"), ["a", "d"]);
  {
    using d = opened(disk.open("/below/d"));
    assertEquals(contentOf(d), bytes(3, 3));
  }
  assertEquals(below.list("/below"), ["a", "b", "c"]);
  using a = opened(below.open("/below/a"));
  assertEquals(contentOf(a), bytes(1, 1));
});

Deno.test("disk: local: what is made is for its owner only", () => {
  const directory = Deno.makeTempDirSync();
  try {
    const disk = new LocalDisk();
    disk.createDirectory(`${directory}/a/b`);
    disk.create(`${directory}/a/b/file`).close();
    const modeOf = (path: string) =>
      ((Deno.statSync(path).mode ?? 0) & 0o777).toString(8);
    assertEquals(modeOf(`${directory}/a`), "700");
    assertEquals(modeOf(`${directory}/a/b`), "700");
    assertEquals(modeOf(`${directory}/a/b/file`), "600");
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

function opened(file: DiskFile | undefined): DiskFile & Disposable {
  assert(file !== undefined);
  return Object.assign(file, { [Symbol.dispose]: () => file.close() });
}

function contentOf(file: DiskFile): Uint8Array {
  const content = new Uint8Array(file.size());
  for (let at = 0; at < content.length;) {
    at += file.read(content.subarray(at), at);
  }
  return content;
}

function bytes(...values: number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(values);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
