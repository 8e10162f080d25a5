/** What the bench of the chain says in the end. */

import { summarize } from "../statistics.ts";
import { formatTable } from "../table.ts";
import { ratioOf, type Row, rowOf, type Section } from "./figures.ts";
import type { Memory } from "./memory.ts";
import { PYTHON, SOCAT, SOCAT_LARGE } from "./peers.ts";

/** Skein, as its own clients speak to it: what the targets are about. */
export const SKEIN = "Skein, acknowledged";

/** Memory of a head, by how its client speaks. */
export interface MemoryRow {
  readonly client: string;
  readonly memory: Memory;
}

/** All that was measured. */
export interface Results {
  readonly sections: readonly Section[];
  readonly memory: readonly MemoryRow[];
}

/** What is to be reached, and what was. */
export interface Target {
  readonly about: string;
  readonly wanted: string;
  readonly reached: string;
  /** Undefined when it could not be measured. */
  readonly isReached: boolean | undefined;
}

const MIB = 1_048_576;
const MEMORY_BYTES_MAX = 120 * MIB;

/** A table as lines of text, its title first. */
export function describeSection(section: Section): string[] {
  const isFlood = section.kind === "flood";
  const bases: readonly (readonly [string, string])[] = [
    [SOCAT, "x socat"],
    [SOCAT_LARGE, "x socat -b"],
    [PYTHON, "x Python"],
  ];
  const head = isFlood
    ? ["messages a second", "median", "min–max", "MB/s"]
    : ["one message, us", "median", "min–max", "p99"];
  const rows = section.rows.map((row) => {
    const { median, min, max } = summarize(row.values);
    const last = isFlood
      ? (median * section.lineBytes / 1e6).toFixed(0)
      : summarize(row.high ?? row.values).median.toFixed(0);
    return [
      row.system,
      show(median, isFlood),
      `${show(min, isFlood)}–${show(max, isFlood)}`,
      last,
      ...bases.map(([base]) => showRatio(row, rowOf(section, base))),
      `${row.processes}`,
      row.acknowledged,
    ];
  });
  const columns = [
    ...head,
    ...bases.map(([, title]) => title),
    "processes",
    "acknowledged",
  ];
  return [section.title, "", ...formatTable(columns, rows)];
}

/** The heads' memory as lines of text. */
export function describeMemory(rows: readonly MemoryRow[]): string[] {
  const mib = (bytes: number) => (bytes / MIB).toFixed(1);
  const columns = ["MiB of the head", "at first", "pipe full", "peak", "taken"];
  return [
    "Memory with the pipe full and the successor stopped, 100-byte lines",
    "",
    ...formatTable(
      columns,
      rows.map(({ client, memory }) => [
        client,
        mib(memory.startBytes),
        mib(memory.fullBytes),
        mib(memory.peakBytes),
        mib(memory.takenBytes),
      ]),
    ),
  ];
}

/** What the project wants to reach, next to what this run reached. */
export function targetsOf(results: Results): Target[] {
  const find = (kind: Section["kind"]) =>
    results.sections.find((section) =>
      section.kind === kind && section.lineBytes === 100
    );
  const peaks = results.memory.map(({ memory }) => memory.peakBytes);
  const peak = Math.max(...peaks);
  return [
    ratioTarget(find("flood"), { base: SOCAT, atLeast: 0.8 }),
    ratioTarget(find("flood"), { base: SOCAT_LARGE, atLeast: 0.8 }),
    ratioTarget(find("flood"), { base: PYTHON, atLeast: 30 }),
    ratioTarget(find("ping"), { base: SOCAT, atMost: 1.6 }),
    {
      about: "memory of a head, pipe full, successor stopped",
      wanted: `under ${MEMORY_BYTES_MAX / MIB} MiB`,
      reached: peaks.length === 0 ? "-" : `${(peak / MIB).toFixed(1)} MiB`,
      isReached: peaks.length === 0 ? undefined : peak < MEMORY_BYTES_MAX,
    },
  ];
}

/** The targets as lines of text. */
export function describeTargets(targets: readonly Target[]): string[] {
  const rows = targets.map(({ about, wanted, reached, isReached }) => [
    about,
    wanted,
    reached,
    isReached === undefined ? "not measured" : isReached ? "yes" : "no",
  ]);
  return [
    "Targets (end-to-end acknowledgement on)",
    "",
    ...formatTable(["", "wanted", "found", "reached"], rows),
  ];
}

function ratioTarget(
  section: Section | undefined,
  wanted: { base: string; atLeast?: number; atMost?: number },
): Target {
  const ratio = section === undefined
    ? undefined
    : ratioOf(rowOf(section, SKEIN), rowOf(section, wanted.base));
  const { atLeast = -Infinity, atMost = Infinity } = wanted;
  return {
    about: section?.kind === "ping"
      ? "one message of 100 bytes, median"
      : "messages of 100 bytes a second, pipe full",
    wanted: wanted.atLeast === undefined
      ? `at most ${atMost} x ${wanted.base}`
      : `at least ${atLeast} x ${wanted.base}`,
    reached: ratio === undefined ? "-" : `${showFactor(ratio.median)} x`,
    isReached: ratio === undefined
      ? undefined
      : ratio.median >= atLeast && ratio.median <= atMost,
  };
}

function show(value: number, isFlood: boolean): string {
  return isFlood ? `${(value / 1e6).toPrecision(3)} M` : value.toFixed(0);
}

function showRatio(row: Row, base: Row | undefined): string {
  const ratio = ratioOf(row, base);
  return ratio === undefined ? "-" : showFactor(ratio.median);
}

function showFactor(factor: number): string {
  return factor.toFixed(factor < 10 ? 2 : 0);
}
