import {
  assertEquals,
  AssertionError,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";

class CodedError extends Error {
  constructor(readonly code: number, message: string) {
    super(message);
  }
}

/** The message an assertion fails with; plain, as what it judges is under test. */
async function failure(fn: () => unknown): Promise<string> {
  try {
    await fn();
  } catch (error) {
    if (error instanceof AssertionError) return error.message;
    throw error;
  }
  throw new Error("Expected a failed assertion, and it passed");
}

const error = new CodedError(7, "too \x1b[31mlarge\x1b[0m: 9 bytes");
const throws = () => {
  throw error;
};
const rejects = () => Promise.reject(error);

Deno.test("assertThrows: returns what was thrown, whatever it is", () => {
  assertStrictEquals(assertThrows(throws), error);
  const throwsText = () => {
    throw "a text";
  };
  assertStrictEquals(assertThrows(throwsText), "a text");
  assertStrictEquals(assertThrows(throwsText, "some words"), "a text");
});

Deno.test("assertThrows: returns an error of the class, typed", () => {
  const found = assertThrows(throws, CodedError, "too large", "some words");
  assertEquals(found.code, 7);
  assertStrictEquals(assertThrows(throws, Error), error);
});

Deno.test("assertThrows: fails if nothing is thrown", async () => {
  const message = await failure(() => assertThrows(() => 1, "the words"));
  assertStringIncludes(message, "the words");
  await failure(() => assertThrows(() => 1, Error));
});

Deno.test("assertThrows: fails on another class", async () => {
  const message = await failure(() =>
    assertThrows(throws, TypeError, "", "why")
  );
  for (const part of ["TypeError", "CodedError", "why"]) {
    assertStringIncludes(message, part);
  }
});

Deno.test("assertThrows: fails on another message", async () => {
  const message = await failure(() =>
    assertThrows(throws, CodedError, "too small", "why")
  );
  for (const part of ["too small", "9 bytes", "why"]) {
    assertStringIncludes(message, part);
  }
});

Deno.test("assertThrows, assertRejects: fail on what is no error where a class is wanted", async () => {
  for (const value of ["a text", null, { message: "a text" }]) {
    const throwsValue = () => {
      throw value;
    };
    await failure(() => assertThrows(throwsValue, Error));
    await failure(() => assertRejects(() => Promise.reject(value), Error));
  }
});

Deno.test("assertRejects: returns what it rejects with, whatever it is", async () => {
  assertStrictEquals(await assertRejects(rejects), error);
  const rejectsText = () => Promise.reject("a text");
  assertStrictEquals(await assertRejects(rejectsText, "words"), "a text");
});

Deno.test("assertRejects: returns an error of the class, typed", async () => {
  const found = await assertRejects(rejects, CodedError, "too large", "words");
  assertEquals(found.code, 7);
});

Deno.test("assertRejects: fails if the promise resolves", async () => {
  const message = await failure(() =>
    assertRejects(() => Promise.resolve(), "the words")
  );
  assertStringIncludes(message, "the words");
  await failure(() => assertRejects(() => Promise.resolve(), Error));
});

Deno.test("assertRejects: fails on a throw before a promise", async () => {
  const message = await failure(() => assertRejects(throws, "the words"));
  assertStringIncludes(message, "the words");
  await failure(() => assertRejects(throws, CodedError));
});

Deno.test("assertRejects: fails on an answer that is no promise", async () => {
  const answers = (): unknown => 1;
  await failure(() => assertRejects(answers as () => Promise<unknown>));
});

Deno.test("assertRejects: fails on another class or message", async () => {
  const message = await failure(() => assertRejects(rejects, TypeError));
  for (const part of ["TypeError", "CodedError"]) {
    assertStringIncludes(message, part);
  }
  assertStringIncludes(
    await failure(() => assertRejects(rejects, CodedError, "small")),
    "small",
  );
});
