/** `skein log`: the log that the servers of a mesh share. */

import { findSimilar } from "@optique/core/suggestion";
import { StorageError } from "../storage/errors.ts";
import { linesBackwards } from "../storage/shared_log_reader.ts";
import {
  LineCutter,
  openLogFiles,
  openScanned,
  scanLines,
  type ScannedFile,
} from "../storage/shared_log_scan.ts";
import { LOG_LINE_BYTES_MAX, readLogLine } from "../storage/shared_log_line.ts";
import { readAt } from "../storage/shared_log_tail.ts";
import { orExit } from "../nodes/host/flags.ts";
import { escapeText } from "../nodes/host/text.ts";
import { LOG_TYPES, type LogFlags, parseLogFlags } from "./log_flags.ts";
import { followLines } from "./log_follow.ts";
import { type LogView, shownLines } from "./log_lines.ts";
import { verifyLog } from "./log_verify.ts";
import { print } from "./shown_again.ts";

/** Exit codes; wrong flags are 2. */
const EXIT_WELL = 0;
const EXIT_FINDINGS = 1;

const COLUMNS_MAX = 1_000;

/** Lines are printed together, up to so many characters. */
const PRINT_CHARACTERS = 65_536;

/**
 * A line waits in its server's queue before it is written, so that the times
 * in a file rise only nearly: how much earlier than wanted a line must be until
 * nothing behind it is looked at.
 */
const LATE_MS_MAX = 3_600_000;

/** Longer than any line. */
const END_BYTES = 2 * LOG_LINE_BYTES_MAX;

const NEWLINE = 10;

/** Lines printed so far. */
let shownCount = 0;

const PROGRESS_EVERY_MS = 200;
const PROGRESS_BYTES_MIN = 16_777_216;

/** Shows, follows or verifies; ends the process. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseLogFlags(args, Deno.env));
  try {
    Deno.exit(await run(flags));
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    complain(error.message);
    Deno.exit(EXIT_FINDINGS);
  }
}

async function run(flags: LogFlags): Promise<number> {
  if (flags.verify) return await verify(flags.file);
  const view: LogView = { ...flags, columnsMax: columnsMax() };
  const start = flags.follow ? startOf(flags.file) : undefined;
  const lastSeq = flags.count === Infinity
    ? await showAll(flags.file, view)
    : await showEnd(flags, view);
  // A filter that lets nothing through may be misspelt.
  if (shownCount === 0) {
    for (const text of unknownTypes(flags)) {
      complain(text);
    }
  }
  if (!flags.follow) {
    if (lastSeq !== undefined) return EXIT_WELL;
    complain(`There is no "${flags.file}"`);
    return EXIT_FINDINGS;
  }
  const followed = followLines(flags.file, {
    lastSeq: lastSeq ?? 0,
    ...start !== undefined && { start },
    onMissing: () => complain(`Waits for "${flags.file}"`),
    onLost: ({ from, to }) => complain(`Lines ${from} to ${to} are missing`),
  });
  for await (const lines of followed) {
    printAll(lines.flatMap((text) => shownLines(text, view)));
  }
  return EXIT_WELL;
}

/** Where to follow from: the end, before what is there is shown. */
function startOf(
  path: string,
): { readonly file: ScannedFile; readonly position: number } | undefined {
  const file = openScanned(path);
  if (file === undefined) return undefined;
  // From the last whole line on. What is written from now on may be shown as
  // well before it is followed: a line that comes twice has a number.
  const start = Math.max(0, file.sizeBytes - END_BYTES);
  const bytes = readAt(file.file, {
    start,
    lengthBytes: file.sizeBytes - start,
  });
  return { file, position: start + bytes.lastIndexOf(NEWLINE) + 1 };
}

