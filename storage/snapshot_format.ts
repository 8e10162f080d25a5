/** The names and records of snapshot files: see `FORMAT.md`. */

import { join } from "node:path";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { parseJson } from "../protocol/json.ts";
import type { LogPosition } from "../protocol/replica.ts";
import {
  SNAPSHOT_CHUNK_BYTES_MAX,
  type SnapshotInfo,
} from "../protocol/snapshot_codec.ts";
import { COUNT_SCHEMA, EPOCH_SCHEMA } from "../protocol/view_codec.ts";
import type { Disk } from "./disk.ts";
import { causeText, StorageError } from "./errors.ts";
import { UNFINISHED_SUFFIX } from "./record_file.ts";

/** Kind of the record files. */
export const SNAPSHOT_KIND = "CSNP";

/** Of the header, the chunks and the footer. */
export const SNAPSHOT_VERSION = 1;

/** Largest payload: a chunk and the byte before it. */
export const SNAPSHOT_RECORD_BYTES_MAX = 1 + SNAPSHOT_CHUNK_BYTES_MAX;

/** The first byte of a record. */
export const SNAPSHOT_RECORD = { header: 1, chunk: 2, footer: 3 } as const;

/** What the first record says. */
export interface SnapshotHeader extends LogPosition {
  /** What is being downloaded; not there when the snapshot was taken here. */
  readonly expected?: SnapshotTotals;
}

/** What the last record says. */
export type SnapshotTotals = Pick<SnapshotInfo, "chunks" | "bytes" | "digest">;

const NAME = /^snapshot-(\d{12,16})\.snap$/;
const UNFINISHED = /^snapshot-\d{12,16}\.snap\.new(?:\.new)?$/;

const TOTALS_SCHEMA = Type.Object({
  chunks: COUNT_SCHEMA,
  bytes: COUNT_SCHEMA,
  digest: Type.String({ maxLength: 128 }),
});
const TOTALS = Compile(TOTALS_SCHEMA);
const HEADER = Compile(Type.Object({
  version: Type.Integer(),
  index: COUNT_SCHEMA,
  epoch: EPOCH_SCHEMA,
  expected: Type.Optional(TOTALS_SCHEMA),
}));

/** The path of the snapshot that ends at an index. */
export function snapshotPath(directory: string, index: number): string {
  return join(directory, `snapshot-${`${index}`.padStart(12, "0")}.snap`);
}

/** The indexes of the whole snapshots that are there, ascending. */
export function snapshotIndexes(disk: Disk, directory: string): number[] {
  return disk.list(directory)
    .map((name) => NAME.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

/** Removes what was begun and never finished, except one. */
export function removeUnfinished(
  disk: Disk,
  directory: string,
  exceptIndex?: number,
): void {
  const kept = exceptIndex === undefined
    ? undefined
    : snapshotPath(directory, exceptIndex) + UNFINISHED_SUFFIX;
  for (const name of disk.list(directory)) {
    const path = join(directory, name);
    if (UNFINISHED.test(name) && path !== kept) disk.remove(path);
  }
}

/** The first record of a file. */
export function encodeSnapshotHeader(header: SnapshotHeader): Uint8Array {
  const { index, epoch, expected } = header;
  return encodeJson(SNAPSHOT_RECORD.header, {
    version: SNAPSHOT_VERSION,
    index,
    epoch,
    expected,
  });
}

/** The last record of a file. */
export function encodeSnapshotFooter(totals: SnapshotTotals): Uint8Array {
  const { chunks, bytes, digest } = totals;
  return encodeJson(SNAPSHOT_RECORD.footer, { chunks, bytes, digest });
}

/** @throws {StorageError} `wrong-format`: a record of another version, or of nobody. */
export function parseSnapshotHeader(
  payload: Uint8Array,
  at: { readonly path: string; readonly position: number },
): SnapshotHeader {
  const value = decodeJson(SNAPSHOT_RECORD.header, payload, at);
  if (!HEADER.Check(value)) throw formatError(at, "its fields are wrong");
  const { version, index, epoch, expected } = value;
  if (version !== SNAPSHOT_VERSION) {
    throw formatError(
      at,
      `its version is ${version}, wanted ${SNAPSHOT_VERSION}`,
    );
  }
  return { index, epoch, ...(expected !== undefined && { expected }) };
}

/** @throws {StorageError} `wrong-format`: a record of another version, or of nobody. */
export function parseSnapshotFooter(
  payload: Uint8Array,
  at: { readonly path: string; readonly position: number },
): SnapshotTotals {
  const value = decodeJson(SNAPSHOT_RECORD.footer, payload, at);
  if (!TOTALS.Check(value)) throw formatError(at, "its fields are wrong");
  const { chunks, bytes, digest } = value;
  return { chunks, bytes, digest };
}

function encodeJson(kind: number, value: unknown): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(value));
  const bytes = new Uint8Array(1 + text.length);
  bytes[0] = kind;
  bytes.set(text, 1);
  return bytes;
}

function decodeJson(
  kind: number,
  payload: Uint8Array,
  at: { readonly path: string; readonly position: number },
): unknown {
  if (payload[0] !== kind) {
    throw formatError(at, `its kind is ${payload[0]}, wanted ${kind}`);
  }
  try {
    return parseJson(payload.subarray(1));
  } catch (cause) {
    throw formatError(at, causeText(cause));
  }
}

function formatError(
  at: { readonly path: string; readonly position: number },
  why: string,
): StorageError {
  return new StorageError(
    "wrong-format",
    `Cannot read "${at.path}": the record at byte ${at.position} is not as ` +
      `this version writes it: ${why}`,
    at,
  );
}
