/** Whether the lines of a shared log are what they must be, line by line. */

import { readLogLine } from "./shared_log_line.ts";

/** First and last number of a stretch that did not come. */
type Gap = readonly [first: number, last: number];

/** Stretches of missing numbers that are remembered, to tell late from repeated. */
const GAPS_MAX = 1_000;

/**
 * Takes all lines in their order, through all files. The first number may be
 * any: older files are removed.
 */
export class SharedLogChecker {
  lineCount = 0;
  firstSeq: number | undefined;
  lastSeq: number | undefined;
  #gaps: Gap[] = [];

  /**
   * @param text A line without its newline.
   * @returns What is wrong with it, as a sentence without its subject.
   */
  take(text: string): string | undefined {
    this.lineCount += 1;
    const { line, problem } = readLogLine(text);
    if (line === undefined) return problem;
    const { seq } = line;
    const last = this.lastSeq;
    if (last === undefined) {
      this.firstSeq = seq;
      this.lastSeq = seq;
      return undefined;
    }
    if (seq <= last) return this.#late(seq, last);
    this.lastSeq = seq;
    if (seq === last + 1) return undefined;
    if (this.#gaps.length < GAPS_MAX) this.#gaps.push([last + 1, seq - 1]);
    const missing = seq - last - 1;
    return `has number ${seq} after ${last}: ${missing} ${
      missing === 1 ? "number is" : "numbers are"
    } missing`;
  }

  #late(seq: number, last: number): string {
    const isFirstTime = this.#gaps.some(([from, to]) =>
      seq >= from && seq <= to
    );
    if (!isFirstTime) return `has number ${seq} after ${last}: it was there`;
    const split = (gap: Gap): Gap[] => {
      const [from, to] = gap;
      if (seq < from || seq > to) return [gap];
      const parts: Gap[] = [[from, seq - 1], [seq + 1, to]];
      return parts.filter(([start, end]) => start <= end);
    };
    this.#gaps = this.#gaps.flatMap(split).slice(0, GAPS_MAX);
    return `has number ${seq} after ${last}: it is out of order`;
  }
}
