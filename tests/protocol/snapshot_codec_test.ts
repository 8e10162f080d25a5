import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { WireError } from "../../protocol/errors.ts";
import { FRAME, FrameReader } from "../../protocol/frame.ts";
import { FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import {
  encodeSnapshotAsk,
  encodeSnapshotChunk,
  encodeSnapshotGet,
  encodeSnapshotInfo,
  readSnapshotChunk,
  readSnapshotGet,
  readSnapshotInfo,
  SNAPSHOT_CHUNK_BYTES_MAX,
  SNAPSHOT_CHUNKS_MAX,
} from "../../protocol/snapshot_codec.ts";
import { anyEpoch } from "./replica_messages.ts";
import { anyBytes, bytesOf } from "./splits.ts";

function payloadOf(frame: Uint8Array, kind: number): Uint8Array {
  const reader = new FrameReader();
  reader.push(frame);
  const read = reader.next();
  assertEquals([read?.kind, reader.takeRest().length], [kind, 0]);
  return read?.payload ?? new Uint8Array(0);
}

const info = fc.record({
  index: fc.maxSafeNat(),
  epoch: anyEpoch,
  chunks: fc.integer({ min: 1, max: SNAPSHOT_CHUNKS_MAX }),
  bytes: fc.maxSafeNat(),
  digest: fc.string({ maxLength: 128 }),
});

Deno.test("snapshot words: what is written is read", () => {
  const any = fc.record({
    index: fc.maxSafeNat(),
    chunk: fc.nat(2 ** 32 - 1),
    bytes: fc.uint8Array({ minLength: 1 }),
  });
  fc.assert(fc.property(info, any, (info, piece) => {
    const told = payloadOf(encodeSnapshotInfo(info), FRAME.snapshotInfo);
    assertEquals(readSnapshotInfo(told), info);
    const { index, chunk } = piece;
    const asked = payloadOf(encodeSnapshotGet(piece), FRAME.snapshotGet);
    assertEquals(readSnapshotGet(asked), { index, chunk });
    const sent = payloadOf(encodeSnapshotChunk(piece), FRAME.snapshotChunk);
    assertEquals(readSnapshotChunk(sent), piece);
  }));
  assertEquals(
    payloadOf(encodeSnapshotAsk(), FRAME.snapshotAsk),
    bytesOf("{}"),
  );
});

Deno.test("snapshot words: the largest piece fills a frame", () => {
  const bytes = new Uint8Array(SNAPSHOT_CHUNK_BYTES_MAX);
  const frame = encodeSnapshotChunk({ index: 1, chunk: 0, bytes });
  assertEquals(frame.length, FRAME_BYTES_MAX);
  for (const length of [0, SNAPSHOT_CHUNK_BYTES_MAX + 1]) {
    const bytes = new Uint8Array(length);
    assertThrows(
      () => encodeSnapshotChunk({ index: 1, chunk: 0, bytes }),
      RangeError,
      `it has ${length} bytes, wanted 1 to ${SNAPSHOT_CHUNK_BYTES_MAX}`,
    );
  }
});

Deno.test("snapshot words: anything else is refused", () => {
  const good = {
    index: 1,
    epoch: { counter: 1, store: "00000000000000aa" },
    chunks: 1,
    bytes: 1,
    digest: "",
  };
  readSnapshotInfo(bytesOf(JSON.stringify(good)));
  for (
    const change of [
      { index: -1 },
      { epoch: null },
      { chunks: 0 },
      { chunks: SNAPSHOT_CHUNKS_MAX + 1 },
      { bytes: 0.5 },
      { digest: "x".repeat(129) },
      { digest: 1 },
    ]
  ) {
    const text = JSON.stringify({ ...good, ...change });
    assertThrows(() => readSnapshotInfo(bytesOf(text)), WireError);
  }
  for (const length of [0, 11, 12, 13]) {
    const bytes = new Uint8Array(length);
    if (length !== 12) assertThrows(() => readSnapshotGet(bytes), WireError);
    if (length < 13) assertThrows(() => readSnapshotChunk(bytes), WireError);
  }
  fc.assert(fc.property(anyBytes(40), (bytes) => {
    for (const read of [readSnapshotInfo, readSnapshotGet, readSnapshotChunk]) {
      try {
        read(bytes);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
      }
    }
  }));
});
