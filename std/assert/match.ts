import { AssertionError } from "./assertion_error.ts";
import { suffix } from "./suffix.ts";

/**
 * Passes if a text matches a pattern, anywhere in it.
 *
 * @param expected The pattern; one with the flag `g` or `y` starts at its `lastIndex`.
 * @throws {AssertionError} If it does not match.
 */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (expected.test(actual)) return;
  throw new AssertionError(
    `Expected actual: "${actual}" to match: "${expected}"${suffix(msg)}`,
  );
}
