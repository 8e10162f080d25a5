/** One JSONL file that all servers of a machine append to, each line under a lock. */

import { setImmediate } from "node:timers";
import { causeText, StorageError } from "./errors.ts";
import { type FileNews, SharedLogFile } from "./shared_log_file.ts";
import { ROTATED_NUMBER_MAX } from "./shared_log_files.ts";
import {
  LINE_START,
  LineFormatter,
  LOG_LINE_BYTES_MAX,
  type SharedLogEntry,
} from "./shared_log_line.ts";
import {
  checkLocks,
  lockHolder,
  networkFileSystem,
} from "./shared_log_system.ts";

export type { SharedLogEntry } from "./shared_log_line.ts";

/** Something that an operator should know; the log goes on all the same. */
export interface SharedLogTrouble {
  readonly kind:
    /** Another process holds the lock, and has for seconds. */
    | "waiting"
    /** What was written last in "waiting" or "write-failed" is over. */
    | "going-on"
    /** Half a line that a killed writer had left was cut. */
    | "repaired"
    /** Lines of something else are in the file. */
    | "foreign"
    /** The file was removed, replaced or cut short by something else. */
    | "replaced"
    /** The disk is full, for one: what was not written is kept, and tried again. */
    | "write-failed"
    /** The file grows beyond its bound. */
    | "rotation-failed";
  /** One sentence; paths and names in it are as they are: escape it to show it. */
  readonly message: string;
  /** Who holds the lock, where the system tells. */
  readonly holderPid?: number;
  /** For how long it has lasted. */
  readonly forMs?: number;
}

/** How the log is kept. */
export interface SharedLogOptions {
  /** Who writes. */
  readonly server: string;
  /**
   * A file that would have more is rotated first. Default 64 MiB; all servers
   * should have the same.
   */
  readonly fileBytesMax?: number;
  /** Rotated files that are kept; default 8. */
  readonly filesMax?: number;
  /** What may wait to be written, in bytes (of ASCII; others count less). Default 8 MiB. */
  readonly queueBytesMax?: number;
  onTrouble?(trouble: SharedLogTrouble): void;
}

/** What has happened since it was opened. */
export interface SharedLogCounters {
  lines: number;
  bytes: number;
  /** Batches: each has one lock and one write. */
  locks: number;
  /** Times that the lock was not free at once. */
  lockWaits: number;
  rotations: number;
  repairs: number;
  writeFailures: number;
}

const FILE_BYTES_MAX = 67_108_864;
const FILES_MAX = 8;
const QUEUE_BYTES_MAX = 8_388_608;

/** A lock is held for some 50 us: who has it for so long is stopped, or its disk is. */
const WAITING_AFTER_MS = 2_000;
const TROUBLE_AGAIN_MS = 30_000;

/** Turns of the event loop to try again in, before a pause is made in between. */
const LOCK_TRIES = 32;

/**
 * How long it is tried again with pauses of a millisecond before a thread waits
 * for the lock, which is sure to get it: between the time at which the thread
 * has it and the one at which the event loop knows, all others wait for nothing.
 */
const LOCK_TRY_MS = 250;

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

/** A batch of so many entries is load: then more are waited for, up to so many bytes. */
const GATHER_LINES_MIN = 32;
const GATHER_BYTES_MAX = 32_768;
const GATHER_MS = 2;

/** Written lines that may stay at the front of the queue until it is cut. */
const WRITTEN_LINES_MAX = 4_096;

/** A promise of a {@linkcode SharedLog.flush}. */
interface Flush {
  /** Lines that must have been written. */
  readonly count: number;
  resolve(): void;
  reject(error: StorageError): void;
}

/**
 * A server's way into the shared log. Entries wait in a queue; all that waits
 * goes into the file under one lock, in one write of at most 96 KiB, so that
 * the order in the file is the order of the lock, and `seq` has no gap whoever
 * writes. What is in the file survives the end of this process, not that of
 * the machine: nothing is synced.
 *
 * The lock is `flock(2)` of the file itself, so that it also keeps out other
 * programs that take it; on Windows it keeps out everybody.
 *
 * @see storage/FORMAT.md#shared-log
 */
