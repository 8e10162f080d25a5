/** The log of a replicated group's node: entries in segments, on disk for good after a sync. */

import { EPOCH_NONE, formatEpoch, isSameEpoch } from "../protocol/epoch.ts";
import {
  COMMAND_BYTES_MAX,
  type LogEntry,
  type LogPosition,
  type LogShape,
} from "../protocol/replica.ts";
import type { Disk } from "./disk.ts";
import { StorageError } from "./errors.ts";
import { LogMap, type Segment } from "./log_map.ts";
import { LOG_RECORD_BYTES, LogRecordCoder } from "./log_record.ts";
import { LogReader } from "./log_reader.ts";
import { type LogRange, LogTail } from "./log_tail.ts";
import type { RecordFile } from "./record_file.ts";
import { RECORD_HEADER_BYTES } from "./record_format.ts";
import {
  moveAwayAfter,
  REPAIR_SUFFIX,
  replaceDamaged,
  type SegmentDirectory,
  segmentNumbers,
  segmentPath,
  writeRepaired,
} from "./segment_files.ts";
import {
  type LoadedSegments,
  loadSegments,
  type LogDamage,
} from "./segment_loader.ts";
import { SegmentWriter } from "./segment_writer.ts";

/** Size of a segment, in bytes, at which the next one is begun. */
export const SEGMENT_BYTES_MAX = 16 * 1024 * 1024;

/** Memory for the newest entries, in bytes. */
export const TAIL_BYTES_MAX = 16 * 1024 * 1024;

/** How a log is kept. */
export interface SegmentLogOptions {
  /** 256 to 2^30; default {@linkcode SEGMENT_BYTES_MAX}. A segment may get a little longer. */
  readonly segmentBytesMax?: number;
  /** Largest command, in bytes; default `COMMAND_BYTES_MAX`. May grow later, never shrink. */
  readonly entryBytesMax?: number;
  /** Default {@linkcode TAIL_BYTES_MAX}. */
  readonly tailBytesMax?: number;
  /** Zeros written ahead of the end, see `RecordFileOptions`; default 0 bytes. */
  readonly aheadBytes?: number;
}

/** An open log, and what opening it took. */
export interface OpenedSegmentLog {
  readonly log: SegmentLog;
  /** Whether there was none before: whoever had one has lost it. */
  readonly created: boolean;
  /** Torn bytes that were cut off the end and never synced; tell the operator. */
  readonly cutBytes: number;
  /**
   * Something that was synced cannot be read. Nothing has been changed: the log
   * shows what is good before it, and takes nothing until
   * {@linkcode SegmentLog.dropDamaged} or {@linkcode SegmentLog.reset}. Note
   * durably, before either, that this node has lost entries.
   */
  readonly damage: LogDamage | undefined;
}

/** A closed segment that has been found bad, and what it takes to mend it. */
export interface SegmentDamage {
  readonly path: string;
  /** Number of the segment. */
  readonly segment: number;
  /** Of the first bad record, in bytes. */
  readonly position: number;
  /** Entries to be got from a peer; `firstIndex > lastIndex`: none. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** For the operator; a sentence. */
  readonly reason: string;
}

/**
 * An append-only log in segments. The first record of a segment is written only
 * when everything before it is on disk, so one sync of the last segment is a
 * sync of the log. A conflicting suffix is dropped by a record too, never in
 * place: what was synced stays as it was.
 *
 * Use {@linkcode sync} or {@linkcode syncNow}, the latter only while the former
 * is not under way ({@linkcode isSyncing}). A segment ends after a sync; a log
 * that is never synced grows in one.
 *
 * A failed write or sync is final, as in {@linkcode RecordFile}: exit. Only one
 * process may have the log open; see `DirectoryLock`.
 *
 * @see storage/FORMAT.md#log-of-a-replica
 */
