import { AssertionError } from "node:assert/strict";

/**
 * Shows where two values differ, a line for each (`+` found, `-` wanted).
 *
 * @param operator How they were compared: decides how alike is shown.
 * @returns One or more lines, without a heading.
 */
export function difference(
  values: { actual: unknown; expected: unknown },
  operator: "deepStrictEqual" | "strictEqual",
): string {
  const { message } = new AssertionError({ ...values, operator });
  // The first line is a heading, and ours is another.
  return message.slice(message.indexOf("\n") + 1).trim();
}
