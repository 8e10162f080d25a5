import { assert, assertEquals } from "@std/assert";
import { Jitter } from "../../election/jitter.ts";

Deno.test("jitter: the same for a seed, and within its bounds", () => {
  const [one, other] = [new Jitter(7), new Jitter(7)];
  for (let i = 0; i < 1_000; i++) {
    const value = one.between(5, 10);
    assert(value >= 5 && value < 10);
    assertEquals(other.between(5, 10), value);
  }
  assert(new Jitter(0x9e3779b9).between(0, 1) > 0, "a seed that would be zero");
});
