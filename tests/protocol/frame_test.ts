import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { WireError } from "../../protocol/errors.ts";
import {
  encodeFrame,
  FRAME,
  FRAME_HEADER_BYTES,
  frameLength,
  FrameReader,
  PREFACE,
  readUint32,
  readUint53,
  writeUint32,
  writeUint53,
} from "../../protocol/frame.ts";
import { FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import {
  anyBytes,
  arrivals,
  bytesOf,
  cutAt,
  joined,
  places,
} from "./splits.ts";

interface CopiedFrame {
  readonly kind: number;
  readonly payload: Uint8Array;
}

const frames: fc.Arbitrary<CopiedFrame[]> = fc.array(
  fc.record({ kind: fc.nat(255), payload: anyBytes(300) }),
  { maxLength: 8 },
);

function read(
  pieces: readonly Uint8Array[],
  reader = new FrameReader(),
): CopiedFrame[] {
  const found: CopiedFrame[] = [];
  for (const piece of pieces) {
    const chunk = piece.slice();
    reader.push(chunk);
    chunk.fill(0xee); // The reader must have copied it.
    let frame = reader.next();
    while (frame !== undefined) {
      found.push({ kind: frame.kind, payload: frame.payload.slice() });
      frame = reader.next();
    }
  }
  return found;
}

function encoded(list: readonly CopiedFrame[]): Uint8Array {
  return joined(list.map(({ kind, payload }) => encodeFrame(kind, payload)));
}

function header(length: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeUint32(bytes, 0, length);
  return bytes;
}

Deno.test("frame: its bytes are a length that counts from the kind on, the kind, the payload", () => {
  assertEquals(
    Array.from(encodeFrame(FRAME.chainAck, Uint8Array.of(7, 8))),
    [0, 0, 0, 3, 17, 7, 8],
  );
  assertEquals(Array.from(encodeFrame(FRAME.beat)), [0, 0, 0, 1, 6]);
});

Deno.test("frame: what was written is read, whole, byte by byte and cut", () => {
  const list = [
    { kind: FRAME.hello, payload: bytesOf("hello") },
    { kind: FRAME.beat, payload: new Uint8Array(0) },
    { kind: FRAME.chainData, payload: new Uint8Array(300).fill(1) },
  ];
  for (const { name, pieces } of arrivals(encoded(list))) {
    assertEquals(read(pieces), list, name);
  }
});

Deno.test("frame: what was written is read, however it is cut", () => {
  fc.assert(fc.property(frames, places, (list, cuts) => {
    assertEquals(read(cutAt(encoded(list), cuts)), list);
  }));
});

Deno.test("frame: bytes after the last whole frame are the rest", () => {
  fc.assert(fc.property(frames, fc.nat(304), places, (list, length, cuts) => {
    const part = encodeFrame(9, new Uint8Array(300)).subarray(0, length);
    const reader = new FrameReader();
    const pieces = cutAt(joined([encoded(list), part]), cuts);
    assertEquals(read(pieces, reader), list);
    assertEquals(reader.takeRest().slice(), part.slice());
    assertEquals(reader.takeRest().length, 0);
    assertEquals(reader.next(), undefined);
  }));
});

Deno.test("frame: random bytes are frames, or a WireError", () => {
  fc.assert(
    fc.property(
      anyBytes(400),
      places,
      fc.integer({ min: 5, max: 100_000 }),
      (bytes, cuts, bytesMax) => {
        try {
          for (
            const frame of read(cutAt(bytes, cuts), new FrameReader(bytesMax))
          ) {
            const length = frame.payload.length + FRAME_HEADER_BYTES;
            if (length > bytesMax) throw new Error(`${length} bytes passed`);
          }
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
        }
      },
    ),
    { numRuns: 1_000 },
  );
});

Deno.test("frame: random bytes behind a small length are frames, or a WireError", () => {
  // Random lengths are nearly always above the bound; these are not.
  const small = fc.tuple(fc.nat(40), anyBytes(40)).map(([length, bytes]) =>
    joined([header(length), bytes])
  );
  fc.assert(
    fc.property(fc.array(small, { maxLength: 6 }), places, (list, cuts) => {
      try {
        read(cutAt(joined(list), cuts));
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
      }
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("frame: one of the largest length passes, one byte more is refused by both numbers", () => {
  const payload = new Uint8Array(FRAME_BYTES_MAX - FRAME_HEADER_BYTES);
  assertEquals(read([encodeFrame(3, payload)]).length, 1);
  const reader = new FrameReader();
  // The four bytes of the length are enough: nothing is kept for it.
  reader.push(header(FRAME_BYTES_MAX + 1 - 4));
  const error = assertThrows(() => reader.next(), WireError);
  assertEquals(error.code, "too-large");
  assertStringIncludes(error.message, "262145");
  assertStringIncludes(error.message, "262144");
});

Deno.test("frame: the bound may be another, and be raised between two frames", () => {
  const reader = new FrameReader(20);
  reader.push(joined([
    encodeFrame(1, new Uint8Array(15)),
    encodeFrame(2, new Uint8Array(16)),
  ]));
  assertEquals(reader.next()?.kind, 1);
  const error = assertThrows(() => reader.next(), WireError);
  assertStringIncludes(error.message, "21 bytes, limit is 20");
  reader.bytesMax = 21;
  assertEquals(reader.next()?.kind, 2);
});

Deno.test("frame: a length too small for the kind is refused", () => {
  const error = assertThrows(() => read([header(0)]), WireError);
  assertEquals(error.code, "invalid-message");
  assertStringIncludes(error.message, "4 bytes, at least 5");
  assertEquals(read([joined([header(1), Uint8Array.of(9)])]), [
    { kind: 9, payload: new Uint8Array(0) },
  ]);
});

Deno.test("frame: its length is not known before four bytes are there", () => {
  const bytes = joined([Uint8Array.of(99), encodeFrame(9, new Uint8Array(3))]);
  for (const end of [1, 2, 3, 4]) assertEquals(frameLength(bytes, 1, end), 0);
  assertEquals(frameLength(bytes, 1, 5), 8);
  assertEquals(frameLength(bytes, 1, 9), 8);
});

Deno.test("frame: the preface cannot be the beginning of a line of text", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assertEquals(bytesOf(text).includes(PREFACE[0]), false);
  }));
  assertEquals(PREFACE.length, 8);
});

Deno.test("frame: numbers come out as they went in", () => {
  fc.assert(fc.property(fc.nat(2 ** 32 - 1), fc.nat(20), (value, at) => {
    const bytes = new Uint8Array(24);
    writeUint32(bytes, at, value);
    assertEquals(readUint32(bytes, at), value);
    const view = new DataView(bytes.buffer);
    assertEquals(view.getUint32(at), value);
  }));
  fc.assert(fc.property(fc.maxSafeNat(), fc.nat(16), (value, at) => {
    const bytes = new Uint8Array(24);
    writeUint53(bytes, at, value);
    assertEquals(readUint53(bytes, at), value);
    const view = new DataView(bytes.buffer);
    assertEquals(view.getBigUint64(at), BigInt(value));
  }));
});

Deno.test("frame: a number above 2^53 - 1 is refused", () => {
  const bytes = new Uint8Array(8);
  writeUint53(bytes, 0, Number.MAX_SAFE_INTEGER);
  assertEquals(readUint53(bytes, 0), Number.MAX_SAFE_INTEGER);
  writeUint32(bytes, 0, 0x20_0000);
  writeUint32(bytes, 4, 0);
  const error = assertThrows(() => readUint53(bytes, 0), WireError);
  assertEquals(error.code, "invalid-message");
  assertStringIncludes(error.message, "2097152, limit is 2097151");
});
