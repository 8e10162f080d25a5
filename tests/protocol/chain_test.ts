import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  DATA_HEADER_BYTES,
  encodeAck,
  encodeRoute,
  readAck,
  readAnswers,
  readDataHead,
  readRoute,
  type Route,
  writeDataHead,
} from "../../protocol/chain.ts";
import { isWireCode, WIRE_CODES, WireError } from "../../protocol/errors.ts";
import {
  encodeFrame,
  FRAME,
  FrameReader,
  writeUint32,
} from "../../protocol/frame.ts";
import { encodeError, PeerError } from "../../protocol/handshake.ts";
import {
  ERROR_TEXT_CHARACTERS_MAX,
  ROUTE_NODES_MAX,
} from "../../protocol/limits.ts";
import { anyBytes, bytesOf, cutAt, joined, places } from "./splits.ts";

const head = fc.record({
  client: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  offset: fc.maxSafeNat(),
  messages: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  base: fc.boolean(),
  pipelined: fc.boolean(),
});

const route: fc.Arbitrary<Route> = fc.record({
  nodes: fc.array(
    fc.record({
      id: fc.stringMatching(/^[A-Za-z0-9._:-]{1,64}$/),
      incarnation: fc.stringMatching(/^[0-9a-f]{16}$/),
    }),
    { minLength: 1, maxLength: ROUTE_NODES_MAX },
  ),
  complete: fc.boolean(),
  problem: fc.record({
    code: fc.constantFrom(...Object.keys(WIRE_CODES).filter(isWireCode)),
    text: fc.string({ unit: "binary", maxLength: ERROR_TEXT_CHARACTERS_MAX }),
  }),
}, { requiredKeys: ["nodes", "complete"] });

function payloadOf(frame: Uint8Array, kind: number): Uint8Array {
  const reader = new FrameReader();
  reader.push(frame);
  const read = reader.next();
  assertEquals(read?.kind, kind);
  assertEquals(reader.takeRest().length, 0);
  return read?.payload ?? new Uint8Array(0);
}

function refused(read: () => unknown, note?: string): WireError {
  const error = assertThrows(read, WireError, "", note);
  assertEquals(error.code, "invalid-message", note);
  return error;
}

Deno.test("chain words: the head of data is read as it was written, wherever it stands", () => {
  const any = fc.tuple(head, fc.integer({ min: 1, max: 99 }), fc.nat(50));
  fc.assert(fc.property(any, ([head, textBytes, at]) => {
    const bytes = new Uint8Array(at + DATA_HEADER_BYTES + textBytes);
    const frame = bytes.subarray(at);
    writeDataHead(frame, { ...head, textBytes });
    const { kind, payload } = firstFrame(frame);
    assertEquals(kind, FRAME.chainData);
    assertEquals(payload.length, frame.length - 5);
    assertEquals(readDataHead(bytes, at, frame.length), head);
  }));
});

function firstFrame(bytes: Uint8Array) {
  const reader = new FrameReader();
  reader.push(bytes);
  const frame = reader.next();
  assert(frame !== undefined, "no whole frame");
  return frame;
}

Deno.test("chain words: data has its bytes in the order of the page", () => {
  const bytes = new Uint8Array(DATA_HEADER_BYTES + 2).fill(0xee);
  writeDataHead(bytes, {
    client: 0x0102030405060708n,
    offset: 0x0a0b0c0d0e,
    messages: 1,
    base: true,
    pipelined: true,
    textBytes: 2,
  });
  assertEquals(
    Array.from(bytes),
    [
      ...[0, 0, 0, 24, 16, 3, 1, 2, 3, 4, 5, 6, 7, 8],
      ...[0, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0, 0, 0, 1, 0xee, 0xee],
    ],
  );
});

Deno.test("chain words: data without text, or shorter, is refused with both numbers", () => {
  for (const length of [5, 6, DATA_HEADER_BYTES]) {
    const error = refused(() => readDataHead(new Uint8Array(64), 0, length));
    assertStringIncludes(
      error.message,
      `length is ${length} bytes, at least 27 are needed`,
    );
  }
  readDataHead(new Uint8Array(64), 0, DATA_HEADER_BYTES + 1);
});

Deno.test("chain words: data at an offset above 2^53 - 1 is refused", () => {
  const bytes = new Uint8Array(DATA_HEADER_BYTES + 1);
  writeUint32(bytes, 14, 0x20_0000);
  refused(() => readDataHead(bytes, 0, bytes.length));
});

Deno.test("chain words: an ack is read as it was written", () => {
  fc.assert(fc.property(fc.maxSafeNat(), (position) => {
    const payload = payloadOf(encodeAck(position), FRAME.chainAck);
    assertEquals(readAck(payload), position);
  }));
});

Deno.test("chain words: an ack of another length or above 2^53 - 1 is refused", () => {
  for (const length of [0, 7, 9]) {
    const error = refused(() => readAck(new Uint8Array(length)));
    assertStringIncludes(error.message, `length is ${length} bytes, wanted 8`);
  }
  refused(() => readAck(new Uint8Array(8).fill(0xff)));
});

Deno.test("chain words: a route is read as it was written", () => {
  fc.assert(fc.property(route, (route) => {
    const payload = payloadOf(encodeRoute(route), FRAME.chainRoute);
    assertEquals(readRoute(payload), route);
  }));
});

