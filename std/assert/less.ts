import { AssertionError } from "./assertion_error.ts";

/**
 * Passes if a value is less than another, by `<`.
 *
 * @param msg The whole message of the failure, in place of both values.
 * @throws {AssertionError} If it is not, NaN on either side included.
 */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (actual < expected) return;
  throw new AssertionError(
    msg ?? `Expect ${Deno.inspect(actual)} < ${Deno.inspect(expected)}`,
  );
}
