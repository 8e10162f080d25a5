/** Reads all segments of a log at start, and says where they are damaged. */

import { EPOCH_NONE, formatEpoch, isSameEpoch } from "../protocol/epoch.ts";
import type { LogPosition } from "../protocol/replica.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { causeText, StorageError } from "./errors.ts";
import { isDamage } from "./header_rot.ts";
import { LogMap } from "./log_map.ts";
import { type LogRecord, LogRecordCoder } from "./log_record.ts";
import type { LogTail } from "./log_tail.ts";
import { RecordFile } from "./record_file.ts";
import { FILE_HEADER_BYTES } from "./record_format.ts";
import { replayRecords } from "./record_replay.ts";
import {
  SEGMENT_KIND,
  type SegmentDirectory,
  segmentNumbers,
  segmentPath,
  tidySegments,
} from "./segment_files.ts";
import { RecordReader } from "./record_reader.ts";

/** What a log cannot read of itself. */
export interface LogDamage {
  readonly path: string;
  /** Where in the file the first bad byte may be, from 0. */
  readonly position: number;
  /** Good entries end here, and maybe even some before it were dropped since. */
  readonly goodTo: LogPosition;
  /** Number of the segment from which on nothing is to be relied upon. */
  readonly segment: number;
  /** For the operator; a sentence. */
  readonly reason: string;
}

/** What was found. */
export interface LoadedSegments {
  readonly map: LogMap;
  /** The last segment; `undefined` if there is none, or with damage. */
  readonly active: RecordFile | undefined;
  /** Torn bytes that were cut off the last segment. */
  readonly cutBytes: number;
  readonly damage: LogDamage | undefined;
}

/**
 * A record is passed on only if it follows from those before it. All of a
 * segment was on disk before the next one's first record was written, so only
 * the last segment may have a torn tail.
 *
 * @param tail Gets the entries.
 * @throws {StorageError} `wrong-format`, `open-failed`, `write-failed`. Damage
 * is not thrown, and changes nothing on disk.
 */
export async function loadSegments(
  files: SegmentDirectory,
  tail: LogTail,
): Promise<LoadedSegments> {
  await tidySegments(files.disk, files.directory);
  return await new SegmentLoader(files, tail).load();
}

/** What keeps a segment from being read; turned into a {@linkcode LogDamage}. */
class Unreadable extends Error {
  readonly position: number;
  /** Number of the segment at fault. */
  readonly segment: number;

  constructor(at: { segment: number; position: number }, reason: string) {
    super(reason);
    this.segment = at.segment;
    this.position = at.position;
  }
}

class SegmentLoader {
  readonly #files: SegmentDirectory;
  readonly #tail: LogTail;
  readonly #coder = new LogRecordCoder();
  #map = new LogMap({ index: 0, epoch: EPOCH_NONE });
  /** The segment being read. */
  #number = 0;
  /** Entries of segments before this one are not kept in memory. */
  #tailFrom = 0;
  /** Where its good records end. */
  #end = 0;
  /** Its first record has been read. */
  #isBegun = false;
  #cutBytes = 0;

  constructor(files: SegmentDirectory, tail: LogTail) {
    this.#files = files;
    this.#tail = tail;
  }

  async load(): Promise<LoadedSegments> {
    const { disk, directory } = this.#files;
    const found = segmentNumbers(disk, directory);
    const unused: number[] = [];
    while (found.length > 0 && this.#isUnused(found[found.length - 1])) {
      unused.push(...found.splice(-1));
    }
    const numbers = found.slice(this.#firstThatCounts(found));
    let active: RecordFile | undefined;
    this.#tailFrom = this.#firstForTail(numbers);
    try {
      for (const number of numbers) {
        active = await this.#readSegment(number, numbers);
      }
      this.#assertNoneGone();
    } catch (error) {
      const damage = this.#damageOf(error);
      await active?.close();
      return {
        map: this.#map,
        active: undefined,
        cutBytes: this.#cutBytes,
        damage,
      };
    }
    // Only now: the segment that makes them void is on disk for good.
    const isVoid = (number: number) => number < numbers[0];
    const needless = [...unused, ...found.filter(isVoid)];
    for (const number of needless) disk.remove(segmentPath(directory, number));
    if (needless.length > 0) await disk.syncDirectory(directory);
    return {
      map: this.#map,
      active,
      cutBytes: this.#cutBytes,
      damage: undefined,
    };
  }

  /** Whether a segment was made and nothing in it was ever synced. */
  #isUnused(number: number): boolean {
    if (this.#peek(number) !== undefined) return false;
    let hasRecords = false;
    try {
      this.#replay(number, () => hasRecords = true);
    } catch (error) {
      if (error instanceof StorageError) return false;
      throw error;
    }
    return !hasRecords;
  }

  /** Of the segments, all before the last one that resets the log are void. */
  #firstThatCounts(numbers: readonly number[]): number {
    return Math.max(
      numbers.findLastIndex((number) => this.#peek(number)?.kind === "resets"),
      0,
    );
  }

  /** The first record, if it is good. */
  #peek(number: number): LogRecord | undefined {
    const { disk, directory, recordBytesMax } = this.#files;
    const path = segmentPath(directory, number);
    const position = FILE_HEADER_BYTES;
    let reader: RecordReader | undefined;
    try {
      reader = new RecordReader(disk, {
        path,
        kind: SEGMENT_KIND,
        recordBytesMax,
      });
      const payload = reader.payloadAt(position);
      return this.#coder.parse(payload, { path, position });
    } catch (error) {
      if (error instanceof StorageError) return undefined;
      throw error;
    } finally {
      reader?.close();
    }
  }

