import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { createHmac } from "node:crypto";
import { type Advert, DATAGRAM_BYTES } from "../../protocol/discovery.ts";
import {
  type Datagram,
  decodeDatagram,
  encodeAnswerDatagram,
  encodeQuestionDatagram,
} from "../../protocol/discovery_codec.ts";
import {
  DATAGRAM_HEADER_BYTES,
  encodeDiscoverAnswer,
  encodeDiscoverAsk,
  readDiscoverAnswer,
  readDiscoverAsk,
} from "../../protocol/discovery_words.ts";
import { WireError } from "../../protocol/errors.ts";
import { FRAME, FrameReader } from "../../protocol/frame.ts";
import {
  advertOf,
  anyAdvert,
  anyAnswer,
  anyQuestion,
  questionOf,
} from "./discovery_messages.ts";
import { anyBytes, bytesOf, textOf } from "./splits.ts";

const KEY = bytesOf("a key of sixteen bytes");
const OTHER_KEY = bytesOf("another key of sixteen bytes");

const anyKey = fc.constantFrom(KEY, undefined);

const MAC_AT = 6;
const LENGTH_AT = 38;

function changed(
  bytes: Uint8Array,
  change: { readonly at: number; readonly to: number },
): Uint8Array {
  const copy = bytes.slice();
  copy[change.at] = change.to;
  return copy;
}

function reasonOf(datagram: Datagram): string {
  return datagram.kind === "refused" ? datagram.reason : datagram.kind;
}

Deno.test("discovery datagrams: a question is read as it was written", () => {
  fc.assert(fc.property(anyQuestion, anyKey, (question, key) => {
    const bytes = encodeQuestionDatagram(question, key);
    assertEquals(bytes.length, DATAGRAM_BYTES);
    assertEquals(decodeDatagram(bytes, key), { kind: "question", question });
  }));
});

Deno.test("discovery datagrams: an answer is no longer than a question, and only hosts are left out for it", () => {
  let shortened = 0;
  fc.assert(
    fc.property(anyAnswer, anyKey, (answer, key) => {
      const bytes = encodeAnswerDatagram(answer, key);
      assertLessOrEqual(bytes.length, DATAGRAM_BYTES);
      const read = decodeDatagram(bytes, key);
      assert(read.kind === "answer");
      const { nonce, time, advert } = read.answer;
      const bare = { nonce, time, advert: withoutHosts(advert) };
      assertEquals(bare, { ...answer, advert: withoutHosts(answer.advert) });
      const whole = JSON.stringify(answer).length + DATAGRAM_HEADER_BYTES;
      if (whole <= DATAGRAM_BYTES) assertEquals(read.answer, answer);
      else shortened += 1;
    }),
    { numRuns: 500 },
  );
  assert(shortened > 0, "no answer was too long");
});

function withoutHosts(advert: Advert): Advert {
  const { peers, clients, group } = advert;
  return {
    ...advert,
    peers: { port: peers.port },
    ...(clients !== undefined && { clients: { port: clients.port } }),
    ...(group !== undefined && {
      group: {
        ...group,
        leader: { id: group.leader.id, priority: group.leader.priority },
      },
    }),
  };
}

Deno.test("discovery datagrams: the longest answer is one that fits", () => {
  const name = "n".repeat(64);
  const host = "h".repeat(253);
  const store = "f".repeat(16);
  const advert = advertOf({
    ...{ cluster: name, id: name, kind: "witness", isOpen: false },
    priority: Number.MIN_SAFE_INTEGER,
    peers: { host, port: 65_535 },
    clients: { host, port: 65_535 },
    group: {
      ...{ id: store, isVoid: false, isWorking: false },
      ...{ members: 32, voters: 32 },
      epoch: { counter: Number.MAX_SAFE_INTEGER, store },
      leader: {
        ...{ id: name, priority: Number.MIN_SAFE_INTEGER },
        clients: { host, port: 65_535 },
      },
    },
    dissolved: [store, store, store, store],
  });
  const nonce = "0".repeat(32);
  const answer = { nonce, time: Number.MAX_SAFE_INTEGER, advert };
  const bytes = encodeAnswerDatagram(answer, KEY);
  assertLessOrEqual(bytes.length, DATAGRAM_BYTES);
  const read = decodeDatagram(bytes, KEY);
  assert(read.kind === "answer");
  // One host has room, and it is the one that matters most.
  assertEquals(read.answer.advert.peers, { host, port: 65_535 });
  assertEquals(read.answer.advert.clients, { port: 65_535 });
  assertEquals(read.answer.advert.group?.leader.clients, undefined);
});

Deno.test("discovery datagrams: a host that cannot be read is left out, not sent", () => {
  const peers = { host: "straße.lab", port: 1 };
  const clients = { host: "a host", port: 2 };
  const answer = { nonce: "0".repeat(32), time: 0 };
  const bytes = encodeAnswerDatagram({
    ...answer,
    advert: advertOf({ peers, clients }),
  }, KEY);
  assertEquals(decodeDatagram(bytes, KEY), {
    kind: "answer",
    answer: {
      ...answer,
      advert: advertOf({ peers: { port: 1 }, clients: { port: 2 } }),
    },
  });
});