Deno.test("chain words: a route's problem of any length reaches those before", () => {
  const text = "x".repeat(ERROR_TEXT_CHARACTERS_MAX + 1);
  const nodes = [{ id: "a", incarnation: "0".repeat(16) }];
  const encoded = encodeRoute({
    nodes,
    complete: false,
    problem: { code: "cycle", text },
  });
  const { problem } = readRoute(payloadOf(encoded, FRAME.chainRoute));
  assertEquals(problem, {
    code: "cycle",
    text: text.slice(0, ERROR_TEXT_CHARACTERS_MAX),
  });
});

Deno.test("chain words: a route's code that is not known here is not passed on", () => {
  const read = readRoute(bytesOf(JSON.stringify({
    nodes: [{ id: "a", incarnation: "0".repeat(16), since: 9 }],
    complete: false,
    problem: { code: "not-invented-yet", text: "why" },
    later: true,
  })));
  assertEquals(read.problem, { code: "link-lost", text: "why" });
});

Deno.test("chain words: malformed routes are refused", () => {
  const node = { id: "a", incarnation: "0123456789abcdef" };
  const good = { nodes: [node], complete: true };
  readRoute(bytesOf(JSON.stringify(good)));
  const wrong: unknown[] = [
    ...[null, 1, "x", [], {}, { nodes: [node] }, { complete: true }],
    { ...good, nodes: [] },
    { ...good, nodes: Array.from({ length: 65 }, () => node) },
    { ...good, nodes: [{ id: "a" }] },
    { ...good, nodes: [{ ...node, id: "" }] },
    { ...good, nodes: [{ ...node, id: "a b" }] },
    { ...good, nodes: [{ ...node, id: "a\n" }] },
    { ...good, nodes: [{ ...node, id: "a".repeat(65) }] },
    { ...good, nodes: [{ ...node, incarnation: "0123456789ABCDEF" }] },
    { ...good, nodes: [{ ...node, incarnation: "0123" }] },
    { ...good, complete: "true" },
    { ...good, problem: null },
    { ...good, problem: { code: "busy" } },
    { ...good, problem: { code: "busy", text: "x".repeat(1_025) } },
    { ...good, problem: { code: "x".repeat(33), text: "x" } },
  ];
  for (const value of wrong) {
    const text = JSON.stringify(value);
    refused(() => readRoute(bytesOf(text)), text.slice(0, 99));
  }
  refused(() => readRoute(bytesOf("{")));
  assertEquals(
    assertThrows(() => readRoute(Uint8Array.of(0xff)), WireError).code,
    "invalid-utf8",
  );
});

/** What was handed to the handlers. */
function answersOf(pieces: readonly Uint8Array[]) {
  const acks: number[] = [];
  const routes: Route[] = [];
  const reader = new FrameReader();
  let error: unknown;
  try {
    for (const piece of pieces) {
      reader.push(piece);
      readAnswers(reader, {
        ack: (position) => acks.push(position),
        route: (route) => routes.push(route),
      });
    }
  } catch (thrown) {
    error = thrown;
  }
  return { acks, routes, error };
}

const ROUTE: Route = {
  nodes: [{ id: "tail", incarnation: "00000000000000aa" }],
  complete: true,
};

Deno.test("chain words: every answer reaches its handler, however it is cut", () => {
  const answers = joined([
    encodeRoute(ROUTE),
    encodeAck(10),
    encodeFrame(FRAME.beat),
    encodeAck(20),
    encodeRoute({ ...ROUTE, complete: false }),
  ]);
  fc.assert(fc.property(places, (cuts) => {
    assertEquals(answersOf(cutAt(answers, cuts)), {
      acks: [10, 20],
      routes: [ROUTE, { ...ROUTE, complete: false }],
      error: undefined,
    });
  }));
});

Deno.test("chain words: an error frame is the peer's farewell, after what came before it", () => {
  const farewell = encodeError(
    new WireError("shutting-down", "n2 is stopping"),
  );
  const { acks, error } = answersOf([
    joined([encodeAck(5), farewell, encodeAck(6)]),
  ]);
  assertEquals(acks, [5]);
  assertInstanceOf(error, PeerError);
  assertEquals(
    [error.code, error.message],
    ["shutting-down", "n2 is stopping"],
  );
});

Deno.test("chain words: no other frame is an answer", () => {
  for (const kind of [FRAME.chainData, FRAME.hello, FRAME.welcome, 0, 255]) {
    const { error } = answersOf([encodeFrame(kind, new Uint8Array(30))]);
    assertInstanceOf(error, WireError);
    assert(!(error instanceof PeerError));
    assertEquals(error.code, "invalid-message");
    assertStringIncludes(error.message, `kind ${kind}`);
  }
});

Deno.test("chain words: random answers are taken, or refused with a WireError", () => {
  const kinds = fc.constantFrom(...Object.values(FRAME), 99);
  const frame = fc.tuple(kinds, anyBytes(40)).map(([kind, payload]) =>
    encodeFrame(kind, payload)
  );
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 5 }), places, (list, cuts) => {
      const { error } = answersOf(cutAt(joined(list), cuts));
      assert(error === undefined || error instanceof WireError, `${error}`);
    }),
    { numRuns: 500 },
  );
});
