/** The bytes of a record file: its header and its records, as `FORMAT.md` has them. */

import { crc32c } from "./crc32c.ts";
import { StorageError } from "./errors.ts";

/** Bytes of the header of a file. The first record follows it. */
export const FILE_HEADER_BYTES = 16;

/** Bytes of the header of a record. Its payload follows it. */
export const RECORD_HEADER_BYTES = 16;

/** What this version writes, and all that it reads. */
export const FORMAT_VERSION = 1;

const MAGIC = "SKN";
const KIND_PATTERN = /^[\x21-\x7e]{4}$/;

/** What the header of a file says. */
export interface FileHeader {
  /** What the records are: 4 visible ASCII characters. */
  readonly kind: string;
  /** This file's own random number, 0 to 2^32 - 1; hides `synced` in records. */
  readonly mask: number;
}

/** What the header of a record says; not yet checked against anything. */
export interface RecordHeader {
  /** Bytes of payload, 0 to 2^32 - 1; 0 in a mark. */
  readonly length: number;
  /** CRC-32C of the 8 bytes of `synced`, as stored, and the payload. */
  readonly checksum: number;
  /** Bytes of the file known to be on disk when the record was written. */
  readonly synced: number;
}

/**
 * The first 16 bytes of a file.
 *
 * @throws {RangeError} The kind is not 4 visible ASCII characters.
 */
export function encodeFileHeader(header: FileHeader): Uint8Array {
  if (!KIND_PATTERN.test(header.kind)) {
    throw new RangeError(
      `Kind is "${header.kind}", wanted 4 visible ASCII characters`,
    );
  }
  const bytes = new Uint8Array(FILE_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const encoder = new TextEncoder();
  encoder.encodeInto(MAGIC, bytes);
  view.setUint8(3, FORMAT_VERSION);
  encoder.encodeInto(header.kind, bytes.subarray(4, 8));
  view.setUint32(8, header.mask);
  view.setUint32(12, crc32c(bytes.subarray(0, 12)));
  return bytes;
}

/**
 * Reads the first bytes of a file.
 *
 * @param bytes The first 16, or all if the file is shorter.
 * @throws {StorageError} `wrong-format`: not a record file, or another version
 * of it, or another kind. `damaged`: the checksum is wrong.
 */
export function parseFileHeader(
  bytes: Uint8Array,
  wanted: { readonly path: string; readonly kind: string },
): FileHeader {
  const { path } = wanted;
  const ascii = new TextDecoder("latin1");
  if (
    bytes.length < FILE_HEADER_BYTES ||
    ascii.decode(bytes.subarray(0, 3)) !== MAGIC
  ) {
    throw new StorageError(
      "wrong-format",
      `Cannot open "${path}": it does not begin as a Skein record file`,
      { path },
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const version = view.getUint8(3);
  if (version !== FORMAT_VERSION) {
    throw new StorageError(
      "wrong-format",
      `Cannot open "${path}": its format version is ${version}, wanted ${FORMAT_VERSION}`,
      { path },
    );
  }
  if (view.getUint32(12) !== crc32c(bytes.subarray(0, 12))) {
    throw damagedError(path, { position: 0, synced: FILE_HEADER_BYTES });
  }
  const kind = ascii.decode(bytes.subarray(4, 8));
  if (kind !== wanted.kind) {
    throw new StorageError(
      "wrong-format",
      `Cannot open "${path}": its kind is "${kind}", wanted "${wanted.kind}"`,
      { path },
    );
  }
  return { kind, mask: view.getUint32(8) };
}

/**
 * Puts a record into `into` at `offset`, header and payload.
 *
 * @param record `payload` has 0 bytes in a mark; `synced` and `mask` as in
 * {@linkcode RecordHeader} and {@linkcode FileHeader}.
 * @returns The offset after it.
 */
export function putRecord(
  into: Uint8Array,
  offset: number,
  record: {
    readonly payload: Uint8Array;
    readonly synced: number;
    readonly mask: number;
  },
): number {
  const { payload, synced, mask } = record;
  const end = offset + RECORD_HEADER_BYTES + payload.length;
  const view = new DataView(into.buffer, into.byteOffset);
  view.setUint32(offset, payload.length);
  view.setUint32(offset + 8, Math.floor(synced / 2 ** 32) ^ mask);
  view.setUint32(offset + 12, synced ^ mask);
  into.set(payload, offset + RECORD_HEADER_BYTES);
  view.setUint32(offset + 4, crc32c(into.subarray(offset + 8, end)));
  return end;
}

/** Reads the header of a record at `offset`, of which all 16 bytes are there. */
export function readRecordHeader(
  view: DataView,
  offset: number,
  mask: number,
): RecordHeader {
  return {
    length: view.getUint32(offset),
    checksum: view.getUint32(offset + 4),
    synced: readSynced(view, offset, mask),
  };
}

/** Only `synced` of the header of a record: cheap, for looking at every byte. */
export function readSynced(
  view: DataView,
  offset: number,
  mask: number,
): number {
  const high = (view.getUint32(offset + 8) ^ mask) >>> 0;
  return high * 2 ** 32 + ((view.getUint32(offset + 12) ^ mask) >>> 0);
}

/** The error for bytes that were safely on disk and are now wrong. */
export function damagedError(
  path: string,
  at: { readonly position: number; readonly synced: number },
): StorageError {
  return new StorageError(
    "damaged",
    `Cannot read "${path}": what begins at byte ${at.position} is damaged, ` +
      `although the first ${at.synced} bytes were safely on disk; ` +
      "check the disk, keep a copy of the file, and restore it from a backup, " +
      "or move it away if this node can fetch its content from its peers",
    { path, position: at.position },
  );
}
