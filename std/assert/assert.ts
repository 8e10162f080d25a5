import { AssertionError } from "./assertion_error.ts";

/**
 * Passes if a value is truthy.
 *
 * @param expr What must hold; its type is narrowed after the call.
 * @param msg The whole message of the failure.
 * @throws {AssertionError} If it is falsy.
 */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}
