import { assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { cutText, escapeJson, escapeText } from "../../../nodes/host/text.ts";

const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

Deno.test("text: what could forge a line or move a cursor is written out", () => {
  for (
    const [text, expected] of [
      ["", ""],
      ["plain text, ümlaut 漢字 👋", "plain text, ümlaut 漢字 👋"],
      ["a\nb\r\nc\td", "a\\nb\\r\\nc\\td"],
      ["\0\x07\x08\x1b[2J\x7f", "\\x00\\x07\\x08\\x1b[2J\\x7f"],
      ["\x80\x9b31m\x9f", "\\x80\\x9b31m\\x9f"],
      ["a\u2028b\u2029c", "a\\u2028b\\u2029c"],
      ["\u202egnp.exe", "\\u202egnp.exe"],
      ["\u061c\u200e\u200f\u2066\u2069", "\\u061c\\u200e\\u200f\\u2066\\u2069"],
      ["C:\\new", "C:\\new"],
      ["\u00a0\u200d", "\u00a0\u200d"],
    ]
  ) assertEquals(escapeText(text), expected);
});

Deno.test("text: clean text is returned as it is", () => {
  const text = "The quick brown fox".repeat(100);
  assertStrictEquals(escapeText(text), text);
});

Deno.test("text: no text at all keeps an unsafe character", () => {
  const any = fc.string({ unit: "binary" });
  fc.assert(fc.property(any, (text) => {
    const escaped = escapeText(text);
    return !UNSAFE.test(escaped) && escapeText(escaped) === escaped;
  }));
});

Deno.test("text: escaped JSON is pure and has the same value", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const json = escapeJson(JSON.stringify({ [text]: text }));
    assertEquals(JSON.parse(json), { [text]: text });
    return !UNSAFE.test(json);
  }));
});

Deno.test("text: a cut text says how much is missing and splits no pair", () => {
  for (
    const [text, charactersMax, expected] of [
      ["abc", 3, "abc"],
      ["abcd", 3, "abc… (1 more characters)"],
      ["ab👋c", 3, "ab… (3 more characters)"],
      ["ab👋c", 4, "ab👋… (1 more characters)"],
    ] as const
  ) assertEquals(cutText(text, charactersMax), expected);
});
