/** Ways to cut a stream of bytes, as a network might. */

import { Buffer } from "node:buffer";
import fc from "fast-check";

/** Bytes in the pieces in which they arrive. */
export interface Arrival {
  readonly name: string;
  readonly pieces: readonly Uint8Array[];
}

/** `bytes` whole, byte by byte, and in two at every fifth place or so. */
export function arrivals(bytes: Uint8Array): Arrival[] {
  const step = Math.max(1, Math.floor(bytes.length / 5));
  const places = Array.from({ length: 4 }, (_, i) => (i + 1) * step - 1)
    .filter((place) => place > 0 && place < bytes.length);
  return [
    { name: "whole", pieces: [bytes] },
    { name: "byte by byte", pieces: everyByte(bytes) },
    ...places.map((place) => ({
      name: `cut at ${place}`,
      pieces: cutAt(bytes, [place]),
    })),
  ];
}

/** Every byte on its own. */
export function everyByte(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte) => Uint8Array.of(byte));
}

/** Cuts at these places, each taken modulo the length; some pieces may be empty. */
export function cutAt(
  bytes: Uint8Array,
  places: readonly number[],
): Uint8Array[] {
  const sorted = places.map((place) => place % (bytes.length + 1))
    .sort((a, b) => a - b);
  return [0, ...sorted].map((start, i) =>
    bytes.subarray(start, sorted[i] ?? bytes.length)
  );
}

/** Any places for {@linkcode cutAt}. */
export const places: fc.Arbitrary<number[]> = fc.array(fc.nat(1_000_000), {
  maxLength: 12,
});

/** Any bytes, up to `bytesMax` of them. */
export function anyBytes(bytesMax: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ maxLength: bytesMax, size: "max" });
}

/** All pieces after one another. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(pieces.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The bytes of a text. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** The text of bytes, which must be UTF-8. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
    .decode(bytes);
}

/** Whether two pieces hold the same bytes; quick also for many of them. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.length).equals(b);
}
