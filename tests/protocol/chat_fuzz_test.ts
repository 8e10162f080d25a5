import { Buffer } from "node:buffer";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import {
  type ChatRequest,
  checkText,
  readRequest,
  readUserName,
  RequestError,
  TEXT_BYTES_MAX,
  TEXT_JSON_BYTES_MAX,
  USER_NAME_CHARACTERS_MAX,
} from "../../protocol/chat.ts";
import {
  formatError,
  formatMessage,
  formatOk,
  readAnswer,
  readMessage,
} from "../../protocol/chat_answers.ts";
import { WIRE_CODES, type WireCode, WireError } from "../../protocol/errors.ts";
import { FRAME, type Frame } from "../../protocol/frame.ts";
import { decodeReplicaMessage } from "../../protocol/replica_codec.ts";
import {
  encodeReplicaHello,
  encodeReplicaTalk,
  readReplicaHello,
  type ReplicaTalk,
} from "../../protocol/replica_talk.ts";
import { readNodeStatus } from "../../protocol/status.ts";
import { anyHello, anyMessage } from "./replica_messages.ts";
import { bytesOf } from "./splits.ts";

const CANARY = "canary";
const ERROR_CHARACTERS_MAX = 1_024;

/** Half of them ASCII, else anything that a JavaScript string can hold. */
const anyText = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary" }),
  fc.array(fc.integer({ min: 0, max: 0xffff }))
    .map((units) => String.fromCharCode(...units)),
);
const seq = fc.option(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), {
  nil: undefined,
});
const index = fc.option(fc.maxSafeNat(), { nil: undefined });
const id = fc.option(fc.oneof(fc.maxSafeNat(), fc.string({ maxLength: 64 })), {
  nil: undefined,
});
const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const password = fc.string({ maxLength: 30 })
  .map((text) => `${CANARY}12${text}`);

/** Requests that can be taken, as fields. */
const anyRequest: fc.Arbitrary<Record<string, unknown>> = fc.oneof(
  fc.record({ type: fc.constant("register"), id, user: name, password }),
  fc.record({
    type: fc.constant("login"),
    id,
    user: name,
    password,
    seen: index,
  }),
  fc.record({
    type: fc.constant("resume"),
    id,
    session: fc.stringMatching(/^[0-9a-f]{16}$/),
    secret: fc.stringMatching(/^[0-9a-f]{32}$/),
    seen: index,
  }),
  fc.record({
    type: fc.constant("send"),
    id,
    to: name,
    text: fc.string({ minLength: 1, unit: "grapheme" }),
    seq,
  }),
  fc.record({
    type: fc.constant("list"),
    id,
    after: index,
    before: index,
    limit: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
    unread: fc.option(fc.boolean(), { nil: undefined }),
    linearizable: fc.option(fc.boolean(), { nil: undefined }),
    seen: index,
  }),
  fc.record({
    type: fc.constant("mark_read"),
    id,
    upto: fc.maxSafeNat(),
    seq,
  }),
  fc.record({ type: fc.constant("delete_account"), id, password, seq }),
  fc.record({ type: fc.constant("logout"), id, seq }),
  fc.record({
    type: fc.constant("leave"),
    id,
    nonce: fc.stringMatching(/^[0-9a-f]{32}$/),
    proof: fc.stringMatching(/^[0-9a-f]{64}$/),
  }),
  fc.record({ type: fc.constantFrom("status", "watch", "ping", "help"), id }),
);

/** A place in a text, and what stands there instead. */
const anyEdit = fc.record({
  at: fc.nat(),
  cut: fc.nat(8),
  put: fc.oneof(
    anyText,
    fc.constantFrom("{", "[", '"', "\\", ",", "null", "1e999", "-0", "\\u0000"),
  ),
});

