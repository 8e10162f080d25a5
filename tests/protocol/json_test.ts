import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import fc from "fast-check";
import { WireError } from "../../protocol/errors.ts";
import { parseJson } from "../../protocol/json.ts";
import { anyBytes, bytesOf } from "./splits.ts";

Deno.test("json: what was written is read", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const text = JSON.stringify(value);
    assertEquals(parseJson(bytesOf(text)), JSON.parse(text));
  }));
});

Deno.test("json: what is not JSON is refused, with its cause", () => {
  for (const text of ["", "{", "{}x", "nul", "'a'", "[1,]", '{"a":1}\n{}']) {
    const error = assertThrows(() => parseJson(bytesOf(text)), WireError);
    assertEquals(error.code, "invalid-message", text);
    assertInstanceOf(error.cause, SyntaxError);
  }
});

Deno.test("json: what is not UTF-8 is refused as such", () => {
  for (const bytes of [[0xff], [0x22, 0xc3, 0x22], [0x22, 0xed, 0xa0, 0x80]]) {
    const error = assertThrows(
      () => parseJson(Uint8Array.from(bytes)),
      WireError,
    );
    assertEquals(error.code, "invalid-utf8");
  }
});

Deno.test("json: random bytes give a value, or a WireError", () => {
  fc.assert(fc.property(anyBytes(200), (bytes) => {
    try {
      parseJson(bytes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
    }
  }));
});

Deno.test("json: a frame full of brackets does not exhaust the stack", () => {
  const text = "[".repeat(130_000) + "]".repeat(130_000);
  try {
    parseJson(bytesOf(text));
  } catch (error) {
    assertInstanceOf(error, WireError);
  }
});
