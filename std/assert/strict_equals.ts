import { AssertionError } from "./assertion_error.ts";
import { difference } from "./difference.ts";
import { suffix } from "./suffix.ts";

/**
 * Passes if two values are one and the same (`Object.is`): NaN is itself, 0 is
 * not -0, two objects of the same shape are two.
 *
 * @throws {AssertionError} If they are not; the message shows where they differ.
 */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  const shown = difference({ actual, expected }, "strictEqual");
  throw new AssertionError(
    `Values are not strictly equal${suffix(msg)}\n\n${shown}\n`,
  );
}
