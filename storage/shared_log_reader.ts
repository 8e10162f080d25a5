/** Reads a shared log from its end, while servers write to it and rotate it. */

import { setImmediate } from "node:timers";
import { causeText, StorageError } from "./errors.ts";
import { rotatedNumbers, rotatedPath } from "./shared_log_files.ts";
import {
  LOG_LINE_BYTES_MAX,
  readLogLine,
  type SharedLogLine,
} from "./shared_log_line.ts";
import { readAt } from "./shared_log_tail.ts";

export type { SharedLogLine } from "./shared_log_line.ts";

/** What of the log is wanted. */
export interface HistoryQuery {
  /** Of that room; without it, lines that have none. */
  readonly room?: string | undefined;
  /** Lines to nobody in particular, and to this one. */
  readonly to?: string | undefined;
  /** At most so many, the latest. */
  readonly limit: number;
  /** Only lines with a lower number. */
  readonly before?: number | undefined;
  /** Default `msg`. */
  readonly type?: string;
  /** Bytes that are looked through; default 16 MiB. */
  readonly bytesMax?: number;
}

/** A part of the log. */
export interface HistoryPage {
  /** Oldest first. */
  readonly entries: readonly SharedLogLine[];
  /** There may be earlier ones. */
  readonly more: boolean;
  /**
   * All lines from this number on were looked at: what to ask for as `before`
   * to go on, also when a long stretch had nothing that was wanted.
   */
  readonly searchedTo: number;
}

/** Lines of a part of the file, the latest first; whole, without newlines. */
export type LinesBackwards = AsyncGenerator<readonly string[], void, void>;

/** A hundred thousand lines, some 0.1 s of one processor in many turns. */
const HISTORY_BYTES_MAX = 16_777_216;

/** Read and looked at in one turn of the event loop: well under a millisecond. */
const CHUNK_BYTES = 65_536;

/** Read where a line is looked for; most are shorter. */
const WINDOW_BYTES = 4_096;

const NEWLINE = 10;
const decoder = new TextDecoder();

/**
 * The latest lines of a room, or of the chat outside of rooms. A line that is
 * none is passed over.
 *
 * @throws {StorageError} `open-failed`: a file is there and cannot be read.
 */
export async function readHistory(
  path: string,
  query: HistoryQuery,
): Promise<HistoryPage> {
  const { room, limit, before = Infinity, type = "msg" } = query;
  let bytesLeft = query.bytesMax ?? HISTORY_BYTES_MAX;
  const entries: SharedLogLine[] = [];
  // To parse only what may be it: most lines of a log are of other rooms.
  const marks = [`"type":${JSON.stringify(type)}`];
  if (room !== undefined) marks.push(`"room":${JSON.stringify(room)}`);
  let lowest = before;
  for await (const lines of linesBackwards(path, { before })) {
    for (const text of lines) {
      bytesLeft -= text.length + 1;
      if (!marks.every((mark) => text.includes(mark))) continue;
      const { line } = readLogLine(text);
      if (line === undefined || line.seq >= lowest) continue;
      if (line.type !== type || line.room !== room) continue;
      if (line.to !== undefined && line.to !== query.to) continue;
      if (entries.length === limit) {
        return page(entries, { more: true, searchedTo: lowest });
      }
      lowest = line.seq;
      entries.push(line);
    }
    if (bytesLeft > 0) continue;
    const last = lines.findLast((text) => readLogLine(text).line !== undefined);
    const seq = last === undefined ? undefined : readLogLine(last).line?.seq;
    const searchedTo = Math.min(lowest, seq ?? Infinity);
    return page(entries, { more: true, searchedTo });
  }
  return page(entries, { more: false, searchedTo: 1 });
}

function page(
  entries: SharedLogLine[],
  rest: { readonly more: boolean; readonly searchedTo: number },
): HistoryPage {
  return { entries: entries.reverse(), ...rest };
}

