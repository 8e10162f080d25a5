/** A segment log that lives through crashes, and what must hold after each. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Epoch } from "../../protocol/epoch.ts";
import type {
  LogEntry,
  LogPosition,
  LogShape,
} from "../../protocol/replica.ts";
import type { SegmentLog } from "../../storage/segment_log.ts";
import { Random } from "../sim/random.ts";
import { type Death, death, DIRECTORY, SteppedDisk } from "./stepped_disk.ts";

/** One thing that happens to the log. Whatever needs a process starts one. */
export type LogStep =
  /** Entries of these sizes are appended in one batch; `raises` the epoch before. */
  | {
    readonly kind: "append";
    readonly sizes: readonly number[];
    readonly raises: boolean;
  }
  /** So many times a batch is appended and synced, and read back: the log grows. */
  | { readonly kind: "grow"; readonly times: number }
  /** A part of what may be cut is cut, 0 to 1. */
  | { readonly kind: "cut"; readonly part: number }
  /** A sync is asked for, and goes on while other things happen. */
  | { readonly kind: "sync" }
  | { readonly kind: "sync-now" }
  | { readonly kind: "mark" }
  /** The disk finishes the oldest of the syncs that run. */
  | { readonly kind: "disk-finishes" }
  /** Compacts up to a part of what may be, and goes on meanwhile. */
  | { readonly kind: "compact"; readonly part: number }
  /** Begins anew so many entries after the last; goes on meanwhile. */
  | { readonly kind: "reset"; readonly ahead: number }
  /** Reads everything in pieces of so many bytes. */
  | { readonly kind: "read"; readonly bytesMax: number }
  /** A clean stop. */
  | { readonly kind: "stop" }
  | { readonly kind: "die"; readonly how: Death }
  /** The process dies, and so does the next while it starts, after so many syncs. */
  | { readonly kind: "dies-starting"; readonly after: number }
  /** A write fails half-way, and the process exits. */
  | { readonly kind: "write-fails" }
  /** A sync fails, and the process exits. */
  | { readonly kind: "sync-fails" };

const part = fc.oneof(
  fc.constant(1),
  fc.double({ min: 0, max: 1, noNaN: true }),
);
const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 100 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 1500 }) },
);

function only<Kind extends string>(kind: Kind): fc.Arbitrary<{ kind: Kind }> {
  return fc.record({ kind: fc.constant(kind) });
}

const steps: [number, fc.Arbitrary<LogStep>][] = [
  [
    12,
    fc.record({
      kind: fc.constant("append" as const),
      sizes: fc.array(size, { minLength: 1, maxLength: 8 }),
      raises: fc.boolean(),
    }),
  ],
  [
    4,
    fc.record({
      kind: fc.constant("grow" as const),
      times: fc.integer({ min: 1, max: 9 }),
    }),
  ],
  [4, fc.record({ kind: fc.constant("cut" as const), part })],
  [8, only("sync")],
  [5, only("sync-now")],
  [1, only("mark")],
  [12, only("disk-finishes")],
  [4, fc.record({ kind: fc.constant("compact" as const), part })],
  [
    1,
    fc.record({ kind: fc.constant("reset" as const), ahead: fc.nat(20) }),
  ],
  [
    2,
    fc.record({ kind: fc.constant("read" as const), bytesMax: fc.nat(3000) }),
  ],
  [1, only("stop")],
  [3, fc.record({ kind: fc.constant("die" as const), how: death })],
  [
    1,
    fc.record({
      kind: fc.constant("dies-starting" as const),
      after: fc.nat(5),
    }),
  ],
  [1, only("write-fails")],
  [1, only("sync-fails")],
];

/** Any story. */
export const logSteps: fc.Arbitrary<LogStep[]> = fc.array(
  fc.oneof(
    ...steps.map(([weight, arbitrary]) => ({ weight, arbitrary })),
  ),
  { maxLength: 50, size: "max" },
);

/** What has been done to the log: one entry, or one cut, or one new beginning. */
type Change =
  | { readonly kind: "append"; readonly entry: LogEntry }
  | { readonly kind: "cut"; readonly after: number }
  | {
    readonly kind: "reset";
    readonly base: LogPosition;
    /** What might be compacted before. */
    readonly compactedTo: number;
  };

/** A log as it should be. */
class Model {
  base: LogPosition;
  entries: LogEntry[];

  constructor(base: LogPosition, entries: readonly LogEntry[] = []) {
    this.base = base;
    this.entries = [...entries];
  }

  get lastIndex(): number {
    return this.base.index + this.entries.length;
  }

