/** The append-only file of checksummed records that every log is made of. */

import { dirname } from "node:path";
import type { Disk, DiskFile } from "./disk.ts";
import { causeText, StorageError } from "./errors.ts";
import {
  encodeFileHeader,
  putRecord,
  RECORD_HEADER_BYTES,
} from "./record_format.ts";
import { type Replay, replayRecords } from "./record_replay.ts";

/** Added to a name while the file is being made; whoever finds one may remove it. */
export const UNFINISHED_SUFFIX = ".new";

/** Largest `recordBytesMax`: the length is 4 bytes, and a record is held in memory. */
export const RECORD_BYTES_MAX = 2 ** 30;

/** Records are gathered up to this many bytes for one write; a longer one goes alone. */
const WRITE_BYTES_MAX = 1024 * 1024;

/** Size of the first buffer; it doubles up to `WRITE_BYTES_MAX` as batches need it. */
const FIRST_BUFFER_BYTES = 16 * 1024;

const NO_PAYLOAD = new Uint8Array(0);

/** What a file is for. */
export interface RecordFileOptions {
  /** What the records are: 4 visible ASCII characters, listed in `FORMAT.md`. */
  readonly kind: string;
  /** Largest payload, 1 to {@linkcode RECORD_BYTES_MAX} bytes. May grow later, never shrink. */
  readonly recordBytesMax: number;
  /**
   * Zeros written ahead of the end, in bytes, whenever records reach it; default
   * 0. A sync of bytes that replace others takes about half as long as one of a
   * file that grows, since no metadata go with it.
   */
  readonly aheadBytes?: number;
  /**
   * Takes each record that is there, oldest first.
   *
   * @param payload A copy, for the caller to keep.
   * @param position Where the record begins in the file, in bytes.
   */
  onRecord(payload: Uint8Array, position: number): void;
}

/** An open file, and what opening it took. */
export interface OpenedRecordFile {
  readonly file: RecordFile;
  /** Whether there was none before. */
  readonly created: boolean;
  /**
   * Bytes cut off the end because they were torn, 0 or more, not counting zeros
   * that may have been written ahead: tell the operator.
   * As far as the file can tell, no sync had returned after they were written.
   */
  readonly cutBytes: number;
}

/**
 * A file of records, only ever added to. `size` grows with each append,
 * `syncedSize` follows with each sync; always `syncedSize <= size`.
 *
 * A record carries `syncedSize` as of its writing, so that the next start can
 * tell what was lost in a crash, and never promised, from what has rotted since:
 * see {@linkcode replayRecords} and `FORMAT.md`. A record without payload only
 * carries that: a mark. {@linkcode close} writes one, so that after a clean stop
 * nothing is in doubt; {@linkcode mark} does while nothing else is being written.
 *
 * A failed write or sync is final: the `StorageError` `write-failed` is thrown
 * then and by every later call. The process must exit and start again.
 *
 * @see storage/FORMAT.md#record-file
 */
export class RecordFile {
  readonly path: string;
  readonly #handle: DiskFile;
  readonly #recordBytesMax: number;
  readonly #mask: number;
  readonly #aheadBytes: number;
  /** Up to here the file holds records or zeros. */
  #aheadEnd: number;
  #buffer = new Uint8Array(FIRST_BUFFER_BYTES);
  #size: number;
  #syncedSize: number;
  /** Nothing follows the last mark, or there are no records at all. */
  #isMarked: boolean;
  #runningSync: Promise<void> | undefined;
  #failure: StorageError | undefined;
  #isClosed = false;

  private constructor(
    path: string,
    handle: DiskFile,
    state: Replay & {
      readonly recordBytesMax: number;
      readonly aheadBytes: number;
    },
  ) {
    this.path = path;
    this.#handle = handle;
    this.#recordBytesMax = state.recordBytesMax;
    this.#mask = state.mask;
    this.#aheadBytes = state.aheadBytes;
    this.#aheadEnd = state.end;
    this.#size = state.end;
    this.#syncedSize = state.synced;
    this.#isMarked = state.isMarked;
  }

