import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { dirname } from "node:path";
import { StorageError } from "../../storage/errors.ts";
import {
  SharedLog,
  type SharedLogOptions,
  type SharedLogTrouble,
} from "../../storage/shared_log.ts";
import {
  holderInLocks,
  lockHolder,
  typeInMountinfo,
} from "../../storage/shared_log_system.ts";
import { until } from "../process/until.ts";
import { Random } from "../sim/random.ts";
import { readWholeLog } from "./shared_log_lines.ts";
import { onSmallDisk, whyNoSmallDisk } from "./small_disk.ts";

const TIME_MS = Date.UTC(2026, 10, 21, 0, 38, 36, 123);
const LINE_1 =
  '{"seq":1,"time":"2026-11-21T00:38:36.123Z","server":"A","type":"start"}\n';

function entry(text: string) {
  return { type: "msg", timeMs: TIME_MS, from: "Dana", text };
}

/** Calls `test` with a path in a folder of its own. */
async function withPath(test: (path: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await test(`${folder}/logs/chat.log`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** A log that keeps what it is troubled by. */
async function open(
  path: string,
  options: Partial<SharedLogOptions> = {},
): Promise<{ log: SharedLog; troubles: SharedLogTrouble[] }> {
  const troubles: SharedLogTrouble[] = [];
  const log = await SharedLog.open(path, {
    server: "A",
    onTrouble: (trouble) => troubles.push(trouble),
    ...options,
  });
  return { log, troubles };
}

/** Appends one message and waits until it is in the file. */
async function write(path: string, text: string): Promise<SharedLogTrouble[]> {
  const { log, troubles } = await open(path);
  log.append(entry(text));
  await log.flush();
  assertEquals(await log.close(1_000), { lostEntries: 0 });
  return troubles;
}

function kinds(troubles: readonly SharedLogTrouble[]): string[] {
  return troubles.map(({ kind }) => kind);
}

Deno.test("shared log: a line has its keys in order, and only those that were given", async () => {
  await withPath(async (path) => {
    const { log } = await open(path);
    log.append({ type: "start", timeMs: TIME_MS });
    log.append({
      type: "dm",
      timeMs: TIME_MS + 1,
      from: "Dana",
      room: "x",
      to: "Ahmad",
      text: "hi",
    });
    await log.flush();
    assertEquals(log.queuedBytes, 0);
    assertEquals(log.counters.locks, 1, "what came at once shares the lock");
    await log.close(0);
    assertEquals(
      Deno.readTextFileSync(path),
      LINE_1 +
        '{"seq":2,"time":"2026-11-21T00:38:36.124Z","server":"A","type":"dm","from":"Dana","room":"x","to":"Ahmad","text":"hi"}\n',
    );
    if (Deno.build.os === "windows") return;
    assertEquals((Deno.statSync(path).mode ?? 0) & 0o777, 0o640);
  });
});

Deno.test("shared log: no text can end a line, or be more than text", async () => {
  const evil =
    'a\n{"seq":9}\r\u2028\u2029\u0085\x1b[2J\x9b2J\u202e\ud800\0"},{"text":"b';
  await withPath(async (path) => {
    await write(path, evil);
    const text = Deno.readTextFileSync(path);
    assertMatch(text, /^[\x20-\x7e]+\n$/);
    const { lines, findings } = await readWholeLog(path);
    assertEquals(findings, []);
    assertEquals(lines.map((line) => line.text), [evil]);
  });
});

Deno.test("shared log: several writers and rotations at once leave one order without a gap", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = new Random(seed);
    await withPath(async (path) => {
      const fileBytesMax = 500 + random.int(3_000);
      const opened = await Promise.all(
        ["A", "B", "C"].map((server) =>
          open(path, { server, fileBytesMax, filesMax: 900 })
        ),
      );
      const counts = [0, 0, 0];
      for (let turn = 0; turn < 200; turn++) {
        const at = random.int(3);
        for (let more = random.int(5); more >= 0; more--) {
          opened[at].log.append(entry(String(counts[at]++)));
        }
        if (random.int(3) === 0) {
          await new Promise((resolve) => setTimeout(resolve, 0));
        }
        if (random.int(20) === 0) await opened[at].log.flush();
      }
      const answers = await Promise.all(
        opened.map(({ log }) => log.close(10_000)),
      );
      assertEquals(answers.map(({ lostEntries }) => lostEntries), [0, 0, 0]);
      assertEquals(opened.flatMap(({ troubles }) => troubles), []);
      const { lines, findings } = await readWholeLog(path);
      assertEquals(findings, [], `seed ${seed}`);
      assertEquals([lines[0].seq, lines.length], [1, lines.at(-1)?.seq]);
      for (const [at, server] of ["A", "B", "C"].entries()) {
        assertEquals(
          lines.filter((line) => line.server === server)
            .map((line) => Number(line.text)),
          Array.from({ length: counts[at] }, (_, index) => index),
          `seed ${seed}, server ${server}`,
        );
      }
      const names = [...Deno.readDirSync(dirname(path))].map(({ name }) =>
        name
      );
      assert(names.length > 3, "it was never rotated");
      for (const name of names) {
        assert(
          Deno.statSync(`${dirname(path)}/${name}`).size <= fileBytesMax,
          name,
        );
      }
    });
  }
});

for (
  const [what, rest] of [
    ["half a line", '{"seq":2,"time":"2026-1'],
    ["one byte", "{"],
    ["half a character", '{"seq":2,"text":"\u00e9'],
    ["zeros", "\0".repeat(5_000)],
    ["half of a long line", `{"seq":2,"text":"${"x".repeat(98_000)}`],
  ]
) {
  Deno.test(`shared log: ${what} at the end is cut, once`, async () => {
    await withPath(async (path) => {
      await write(path, "first");
      const before = Deno.readFileSync(path);
      const bytes = new TextEncoder().encode(rest);
      const torn = what === "half a character" ? bytes.subarray(0, -1) : bytes;
      Deno.writeFileSync(path, torn, { append: true });
      const troubles = await write(path, "second");
      assertEquals(kinds(troubles), ["repaired"]);
      assertStringIncludes(troubles[0].message, `${torn.length} bytes`);
      assertEquals(Deno.readFileSync(path).subarray(0, before.length), before);
      const { lines, findings } = await readWholeLog(path);
      assertEquals(findings, []);
      assertEquals(lines.map(({ seq, text }) => [seq, text]), [
        [1, "first"],
        [2, "second"],
      ]);
    });
  });
}

Deno.test("shared log: what another program wrote stays, whole line or half a one", async () => {
  await withPath(async (path) => {
    await write(path, "first");
    const foreign = 'Nov 21 cron: done\n{"seq":"x"}\n\nno newline';
    Deno.writeTextFileSync(path, foreign, { append: true });
    const { log, troubles } = await open(path);
    assertMatch(log.warnings.join(), /has 3 lines of something else/);
    log.append(entry("second"));
    await log.flush();
    log.append(entry("third"));
    await log.close(1_000);
    assertEquals(kinds(troubles), ["foreign"]);
    assertStringIncludes(Deno.readTextFileSync(path), `\n${foreign}\n{"seq":2`);
    const { lines } = await readWholeLog(path);
    assertEquals(lines.map(({ seq }) => seq), [1, 2, 3]);
  });
});

Deno.test("shared log: a large file of something else is refused, a folder as well", async () => {
  await withPath(async (path) => {
    Deno.mkdirSync(dirname(path));
    const text = `${"x".repeat(99)}\n`.repeat(100_000);
    Deno.writeTextFileSync(path, text);
    const error = await assertRejects(() => open(path), StorageError);
    assertEquals(error.code, "wrong-format");
    assertMatch(error.message, /last 8 MiB have no line of a shared log/);
    const folder = dirname(path);
    const other = await assertRejects(() => open(folder), StorageError);
    assertMatch(other.message, /Cannot open ".*": It is no file/);
  });
});

Deno.test("shared log: numbers go on from the rotated file, also across a gap of the names", async () => {
  await withPath(async (path) => {
    // Two lines a file.
    const sizes = { fileBytesMax: 200, filesMax: 3 };
    const names = () =>
      [...Deno.readDirSync(dirname(path))].map(({ name }) => name).sort();
    const all = ["chat.log", "chat.log.1", "chat.log.2", "chat.log.3"];
    const append = async (texts: readonly string[]) => {
      const { log } = await open(path, sizes);
      for (const text of texts) {
        log.append(entry(text));
        await log.flush();
      }
      await log.close(0);
      assertEquals(names(), all);
      const { lines } = await readWholeLog(path);
      return lines.map(({ seq, text }) => `${seq}${text}`).join(" ");
    };
    assertEquals(await append([..."abcdefghij"]), "3c 4d 5e 6f 7g 8h 9i 10j");
    // As if a process had been killed between two renamings, and an operator
    // had then removed the file.
    Deno.renameSync(`${path}.2`, `${path}.3`);
    Deno.renameSync(`${path}.1`, `${path}.2`);
    Deno.renameSync(path, `${path}.1`);
    Deno.removeSync(`${path}.2`);
    assertEquals(await append([..."klm"]), "5e 6f 9i 10j 11k 12l 13m");
    const { findings } = await readWholeLog(path);
    assertEquals(findings.length, 1, findings.join());
  });
});

Deno.test("shared log: a file that was removed, replaced or cut short is told of; numbers go on", async () => {
  await withPath(async (path) => {
    const { log, troubles } = await open(path);
    const other = await open(path, { server: "B" });
    const last = async () => (await readWholeLog(path)).lines.at(-1)?.seq;
    log.append(entry("a"));
    await log.flush();
    other.log.append(entry("b"));
    await other.log.flush();
    Deno.removeSync(path);
    log.append(entry("c"));
    await log.flush();
    // It knew of 1, and learnt of 2 from what it still had open.
    assertEquals(await last(), 3);
    Deno.truncateSync(path);
    log.append(entry("d"));
    await log.flush();
    assertEquals(await last(), 4);
    Deno.removeSync(dirname(path), { recursive: true });
    log.append(entry("e"));
    await log.flush();
    assertEquals(await last(), 5);
    other.log.append(entry("f"));
    await other.log.flush();
    assertEquals(await last(), 6);
    assertEquals(kinds(troubles), ["replaced", "replaced", "replaced"]);
    await log.close(0);
    await other.log.close(0);
  });
});

Deno.test("shared log: while another has the lock nothing is lost, and the queue has its bound", async () => {
  await withPath(async (path) => {
    const { log } = await open(path, { queueBytesMax: 10_000 });
    using holder = Deno.openSync(path, { read: true, write: true });
    assert(holder.tryLockSync(true));
    let count = 0;
    assert(!log.isFull);
    const error = assertThrows(() => {
      for (; count < 1_000; count++) log.append(entry(String(count)));
    }, StorageError);
    assertMatch(error.message, /^Cannot log to ".*": \d+ bytes wait already$/);
    assert(log.isFull && log.queuedBytes <= 10_000);
    let isFlushed = false;
    const flushed = log.flush().then(() => isFlushed = true);
    await until("it waits", () => log.counters.lockWaits > 0);
    assert(!isFlushed);
    holder.unlockSync();
    await flushed;
    assert(!log.isFull);
    assertEquals(await log.close(0), { lostEntries: 0 });
    const { lines, findings } = await readWholeLog(path);
    assertEquals([lines.length, findings], [count, []]);
  });
});

Deno.test("shared log: a close that cannot wait says what is lost, and leaves the lock free", async () => {
  await withPath(async (path) => {
    const { log } = await open(path);
    using holder = Deno.openSync(path, { read: true, write: true });
    assert(holder.tryLockSync(true));
    log.append(entry("a"));
    log.append(entry("b"));
    const flushed = assertRejects(() => log.flush(), StorageError);
    await until("it waits", () => log.counters.lockWaits > 0);
    assertEquals(await log.close(30), { lostEntries: 2 });
    await flushed;
    assertThrows(() => log.append(entry("c")), StorageError, "it is closed");
    holder.unlockSync();
    await write(path, "d");
    assertEquals((await readWholeLog(path)).lines.map(({ text }) => text), [
      "d",
    ]);
  });
});

Deno.test("shared log: an entry that no line can take is refused, the largest one is not", async () => {
  await withPath(async (path) => {
    const { log } = await open(path);
    assertThrows(
      () => log.append(entry("x".repeat(131_072))),
      RangeError,
      "limit is 131049",
    );
    // As long as JSON can make 16 KiB.
    log.append(entry("\x01".repeat(16_384)));
    log.append(entry("b"));
    assertEquals(await log.close(5_000), { lostEntries: 0 });
    const { lines, findings } = await readWholeLog(path);
    assertEquals(findings, []);
    assertEquals(lines.map(({ text }) => text?.length), [16_384, 1]);
  });
});

const noDisk = whyNoSmallDisk();
Deno.test({
  name:
    "shared log: on a full disk nothing is half written, and all of it is when there is room",
  ignore: noDisk !== undefined,
  fn: () =>
    onSmallDisk(262_144, async (folder) => {
      const path = `${folder}/chat.log`;
      const ballast = `${folder}/ballast`;
      Deno.writeFileSync(ballast, new Uint8Array(180_000));
      const { log, troubles } = await open(path);
      for (let at = 0; at < 1_000; at++) {
        log.append(entry(`${at} ${"x".repeat(60)}`));
      }
      await until("it fails", () => troubles.length > 0);
      assertEquals(kinds(troubles), ["write-failed"]);
      assertMatch(troubles[0].message, /No space left on device/);
      const half = await readWholeLog(path);
      assertEquals(half.findings, []);
      assert(half.lines.length < 1_000);
      Deno.removeSync(ballast);
      await log.flush();
      assertEquals(kinds(troubles), ["write-failed", "going-on"]);
      assert(log.counters.writeFailures > 0);
      await log.close(0);
      const { lines, findings } = await readWholeLog(path);
      assertEquals([lines.length, findings], [1_000, []]);
    }),
});

Deno.test("shared log: who has a lock, in proc_locks(5)", () => {
  const file = { dev: 0xfd00, ino: 42, birthMs: 0 };
  const locks = [
    "1: POSIX  ADVISORY  WRITE 11 fd:00:42 0 EOF",
    "2: FLOCK  ADVISORY  READ  12 fd:00:42 0 EOF",
    "3: FLOCK  ADVISORY  WRITE 13 08:01:42 0 EOF",
    "4: FLOCK  ADVISORY  WRITE 14 fd:00:42 0 EOF",
    "4: -> FLOCK  ADVISORY  WRITE 15 fd:00:42 0 EOF",
    "5: FLOCK  ADVISORY  WRITE 16 fd:00:43 0 EOF",
  ];
  assertEquals(holderInLocks(locks.join("\n"), file), 14);
  assertEquals(holderInLocks(locks.slice(0, 3).join("\n"), file), 13);
  assertEquals(holderInLocks(locks.slice(0, 2).join("\n"), file), undefined);
});

Deno.test({
  name: "shared log: who has a lock, as this system tells",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withPath((path) => {
      Deno.mkdirSync(dirname(path));
      using file = Deno.openSync(path, { create: true, write: true });
      const { dev, ino } = file.statSync();
      const identity = { dev, ino: ino ?? 0, birthMs: 0 };
      assertEquals(lockHolder(identity), undefined);
      file.lockSync(true);
      const holder = lockHolder(identity);
      assertEquals([holder?.pid, holder?.isStopped], [Deno.pid, false]);
      return Promise.resolve();
    }),
});

Deno.test("shared log: the type of the file system that a path is on", () => {
  const mountinfo = [
    "21 1 253:0 / / rw,relatime - ext4 /dev/vda rw",
    "22 21 0:5 / /srv rw shared:2 - nfs4 host:/srv rw",
    "23 22 0:6 / /srv/my\\040logs rw - fuse.sshfs host: rw",
    "24 21 0:7 / /over rw - nfs4 host:/o rw",
    "25 24 0:8 / /over rw - tmpfs tmpfs rw",
  ].join("\n");
  const type = (path: string) => typeInMountinfo(mountinfo, path);
  assertEquals(type("/var/log/chat.log"), "ext4");
  assertEquals(type("/srv/chat.log"), "nfs4");
  assertEquals(type("/srv2/chat.log"), "ext4");
  assertEquals(type("/srv/my logs/chat.log"), "fuse.sshfs");
  assertEquals(type("/over/chat.log"), "tmpfs");
});
