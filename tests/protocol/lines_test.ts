import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type WireCode, WireError } from "../../protocol/errors.ts";
import { LINE_BYTES_MAX } from "../../protocol/limits.ts";
import { countLines, wholeLinesEnd } from "../../protocol/lines.ts";
import { anyBytes, bytesOf, joined } from "./splits.ts";

function refused(bytes: Uint8Array, code: WireCode, note?: string): WireError {
  const error = assertThrows(() => countLines(bytes), WireError, "", note);
  assertEquals(error.code, code, note);
  return error;
}

Deno.test("lines: each newline ends one", () => {
  const cases: [string, number][] = [
    ["\n", 1],
    ["\n\n\n", 3],
    ["a\n", 1],
    ["a\nb\n", 2],
    ["a\r\nb\r\n", 2],
    ["\r\n", 1],
    ["é€😀\n\t \u007f\n", 2],
    ["\ufeffa\n", 1],
  ];
  for (const [text, count] of cases) {
    assertEquals(countLines(bytesOf(text)), count, JSON.stringify(text));
  }
});

Deno.test("lines: text without a last newline is refused, with its length", () => {
  for (const text of ["", "a", "a\nb", "a\r"]) {
    const error = refused(bytesOf(text), "invalid-message", text);
    assertStringIncludes(
      error.message,
      `text of ${bytesOf(text).length} bytes`,
    );
  }
});

Deno.test("lines: a NUL byte is refused wherever it stands", () => {
  for (const text of ["\0\n", "a\0b\n", "a\nb\0\n", "a\n\0\nb\n", "é\0\n"]) {
    refused(bytesOf(text), "nul-byte", JSON.stringify(text));
  }
});

Deno.test("lines: what is not UTF-8 is refused", () => {
  const wrong = [
    [0xff],
    [0x80],
    [0xc3],
    [0xc0, 0x80], // NUL in too many bytes
    [0xe0, 0x80, 0xaf], // a slash in too many bytes
    [0xed, 0xa0, 0x80], // half a surrogate pair
    [0xf4, 0x90, 0x80, 0x80], // above U+10FFFF
    [0xf0, 0x9f, 0x98], // a character cut short
  ];
  for (const bytes of wrong) {
    const note = bytes.map((byte) => byte.toString(16)).join(" ");
    refused(Uint8Array.from([...bytes, 10]), "invalid-utf8", note);
    refused(Uint8Array.from([97, 10, ...bytes, 10, 98, 10]), "invalid-utf8");
  }
});

Deno.test("lines: a character cut anywhere is refused, cut nowhere it passes", () => {
  const character = fc.constantFrom("é", "ß", "€", "字", "😀", "𝄞");
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme" }).filter((text) => !/[\0\n]/.test(text)),
      character,
      fc.nat(2),
      (before, character, place) => {
        const whole = bytesOf(character);
        const head = whole.subarray(0, 1 + (place % (whole.length - 1)));
        const tail = whole.subarray(head.length);
        const end = Uint8Array.of(10);
        refused(joined([bytesOf(before), head, end]), "invalid-utf8");
        refused(joined([bytesOf(before), tail, end]), "invalid-utf8");
        refused(joined([head, end, tail, end]), "invalid-utf8");
        assertEquals(countLines(joined([bytesOf(before), whole, end])), 1);
      },
    ),
  );
});

Deno.test("lines: one of the largest length passes, one byte more is refused by both numbers", () => {
  const line = (bytes: number) => bytesOf(`${"x".repeat(bytes)}\n`);
  assertEquals(LINE_BYTES_MAX, 65_536);
  assertEquals(countLines(line(LINE_BYTES_MAX)), 1);
  const two = joined([line(LINE_BYTES_MAX), line(LINE_BYTES_MAX)]);
  assertEquals(countLines(two), 2);
  for (
    const bytes of [
      line(LINE_BYTES_MAX + 1),
      joined([line(3), line(LINE_BYTES_MAX + 1), line(3)]),
    ]
  ) {
    const error = refused(bytes, "too-large");
    assertStringIncludes(error.message, "65537");
    assertStringIncludes(error.message, "65536");
  }
  // The bound is of bytes, not of characters.
  refused(bytesOf(`${"é".repeat(LINE_BYTES_MAX / 2)}x\n`), "too-large");
});

Deno.test("lines: a view of a larger buffer is read alone", () => {
  const bytes = bytesOf("\0\xff\na\nb\nc\0");
  const start = bytes.indexOf(10) + 1;
  assertEquals(countLines(bytes.subarray(start, start + 4)), 2);
});

Deno.test("lines: text is counted wherever it stands in memory, as one counts it byte by byte", () => {
  // Around a newline and around the highest bit, where words may deceive.
  const byte = fc.constantFrom(1, 9, 10, 11, 12, 13, 32, 97, 126, 127);
  const text = fc.array(byte, { maxLength: 90, size: "max" });
  const place = fc.integer({ min: 0, max: 90 });
  fc.assert(
    fc.property(text, fc.nat(9), place, (text, offset, nulAt) => {
      const memory = new Uint8Array(offset + text.length + 1).fill(10);
      memory.set(text, offset);
      const bytes = memory.subarray(offset);
      assertEquals(
        countLines(bytes),
        bytes.filter((byte) => byte === 10).length,
      );
      if (nulAt >= text.length) return;
      bytes[nulAt] = 0;
      refused(bytes, "nul-byte");
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("lines: random bytes are counted, or refused with a WireError", () => {
  const piece = fc.oneof(
    anyBytes(30),
    fc.constantFrom(bytesOf("a\n"), bytesOf("\n"), bytesOf("é\n")),
  );
  fc.assert(fc.property(fc.array(piece), (pieces) => {
    const bytes = joined(pieces);
    try {
      const count = countLines(bytes);
      assertEquals(count, bytes.filter((byte) => byte === 10).length);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
    }
  }));
});

Deno.test("lines: the whole ones end after the last newline before a place", () => {
  const bytes = bytesOf("a\nbc\n\nd");
  const ends = [0, 0, 2, 2, 2, 5, 6, 6];
  for (const [end, expected] of ends.entries()) {
    assertEquals(wholeLinesEnd(bytes, end), expected, `${end}`);
  }
  fc.assert(fc.property(anyBytes(50), fc.nat(50), (bytes, place) => {
    const end = Math.min(place, bytes.length);
    let expected = 0;
    for (let i = 0; i < end; i++) if (bytes[i] === 10) expected = i + 1;
    assertEquals(wholeLinesEnd(bytes, end), expected);
  }));
});
