/** Writes a snapshot, taken here or downloaded, so that it is there whole or not at all. */

import { createHash } from "node:crypto";
import { isSameEpoch } from "../protocol/epoch.ts";
import type { LogPosition } from "../protocol/replica.ts";
import {
  SNAPSHOT_CHUNK_BYTES_MAX,
  type SnapshotInfo,
} from "../protocol/snapshot_codec.ts";
import type { Disk } from "./disk.ts";
import { StorageError } from "./errors.ts";
import { RecordFile, UNFINISHED_SUFFIX } from "./record_file.ts";
import {
  encodeSnapshotFooter,
  encodeSnapshotHeader,
  parseSnapshotFooter,
  parseSnapshotHeader,
  removeUnfinished,
  SNAPSHOT_KIND,
  SNAPSHOT_RECORD,
  SNAPSHOT_RECORD_BYTES_MAX,
  type SnapshotHeader,
  snapshotIndexes,
  snapshotPath,
  type SnapshotTotals,
} from "./snapshot_format.ts";

/**
 * Bytes written between two syncs. All at once at the end would keep the log's
 * own syncs waiting behind it.
 */
const UNSYNCED_BYTES_MAX = 4 * 1024 * 1024;

/**
 * One snapshot being written, under its name with `.new`; only
 * {@linkcode finish} gives it its name, and then removes older ones. One at a
 * time in a directory, and one call at a time.
 *
 * @see storage/FORMAT.md#snapshot
 */
export class SnapshotWriter {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #header: SnapshotHeader;
  readonly #file: RecordFile;
  readonly #content: Content;

  private constructor(
    disk: Disk,
    directory: string,
    state: { header: SnapshotHeader; file: RecordFile; content: Content },
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#header = state.header;
    this.#file = state.file;
    this.#content = state.content;
  }

  /**
   * Begins the snapshot of the state as it is at a position. What was begun
   * before and not finished is removed.
   *
   * @throws {StorageError} `open-failed`, `write-failed`: exit, or make room.
   */
  static async create(
    disk: Disk,
    directory: string,
    position: LogPosition,
  ): Promise<SnapshotWriter> {
    removeUnfinished(disk, directory);
    return await SnapshotWriter.#begin(disk, directory, position);
  }

  /**
   * Begins a download, or goes on with the same one where it stopped:
   * {@linkcode chunks} says how many pieces are there already.
   *
   * @throws {StorageError} `open-failed`, `write-failed`: exit, or make room.
   */
  static async resume(
    disk: Disk,
    directory: string,
    info: SnapshotInfo,
  ): Promise<SnapshotWriter> {
    const { index, epoch, chunks, bytes, digest } = info;
    const header = { index, epoch, expected: { chunks, bytes, digest } };
    removeUnfinished(disk, directory, index);
    const content = new Content();
    const file = await openUnfinished(disk, directory, { index, content });
    if (file !== undefined) {
      if (isSame(content.header, header)) {
        return new SnapshotWriter(disk, directory, { header, file, content });
      }
      await file.close();
      removeUnfinished(disk, directory);
    }
    return await SnapshotWriter.#begin(disk, directory, header);
  }