/**
 * All lines, the latest first, in parts of at most 64 KiB and a line, through
 * all files. When the log is rotated meanwhile some lines come twice: their
 * numbers tell. Half a line at the end is left out.
 *
 * @param before Begin with the line before that number, which is looked for,
 *   not read up to;
 *   a few that are not before it may come as well.
 * @throws {StorageError} `open-failed`: a file is there and cannot be read.
 */
export async function* linesBackwards(
  path: string,
  { before = Infinity }: { readonly before?: number | undefined } = {},
): LinesBackwards {
  for (let number = 0;;) {
    const file = openToRead(
      number === 0 ? path : rotatedPath(path, number),
    );
    if (file !== undefined) {
      try {
        const end = positionOf(file, before);
        // A file in which all is later is not read at all.
        if (end > 0) yield* chunksBackwards(file, end);
      } finally {
        file.close();
      }
      await nextTurn();
    }
    // Looked up each time: what was next may have moved on.
    const next = rotatedNumbers(path).find((one) => one > number);
    if (next === undefined) return;
    number = next;
  }
}

/**
 * Opens a file to read from; `undefined` when it is not there.
 *
 * @throws {StorageError} `open-failed`.
 */
export function openToRead(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new StorageError(
      "open-failed",
      `Cannot read "${path}": ${causeText(cause)}`,
      { path, cause },
    );
  }
}

async function* chunksBackwards(
  file: Deno.FsFile,
  endBytes: number,
): LinesBackwards {
  // What begins before the part that was read.
  let head: Uint8Array = new Uint8Array(0);
  for (let end = endBytes; end > 0;) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const read = readAt(file, { start, lengthBytes: end - start });
    const bytes = new Uint8Array(read.length + head.length);
    bytes.set(read);
    bytes.set(head, read.length);
    end = start;
    const from = start === 0 ? 0 : bytes.indexOf(NEWLINE) + 1;
    // A line that is longer than any of ours is not kept: it is none.
    if (from === 0 && start > 0) {
      head = bytes.length > LOG_LINE_BYTES_MAX ? new Uint8Array(0) : bytes;
      continue;
    }
    head = bytes.slice(0, from);
    const lines = decoder.decode(bytes.subarray(from)).split("\n");
    // Behind the last newline: nothing, or half a line at the end.
    lines.pop();
    yield lines.reverse();
    await nextTurn();
  }
}

/**
 * Where to begin to read backwards for what is before a number: the end of the
 * file, or a place not far behind the line before it. Found by halves, as the
 * numbers rise through a file.
 */
function positionOf(file: Deno.FsFile, before: number): number {
  const sizeBytes = file.seekSync(0, Deno.SeekMode.End);
  if (before === Infinity) return sizeBytes;
  if ((firstSeqFrom(file, 0)?.seq ?? 0) >= before) return 0;
  let low = 0;
  let high = sizeBytes;
  while (high - low > CHUNK_BYTES) {
    const middle = Math.floor((low + high) / 2);
    const found = firstSeqFrom(file, middle);
    if (found !== undefined && found.seq < before) low = found.position;
    else high = middle;
  }
  // A line that begins before `high` and ends behind it may be one of them.
  return firstSeqFrom(file, high)?.position ?? sizeBytes;
}

/** The first line that begins at 0 or behind a position, as far as a line may reach. */
function firstSeqFrom(
  file: Deno.FsFile,
  start: number,
): { readonly seq: number; readonly position: number } | undefined {
  for (const lengthBytes of [WINDOW_BYTES, 2 * LOG_LINE_BYTES_MAX]) {
    const bytes = readAt(file, { start, lengthBytes });
    let at = start === 0 ? 0 : bytes.indexOf(NEWLINE) + 1;
    if (at === 0 && start > 0) continue;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, at);
      if (end < 0) break;
      const { line } = readLogLine(decoder.decode(bytes.subarray(at, end)));
      if (line !== undefined) return { seq: line.seq, position: start + at };
      at = end + 1;
    }
  }
  return undefined;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
