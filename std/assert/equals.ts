import { AssertionError } from "./assertion_error.ts";
import { difference } from "./difference.ts";
import { equal } from "./equal.ts";
import { suffix } from "./suffix.ts";

/**
 * Passes if two values are deeply equal: see {@linkcode equal} for what that is.
 *
 * @throws {AssertionError} If they differ; the message shows where.
 * @throws {TypeError} For two `WeakMap`s or two `WeakSet`s.
 */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  const shown = difference({ actual, expected }, "deepStrictEqual");
  throw new AssertionError(`Values are not equal${suffix(msg)}\n\n${shown}\n`);
}
