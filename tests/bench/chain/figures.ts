/** What was measured of each chain, and how the chains compare. */

import { summarize, type Summary } from "../statistics.ts";

/** One line of a table. */
export interface Row {
  readonly system: string;
  readonly processes: number;
  /** Whether its sender learns that the tail has its messages. */
  readonly acknowledged: "yes" | "no" | "when closed";
  /** What counts, one value a round. */
  readonly values: readonly number[];
  /** What goes with it: the 99th percentiles of single messages. */
  readonly high?: readonly number[];
}

/** One table. */
export interface Section {
  readonly kind: "flood" | "ping";
  readonly title: string;
  readonly lineBytes: number;
  readonly rows: readonly Row[];
}

/** Finds a table's line. */
export function rowOf(section: Section, system: string): Row | undefined {
  return section.rows.find((row) => row.system === system);
}

/**
 * How often `row` has what `base` has: by round, then summarized, for only
 * figures of one round were taken under the same conditions.
 */
export function ratioOf(
  row: Row | undefined,
  base: Row | undefined,
): Summary | undefined {
  if (row === undefined || base === undefined) return undefined;
  if (row.values.length !== base.values.length) return undefined;
  return summarize(row.values.map((value, at) => value / base.values[at]));
}
