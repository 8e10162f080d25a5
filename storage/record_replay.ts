/** Reading a record file back: what is good, what is torn, what is damaged. */

import { crc32c } from "./crc32c.ts";
import type { DiskFile } from "./disk.ts";
import { causeText, StorageError } from "./errors.ts";
import {
  damagedError,
  FILE_HEADER_BYTES,
  parseFileHeader,
  readRecordHeader,
  readSynced,
  RECORD_HEADER_BYTES,
} from "./record_format.ts";

/** Bytes read at a time. A longer record is read whole, so it may need more. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Bytes checksummed while looking for a whole record behind a bad one, for each
 * byte there. Records follow one another, so once is what honest bytes take.
 */
const SCAN_CHECKS_PER_BYTE_MAX = 2;

/** What a file is, and what becomes of what is in it. */
export interface ReplayOptions {
  /** For messages. */
  readonly path: string;
  /** See {@linkcode parseFileHeader}. */
  readonly kind: string;
  /** A record with a longer payload is bad. */
  readonly recordBytesMax: number;
  /** Payloads are views, of use only until `onRecord` returns; by default copies. */
  readonly givesViews?: boolean;
  /** See `RecordFile.open`. */
  onRecord(payload: Uint8Array, position: number): void;
}

/** What was found. */
export interface Replay {
  /** This file's own random number. */
  readonly mask: number;
  /** Bytes up to the end of the last good record; all after it is torn. */
  readonly end: number;
  /** Bytes that some record says were on disk when it was written, at most `end`. */
  readonly synced: number;
  /** Whether nothing follows the last mark, or there are no records at all. */
  readonly isMarked: boolean;
}

/**
 * Passes on every record from the first up to the first bad one, and decides
 * what the bad one is. A record is bad when it is incomplete, too long, or its
 * checksum or its `synced` is wrong.
 *
 * Let M be the greatest `synced` of any good record, before or after the bad
 * one. A bad record at or after M may never have been on disk: the file ends
 * before it, even if whole records follow, because writes that were not synced
 * reach the disk in any order. A bad record before M was on disk: damage.
 *
 * Work and memory: the file is read once, in chunks. What follows a bad record
 * is searched once, byte by byte, for a record with a greater `synced` than the
 * bad one's position; at most {@linkcode SCAN_CHECKS_PER_BYTE_MAX} times as
 * many bytes are checksummed in it. At that bound it counts as damaged, since
 * a start refused loses nothing.
 *
 * @throws {StorageError} `damaged`, `wrong-format`, or `open-failed` when it
 * cannot be read. What was passed on before is then worthless.
 * @see storage/FORMAT.md#recovery
 */
export function replayRecords(file: DiskFile, options: ReplayOptions): Replay {
  const { path, kind, recordBytesMax } = options;
  const window = new Window(file, path);
  const headerLength = Math.min(FILE_HEADER_BYTES, window.size);
  window.load(0, headerLength);
  const header = window.bytes.subarray(0, headerLength);
  const { mask } = parseFileHeader(header, { path, kind });
  const rules = { mask, recordBytesMax };
  let end = FILE_HEADER_BYTES;
  let synced = FILE_HEADER_BYTES;
  let isMarked = true;
  for (;;) {
    const record = readRecord(window, end, rules);
    if (record === undefined) break;
    synced = Math.max(synced, record.synced);
    isMarked = record.length === 0;
    if (!isMarked) {
      const offset = record.offset + RECORD_HEADER_BYTES;
      const payload = window.bytes.subarray(offset, offset + record.length);
      options.onRecord(options.givesViews ? payload : payload.slice(), end);
    }
    end += RECORD_HEADER_BYTES + record.length;
  }
  const proof = findSyncedAbove(window, end, rules);
  if (proof !== undefined) {
    throw damagedError(path, { position: end, synced: proof });
  }
  return { mask, end, synced, isMarked };
}

interface RecordRules {
  readonly mask: number;
  readonly recordBytesMax: number;
}

