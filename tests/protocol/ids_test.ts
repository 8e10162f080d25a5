import { assertEquals } from "@std/assert";
import { clientIdOf, isName } from "../../protocol/ids.ts";
import { NAME_CHARACTERS_MAX } from "../../protocol/limits.ts";

Deno.test("ids: a name is 1 to 64 letters, digits, dots, lines and colons", () => {
  const good = ["a", "0", "node-1", "rack_2.node:3525", "A".repeat(64)];
  for (const text of good) assertEquals(isName(text), true, text);
  const bad = ["", "a b", "a\n", "\na", "é", "a/b", "a\u0000", "A".repeat(65)];
  for (const text of bad) assertEquals(isName(text), false, text);
  assertEquals(NAME_CHARACTERS_MAX, 64);
});

Deno.test("ids: a client is its incarnation, as a number", () => {
  assertEquals(clientIdOf("0000000000000000"), 0n);
  assertEquals(clientIdOf("00000000000000ff"), 255n);
  assertEquals(clientIdOf("ffffffffffffffff"), 2n ** 64n - 1n);
});
