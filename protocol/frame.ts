/** Frames between Skein processes: length, kind, payload; see `WIRE.md#frames`. */

import { WireError } from "./errors.ts";
import { FRAME_BYTES_MAX } from "./limits.ts";

/**
 * What each side of a framed link sends first. Its first byte never occurs in
 * UTF-8, so that no line of text can be taken for it.
 */
export const PREFACE = Uint8Array.of(
  0xfe,
  0x53, // S
  0x4b, // K
  0x45, // E
  0x49, // I
  0x4e, // N
  0x0d,
  0x0a,
);

/** Bytes before the payload: length (u32, big-endian), then kind (u8). */
export const FRAME_HEADER_BYTES = 5;

/** Kinds of frames. Numbers are only ever added, never reused. */
export const FRAME = {
  hello: 1,
  challenge: 2,
  proof: 3,
  welcome: 4,
  error: 5,
  beat: 6,
  chainData: 16,
  chainAck: 17,
  chainRoute: 18,
  replicaHello: 32,
  replicaAppend: 33,
  replicaAppended: 34,
  replicaHeartbeat: 35,
  replicaHeartbeatAnswer: 36,
  replicaForward: 37,
  replicaFetched: 38,
  replicaTalk: 39,
  snapshotAsk: 48,
  snapshotInfo: 49,
  snapshotGet: 50,
  snapshotChunk: 51,
  discoverAsk: 64,
  discoverAnswer: 65,
  meshHello: 80,
  meshEvents: 81,
  meshBeat: 82,
  meshAsk: 83,
  meshPresence: 84,
} as const;

/** One frame; `payload` is a view of the bytes it was read from. */
export interface Frame {
  readonly kind: number;
  readonly payload: Uint8Array;
}

/** A whole frame of `kind` around `payload`. */
export function encodeFrame(
  kind: number,
  payload: Uint8Array<ArrayBufferLike> = new Uint8Array(0),
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  writeFrameHeader(bytes, 0, { kind, bytes: bytes.length });
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

/** Writes the header of a frame of `bytes` bytes in all at `at`. */
export function writeFrameHeader(
  into: Uint8Array,
  at: number,
  frame: { kind: number; bytes: number },
): void {
  writeUint32(into, at, frame.bytes - 4);
  into[at + 4] = frame.kind;
}

/**
 * Length of the whole frame that begins at `at`, header included.
 *
 * @returns 0 when fewer than 4 bytes are there to tell.
 * @throws {WireError} `too-large` or `invalid-message`: close the link, for
 * where the next frame begins is no longer known.
 */
export function frameLength(
  bytes: Uint8Array,
  at: number,
  end: number,
  bytesMax: number = FRAME_BYTES_MAX,
): number {
  if (end - at < 4) return 0;
  const length = readUint32(bytes, at) + 4;
  if (length > bytesMax) {
    throw new WireError(
      "too-large",
      `Cannot read frame: its length is ${length} bytes, limit is ${bytesMax}`,
    );
  }
  if (length < FRAME_HEADER_BYTES) {
    throw new WireError(
      "invalid-message",
      `Cannot read frame: its length is ${length} bytes, at least ${FRAME_HEADER_BYTES} are needed`,
    );
  }
  return length;
}

/**
 * Splits a byte stream into frames. Keeps a partial frame until the rest
 * arrives, never more than one frame's bytes.
 */
export class FrameReader {
  /** Largest frame accepted from now on; the handshake raises it at its end. */
  bytesMax: number;
  #kept: Uint8Array<ArrayBufferLike> = new Uint8Array(0);

  constructor(bytesMax: number = FRAME_BYTES_MAX) {
    this.bytesMax = bytesMax;
  }

  /** Adds bytes, copied; any number, 0 included. Call {@linkcode next} after. */
  push(chunk: Uint8Array): void {
    const joined = new Uint8Array(this.#kept.length + chunk.length);
    joined.set(this.#kept);
    joined.set(chunk, this.#kept.length);
    this.#kept = joined;
  }

  /**
   * The oldest whole frame, or undefined until more bytes are pushed.
   *
   * @throws {WireError} As {@linkcode frameLength}.
   */
  next(): Frame | undefined {
    const kept = this.#kept;
    const length = frameLength(kept, 0, kept.length, this.bytesMax);
    if (length === 0 || length > kept.length) return undefined;
    this.#kept = kept.subarray(length);
    return {
      kind: kept[4],
      payload: kept.subarray(FRAME_HEADER_BYTES, length),
    };
  }

  /** The bytes not yet returned as frames; the reader is empty afterwards. */
  takeRest(): Uint8Array {
    const rest = this.#kept;
    this.#kept = new Uint8Array(0);
    return rest;
  }
}

/** Reads an unsigned 32-bit number, big-endian. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) |
    bytes[at + 3]) >>> 0;
}

/** Writes an unsigned 32-bit number, big-endian. */
export function writeUint32(bytes: Uint8Array, at: number, value: number) {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Reads an unsigned 64-bit number up to 2^53 - 1, big-endian. */
export function readUint53(bytes: Uint8Array, at: number): number {
  const high = readUint32(bytes, at);
  if (high > 0x1f_ffff) {
    throw new WireError(
      "invalid-message",
      `Cannot read number: its upper half is ${high}, limit is ${0x1f_ffff}`,
    );
  }
  return high * 0x1_0000_0000 + readUint32(bytes, at + 4);
}

/** Writes an unsigned 64-bit number up to 2^53 - 1, big-endian. */
export function writeUint53(bytes: Uint8Array, at: number, value: number) {
  writeUint32(bytes, at, Math.floor(value / 0x1_0000_0000));
  writeUint32(bytes, at + 4, value >>> 0);
}
