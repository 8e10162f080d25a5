import { AssertionError } from "./assertion_error.ts";
import { checkError, type ErrorType, expectation } from "./expected_error.ts";
import { suffix } from "./suffix.ts";

/**
 * Passes if a function returns a promise that rejects, with anything at all.
 *
 * @returns What it rejected with.
 * @throws {AssertionError} If the promise resolves, the function throws before
 * it returns one, or returns something else.
 */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
/**
 * Passes if a function returns a promise that rejects with an error of a class.
 *
 * @param msgIncludes Part of the error's message, colours aside.
 * @returns The error.
 * @throws {AssertionError} As above, or if it rejects with no `Error`, one of
 * another class, or one whose message lacks the text.
 */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorType<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  typeOrWords?: ErrorType<E> | string,
  includes?: string,
  words?: string,
): Promise<unknown> {
  const expected = expectation(typeOrWords, includes, words);
  const end = suffix(expected.words);
  const promise = start(fn, end);
  try {
    await promise;
  } catch (error) {
    checkError(error, expected, "rejected");
    return error;
  }
  throw new AssertionError(`Expected function to reject${end}`);
}

/** Calls a function that has to answer with a promise. */
function start(
  fn: () => PromiseLike<unknown>,
  end: string,
): PromiseLike<unknown> {
  const message = `Function throws when expected to reject${end}`;
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch (cause) {
    throw new AssertionError(message, { cause });
  }
  if (typeof promise?.then !== "function") throw new AssertionError(message);
  return promise;
}