  static async #begin(
    disk: Disk,
    directory: string,
    header: SnapshotHeader,
  ): Promise<SnapshotWriter> {
    const path = snapshotPath(directory, header.index) + UNFINISHED_SUFFIX;
    const { file } = await RecordFile.open(disk, path, {
      kind: SNAPSHOT_KIND,
      recordBytesMax: SNAPSHOT_RECORD_BYTES_MAX,
      onRecord: () => {},
    });
    file.append([encodeSnapshotHeader(header)]);
    await file.sync();
    const content = new Content();
    return new SnapshotWriter(disk, directory, { header, file, content });
  }

  /** Pieces written, also by an earlier process. */
  get chunks(): number {
    return this.#content.chunks;
  }

  /** Bytes of all pieces written. */
  get bytes(): number {
    return this.#content.bytes;
  }

  /**
   * Adds the next piece. It may be on disk for good only after
   * {@linkcode finish}; a restart goes on after the last one that is.
   *
   * @param chunk 1 to `SNAPSHOT_CHUNK_BYTES_MAX` bytes; not kept.
   * @throws {RangeError} It has not, or the download has all its pieces.
   * @throws {StorageError} `write-failed`: exit, or {@linkcode abandon} it.
   */
  async write(chunk: Uint8Array): Promise<void> {
    const { length } = chunk;
    if (length < 1 || length > SNAPSHOT_CHUNK_BYTES_MAX) {
      throw new RangeError(
        `Chunk is ${length} bytes, wanted 1 to ${SNAPSHOT_CHUNK_BYTES_MAX}`,
      );
    }
    if (this.#content.footer !== undefined) {
      throw new RangeError(`All ${this.chunks} chunks are there already`);
    }
    const payload = new Uint8Array(1 + length);
    payload[0] = SNAPSHOT_RECORD.chunk;
    payload.set(chunk, 1);
    this.#file.append([payload]);
    this.#content.add(chunk);
    if (this.#file.size - this.#file.syncedSize >= UNSYNCED_BYTES_MAX) {
      await this.#file.sync();
    }
  }

  /**
   * All pieces are written: gives the snapshot its name, durably, and removes
   * older ones. Nothing may be called after it.
   *
   * @returns Nothing if it is not what was to be downloaded: then it is removed.
   * @throws {StorageError} `write-failed`, `open-failed`: exit.
   */
  async finish(): Promise<SnapshotInfo | undefined> {
    const { index, epoch, expected } = this.#header;
    const totals = this.#content.totals();
    if (expected !== undefined && !isSameTotals(totals, expected)) {
      await this.abandon();
      return undefined;
    }
    if (this.#content.footer === undefined) {
      this.#file.append([encodeSnapshotFooter(totals)]);
    }
    await this.#file.close();
    const path = snapshotPath(this.#directory, index);
    this.#disk.rename(path + UNFINISHED_SUFFIX, path);
    await this.#disk.syncDirectory(this.#directory);
    for (const old of snapshotIndexes(this.#disk, this.#directory)) {
      if (old >= index) break;
      this.#disk.remove(snapshotPath(this.#directory, old));
    }
    return { index, epoch, ...totals };
  }

  /**
   * Stops here. Another process may go on with a download; of a snapshot that
   * was being taken, nothing is kept.
   *
   * @throws {StorageError} `write-failed`: exit.
   */
  async pause(): Promise<void> {
    await this.#file.close();
    if (this.#header.expected === undefined) this.#remove();
  }

  /** Stops here, and removes what was written, whatever state it is in. */
  async abandon(): Promise<void> {
    try {
      await this.#file.close();
    } catch (error) {
      // It goes anyway; only the disk's failure to keep it is no news.
      if (!(error instanceof StorageError)) throw error;
    }
    this.#remove();
  }

  #remove(): void {
    const { index } = this.#header;
    this.#disk.remove(snapshotPath(this.#directory, index) + UNFINISHED_SUFFIX);
  }
}

/** What a file holds, as its records are read or written. */
class Content {
  header: SnapshotHeader | undefined;
  footer: SnapshotTotals | undefined;
  chunks = 0;
  bytes = 0;
  readonly #hash = createHash("sha256");

  add(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.chunks += 1;
    this.bytes += chunk.length;
  }

  totals(): SnapshotTotals {
    const { chunks, bytes } = this;
    return { chunks, bytes, digest: this.#hash.copy().digest("hex") };
  }
}

/** Reads what there is of a snapshot, if it can be gone on with; else removes it. */
async function openUnfinished(
  disk: Disk,
  directory: string,
  what: { readonly index: number; readonly content: Content },
): Promise<RecordFile | undefined> {
  const { content } = what;
  const path = snapshotPath(directory, what.index) + UNFINISHED_SUFFIX;
  const existing = disk.open(path);
  if (existing === undefined) return undefined;
  existing.close();
  try {
    const { file } = await RecordFile.open(disk, path, {
      kind: SNAPSHOT_KIND,
      recordBytesMax: SNAPSHOT_RECORD_BYTES_MAX,
      onRecord: (payload, position) => {
        const at = { path, position };
        if (content.header === undefined) {
          content.header = parseSnapshotHeader(payload, at);
        } else if (payload[0] === SNAPSHOT_RECORD.chunk) {
          content.add(payload.subarray(1));
        } else {
          content.footer = parseSnapshotFooter(payload, at);
        }
      },
    });
    return file;
  } catch (error) {
    const isBad = error instanceof StorageError &&
      (error.code === "damaged" || error.code === "wrong-format");
    if (!isBad) throw error;
    // It can be had again.
    disk.remove(path);
    return undefined;
  }
}

function isSame(a: SnapshotHeader | undefined, b: SnapshotHeader): boolean {
  return a !== undefined && a.index === b.index &&
    isSameEpoch(a.epoch, b.epoch) &&
    a.expected !== undefined && b.expected !== undefined &&
    isSameTotals(a.expected, b.expected);
}

function isSameTotals(a: SnapshotTotals, b: SnapshotTotals): boolean {
  return a.chunks === b.chunks && a.bytes === b.bytes && a.digest === b.digest;
}
