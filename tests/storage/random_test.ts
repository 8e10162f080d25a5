import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../sim/random.ts";

Deno.test("random: one seed, one sequence", () => {
  const draw = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 50 }, () => random.uint32());
  };
  assertEquals(draw(7), draw(7));
  assertEquals(draw(-1), draw(2 ** 32 - 1));
  const starts = Array.from({ length: 1000 }, (_, seed) => draw(seed)[0]);
  assert(new Set(starts).size > 995);
});

Deno.test("random: whole numbers stay in their bounds and reach all of them", () => {
  const random = new Random(1);
  const counts = [0, 0, 0, 0, 0];
  for (let i = 0; i < 5000; i++) counts[random.int(5)] += 1;
  assert(counts.every((count) => count > 900 && count < 1100));
  assertEquals(random.int(1), 0);
  assertThrows(() => random.int(0), RangeError);
  assertThrows(() => random.int(NaN), RangeError);
});

Deno.test("random: chances, bytes and picks", () => {
  const random = new Random(2);
  for (let i = 0; i < 1000; i++) {
    const next = random.next();
    assert(next >= 0 && next < 1);
    assert(!random.chance(0));
    assert(random.chance(1));
  }
  const hits = Array.from({ length: 4000 }, () => random.chance(0.25))
    .filter((hit) => hit).length;
  assert(hits > 850 && hits < 1150);
  assertEquals(new Set(random.bytes(10_000)).size, 256);
  assertEquals(random.bytes(0).length, 0);
  assert(["a", "b"].includes(random.pick(["a", "b"])));
});