  positionAt(index: number): LogPosition {
    if (index === this.base.index) return this.base;
    const { epoch } = this.entries[index - this.base.index - 1];
    return { index, epoch };
  }

  take(change: Change): void {
    switch (change.kind) {
      case "append":
        this.entries.push(change.entry);
        return;
      case "cut":
        this.entries.length = change.after - this.base.index;
        return;
      case "reset":
        this.base = change.base;
        this.entries = [];
    }
  }

  compact(base: number): void {
    const position = this.positionAt(base);
    this.entries.splice(0, base - this.base.index);
    this.base = position;
  }

  get shape(): LogShape {
    const runs: LogPosition[] = [];
    for (const { index, epoch } of this.entries) {
      if (runs.at(-1)?.epoch.counter !== epoch.counter) {
        runs.push({ index, epoch });
      }
    }
    return { base: this.base, runs, lastIndex: this.lastIndex };
  }
}

const NONE: LogPosition = {
  index: 0,
  epoch: { counter: 0, store: "0000000000000000" },
};

/**
 * Plays a story and throws as soon as one of these does not hold at a start:
 *
 * 1. it succeeds, and no crash is taken for damage;
 * 2. the log is as it was after one of the changes made, none earlier than the
 *    last whose sync has resolved;
 * 3. nothing is compacted that was not asked for, and what was stays so;
 * 4. after a clean stop all of it is there, and nothing is cut off;
 * 5. reads and the shape show just that.
 */
export async function playLog(
  seed: number,
  story: readonly LogStep[],
  logClass: typeof SegmentLog,
): Promise<void> {
  const world = new LogWorld(seed, logClass);
  for (const step of story) await world.take(step);
  await world.take({ kind: "die", how: "crash" });
  await world.take({ kind: "read", bytesMax: 100 });
  await world.take({ kind: "stop" });
}

class LogWorld {
  readonly #disk: SteppedDisk;
  readonly #random: Random;
  readonly #class: typeof SegmentLog;
  readonly #aheadBytes: number;
  #log: SegmentLog | undefined;
  /** Everything before `#changes`; durable. */
  #model = new Model(NONE);
  #changes: Change[] = [];
  /** The first so many of `#changes` must never be lost again. */
  #promisedCount = 0;
  /** What was asked to be compacted, at most; nothing up to there is ever cut. */
  #compactedTo = 0;
  /** What is known to be compacted. */
  #compactedBase = 0;
  #isResetting = false;
  #wasStopped = false;
  #counter = 1;
  #serial = 0;
  readonly #errors: unknown[] = [];

  constructor(seed: number, logClass: typeof SegmentLog) {
    this.#disk = new SteppedDisk(seed);
    this.#random = new Random(seed);
    this.#class = logClass;
    this.#aheadBytes = seed % 2 === 0 ? 0 : 1 + Math.abs(seed % 3000);
  }

  async take(step: LogStep): Promise<void> {
    await this.#take(step);
    if (this.#errors.length > 0) throw this.#errors[0];
  }

  async #take(step: LogStep): Promise<void> {
    switch (step.kind) {
      case "die":
        return await this.#die(step.how);
      case "disk-finishes":
        return await this.#disk.finishOne();
      case "dies-starting":
        return await this.#diesStarting(step.after);
      case "stop":
        return await this.#stop(await this.#process());
      case "append":
      case "grow":
      case "cut":
      case "sync":
      case "sync-now":
      case "mark":
      case "compact":
      case "reset":
      case "read":
      case "write-fails":
      case "sync-fails": {
        const log = await this.#process();
        if (this.#isResetting) return;
        return await this.#use(log, step);
      }
    }
  }

  async #use(
    log: SegmentLog,
    step: Exclude<
      LogStep,
      { kind: "die" | "disk-finishes" | "dies-starting" | "stop" }
    >,
  ): Promise<void> {
    switch (step.kind) {
      case "append":
        if (step.raises) this.#counter += 1;
        return this.#append(log, step.sizes);
      case "grow":
        for (let i = 0; i < step.times; i++) await this.#grow(log);
        return;
      case "cut":
        return this.#cut(log, step.part);
      case "sync":
        return this.#promise(log.sync());
      case "sync-now":
        if (log.isSyncing) return;
        log.syncNow();
        this.#promisedCount = this.#changes.length;
        return;
      case "mark":
        return log.mark();
      case "compact":
        return this.#compact(log, step.part);
      case "reset":
        return this.#reset(log, step.ahead);
      case "read":
        return this.#check(log, this.#current(), step.bytesMax);
      case "write-fails":
        return await this.#writeFails(log);
      case "sync-fails":
        return await this.#syncFails(log);
    }
  }

