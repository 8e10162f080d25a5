import {
  assertEquals,
  AssertionError,
  assertNotEquals,
  assertStrictEquals,
} from "@std/assert";

class Point {
  constructor(readonly x: number) {}
}

class Counter {
  readonly #count: number;
  constructor(count: number) {
    this.#count = count;
  }
  get count(): number {
    return this.#count;
  }
}

function cycle(value: number): unknown {
  const object: Record<string, unknown> = { value };
  object.self = object;
  return object;
}

const bare = (fields: object) => Object.assign(Object.create(null), fields);

/** Makes each value anew, so that equality is never identity. */
const EQUAL: Record<string, () => [unknown, unknown]> = {
  "a number": () => [1, 1],
  "NaN": () => [NaN, NaN],
  "0 and -0": () => [{ a: [0] }, { a: [-0] }],
  "a text": () => ["é", "é"],
  "nothing": () => [[null, undefined], [null, undefined]],
  "an object": () => [{ a: 1, b: { c: [2] } }, { b: { c: [2] }, a: 1 }],
  "a symbol's field": () => [{ [Symbol.for("a")]: 1 }, {
    [Symbol.for("a")]: 1,
  }],
  "no prototype": () => [bare({ a: 1 }), { a: 1 }],
  "an instance": () => [new Point(1), new Point(1)],
  "a private field": () => [new Counter(1), new Counter(1)],
  "a date": () => [new Date(7), new Date(7)],
  "no date": () => [new Date(NaN), new Date(NaN)],
  "a pattern": () => [/a/g, /a/g],
  "an address": () => [new URL("http://a/b"), new URL("http://a/b")],
  "bytes": () => [new Uint8Array([1, 2]), new Uint8Array([1, 2])],
  "a buffer": () => [new Uint8Array([1]).buffer, new Uint8Array([1]).buffer],
  "a set, in any order": () => [new Set([1, 2]), new Set([2, 1])],
  "a set of objects": () => [new Set([{ a: 1 }]), new Set([{ a: 1 }])],
  "a map, in any order": () => [
    new Map([["a", [1]], ["b", [2]]]),
    new Map([["b", [2]], ["a", [1]]]),
  ],
  "a map by objects":
    () => [new Map([[{ a: 1 }, 1]]), new Map([[{ a: 1 }, 1]])],
  "a cycle": () => [cycle(1), cycle(1)],
};

const DIFFERENT: Record<string, () => [unknown, unknown]> = {
  "two numbers": () => [1, 2],
  "two types": () => [1, "1"],
  "nothing and nothing": () => [null, undefined],
  "two functions": () => [() => 1, () => 1],
  "two symbols": () => [Symbol("a"), Symbol("a")],
  "an element": () => [[1, 2], [1, 3]],
  "an order": () => [[1, 2], [2, 1]],
  "a length": () => [[1], [1, 2]],
  "a deep field": () => [{ a: { b: [1] } }, { a: { b: [2] } }],
  "no field and an undefined one": () => [{}, { a: undefined }],
  "two undefined fields": () => [{ a: undefined }, { b: undefined }],
  "a list and an object": () => [[], {}],
  "an instance and an object": () => [new Point(1), { x: 1 }],
  "two instances": () => [new Point(1), new Point(2)],
  "two private fields": () => [new Counter(1), new Counter(2)],
  "two dates": () => [new Date(1), new Date(2)],
  "two patterns": () => [/a/, /a/i],
  "two addresses": () => [new URL("http://a/b"), new URL("http://a/c")],
  "bytes": () => [new Uint8Array([1, 2]), new Uint8Array([1, 3])],
  "widths": () => [new Uint8Array([1]), new Uint16Array([1])],
  "two buffers": () => [new Uint8Array([1]).buffer, new Uint8Array([2]).buffer],
  "two sets": () => [new Set([1]), new Set([2])],
  "two sets of objects": () => [new Set([{ a: 1 }]), new Set([{ a: 2 }])],
  "a set's size": () => [new Set([1]), new Set([1, 2])],
  "a map's size": () => [new Map(), new Map([["a", undefined]])],
  "two maps": () => [new Map([["a", [1]]]), new Map([["a", [2]]])],
  "two maps by objects": () => [
    new Map([[{ a: 1 }, 1]]),
    new Map([[{ a: 2 }, 1]]),
  ],
  "two cycles": () => [cycle(1), cycle(2)],
};

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

for (const [name, pair] of Object.entries(EQUAL)) {
  Deno.test(`assertEquals: ${name} is equal to its like`, () => {
    const [a, b] = pair();
    assertEquals(a, b);
    assertEquals(b, a);
    failure(() => assertNotEquals(a, b));
  });
}

for (const [name, pair] of Object.entries(DIFFERENT)) {
  Deno.test(`assertNotEquals: ${name} can make the difference`, () => {
    const [a, b] = pair();
    assertNotEquals(a, b);
    assertNotEquals(b, a);
    failure(() => assertEquals(a, b));
  });
}

Deno.test("assertEquals: shows what differs and the words given", () => {
  const message = failure(() =>
    assertEquals({ a: 1, b: "found" }, { a: 1, b: "wanted" }, "after a crash")
  );
  for (const part of ["not equal", "after a crash", "found", "wanted"]) {
    includes(message, part);
  }
});

Deno.test("assertNotEquals: shows the value and the words given", () => {
  const message = failure(() => assertNotEquals(["n1"], ["n1"], "two nodes"));
  for (const part of ["n1", "two nodes"]) includes(message, part);
});

Deno.test("assertStrictEquals: passes only one and the same", () => {
  const object = {};
  assertStrictEquals(object, object);
  assertStrictEquals(NaN, NaN);
  assertStrictEquals("a", "a");
  failure(() => assertStrictEquals({}, {}));
  failure(() => assertStrictEquals(0, -0));
  failure(() => assertStrictEquals(1, "1"));
});

Deno.test("assertStrictEquals: shows both and the words given", () => {
  const message = failure(() => assertStrictEquals(12, 34, "why"));
  for (const part of ["12", "34", "why"]) includes(message, part);
});

Deno.test("assertStrictEquals: narrows the type", () => {
  const value: unknown = "text";
  assertStrictEquals(value, "text");
  includes(value.toUpperCase(), "TEXT");
});
