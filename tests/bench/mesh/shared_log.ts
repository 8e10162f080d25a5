/** Lines a second that four processes write into one log, Skein's and others. */

import { takeTurns } from "../chain/rounds.ts";
import { summarize, type Summary } from "../statistics.ts";
import { formatTable } from "../table.ts";
import type { Workbench } from "../workbench.ts";

/** How it is measured. */
export interface SharedLogPlan {
  /** Of each run. */
  readonly seconds: number;
  readonly rounds: number;
}

/** One way to write a log. */
export interface SharedLogRow {
  readonly name: string;
  /** Of all processes, one figure a round. */
  readonly linesPerSecond: readonly number[];
}

/** How late a timer of 5 ms was, in ms, one figure a round each. */
export interface TimerLateness {
  readonly p99: readonly number[];
  readonly max: readonly number[];
}

/** All that was measured. */
export interface SharedLogFigures {
  readonly rows: readonly SharedLogRow[];
  /** While 1,000 lines a second were logged beside three busy writers; and without the log. */
  readonly logged: TimerLateness | undefined;
  readonly unlogged: TimerLateness | undefined;
  /** What could not be measured, and why. */
  readonly problems: readonly string[];
}

/** Lines a second beside the per-line lock in C that are to be reached. */
export const SHARED_LOG_RATIO_TARGET = 3;

const PROCESSES = 4;
const SKEIN = "Skein";
const FLOCK = "flock per line, C";
const PROCESS = new URL("./shared_log_process.ts", import.meta.url).pathname;
const SOURCE = new URL("./shared_log_flock.c", import.meta.url).pathname;
const PYTHON = new URL("./shared_log_flock.py", import.meta.url).pathname;

/** Programs start, and wait for the common start. */
const START_MS = 900;
const RUN_WAIT_MS = 30_000;

