/** What was measured of each group, and how the systems compare. */

import { summarize, type Summary } from "../statistics.ts";

/** One group: its third node joins, then one is killed. All in milliseconds. */
export interface Run {
  /** From the start of the third node's process until it prints a line. */
  readonly firstLineMs: number;
  /** From there until it says that it is one of three members. */
  readonly memberMs: number;
  /** From the start until all three say that they are. */
  readonly allMs: number;
  /** From the SIGKILL until both others name themselves and nobody else. */
  readonly goneMs: number;
  /** From the SIGKILL until one of them has acknowledged a later write. */
  readonly writtenMs: number | undefined;
}

/** One figure of a run; undefined where there is none. */
export type Figure = (run: Run) => number | undefined;

/** Of one system, by round; undefined where a run has failed. */
export type Runs = readonly (Run | undefined)[];

/** Undefined when there is no such figure. */
export function summaryOf(runs: Runs, figure: Figure): Summary | undefined {
  const values = runs.map((run) => run && figure(run))
    .filter((value) => value !== undefined);
  return values.length === 0 ? undefined : summarize(values);
}

/**
 * How many times the figure of `base` that of `runs` is, at the median: by
 * round, for only figures of one round were taken under the same conditions.
 */
export function ratioOf(
  runs: Runs,
  base: Runs,
  figure: Figure,
): number | undefined {
  const ratios = runs.flatMap((run, round) => {
    const own = run && figure(run);
    const other = base.at(round);
    const others = other && figure(other);
    return own === undefined || others === undefined ? [] : [own / others];
  });
  return ratios.length === 0 ? undefined : summarize(ratios).median;
}