  #append(log: SegmentLog, sizes: readonly number[]): void {
    const epoch = epochOf(this.#counter);
    const entries = sizes.map((size, i) => ({
      index: log.lastIndex + 1 + i,
      epoch,
      command: this.#command(size),
    }));
    for (const entry of entries) this.#changes.push({ kind: "append", entry });
    log.append(entries);
  }

  async #grow(log: SegmentLog): Promise<void> {
    this.#append(log, [300, 10, 700, 300]);
    await this.#disk.finishOne();
    this.#promise(log.sync());
    await this.#disk.finishOne();
    await this.#disk.finishOne();
    this.#check(log, this.#current(), 1000);
  }

  #command(size: number): Uint8Array {
    const bytes = this.#random.bytes(size);
    // Nearly all differ, so that one cannot pass for another.
    if (size >= 4) new DataView(bytes.buffer).setUint32(0, this.#serial += 1);
    return bytes;
  }

  #cut(log: SegmentLog, part: number): void {
    const low = Math.max(log.base.index, this.#compactedTo);
    const after = log.lastIndex - Math.floor(part * (log.lastIndex - low));
    // Entries of one index have different epochs, as in the protocol.
    this.#counter += 1;
    if (after < log.lastIndex) this.#changes.push({ kind: "cut", after });
    log.cut(after);
  }

  #compact(log: SegmentLog, part: number): void {
    const synced = this.#syncedIndex();
    const low = Math.max(log.base.index, this.#compactedTo);
    const to = low + Math.floor(part * Math.max(0, synced - low));
    this.#compactedTo = Math.max(this.#compactedTo, to);
    const compacted = log.compact(to);
    this.#whenDone(compacted, () => {
      assert(log.base.index <= this.#compactedTo, "Compacted too much");
      this.#compactedBase = Math.max(this.#compactedBase, log.base.index);
    });
  }

  /** The last index whose entry, and all before, is as it is on disk for good. */
  #syncedIndex(): number {
    let synced = this.#model.lastIndex;
    for (const [i, change] of this.#changes.entries()) {
      if (change.kind === "cut") synced = Math.min(synced, change.after);
      if (i >= this.#promisedCount) continue;
      if (change.kind === "append") synced = change.entry.index;
      if (change.kind === "reset") synced = change.base.index;
    }
    return synced;
  }

  #reset(log: SegmentLog, ahead: number): void {
    this.#counter += 1;
    const base = {
      index: log.lastIndex + ahead,
      epoch: epochOf(this.#counter),
    };
    this.#isResetting = true;
    const compactedTo = this.#compactedTo;
    this.#changes.push({ kind: "reset", base, compactedTo });
    this.#compactedTo = base.index;
    const reset = log.reset(base);
    this.#whenDone(reset, () => this.#isResetting = false);
    this.#promise(reset);
  }

  #promise(durable: Promise<unknown>): void {
    const count = this.#changes.length;
    this.#whenDone(durable, () => {
      this.#promisedCount = Math.max(this.#promisedCount, count);
    });
  }

  /** Does `then`, unless the process has died by then. */
  #whenDone(promise: Promise<unknown>, then: () => void): void {
    const { life } = this.#disk;
    promise.then(() => {
      if (life === this.#disk.life) then();
    }).catch((error) => {
      // The dead may fail as they like.
      if (life === this.#disk.life) this.#errors.push(error);
    });
  }

  async #writeFails(log: SegmentLog): Promise<void> {
    this.#disk.disk.writeFailChance = 1;
    let isNoticed = false;
    try {
      this.#append(log, [10, 200, 3000]);
    } catch {
      isNoticed = true;
    }
    this.#disk.disk.writeFailChance = 0;
    assert(isNoticed, "A failed write went unnoticed");
    await this.#die("kill");
    // What was under way beside it fails with it.
    this.#errors.length = 0;
  }

  async #syncFails(log: SegmentLog): Promise<void> {
    this.#append(log, [10]);
    this.#errors.length = 0;
    this.#promise(log.sync());
    this.#disk.disk.syncFailChance = 1;
    for (let i = 0; i < 20; i++) await this.#disk.finishOne();
    this.#disk.disk.syncFailChance = 0;
    assert(this.#errors.length > 0, "A failed sync went unnoticed");
    this.#errors.length = 0;
    await this.#die("kill");
  }

  async #stop(log: SegmentLog): Promise<void> {
    while (this.#isResetting) await this.#disk.finishOne();
    await this.#disk.finish(log.close());
    this.#promisedCount = this.#changes.length;
    this.#wasStopped = true;
    this.#log = undefined;
  }

  async #die(how: Death): Promise<void> {
    // Only a process that waits for its disk dies: what goes on without it would
    // go on after its death.
    for (let turn = 0; turn < 60; turn++) await null;
    this.#disk.die(how);
    this.#log = undefined;
    this.#isResetting = false;
  }

  async #diesStarting(after: number): Promise<void> {
    await this.#die("kill");
    // If it fails, so will the next start, which is looked at.
    this.#open().catch(() => {});
    for (let i = 0; i < after; i++) await this.#disk.finishOne();
    await this.#die("crash");
  }

  #open() {
    return this.#class.open(this.#disk.disk, DIRECTORY, {
      segmentBytesMax: 4096,
      entryBytesMax: 4000,
      tailBytesMax: 3000,
      aheadBytes: this.#aheadBytes,
    });
  }

  /** The log of the process that runs; if none does, one is started and checked. */
  async #process(): Promise<SegmentLog> {
    if (this.#log !== undefined) return this.#log;
    const { log, cutBytes, damage } = await this.#disk.finish(this.#open());
    assertEquals(damage, undefined, "A crash was taken for damage");
    if (this.#wasStopped) assertEquals(cutBytes, 0);
    this.#wasStopped = false;
    this.#model = this.#match(log);
    this.#changes = [];
    this.#promisedCount = 0;
    this.#log = log;
    return log;
  }

  /** The state that the log is in, if it may be in one. */
  #match(log: SegmentLog): Model {
    const { base, lastIndex } = log.shape;
    for (let k = this.#changes.length; k >= this.#promisedCount; k--) {
      const model = this.#current(k);
      if (model.lastIndex !== lastIndex) continue;
      if (base.index > lastIndex || base.index < model.base.index) continue;
      if (base.index < this.#compactedBase) continue;
      const undone = this.#changes.slice(k)
        .find((change) => change.kind === "reset");
      const compactedTo = undone?.compactedTo ?? this.#compactedTo;
      if (base.index > Math.max(compactedTo, model.base.index)) continue;
      model.compact(base.index);
      if (model.base.epoch.counter !== base.epoch.counter) continue;
      const wanted = model.entries;
      const found = log.read(base.index + 1, { bytesMax: Infinity });
      if (!isDeepEqual(found, wanted)) continue;
      this.#check(log, model, 500);
      this.#compactedTo = compactedTo;
      return model;
    }
    throw new Error(
      `After ${this.#changes.length} changes, of which ` +
        `${this.#promisedCount} were promised, the log is ${
          JSON.stringify(log.shape)
        }`,
    );
  }

  /** The log after the first so many changes, all by default. */
  #current(count = this.#changes.length): Model {
    const model = new Model(this.#model.base, this.#model.entries);
    for (const change of this.#changes.slice(0, count)) model.take(change);
    return model;
  }

  #check(log: SegmentLog, whole: Model, bytesMax: number): void {
    const model = new Model(whole.base, whole.entries);
    assert(log.base.index >= model.base.index, "The base went back");
    model.compact(log.base.index);
    assertEquals(log.shape, model.shape);
    assertEquals(log.firstIndex, log.base.index + 1);
    for (let next = log.firstIndex; next <= log.lastIndex;) {
      const entries = log.read(next, { bytesMax });
      assert(entries.length > 0, "There is an entry, and it is not read");
      const bytes = entries.slice(1)
        .reduce((sum, { command }) => sum + command.length, 0);
      assert(bytes <= bytesMax, "More was read than wanted");
      for (const entry of entries) {
        const wanted = model.entries[next - log.firstIndex];
        assert(isDeepEqual([entry], [wanted]), `Entry ${next} has changed`);
        next += 1;
      }
    }
    assertEquals(log.read(log.lastIndex + 1, { bytesMax }), []);
    assertEquals(log.read(log.base.index, { bytesMax }), []);
  }
}

function epochOf(counter: number): Epoch {
  return { counter, store: "00000000000000aa" };
}

function isDeepEqual(a: readonly LogEntry[], b: readonly LogEntry[]): boolean {
  return a.length === b.length &&
    a.every((entry, i) =>
      entry.index === b[i].index &&
      entry.epoch.counter === b[i].epoch.counter &&
      entry.epoch.store === b[i].epoch.store &&
      entry.command.length === b[i].command.length &&
      entry.command.every((byte, at) => byte === b[i].command[at])
    );
}