  /**
   * Opens a file, or makes one, durably, in a directory that is there. Reads
   * are synchronous: do it at start. Only one process may have it open; see
   * `DirectoryLock`.
   *
   * When it resolves, every record passed to `onRecord` is on disk for good.
   *
   * @throws {RangeError} `kind` or `recordBytesMax` is out of range.
   * @throws {StorageError} `wrong-format`, `open-failed`: refuse to start.
   * `damaged`: repair from a peer, or refuse to start. `write-failed`: exit.
   * After any of them forget what `onRecord` was given.
   */
  static async open(
    disk: Disk,
    path: string,
    options: RecordFileOptions,
  ): Promise<OpenedRecordFile> {
    const { kind, recordBytesMax, aheadBytes = 0 } = options;
    assertRecordBytesMax(recordBytesMax);
    const header = encodeFileHeader({ kind, mask: disk.randomUint32() });
    const existing = openExisting(disk, path);
    const handle = existing ?? await createFile(disk, path, header);
    try {
      const replay = replayRecords(handle, {
        path,
        kind,
        recordBytesMax,
        onRecord: (payload, position) => options.onRecord(payload, position),
      });
      const file = new RecordFile(path, handle, {
        ...replay,
        recordBytesMax,
        aheadBytes,
      });
      const cutBytes = await file.#settle(disk);
      return { file, created: existing === undefined, cutBytes };
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /** Bytes in the file, header included. The next record begins here. */
  get size(): number {
    return this.#size;
  }

  /** Bytes, from the first, that survive a power loss; 16 to `size`. */
  get syncedSize(): number {
    return this.#syncedSize;
  }

  /**
   * Adds records in one write (one for each MiB). They are not on disk for good
   * before a later {@linkcode sync} resolves, and a crash may leave any prefix.
   *
   * @param payloads Each 1 to `recordBytesMax` bytes; read before this returns.
   * @throws {RangeError} A payload is empty or too long; nothing was written.
   * @throws {StorageError} `write-failed`; exit.
   */
  append(payloads: readonly Uint8Array[]): void {
    this.#assertOpen();
    for (const { length } of payloads) {
      if (length < 1 || length > this.#recordBytesMax) {
        throw new RangeError(
          `Cannot append to "${this.path}": payload is ${length} bytes, ` +
            `wanted 1 to ${this.#recordBytesMax}`,
        );
      }
    }
    for (let first = 0; first < payloads.length;) {
      first = this.#writeSome(payloads, first);
    }
    if (payloads.length > 0) this.#isMarked = false;
  }

  /**
   * Resolves when all that was appended before the call survives power loss.
   * Calls made while a sync runs share the next one, if that one came too early
   * for them.
   *
   * @throws {StorageError} `write-failed`; exit, and answer nobody.
   */
  async sync(): Promise<void> {
    this.#assertOpen();
    await this.#syncAll();
  }

  /** Whether a {@linkcode sync} is under way. */
  get isSyncing(): boolean {
    return this.#runningSync !== undefined;
  }

  /**
   * As {@linkcode sync}, but blocks the process until it is done. Only while no
   * other sync is under way: the system tells of a failed write once, and would
   * tell it to only one of two.
   *
   * @throws {StorageError} `write-failed`; exit, and answer nobody.
   */
  syncNow(): void {
    this.#assertOpen();
    if (this.#runningSync !== undefined) {
      throw new Error(`Cannot sync "${this.path}" at once: a sync runs`);
    }
    const size = this.#size;
    if (this.#syncedSize === size) return;
    this.#attempt(() => this.#handle.syncNow());
    this.#noteSynced(size);
  }

  /**
   * Notes in the file that all of it is synced, if that is so and not noted
   * yet. Costs one small write and no sync. Call it when nothing has been
   * written for a while: until then rot in what was synced last looks like a
   * torn tail.
   *
   * @throws {StorageError} `write-failed`; exit.
   */
  mark(): void {
    this.#assertOpen();
    if (this.#isMarked || this.#syncedSize < this.#size) return;
    this.#writeSome([NO_PAYLOAD], 0);
    this.#isMarked = true;
  }

  /**
   * Syncs, marks and closes. The handle is closed whatever happens. A second
   * call does nothing.
   *
   * @throws {StorageError} `write-failed`, also when that had happened before.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.#syncAll();
      if (!this.#isMarked) this.#writeSome([NO_PAYLOAD], 0);
      await this.#syncAll();
      // Not synced: zeros that come back mean nothing.
      if (this.#aheadEnd > this.#size) {
        this.#attempt(() => this.#handle.truncate(this.#size));
      }
    } finally {
      this.#handle.close();
    }
  }

  /**
   * Cuts the torn tail, and makes sure of what is left: a process that died
   * leaves bytes that can be read and are not on disk, and a failed sync even
   * leaves some that no later sync would write, unless they are written anew.
   * Even the name may not be on disk, if the process died while making the file.
   *
   * @returns Bytes cut, without zeros that may have been written ahead.
   */
  async #settle(disk: Disk): Promise<number> {
    const end = this.#size;
    const size = this.#attempt(() => this.#handle.size());
    const dataEnd = this.#aheadBytes === 0
      ? size
      : this.#attempt(() => endOfData(this.#handle, end, size));
    const cutBytes = dataEnd - end;
    if (size > end) this.#attempt(() => this.#handle.truncate(end));
    for (let at = this.#syncedSize; at < end;) {
      const chunk = new Uint8Array(Math.min(WRITE_BYTES_MAX, end - at));
      at += this.#attempt(() => rewrite(this.#handle, chunk, at));
    }
    await this.#syncOnce();
    try {
      await disk.syncDirectory(dirname(this.path));
    } catch (cause) {
      throw this.#fail(cause);
    }
    return cutBytes;
  }

  /** Writes records from `first` on, as many as go into one write. */
  #writeSome(payloads: readonly Uint8Array[], first: number): number {
    let end = first;
    let bytes = 0;
    while (end < payloads.length) {
      const more = RECORD_HEADER_BYTES + payloads[end].length;
      if (end > first && bytes + more > WRITE_BYTES_MAX) break;
      bytes += more;
      end += 1;
    }
    const buffer = this.#bufferFor(bytes);
    const [synced, mask] = [this.#syncedSize, this.#mask];
    let offset = 0;
    for (let i = first; i < end; i++) {
      const payload = payloads[i];
      offset = putRecord(buffer, offset, { payload, synced, mask });
    }
    this.#writeAhead(bytes);
    this.#attempt(() =>
      this.#handle.write(buffer.subarray(0, bytes), this.#size)
    );
    this.#size += bytes;
    return end;
  }

  /** Makes room of zeros for records that would reach beyond it. */
  #writeAhead(bytes: number): void {
    const end = this.#size + bytes;
    if (this.#aheadBytes === 0 || end <= this.#aheadEnd) return;
    const start = Math.max(this.#aheadEnd, this.#size);
    const zeros = new Uint8Array(this.#aheadBytes + end - start);
    this.#attempt(() => this.#handle.write(zeros, start));
    this.#aheadEnd = start + zeros.length;
  }

  #bufferFor(bytes: number): Uint8Array<ArrayBuffer> {
    if (bytes > WRITE_BYTES_MAX) return new Uint8Array(bytes);
    if (bytes > this.#buffer.length) {
      const grown = Math.max(bytes, 2 * this.#buffer.length);
      this.#buffer = new Uint8Array(Math.min(grown, WRITE_BYTES_MAX));
    }
    return this.#buffer;
  }

  async #syncAll(): Promise<void> {
    const wanted = this.#size;
    if (this.#failure !== undefined) throw this.#failure;
    // At most two rounds: the sync that runs, which may have begun too early,
    // and the next, which all who waited for the first begin together.
    while (this.#syncedSize < wanted) {
      await (this.#runningSync ??= this.#syncOnce());
    }
  }

  async #syncOnce(): Promise<void> {
    const size = this.#size;
    try {
      await this.#handle.sync();
    } catch (cause) {
      throw this.#fail(cause);
    } finally {
      this.#runningSync = undefined;
    }
    if (this.#failure !== undefined) throw this.#failure;
    this.#noteSynced(size);
  }

  #noteSynced(size: number): void {
    this.#syncedSize = size;
  }

  #attempt<Result>(act: () => Result): Result {
    try {
      return act();
    } catch (cause) {
      throw this.#fail(cause);
    }
  }

  #fail(cause: unknown): StorageError {
    this.#failure ??= writeFailedError(this.path, cause);
    return this.#failure;
  }

  #assertOpen(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isClosed) throw new Error(`"${this.path}" was closed`);
  }
}

function assertRecordBytesMax(bytes: number): void {
  if (!Number.isInteger(bytes) || bytes < 1 || bytes > RECORD_BYTES_MAX) {
    throw new RangeError(
      `recordBytesMax is ${bytes}, wanted 1 to ${RECORD_BYTES_MAX}`,
    );
  }
}

function openExisting(disk: Disk, path: string): DiskFile | undefined {
  try {
    return disk.open(path);
  } catch (cause) {
    throw new StorageError(
      "open-failed",
      `Cannot open "${path}": ${causeText(cause)}`,
      { path, cause },
    );
  }
}

/** Makes a file that is either not there or has its whole header; its name is not synced yet. */
async function createFile(
  disk: Disk,
  path: string,
  header: Uint8Array,
): Promise<DiskFile> {
  let handle: DiskFile | undefined;
  try {
    handle = disk.create(path + UNFINISHED_SUFFIX);
    handle.write(header, 0);
    await handle.sync();
    disk.rename(path + UNFINISHED_SUFFIX, path);
    return handle;
  } catch (cause) {
    handle?.close();
    throw new StorageError(
      "open-failed",
      `Cannot make "${path}": ${causeText(cause)}`,
      { path, cause },
    );
  }
}

/** Reads up to `chunk.length` bytes at `position` and writes them there again. */
function rewrite(
  handle: DiskFile,
  chunk: Uint8Array,
  position: number,
): number {
  const count = handle.read(chunk, position);
  if (count === 0) throw new Error(`It ends at byte ${position}`);
  handle.write(chunk.subarray(0, count), position);
  return count;
}

function writeFailedError(path: string, cause: unknown): StorageError {
  return new StorageError(
    "write-failed",
    `Cannot write "${path}": ${causeText(cause)}; what it was given last is ` +
      "not certain to be on disk; make room or replace the disk, then start again",
    { path, cause },
  );
}

/** Where the last byte from `start` on that is not zero ends; `start` if all are. */
function endOfData(file: DiskFile, start: number, size: number): number {
  const chunk = new Uint8Array(Math.min(WRITE_BYTES_MAX, size - start));
  let end = start;
  for (let at = start; at < size;) {
    const count = file.read(
      chunk.subarray(0, Math.min(chunk.length, size - at)),
      at,
    );
    if (count === 0) break;
    const last = chunk.subarray(0, count).findLastIndex((byte) => byte !== 0);
    if (last >= 0) end = at + last + 1;
    at += count;
  }
  return end;
}
