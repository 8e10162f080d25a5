/** What the bench of the chat says in the end. */

import { summarize } from "../statistics.ts";
import { formatTable } from "../table.ts";
import {
  bestRow,
  type Failover,
  type History,
  ratesOf,
  ratioOf,
  type Row,
  type Section,
} from "./figures.ts";
import type { LoadResult } from "./load_plan.ts";
import { ETCD, JETSTREAM, SKEIN } from "./systems.ts";

/** All that was measured. */
export interface Results {
  readonly sections: readonly Section[];
  readonly failovers: readonly Failover[];
  readonly history: History | undefined;
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
const MEMORY_BYTES_MAX = 300 * MIB;
const START_MS_MAX = 3_000;
const HISTORY_MESSAGES = 1_000_000;
const GAP_MEDIAN_MS_MAX = 50;
const GAP_WORST_MS_MAX = 200;

/** A table as lines of text, its title first. */
export function describeSection(section: Section): string[] {
  const bases = [ETCD, JETSTREAM].map((name) => bestRow(section, name));
  const rows = section.rows.map((row) => {
    const { median, min, max } = summarize(ratesOf(row));
    return [
      `${row.system}, ${row.placement}`,
      count(median),
      `${count(min)}–${count(max)}`,
      milliseconds(row, ({ p50Us }) => p50Us),
      milliseconds(row, ({ p99Us }) => p99Us),
      ...bases.map((base) => factor(ratioOf(row, base)?.median)),
      medianOf(row, ({ serverCpus }) => serverCpus).toFixed(2),
      medianOf(row, ({ loadCpus }) => loadCpus).toFixed(2),
    ];
  });
  const columns = [
    "writes a second, clients",
    "median",
    "min–max",
    "p50 ms",
    "p99 ms",
    "x etcd",
    "x JetStream",
    "CPUs servers",
    "load",
  ];
  return [section.title, "", ...formatTable(columns, rows)];
}

/** How long nobody could write, as lines of text. */
export function describeFailovers(failovers: readonly Failover[]): string[] {
  const rows = failovers.map(({ system, gapsMs }) => {
    const { median, min, max } = summarize(gapsMs);
    return [
      system,
      median.toFixed(0),
      min.toFixed(0),
      max.toFixed(0),
      `${gapsMs.length}`,
    ];
  });
  return [
    "SIGKILL of the leader under load until a write that began later is acknowledged",
    "",
    ...formatTable(["ms", "median", "best", "worst", "kills"], rows),
  ];
}

/** Memory and start as lines of text. */
export function describeHistory(history: History): string[] {
  const { messages, residentBytes, peakBytes } = history;
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(2)} s`;
  return [
    `Skein with ${count(messages)} messages stored`,
    "",
    ...formatTable(["", ""], [
      ["memory of the largest server", mib(residentBytes)],
      ["the most it ever had", mib(peakBytes)],
      [
        "start of a killed server until in sync",
        seconds(history.serverStartMs),
      ],
      ["start of all until all are ready", seconds(history.groupStartMs)],
    ]).slice(1),
  ];
}

/** What the project wants to reach, next to what this run reached. */
export function targetsOf(results: Results): Target[] {
  const find = (name: Section["case"]) =>
    results.sections.find((section) => section.case === name);
  const gaps = results.failovers.find(({ system }) => system === SKEIN);
  const gap = gaps === undefined ? undefined : summarize(gaps.gapsMs);
  const { history } = results;
  const isLarge = history !== undefined &&
    history.messages >= HISTORY_MESSAGES;
  return [
    ratioTarget(find("64 clients"), { base: ETCD, atLeast: 3 }),
    ratioTarget(find("64 clients"), { base: JETSTREAM, atLeast: 1 }),
    ratioTarget(find("pipelined"), { base: JETSTREAM, atLeast: 2 }),
    atMost("after SIGKILL, median", gap?.median, {
      max: GAP_MEDIAN_MS_MAX,
      format: (ms) => `${ms.toFixed(0)} ms`,
    }),
    atMost("after SIGKILL, worst", gap?.max, {
      max: GAP_WORST_MS_MAX,
      format: (ms) => `${ms.toFixed(0)} ms`,
    }),
    atMost(
      "memory with 1,000,000 messages",
      isLarge ? history.residentBytes : undefined,
      {
        max: MEMORY_BYTES_MAX,
        format: (bytes) => `${(bytes / MIB).toFixed(0)} MiB`,
      },
    ),
    atMost(
      "start with 1,000,000 messages",
      isLarge ? history.serverStartMs : undefined,
      { max: START_MS_MAX, format: (ms) => `${(ms / 1_000).toFixed(2)} s` },
    ),
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
    "Targets (Skein and each other system at their better placement)",
    "",
    ...formatTable(["", "wanted", "found", "reached"], rows),
  ];
}

function ratioTarget(
  section: Section | undefined,
  { base, atLeast }: { readonly base: string; readonly atLeast: number },
): Target {
  const ratio = section === undefined
    ? undefined
    : ratioOf(bestRow(section, SKEIN), bestRow(section, base));
  return {
    about: `writes a second, ${section?.case ?? "not run"}`,
    wanted: `at least ${atLeast} x ${base}`,
    reached: ratio === undefined ? "-" : `${factor(ratio.median)} x`,
    isReached: ratio === undefined ? undefined : ratio.median >= atLeast,
  };
}

function atMost(
  about: string,
  found: number | undefined,
  { max, format }: {
    readonly max: number;
    format(value: number): string;
  },
): Target {
  return {
    about,
    wanted: `at most ${format(max)}`,
    reached: found === undefined ? "-" : format(found),
    isReached: found === undefined ? undefined : found <= max,
  };
}

function medianOf(row: Row, field: (result: LoadResult) => number): number {
  return summarize(row.results.map(field)).median;
}

function milliseconds(
  row: Row,
  fieldUs: (result: LoadResult) => number,
): string {
  const ms = medianOf(row, fieldUs) / 1_000;
  return ms.toFixed(ms < 10 ? 2 : 1);
}

function factor(value: number | undefined): string {
  if (value === undefined) return "-";
  return value.toFixed(value < 10 ? 2 : 0);
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}