export class SegmentLog {
  readonly directory: string;
  /** Where its files are. */
  readonly files: SegmentDirectory;
  readonly #options: Required<SegmentLogOptions>;
  readonly #coder = new LogRecordCoder();
  #map = new LogMap({ index: 0, epoch: EPOCH_NONE });
  #tail: LogTail;
  /** `undefined` while the log is damaged. */
  #writer: SegmentWriter | undefined;
  #damage: LogDamage | undefined;
  /** What changes whole segments happens one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #reader: LogReader;
  #failure: StorageError | undefined;
  #isResetting = false;
  #isClosed = false;

  private constructor(
    files: SegmentDirectory,
    options: Required<SegmentLogOptions>,
  ) {
    this.directory = files.directory;
    this.files = files;
    this.#options = options;
    this.#tail = new LogTail(options.tailBytesMax);
    this.#reader = new LogReader(files);
  }

  /**
   * Opens the log in a directory that this process has locked, or makes one.
   * Reads all of it, synchronously for the most part: do it at start.
   *
   * @throws {RangeError} An option is out of range.
   * @throws {StorageError} `wrong-format`, `open-failed`: refuse to start.
   * `write-failed`: exit. Damage is returned.
   */
  static async open(
    disk: Disk,
    directory: string,
    options: SegmentLogOptions = {},
  ): Promise<OpenedSegmentLog> {
    const all = {
      segmentBytesMax: SEGMENT_BYTES_MAX,
      entryBytesMax: COMMAND_BYTES_MAX,
      tailBytesMax: TAIL_BYTES_MAX,
      aheadBytes: 0,
      ...options,
    };
    assertOptions(all);
    const recordBytesMax = LOG_RECORD_BYTES + all.entryBytesMax;
    const { aheadBytes } = all;
    const files = { disk, directory, recordBytesMax, aheadBytes };
    const log = new SegmentLog(files, all);
    const { active, cutBytes, damage } = await log.#load();
    const created = active === undefined && damage === undefined;
    if (created) await log.#begin({ index: 0, epoch: EPOCH_NONE });
    return { log, created, cutBytes, damage };
  }

  /** What the log begins after: index 0, or what a snapshot stands for. */
  get base(): LogPosition {
    return this.#map.base;
  }

  /** Index of the first entry, or the one that it would have. */
  get firstIndex(): number {
    return this.#map.base.index + 1;
  }

  /** Index of the last entry; that of the base if there is none. */
  get lastIndex(): number {
    return this.#map.lastIndex;
  }

  /** A copy. */
  get shape(): LogShape {
    return this.#map.shape;
  }

  /** Whether a {@linkcode sync} is under way. */
  get isSyncing(): boolean {
    return this.#writer?.isSyncing ?? false;
  }

  /** All segments, oldest first; the last is the one that is being written. */
  get segments(): readonly Segment[] {
    return this.#map.segments;
  }

  /** Bytes of the segment that is being written; 0 while the log is damaged. */
  get activeBytes(): number {
    return this.#writer?.size ?? 0;
  }

  /**
   * Adds entries in one write (one for each MiB). They are on disk for good
   * after a later sync.
   *
   * @param entries Their indexes follow the last without a gap; commands have at
   * most `entryBytesMax` bytes and are copied.
   * @throws {RangeError} They do not; nothing was written.
   * @throws {StorageError} `write-failed`; exit.
   */
  append(entries: readonly LogEntry[]): void {
    const writer = this.#writable();
    this.#assertFollows(entries);
    if (entries.length === 0) return;
    const encoded = this.#coder.encodeEntries(entries);
    let position = writer.append(encoded.payloads);
    for (let i = 0; i < encoded.entries.length; i++) {
      const entry = encoded.entries[i];
      this.#map.add(entry.epoch, position);
      this.#tail.push(entry);
      position += RECORD_HEADER_BYTES + encoded.payloads[i].length;
    }
  }

