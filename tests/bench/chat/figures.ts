/** What was measured of each system, and how the systems compare. */

import { summarize, type Summary } from "../statistics.ts";
import type { Case } from "./cases.ts";
import type { LoadResult } from "./load_plan.ts";

/** Where the clients were connected. */
export type Placement = "at the leader" | "at all three";

/** One line of a table: a system under one load, a result a round. */
export interface Row {
  readonly system: string;
  readonly placement: Placement;
  readonly results: readonly LoadResult[];
}

/** One table. */
export interface Section {
  readonly case: Case["name"];
  readonly title: string;
  readonly rows: readonly Row[];
}

/** How long nobody could write after a leader was killed. */
export interface Failover {
  readonly system: string;
  readonly gapsMs: readonly number[];
}

/** Skein's servers with many messages stored. */
export interface History {
  readonly messages: number;
  /** Of the largest server. */
  readonly residentBytes: number;
  readonly peakBytes: number;
  /** From the start of one server's process until it is in sync again. */
  readonly serverStartMs: number;
  /** From the start of all processes until all servers take writes. */
  readonly groupStartMs: number;
}

/** Writes a second, one figure a round. */
export function ratesOf({ results }: Row): number[] {
  return results.map(({ writes, seconds }) => writes / seconds);
}

/** Of a system's lines that one with the most writes a second at the median. */
export function bestRow(section: Section, system: string): Row | undefined {
  const median = (row: Row) => summarize(ratesOf(row)).median;
  return section.rows.filter((row) => row.system === system)
    .toSorted((a, b) => median(b) - median(a))[0];
}

/**
 * How often `row` has the writes a second of `base`: by round, then summarized,
 * for only figures of one round were taken under the same conditions.
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
