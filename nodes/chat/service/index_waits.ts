/** Reads that wait: until an index is applied, or until the group says which. */

import { WireError } from "../../../protocol/errors.ts";

/** Why a wait ended without what it waited for. */
export type WaitFailure = "timeout" | "no-primary";

/** What is called when a wait is over; `undefined`: go on. */
export type WaitDone = (failure: WaitFailure | undefined) => void;

interface Wait {
  readonly index: number;
  readonly untilMs: number;
  readonly done: WaitDone;
}

interface Ask {
  readonly untilMs: number;
  readonly done: WaitDone;
}

/** What {@linkcode IndexWaits} asks. */
export interface IndexSource {
  /** Index of the last entry applied here. */
  appliedIndex(): number;
  /** See `CommittedLog.readIndex`. */
  readIndex(): Promise<number>;
}

/** How soon a group that could not say is asked again. */
const ASK_AGAIN_MS = 100;

/**
 * Holds reads back until they may be answered. Bounded by whoever counts
 * requests: each wait belongs to one.
 */
export class IndexWaits {
  readonly #source: IndexSource;
  #waits: Wait[] = [];
  /** Lowest index of {@linkcode #waits}. */
  #lowest = Infinity;
  /** Wait for the answer that is under way. */
  #asked: Ask[] = [];
  /** Came while the group was being asked: that answer may be too old for them. */
  #asks: Ask[] = [];
  #isAsking = false;
  #askAgainMs = -Infinity;
  /** Of the last tick. */
  #nowMs = 0;

  constructor(source: IndexSource) {
    this.#source = source;
  }

  /** Calls back once `index` is applied: now, if it is. */
  applied(index: number, untilMs: number, done: WaitDone): void {
    if (index <= this.#source.appliedIndex()) return done(undefined);
    this.#waits.push({ index, untilMs, done });
    this.#lowest = Math.min(this.#lowest, index);
  }

  /** Calls back once all that was acknowledged anywhere before this call is applied. */
  newest(untilMs: number, done: WaitDone): void {
    this.#asks.push({ untilMs, done });
    if (!this.#isAsking) void this.#ask();
  }

  /** More was applied. */
  advance(): void {
    const index = this.#source.appliedIndex();
    if (index < this.#lowest) return;
    const waits = this.#waits;
    const ready = waits.filter((wait) => wait.index <= index);
    this.#keep(waits.filter((wait) => wait.index > index));
    for (const { done } of ready) done(undefined);
  }

  /** The group may answer now. */
  groupChanged(): void {
    if (!this.#isAsking && this.#asks.length > 0) void this.#ask();
  }

  /** Ends waits that took too long. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    const late = this.#waits.filter(({ untilMs }) => untilMs <= nowMs);
    if (late.length > 0) {
      this.#keep(this.#waits.filter(({ untilMs }) => untilMs > nowMs));
    }
    const unanswered = [...this.#asked, ...this.#asks]
      .filter(({ untilMs }) => untilMs <= nowMs);
    if (unanswered.length > 0) {
      this.#asked = this.#asked.filter(({ untilMs }) => untilMs > nowMs);
      this.#asks = this.#asks.filter(({ untilMs }) => untilMs > nowMs);
    }
    for (const { done } of late) done("timeout");
    for (const { done } of unanswered) done("no-primary");
    const mayAsk = !this.#isAsking && nowMs >= this.#askAgainMs;
    if (this.#asks.length > 0 && mayAsk) void this.#ask();
  }

  #keep(waits: Wait[]): void {
    this.#waits = waits;
    this.#lowest = waits.reduce(
      (lowest, { index }) => Math.min(lowest, index),
      Infinity,
    );
  }

  /** One question for all who wait; who comes meanwhile needs the next one. */
  async #ask(): Promise<void> {
    this.#asked = this.#asks;
    this.#asks = [];
    this.#isAsking = true;
    let index: number | undefined;
    try {
      index = await this.#source.readIndex();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#askAgainMs = this.#nowMs + ASK_AGAIN_MS;
    } finally {
      this.#isAsking = false;
    }
    const asked = this.#asked;
    this.#asked = [];
    if (index === undefined) {
      this.#asks = [...asked, ...this.#asks];
      return;
    }
    for (const { untilMs, done } of asked) this.applied(index, untilMs, done);
    if (this.#asks.length > 0 && !this.#isAsking) void this.#ask();
  }
}
