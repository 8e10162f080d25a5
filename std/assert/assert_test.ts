import {
  assert,
  assertExists,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertStringIncludes,
  fail,
} from "@std/assert";

/** The message an assertion fails with. Plain code: nothing under test judges. */
function failure(fn: () => void): string {
  try {
    fn();
  } catch (error) {
    if (error instanceof AssertionError) return error.message;
    throw error;
  }
  throw new Error("Expected a failed assertion, and it passed");
}

function includes(text: string, part: string): void {
  if (!text.includes(part)) throw new Error(`No "${part}" in "${text}"`);
}

Deno.test("AssertionError: an Error with a name, a message and a cause", () => {
  const cause = new Error("deeper");
  const error = new AssertionError("wrong", { cause });
  const isRight = error instanceof Error && error.name === "AssertionError" &&
    error.message === "wrong" && error.cause === cause;
  if (!isRight) throw error;
});

Deno.test("assert: passes what is truthy, and narrows its type", () => {
  for (const value of [true, 1, "0", [], {}]) assert(value);
  const value: string | undefined = ["text"].at(0);
  assert(value !== undefined);
  includes(value.toUpperCase(), "TEXT");
});

Deno.test("assert: fails with the message given on what is falsy", () => {
  for (const value of [false, 0, "", NaN, null, undefined]) {
    includes(failure(() => assert(value, "said so")), "said so");
  }
});

Deno.test("fail: always does", () => {
  includes(failure(() => fail("not here")), "not here");
  includes(failure(() => fail()), "Failed assertion");
});

Deno.test("assertExists: passes anything but null and undefined", () => {
  for (const value of [0, "", false, NaN, {}]) assertExists(value);
  includes(failure(() => assertExists(null)), "null");
  includes(failure(() => assertExists(undefined)), "undefined");
  includes(failure(() => assertExists(null, "a leader")), "a leader");
});

Deno.test("assertInstanceOf: passes the class and what extends it", () => {
  abstract class Shape {
    readonly sides: number = 4;
  }
  class Square extends Shape {}
  const value: unknown = new Square();
  assertInstanceOf(value, Square);
  assertInstanceOf(value, Shape);
  includes(`${value.sides}`, "4");
});

Deno.test("assertInstanceOf: names the class wanted and what was found", () => {
  const message = failure(() => assertInstanceOf(new Date(), RegExp, "why"));
  for (const part of ["RegExp", "Date", "why"]) includes(message, part);
  includes(failure(() => assertInstanceOf(null, Date)), "null");
  includes(failure(() => assertInstanceOf(undefined, Date)), "undefined");
  includes(failure(() => assertInstanceOf("text", String)), "string");
  includes(failure(() => assertInstanceOf(Object.create(null), Date)), "Date");
});

Deno.test("assertStringIncludes: passes a part, fails without it", () => {
  assertStringIncludes("a message", "mess");
  assertStringIncludes("a message", "");
  const message = failure(() => assertStringIncludes("one", "two", "why"));
  for (const part of ["one", "two", "why"]) includes(message, part);
  failure(() => assertStringIncludes("one", "ONE"));
});

Deno.test("assertMatch: passes a match anywhere, fails without one", () => {
  assertMatch("node n12", /n\d+/);
  const message = failure(() => assertMatch("node", /\d/, "why"));
  for (const part of ["node", "\\d", "why"]) includes(message, part);
});

Deno.test("assertGreater and the rest: order by the operators", () => {
  assertGreater(2, 1);
  assertGreater("b", "a");
  assertGreater(new Date(2), new Date(1));
  assertGreaterOrEqual(2, 1);
  assertGreaterOrEqual(2, 2);
  assertLess(1n, 2n);
  assertLessOrEqual(1, 2);
  assertLessOrEqual(1, 1);
});

Deno.test("assertGreater and the rest: fail with both values", () => {
  includes(failure(() => assertGreater(1, 1)), "1 > 1");
  includes(failure(() => assertGreaterOrEqual(1, 2)), "1 >= 2");
  includes(failure(() => assertLess(2, 2)), "2 < 2");
  includes(failure(() => assertLessOrEqual(3, 2)), "3 <= 2");
});

Deno.test("assertGreater and the rest: never pass NaN", () => {
  const all = [
    assertGreater<number>,
    assertGreaterOrEqual<number>,
    assertLess<number>,
    assertLessOrEqual<number>,
  ];
  for (const order of all) {
    includes(failure(() => order(NaN, 0, "why")), "why");
    failure(() => order(0, NaN));
  }
});
