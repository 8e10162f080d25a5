/** Entries of a log, read back from the files of its segments. */

import { isSameEpoch } from "../protocol/epoch.ts";
import type { LogEntry } from "../protocol/replica.ts";
import { StorageError } from "./errors.ts";
import type { LogMap, Segment } from "./log_map.ts";
import { LogRecordCoder } from "./log_record.ts";
import { RecordReader } from "./record_reader.ts";
import { SEGMENT_KIND, type SegmentDirectory } from "./segment_files.ts";

/** Keeps the file of the segment that was read last open, until {@linkcode close}. */
export class LogReader {
  readonly #files: SegmentDirectory;
  readonly #coder = new LogRecordCoder();
  #reader: RecordReader | undefined;

  constructor(files: SegmentDirectory) {
    this.#files = files;
  }

  /**
   * The entry at an index that the map has.
   *
   * @throws {StorageError} `damaged`: it is not there any more. `open-failed`.
   */
  entryAt(map: LogMap, wanted: number): LogEntry {
    const { segment, position } = map.locate(wanted);
    const { path } = segment;
    if (this.#reader?.path !== path) {
      this.close();
      const { disk, recordBytesMax } = this.#files;
      const options = { path, kind: SEGMENT_KIND, recordBytesMax };
      this.#reader = new RecordReader(disk, options);
    }
    const payload = this.#reader.payloadAt(position);
    const at = { path, position };
    const { kind, index, epoch, command } = this.#coder.parse(payload, at);
    if (
      kind === "entry" && index === wanted &&
      isSameEpoch(epoch, map.epochAt(index))
    ) {
      return { index, epoch, command };
    }
    throw new StorageError(
      "damaged",
      `Cannot read "${path}": at byte ${position} is ${kind} ${index}, ` +
        `wanted entry ${wanted}`,
      at,
    );
  }

  /** All of a segment that counts. */
  entriesOf(map: LogMap, segment: Segment): LogEntry[] {
    const { first, count } = segment;
    return Array.from(
      { length: count },
      (_, i) => this.entryAt(map, first + i),
    );
  }

  /** Lets go of the file, before it is removed or replaced. The next read opens it again. */
  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }
}
