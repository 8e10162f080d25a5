/** Re-reads the old part of a log, a little at a time, to find rot while a peer can mend it. */

import { causeText, StorageError } from "./errors.ts";
import type { Segment } from "./log_map.ts";
import { LogRecordCoder } from "./log_record.ts";
import { FILE_HEADER_BYTES, RECORD_HEADER_BYTES } from "./record_format.ts";
import { RecordReader } from "./record_reader.ts";
import { SEGMENT_KIND } from "./segment_files.ts";
import type { SegmentDamage, SegmentLog } from "./segment_log.ts";

/** Bytes read in one step: a millisecond or so. Eight a second are 1 MiB. */
export const SCRUB_STEP_BYTES = 128 * 1024;

/**
 * Goes round and round the segments that have ended, oldest first. The segment
 * being written is left out: what is in it was written lately.
 *
 * What the system still has in memory is read from there, so that rot on the
 * disk is found only in what was not used for a while.
 */
export class LogScrub {
  readonly #log: SegmentLog;
  readonly #stepBytes: number;
  #number = 0;
  #revision = 0;
  #position = 0;
  /** The log's last index after the records read of this segment. */
  #lastIndex = 0;
  #roundCount = 0;

  /** @param stepBytes Bytes read in one step, at least one record; for the host to set the pace. */
  constructor(log: SegmentLog, stepBytes: number = SCRUB_STEP_BYTES) {
    this.#log = log;
    this.#stepBytes = stepBytes;
  }

  /** How often all ended segments have been read. */
  get roundCount(): number {
    return this.#roundCount;
  }

  /**
   * Reads a little more.
   *
   * @returns A segment found bad, for `SegmentLog.repair`; the next step goes on
   * behind it, and comes back to it in the next round.
   */
  step(): SegmentDamage | undefined {
    const { segments } = this.#log;
    const at = segments.findIndex(({ number }) => number >= this.#number);
    if (at < 0 || at + 1 >= segments.length) {
      if (this.#number > 0) this.#roundCount += 1;
      this.#number = 0;
      this.#position = 0;
      return undefined;
    }
    const segment = segments[at];
    const isBegun = segment.number === this.#number &&
      segment.revision === this.#revision && this.#position > 0;
    if (!isBegun) this.#begin(segment);
    try {
      this.#read(segment, segments[at + 1].base.index);
      return undefined;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      const isHeader = error.code === "wrong-format";
      const position = error.position ?? (isHeader ? 0 : this.#position);
      this.#skipTo(segment.number + 1);
      return {
        path: segment.path,
        segment: segment.number,
        position,
        firstIndex: segment.first,
        lastIndex: segment.first + segment.count - 1,
        reason: causeText(error),
      };
    }
  }

  #begin(segment: Segment): void {
    this.#number = segment.number;
    this.#revision = segment.revision;
    this.#position = FILE_HEADER_BYTES;
    this.#lastIndex = segment.base.index;
  }

  #skipTo(number: number): void {
    this.#number = number;
    this.#position = 0;
  }

  /** Throws a {@linkcode StorageError} at the first bad record. */
  #read(segment: Segment, endIndex: number): void {
    const { path } = segment;
    const { disk, recordBytesMax } = this.#log.files;
    const coder = new LogRecordCoder();
    const options = { path, kind: SEGMENT_KIND, recordBytesMax };
    const reader = new RecordReader(disk, options);
    try {
      const end = this.#position + this.#stepBytes;
      while (this.#position < end) {
        const position = this.#position;
        // Of the mark that a segment ends with, any part may be missing; zeros
        // may follow. Any other record has a byte behind its header that is not.
        const isOver = this.#lastIndex === endIndex &&
          reader.isBlankFrom(position + RECORD_HEADER_BYTES);
        if (isOver) return this.#skipTo(segment.number + 1);
        const payload = reader.payloadAt(position);
        if (payload.length > 0) {
          this.#lastIndex = coder.parse(payload, { path, position }).index;
        }
        this.#position += RECORD_HEADER_BYTES + payload.length;
      }
    } finally {
      reader.close();
    }
  }
}
