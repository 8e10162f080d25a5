import { AssertionError } from "./assertion_error.ts";
import { checkError, type ErrorType, expectation } from "./expected_error.ts";
import { suffix } from "./suffix.ts";

/**
 * Passes if a function throws, anything at all.
 *
 * @returns What was thrown.
 * @throws {AssertionError} If nothing was thrown.
 */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/**
 * Passes if a function throws an error of a class.
 *
 * @param msgIncludes Part of the error's message, colours aside.
 * @returns The error.
 * @throws {AssertionError} If nothing was thrown, no `Error`, one of another
 * class, or one whose message lacks the text.
 */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorType<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  typeOrWords?: ErrorType<E> | string,
  includes?: string,
  words?: string,
): unknown {
  const expected = expectation(typeOrWords, includes, words);
  try {
    fn();
  } catch (error) {
    checkError(error, expected, "thrown");
    return error;
  }
  throw new AssertionError(
    `Expected function to throw${suffix(expected.words)}`,
  );
}
