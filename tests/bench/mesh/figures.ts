/** What was measured of each system, and how the systems compare. */

import { summarize, type Summary } from "../statistics.ts";

/** One run of the generator; the fields' names are its own. */
export interface FanOutResult {
  readonly seconds: number;
  /** To all subscribers together; an echo to the publisher does not count. */
  readonly delivered: number;
  readonly published: number;
  /** From the publisher's write to a subscriber's read, sampled. */
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  readonly samples: number;
  /** Processor time of the server and of the generator. */
  readonly serverSeconds: number;
  readonly loadSeconds: number;
  /** Resident memory of the server, all connected. */
  readonly memoryBytes: number;
  /** From the first connection until all take part. */
  readonly openMs: number;
}

/** One line of a table: a system, a result a round. */
export interface Row {
  readonly system: string;
  readonly results: readonly FanOutResult[];
}

/** One table. */
export interface Section {
  readonly subscribers: number;
  readonly rows: readonly Row[];
}

/** Delivered messages a second, one figure a round. */
export function ratesOf({ results }: Row): number[] {
  return results.map(({ delivered, seconds }) => delivered / seconds);
}

/** Finds a table's line. */
export function rowOf(section: Section, system: string): Row | undefined {
  return section.rows.find((row) => row.system === system);
}

/**
 * How often `row` has the rate of `base`: by round, then summarized, for only
 * figures of one round were taken under the same conditions.
 */
export function ratioOf(
  row: Row | undefined,
  base: Row | undefined,
): Summary | undefined {
  if (row === undefined || base === undefined) return undefined;
  const bases = ratesOf(base);
  if (row.results.length !== bases.length) return undefined;
  return summarize(ratesOf(row).map((rate, round) => rate / bases[round]));
}
