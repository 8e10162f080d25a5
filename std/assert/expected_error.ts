import { stripVTControlCharacters } from "node:util";
import { AssertionError } from "./assertion_error.ts";
import { suffix } from "./suffix.ts";

/** A class of errors, whatever its constructor takes. */
// deno-lint-ignore no-explicit-any
export type ErrorType<E extends Error> = new (...args: any[]) => E;

/** What a failing function is expected to fail with. */
export interface Expectation<E extends Error> {
  /** Any thrown value will do without it. */
  type?: ErrorType<E>;
  /** Part of the message, colours aside. Looked at only where there is a type. */
  includes?: string;
  /** The caller's words for the failure. */
  words?: string;
}

/**
 * Reads the arguments {@linkcode assertThrows} and {@linkcode assertRejects}
 * share: `(type, includes, words)` or `(words)`.
 */
export function expectation<E extends Error>(
  typeOrWords: ErrorType<E> | string | undefined,
  includes: string | undefined,
  words: string | undefined,
): Expectation<E> {
  if (typeof typeOrWords === "string") return { words: typeOrWords };
  return { type: typeOrWords, includes, words };
}

/**
 * Passes if what was thrown is what was expected.
 *
 * @param verb "thrown" or "rejected".
 * @throws {AssertionError} If it is no `Error`, of another class, or lacks the text.
 */
export function checkError<E extends Error>(
  error: unknown,
  expected: Expectation<E>,
  verb: "thrown" | "rejected",
): void {
  const { type, includes } = expected;
  const end = suffix(expected.words);
  if (type === undefined) return;
  if (!(error instanceof Error)) {
    throw new AssertionError(`A non-Error object was ${verb}${end}`);
  }
  if (!(error instanceof type)) {
    const found = error.constructor.name;
    throw new AssertionError(
      `Expected error to be instance of "${type.name}", but was "${found}"${end}`,
      { cause: error },
    );
  }
  if (includes === undefined) return;
  const message = stripVTControlCharacters(error.message);
  if (message.includes(stripVTControlCharacters(includes))) return;
  throw new AssertionError(
    `Expected error message to include ${JSON.stringify(includes)}, but got ${
      JSON.stringify(error.message)
    }${end}`,
    { cause: error },
  );
}
