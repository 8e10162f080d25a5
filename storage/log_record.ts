/** The records of a log's segments, as bytes: see `FORMAT.md`. */

import { type Epoch, EPOCH_NONE, isStoreId } from "../protocol/epoch.ts";
import type { LogEntry, LogPosition } from "../protocol/replica.ts";
import { StorageError } from "./errors.ts";

/** Bytes before the command of an entry; all other records end there. */
export const LOG_RECORD_BYTES = 25;

/** What a record says about its position. The first byte of a record, in this order, from 1. */
export const LOG_RECORD_KINDS = [
  /** The entry at the position. */
  "entry",
  /** All entries after the position are dropped. */
  "cut",
  /** First in its segment: the log goes on after the position. */
  "continues",
  /** First in its segment: the log is empty and goes on after the position; earlier segments are void. */
  "resets",
  /** Up to the position there were entries that a later cut drops. */
  "gone",
] as const;

/** One of {@linkcode LOG_RECORD_KINDS}. */
export type LogRecordKind = typeof LOG_RECORD_KINDS[number];

/** One record. `command` is empty in all but an entry. */
export interface LogRecord extends LogEntry {
  readonly kind: LogRecordKind;
}

/** Entries, each with the payload of its record. */
export interface EncodedEntries {
  readonly payloads: readonly Uint8Array[];
  /** The same entries; their commands are views of the payloads. */
  readonly entries: readonly LogEntry[];
}

const HALF = 2 ** 32;
const NO_COMMAND = new Uint8Array(0);

/**
 * Encodes and parses records. It keeps the last epoch that it saw, since nearly
 * all records have the same, so that equal epochs are also one object.
 */
export class LogRecordCoder {
  #epoch = EPOCH_NONE;
  #epochBytes = encodeEpoch(EPOCH_NONE);

  /** All entries in one allocation, which then belongs to the result. */
  encodeEntries(entries: readonly LogEntry[]): EncodedEntries {
    let bytes = entries.length * LOG_RECORD_BYTES;
    for (const { command } of entries) bytes += command.length;
    const buffer = new Uint8Array(bytes);
    const payloads: Uint8Array[] = [];
    const copies: LogEntry[] = [];
    let at = 0;
    for (const { index, epoch, command } of entries) {
      this.#putPosition(buffer, at, { kind: 1, index, epoch });
      const start = at + LOG_RECORD_BYTES;
      const end = start + command.length;
      buffer.set(command, start);
      payloads.push(buffer.subarray(at, end));
      copies.push({
        index,
        epoch: this.#epoch,
        command: buffer.subarray(start, end),
      });
      at = end;
    }
    return { payloads, entries: copies };
  }

  /** A record without a command. */
  encode(
    kind: Exclude<LogRecordKind, "entry">,
    position: LogPosition,
  ): Uint8Array {
    const bytes = new Uint8Array(LOG_RECORD_BYTES);
    this.#putPosition(bytes, 0, {
      kind: LOG_RECORD_KINDS.indexOf(kind) + 1,
      index: position.index,
      epoch: position.epoch,
    });
    return bytes;
  }

  /**
   * Parses a payload whose checksum was right.
   *
   * @param payload Kept by the result.
   * @throws {StorageError} `wrong-format`: a later version wrote it, or nobody did.
   */
  parse(
    payload: Uint8Array,
    at: { readonly path: string; readonly position: number },
  ): LogRecord {
    const kind = LOG_RECORD_KINDS[payload[0] - 1];
    const isWhole = payload.length === LOG_RECORD_BYTES ||
      kind === "entry" && payload.length > LOG_RECORD_BYTES;
    const index = isWhole ? readNumber(payload, 1) : NaN;
    if (kind === undefined || !Number.isSafeInteger(index)) {
      throw formatError(at);
    }
    const command = payload.length === LOG_RECORD_BYTES
      ? NO_COMMAND
      : payload.subarray(LOG_RECORD_BYTES);
    return { kind, index, epoch: this.#readEpoch(payload, at), command };
  }

  #putPosition(
    bytes: Uint8Array,
    at: number,
    record: { kind: number; index: number; epoch: Epoch },
  ): void {
    const { epoch } = record;
    if (
      epoch !== this.#epoch &&
      (epoch.store !== this.#epoch.store ||
        epoch.counter !== this.#epoch.counter)
    ) {
      this.#epochBytes = encodeEpoch(epoch);
      this.#epoch = epoch;
    }
    bytes[at] = record.kind;
    putNumber(bytes, at + 1, record.index);
    bytes.set(this.#epochBytes, at + 9);
  }

  #readEpoch(
    payload: Uint8Array,
    at: { readonly path: string; readonly position: number },
  ): Epoch {
    const known = this.#epochBytes;
    let isKnown = true;
    for (let i = 0; i < known.length; i++) {
      isKnown &&= payload[9 + i] === known[i];
    }
    if (isKnown) return this.#epoch;
    const counter = readNumber(payload, 9);
    if (!Number.isSafeInteger(counter)) throw formatError(at);
    const store = Array.from(
      payload.subarray(17, 25),
      (byte) => byte.toString(16).padStart(2, "0"),
    ).join("");
    this.#epochBytes = payload.slice(9, 25);
    this.#epoch = { counter, store };
    return this.#epoch;
  }
}

function encodeEpoch(epoch: Epoch): Uint8Array {
  if (!Number.isSafeInteger(epoch.counter) || epoch.counter < 0) {
    throw new RangeError(`Epoch counter is ${epoch.counter}, wanted 0 or more`);
  }
  if (!isStoreId(epoch.store)) {
    throw new RangeError(`Store id is "${epoch.store}", wanted 16 hex digits`);
  }
  const bytes = new Uint8Array(16);
  putNumber(bytes, 0, epoch.counter);
  for (let i = 0; i < 8; i++) {
    bytes[8 + i] = parseInt(epoch.store.slice(2 * i, 2 * i + 2), 16);
  }
  return bytes;
}

function putNumber(bytes: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / HALF);
  bytes[at] = high >>> 24;
  bytes[at + 1] = high >>> 16;
  bytes[at + 2] = high >>> 8;
  bytes[at + 3] = high;
  bytes[at + 4] = value >>> 24;
  bytes[at + 5] = value >>> 16;
  bytes[at + 6] = value >>> 8;
  bytes[at + 7] = value;
}

function readNumber(bytes: Uint8Array, at: number): number {
  const high = (bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 |
    bytes[at + 3]) >>> 0;
  const low = (bytes[at + 4] << 24 | bytes[at + 5] << 16 | bytes[at + 6] << 8 |
    bytes[at + 7]) >>> 0;
  return high * HALF + low;
}

function formatError(
  at: { readonly path: string; readonly position: number },
): StorageError {
  return new StorageError(
    "wrong-format",
    `Cannot read "${at.path}": the record at byte ${at.position} is whole, ` +
      "and is none that this version knows; run the version that wrote it",
    at,
  );
}
