/** Reads a shared log from its beginning, in bounded memory. */

import { setImmediate } from "node:timers";
import { rotatedNumbers, rotatedPath } from "./shared_log_files.ts";
import { LOG_LINE_BYTES_MAX } from "./shared_log_line.ts";
import { openToRead } from "./shared_log_reader.ts";
import {
  type FileIdentity,
  identityOf,
  isSameFile,
} from "./shared_log_system.ts";

/** A file of the log, open; whoever has it closes it. */
export interface ScannedFile extends Disposable {
  /** Its path when it was opened. */
  readonly path: string;
  readonly file: Deno.FsFile;
  readonly identity: FileIdentity;
  /** When it was opened; the youngest grows. */
  readonly sizeBytes: number;
}

/** Bytes that are no line of text. */
export interface NoLine {
  /** A sentence without its subject. */
  readonly problem: string;
}

/** Read in one turn of the event loop. */
const CHUNK_BYTES = 262_144;

const NEWLINE = 10;

/**
 * Opens all files of a log, the oldest first. They stay the same when the log
 * is rotated meanwhile, and none is there twice.
 *
 * @throws {StorageError} `open-failed`: a file is there and cannot be read.
 */
export function openLogFiles(path: string): ScannedFile[] {
  const found: ScannedFile[] = [];
  try {
    // From the youngest on: what a rotation moves meanwhile comes again later.
    for (let number = 0;;) {
      const one = openScanned(number === 0 ? path : rotatedPath(path, number));
      if (one !== undefined) {
        const isThere = found.some(({ identity }) =>
          isSameFile(identity, one.identity)
        );
        if (isThere) one.file.close();
        else found.push(one);
      }
      const next = rotatedNumbers(path).find((other) => other > number);
      if (next === undefined) break;
      number = next;
    }
  } catch (error) {
    for (const { file } of found) file.close();
    throw error;
  }
  return found.reverse();
}

/** Opens one file of a log; `undefined` when it is not there. */
export function openScanned(path: string): ScannedFile | undefined {
  const file = openToRead(path);
  if (file === undefined) return undefined;
  const info = file.statSync();
  return {
    path,
    file,
    identity: identityOf(info),
    sizeBytes: info.size,
    [Symbol.dispose]: () => file.close(),
  };
}

/** Cuts what is read, part by part, into lines. */
export class LineCutter {
  #rest: Uint8Array = new Uint8Array(0);
  #isTooLong = false;
  readonly #strict = new TextDecoder("utf-8", { fatal: true });

  /** Bytes behind the last newline. */
  get restBytes(): number {
    return this.#rest.length + Number(this.#isTooLong);
  }

  /** The lines that end in this part, without their newlines. */
  cut(part: Uint8Array): (string | NoLine)[] {
    const end = part.lastIndexOf(NEWLINE) + 1;
    if (end === 0) {
      this.#keep(part);
      return [];
    }
    const first = part.indexOf(NEWLINE);
    const lines: (string | NoLine)[] = [];
    this.#keep(part.subarray(0, first));
    if (this.#isTooLong) {
      lines.push({ problem: `has more than ${LOG_LINE_BYTES_MAX} bytes` });
    } else lines.push(this.#decode(this.#rest));
    lines.push(...this.#decodeAll(part.subarray(first + 1, end)));
    this.#isTooLong = false;
    this.#rest = new Uint8Array(0);
    this.#keep(part.subarray(end));
    return lines;
  }

  #keep(part: Uint8Array): void {
    if (this.#rest.length + part.length > LOG_LINE_BYTES_MAX) {
      this.#isTooLong = true;
      this.#rest = new Uint8Array(0);
    }
    if (this.#isTooLong) return;
    const rest = new Uint8Array(this.#rest.length + part.length);
    rest.set(this.#rest);
    rest.set(part, this.#rest.length);
    this.#rest = rest;
  }

  /** Whole lines; at once unless one of them is none. */
  #decodeAll(bytes: Uint8Array): (string | NoLine)[] {
    if (bytes.length === 0) return [];
    const all = this.#decode(bytes.subarray(0, -1));
    if (typeof all === "string") return all.split("\n");
    const lines: (string | NoLine)[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = bytes.indexOf(NEWLINE, at);
      lines.push(this.#decode(bytes.subarray(at, end)));
      at = end + 1;
    }
    return lines;
  }

  #decode(bytes: Uint8Array): string | NoLine {
    try {
      return this.#strict.decode(bytes);
    } catch {
      return { problem: "is no UTF-8" };
    }
  }
}

/** A file's lines in parts, up to the size that it had when it was opened. */
export async function* scanLines(
  { file, sizeBytes }: ScannedFile,
  cutter: LineCutter,
): AsyncGenerator<readonly (string | NoLine)[], void, void> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  file.seekSync(0, Deno.SeekMode.Start);
  for (let at = 0; at < sizeBytes;) {
    const count = file.readSync(
      buffer.subarray(0, Math.min(CHUNK_BYTES, sizeBytes - at)),
    );
    if (count === null) return; // Cut short by something else.
    at += count;
    yield cutter.cut(buffer.subarray(0, count));
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