  /**
   * Drops the entries after an index; on disk for good after a later sync.
   *
   * @param after From the base's index to the last.
   * @throws {RangeError} It is not.
   * @throws {StorageError} `write-failed`; exit.
   */
  cut(after: number): void {
    const writer = this.#writable();
    if (!(after >= this.base.index && after <= this.lastIndex)) {
      throw new RangeError(
        `Cannot cut "${this.directory}" after index ${after}, ` +
          `wanted ${this.base.index} to ${this.lastIndex}`,
      );
    }
    if (after === this.lastIndex) return;
    const position = this.#map.positionAt(after);
    writer.append([this.#coder.encode("cut", position)]);
    this.#map.cut(position);
    this.#tail.cut(after);
  }

  /**
   * Resolves when all that was appended or cut before the call survives power
   * loss. Calls made while a sync runs share the next one.
   *
   * @throws {StorageError} `write-failed`; exit, and answer nobody.
   */
  async sync(): Promise<void> {
    await this.#writable().sync();
  }

  /**
   * The same, but blocks the process until it is done.
   *
   * @throws {Error} A {@linkcode sync} is under way.
   * @throws {StorageError} `write-failed`; exit, and answer nobody.
   */
  syncNow(): void {
    this.#writable().syncNow();
  }

  /**
   * Notes on disk that all is synced; for an idle moment, see
   * {@linkcode RecordFile.mark}.
   *
   * @throws {StorageError} `write-failed`; exit.
   */
  mark(): void {
    this.#writable().mark();
  }

  /**
   * Entries from an index on: those in memory, else from disk, blocking.
   *
   * @param from An index; what was compacted or is not there yet gives none.
   * @param range `bytesMax` bounds the commands, except that there is at least
   * one entry; `to` is the last index wanted, by default the last there is.
   * @returns Not to be changed.
   * @throws {StorageError} `damaged`: see {@linkcode damageOf}. `open-failed`: exit.
   */
  read(
    from: number,
    range: { readonly bytesMax: number; readonly to?: number },
  ): LogEntry[] {
    const to = Math.min(range.to ?? Infinity, this.lastIndex);
    const entries: LogEntry[] = [];
    if (from < this.firstIndex || from > to) return entries;
    const wanted: LogRange = { from, to, bytesMax: range.bytesMax };
    const bytes = this.#readFromDisk(wanted, entries);
    const next = from + entries.length;
    if (next <= to && next >= this.#tail.firstIndex) {
      this.#tail.read({ ...wanted, from: next }, entries, bytes);
    }
    return entries;
  }

  /**
   * Empties the log: it goes on after `base`. For a snapshot that was installed.
   * A crash leaves the old log or the new one. Append, cut and sync nothing, and
   * begin no other change, until it resolves.
   *
   * @throws {StorageError} `write-failed`, `open-failed`; exit.
   */
  reset(base: LogPosition): Promise<void> {
    return this.#inTurn(async () => {
      this.#isResetting = true;
      await this.#writer?.close();
      this.#reader.close();
      const { disk, directory } = this.files;
      const found = segmentNumbers(disk, directory);
      await this.#begin(base);
      for (const number of found) disk.remove(segmentPath(directory, number));
      await disk.syncDirectory(directory);
      this.#isResetting = false;
    });
  }

