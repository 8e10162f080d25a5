/** What the bench of discovery says in the end. */

import { formatTable } from "../table.ts";
import { type Figure, ratioOf, type Runs, summaryOf } from "./figures.ts";

/** All runs of one system. */
export interface SystemRuns {
  readonly system: string;
  readonly runs: Runs;
}

const ROWS: readonly (readonly [string, Figure])[] = [
  [
    "start of the third process until its first line",
    ({ firstLineMs }) => firstLineMs,
  ],
  ["from there until it is one of three members", ({ memberMs }) => memberMs],
  [
    "both: start until it is one of three members",
    ({ firstLineMs, memberMs }) => firstLineMs + memberMs,
  ],
  ["start until all three say so", ({ allMs }) => allMs],
  ["SIGKILL until both others are without it", ({ goneMs }) => goneMs],
  [
    "SIGKILL of the leader until a write is acknowledged",
    ({ writtenMs }) => writtenMs,
  ],
];

/**
 * One table as lines of text.
 *
 * @param base Whose figures the first's are divided by; none: not installed.
 */
export function describeRuns(first: SystemRuns, base?: SystemRuns): string[] {
  const systems = base === undefined ? [first] : [first, base];
  const head = [
    "ms",
    ...systems.flatMap(({ system }) => [`${system}, median`, "worst", "runs"]),
    ...base === undefined ? [] : [`x ${base.system}`],
  ];
  const rows = ROWS.map(([title, figure]) => [
    title,
    ...systems.flatMap(({ runs }) => cellsOf(runs, figure)),
    ...base === undefined
      ? []
      : [factor(ratioOf(first.runs, base.runs, figure))],
  ]);
  return formatTable(head, rows);
}

function cellsOf(runs: Runs, figure: Figure): string[] {
  const summary = summaryOf(runs, figure);
  if (summary === undefined) return ["-", "-", "0"];
  const count = runs.filter((run) => run && figure(run) !== undefined).length;
  return [summary.median.toFixed(0), summary.max.toFixed(0), `${count}`];
}

function factor(value: number | undefined): string {
  if (value === undefined) return "-";
  return value.toFixed(value < 0.1 ? 3 : 2);
}
