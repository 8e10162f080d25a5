/** Lines of text: what a person, `nc` or a file sends; see `WIRE.md#lines`. */

import { Buffer, isUtf8 } from "node:buffer";
import { WireError } from "./errors.ts";
import { LINE_BYTES_MAX } from "./limits.ts";

/** The byte that ends every line. */
export const NEWLINE = 10;

/**
 * Checks whole lines, the last byte being a newline, and counts them.
 *
 * Three passes of native code over the block cost a quarter of what looking
 * at each line alone does.
 *
 * @returns The number of lines, 1 or more.
 * @throws {WireError} `invalid-utf8`, `nul-byte`, `too-large`, or
 * `invalid-message` when the last newline is missing: tell the sender.
 */
export function countLines(bytes: Uint8Array): number {
  if (bytes.length === 0 || bytes[bytes.length - 1] !== NEWLINE) {
    throw new WireError(
      "invalid-message",
      `Cannot take text of ${bytes.length} bytes: it does not end with a newline`,
    );
  }
  if (!isUtf8(bytes)) {
    throw new WireError("invalid-utf8", "Cannot take text: it is not UTF-8");
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    .toString("latin1");
  if (text.includes("\0")) {
    throw new WireError("nul-byte", "Cannot take text: it holds a NUL byte");
  }
  let count = 0;
  let from = 0;
  while (from < text.length) {
    const end = text.indexOf("\n", from);
    if (end - from > LINE_BYTES_MAX) throw lineTooLarge(end - from);
    count += 1;
    from = end + 1;
  }
  return count;
}

/** The error of a line above {@linkcode LINE_BYTES_MAX}. */
export function lineTooLarge(bytes: number): WireError {
  return new WireError(
    "too-large",
    `Cannot take line: its length is ${bytes} bytes or more, limit is ${LINE_BYTES_MAX}`,
  );
}

/** Position after the last newline of `bytes` before `end`, or 0. */
export function wholeLinesEnd(bytes: Uint8Array, end: number): number {
  return end === 0 ? 0 : bytes.lastIndexOf(NEWLINE, end - 1) + 1;
}
