/** The end of a log: the segment being written, the next one, and group commit. */

import type { LogPosition } from "../protocol/replica.ts";
import { causeText, StorageError } from "./errors.ts";
import { SEGMENT_POSITION_MAX, type SegmentStart } from "./log_map.ts";
import { LogRecordCoder } from "./log_record.ts";
import { RecordFile } from "./record_file.ts";
import { RECORD_HEADER_BYTES } from "./record_format.ts";
import {
  SEGMENT_KIND,
  type SegmentDirectory,
  segmentPath,
} from "./segment_files.ts";

/** What a writer needs of the log that it writes. */
export interface SegmentWriterOptions {
  /** A segment of this size ends with the next sync, in bytes. */
  readonly segmentBytesMax: number;
  /** The last position of the log. */
  last(): LogPosition;
  /** Another segment was begun; what is appended from now on is in it. */
  begun(start: SegmentStart): void;
}

/**
 * Writes records, and begins the next segment when one is long enough. That
 * happens only where a sync ends: then what is in the old one is on disk before
 * the new one's first record is written. The new file was made beforehand, while
 * the old one was filled, so that nobody waits for it.
 */
export class SegmentWriter {
  readonly #files: SegmentDirectory;
  readonly #options: SegmentWriterOptions;
  readonly #coder = new LogRecordCoder();
  #number: number;
  #active: RecordFile;
  /** The next segment, made and empty. */
  #next: RecordFile | undefined;
  #preparing: Promise<void> | undefined;
  /** Writes since the log was opened, and how many of them are synced. */
  #writtenCount = 0;
  #syncedCount = 0;
  #runningSync: Promise<void> | undefined;
  /** Files of ended segments that are being closed; one at a time, as a rule. */
  readonly #closing = new Set<Promise<void>>();
  #failure: StorageError | undefined;

  constructor(
    files: SegmentDirectory,
    active: { readonly file: RecordFile; readonly number: number },
    options: SegmentWriterOptions,
  ) {
    this.#files = files;
    this.#active = active.file;
    this.#number = active.number;
    this.#options = options;
  }

  /**
   * Makes a segment with which the log begins anew after `base`, durably.
   *
   * @throws {StorageError} `open-failed`, `write-failed`; exit.
   */
  static async makeFirst(
    files: SegmentDirectory,
    start: { readonly number: number; readonly base: LogPosition },
  ): Promise<RecordFile> {
    const file = await makeSegment(files, start.number);
    file.append([new LogRecordCoder().encode("resets", start.base)]);
    await file.sync();
    // Marked, so that rot in the only record is never taken for a torn end.
    file.mark();
    await file.sync();
    return file;
  }

  /** Bytes of the segment being written. */
  get size(): number {
    return this.#active.size;
  }

  get isSyncing(): boolean {
    return this.#runningSync !== undefined;
  }

  /**
   * Adds records.
   *
   * @returns Where the first one begins in its segment.
   * @throws {StorageError} `write-failed`; exit.
   */
  append(payloads: readonly Uint8Array[]): number {
    this.#assertGood();
    const position = this.#active.size;
    let bytes = 0;
    for (const { length } of payloads) bytes += RECORD_HEADER_BYTES + length;
    if (position + bytes > SEGMENT_POSITION_MAX) {
      throw new RangeError(
        `Segment would be ${position + bytes} bytes, ` +
          `wanted at most ${SEGMENT_POSITION_MAX}: sync now and then`,
      );
    }
    this.#attempt(() => this.#active.append(payloads));
    this.#writtenCount += 1;
    if (2 * this.#active.size >= this.#options.segmentBytesMax) {
      this.#prepareNext();
    }
    return position;
  }

  /** Resolves when all that was appended before the call survives power loss. */
  async sync(): Promise<void> {
    this.#assertGood();
    const wanted = this.#writtenCount;
    while (this.#syncedCount < wanted) {
      await (this.#runningSync ??= this.#syncOnce());
    }
  }

  /** @throws {Error} A {@linkcode sync} is under way. */
  syncNow(): void {
    this.#assertGood();
    if (this.#runningSync !== undefined) {
      throw new Error(
        `Cannot sync "${this.#active.path}" at once: a sync runs`,
      );
    }
    this.#attempt(() => this.#active.syncNow());
    this.#syncedCount = this.#writtenCount;
    this.#attempt(() => this.#roll());
  }

  /** See {@linkcode RecordFile.mark}. */
  mark(): void {
    this.#assertGood();
    this.#attempt(() => this.#active.mark());
  }

  /** Resolves when ended segments have been closed. */
  async settle(): Promise<void> {
    await Promise.all(this.#closing);
    this.#assertGood();
  }

  /** Syncs, marks and closes. The handles are closed whatever happens. */
  async close(): Promise<void> {
    try {
      await this.#preparing;
      await Promise.all(this.#closing);
      const next = this.#next;
      this.#next = undefined;
      if (next !== undefined) {
        await next.close();
        this.#files.disk.remove(next.path);
      }
    } finally {
      // Whoever waits for a sync gets it; why it fails, the close says as well.
      await this.sync().catch(() => {});
      await this.#active.close();
    }
    this.#assertGood();
  }

  async #syncOnce(): Promise<void> {
    const count = this.#writtenCount;
    try {
      await this.#active.sync();
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#runningSync = undefined;
    }
    this.#syncedCount = count;
    this.#attempt(() => this.#roll());
  }

  #attempt<Result>(act: () => Result): Result {
    try {
      return act();
    } catch (error) {
      throw error instanceof StorageError ? this.#fail(error) : error;
    }
  }

  /** Begins the next segment, if it is time to; no sync runs. */
  #roll(): void {
    const [old, next] = [this.#active, this.#next];
    if (next === undefined || old.size < this.#options.segmentBytesMax) return;
    // What was appended while the last sync ran: little, and once a segment.
    old.syncNow();
    this.#syncedCount = this.#writtenCount;
    const base = this.#options.last();
    next.append([this.#coder.encode("continues", base)]);
    this.#writtenCount += 1;
    this.#active = next;
    this.#next = undefined;
    this.#number += 1;
    const { path } = next;
    const number = this.#number;
    this.#options.begun({ number, path, kind: "continues", base });
    const closing = old.close().catch((error) => void this.#fail(error))
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  #prepareNext(): void {
    if (this.#next !== undefined || this.#preparing !== undefined) return;
    this.#preparing = makeSegment(this.#files, this.#number + 1)
      .then((file) => {
        this.#next = file;
      }, (error) => void this.#fail(error))
      .finally(() => this.#preparing = undefined);
  }

  /** The first failure stays. */
  #fail(error: unknown): StorageError {
    const { path } = this.#active;
    this.#failure ??= error instanceof StorageError &&
        error.code === "write-failed"
      ? error
      : new StorageError(
        "write-failed",
        `Cannot go on with "${path}": ${causeText(error)}`,
        { path, cause: error },
      );
    return this.#failure;
  }

  #assertGood(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

async function makeSegment(
  files: SegmentDirectory,
  number: number,
): Promise<RecordFile> {
  const { disk, directory, recordBytesMax, aheadBytes } = files;
  const { file } = await RecordFile.open(disk, segmentPath(directory, number), {
    kind: SEGMENT_KIND,
    recordBytesMax,
    aheadBytes,
    onRecord: () => {},
  });
  return file;
}
