import { assert, assertEquals } from "@std/assert";
import { Scrubber } from "../../../../nodes/chat/recovery/scrubber.ts";
import type { Log } from "../../../../nodes/host/log.ts";
import { WireError } from "../../../../protocol/errors.ts";
import type { LogEntry } from "../../../../protocol/replica.ts";
import { FILE_HEADER_BYTES } from "../../../../storage/record_format.ts";
import type { SegmentLog } from "../../../../storage/segment_log.ts";
import type { SimDisk } from "../../../sim/sim_disk.ts";
import {
  appendAll,
  diskOf,
  entriesOf,
  type Files,
  filesOf,
  openLog,
  textsIn,
} from "../../../storage/log_fixture.ts";
import { simDisk } from "../../../storage/record_fixture.ts";

const ENTRIES = entriesOf(1, 60);
const EVERY_MS = 100;

/** A log of short segments with all of {@linkcode ENTRIES}. */
async function someLog(): Promise<Files> {
  const disk = simDisk();
  const { log } = await openLog(disk);
  await appendAll(log, ENTRIES);
  await log.close();
  return filesOf(disk);
}

/** A scrubber over a log on a disk that can be made to rot. */
class Bench {
  readonly disk: SimDisk;
  readonly log: SegmentLog;
  readonly scrubber: Scrubber;
  readonly said: string[] = [];
  readonly errors: unknown[] = [];
  /** What is asked of others, in order. */
  readonly asked: { from: number; to: number }[] = [];
  nowMs = 0;
  /** What others answer. */
  answer: (range: { from: number; to: number }) => Promise<LogEntry[]> = (
    { from, to },
  ) => Promise.resolve(ENTRIES.slice(from - 1, to));

  private constructor(disk: SimDisk, log: SegmentLog, bytesPerSecond: number) {
    this.disk = disk;
    this.log = log;
    const say = (level: string) => (text: string) =>
      this.said.push(`${level}: ${text}`);
    const journal: Log = {
      debug: say("debug"),
      info: say("info"),
      warn: say("warn"),
      error: say("error"),
    };
    this.scrubber = new Scrubber({
      log,
      bytesPerSecond,
      fetch: (range) => {
        this.asked.push(range);
        return this.answer(range);
      },
      onFatal: (error) => this.errors.push(error),
      journal,
    });
  }

  static async make(bytesPerSecond = 1_048_576): Promise<Bench> {
    const disk = await diskOf(await someLog());
    const { log } = await openLog(disk, { tailBytesMax: 0 });
    assert(log.segments.length > 4);
    return new Bench(disk, log, bytesPerSecond);
  }

  /** Flips a bit in an ended segment; by default the second one. */
  rot(at = 1): void {
    this.disk.flip(this.log.segments[at].path, FILE_HEADER_BYTES + 60, 1);
  }

  /** Ticks for a while; all that is begun is done meanwhile. */
  async run(ms: number): Promise<void> {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += EVERY_MS;
      this.scrubber.tick(this.nowMs);
      await turns();
    }
  }

  /** Whether all that was written can be read. */
  get isWhole(): boolean {
    try {
      return textsIn(this.log).length === ENTRIES.length;
    } catch {
      return false;
    }
  }
}

