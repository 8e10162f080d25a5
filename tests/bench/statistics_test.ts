/** Contract of the benches' arithmetic. */

import { assertEquals, assertThrows } from "@std/assert";
import { quantile, summarize } from "./statistics.ts";

Deno.test("quantile: between neighbours where it falls between two", () => {
  assertEquals(quantile([1, 2, 3, 4], 0.5), 2.5);
  assertEquals(quantile([1, 2, 3, 4], 0), 1);
  assertEquals(quantile([1, 2, 3, 4], 1), 4);
  assertEquals(quantile([7], 0.99), 7);
  assertThrows(() => quantile([], 0.5), RangeError, "Found no values");
});

Deno.test("summarize: takes values in any order", () => {
  assertEquals(summarize([30, 10, 20]), { median: 20, min: 10, max: 30 });
});
