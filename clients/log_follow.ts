/** What is added to a shared log, as it is, through rotations. */

import { rotatedNumbers, rotatedPath } from "../storage/shared_log_files.ts";
import { readLogLine } from "../storage/shared_log_line.ts";
import {
  LineCutter,
  type NoLine,
  openScanned,
  type ScannedFile,
} from "../storage/shared_log_scan.ts";
import { readAt } from "../storage/shared_log_tail.ts";
import { identityOf, isSameFile } from "../storage/shared_log_system.ts";

/** How it is followed. */
export interface FollowOptions {
  /** Lines up to this number were seen. */
  lastSeq: number;
  /** Where to begin: a file that is open, and from where; else what comes to be there. */
  readonly start?: { readonly file: ScannedFile; readonly position: number };
  /** Once, if the file is not there yet. */
  onMissing(): void;
  /** Numbers that were removed before they could be read. */
  onLost(lost: { readonly from: number; readonly to: number }): void;
  readonly signal?: AbortSignal;
}

/** Follows with the eye; a file system's own news differ from one to the other. */
const POLL_MS = 150;
const CHUNK_BYTES = 262_144;

/** A file may be renamed just while all names are looked at, but not each time. */
const MISSING_POLLS_MAX = 5;

const NEWLINE = 10;

/** The lines that are added, in parts; ends only by its signal. */
export async function* followLines(
  path: string,
  options: FollowOptions,
): AsyncGenerator<readonly string[], void, void> {
  let current = options.start?.file;
  let position = options.start?.position ?? 0;
  let isTold = false;
  let missingPolls = 0;
  try {
    while (options.signal?.aborted !== true) {
      if (current === undefined) {
        current = openOldest(path);
        position = 0;
        if (current === undefined && !isTold) options.onMissing();
        isTold = true;
        if (current === undefined) await pause(options.signal);
        continue;
      }
      // Looked at first: once it is another one nobody writes to ours.
      const isCurrent = leadsTo(path, current);
      const part = readPart(current.file, position);
      position = part.position;
      const lines = newLines(part.lines, options);
      if (lines.length > 0) yield lines;
      if (part.isMore) continue;
      const next = isCurrent ? "later" : openNext(path, current);
      missingPolls = next === "missing" ? missingPolls + 1 : 0;
      if (next === "later" || next === "missing") {
        if (missingPolls < MISSING_POLLS_MAX) {
          await pause(options.signal);
          continue;
        }
      }
      current.file.close();
      current = typeof next === "string" ? undefined : next;
      position = 0;
      missingPolls = 0;
    }
  } finally {
    current?.file.close();
  }
}

/**
 * The whole lines from a position on. Half a line at the end is read again
 * later: it may be cut, and another one stand in its place.
 */
function readPart(file: Deno.FsFile, start: number): {
  readonly lines: readonly (string | NoLine)[];
  readonly position: number;
  readonly isMore: boolean;
} {
  // Cut short by something else: then from its beginning.
  const position = file.statSync().size < start ? 0 : start;
  const bytes = readAt(file, { start: position, lengthBytes: CHUNK_BYTES });
  const isMore = bytes.length === CHUNK_BYTES;
  const whole = bytes.lastIndexOf(NEWLINE) + 1;
  // Longer than any line of ours: it is passed over.
  if (whole === 0 && isMore) {
    return { lines: [], position: position + bytes.length, isMore };
  }
  const lines = new LineCutter().cut(bytes.subarray(0, whole));
  return { lines, position: position + whole, isMore };
}

/** Those that were not seen yet; keeps the last number. */
function newLines(
  lines: readonly (string | NoLine)[],
  options: FollowOptions,
): string[] {
  return lines.flatMap((text) => {
    if (typeof text !== "string") return [];
    const { line } = readLogLine(text);
    if (line === undefined) return [text];
    if (line.seq <= options.lastSeq) return [];
    if (options.lastSeq > 0 && line.seq > options.lastSeq + 1) {
      options.onLost({ from: options.lastSeq + 1, to: line.seq - 1 });
    }
    options.lastSeq = line.seq;
    return [text];
  });
}

function leadsTo(path: string, current: ScannedFile): boolean {
  try {
    return isSameFile(identityOf(Deno.statSync(path)), current.identity);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * The file that was begun after `current`. `missing`: that one has no name that
 * we know, so nothing tells. `later`: the next one is not there yet, or all
 * are just being renamed.
 */
function openNext(
  path: string,
  current: ScannedFile,
): ScannedFile | "missing" | "later" {
  const number = rotatedNumbers(path).find((one) =>
    leadsTo(rotatedPath(path, one), current)
  );
  if (number === undefined) return "missing";
  const younger = rotatedNumbers(path).findLast((one) => one < number);
  const next = openScanned(
    younger === undefined ? path : rotatedPath(path, younger),
  );
  if (next === undefined) return "later";
  // A rotation moves the older one first: as long as ours has its name the
  // next one had its own.
  if (leadsTo(rotatedPath(path, number), current)) return next;
  next.file.close();
  return "later";
}

/** The oldest file that there is; all in it that was seen is passed over. */
function openOldest(path: string): ScannedFile | undefined {
  const oldest = rotatedNumbers(path).at(-1);
  return openScanned(oldest === undefined ? path : rotatedPath(path, oldest)) ??
    openScanned(path);
}

async function pause(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, POLL_MS);
    signal?.addEventListener("abort", done);
  });
}
