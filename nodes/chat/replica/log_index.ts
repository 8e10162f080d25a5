/** What the core knows of its log: places and epochs, no commands. */

import { type Epoch, isSameEpoch } from "../../../protocol/epoch.ts";
import { compareEpochs, EPOCH_NONE } from "../../../protocol/epoch.ts";
import type { LogEntry, LogPosition } from "../../../protocol/replica.ts";
import type { LogShape } from "./contract.ts";

/** Before the first entry. */
export const LOG_START: LogPosition = { index: 0, epoch: EPOCH_NONE };

/**
 * Follows a log that the host keeps: which epoch each index has, and up to
 * which index all is on disk. `base.index <= durableIndex <= lastIndex`.
 */
export class LogIndex {
  #base: LogPosition = LOG_START;
  /** First index of each epoch above the base, ascending in both. */
  #runs: LogPosition[] = [];
  #lastIndex = 0;
  #durableIndex = 0;
  #lastWrite = 0;
  /** Writes not yet durable, and the last index that each leaves behind. */
  #pending: {
    readonly write: number;
    index: number;
    readonly sinceMs: number;
  }[] = [];

  /** Takes what a restart found. */
  load(shape: LogShape): void {
    this.#base = shape.base;
    this.#runs = [...shape.runs];
    this.#lastIndex = shape.lastIndex;
    this.#durableIndex = shape.lastIndex;
    this.#pending = [];
  }

  get base(): LogPosition {
    return this.#base;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** All up to here survives a power loss, and will not be cut unless it conflicts. */
  get durableIndex(): number {
    return this.#durableIndex;
  }

  /** The last entry, or the base. */
  get last(): LogPosition {
    return {
      index: this.#lastIndex,
      epoch: this.#runs.at(-1)?.epoch ?? this.#base.epoch,
    };
  }

  /** Since when the oldest write waits for its sync, or undefined. */
  get pendingSinceMs(): number | undefined {
    return this.#pending[0]?.sinceMs;
  }

  /** Undefined below the base and above the end. */
  epochAt(index: number): Epoch | undefined {
    if (index === this.#base.index) return this.#base.epoch;
    if (index < this.#base.index || index > this.#lastIndex) return undefined;
    const runs = this.#runs;
    let low = 0;
    let high = runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (runs[middle].index <= index) low = middle;
      else high = middle - 1;
    }
    return runs[low].epoch;
  }

  /** The place at `index`, which is there. */
  at(index: number): LogPosition {
    const epoch = this.epochAt(index);
    if (epoch === undefined) {
      throw new Error(
        `Index ${index} is not in ${this.#base.index} to ${this.#lastIndex}`,
      );
    }
    return { index, epoch };
  }

  /** Whether the entry at `position` is the one that it names. */
  has(position: LogPosition): boolean {
    const epoch = this.epochAt(position.index);
    return epoch !== undefined && isSameEpoch(epoch, position.epoch);
  }

  /** The last place at or before `index` whose epoch is at most `epoch`, or the base. */
  lastUpTo(index: number, epoch: Epoch): LogPosition {
    let at = Math.min(index, this.#lastIndex);
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i];
      if (run.index > at) continue;
      if (compareEpochs(run.epoch, epoch) <= 0) {
        return { index: at, epoch: run.epoch };
      }
      at = run.index - 1;
    }
    return this.#base;
  }

  /** Adds entries that follow the last one; returns the number of the write. */
  append(entries: readonly LogEntry[], nowMs: number): number {
    for (const { index, epoch } of entries) {
      if (index !== this.#lastIndex + 1) {
        throw new Error(`Index ${index} does not follow ${this.#lastIndex}`);
      }
      const last = this.#runs.at(-1);
      if (last === undefined || !isSameEpoch(last.epoch, epoch)) {
        this.#runs.push({ index, epoch });
      }
      this.#lastIndex = index;
    }
    return this.#note(nowMs);
  }

  /** Drops what is after `after`; returns the number of the write. */
  cut(after: number, nowMs: number): number {
    if (after < this.#base.index) {
      throw new Error(`Cannot cut after ${after}: base is ${this.#base.index}`);
    }
    while ((this.#runs.at(-1)?.index ?? 0) > after) this.#runs.pop();
    this.#lastIndex = after;
    this.#durableIndex = Math.min(this.#durableIndex, after);
    // A write that is under way brings nothing back of what was cut since.
    for (const write of this.#pending) {
      write.index = Math.min(write.index, after);
    }
    return this.#note(nowMs);
  }

  /** All writes up to number `write` are on disk. */
  durable(write: number): void {
    while (this.#pending.length > 0 && this.#pending[0].write <= write) {
      const done = this.#pending.shift();
      if (done !== undefined) this.#durableIndex = done.index;
    }
  }

  /** Entries up to `base` are gone. */
  compact(base: LogPosition): void {
    if (base.index <= this.#base.index) return;
    const runs = this.#runs.filter(({ index }) => index > base.index);
    const epoch = this.epochAt(base.index + 1);
    if (epoch !== undefined && runs[0]?.index !== base.index + 1) {
      runs.unshift({ index: base.index + 1, epoch });
    }
    this.#runs = runs;
    this.#base = base;
  }

  /** The log is empty and begins after `base`. */
  reset(base: LogPosition): void {
    this.#base = base;
    this.#runs = [];
    this.#lastIndex = base.index;
    this.#durableIndex = base.index;
    this.#pending = [];
  }

  /** Takes the oldest write as begun just now: this process itself was stopped. */
  forgiveStall(nowMs: number): void {
    this.#pending = this.#pending.map((write) => ({
      ...write,
      sinceMs: nowMs,
    }));
  }

  #note(nowMs: number): number {
    const write = ++this.#lastWrite;
    this.#pending.push({ write, index: this.#lastIndex, sinceMs: nowMs });
    return write;
  }
}
