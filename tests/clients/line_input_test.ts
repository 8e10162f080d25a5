import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertRejects,
} from "@std/assert";
import fc from "fast-check";
import { type ByteSource, LineInput } from "../../clients/line_input.ts";
import { SEND_TEXT_BYTES_MAX } from "../../clients/send_core.ts";
import { LINE_BYTES_MAX } from "../../protocol/limits.ts";
import { countLines } from "../../protocol/lines.ts";
import {
  bytesOf,
  cutAt,
  everyByte,
  joined,
  places,
  sameBytes,
  textOf,
} from "../protocol/splits.ts";

/** Gives these pieces, each in as many reads as it takes. */
class Pieces implements ByteSource {
  readonly #pieces: Uint8Array[];

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces.filter((piece) => piece.length > 0);
  }

  read(into: Uint8Array): Promise<number | null> {
    assert(into.length > 0, "a read without room");
    const piece = this.#pieces.shift();
    if (piece === undefined) return Promise.resolve(null);
    const part = piece.subarray(0, into.length);
    into.set(part);
    if (part.length < piece.length) {
      this.#pieces.unshift(piece.subarray(part.length));
    }
    return Promise.resolve(part.length);
  }
}

/** Reads to the end; refused lines as "LINE CODE". */
async function readAll(
  pieces: readonly Uint8Array[],
  blockBytesMax = SEND_TEXT_BYTES_MAX,
) {
  const refused: string[] = [];
  const input = new LineInput(new Pieces(pieces), {
    blockBytesMax,
    onRefused: (line, error) => refused.push(`${line} ${error.code}`),
  });
  const blocks: Uint8Array[] = [];
  let messages = 0;
  for (let block = await input.next(); block; block = await input.next()) {
    assertEquals(countLines(block.text), block.messages);
    assertLessOrEqual(block.text.length, blockBytesMax);
    messages += block.messages;
    blocks.push(block.text);
  }
  assertEquals(await input.next(), undefined);
  assertEquals(input.refused, refused.length);
  return { text: joined(blocks), blocks: blocks.length, messages, refused };
}

const goodLine = fc.oneof(
  { weight: 9, arbitrary: fc.string({ unit: "grapheme" }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom("", "\r", "x".repeat(65_536), "é".repeat(9_000)),
  },
).map((text) => text.replaceAll(/[\0\n]/g, ""));

Deno.test("line input: valid text comes out as it went in, however it is cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(goodLine, { maxLength: 20 }),
      places,
      async (lines, cuts) => {
        const bytes = bytesOf(lines.map((line) => `${line}\n`).join(""));
        const { text, messages, refused } = await readAll(cutAt(bytes, cuts));
        assert(sameBytes(text, bytes), "another text");
        assertEquals([messages, refused], [lines.length, []]);
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("line input: valid text comes out as it went in, byte by byte", async () => {
  const bytes = bytesOf("one\n\n€😀\r\n three\n");
  const { text, messages } = await readAll(everyByte(bytes));
  assertEquals([textOf(text), messages], [textOf(bytes), 4]);
});

Deno.test("line input: nothing at all is no message", async () => {
  assertEquals((await readAll([])).messages, 0);
});

Deno.test("line input: a last line without a newline gets one", async () => {
  for (const pieces of [[bytesOf("a\nb")], everyByte(bytesOf("a\nb"))]) {
    const { text, messages } = await readAll(pieces);
    assertEquals([textOf(text), messages], ["a\nb\n", 2]);
  }
});

Deno.test("line input: bad lines are left out and told by number, the others are not affected", async () => {
  const before = joined([
    bytesOf("one\n"),
    Uint8Array.of(0xff, 10),
    bytesOf("three\n\0\nfive\n"),
  ]);
  const long = new Uint8Array(LINE_BYTES_MAX + 1).fill(97);
  const after = joined([bytesOf("\nseven\n"), Uint8Array.of(0xc3)]);
  const bytes = joined([before, long, after]);
  const expected = [
    "2 invalid-utf8",
    "4 nul-byte",
    "6 too-large",
    "8 invalid-utf8",
  ];
  const cuts = [
    [bytes],
    [...everyByte(before), long, ...everyByte(after)],
    cutAt(bytes, [5, 7, 20, 40_000]),
  ];
  for (const pieces of cuts) {
    const { text, messages, refused } = await readAll(pieces);
    assertEquals(textOf(text), "one\nthree\nfive\nseven\n");
    assertEquals([messages, refused], [4, expected]);
  }
});

Deno.test("line input: a line far above the bound is told once, wherever it ends", async () => {
  const long = new Uint8Array(1_000_000).fill(97);
  const inside = await readAll([bytesOf("a\n"), long, bytesOf("\nb\n")]);
  assertEquals([textOf(inside.text), inside.refused], ["a\nb\n", [
    "2 too-large",
  ]]);
  const last = await readAll([bytesOf("a\n"), long]);
  assertEquals([textOf(last.text), last.refused], ["a\n", ["2 too-large"]]);
});

Deno.test("line input: one line of any length around the block is taken or told", async () => {
  const blockBytesMax = LINE_BYTES_MAX + 10;
  for (
    let length = LINE_BYTES_MAX - 5;
    length < LINE_BYTES_MAX + 30;
    length++
  ) {
    const bytes = bytesOf(`a\n${"x".repeat(length)}\nb\n`);
    const { messages, refused } = await readAll([bytes], blockBytesMax);
    const isGood = length <= LINE_BYTES_MAX;
    assertEquals(messages, isGood ? 3 : 2);
    assertEquals(refused, isGood ? [] : ["2 too-large"]);
  }
});

Deno.test("line input: a block with one bad line costs few blocks", async () => {
  const bytes = new Uint8Array(200_000);
  for (let at = 0; at < bytes.length; at += 2) bytes.set([97, 10], at);
  bytes[99_998] = 0xff;
  const { blocks, messages, refused } = await readAll([bytes]);
  assertEquals([messages, refused], [99_999, ["50000 invalid-utf8"]]);
  assertLessOrEqual(blocks, 60);
});

Deno.test("line input: blocks are the caller's own", async () => {
  const input = new LineInput(
    new Pieces([bytesOf("one\n"), bytesOf("two\n")]),
    { blockBytesMax: SEND_TEXT_BYTES_MAX, onRefused: () => {} },
  );
  const first = await input.next();
  await input.next();
  assertEquals(textOf(first?.text ?? new Uint8Array(0)), "one\n");
});

Deno.test("line input: an input that cannot be read is the caller's to tell", async () => {
  const input = new LineInput(
    { read: () => Promise.reject(new Error("Is a directory")) },
    { blockBytesMax: SEND_TEXT_BYTES_MAX, onRefused: () => {} },
  );
  await assertRejects(() => input.next(), Error, "Is a directory");
});