function otherProof(bytes: Uint8Array): Uint8Array {
  return changed(bytes, { at: MAC_AT, to: bytes[MAC_AT] ^ 1 });
}

Deno.test("discovery datagrams: whatever is not as it should be is refused, with its reason", () => {
  const question = encodeQuestionDatagram(questionOf({ keyed: true }), KEY);
  const answer = encodeAnswerDatagram({
    ...{ nonce: "0".repeat(32), time: 0, advert: advertOf() },
  }, KEY);
  const longer = new Uint8Array(DATAGRAM_BYTES + 1);
  longer.set(question);
  const behind = new Uint8Array(answer.length + 1);
  behind.set(answer);
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ["nothing", new Uint8Array(0), "short"],
    ["a header cut off", question.subarray(0, 39), "short"],
    ["a question without its padding", question.subarray(0, -1), "short"],
    ["an answer cut off", answer.subarray(0, -1), "short"],
    ["a byte too many", longer, "long"],
    ["an answer with something behind it", behind, "long"],
    ["another program's", bytesOf("M-SEARCH * HTTP/1.1".repeat(63)), "foreign"],
    ["the magic bytes spoilt", changed(question, { at: 3, to: 0 }), "foreign"],
    ["a later version", changed(question, { at: 4, to: 2 }), "version"],
    ["an unknown kind", changed(question, { at: 5, to: 3 }), "parse"],
    ["an answer for a question", changed(answer, { at: 5, to: 1 }), "short"],
    ["a question for an answer", changed(question, { at: 5, to: 2 }), "long"],
    ["another proof", otherProof(question), "mac"],
    ["another proof", otherProof(answer), "mac"],
    ["more text", changed(question, { at: LENGTH_AT + 1, to: 0 }), "mac"],
    ["past its end", changed(question, { at: LENGTH_AT, to: 255 }), "short"],
  ];
  for (const [what, bytes, reason] of cases) {
    assertEquals(reasonOf(decodeDatagram(bytes, KEY)), reason, what);
  }
  assertEquals(reasonOf(decodeDatagram(question, KEY)), "question");
  assertEquals(reasonOf(decodeDatagram(answer, KEY)), "answer");
});

Deno.test("discovery datagrams: no bit of what is signed can be changed", () => {
  const question = encodeQuestionDatagram(questionOf({ keyed: true }), KEY);
  const end = DATAGRAM_HEADER_BYTES + question[LENGTH_AT] * 256 +
    question[LENGTH_AT + 1];
  for (let at = 0; at < end; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const spoilt = changed(question, { at, to: question[at] ^ (1 << bit) });
      assertEquals(decodeDatagram(spoilt, KEY).kind, "refused", `byte ${at}`);
    }
  }
});

Deno.test("discovery datagrams: only the same key reads them, and a missing one is named", () => {
  const say = (key: Uint8Array | undefined) =>
    encodeQuestionDatagram(questionOf({ keyed: key !== undefined }), key);
  assertEquals(reasonOf(decodeDatagram(say(KEY), OTHER_KEY)), "mac");
  assertEquals(reasonOf(decodeDatagram(say(KEY), undefined)), "key-required");
  assertEquals(reasonOf(decodeDatagram(say(undefined), KEY)), "key-required");
  assertEquals(reasonOf(decodeDatagram(say(undefined), undefined)), "question");
  const answer = { nonce: "0".repeat(32), time: 0, advert: advertOf() };
  const said = encodeAnswerDatagram(answer, undefined);
  assertEquals(reasonOf(decodeDatagram(said, KEY)), "mac");
});

Deno.test("discovery datagrams: what is signed and yet no message is refused", () => {
  const bad = { ...questionOf({ keyed: true }), nonce: "no nonce" };
  const bytes = encodeQuestionDatagram(bad, KEY);
  assertEquals(reasonOf(decodeDatagram(bytes, KEY)), "parse");
  const advert = advertOf({ peers: { port: 0 } });
  const answer = { nonce: "0".repeat(32), time: 0, advert };
  const answered = encodeAnswerDatagram(answer, KEY);
  assertEquals(reasonOf(decodeDatagram(answered, KEY)), "parse");
});

Deno.test("discovery datagrams: no bytes do harm", () => {
  const any = fc.record({
    bytes: anyBytes(2_000),
    head: fc.subarray([0, 1, 2, 3, 4, 5]),
    kind: fc.constantFrom(1, 2),
    key: anyKey,
  });
  fc.assert(
    fc.property(any, ({ bytes, head, kind, key }) => {
      const valid = [0xfe, 0x53, 0x4b, 0x44, 1, kind];
      for (const at of head) if (at < bytes.length) bytes[at] = valid[at];
      assertEquals(decodeDatagram(bytes, key).kind, "refused");
    }),
    { numRuns: 2_000 },
  );
});

/** What the ports take of somebody who may ask and nothing else. */
const ASK_BYTES_MAX = 4_096;