function edited(
  text: string,
  edits: readonly { at: number; cut: number; put: string }[],
): string {
  return edits.reduce((now, { at, cut, put }) => {
    const place = at % (now.length + 1);
    return now.slice(0, place) + put + now.slice(place + cut);
  }, text);
}

/** A request, or nothing where it is refused as it should be. */
function readOrRefused(line: string): ChatRequest | undefined {
  try {
    return readRequest(line);
  } catch (error) {
    assert(error instanceof RequestError, String(error));
    assertLessOrEqual(error.message.length, ERROR_CHARACTERS_MAX);
    assert(!error.message.includes(CANARY), error.message);
    // What is refused is answered on one line, which a client can read.
    const answer = formatError(error, { id: error.id, line: 1 });
    assertEquals(answer.indexOf("\n"), answer.length - 1);
    assertEquals(readAnswer(answer)?.type, "error");
    return undefined;
  }
}

Deno.test("chat fuzz: a request that is right is read, and read alike when it is written again", () => {
  fc.assert(
    fc.property(anyRequest, (request) => {
      const read = readRequest(JSON.stringify(request));
      assertEquals(read.type, request.type);
      assertEquals(readRequest(JSON.stringify(read)), read);
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("chat fuzz: a request with some characters changed is read or refused, and says no password", () => {
  fc.assert(
    fc.property(
      anyRequest,
      fc.array(anyEdit, { minLength: 1, maxLength: 4 }),
      (request, edits) => {
        const read = readOrRefused(edited(JSON.stringify(request), edits));
        if (read === undefined) return;
        assertEquals(readRequest(JSON.stringify(read)), read);
      },
    ),
    { numRuns: 5_000 },
  );
});

Deno.test("chat fuzz: a request with one field of any kind is read or refused", () => {
  fc.assert(
    fc.property(
      anyRequest,
      fc.nat(),
      fc.jsonValue(),
      (request, dice, value) => {
        const fields = Object.keys(request);
        const field = fields[dice % fields.length];
        readOrRefused(JSON.stringify({ ...request, [field]: value }));
      },
    ),
    { numRuns: 5_000 },
  );
});

Deno.test("chat fuzz: any text is a name in its one form, or none", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      let name: string;
      try {
        name = readUserName(text);
      } catch (error) {
        assert(error instanceof WireError && error.code === "invalid-name");
        return;
      }
      assertEquals(name, text.normalize("NFC"));
      assertEquals(readUserName(name), name);
      assertLessOrEqual([...name].length, USER_NAME_CHARACTERS_MAX);
      assert(/^[^\s\p{C}]+$/u.test(name), JSON.stringify(name));
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("chat fuzz: a text is taken if it is Unicode within its bounds without control characters", () => {
  const long = fc.tuple(
    fc.constantFrom("x", "é", "\n", '"', "\u{1f600}"),
    fc.nat(70_000),
  )
    .map(([unit, count]) => unit.repeat(count));
  fc.assert(
    fc.property(fc.oneof(anyText, long), (text) => {
      const isFine = text !== "" && text.isWellFormed() &&
        // deno-lint-ignore no-control-regex -- these are what is refused.
        !/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/.test(text) &&
        Buffer.byteLength(text) <= TEXT_BYTES_MAX &&
        Buffer.byteLength(JSON.stringify(text)) <= TEXT_JSON_BYTES_MAX;
      try {
        checkText(text);
      } catch (error) {
        assert(error instanceof WireError, String(error));
        assert(!isFine, error.message);
        return;
      }
      assert(isFine, JSON.stringify(text.slice(0, 100)));
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("chat fuzz: what a server says, changed in some places, a client reads or refuses", () => {
  const codes = Object.keys(WIRE_CODES).filter((code): code is WireCode =>
    code in WIRE_CODES
  );
  const message = fc.record({
    n: fc.maxSafeNat(),
    from: name,
    to: name,
    text: fc.string({ unit: "grapheme" }),
    time: fc.maxSafeNat(),
  });
  const said = fc.oneof(
    message.map(formatMessage),
    fc.tuple(id, fc.dictionary(name, fc.jsonValue()))
      .map(([id, fields]) => formatOk(id, fields)),
    fc.tuple(fc.constantFrom(...codes), fc.string(), id)
      .map(([code, text, id]) =>
        formatError(new WireError(code, text), { id })
      ),
  );
  fc.assert(
    fc.property(said, fc.array(anyEdit, { maxLength: 3 }), (line, edits) => {
      const whole = line.slice(0, -1);
      if (edits.length === 0) assert(readAnswer(whole) !== undefined, whole);
      try {
        readAnswer(edited(whole, edits));
      } catch (error) {
        assert(error instanceof WireError, String(error));
      }
    }),
    { numRuns: 5_000 },
  );
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    readMessage(value);
  }));
});

Deno.test("chat fuzz: any JSON is a status or refused", () => {
  const status = {
    version: "0.1.0",
    cluster: "skein",
    node: "a",
    store: "00c0ffee00c0ffee",
    kind: "server",
    role: "primary",
    isWritable: true,
    waitsFor: [],
    lastIndex: 1,
    committedIndex: 1,
    appliedIndex: 1,
    hash: "00c0ffee00c0ffee",
    clients: 0,
    group: "00c0ffee00c0ffee",
    discover: "udp 239.255.83.75:8090",
    rivals: [{
      group: "0123456789abcdef",
      leader: "z",
      epoch: { counter: 2, store: "0123456789abcdef" },
      address: "10.0.0.9:8081",
    }],
    peers: [],
  };
  readNodeStatus(status);
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.keys(status)),
      fc.jsonValue(),
      (field, value) => {
        try {
          readNodeStatus({ ...status, [field]: value });
        } catch (error) {
          assert(error instanceof WireError, String(error));
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

/** A value with one part of it, however deep, put in the place of another. */
function withPart(value: unknown, dice: number, part: unknown): unknown {
  if (typeof value !== "object" || value === null) return part;
  const keys = Object.keys(value);
  if (keys.length === 0) return part;
  const key = keys[dice % keys.length];
  const rest = Math.floor(dice / keys.length);
  const inside: unknown = Reflect.get(value, key);
  const changed = rest % 3 === 0 ? part : withPart(inside, rest, part);
  if (!Array.isArray(value)) return { ...value, [key]: changed };
  return value.with(Number(key), changed);
}

Deno.test("chat fuzz: words of a group with one field of any kind are read or refused, and say why", () => {
  const talk = anyMessage.filter((message): message is ReplicaTalk =>
    ![
      "append",
      "appended",
      "heartbeat",
      "heartbeat-answer",
      "forward",
      "fetched",
    ].includes(message.kind)
  );
  const frames: fc.Arbitrary<{ frame: Frame; read: (frame: Frame) => void }> =
    fc.oneof(
      talk.map((message) => ({
        frame: {
          kind: FRAME.replicaTalk,
          payload: encodeReplicaTalk(message).subarray(5),
        },
        read: decodeReplicaMessage,
      })),
      anyHello.map((hello) => ({
        frame: {
          kind: FRAME.replicaHello,
          payload: encodeReplicaHello(hello).subarray(5),
        },
        read: ({ payload }: Frame) => readReplicaHello(payload),
      })),
    );
  fc.assert(
    fc.property(
      frames,
      fc.nat(),
      fc.jsonValue(),
      ({ frame, read }, dice, part) => {
        read(frame);
        const value: unknown = JSON.parse(
          new TextDecoder().decode(frame.payload),
        );
        const payload = bytesOf(JSON.stringify(withPart(value, dice, part)));
        try {
          read({ kind: frame.kind, payload });
        } catch (error) {
          assert(error instanceof WireError, String(error));
          assert(error.message.length > 0);
        }
      },
    ),
    { numRuns: 3_000 },
  );
});