  /** The first of the segments whose entries may fit the tail. */
  #firstForTail(numbers: readonly number[]): number {
    const { disk, directory } = this.#files;
    let bytes = 0;
    for (const number of numbers.toReversed()) {
      if (bytes > this.#tail.bytesMax) return number + 1;
      const path = segmentPath(directory, number);
      const handle = openForReading(disk, path);
      bytes += handle.size();
      handle.close();
    }
    return 0;
  }

  /** Reads all of a segment; opens it if it is the last. */
  async #readSegment(
    number: number,
    numbers: readonly number[],
  ): Promise<RecordFile | undefined> {
    const before = this.#number;
    if (number !== numbers[0] && number !== before + 1) {
      throw new Unreadable(
        { segment: before + 1, position: 0 },
        "It is not there",
      );
    }
    this.#isBegun = false;
    if (number !== numbers.at(-1)) {
      this.#number = number;
      this.#end = this.#replay(number, (record, position) => {
        this.#take(record, { position, before });
      });
      if (!this.#isBegun) throw this.#unreadable(FILE_HEADER_BYTES, "Empty");
      return undefined;
    }
    const { disk, directory, recordBytesMax, aheadBytes } = this.#files;
    const path = segmentPath(directory, number);
    this.#number = number;
    const { file, cutBytes } = await RecordFile.open(disk, path, {
      kind: SEGMENT_KIND,
      recordBytesMax,
      aheadBytes,
      onRecord: (payload, position) => {
        const record = this.#coder.parse(payload, { path, position });
        this.#take(record, { position, before });
      },
    });
    this.#cutBytes = cutBytes;
    return file;
  }

  /** Reads the good records of a file, without changing it. */
  #replay(
    number: number,
    onRecord: (record: LogRecord, position: number) => void,
  ): number {
    const { disk, directory, recordBytesMax } = this.#files;
    const path = segmentPath(directory, number);
    const handle = openForReading(disk, path);
    try {
      const { end } = replayRecords(handle, {
        path,
        kind: SEGMENT_KIND,
        recordBytesMax,
        givesViews: true,
        onRecord: (payload, position) => {
          onRecord(this.#coder.parse(payload, { path, position }), position);
        },
      });
      return end;
    } finally {
      handle.close();
    }
  }

  #take(record: LogRecord, at: { position: number; before: number }): void {
    const { position } = at;
    if (!this.#isBegun) return this.#begin(record, at);
    const map = this.#map;
    switch (record.kind) {
      case "entry":
        if (record.index !== map.lastIndex + 1) {
          throw this.#unreadable(position, `Index is ${record.index}`);
        }
        map.add(record.epoch, position);
        if (this.#number >= this.#tailFrom) {
          const { index, epoch, command } = record;
          this.#tail.push({ index, epoch, command: command.slice() });
        }
        return;
      case "cut":
        if (
          record.index > map.lastIndex ||
          record.index >= map.base.index &&
            !isSameEpoch(map.positionAt(record.index).epoch, record.epoch)
        ) {
          throw this.#unreadable(position, `Cut to index ${record.index}`);
        }
        map.cut(record);
        this.#tail.cut(record.index);
        return;
      case "gone":
        map.addGone(record);
        return;
      case "continues":
      case "resets":
        throw this.#unreadable(position, "A second beginning");
    }
  }

  #begin(record: LogRecord, at: { position: number; before: number }): void {
    const { kind, index, epoch } = record;
    if (kind !== "continues" && kind !== "resets") {
      throw this.#unreadable(at.position, "It has no beginning");
    }
    const { last } = this.#map;
    const base = { index, epoch };
    if (at.before === 0) {
      this.#map = new LogMap(base);
    } else if (index > last.index) {
      throw new Unreadable(
        { segment: at.before, position: this.#end },
        `It ends after index ${last.index}, although the next begins after ${index}`,
      );
    } else if (index < last.index || !isSameEpoch(epoch, last.epoch)) {
      throw this.#unreadable(
        at.position,
        `It begins after index ${index} (epoch ${formatEpoch(epoch)}), ` +
          `the one before ends at ${last.index} (${formatEpoch(last.epoch)})`,
      );
    }
    const path = segmentPath(this.#files.directory, this.#number);
    this.#map.begin({ number: this.#number, path, kind, base });
    this.#isBegun = true;
  }

  #assertNoneGone(): void {
    const gone = this.#map.firstGone();
    if (gone === undefined) return;
    const { segment, index } = gone;
    this.#map.cut(this.#map.positionAt(index - 1));
    throw new Unreadable(
      { segment: segment.number, position: 0 },
      `It lacks index ${index}, which no later segment drops`,
    );
  }

  #unreadable(position: number, reason: string): Unreadable {
    return new Unreadable({ segment: this.#number, position }, reason);
  }

  /** @throws Whatever `error` is, if it is no damage. */
  #damageOf(error: unknown): LogDamage {
    const goodTo = this.#map.last;
    this.#tail.cut(goodTo.index);
    if (error instanceof Unreadable) {
      const { segment, position, message } = error;
      const path = segmentPath(this.#files.directory, segment);
      const reason =
        `Cannot read "${path}" from byte ${position} on: ${message}`;
      return { path, position, goodTo, segment, reason };
    }
    if (!isDamage(this.#files.disk, error)) throw error;
    return {
      path: error.path,
      position: error.position ?? 0,
      goodTo,
      segment: this.#number,
      reason: error.message,
    };
  }
}

function openForReading(disk: Disk, path: string): DiskFile {
  try {
    const handle = disk.open(path);
    if (handle !== undefined) return handle;
    throw new Error("It is not there");
  } catch (cause) {
    throw new StorageError(
      "open-failed",
      `Cannot read "${path}": ${causeText(cause)}`,
      { path, cause },
    );
  }
}