export class SharedLog {
  /** What an operator should know of the file's place and content. */
  readonly warnings: readonly string[];
  readonly counters: Readonly<SharedLogCounters>;
  readonly #counters: SharedLogCounters;
  readonly #options: SharedLogOptions & { readonly queueBytesMax: number };
  readonly #file: SharedLogFile;
  readonly #formatter: LineFormatter;
  /** Lines without their numbers; those before `#first` are written. */
  #queue: string[] = [];
  #first = 0;
  #queuedBytes = 0;
  #appendedCount = 0;
  #writtenCount = 0;
  #flushes: Flush[] = [];
  #isWriting = false;
  #isClosed = false;
  /** Ends the pause under way. */
  #endPause: (() => void) | undefined;
  /** Until the next word about a lock that is waited for. */
  #tellTimer: ReturnType<typeof setTimeout> | undefined;
  #failingSinceMs: number | undefined;
  #toldFailureMs = -Infinity;
  #toldForeignMs = -Infinity;
  #foreignLines = 0;
  #retryMs = RETRY_MS_MIN;

  private constructor(path: string, options: SharedLogOptions) {
    this.#counters = {
      lines: 0,
      bytes: 0,
      locks: 0,
      lockWaits: 0,
      rotations: 0,
      repairs: 0,
      writeFailures: 0,
    };
    this.counters = this.#counters;
    this.#formatter = new LineFormatter(options.server);
    const filesMax = options.filesMax ?? FILES_MAX;
    if (filesMax < 1 || filesMax > ROTATED_NUMBER_MAX) {
      throw new RangeError(
        `Found ${filesMax} files, wanted 1 to ${ROTATED_NUMBER_MAX}`,
      );
    }
    this.#options = {
      ...options,
      queueBytesMax: options.queueBytesMax ?? QUEUE_BYTES_MAX,
    };
    this.#file = SharedLogFile.open(path, {
      fileBytesMax: options.fileBytesMax ?? FILE_BYTES_MAX,
      filesMax,
      news: (news) => this.#hear(news),
    });
    try {
      checkLocks(path);
      this.warnings = warningsOf(this.#file);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /**
   * Opens the log, or begins one; its folder is made. Does not wait for the lock.
   *
   * @throws {StorageError} `open-failed`, `wrong-format`: refuse to start.
   */
  // deno-lint-ignore require-await
  static async open(
    path: string,
    options: SharedLogOptions,
  ): Promise<SharedLog> {
    return new SharedLog(path, options);
  }

  /** What waits to be written. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Half of the queue is taken: read no more from whoever has things logged. */
  get isFull(): boolean {
    return this.#queuedBytes > this.#options.queueBytesMax / 2;
  }

  /**
   * Takes an entry, which is written soon, in this order. Never waits.
   *
   * @throws {StorageError} `write-failed`: the queue is full, or the log closed;
   * the entry was not taken.
   * @throws {RangeError} The entry takes more than {@linkcode LOG_LINE_BYTES_MAX}.
   */
  append(entry: SharedLogEntry): void {
    const rest = this.#formatter.formatRest(entry);
    const bytesMax = LOG_LINE_BYTES_MAX - LINE_START.length - 16;
    if (rest.length * 3 > bytesMax && byteLength(rest) > bytesMax) {
      throw new RangeError(
        `Cannot log an entry of ${
          byteLength(rest)
        } bytes, limit is ${bytesMax}`,
      );
    }
    if (this.#isClosed) throw this.#refusal("it is closed");
    if (this.#queuedBytes + rest.length > this.#options.queueBytesMax) {
      throw this.#refusal(`${this.#queuedBytes} bytes wait already`);
    }
    this.#queue.push(rest);
    this.#queuedBytes += rest.length;
    this.#appendedCount += 1;
    if (this.#isWriting) return;
    this.#isWriting = true;
    // What else is appended in this turn of the event loop shares the lock.
    setImmediate(() => void this.#writeAll());
  }

  /**
   * Resolves when all that was appended until now is in the file.
   *
   * @throws {StorageError} `write-failed`: it was closed before.
   */
  flush(): Promise<void> {
    if (this.#writtenCount === this.#appendedCount) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#flushes.push({ count: this.#appendedCount, resolve, reject });
    return promise;
  }

  /**
   * Writes what waits, for at most so long, and closes. When the lock is held
   * by a process that is stopped a thread still waits for it, so that only
   * `Deno.exit` ends this process then.
   */
  async close(waitMs: number): Promise<{ readonly lostEntries: number }> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs);
    });
    const flushed = this.flush().catch(() => {
      // Another close was quicker; what was lost is in its answer.
    });
    await Promise.race([flushed, late]);
    clearTimeout(timer);
    if (this.#isClosed) return { lostEntries: 0 };
    this.#isClosed = true;
    const lostEntries = this.#appendedCount - this.#writtenCount;
    this.#queue = [];
    this.#first = 0;
    this.#queuedBytes = 0;
    const refusal = this.#refusal("it was closed before all was written");
    for (const { reject } of this.#flushes.splice(0)) reject(refusal);
    this.#endPause?.();
    clearTimeout(this.#tellTimer);
    // A lock that is still waited for is given up as soon as it is granted.
    this.#file.close();
    return { lostEntries };
  }

  async #writeAll(): Promise<void> {
    while (!this.#isClosed && this.#first < this.#queue.length) {
      const before = this.#writtenCount;
      const isDone = await this.#writeBatch();
      if (this.#isClosed) return;
      if (!isDone) await this.#backOff();
      // Between two batches others can take the lock, and this process works.
      else await this.#untilNext(this.#writtenCount - before);
    }
    this.#isWriting = false;
  }

  /** False: it failed, and is to be tried again later. */
  async #writeBatch(): Promise<boolean> {
    try {
      this.#file.prepare(this.#queue, this.#first);
      // Most of the time it is free: then nothing is awaited.
      if (!this.#file.tryLock()) {
        this.#counters.lockWaits += 1;
        await this.#waitForLock();
        // The file is closed: nothing may be said about it.
        if (this.#isClosed) return true;
      }
      return this.#writeLocked();
    } catch (cause) {
      if (this.#isClosed) return true;
      this.#failed(cause);
      return false;
    }
  }

  #writeLocked(): boolean {
    let isLocked = true;
    try {
      this.#counters.locks += 1;
      if (!this.#file.isCurrent()) {
        this.#file.reopen();
        isLocked = false;
        return true;
      }
      const batch = this.#file.write(this.#queue, this.#first);
      if (batch === "rotated") {
        isLocked = false;
        return true;
      }
      this.#count(batch);
      if (batch.failure !== undefined) throw batch.failure;
      if (this.#failingSinceMs !== undefined) this.#recovered();
      return true;
    } finally {
      if (isLocked) this.#file.unlock();
    }
  }

  #count(batch: { readonly lines: number; readonly bytes: number }): void {
    const { lines, bytes } = batch;
    this.#counters.lines += lines;
    this.#counters.bytes += bytes;
    this.#writtenCount += lines;
    const end = this.#first + lines;
    for (let at = this.#first; at < end; at++) {
      this.#queuedBytes -= this.#queue[at].length;
      this.#queue[at] = "";
    }
    this.#first = end;
    if (end === this.#queue.length) {
      this.#queue = [];
      this.#first = 0;
    } else if (end > WRITTEN_LINES_MAX) {
      this.#queue.splice(0, end);
      this.#first = 0;
    }
    while ((this.#flushes[0]?.count ?? Infinity) <= this.#writtenCount) {
      this.#flushes.shift()?.resolve();
    }
  }

  /** Resolves with the lock, however long that takes; tells when it takes long. */
  async #waitForLock(): Promise<void> {
    for (let tries = 0; tries < LOCK_TRIES; tries++) {
      await nextTurn();
      if (this.#isClosed || this.#file.tryLock()) return;
    }
    const sinceMs = performance.now();
    while (performance.now() - sinceMs < LOCK_TRY_MS) {
      await this.#pause(1);
      if (this.#isClosed || this.#file.tryLock()) return;
    }
    let isTold = false;
    const tell = () => {
      if (this.#isClosed) return;
      isTold = true;
      this.#tellTimer = setTimeout(tell, TROUBLE_AGAIN_MS);
      this.#tellWaiting(performance.now() - sinceMs);
    };
    this.#tellTimer = setTimeout(tell, WAITING_AFTER_MS);
    try {
      await this.#file.lock();
    } finally {
      clearTimeout(this.#tellTimer);
    }
    if (!isTold || this.#isClosed) return;
    const forMs = performance.now() - sinceMs;
    this.#tell({
      kind: "going-on",
      message: `Got the lock of "${this.#file.path}" after ${seconds(forMs)}`,
      forMs,
    });
  }

  #tellWaiting(forMs: number): void {
    const holder = lockHolder(this.#file.identity);
    const who = holder === undefined
      ? "another process holds it"
      : `process ${holder.pid} (${holder.command}) holds it${
        holder.isStopped ? ", and is stopped" : ""
      }`;
    this.#tell({
      kind: "waiting",
      message: `Waits for the lock of "${this.#file.path}" for ${
        seconds(forMs)
      }: ${who}`,
      forMs,
      ...holder !== undefined && { holderPid: holder.pid },
    });
  }

  #failed(cause: unknown): void {
    this.#counters.writeFailures += 1;
    const nowMs = performance.now();
    this.#failingSinceMs ??= nowMs;
    if (nowMs - this.#toldFailureMs < TROUBLE_AGAIN_MS) return;
    this.#toldFailureMs = nowMs;
    this.#tell({
      kind: "write-failed",
      message: `Cannot write to "${this.#file.path}", tries again: ${
        causeText(cause)
      }`,
      forMs: nowMs - this.#failingSinceMs,
    });
  }

  #recovered(): void {
    const forMs = performance.now() - (this.#failingSinceMs ?? 0);
    this.#failingSinceMs = undefined;
    this.#toldFailureMs = -Infinity;
    this.#retryMs = RETRY_MS_MIN;
    this.#tell({
      kind: "going-on",
      message: `Writes to "${this.#file.path}" again after ${seconds(forMs)}`,
      forMs,
    });
  }

  /**
   * Under load a lock and a write, some 30 us, are shared by more entries if one
   * waits a little; who writes one entry and waits for it does not wait longer.
   */
  async #untilNext(lines: number): Promise<void> {
    await nextTurn();
    const isBusy = lines >= GATHER_LINES_MIN &&
      this.#queuedBytes < GATHER_BYTES_MAX;
    if (isBusy) await this.#pause(GATHER_MS);
  }

  async #backOff(): Promise<void> {
    const waitMs = this.#retryMs;
    this.#retryMs = Math.min(RETRY_MS_MAX, 2 * waitMs);
    await this.#pause(waitMs);
  }

  /** Ends early when the log is closed. */
  #pause(waitMs: number): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #hear(news: FileNews): void {
    const { path } = this.#file;
    switch (news.kind) {
      case "rotated":
        this.#counters.rotations += 1;
        return;
      case "repaired":
        this.#counters.repairs += 1;
        return this.#tell({
          kind: "repaired",
          message:
            `Cut ${news.cutBytes} bytes of half a line from "${path}": its writer was killed`,
        });
      case "foreign":
        return this.#hearForeign(news.lines);
      case "replaced":
        return this.#tell({
          kind: "replaced",
          message:
            `"${path}" ${news.how}, not by a rotation; goes on in what is there now`,
        });
      case "rotation-failed":
        return this.#tell({
          kind: "rotation-failed",
          message: `Cannot rotate "${path}", which grows meanwhile: ${
            causeText(news.cause)
          }`,
        });
    }
  }

  /** Whoever writes between our lines does so again and again. */
  #hearForeign(lines: number): void {
    this.#foreignLines += lines;
    const nowMs = performance.now();
    if (nowMs - this.#toldForeignMs < TROUBLE_AGAIN_MS) return;
    this.#toldForeignMs = nowMs;
    const count = this.#foreignLines;
    this.#foreignLines = 0;
    this.#tell({
      kind: "foreign",
      message: foreignText(this.#file.path, count),
    });
  }

  #tell(trouble: SharedLogTrouble): void {
    this.#options.onTrouble?.(trouble);
  }

  #refusal(why: string): StorageError {
    const { path } = this.#file;
    return new StorageError("write-failed", `Cannot log to "${path}": ${why}`, {
      path,
    });
  }
}

function warningsOf(file: SharedLogFile): string[] {
  const warnings: string[] = [];
  const type = networkFileSystem(file.path);
  if (type !== undefined) {
    warnings.push(
      `"${file.path}" is on a file system of type ${type}: its locks may not keep other machines or containers out; only servers of one machine may share it`,
    );
  }
  const { foreignLines } = file.peek();
  if (foreignLines > 0) warnings.push(foreignText(file.path, foreignLines));
  return warnings;
}

function foreignText(path: string, count: number): string {
  return `"${path}" has ${count} ${
    count === 1 ? "line" : "lines"
  } of something else near its end, which ${count === 1 ? "stays" : "stay"}`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
