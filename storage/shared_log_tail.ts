/** Where a shared log ends: its last number, and what a killed writer left behind it. */

import { StorageError } from "./errors.ts";
import { LINE_START, readLogLine } from "./shared_log_line.ts";

/** How the file ends. */
export interface LogTail {
  /** Of the last line that is one of the log's; `undefined`: the file has none. */
  readonly lastSeq: number | undefined;
  /** Whole lines behind that one which are none of the log's. */
  readonly foreignLines: number;
  /** Where the last whole line ends, in bytes. */
  readonly wholeBytes: number;
  /** What is behind it: half a line of ours, which may be cut, or of somebody else. */
  readonly rest: "none" | "torn" | "foreign";
}

/**
 * Windows from the end in which the last line is looked for, in bytes: nearly
 * always it is in the first. More than the last of something else, and the file
 * is none of ours.
 */
const WINDOWS: readonly number[] = [
  4_096,
  262_144,
  8_388_608,
];

const NEWLINE = 10;
const BRACE = 0x7b;
const decoder = new TextDecoder();

/**
 * Looks backwards from the end of a file.
 *
 * @param sizeBytes Of the file; what is behind is not looked at.
 * @throws {StorageError} `wrong-format`: no line of ours in the last 8 MiB.
 */
export function readLogTail(
  file: Deno.FsFile,
  { sizeBytes, path }: { readonly sizeBytes: number; readonly path: string },
): LogTail {
  for (const windowBytes of WINDOWS) {
    const start = Math.max(0, sizeBytes - windowBytes);
    const bytes = readAt(file, { start, lengthBytes: sizeBytes - start });
    const tail = tailOf(bytes, start);
    if (tail !== undefined) return tail;
  }
  throw new StorageError(
    "wrong-format",
    `Cannot go on in "${path}": its last ${
      WINDOWS[WINDOWS.length - 1] / 2 ** 20
    } MiB have no line of a shared log; move the file away`,
    { path },
  );
}

/** Reads at a position, up to the end of the file. */
export function readAt(
  file: Deno.FsFile,
  { start, lengthBytes }: {
    readonly start: number;
    readonly lengthBytes: number;
  },
): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  file.seekSync(start, Deno.SeekMode.Start);
  let at = 0;
  while (at < lengthBytes) {
    const count = file.readSync(bytes.subarray(at));
    if (count === null) break;
    at += count;
  }
  return bytes.subarray(0, at);
}

/** `undefined`: it takes a longer window. */
function tailOf(bytes: Uint8Array, start: number): LogTail | undefined {
  const wholeEnd = bytes.lastIndexOf(NEWLINE) + 1;
  if (wholeEnd === 0 && start > 0) return undefined;
  const ends = {
    wholeBytes: start + wholeEnd,
    rest: kindOfRest(bytes.subarray(wholeEnd)),
  };
  let foreignLines = 0;
  for (let end = wholeEnd; end > 0;) {
    const begin = end === 1 ? 0 : bytes.lastIndexOf(NEWLINE, end - 2) + 1;
    // It may begin before the window.
    if (begin === 0 && start > 0) return undefined;
    const lastSeq = seqOf(bytes.subarray(begin, end - 1));
    if (lastSeq !== undefined) return { ...ends, lastSeq, foreignLines };
    foreignLines += 1;
    end = begin;
  }
  return start > 0 ? undefined : { ...ends, lastSeq: undefined, foreignLines };
}

function seqOf(line: Uint8Array): number | undefined {
  // Megabytes of something else are quickly told apart.
  if (line[0] !== BRACE) return undefined;
  return readLogLine(decoder.decode(line)).line?.seq;
}

/**
 * Half a line begins as a line does, or holds nothing but zeros: a file system
 * that lost power may have kept the size without the bytes.
 */
function kindOfRest(rest: Uint8Array): LogTail["rest"] {
  if (rest.length === 0) return "none";
  if (rest.every((byte) => byte === 0)) return "torn";
  const text = decoder.decode(rest.subarray(0, LINE_START.length));
  return LINE_START.startsWith(text) ? "torn" : "foreign";
}
