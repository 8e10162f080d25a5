/** The file that a shared log is now written to, and its exclusive lock. */

import { dirname } from "node:path";
import { causeText, StorageError } from "./errors.ts";
import { rotatedNumbers, rotatedPath } from "./shared_log_files.ts";
import { LogBatch } from "./shared_log_batch.ts";
import { LOG_LINE_BYTES_MAX } from "./shared_log_line.ts";
import {
  type FileIdentity,
  identityOf,
  isSameFile,
} from "./shared_log_system.ts";
import { type LogTail, readLogTail } from "./shared_log_tail.ts";

/**
 * Bytes of a write, which is all that is done under one lock: a process that is
 * killed in a write of 96 KiB left no torn line, in one of 960 KiB it did; and
 * the others do not wait long for the lock.
 */
export const BATCH_BYTES_MAX = 98_304;

/** What was found, or done, under the lock, that an operator should know. */
export type FileNews =
  /** Half a line that a killed writer had left was cut. */
  | { readonly kind: "repaired"; readonly cutBytes: number }
  /** Whole lines of something else are at the end; or half a one, now ended. */
  | { readonly kind: "foreign"; readonly lines: number }
  /** The file was removed, replaced or cut short, and not by a rotation. */
  | { readonly kind: "replaced"; readonly how: string }
  | { readonly kind: "rotated" }
  | { readonly kind: "rotation-failed"; readonly cause: unknown };

/** How the file is kept. */
export interface SharedLogFileOptions {
  readonly fileBytesMax: number;
  readonly filesMax: number;
  news(news: FileNews): void;
}

/** What became of a batch. */
export interface WrittenBatch {
  /** Lines that are in the file, whole: the first so many. */
  readonly lines: number;
  readonly bytes: number;
  /** Why not all that were tried are. */
  readonly failure?: unknown;
}

/** As long as rotating fails the file grows; it is tried again after so long. */
const ROTATE_AGAIN_MS = 30_000;

/** Rotations that others may do while the rotated files are listed. */
const ROTATIONS_MEANWHILE = 8;

const NEWLINE = 10;

/**
 * One process's hold on the file. Whatever reads or changes it does so under
 * the lock, and after {@linkcode isCurrent}: others rename it.
 */
export class SharedLogFile {
  readonly path: string;
  readonly #options: SharedLogFileOptions;
  readonly #batch: LogBatch;
  #file: Deno.FsFile;
  #identity: FileIdentity;
  /** The highest number that this process knows of. */
  #lastSeq = 0;
  /** Where the file ended when we left it; -1: it must be looked at. */
  #endBytes = -1;
  #rotateAtMs = 0;
  /** Nothing is known yet of what is in it. */
  #isNew = true;

  private constructor(path: string, options: SharedLogFileOptions) {
    this.path = path;
    this.#options = options;
    const batchBytesMax = Math.min(BATCH_BYTES_MAX, options.fileBytesMax);
    this.#batch = new LogBatch(batchBytesMax, LOG_LINE_BYTES_MAX);
    this.#file = openLogFile(path);
    this.#identity = identityOf(this.#file.statSync());
  }

  /**
   * Opens or creates the file (mode 0640: private messages are in it) and its
   * folder.
   *
   * @throws {StorageError} `open-failed`: refuse to start.
   */
  static open(path: string, options: SharedLogFileOptions): SharedLogFile {
    try {
      if (isOther(path)) throw new Error("It is no file");
      return new SharedLogFile(path, options);
    } catch (cause) {
      throw new StorageError(
        "open-failed",
        `Cannot open "${path}": ${causeText(cause)}`,
        { path, cause },
      );
    }
  }

  get identity(): FileIdentity {
    return this.#identity;
  }

