/** Where in which segment each entry of a log is, and of what epoch; no commands. */

import type { Epoch } from "../protocol/epoch.ts";
import { isSameEpoch } from "../protocol/epoch.ts";
import type { LogPosition, LogShape } from "../protocol/replica.ts";

/** How a segment begins. */
export interface SegmentStart {
  /** Counts the segments of a log, from 1. */
  readonly number: number;
  readonly path: string;
  readonly kind: "continues" | "resets";
  /** The log's last position when the segment was begun. */
  readonly base: LogPosition;
}

/** One segment. Its entries that count are `first` to `first + count - 1`. */
export interface Segment extends SegmentStart {
  readonly first: number;
  /** 0 or more. */
  readonly count: number;
  /** How often its file was written anew since the log was opened. */
  readonly revision: number;
}

class MutableSegment implements Segment {
  readonly number: number;
  readonly path: string;
  readonly kind: "continues" | "resets";
  readonly base: LogPosition;
  first: number;
  count = 0;
  revision = 0;
  /** Where each entry's record begins in the file; 0 for one that is gone. */
  positions = new Uint32Array(64);

  constructor(start: SegmentStart, first: number) {
    this.number = start.number;
    this.path = start.path;
    this.kind = start.kind;
    this.base = start.base;
    this.first = first;
  }

  push(position: number): void {
    if (this.count === this.positions.length) {
      const grown = new Uint32Array(2 * this.count);
      grown.set(this.positions);
      this.positions = grown;
    }
    this.positions[this.count++] = position;
  }

  cut(after: number): void {
    const rest = Math.max(0, after - this.first + 1);
    this.count = Math.min(this.count, rest);
    this.first = Math.min(this.first, after + 1);
  }
}

/** Largest position of a record that the map can keep, in bytes. */
export const SEGMENT_POSITION_MAX = 2 ** 32 - 1;

/**
 * 4 bytes of memory an entry, and a little for each segment and each epoch.
 * The segments' ranges of entries follow one another without a gap, oldest
 * first; some may be empty.
 */
export class LogMap {
  readonly #segments: MutableSegment[] = [];
  #runs: LogPosition[] = [];
  #base: LogPosition;
  #lastIndex: number;

  /** An empty log after `base`. */
  constructor(base: LogPosition) {
    this.#base = base;
    this.#lastIndex = base.index;
  }

  get base(): LogPosition {
    return this.#base;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** The last entry's position, or the base. */
  get last(): LogPosition {
    return this.positionAt(this.#lastIndex);
  }

  /** Oldest first; the last one is the one that is added to. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  get shape(): LogShape {
    return {
      base: this.#base,
      runs: [...this.#runs],
      lastIndex: this.#lastIndex,
    };
  }

  /** A segment begins behind the others; its base is the last position. */
  begin(start: SegmentStart): void {
    this.#segments.push(new MutableSegment(start, this.#lastIndex + 1));
  }

  /** The next entry, in the last segment. */
  add(epoch: Epoch, position: number): void {
    const segment = this.#segments[this.#segments.length - 1];
    const index = this.#lastIndex + 1;
    this.#addRun({ index, epoch });
    segment.push(position);
    this.#lastIndex = index;
  }

  /** Entries up to `end` that are not to be read any more. */
  addGone(end: LogPosition): void {
    while (this.#lastIndex < end.index) this.add(end.epoch, 0);
  }

  /**
   * Drops the entries after `position`. One before the base makes it the base:
   * what was before the base was compacted when that was known.
   */
  cut(position: LogPosition): void {
    for (const segment of this.#segments.toReversed()) {
      const isCut = segment.first <= position.index;
      segment.cut(position.index);
      if (isCut) break;
    }
    if (position.index < this.#base.index) {
      this.#base = { index: position.index, epoch: position.epoch };
    }
    this.#lastIndex = position.index;
    while ((this.#runs.at(-1)?.index ?? 0) > position.index) this.#runs.pop();
  }

  /** Forgets the oldest of several segments, and all before the next one's first. */
  dropFirst(): void {
    const [, next] = this.#segments;
    this.#base = this.positionAt(next.first - 1);
    this.#segments.shift();
    const first = this.#base.index + 1;
    while (this.#runs.length > 1 && this.#runs[1].index <= first) {
      this.#runs.shift();
    }
    if (this.#runs.length > 0 && this.#runs[0].index < first) {
      const { epoch } = this.#runs[0];
      if (first > this.#lastIndex) this.#runs = [];
      else this.#runs[0] = { index: first, epoch };
    }
  }

  /** @param index That of the base, or of an entry. */
  positionAt(index: number): LogPosition {
    if (index === this.#base.index) return this.#base;
    return { index, epoch: this.epochAt(index) };
  }

  /** @param index That of an entry. */
  epochAt(index: number): Epoch {
    let [low, high] = [0, this.#runs.length];
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#runs[middle].index <= index) low = middle;
      else high = middle;
    }
    if (index <= this.#base.index || index > this.#lastIndex) {
      throw new RangeError(
        `Index is ${index}, wanted ${
          this.#base.index + 1
        } to ${this.#lastIndex}`,
      );
    }
    return this.#runs[low].epoch;
  }

  /** The segment that holds an entry, and where in it. */
  locate(index: number): { segment: Segment; position: number } {
    let [low, high] = [0, this.#segments.length];
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#segments[middle].first <= index) low = middle;
      else high = middle;
    }
    const segment = this.#segments[low];
    const offset = index - segment.first;
    if (offset < 0 || offset >= segment.count) {
      throw new RangeError(
        `Index is ${index}, wanted ${
          this.#base.index + 1
        } to ${this.#lastIndex}`,
      );
    }
    return { segment, position: segment.positions[offset] };
  }

  /** Where the entries of a segment are, now that its file was written anew. */
  relocate(number: number, positions: Uint32Array<ArrayBuffer>): void {
    const segment = this.#segments.find((one) => one.number === number);
    if (segment === undefined) return;
    segment.positions = positions;
    segment.revision += 1;
  }

  /** The first entry that is gone although no cut followed: then a file is missing. */
  firstGone(): { segment: Segment; index: number } | undefined {
    for (const segment of this.#segments) {
      const at = segment.positions.subarray(0, segment.count).indexOf(0);
      if (at >= 0) return { segment, index: segment.first + at };
    }
    return undefined;
  }

  #addRun(first: LogPosition): void {
    const run = this.#runs[this.#runs.length - 1];
    if (run !== undefined && isSameEpoch(run.epoch, first.epoch)) return;
    this.#runs.push(first);
  }
}
