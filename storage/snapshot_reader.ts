/** Reads a snapshot, piece by piece, and finds the newest. */

import { createHash } from "node:crypto";
import type { LogPosition } from "../protocol/replica.ts";
import type { SnapshotInfo } from "../protocol/snapshot_codec.ts";
import type { Disk } from "./disk.ts";
import { StorageError } from "./errors.ts";
import { isDamage } from "./header_rot.ts";
import { FILE_HEADER_BYTES, RECORD_HEADER_BYTES } from "./record_format.ts";
import { RecordReader } from "./record_reader.ts";
import {
  parseSnapshotFooter,
  parseSnapshotHeader,
  SNAPSHOT_KIND,
  SNAPSHOT_RECORD,
  SNAPSHOT_RECORD_BYTES_MAX,
  snapshotIndexes,
  snapshotPath,
} from "./snapshot_format.ts";

/** The newest snapshot of a directory, and newer ones that cannot be read. */
export interface NewestSnapshot {
  readonly snapshot: SnapshotReader | undefined;
  /** Tell the operator; files are left as they are. */
  readonly damaged: readonly StorageError[];
}

/**
 * An open snapshot. It stays readable when a newer one removes its file. Takes 4
 * bytes of memory a piece.
 */
export class SnapshotReader {
  readonly path: string;
  readonly info: SnapshotInfo;
  readonly #reader: RecordReader;
  readonly #positions: readonly number[];

  private constructor(
    reader: RecordReader,
    content: { info: SnapshotInfo; positions: readonly number[] },
  ) {
    this.path = reader.path;
    this.info = content.info;
    this.#reader = reader;
    this.#positions = content.positions;
  }

  /**
   * Opens a snapshot and looks at its frame: the header, where each piece is,
   * and the footer. What is in the pieces is checked as they are read.
   *
   * @throws {StorageError} `damaged`: get it from a peer, or take it anew.
   * `wrong-format`: a later version wrote it. `open-failed`.
   */
  static open(disk: Disk, path: string): SnapshotReader {
    const reader = new RecordReader(disk, {
      path,
      kind: SNAPSHOT_KIND,
      recordBytesMax: SNAPSHOT_RECORD_BYTES_MAX,
    });
    try {
      return new SnapshotReader(reader, readFrame(reader));
    } catch (error) {
      reader.close();
      throw error;
    }
  }

  /**
   * The newest snapshot in a directory that can be opened.
   *
   * @throws {StorageError} `wrong-format`, `open-failed`: refuse to start.
   */
  static newest(disk: Disk, directory: string): NewestSnapshot {
    const damaged: StorageError[] = [];
    for (const index of snapshotIndexes(disk, directory).toReversed()) {
      try {
        const path = snapshotPath(directory, index);
        return { snapshot: SnapshotReader.open(disk, path), damaged };
      } catch (error) {
        if (!isDamage(disk, error)) throw error;
        damaged.push(error);
      }
    }
    return { snapshot: undefined, damaged };
  }

  /** What the snapshot stands for. */
  get position(): LogPosition {
    const { index, epoch } = this.info;
    return { index, epoch };
  }

  /**
   * A piece.
   *
   * @param number 0 to `info.chunks` - 1.
   * @returns A copy, 1 to `SNAPSHOT_CHUNK_BYTES_MAX` bytes.
   * @throws {RangeError} There is none of that number.
   * @throws {StorageError} `damaged`; `open-failed` when it cannot be read.
   */
  chunk(number: number): Uint8Array<ArrayBuffer> {
    if (!(number >= 0 && number < this.#positions.length)) {
      throw new RangeError(
        `Chunk is ${number}, wanted 0 to ${this.#positions.length - 1}`,
      );
    }
    const position = this.#positions[number];
    const payload = this.#reader.payloadAt(position);
    if (payload[0] === SNAPSHOT_RECORD.chunk) return payload.subarray(1);
    throw damagedSnapshot(this.path, position, "there is no chunk");
  }

  /**
   * All pieces, in order. What was given before it throws is good.
   *
   * @throws {StorageError} `damaged`, also when the whole is not what it was
   * although each piece is good.
   */
  *chunks(): Generator<Uint8Array<ArrayBuffer>> {
    const hash = createHash("sha256");
    let bytes = 0;
    for (let number = 0; number < this.info.chunks; number++) {
      const chunk = this.chunk(number);
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
    if (bytes === this.info.bytes && hash.digest("hex") === this.info.digest) {
      return;
    }
    throw damagedSnapshot(
      this.path,
      FILE_HEADER_BYTES,
      "its digest is not that of its chunks",
    );
  }

  /**
   * Reads all of it, without stopping: for a tool, not for a server.
   *
   * @throws {StorageError} As {@linkcode chunks}.
   */
  verify(): void {
    for (const chunk of this.chunks()) void chunk;
  }

  /** Closes the handle. */
  close(): void {
    this.#reader.close();
  }
}

function readFrame(
  reader: RecordReader,
): { info: SnapshotInfo; positions: number[] } {
  const { path } = reader;
  const first = FILE_HEADER_BYTES;
  const header = parseSnapshotHeader(reader.payloadAt(first), {
    path,
    position: first,
  });
  const records: number[] = [];
  for (let position: number | undefined = first; position !== undefined;) {
    const next: number | undefined = reader.after(position);
    if (next === undefined) break;
    // A mark has no payload, and is none of the records.
    if (next > position + RECORD_HEADER_BYTES) records.push(position);
    position = next;
  }
  const last = records.at(-1) ?? first;
  if (last === first) throw damagedSnapshot(path, first, "it has no footer");
  const payload = reader.payloadAt(last);
  if (payload[0] !== SNAPSHOT_RECORD.footer) {
    throw damagedSnapshot(path, last, "it has no footer");
  }
  const totals = parseSnapshotFooter(payload, { path, position: last });
  const positions = records.slice(1, -1);
  if (positions.length !== totals.chunks) {
    throw damagedSnapshot(
      path,
      last,
      `it has ${positions.length} chunks, wanted ${totals.chunks}`,
    );
  }
  const { index, epoch } = header;
  return { info: { index, epoch, ...totals }, positions };
}

function damagedSnapshot(
  path: string,
  position: number,
  why: string,
): StorageError {
  return new StorageError("damaged", `Cannot read "${path}": ${why}`, {
    path,
    position,
  });
}
