import { AssertionError } from "./assertion_error.ts";
import { equal } from "./equal.ts";
import { suffix } from "./suffix.ts";

/**
 * Passes if two values are not deeply equal: see {@linkcode equal}.
 *
 * @throws {AssertionError} If they are equal.
 * @throws {TypeError} For two `WeakMap`s or two `WeakSet`s.
 */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) return;
  const shown = Deno.inspect(actual);
  const unwanted = Deno.inspect(expected);
  throw new AssertionError(
    `Expected actual: ${shown} not to be: ${unwanted}${suffix(msg)}`,
  );
}