/** Lets everything happen that waits for nothing but its turn. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

Deno.test("scrubber: finds a rotten record and mends it from another server", async () => {
  const bench = await Bench.make();
  bench.rot();
  assert(!bench.isWhole);
  await bench.run(1_000);
  assert(bench.isWhole);
  const [{ from, to }] = bench.asked;
  const { first, count } = bench.log.segments[1];
  assertEquals([from, to], [first, first + count - 1]);
  assertEquals(bench.scrubber.counters, { found: 1, mended: 1, rounds: 1 });
  assertEquals(bench.said, [
    "error: The log is damaged",
    "info: Mended the log from another server",
  ]);
  assertEquals(bench.scrubber.needsSnapshot(60), false);
  await bench.log.close();
});

Deno.test("scrubber: reads no faster than it is told to, and pauses after a round", async () => {
  const bench = await Bench.make(1_024);
  let bytes = 0;
  for (const { path } of bench.log.segments.slice(0, -1)) {
    bytes += filesOf(bench.disk).get(path.slice("/data/".length))?.length ?? 0;
  }
  while (bench.scrubber.counters.rounds === 0) await bench.run(EVERY_MS);
  // Of each segment a step may read up to its end only.
  const leastMs = bytes / 1_024 * 1_000;
  assert(bench.nowMs > 0.9 * leastMs, `${bench.nowMs} of ${leastMs} ms`);
  assert(bench.nowMs < 4 * leastMs + 2_000, `${bench.nowMs} of ${leastMs} ms`);
  bench.rot();
  await bench.run(2_800);
  assertEquals(bench.scrubber.counters.found, 0);
  await bench.run(10_000);
  assertEquals(bench.scrubber.counters.mended, 1);
  await bench.log.close();
});

Deno.test("scrubber: a host that was busy does not make it hurry", async () => {
  const bench = await Bench.make(1_024);
  bench.rot(bench.log.segments.length - 2);
  await bench.run(EVERY_MS);
  bench.nowMs = 1e6;
  await bench.run(EVERY_MS);
  assertEquals(bench.scrubber.counters.found, 0);
  await bench.log.close();
});

Deno.test("scrubber: turned off it looks for nothing, and mends what others meet", async () => {
  const bench = await Bench.make(0);
  bench.rot();
  await bench.run(60_000);
  assertEquals(bench.scrubber.counters, { found: 0, mended: 0, rounds: 0 });
  let damage;
  try {
    bench.log.read(1, { bytesMax: Infinity });
  } catch (error) {
    damage = bench.log.damageOf(error);
  }
  assert(damage !== undefined);
  // Met twice at a time, it is mended once.
  const both = [bench.scrubber.mend(damage), bench.scrubber.mend(damage)];
  assertEquals(await Promise.all(both), [true, true]);
  assertEquals(bench.asked.length, 1);
  assert(bench.isWhole);
  await bench.log.close();
});

Deno.test("scrubber: what nobody can help with is tried again, or goes with a snapshot", async () => {
  for (const isHelped of [true, false]) {
    const bench = await Bench.make();
    bench.rot();
    const { answer } = bench;
    bench.answer = () => Promise.reject(new WireError("timeout", "Nobody"));
    await bench.run(1_000);
    assertEquals(bench.scrubber.counters, { found: 1, mended: 0, rounds: 1 });
    assertEquals(
      bench.said[1],
      "warn: Cannot mend the log from another server",
    );
    const { first, count } = bench.log.segments[1];
    assert(!bench.scrubber.needsSnapshot(first + count - 2), "not applied yet");
    assert(bench.scrubber.needsSnapshot(first + count - 1));
    if (isHelped) {
      bench.answer = answer;
      await bench.run(12_000);
      assertEquals(bench.scrubber.counters.mended, 1);
      assert(bench.isWhole);
    } else await bench.log.compact(first + count - 1);
    assert(!bench.scrubber.needsSnapshot(60));
    await bench.run(20_000);
    assertEquals(bench.scrubber.counters.found, isHelped ? 2 : 1);
    await bench.log.close();
  }
});

Deno.test("scrubber: entries that are others than were here are not taken", async () => {
  const bench = await Bench.make();
  bench.rot();
  bench.answer = ({ from, to }) =>
    Promise.resolve(entriesOf(from, to - from + 1, 9));
  await bench.run(1_000);
  assertEquals(bench.scrubber.counters, { found: 1, mended: 0, rounds: 1 });
  assertEquals(bench.errors, []);
  await bench.log.close();
});

Deno.test("scrubber: several bad segments are mended one after the other", async () => {
  const bench = await Bench.make();
  bench.rot(0);
  bench.rot(2);
  bench.rot(3);
  await bench.run(2_000);
  assertEquals(bench.scrubber.counters, { found: 3, mended: 3, rounds: 1 });
  assert(bench.isWhole);
  await bench.log.close();
});

Deno.test("scrubber: a failed write while mending ends the process", async () => {
  const bench = await Bench.make();
  bench.rot();
  bench.answer = () => Promise.reject(new Error("The disk is full"));
  await bench.run(1_000);
  assertEquals(bench.errors.map(String), ["Error: The disk is full"]);
  await bench.log.close();
});

Deno.test("scrubber: closed, it reads nothing and writes nothing", async () => {
  const bench = await Bench.make();
  bench.rot();
  const held = Promise.withResolvers<LogEntry[]>();
  bench.answer = () => held.promise;
  await bench.run(500);
  assertEquals(bench.asked.length, 1);
  bench.scrubber.close();
  await bench.log.close();
  held.resolve(ENTRIES);
  await bench.run(1_000);
  assertEquals(bench.scrubber.counters.mended, 0);
  assertEquals(bench.errors, []);
});
