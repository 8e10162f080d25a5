/** Reads single records of a record file back, checking each. */

import { crc32c } from "./crc32c.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { causeText, StorageError } from "./errors.ts";
import {
  FILE_HEADER_BYTES,
  parseFileHeader,
  readRecordHeader,
  RECORD_HEADER_BYTES,
} from "./record_format.ts";

/** Bytes read at a time; a longer record is read by itself. */
const WINDOW_BYTES = 256 * 1024;

/** Bytes looked at in one go when zeros are expected. */
const BLANK_BYTES = 4096;

/** What the file is. */
export interface RecordReaderOptions {
  readonly path: string;
  readonly kind: string;
  readonly recordBytesMax: number;
}

/** An open record file, for reading at known positions. Bytes read are kept, up to one window. */
export class RecordReader {
  readonly path: string;
  readonly #file: DiskFile;
  readonly #recordBytesMax: number;
  readonly #mask: number;
  #window = new Uint8Array(WINDOW_BYTES);
  #start = 0;
  #end = 0;

  /**
   * @throws {StorageError} `damaged`, `wrong-format`; `open-failed`, also when
   * it is not there.
   */
  constructor(disk: Disk, options: RecordReaderOptions) {
    const { path } = options;
    this.path = path;
    this.#recordBytesMax = options.recordBytesMax;
    this.#file = attempt(path, () => {
      const file = disk.open(path);
      if (file === undefined) throw new Error("It is not there");
      return file;
    });
    try {
      const header = this.#bytesAt(0, FILE_HEADER_BYTES);
      this.#mask = parseFileHeader(header, options).mask;
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /**
   * The payload of the record at `position`, where a record is known to be.
   *
   * @returns A copy.
   * @throws {StorageError} `damaged`: there is none any more, or a bad one.
   */
  payloadAt(position: number): Uint8Array<ArrayBuffer> {
    const payload = this.#tryPayloadAt(position);
    if (payload !== undefined) return payload;
    // What was read before may be zeros that a record has replaced since.
    this.#end = this.#start;
    const again = this.#tryPayloadAt(position);
    if (again !== undefined) return again;
    const { path } = this;
    throw new StorageError(
      "damaged",
      `Cannot read "${path}": the record at byte ${position} is damaged; ` +
        "check the disk",
      { path, position },
    );
  }

  /**
   * Where the next record begins, by the length of the one at `position`, which
   * is not checked.
   *
   * @returns Nothing at the end of the file, or where no record can be.
   */
  after(position: number): number | undefined {
    const header = this.#bytesAt(position, RECORD_HEADER_BYTES);
    if (header.length < RECORD_HEADER_BYTES) return undefined;
    const view = new DataView(header.buffer, header.byteOffset);
    const { length } = readRecordHeader(view, 0, this.#mask);
    if (length > this.#recordBytesMax) return undefined;
    return position + RECORD_HEADER_BYTES + length;
  }

  /** Whether from `position` on there is nothing, or zeros that were written ahead. */
  isBlankFrom(position: number): boolean {
    for (let at = position;;) {
      const bytes = this.#bytesAt(at, BLANK_BYTES);
      if (bytes.some((byte) => byte !== 0)) return false;
      if (bytes.length < BLANK_BYTES) return true;
      at += bytes.length;
    }
  }

  /** Closes the handle. */
  close(): void {
    this.#file.close();
  }

  #tryPayloadAt(position: number): Uint8Array<ArrayBuffer> | undefined {
    const header = this.#bytesAt(position, RECORD_HEADER_BYTES);
    if (header.length < RECORD_HEADER_BYTES) return undefined;
    const view = new DataView(header.buffer, header.byteOffset);
    const { length, checksum } = readRecordHeader(view, 0, this.#mask);
    if (length > this.#recordBytesMax) return undefined;
    const bytes = this.#bytesAt(position, RECORD_HEADER_BYTES + length);
    const isWhole = bytes.length === RECORD_HEADER_BYTES + length;
    if (!isWhole || crc32c(bytes.subarray(8)) !== checksum) return undefined;
    return bytes.slice(RECORD_HEADER_BYTES);
  }

  /** A view of at most `length` bytes, fewer only at the end of the file; until the next call. */
  #bytesAt(position: number, length: number): Uint8Array<ArrayBuffer> {
    if (position < this.#start || position + length > this.#end) {
      attempt(this.path, () => this.#fill(position, length));
    }
    const offset = position - this.#start;
    const end = Math.min(offset + length, this.#end - this.#start);
    return this.#window.subarray(offset, end);
  }

  #fill(position: number, length: number): void {
    if (length > this.#window.length || this.#window.length > WINDOW_BYTES) {
      this.#window = new Uint8Array(Math.max(length, WINDOW_BYTES));
    }
    this.#start = position;
    this.#end = position;
    while (this.#end < position + length) {
      const into = this.#window.subarray(this.#end - position);
      const count = this.#file.read(into, this.#end);
      if (count === 0) return;
      this.#end += count;
    }
  }
}

function attempt<Result>(path: string, act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    throw new StorageError(
      "open-failed",
      `Cannot read "${path}": ${causeText(cause)}`,
      { path, cause },
    );
  }
}
