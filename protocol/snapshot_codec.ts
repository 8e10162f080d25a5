/** The words of a connection that pulls a snapshot; see `WIRE.md#snapshots`. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import type { Epoch } from "./epoch.ts";
import { WireError } from "./errors.ts";
import {
  encodeFrame,
  FRAME,
  FRAME_HEADER_BYTES,
  readUint32,
  readUint53,
  writeFrameHeader,
  writeUint32,
  writeUint53,
} from "./frame.ts";
import { parseJson } from "./json.ts";
import { FRAME_BYTES_MAX } from "./limits.ts";
import { COUNT_SCHEMA, EPOCH_SCHEMA } from "./view_codec.ts";

/** Bytes that name a chunk: index (u64), then number (u32). */
const CHUNK_NAME_BYTES = 12;

/** Bytes of one chunk: what a frame holds. */
export const SNAPSHOT_CHUNK_BYTES_MAX = FRAME_BYTES_MAX - FRAME_HEADER_BYTES -
  CHUNK_NAME_BYTES;

/** Chunks of one snapshot: about a terabyte. */
export const SNAPSHOT_CHUNKS_MAX = 4_194_304;

const DIGEST_CHARACTERS_MAX = 128;

/** A snapshot as it is offered: what it stands for, and how long it is. */
export interface SnapshotInfo {
  /** The last log index in it, from 1. */
  readonly index: number;
  /** The epoch of the entry at that index. */
  readonly epoch: Epoch;
  /** Pieces, 1 to {@linkcode SNAPSHOT_CHUNKS_MAX}. */
  readonly chunks: number;
  /** Bytes of all chunks. */
  readonly bytes: number;
  /** Tells two snapshots of one index apart, and a whole one from a broken one. */
  readonly digest: string;
}

/** One piece of a snapshot. */
export interface SnapshotChunk {
  /** Index of the snapshot that it belongs to. */
  readonly index: number;
  /** 0 to `chunks` - 1. */
  readonly chunk: number;
  /** 1 to {@linkcode SNAPSHOT_CHUNK_BYTES_MAX} bytes; a view of the frame. */
  readonly bytes: Uint8Array;
}

const INFO = Compile(Type.Object({
  index: COUNT_SCHEMA,
  epoch: EPOCH_SCHEMA,
  chunks: Type.Integer({ minimum: 1, maximum: SNAPSHOT_CHUNKS_MAX }),
  bytes: COUNT_SCHEMA,
  digest: Type.String({ maxLength: DIGEST_CHARACTERS_MAX }),
}));

/** Asks which snapshot is the newest: the first frame of the connection. */
export function encodeSnapshotAsk(): Uint8Array<ArrayBuffer> {
  return encodeFrame(FRAME.snapshotAsk, new TextEncoder().encode("{}"));
}

/** Says which snapshot is the newest. */
export function encodeSnapshotInfo(
  info: SnapshotInfo,
): Uint8Array<ArrayBuffer> {
  const { index, epoch, chunks, bytes, digest } = info;
  const text = JSON.stringify({ index, epoch, chunks, bytes, digest });
  return encodeFrame(FRAME.snapshotInfo, new TextEncoder().encode(text));
}

/** @throws {WireError} `invalid-message` or `invalid-utf8`: close the link. */
export function readSnapshotInfo(payload: Uint8Array): SnapshotInfo {
  const value = parseJson(payload);
  if (!INFO.Check(value)) {
    throw new WireError(
      "invalid-message",
      "Cannot read snapshot info: wrong fields",
    );
  }
  const { index, epoch, chunks, bytes, digest } = value;
  return { index, epoch, chunks, bytes, digest };
}

/** Asks for one chunk. */
export function encodeSnapshotGet(
  wanted: Pick<SnapshotChunk, "index" | "chunk">,
): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(CHUNK_NAME_BYTES);
  writeUint53(payload, 0, wanted.index);
  writeUint32(payload, 8, wanted.chunk);
  return encodeFrame(FRAME.snapshotGet, payload);
}

/** @throws {WireError} `invalid-message`: close the link. */
export function readSnapshotGet(
  payload: Uint8Array,
): Pick<SnapshotChunk, "index" | "chunk"> {
  if (payload.length !== CHUNK_NAME_BYTES) {
    throw new WireError(
      "invalid-message",
      `Cannot read request: its length is ${payload.length} bytes, wanted ${CHUNK_NAME_BYTES}`,
    );
  }
  return { index: readUint53(payload, 0), chunk: readUint32(payload, 8) };
}

/**
 * Hands one chunk over.
 *
 * @throws {RangeError} Not 1 to {@linkcode SNAPSHOT_CHUNK_BYTES_MAX} bytes: the
 * caller's mistake.
 */
export function encodeSnapshotChunk(
  { index, chunk, bytes }: SnapshotChunk,
): Uint8Array<ArrayBuffer> {
  if (bytes.length === 0 || bytes.length > SNAPSHOT_CHUNK_BYTES_MAX) {
    throw new RangeError(
      `Cannot send chunk ${chunk}: it has ${bytes.length} bytes, wanted 1 to ${SNAPSHOT_CHUNK_BYTES_MAX}`,
    );
  }
  const length = FRAME_HEADER_BYTES + CHUNK_NAME_BYTES + bytes.length;
  const frame = new Uint8Array(length);
  writeFrameHeader(frame, 0, { kind: FRAME.snapshotChunk, bytes: length });
  writeUint53(frame, FRAME_HEADER_BYTES, index);
  writeUint32(frame, FRAME_HEADER_BYTES + 8, chunk);
  frame.set(bytes, FRAME_HEADER_BYTES + CHUNK_NAME_BYTES);
  return frame;
}

/** @throws {WireError} `invalid-message`: close the link. */
export function readSnapshotChunk(payload: Uint8Array): SnapshotChunk {
  if (payload.length <= CHUNK_NAME_BYTES) {
    throw new WireError(
      "invalid-message",
      `Cannot read chunk: its length is ${payload.length} bytes, more are needed`,
    );
  }
  return {
    index: readUint53(payload, 0),
    chunk: readUint32(payload, 8),
    bytes: payload.subarray(CHUNK_NAME_BYTES),
  };
}