/** A program and the arguments before PATH SECONDS START. */
interface Way {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** What one run of all processes yields. */
interface Run {
  readonly linesPerSecond: number;
  /** Of the last process, if it says so. */
  readonly late: readonly [p99: number, max: number] | undefined;
}

/** Gives each way its turns. Leaves no process and no file. */
export async function measureSharedLog(
  bench: Workbench,
  { seconds, rounds }: SharedLogPlan,
): Promise<SharedLogFigures> {
  const problems: string[] = [];
  const ways = waysOf(bench, problems);
  const contestants = [
    ...ways.map((way) => ({ name: way.name, all: fill(way) })),
    { name: "logged", all: [...fill(deno("skein")).slice(1), deno("paced")] },
    { name: "unlogged", all: [...fill(deno("skein")).slice(1), deno("idle")] },
  ].map(({ name, all }) => ({
    name,
    warmUp: () => runAll(bench, { all, seconds: 0.2 }),
    run: () => runAll(bench, { all, seconds }),
  }));
  const { results, failures } = await takeTurns<Run>(contestants, {
    rounds,
    runMsMax: seconds * 1_000 + RUN_WAIT_MS,
    isTimeUp: () => false,
  });
  for (const [name, why] of failures) problems.push(`${name}: ${why}`);
  const lateness = (name: string): TimerLateness | undefined => {
    const late = (results.get(name) ?? []).flatMap(({ late }) =>
      late === undefined ? [] : [late]
    );
    if (late.length === 0) return undefined;
    return { p99: late.map(([p99]) => p99), max: late.map(([, max]) => max) };
  };
  return {
    rows: ways.flatMap(({ name }) => {
      const runs = results.get(name);
      if (runs === undefined) return [];
      return [{ name, linesPerSecond: runs.map((run) => run.linesPerSecond) }];
    }),
    logged: lateness("logged"),
    unlogged: lateness("unlogged"),
    problems,
  };
}

/** How often Skein has the rate of `name`, by round; `undefined`: one is missing. */
export function sharedLogRatio(
  { rows }: SharedLogFigures,
  name: string = FLOCK,
): Summary | undefined {
  const skein = rows.find((row) => row.name === SKEIN)?.linesPerSecond;
  const other = rows.find((row) => row.name === name)?.linesPerSecond;
  if (skein === undefined || other?.length !== skein.length) return undefined;
  return summarize(skein.map((rate, round) => rate / other[round]));
}

/** The tables, for people. */
export function describeSharedLog(figures: SharedLogFigures): string[] {
  const { rows, logged, unlogged, problems } = figures;
  const table = formatTable(
    ["Shared log, 4 processes", "lines/s", "min", "max", "Skein is"],
    rows.map(({ name, linesPerSecond }) => {
      const { median, min, max } = summarize(linesPerSecond);
      const ratio = sharedLogRatio(figures, name);
      return [
        name,
        ...[median, min, max].map((rate) =>
          Math.round(rate).toLocaleString("en")
        ),
        ratio === undefined || name === SKEIN
          ? ""
          : `${ratio.median.toFixed(1)} x`,
      ];
    }),
  );
  const late = (name: string, lateness: TimerLateness | undefined) =>
    lateness === undefined ? [] : [[
      name,
      summarize(lateness.p99).median.toFixed(2),
      summarize(lateness.max).median.toFixed(2),
    ]];
  const timers = formatTable([
    "A timer of 5 ms is late by, in ms",
    "p99",
    "max",
  ], [
    ...late("1,000 lines/s are logged, three others are busy", logged),
    ...late("the same without the log", unlogged),
  ]);
  return [...table, "", ...timers, ...problems];
}

function waysOf(bench: Workbench, problems: string[]): Way[] {
  const ways = [{ ...deno("skein"), name: SKEIN }];
  const program = `${bench.folder("flock")}/flock`;
  const compile = "gcc";
  if (runs(compile, ["-O2", "-o", program, SOURCE])) {
    ways.push({ name: FLOCK, command: program, args: [] });
  } else {problems.push(
      "gcc cannot compile the loop in C: apt-get install gcc libc6-dev",
    );}
  if (runs("python3", ["-c", "import fcntl"])) {
    ways.push({
      name: "flock per line, Python",
      command: "python3",
      args: [PYTHON],
    });
  } else problems.push("There is no python3");
  ways.push({ ...deno("sqlite"), name: "SQLite, WAL, insert per line" });
  return ways;
}

function deno(kind: string): Way {
  return {
    name: kind,
    command: Deno.execPath(),
    args: ["run", "--quiet", "--no-check", "-A", PROCESS, kind],
  };
}

function fill(way: Way): Way[] {
  return Array.from({ length: PROCESSES }, () => way);
}

async function runAll(
  bench: Workbench,
  { all, seconds }: { readonly all: readonly Way[]; readonly seconds: number },
): Promise<Run> {
  const folder = bench.folder("log");
  const startMs = Date.now() + START_MS;
  const children = all.map(({ command, args }) =>
    bench.start(command, {
      args: [...args, `${folder}/log`, String(seconds), String(startMs)],
    })
  );
  try {
    const waitMs = START_MS + seconds * 1_000 + RUN_WAIT_MS;
    const wrote = await Promise.all(
      children.map((child) => child.said(/^wrote (\d+) ([\d.]+)$/, waitMs)),
    );
    const lines = wrote.reduce((sum, [, count]) => sum + Number(count), 0);
    const longest = Math.max(...wrote.map(([, , took]) => Number(took)));
    const isTimed = ["paced", "idle"].includes(all.at(-1)?.name ?? "");
    const late = isTimed
      ? await children.at(-1)?.said(/^late ([\d.]+) ([\d.]+)$/, waitMs)
      : undefined;
    return {
      linesPerSecond: lines / longest,
      late: late === undefined ? undefined : [Number(late[1]), Number(late[2])],
    };
  } finally {
    await Promise.all(children.map((child) => child.end()));
    Deno.removeSync(folder, { recursive: true });
  }
}

function runs(command: string, args: readonly string[]): boolean {
  try {
    return new Deno.Command(command, { args: [...args] }).outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