function payloadOf(frame: Uint8Array, kind: number): Uint8Array {
  const reader = new FrameReader();
  reader.push(frame);
  const read = reader.next();
  assertEquals([read?.kind, reader.takeRest().length], [kind, 0]);
  return read?.payload ?? new Uint8Array(0);
}

Deno.test("discovery frames: what is written is read", () => {
  fc.assert(fc.property(anyQuestion, anyAnswer, (question, answer) => {
    const asked = payloadOf(encodeDiscoverAsk(question), FRAME.discoverAsk);
    assertEquals(readDiscoverAsk(asked), question);
    const said = payloadOf(encodeDiscoverAnswer(answer), FRAME.discoverAnswer);
    const read = readDiscoverAnswer(said);
    assertEquals(withoutHosts(read.advert), withoutHosts(answer.advert));
    assertEquals([read.nonce, read.time], [answer.nonce, answer.time]);
  }));
});

Deno.test("discovery frames: a node that asks may say what it is", () => {
  fc.assert(fc.property(anyQuestion, anyAdvert, (question, advert) => {
    const frame = encodeDiscoverAsk({ ...question, advert });
    assertLessOrEqual(frame.length, ASK_BYTES_MAX);
    const read = readDiscoverAsk(payloadOf(frame, FRAME.discoverAsk));
    assertEquals(read, { ...question, advert });
    // A datagram has no room for it, and nobody believes it there.
    const bytes = encodeQuestionDatagram(read, undefined);
    assertEquals(decodeDatagram(bytes, undefined), {
      kind: "question",
      question,
    });
  }));
  const broken = { ...questionOf(), advert: { ...advertOf(), id: "" } };
  assertThrows(
    () => readDiscoverAsk(bytesOf(JSON.stringify(broken))),
    WireError,
    "wrong fields",
  );
});

Deno.test("discovery frames: fields of a later version are left out", () => {
  const question = questionOf();
  const asked = bytesOf(JSON.stringify({ ...question, colour: "red" }));
  assertEquals(readDiscoverAsk(asked), question);
  const advert = { ...advertOf(), peers: { port: 1, colour: "red" }, x: 1 };
  const answer = { nonce: question.nonce, time: 1, advert, y: 2 };
  assertEquals(readDiscoverAnswer(bytesOf(JSON.stringify(answer))), {
    nonce: question.nonce,
    time: 1,
    advert: advertOf({ peers: { port: 1 } }),
  });
});

Deno.test("discovery frames: what is none is refused", () => {
  for (const text of ["", "{}", "null", "[]", '{"nonce":1}', "\xff"]) {
    assertThrows(() => readDiscoverAsk(bytesOf(text)), WireError);
    assertThrows(() => readDiscoverAnswer(bytesOf(text)), WireError);
  }
  const whole = {
    ...{ nonce: "0".repeat(32), time: 0 },
    advert: advertOf({
      group: {
        ...{ id: "00000000000000a1", isVoid: true, isWorking: true },
        ...{ members: 1, voters: 1 },
        epoch: { counter: 1, store: "00000000000000a1" },
        leader: { id: "a", priority: 0 },
      },
    }),
  };
  const text = JSON.stringify(whole);
  assertEquals(readDiscoverAnswer(bytesOf(text)), whole);
  const spoilt: readonly (readonly [string, string])[] = [
    ['"service":"chat"', '"service":"chess"'],
    ['"id":"server-1"', '"id":"server 1"'],
    ['"kind":"server"', '"kind":"king"'],
    ['"priority":0', '"priority":0.5'],
    ['"store":"00000000000000a1"', '"store":"A1"'],
    ['"port":8081', '"port":65536'],
    ['"port":8091', '"port":8091,"host":""'],
    ['"port":8091', '"port":8091,"host":"a b"'],
    ['"members":1', '"members":33'],
    ['"counter":1', '"counter":-1'],
    ['"dissolved":[]', '"dissolved":["1"]'],
    ['"isOpen":true', '"isOpen":1'],
  ];
  for (const [from, to] of spoilt) {
    const bad = text.replace(from, to);
    assert(bad !== text, from);
    assertThrows(() => readDiscoverAnswer(bytesOf(bad)), WireError);
  }
});

Deno.test("discovery datagrams: they are as WIRE.md says", () => {
  const question = questionOf();
  const bytes = encodeQuestionDatagram(question, undefined);
  const length = bytes[LENGTH_AT] * 256 + bytes[LENGTH_AT + 1];
  const end = DATAGRAM_HEADER_BYTES + length;
  assertEquals(
    JSON.parse(textOf(bytes.subarray(DATAGRAM_HEADER_BYTES, end))),
    question,
  );
  assert(bytes.subarray(end).every((byte) => byte === 0), "padded with zeros");
  const mac = createHmac("sha256", "Skein without a cluster key")
    .update("skein discovery 1 question\n")
    .update(JSON.stringify(question)).digest("hex");
  assertEquals(bytes.subarray(MAC_AT, LENGTH_AT).toHex(), mac);
  assertEquals(bytes.subarray(0, MAC_AT).toHex(), "fe534b440101");
});
