/** What the bench of the mesh says in the end. */

import { summarize } from "../statistics.ts";
import { formatTable } from "../table.ts";
import {
  type FanOutResult,
  ratesOf,
  ratioOf,
  type Row,
  rowOf,
  type Section,
} from "./figures.ts";
import {
  SHARED_LOG_RATIO_TARGET,
  type SharedLogFigures,
  sharedLogRatio,
} from "./shared_log.ts";
import { MOSQUITTO, NATS, NGIRCD, SKEIN } from "./systems.ts";

/** All that was measured. */
export interface Results {
  readonly sections: readonly Section[];
  readonly sharedLog: SharedLogFigures;
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

/** Clients of the case that the targets are about. */
const TARGET_SUBSCRIBERS = 100;

/** A table as lines of text, its title first. */
export function describeSection(section: Section): string[] {
  const bases = [NGIRCD, MOSQUITTO, NATS].map((name) => rowOf(section, name));
  const rows = section.rows.map((row) => {
    const { median, min, max } = summarize(ratesOf(row));
    return [
      row.system,
      millions(median),
      `${millions(min)}–${millions(max)}`,
      milliseconds(row, ({ p50Us }) => p50Us),
      milliseconds(row, ({ p99Us }) => p99Us),
      ...bases.map((base) => factor(ratioOf(row, base)?.median)),
      medianOf(row, nanosecondsEach).toFixed(0),
      medianOf(row, (one) => one.serverSeconds / one.seconds).toFixed(2),
      medianOf(row, (one) => one.loadSeconds / one.seconds).toFixed(2),
      medianOf(row, ({ memoryBytes }) => memoryBytes / MIB).toFixed(0),
    ];
  });
  const columns = [
    "delivered a second",
    "median",
    "min–max",
    "p50 ms",
    "p99 ms",
    "x ngircd",
    "x mosquitto",
    "x NATS",
    "CPU ns each",
    "CPUs server",
    "load",
    "MiB",
  ];
  const clients = section.subscribers.toLocaleString("en");
  return [
    `One publisher to ${clients} clients`,
    "",
    ...formatTable(columns, rows),
  ];
}

/** What the project wants to reach, next to what this run reached. */
export function targetsOf({ sections, sharedLog }: Results): Target[] {
  const section = sections.find(({ subscribers }) =>
    subscribers === TARGET_SUBSCRIBERS
  );
  return [
    ratioTarget(section, { base: NATS, atLeast: 2 }),
    ratioTarget(section, { base: NGIRCD, atLeast: 10 }),
    sharedLogTarget(sharedLogRatio(sharedLog)?.median),
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
    "Targets",
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
    : ratioOf(rowOf(section, SKEIN), rowOf(section, base));
  return {
    about: `delivered a second to ${TARGET_SUBSCRIBERS} clients`,
    wanted: `at least ${atLeast} x ${base}`,
    reached: ratio === undefined ? "-" : `${factor(ratio.median)} x`,
    isReached: ratio === undefined ? undefined : ratio.median >= atLeast,
  };
}

function sharedLogTarget(ratio: number | undefined): Target {
  return {
    about: "lines a second into the shared log, 4 processes",
    wanted: `at least ${SHARED_LOG_RATIO_TARGET} x flock per line in C`,
    reached: ratio === undefined ? "-" : `${factor(ratio)} x`,
    isReached: ratio === undefined
      ? undefined
      : ratio >= SHARED_LOG_RATIO_TARGET,
  };
}

function nanosecondsEach({ serverSeconds, delivered }: FanOutResult): number {
  return serverSeconds * 1e9 / delivered;
}

function medianOf(row: Row, field: (result: FanOutResult) => number): number {
  return summarize(row.results.map(field)).median;
}

function milliseconds(
  row: Row,
  fieldUs: (result: FanOutResult) => number,
): string {
  const ms = medianOf(row, fieldUs) / 1_000;
  return ms.toFixed(ms < 10 ? 2 : 1);
}

function millions(value: number): string {
  return `${(value / 1e6).toPrecision(3)} M`;
}

function factor(value: number | undefined): string {
  if (value === undefined) return "-";
  return value.toFixed(value < 10 ? 2 : 1);
}