  /** How it ends, as seen without the lock: half a line may be under way. */
  peek(): LogTail {
    const sizeBytes = this.#file.seekSync(0, Deno.SeekMode.End);
    return readLogTail(this.#file, { sizeBytes, path: this.path });
  }

  tryLock(): boolean {
    return this.#file.tryLockSync(true);
  }

  /** Waits for the lock in a thread: nothing else may use the file meanwhile. */
  lock(): Promise<void> {
    return this.#file.lock(true);
  }

  unlock(): void {
    this.#file.unlockSync();
  }

  close(): void {
    this.#file.close();
  }

  /** Whether the file that is locked is the one that the path leads to. */
  isCurrent(): boolean {
    try {
      return isSameFile(identityOf(Deno.statSync(this.path)), this.#identity);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  /**
   * Goes over to the file that the path leads to now, or makes it. Under the
   * lock of the old one, which is given up; the new one is not locked.
   */
  reopen(): void {
    // Nobody writes to the old one any more, so this is the last that we can
    // know of the numbers if somebody has removed it.
    try {
      this.#learnSeq(this.#file);
    } catch (error) {
      // What is in there is no longer of our concern.
      if (!(error instanceof StorageError)) throw error;
    }
    if (!this.#wasRotated()) {
      const how = "was removed or replaced";
      this.#options.news({ kind: "replaced", how });
    }
    const file = openLogFile(this.path);
    this.#file.close();
    this.#file = file;
    this.#identity = identityOf(file.statSync());
    this.#endBytes = -1;
    this.#isNew = true;
  }

  /**
   * Makes as many lines ready as one write takes, before the lock is held.
   *
   * @param rests Of each line what is behind its number; oldest first.
   */
  prepare(rests: readonly string[], first: number): void {
    this.#batch.fill(rests, { first, firstSeq: this.#lastSeq + 1 });
  }

  /**
   * Writes what was made ready, or more where that has become little. Under the
   * lock of the current file.
   *
   * @param rests As they were made ready, and what came after.
   * @returns `rotated`: the file is another one now, and not locked; once more.
   * @throws {Error} Nothing was written: the end cannot be read or repaired.
   */
  write(rests: readonly string[], first: number): WrittenBatch | "rotated" {
    const sizeBytes = this.#settleEnd();
    const bytes = this.#numbered(rests, first);
    if (
      this.#isFull(sizeBytes + bytes.length) && sizeBytes > 0 && this.#rotate()
    ) return "rotated";
    const end = writeAll(this.#file, bytes);
    if (end.failure === undefined) {
      const { lines } = this.#batch;
      this.#lastSeq += lines;
      this.#endBytes = sizeBytes + bytes.length;
      return { lines, bytes: bytes.length };
    }
    const whole = bytes.subarray(0, end.writtenBytes).lastIndexOf(NEWLINE) + 1;
    const lines = countLines(bytes.subarray(0, whole));
    this.#lastSeq += lines;
    this.#endBytes = -1;
    if (end.writtenBytes > whole) this.#cutBack(sizeBytes + whole);
    return { lines, bytes: whole, failure: end.failure };
  }

  #numbered(rests: readonly string[], first: number): Uint8Array {
    const firstSeq = this.#lastSeq + 1;
    // Much has come while the lock was waited for: it goes with this write.
    const { isFull, lines } = this.#batch;
    const isLittle = !isFull && 2 * lines < rests.length - first;
    const bytes = isLittle ? undefined : this.#batch.number(firstSeq);
    if (bytes !== undefined) return bytes;
    this.#batch.fill(rests, { first, firstSeq });
    const filled = this.#batch.number(firstSeq);
    if (filled === undefined) throw new Error("Numbers have other digits");
    return filled;
  }

  /** Knows the last number, and that the file ends with a newline. Returns its size. */
  #settleEnd(): number {
    const sizeBytes = this.#file.seekSync(0, Deno.SeekMode.End);
    if (sizeBytes === this.#endBytes) return sizeBytes;
    if (sizeBytes < this.#endBytes) {
      this.#options.news({ kind: "replaced", how: "was cut short" });
    }
    const tail = readLogTail(this.#file, { sizeBytes, path: this.path });
    if (tail.lastSeq !== undefined) {
      this.#lastSeq = Math.max(this.#lastSeq, tail.lastSeq);
    } else if (this.#isNew) this.#learnFromRotated();
    const endBytes = this.#repair(tail, sizeBytes);
    const lines = tail.foreignLines + Number(tail.rest === "foreign");
    if (lines > 0) this.#options.news({ kind: "foreign", lines });
    this.#isNew = false;
    this.#endBytes = endBytes;
    return endBytes;
  }

  #repair(tail: LogTail, sizeBytes: number): number {
    switch (tail.rest) {
      case "none":
        return sizeBytes;
      case "torn":
        this.#file.truncateSync(tail.wholeBytes);
        this.#file.seekSync(0, Deno.SeekMode.End);
        this.#options.news({
          kind: "repaired",
          cutBytes: sizeBytes - tail.wholeBytes,
        });
        return tail.wholeBytes;
      case "foreign": {
        // Not ours to cut; but our line must not be the end of that one.
        this.#file.seekSync(0, Deno.SeekMode.End);
        if (this.#file.writeSync(Uint8Array.of(NEWLINE)) === 0) {
          throw new Error("No byte could be written");
        }
        return sizeBytes + 1;
      }
    }
  }

  #cutBack(sizeBytes: number): void {
    try {
      this.#file.truncateSync(sizeBytes);
    } catch {
      // It ends in half a line now, which whoever locks the file next cuts.
    }
  }

  #isFull(sizeBytes: number): boolean {
    return sizeBytes > this.#options.fileBytesMax;
  }

  /** Moves each file on by one number, the locked one last; false if that fails. */
  #rotate(): boolean {
    if (performance.now() < this.#rotateAtMs) return false;
    const { path } = this;
    try {
      const there = rotatedNumbers(path);
      // Those behind a gap keep their numbers: the gap takes one of them.
      let free = 1;
      while (there.includes(free) && free < this.#options.filesMax) free += 1;
      for (let number = free - 1; number >= 1; number--) {
        Deno.renameSync(
          rotatedPath(path, number),
          rotatedPath(path, number + 1),
        );
      }
      Deno.renameSync(path, rotatedPath(path, 1));
      for (const number of there) {
        if (number <= this.#options.filesMax) continue;
        Deno.removeSync(rotatedPath(path, number));
      }
    } catch (cause) {
      this.#rotateAtMs = performance.now() + ROTATE_AGAIN_MS;
      this.#options.news({ kind: "rotation-failed", cause });
      if (this.isCurrent()) return false;
    }
    this.reopen();
    this.#options.news({ kind: "rotated" });
    return true;
  }

  #learnFromRotated(): void {
    for (const number of rotatedNumbers(this.path)) {
      try {
        using file = Deno.openSync(rotatedPath(this.path, number));
        if (this.#learnSeq(file)) return;
      } catch (error) {
        // Moved on by another name since: its successor is at this one.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }

  #learnSeq(file: Deno.FsFile): boolean {
    const sizeBytes = file.seekSync(0, Deno.SeekMode.End);
    const { lastSeq } = readLogTail(file, { sizeBytes, path: this.path });
    if (lastSeq === undefined) return false;
    this.#lastSeq = Math.max(this.#lastSeq, lastSeq);
    return true;
  }

  /**
   * Looks from the youngest on, by name: a rotation that runs at the same time
   * moves the file only towards the higher numbers.
   */
  #wasRotated(): boolean {
    const last = (rotatedNumbers(this.path).at(-1) ?? 0) + ROTATIONS_MEANWHILE;
    for (let number = 1; number <= last; number++) {
      try {
        const info = Deno.statSync(rotatedPath(this.path, number));
        if (isSameFile(identityOf(info), this.#identity)) return true;
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    return false;
  }
}

function openLogFile(path: string): Deno.FsFile {
  Deno.mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  return Deno.openSync(path, {
    read: true,
    create: true,
    mode: 0o640,
    // Elsewhere a logger that takes no lock could write between our look at
    // the end and our write. On Windows locks keep all others out, and a file
    // that is open for appending alone cannot be cut.
    ...Deno.build.os === "windows" ? { write: true } : { append: true },
  });
}

function isOther(path: string): boolean {
  try {
    return !Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function writeAll(
  file: Deno.FsFile,
  bytes: Uint8Array,
): { readonly writtenBytes: number; readonly failure?: unknown } {
  let writtenBytes = 0;
  try {
    // Usually one call. A full disk takes a part, and refuses the rest.
    while (writtenBytes < bytes.length) {
      const count = file.writeSync(bytes.subarray(writtenBytes));
      if (count === 0) throw new Error("No byte could be written");
      writtenBytes += count;
    }
    return { writtenBytes };
  } catch (failure) {
    return { writtenBytes, failure };
  }
}

function countLines(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) count += Number(byte === NEWLINE);
  return count;
}