/** The good record at `position`, whole in the window at `offset`; else nothing. */
function readRecord(
  window: Window,
  position: number,
  rules: RecordRules,
): { offset: number; length: number; synced: number } | undefined {
  const available = window.size - position - RECORD_HEADER_BYTES;
  if (available < 0) return undefined;
  const headerOffset = window.load(position, RECORD_HEADER_BYTES);
  const { length, checksum, synced } = readRecordHeader(
    window.dataView,
    headerOffset,
    rules.mask,
  );
  if (length > rules.recordBytesMax || length > available) return undefined;
  // Nothing beyond itself can have been synced before a record was written, and
  // the file header was.
  if (synced < FILE_HEADER_BYTES || synced > position) return undefined;
  const offset = window.load(position, RECORD_HEADER_BYTES + length);
  const end = offset + RECORD_HEADER_BYTES + length;
  if (crc32c(window.bytes.subarray(offset + 8, end)) !== checksum) {
    return undefined;
  }
  return { offset, length, synced };
}

/**
 * Looks behind the bad record at `bad` for a good one which proves that the bad
 * one was on disk, and returns how many bytes it says were.
 */
function findSyncedAbove(
  window: Window,
  bad: number,
  rules: RecordRules,
): number | undefined {
  let checkableBytes = SCAN_CHECKS_PER_BYTE_MAX * (window.size - bad);
  let position = bad + 1;
  for (;;) {
    const candidate = findCandidate(window, position, { bad, ...rules });
    if (candidate === undefined) return undefined;
    checkableBytes -= candidate.bytes;
    if (checkableBytes < 0) return candidate.synced;
    const record = readRecord(window, candidate.position, rules);
    if (record !== undefined) return record.synced;
    position = candidate.position + 1;
  }
}

/**
 * The first byte from `from` on that could begin a record with `synced` above
 * `bad`, judged by its header alone. Of payload bytes hardly any could: whoever
 * supplied them does not know the file's mask.
 */
function findCandidate(
  window: Window,
  from: number,
  rules: RecordRules & { readonly bad: number },
): { position: number; bytes: number; synced: number } | undefined {
  const last = window.size - RECORD_HEADER_BYTES;
  for (let start = from; start <= last;) {
    const length = Math.min(CHUNK_BYTES, window.size - start);
    const offset = window.load(start, length);
    const view = window.dataView;
    const count = length - RECORD_HEADER_BYTES + 1;
    for (let i = 0; i < count; i++) {
      const position = start + i;
      const synced = readSynced(view, offset + i, rules.mask);
      if (synced <= rules.bad || synced > position) continue;
      const bytes = RECORD_HEADER_BYTES + view.getUint32(offset + i);
      if (bytes > RECORD_HEADER_BYTES + rules.recordBytesMax) continue;
      if (position + bytes <= window.size) return { position, bytes, synced };
    }
    start += count;
  }
  return undefined;
}

/** A stretch of the file in memory, moved along as it is read. */
class Window {
  /** Of the file. */
  readonly size: number;
  readonly #file: DiskFile;
  readonly #path: string;
  #bytes = new Uint8Array(CHUNK_BYTES);
  #dataView = new DataView(this.#bytes.buffer);
  #start = 0;
  #end = 0;

  constructor(file: DiskFile, path: string) {
    this.#file = file;
    this.#path = path;
    this.size = this.#try(() => file.size());
  }

  /** What was loaded, and more; replaced or moved by the next load. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** The same bytes. */
  get dataView(): DataView {
    return this.#dataView;
  }

  /**
   * Makes sure of `length` bytes of the file from `position` on.
   *
   * @param length At most up to the end of the file; bounds the memory used.
   * @returns At which offset in {@linkcode bytes} they begin.
   */
  load(position: number, length: number): number {
    if (position < this.#start || position + length > this.#end) {
      this.#try(() => this.#fill(position, length));
    }
    return position - this.#start;
  }

  #fill(position: number, length: number): void {
    if (length > this.#bytes.length) {
      this.#bytes = new Uint8Array(length);
      this.#dataView = new DataView(this.#bytes.buffer);
    }
    this.#start = position;
    this.#end = position;
    while (this.#end < position + length) {
      const into = this.#bytes.subarray(this.#end - position);
      const count = this.#file.read(into, this.#end);
      if (count === 0) throw new Error(`It ends at byte ${this.#end}`);
      this.#end += count;
    }
  }

  #try<Result>(act: () => Result): Result {
    try {
      return act();
    } catch (cause) {
      throw new StorageError(
        "open-failed",
        `Cannot read "${this.#path}": ${causeText(cause)}`,
        { path: this.#path, cause },
      );
    }
  }
}