/** Returns the last number; `undefined`: there is no log. */
async function showAll(
  path: string,
  view: LogView,
): Promise<number | undefined> {
  const files = openLogFiles(path);
  let lastSeq = 0;
  try {
    for (const scanned of files) {
      for await (const lines of scanLines(scanned, new LineCutter())) {
        const texts = lines.filter((line) => typeof line === "string");
        printAll(texts.flatMap((text) => shownLines(text, view)));
        lastSeq = Math.max(lastSeq, lastSeqOf(texts));
      }
    }
  } finally {
    for (const { file } of files) file.close();
  }
  return files.length === 0 ? undefined : lastSeq;
}

/** The last lines that are wanted. Returns the last number of all. */
async function showEnd(
  { file, count, filter }: LogFlags,
  view: LogView,
): Promise<number | undefined> {
  const shown: string[][] = [];
  let lastSeq: number | undefined;
  let lowest = Infinity;
  let isThere = false;
  search:
  for await (const lines of linesBackwards(file)) {
    isThere = true;
    for (const text of lines) {
      const { line } = readLogLine(text);
      if (line !== undefined) {
        lastSeq ??= line.seq;
        if (line.seq >= lowest) continue; // It came twice: a rotation.
        lowest = line.seq;
        const sinceMs = (filter.sinceMs ?? -Infinity) - LATE_MS_MAX;
        if (line.timeMs < sinceMs) break search;
      }
      if (shown.length === count) break search;
      const rows = shownLines(text, view);
      if (rows.length > 0) shown.push(rows);
    }
  }
  printAll(shown.reverse().flat());
  if (!isThere && openLogFilesCount(file) === 0) return undefined;
  return lastSeq ?? 0;
}

/** An empty log is there all the same. */
function openLogFilesCount(path: string): number {
  const files = openLogFiles(path);
  for (const { file } of files) file.close();
  return files.length;
}

function lastSeqOf(texts: readonly string[]): number {
  const last = texts.findLast((text) => readLogLine(text).line !== undefined);
  return last === undefined ? 0 : readLogLine(last).line?.seq ?? 0;
}

async function verify(path: string): Promise<number> {
  const isShown = Deno.stderr.isTerminal();
  let shownMs = -Infinity;
  const clear = () => {
    if (shownMs === -Infinity) return;
    Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
    shownMs = -Infinity;
  };
  const count = await verifyLog(path, {
    print: (line) => {
      clear();
      print(escapeText(line));
    },
    progress: (doneBytes, allBytes) => {
      const nowMs = performance.now();
      if (!isShown || allBytes < PROGRESS_BYTES_MIN) return;
      if (nowMs - shownMs < PROGRESS_EVERY_MS) return;
      shownMs = nowMs;
      const percent = Math.floor(doneBytes / allBytes * 100);
      Deno.stderr.writeSync(new TextEncoder().encode(`\r${percent} %`));
    },
  });
  if (count === undefined) complain(`There is no "${path}"`);
  return count === 0 ? EXIT_WELL : EXIT_FINDINGS;
}

/** A terminal wraps between words with our help; a file keeps each line whole. */
function columnsMax(): number {
  if (!Deno.stdout.isTerminal()) return Infinity;
  return Math.min(COLUMNS_MAX, Deno.consoleSize().columns);
}

/** A sentence for each type that is not known. */
function unknownTypes({ filter: { types } }: LogFlags): string[] {
  return types.filter((type) => !LOG_TYPES.includes(type)).map((type) => {
    const similar = findSimilar(type, LOG_TYPES).at(0);
    return `No line is of type "${type}"; ${
      similar === undefined
        ? `there are ${LOG_TYPES.join(", ")}`
        : `did you mean "${similar}"?`
    }`;
  });
}

function printAll(lines: readonly string[]): void {
  shownCount += lines.length;
  let text = "";
  for (const line of lines) {
    text += `${line}\n`;
    if (text.length < PRINT_CHARACTERS) continue;
    print(text, "");
    text = "";
  }
  if (text !== "") print(text, "");
}

function complain(message: string): void {
  console.error(`skein log: ${escapeText(message)}`);
}
