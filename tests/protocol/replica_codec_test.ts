import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import type { Epoch } from "../../protocol/epoch.ts";
import { WireError } from "../../protocol/errors.ts";
import {
  encodeFrame,
  FRAME,
  type Frame,
  FRAME_HEADER_BYTES,
  FrameReader,
  writeUint32,
} from "../../protocol/frame.ts";
import { FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import {
  COMMAND_BYTES_MAX,
  type LogEntry,
  type ReplicaMessage,
} from "../../protocol/replica.ts";
import {
  decodeReplicaMessage,
  encodeReplicaMessage,
} from "../../protocol/replica_codec.ts";
import {
  encodeReplicaHello,
  readReplicaHello,
} from "../../protocol/replica_talk.ts";
import { anyHello, anyMessage } from "./replica_messages.ts";
import { anyBytes, arrivals, bytesOf, joined } from "./splits.ts";

const EPOCH: Epoch = { counter: 7, store: "00c0ffee00c0ffee" };
const OLDER: Epoch = { counter: 6, store: "ffffffffffffffff" };

function framesOf(pieces: readonly Uint8Array[]): Frame[] {
  const reader = new FrameReader();
  const frames: Frame[] = [];
  for (const piece of pieces) {
    reader.push(piece);
    for (let frame = reader.next(); frame; frame = reader.next()) {
      frames.push(frame);
    }
  }
  assertEquals(reader.takeRest().length, 0);
  return frames;
}

function oneFrame(message: ReplicaMessage): Frame {
  const frames = framesOf([encodeReplicaMessage(message)]);
  assertEquals(frames.length, 1);
  return frames[0];
}

function entry(index: number, bytes: number, epoch = EPOCH): LogEntry {
  return { index, epoch, command: new Uint8Array(bytes).fill(index) };
}

function append(entries: readonly LogEntry[]): ReplicaMessage {
  const previous = { index: 4, epoch: OLDER };
  return { kind: "append", epoch: EPOCH, previous, commit: 3, entries };
}

Deno.test("replica words: every message is read as it was written", () => {
  const kinds = new Set<string>();
  fc.assert(
    fc.property(anyMessage, (message) => {
      kinds.add(message.kind);
      assertEquals(decodeReplicaMessage(oneFrame(message)), message);
    }),
    { numRuns: 1_000 },
  );
  assertEquals(kinds.size, 23);
});

Deno.test("replica words: a message is read however it arrives", () => {
  const message = append([
    entry(5, 300, OLDER),
    entry(6, 0, OLDER),
    entry(7, 1),
  ]);
  const other: ReplicaMessage = {
    kind: "leaving",
    reason: "disk is damaged",
    isForGood: false,
  };
  const bytes = [message, other].map(encodeReplicaMessage);
  for (const { name, pieces } of arrivals(joined(bytes))) {
    const read = framesOf(pieces).map(decodeReplicaMessage);
    assertEquals(read, [message, other], name);
  }
});

Deno.test("replica words: hello is read as it was written, and unknown fields are ignored", () => {
  fc.assert(fc.property(anyHello, (hello) => {
    const [frame] = framesOf([encodeReplicaHello(hello)]);
    assertEquals(frame.kind, FRAME.replicaHello);
    assertEquals(readReplicaHello(frame.payload), hello);
    const more = { ...hello, color: "red" };
    assertEquals(readReplicaHello(bytesOf(JSON.stringify(more))), hello);
  }));
});

Deno.test("replica words: an append has its bytes in the order of the page", () => {
  const message = append([entry(5, 2, OLDER), entry(6, 1)]);
  const store = [0, 0xc0, 0xff, 0xee, 0, 0xc0, 0xff, 0xee];
  const older = [...[0, 0, 0, 0, 0, 0, 0, 6], ...Array(8).fill(0xff)];
  assertEquals(Array.from(encodeReplicaMessage(message)), [
    ...[0, 0, 0, 96, 33],
    ...[...[0, 0, 0, 0, 0, 0, 0, 7], ...store],
    ...[0, 0, 0, 0, 0, 0, 0, 4, ...older],
    ...[0, 0, 0, 0, 0, 0, 0, 3],
    ...[0, 0, 0, 2],
    ...[0x80, 0, 0, 2, ...older, 5, 5],
    ...[0x80, 0, 0, 1, ...[0, 0, 0, 0, 0, 0, 0, 7], ...store, 6],
  ]);
});

Deno.test("replica words: an append that no frame holds becomes several, each complete in itself", () => {
  const sizes = [
    COMMAND_BYTES_MAX,
    COMMAND_BYTES_MAX,
    1,
    COMMAND_BYTES_MAX,
    0,
    100_000,
    100_000,
    100_000,
  ];
  const entries = sizes.map((bytes, i) =>
    entry(i + 5, bytes, i < 4 ? OLDER : EPOCH)
  );
  const frames = framesOf([encodeReplicaMessage(append(entries))]);
  assertEquals(frames.length, 4);
  let previous = { index: 4, epoch: OLDER };
  const read: LogEntry[] = [];
  for (const frame of frames) {
    assertLessOrEqual(
      frame.payload.length + FRAME_HEADER_BYTES,
      FRAME_BYTES_MAX,
    );
    const message = decodeReplicaMessage(frame);
    assert(message.kind === "append");
    assertEquals(message.previous, previous);
    assertEquals([message.epoch, message.commit], [EPOCH, 3]);
    read.push(...message.entries);
    const { index, epoch } = read[read.length - 1];
    previous = { index, epoch };
  }
  assertEquals(read, entries);
});

Deno.test("replica words: what is forwarded and fetched is split as well", () => {
  const entries = Array.from({ length: 9 }, (_, i) => entry(i + 1, 90_000));
  const fetched = framesOf([
    encodeReplicaMessage({ kind: "fetched", entries }),
  ]).map(decodeReplicaMessage);
  assertEquals(fetched.length, 5);
  assertEquals(
    fetched.flatMap((message) =>
      message.kind === "fetched" ? message.entries : []
    ),
    entries,
  );
  const commands = entries.map(({ command }) => command);
  const forwards = framesOf([
    encodeReplicaMessage({ kind: "forward", commands }),
  ]).map(decodeReplicaMessage);
  assertEquals(forwards.length, 5);
  assertEquals(
    forwards.flatMap((message) =>
      message.kind === "forward" ? message.commands : []
    ),
    commands,
  );
});

Deno.test("replica words: a frame filled to its last byte is one frame", () => {
  // Header, head of an append, and the lengths of two entries.
  const room = FRAME_BYTES_MAX - FRAME_HEADER_BYTES - 52 - 2 * 4;
  const entries = [
    entry(5, COMMAND_BYTES_MAX),
    entry(6, room - COMMAND_BYTES_MAX),
  ];
  const frame = encodeReplicaMessage(append(entries));
  assertEquals(frame.length, FRAME_BYTES_MAX);
  assertEquals(oneFrame(append(entries)).kind, FRAME.replicaAppend);
  const more = [entries[0], entry(6, room - COMMAND_BYTES_MAX + 1)];
  assertEquals(framesOf([encodeReplicaMessage(append(more))]).length, 2);
});

Deno.test("replica words: entries outlive the buffer they were read from, and share one copy and one epoch", () => {
  const bytes = encodeReplicaMessage(append([entry(5, 10), entry(6, 20)]));
  const [{ kind }] = framesOf([bytes]);
  const payload = bytes.subarray(FRAME_HEADER_BYTES);
  const message = decodeReplicaMessage({ kind, payload });
  bytes.fill(0xee);
  assert(message.kind === "append");
  const [one, two] = message.entries;
  assertEquals(one.command, new Uint8Array(10).fill(5));
  assert(one.command.buffer !== bytes.buffer);
  assertStrictEquals(one.command.buffer, two.command.buffer);
  assertStrictEquals(one.epoch, message.epoch);
});

Deno.test("replica words: our own mistakes are not sent", () => {
  const large = entry(5, COMMAND_BYTES_MAX + 1);
  const wrong: [ReplicaMessage, string][] = [
    [append([large]), "131073 bytes, limit is 131072"],
    [{ kind: "fetched", entries: [large] }, "131073 bytes"],
    [{ kind: "forward", commands: [large.command] }, "131073 bytes"],
    [append([entry(6, 1)]), "index 6 stands where 5 belongs"],
    [
      { kind: "fetched", entries: [entry(6, 1), entry(8, 1)] },
      "index 8 stands where 7 belongs",
    ],
  ];
  for (const [message, text] of wrong) {
    assertThrows(() => encodeReplicaMessage(message), RangeError, text);
  }
});

Deno.test("replica words: a byte more or less is refused", () => {
  fc.assert(fc.property(anyMessage, (message) => {
    const { kind, payload } = oneFrame(message);
    // White space behind JSON is JSON still.
    const more = joined([payload, Uint8Array.of(0)]);
    refused(() => decodeReplicaMessage({ kind, payload: more }));
    const less = payload.subarray(0, payload.length - 1);
    refused(() => decodeReplicaMessage({ kind, payload: less }));
  }));
});

Deno.test("replica words: random bytes are read or refused, and nothing else", () => {
  const kinds = fc.integer({ min: 0, max: 60 });
  fc.assert(
    fc.property(kinds, anyBytes(300), (kind, payload) => {
      try {
        decodeReplicaMessage({ kind, payload });
      } catch (error) {
        assert(error instanceof WireError, String(error));
      }
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("replica words: a flipped bit is read or refused, and nothing else", () => {
  fc.assert(
    fc.property(anyMessage, fc.nat(), (message, dice) => {
      const { kind, payload } = oneFrame(message);
      if (payload.length === 0) return;
      payload[dice % payload.length] ^= 1 << (dice % 8);
      try {
        decodeReplicaMessage({ kind, payload });
      } catch (error) {
        assert(error instanceof WireError, String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("replica words: a count that cannot be takes no memory", () => {
  for (
    const message of [
      append([]),
      { kind: "forward", commands: [] } as const,
      { kind: "fetched", entries: [] } as const,
    ]
  ) {
    const { kind, payload } = oneFrame(message);
    writeUint32(payload, payload.length - 4, 0xffff_ffff);
    refused(() => decodeReplicaMessage({ kind, payload }));
  }
});

Deno.test("replica words: a command above its bound is refused with both numbers", () => {
  const { kind, payload } = oneFrame({
    kind: "forward",
    commands: [new Uint8Array(COMMAND_BYTES_MAX)],
  });
  const more = joined([payload, Uint8Array.of(0)]);
  writeUint32(more, 4, COMMAND_BYTES_MAX + 1);
  const error = refused(() => decodeReplicaMessage({ kind, payload: more }));
  assertEquals(error.code, "too-large");
  assertStringIncludes(error.message, "131073 bytes, limit is 131072");
});

Deno.test("replica words: numbers beyond 2^53 are refused", () => {
  const { kind, payload } = oneFrame(append([entry(5, 1)]));
  payload.fill(0xff, 16, 24);
  refused(() => decodeReplicaMessage({ kind, payload }));
  // The last index that fits, and one entry after it.
  payload.set([0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 16);
  const error = refused(() => decodeReplicaMessage({ kind, payload }));
  assertStringIncludes(error.message, "1 follow index 9007199254740991");
});

Deno.test("replica words: entries whose epochs go back, or beyond the message's, are refused", () => {
  const later: Epoch = { counter: 8, store: OLDER.store };
  const wrong: readonly (readonly [ReplicaMessage, string])[] = [
    [
      append([entry(5, 1), entry(6, 1, OLDER)]),
      "entry 6 of epoch 6.ffff stands behind epoch 7.00c0",
    ],
    [
      append([entry(5, 1, { ...OLDER, counter: 5 })]),
      "entry 5 of epoch 5.ffff stands behind epoch 6.ffff",
    ],
    [
      append([entry(5, 1), entry(6, 1, later)]),
      "entry 6 of epoch 8.ffff stands in an append of epoch 7.00c0",
    ],
    [
      { kind: "fetched", entries: [entry(5, 1), entry(6, 1, OLDER)] },
      "entry 6 of epoch 6.ffff stands behind epoch 7.00c0",
    ],
  ];
  for (const [message, text] of wrong) {
    const frame = oneFrame(message);
    const error = refused(() => decodeReplicaMessage(frame));
    assertEquals(error.code, "invalid-message");
    assertStringIncludes(error.message, text);
  }
});

Deno.test("replica words: JSON that is no message is refused", () => {
  const wrong = [
    "",
    "null",
    "[]",
    "{}",
    '{"kind":"append"}',
    '{"kind":"election"',
    '{"kind":"pre-vote","round":-1}',
    '{"kind":"pre-vote","round":1.5}',
    '{"kind":"pre-vote","round":"1"}',
    '{"kind":"pre-vote","round":9007199254740992}',
    '{"kind":"prepare","epoch":{"counter":1,"store":"00C0FFEE00C0FFEE"}}',
    '{"kind":"prepare","epoch":{"counter":1,"store":"00"}}',
    '{"kind":"active","view":null}',
    `{"kind":"leaving","reason":"${"x".repeat(201)}"}`,
    "[".repeat(100_000),
  ];
  for (const text of wrong) {
    refused(() =>
      decodeReplicaMessage({
        kind: FRAME.replicaTalk,
        payload: bytesOf(text),
      })
    );
  }
});

Deno.test("replica words: hello with wrong fields is refused", () => {
  const good = {
    store: EPOCH.store,
    kind: "server",
    priority: 0,
    group: "00000000000000a1",
    clientAddress: "127.0.0.1:8091",
  };
  readReplicaHello(bytesOf(JSON.stringify(good)));
  for (
    const [field, value] of [
      ["store", "x"],
      ["kind", "client"],
      ["priority", 0.5],
      ["group", "a"],
      ["clientAddress", "nowhere"],
      ["clientAddress", "127.0.0.1:70000"],
      ["clientAddress", 8091],
    ]
  ) {
    const text = JSON.stringify({ ...good, [String(field)]: value });
    refused(() => readReplicaHello(bytesOf(text)));
  }
});

Deno.test("replica words: a reason is cut to what a peer takes", () => {
  const reason = "x".repeat(300);
  const message = { kind: "leaving", reason, isForGood: true } as const;
  const read = decodeReplicaMessage(oneFrame(message));
  assertEquals(read, { ...message, reason: "x".repeat(200) });
});

Deno.test("replica words: a frame of another kind is refused by number", () => {
  const [frame] = framesOf([encodeFrame(FRAME.chainAck)]);
  const error = refused(() => decodeReplicaMessage(frame));
  assertStringIncludes(error.message, "kind 17");
});

function refused(read: () => unknown): WireError {
  return assertThrows(read, WireError);
}
