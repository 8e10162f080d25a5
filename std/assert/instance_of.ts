import { AssertionError } from "./assertion_error.ts";
import { suffix } from "./suffix.ts";

/**
 * Passes if a value is an instance of a class, or of one that extends it.
 *
 * @throws {AssertionError} If it is not; the message names both classes.
 */
export function assertInstanceOf<
  // No other type takes classes of any parameters.
  // deno-lint-ignore no-explicit-any
  T extends abstract new (...args: any[]) => unknown,
>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  throw new AssertionError(
    `Expected object to be an instance of "${expectedType.name}" but was "${
      typeName(actual)
    }"${suffix(msg)}`,
  );
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  if (typeof value !== "object") return typeof value;
  return value.constructor?.name ?? "Object";
}
