import { assert, assertEquals } from "@std/assert";
import { isWireCode, WIRE_CODES, WireError } from "../../protocol/errors.ts";

const INDEFINITE = [
  ...["timeout", "shutting-down", "link-lost"],
  ...["session-unknown", "session-moved", "sequence-stale", "slow-consumer"],
];

Deno.test("errors: every code says whether the thing may have happened", () => {
  const codes = Object.keys(WIRE_CODES);
  assert(codes.length >= 17, `only ${codes.length} codes`);
  for (const code of codes) {
    assert(isWireCode(code));
    assert(code.length <= 32, "a peer would not take a code that long");
    assertEquals(
      new WireError(code, "x").outcome,
      INDEFINITE.includes(code) ? "indefinite" : "definite",
      code,
    );
  }
});

Deno.test("errors: other texts are no code, inherited names included", () => {
  for (const text of ["", "Busy", "busy ", "toString", "__proto__"]) {
    assertEquals(isWireCode(text), false, text);
  }
});

Deno.test("errors: an error keeps its code, its text and its cause", () => {
  const cause = new Error("why");
  const error = new WireError("busy", "Cannot take more", { cause });
  assertEquals(
    [error.name, error.code, error.message, error.cause],
    ["WireError", "busy", "Cannot take more", cause],
  );
});
