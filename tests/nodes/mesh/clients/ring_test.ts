import { assert, assertEquals, assertLess } from "@std/assert";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { textFrame } from "../../../../nodes/mesh/clients/frames.ts";
import { BLOCK_BYTES, Ring } from "../../../../nodes/mesh/clients/ring.ts";

const NOBODY = () => Infinity;

/** All that can be read from `position` on. */
function readFrom(ring: Ring, position: number): string {
  let text = "";
  for (let at = position;;) {
    const span = ring.take(at, Infinity);
    if (span === undefined) return text;
    text += Buffer.from(span.bytes).toString();
    at += span.bytes.length;
  }
}

Deno.test("mesh ring: what was added is read from any position that is kept", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "binary", maxLength: 40 }), { minLength: 1 }),
      (texts) => {
        const ring = new Ring("lines", 4 * BLOCK_BYTES);
        const positions = texts.map((text) => {
          const { end } = ring;
          ring.append(text.replaceAll("\n", " "), () => 0);
          return end;
        });
        const all = texts.map((text) =>
          `${Buffer.from(text.replaceAll("\n", " "))}\n`
        );
        positions.forEach((position, i) =>
          assertEquals(readFrom(ring, position), all.slice(i).join(""))
        );
        assertEquals(ring.take(ring.end, Infinity), undefined);
      },
    ),
  );
});

Deno.test("mesh ring: a span ends where it must, and with its block", () => {
  const ring = new Ring("lines", 8 * BLOCK_BYTES);
  const line = "x".repeat(999);
  for (let i = 0; i < 600; i++) ring.append(line, () => 0);
  assertEquals(ring.end, 600_000);
  assertEquals(ring.take(1_000, 3_000)?.bytes.length, 2_000);
  const first = ring.take(0, Infinity)?.bytes.length ?? 0;
  assertEquals(first, Math.floor(BLOCK_BYTES / 1_000) * 1_000);
  assertEquals(readFrom(ring, 0).length, 600_000);
});

Deno.test("mesh ring: at its bound the oldest goes; what all have read goes before", () => {
  const ring = new Ring("lines", 4 * BLOCK_BYTES);
  const line = "x".repeat(9_999);
  for (let i = 0; i < 500; i++) ring.append(line, () => 0);
  assert(ring.start > 0);
  assertEquals(ring.end, 5_000_000);
  assertEquals(ring.take(0, Infinity), undefined);
  assertEquals(readFrom(ring, ring.start).length, ring.end - ring.start);
  assertEquals(ring.heldBytes <= 8 * BLOCK_BYTES, true);
  const read = new Ring("lines", 4 * BLOCK_BYTES);
  for (let i = 0; i < 500; i++) read.append(line, NOBODY);
  assertLess(read.end - read.start, BLOCK_BYTES);
});

Deno.test("mesh ring: bytes that are being written are not overwritten", () => {
  const ring = new Ring("lines", 2 * BLOCK_BYTES);
  ring.append("first", NOBODY);
  const span = ring.take(0, Infinity);
  assert(span !== undefined);
  span.block.writers += 1;
  const line = "x".repeat(9_999);
  for (let i = 0; i < 500; i++) ring.append(line, NOBODY);
  assertEquals(Buffer.from(span.bytes).toString(), "first\n");
  // The same without a writer, to see that it would be.
  const other = new Ring("lines", 2 * BLOCK_BYTES);
  other.append("first", NOBODY);
  const left = other.take(0, Infinity);
  for (let i = 0; i < 500; i++) other.append(line, NOBODY);
  assertEquals(Buffer.from(left?.bytes ?? "").toString(), "xxxxxx");
});

Deno.test("mesh ring: a message larger than a block has one of its own", () => {
  const ring = new Ring("lines", 2 * BLOCK_BYTES);
  ring.append("a", NOBODY);
  ring.append("x".repeat(2 * BLOCK_BYTES), () => 0);
  ring.append("b", () => 0);
  assertEquals(readFrom(ring, 2).length, 2 * BLOCK_BYTES + 3);
});

Deno.test("mesh ring: forgotten when nobody reads, and used again", () => {
  const ring = new Ring("frames", 2 * BLOCK_BYTES);
  ring.append("one", NOBODY);
  ring.clear();
  assertEquals(ring.heldBytes, 0);
  const { end } = ring;
  ring.append("two", NOBODY);
  assertEquals(
    Buffer.from(ring.take(end, Infinity)?.bytes ?? ""),
    Buffer.from(textFrame("two")),
  );
});

Deno.test("mesh frames: lengths of all three kinds", () => {
  for (const length of [0, 125, 126, 65_535, 65_536, 100_000]) {
    const frame = Buffer.from(textFrame("x".repeat(length)));
    assertEquals(frame[0], 0x81);
    const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
    assertEquals(frame.length, head + length);
    const said = head === 2
      ? frame[1]
      : head === 4
      ? frame.readUInt16BE(2)
      : Number(frame.readBigUInt64BE(2));
    assertEquals(said, length);
  }
});