  /**
   * Removes whole segments whose entries all have an index up to `toIndex`, for
   * which a snapshot stands. Appends, cuts and syncs go on meanwhile.
   *
   * @returns The new base.
   * @throws {StorageError} `write-failed`; exit.
   */
  compact(toIndex: number): Promise<LogPosition> {
    return this.#inTurn(async () => {
      const writer = this.#undamaged();
      const segments = this.#map.segments.slice(0, -1);
      const kept = segments.findIndex(({ first, count }) =>
        first + count - 1 > toIndex
      );
      if (kept >= 0) segments.length = kept;
      // That they may go rests on cuts, and on the beginning of a later segment:
      // on those that are on disk after this sync, none that come meanwhile.
      await writer.sync();
      await writer.settle();
      const { disk, directory } = this.files;
      for (const { path } of segments) {
        this.#reader.close();
        disk.remove(path);
        this.#map.dropFirst();
        this.#tail.forgetBefore(this.firstIndex);
        // One after the other, so that no crash leaves a gap.
        await disk.syncDirectory(directory);
      }
      return this.base;
    });
  }

  /**
   * After damage was found at the opening: what is good before it becomes the
   * log. What comes after it is moved to `….damaged`, for the operator. A crash
   * in between leaves either this log, a shorter one, or the damaged one.
   *
   * @throws {StorageError} `write-failed`, `open-failed`; exit.
   */
  dropDamaged(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#damage === undefined) {
        throw new Error(`The log in "${this.directory}" is not damaged`);
      }
      while (this.#damage !== undefined) {
        const number = this.#damage.segment;
        await moveAwayAfter(this.files, number);
        const segment = this.#map.segments.find((one) => one.number === number);
        if (segment !== undefined) {
          await writeRepaired(this.files, segment, {
            before: this.#map.positionAt(segment.first - 1),
            entries: this.#reader.entriesOf(this.#map, segment),
            end: undefined,
          });
        }
        await replaceDamaged(this.files, number);
        await this.#load();
      }
      if (this.#writer === undefined) {
        await this.#begin({ index: 0, epoch: EPOCH_NONE });
      }
    });
  }

  /**
   * Writes an ended segment anew, from entries that a peer had.
   *
   * @param entries All that count, `firstIndex` to `lastIndex` of the damage.
   * @throws {RangeError} They are others than the log has; nothing was changed.
   * Ask another peer.
   * @throws {StorageError} `write-failed`; exit.
   */
  repair(
    damage: Pick<SegmentDamage, "segment">,
    entries: readonly LogEntry[],
  ): Promise<void> {
    return this.#inTurn(async () => {
      const writer = this.#undamaged();
      await writer.settle();
      const { segments } = this.#map;
      const at = segments.findIndex(({ number }) => number === damage.segment);
      // Compacted meanwhile: there is nothing left to mend.
      if (at < 0) return;
      const [segment, next] = segments.slice(at);
      if (next === undefined) {
        throw new RangeError(`"${segment.path}" is still being written`);
      }
      this.#assertSame(segment, entries);
      const before = this.#map.positionAt(segment.first - 1);
      // What was cut will not be in the new file: the cut must be on disk first.
      await writer.sync();
      const positions = await writeRepaired(this.files, segment, {
        before,
        entries,
        end: next.base,
      });
      this.#reader.close();
      const { disk, directory } = this.files;
      disk.rename(segment.path + REPAIR_SUFFIX, segment.path);
      this.#map.relocate(segment.number, positions);
      await disk.syncDirectory(directory);
    });
  }

  /**
   * What a failed {@linkcode read} means for the segment.
   *
   * @returns Nothing if the error is no damage, or not of an ended segment:
   * then this node has lost entries for good, and must say so.
   */
  damageOf(error: unknown): SegmentDamage | undefined {
    if (!(error instanceof StorageError) || error.code !== "damaged") {
      return undefined;
    }
    const segment = this.#map.segments.slice(0, -1)
      .find(({ path }) => path === error.path);
    return segment && {
      path: segment.path,
      segment: segment.number,
      position: error.position ?? 0,
      firstIndex: segment.first,
      lastIndex: segment.first + segment.count - 1,
      reason: error.message,
    };
  }

  /**
   * Syncs, marks and closes. A second call does nothing.
   *
   * @throws {StorageError} `write-failed`, also when that had happened before.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#turn;
    this.#reader.close();
    await this.#writer?.close();
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #load(): Promise<LoadedSegments> {
    this.#reader.close();
    this.#tail = new LogTail(this.#options.tailBytesMax);
    const loaded = await loadSegments(this.files, this.#tail);
    const { map, active, damage } = loaded;
    this.#map = map;
    this.#damage = damage;
    const number = map.segments.at(-1)?.number;
    if (active !== undefined && number !== undefined) {
      this.#writer = this.#writerOf(active, number);
    }
    return loaded;
  }

  /** A new log after `base`, which makes void what there was. */
  async #begin(base: LogPosition): Promise<void> {
    const { disk, directory } = this.files;
    const number = (segmentNumbers(disk, directory).at(-1) ?? 0) + 1;
    const file = await SegmentWriter.makeFirst(this.files, { number, base });
    this.#map = new LogMap(base);
    this.#map.begin({ number, path: file.path, kind: "resets", base });
    this.#tail = new LogTail(this.#options.tailBytesMax);
    this.#damage = undefined;
    this.#writer = this.#writerOf(file, number);
  }

  #writerOf(file: RecordFile, number: number): SegmentWriter {
    return new SegmentWriter(this.files, { file, number }, {
      segmentBytesMax: this.#options.segmentBytesMax,
      last: () => this.#map.last,
      begun: (start) => this.#map.begin(start),
    });
  }

  #writable(): SegmentWriter {
    if (this.#isClosed) throw new Error(`"${this.directory}" was closed`);
    if (this.#isResetting) {
      throw new Error(`"${this.directory}" is being reset`);
    }
    return this.#undamaged();
  }

  #undamaged(): SegmentWriter {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#writer !== undefined) return this.#writer;
    throw new Error(`The log in "${this.directory}" is damaged`);
  }

  /** Does something after what was begun before it. */
  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    if (this.#isClosed) throw new Error(`"${this.directory}" was closed`);
    const turn = this.#turn.then(act);
    this.#turn = turn.catch((error) => {
      if (error instanceof StorageError) this.#failure ??= error;
    });
    return turn;
  }

  #readFromDisk(range: LogRange, into: LogEntry[]): number {
    const tailFirst = this.#tail.firstIndex;
    let bytes = 0;
    for (let i = range.from; i <= range.to && i < tailFirst; i++) {
      const entry = this.#reader.entryAt(this.#map, i);
      bytes += entry.command.length;
      if (into.length > 0 && bytes > range.bytesMax) return bytes;
      into.push(entry);
    }
    return bytes;
  }

  #assertFollows(entries: readonly LogEntry[]): void {
    let wanted = this.lastIndex + 1;
    const { entryBytesMax } = this.#options;
    for (const { index, command } of entries) {
      if (index !== wanted) {
        throw new RangeError(`Index is ${index}, wanted ${wanted}`);
      }
      if (command.length > entryBytesMax) {
        throw new RangeError(
          `Command is ${command.length} bytes, wanted at most ${entryBytesMax}`,
        );
      }
      wanted += 1;
    }
  }

  #assertSame(segment: Segment, entries: readonly LogEntry[]): void {
    if (entries.length !== segment.count) {
      throw new RangeError(
        `There are ${entries.length} entries, wanted ${segment.count}`,
      );
    }
    for (const [i, { index, epoch }] of entries.entries()) {
      const wanted = this.#map.positionAt(segment.first + i);
      if (index === wanted.index && isSameEpoch(epoch, wanted.epoch)) continue;
      throw new RangeError(
        `Entry is ${index} of epoch ${formatEpoch(epoch)}, ` +
          `wanted ${wanted.index} of ${formatEpoch(wanted.epoch)}`,
      );
    }
  }
}

function assertOptions(options: Required<SegmentLogOptions>): void {
  const bounds: [keyof SegmentLogOptions, number, number][] = [
    ["segmentBytesMax", 256, 2 ** 30],
    ["entryBytesMax", 1, 2 ** 29],
    ["tailBytesMax", 0, 2 ** 40],
    ["aheadBytes", 0, 2 ** 26],
  ];
  for (const [name, low, high] of bounds) {
    const value = options[name];
    if (Number.isInteger(value) && value >= low && value <= high) continue;
    throw new RangeError(`${name} is ${value}, wanted ${low} to ${high}`);
  }
}
