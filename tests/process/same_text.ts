/** Whether a text came through unharmed. */

import { createHash } from "node:crypto";

const SHOWN_BYTES = 60;

/** SHA-256 in hexadecimal. */
export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/**
 * Compares two texts by their SHA-256.
 *
 * @throws {Error} When they differ: says where, and shows both.
 */
export function assertSameText(
  actual: Uint8Array,
  expected: Uint8Array,
): void {
  const [actualSum, expectedSum] = [sha256(actual), sha256(expected)];
  if (actualSum === expectedSum) return;
  const at = firstDifference(actual, expected);
  const line = expected.subarray(0, at).reduce(
    (count, byte) => byte === 10 ? count + 1 : count,
    1,
  );
  throw new Error(
    `The text that arrived is not the one that was sent:\n` +
      `  arrived ${actual.length} bytes, SHA-256 ${actualSum}\n` +
      `  sent    ${expected.length} bytes, SHA-256 ${expectedSum}\n` +
      `  they differ from byte ${at} on, in line ${line}:\n` +
      `  arrived ${shown(actual, at)}\n` +
      `  sent    ${shown(expected, at)}`,
  );
}

function firstDifference(left: Uint8Array, right: Uint8Array): number {
  const length = Math.min(left.length, right.length);
  let at = 0;
  while (at < length && left[at] === right[at]) at += 1;
  return at;
}

function shown(bytes: Uint8Array, at: number): string {
  const start = bytes.subarray(0, at).lastIndexOf(10) + 1;
  const part = bytes.subarray(start, at + SHOWN_BYTES);
  return JSON.stringify(new TextDecoder().decode(part));
}
