/** Keeps the log readable: looks for rot while nobody needs it, and mends it from other servers. */

import { WireError } from "../../../protocol/errors.ts";
import type { LogEntry } from "../../../protocol/replica.ts";
import { LogScrub, SCRUB_STEP_BYTES } from "../../../storage/scrub.ts";
import type {
  SegmentDamage,
  SegmentLog,
} from "../../../storage/segment_log.ts";
import type { Log } from "../../host/log.ts";

/** Between two rounds, so that a short log is not read all the time. */
const ROUND_PAUSE_MS = 3_000;

/** Steps in a second, unless that were too much for one; each takes a millisecond at most. */
const STEPS_PER_SECOND = 8;

/** A host that comes later than this does not make up for it: all else goes first. */
const LATE_MS_MAX = 250;

/** What makes a scrubber. */
export interface ScrubberParts {
  readonly log: SegmentLog;
  /** Bytes read a second; 0: only what others meet is mended. */
  readonly bytesPerSecond: number;
  /**
   * Gets committed entries, both ends included, from another server.
   *
   * @throws {WireError} Nobody has them now.
   */
  readonly fetch: (range: { from: number; to: number }) => Promise<LogEntry[]>;
  /** A write failed: exit. */
  readonly onFatal: (error: unknown) => void;
  readonly journal: Log;
}

/** Numbers for metrics. */
export interface ScrubCounters {
  /** Bad files of the log found, each time that they are met. */
  readonly found: number;
  /** Those written anew from another server's entries. */
  readonly mended: number;
  /** How often the whole log was read. */
  readonly rounds: number;
}

/** One per log; its host calls {@linkcode tick} some ten times a second. */
export class Scrubber {
  readonly #parts: ScrubberParts;
  readonly #scrub: LogScrub;
  readonly #stepMs: number;
  /** By segment: what is being mended. They go one after the other. */
  readonly #mending = new Map<number, Promise<boolean>>();
  #turn: Promise<unknown> = Promise.resolve();
  /** Found bad, and no server could help; until it is mended or compacted. */
  #unmended: SegmentDamage | undefined;
  #nextMs: number | undefined;
  #found = 0;
  #mended = 0;
  #isClosed = false;

  constructor(parts: ScrubberParts) {
    this.#parts = parts;
    const { log, bytesPerSecond } = parts;
    const stepBytes = Math.max(
      1,
      Math.min(SCRUB_STEP_BYTES, bytesPerSecond / STEPS_PER_SECOND),
    );
    this.#scrub = new LogScrub(log, stepBytes);
    this.#stepMs = stepBytes / bytesPerSecond * 1_000;
  }

  get counters(): ScrubCounters {
    return {
      found: this.#found,
      mended: this.#mended,
      rounds: this.#scrub.roundCount,
    };
  }

  /** Reads as much as is due by now, and begins to mend what it finds. */
  tick(nowMs: number): void {
    if (this.#stepMs === Infinity) return;
    this.#nextMs = Math.max(this.#nextMs ?? nowMs, nowMs - LATE_MS_MAX);
    while (this.#nextMs <= nowMs) {
      if (this.#isClosed || this.#mending.size > 0) return;
      this.#nextMs += this.#stepMs;
      const { roundCount } = this.#scrub;
      const damage = this.#scrub.step();
      if (damage !== undefined) void this.mend(damage);
      if (this.#scrub.roundCount > roundCount) {
        this.#nextMs = nowMs + ROUND_PAUSE_MS;
      }
    }
  }

  /**
   * Mends a bad file of the log, wherever it was met.
   *
   * @returns Whether it can be read now. If not, it is tried again when it is
   * met again, or a snapshot takes its place: see {@linkcode needsSnapshot}.
   */
  mend(damage: SegmentDamage): Promise<boolean> {
    const { segment } = damage;
    const running = this.#mending.get(segment);
    if (running !== undefined) return running;
    const { path, position, reason } = damage;
    this.#found += 1;
    this.#parts.journal.error("The log is damaged", { path, position, reason });
    const mending = this.#turn.then(() => this.#mend(damage)).catch((error) => {
      this.#parts.onFatal(error);
      return false;
    }).finally(() => this.#mending.delete(segment));
    this.#turn = mending;
    this.#mending.set(segment, mending);
    return mending;
  }

  /**
   * Whether to take a snapshot now and compact the log, which removes a bad file
   * that no server could help with.
   *
   * @param appliedIndex The state has all up to here.
   */
  needsSnapshot(appliedIndex: number): boolean {
    const damage = this.#unmended;
    if (damage === undefined) return false;
    const segment = this.#parts.log.segments
      .find(({ number }) => number === damage.segment);
    if (segment === undefined) this.#unmended = undefined;
    return segment !== undefined &&
      segment.first + segment.count - 1 <= appliedIndex;
  }

  /** Begins nothing any more; what is being written the log waits for when it is closed. */
  close(): void {
    this.#isClosed = true;
  }

  async #mend(damage: SegmentDamage): Promise<boolean> {
    const { path, firstIndex: from, lastIndex: to } = damage;
    const { log, fetch, journal } = this.#parts;
    try {
      const entries = from > to ? [] : await fetch({ from, to });
      if (this.#isClosed) return false;
      await log.repair(damage, entries);
    } catch (error) {
      // No server has them, or they are others than were here.
      const isPassing = error instanceof WireError ||
        error instanceof RangeError;
      if (this.#isClosed) return false;
      if (!isPassing) throw error;
      this.#unmended = damage;
      journal.warn("Cannot mend the log from another server", {
        path,
        from,
        to,
        reason: error.message,
      });
      return false;
    }
    if (this.#unmended?.segment === damage.segment) this.#unmended = undefined;
    this.#mended += 1;
    journal.info("Mended the log from another server", { path, from, to });
    return true;
  }
}
