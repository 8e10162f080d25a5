/** The newest entries of a log, kept in memory. */

import { EPOCH_NONE } from "../protocol/epoch.ts";
import type { LogEntry } from "../protocol/replica.ts";

/** What an entry takes in memory beside its command, in bytes, about. */
const ENTRY_BYTES = 250;

const FORGOTTEN: LogEntry = {
  index: 0,
  epoch: EPOCH_NONE,
  command: new Uint8Array(0),
};

/** How much of a log is wanted. */
export interface LogRange {
  /** Index of the first entry. */
  readonly from: number;
  /** Index of the last entry. */
  readonly to: number;
  /** Bytes of commands; the first entry may have more. */
  readonly bytesMax: number;
}

/** Bounded by the memory that it takes; the oldest entries go first. */
export class LogTail {
  /** Of memory. */
  readonly bytesMax: number;
  #entries: LogEntry[] = [];
  /** Entries before this place were forgotten, and are removed now and then. */
  #start = 0;
  #bytes = 0;

  /** @param bytesMax Of memory; 0 keeps nothing. */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Index of the oldest entry kept; `Infinity` if none is. */
  get firstIndex(): number {
    return this.#entries[this.#start]?.index ?? Infinity;
  }

  /** The entry after the last. */
  push(entry: LogEntry): void {
    this.#entries.push(entry);
    this.#bytes += ENTRY_BYTES + entry.command.length;
    while (this.#bytes > this.bytesMax) this.#forgetFirst();
  }

  /** Forgets the entries after an index. */
  cut(after: number): void {
    while (
      this.#entries.length > this.#start &&
      this.#entries[this.#entries.length - 1].index > after
    ) {
      const { command } = this.#entries[this.#entries.length - 1];
      this.#entries.pop();
      this.#bytes -= ENTRY_BYTES + command.length;
    }
  }

  /** Forgets the entries before an index. */
  forgetBefore(index: number): void {
    while (this.firstIndex < index) this.#forgetFirst();
  }

  /**
   * Adds the wanted entries to `into`, which holds `bytes` bytes of commands of
   * the same range already.
   *
   * @param range `from` is kept.
   */
  read(range: LogRange, into: LogEntry[], bytes: number): void {
    let total = bytes;
    let at = this.#start + range.from - this.firstIndex;
    for (; at < this.#entries.length; at++) {
      const entry = this.#entries[at];
      total += entry.command.length;
      if (entry.index > range.to) return;
      if (into.length > 0 && total > range.bytesMax) return;
      into.push(entry);
    }
  }

  #forgetFirst(): void {
    const { command } = this.#entries[this.#start];
    this.#bytes -= ENTRY_BYTES + command.length;
    this.#entries[this.#start] = FORGOTTEN;
    this.#start += 1;
    // So that an entry is moved only a few times.
    if (2 * this.#start < this.#entries.length && this.#start < 4096) return;
    this.#entries = this.#entries.slice(this.#start);
    this.#start = 0;
  }
}
