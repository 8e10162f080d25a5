import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import fc from "fast-check";
import { type WireCode, WireError } from "../../protocol/errors.ts";
import {
  encodeFrame,
  FRAME,
  PREFACE,
  writeUint32,
} from "../../protocol/frame.ts";
import {
  encodeError,
  Handshake,
  type HandshakeOptions,
  PeerError,
  type Role,
} from "../../protocol/handshake.ts";
import { HANDSHAKE_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import {
  anyBytes,
  arrivals,
  bytesOf,
  cutAt,
  everyByte,
  joined,
  places,
  textOf,
} from "./splits.ts";

const KEY = bytesOf("a cluster key of some length");

type Cut = (bytes: Uint8Array) => readonly Uint8Array[];
const whole: Cut = (bytes) => [bytes];

let nonces = 0;

/** What a side needs; its nonce is always a new one. */
function side(
  changes: {
    id?: string;
    cluster?: string;
    role?: Role;
    accepts?: readonly Role[];
    key?: Uint8Array;
  } = {},
): HandshakeOptions {
  const { id = "n1", cluster = "skein", role = "chain", key } = changes;
  const nonce = new Uint8Array(16);
  writeUint32(nonce, 12, nonces += 1);
  return {
    self: { cluster, role, id, incarnation: "0123456789abcdef" },
    accepts: changes.accepts ?? ["chain"],
    ...(key !== undefined && { key }),
    nonce,
  };
}

/** One side, fed with whatever arrives; as a host does it. */
class Party {
  readonly handshake: Handshake;
  /** What it has sent since it was last asked. */
  #out: Uint8Array[] = [];
  readonly sent: Uint8Array[] = [];
  peer: string | undefined;
  rest: Uint8Array<ArrayBufferLike> = new Uint8Array(0);
  error: WireError | undefined;

  constructor(kind: "dial" | "accept", options: HandshakeOptions) {
    this.handshake = new Handshake(kind, options);
    this.send(...this.handshake.start());
  }

  get isOver(): boolean {
    return this.peer !== undefined || this.error !== undefined;
  }

  send(...bytes: readonly Uint8Array[]): void {
    this.#out.push(...bytes);
    this.sent.push(...bytes);
  }

  takeOut(): Uint8Array {
    const out = joined(this.#out);
    this.#out = [];
    return out;
  }

  /** Takes bytes; after the handshake they are the link's, as `rest` is. */
  take(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      if (this.error !== undefined) return;
      if (this.peer !== undefined) this.rest = joined([this.rest, piece]);
      else this.#push(piece);
    }
  }

  #push(piece: Uint8Array): void {
    try {
      const step = this.handshake.push(piece);
      this.send(...step.send);
      assertEquals(step.peer === undefined, step.rest === undefined);
      if (step.peer === undefined || step.rest === undefined) return;
      const { cluster, role, id, incarnation } = step.peer;
      this.peer = `${cluster} ${role} ${id} ${incarnation}`;
      this.rest = step.rest.slice();
    } catch (error) {
      assertInstanceOf(error, WireError);
      this.error = error;
      if (!(error instanceof PeerError)) this.send(encodeError(error));
    }
  }
}

/** Lets two sides talk until both have nothing more to say. */
function meet(
  dialing: HandshakeOptions,
  accepting: HandshakeOptions,
  cut: Cut = whole,
): { dialer: Party; acceptor: Party } {
  const dialer = new Party("dial", dialing);
  const acceptor = new Party("accept", accepting);
  for (let round = 0; round < 10; round++) {
    acceptor.take(cut(dialer.takeOut()));
    dialer.take(cut(acceptor.takeOut()));
  }
  return { dialer, acceptor };
}

function assertMet(met: { dialer: Party; acceptor: Party }): void {
  const { dialer, acceptor } = met;
  assertEquals(dialer.error, undefined);
  assertEquals(acceptor.error, undefined);
  assertEquals(acceptor.peer, "skein chain dialer 0123456789abcdef");
  assertEquals(dialer.peer, "skein chain acceptor 0123456789abcdef");
}

/** This side has refused, with these words in what it says. */
function assertFailed(
  party: Party,
  code: WireCode,
  ...texts: readonly string[]
): void {
  assertInstanceOf(party.error, WireError);
  assertEquals(party.error.code, code);
  assertEquals(party.peer, undefined);
  for (const text of texts) assertStringIncludes(party.error.message, text);
}

/** The acceptor refuses, and the dialer is told. */
function assertRefused(
  met: { dialer: Party; acceptor: Party },
  code: WireCode,
  ...texts: readonly string[]
): void {
  const { dialer, acceptor } = met;
  assertFailed(acceptor, code, ...texts);
  assertFailed(dialer, code, ...texts);
  assert(!(acceptor.error instanceof PeerError));
  assertInstanceOf(dialer.error, PeerError);
  assertEquals(dialer.error.message, acceptor.error?.message);
}

for (const [name, key] of [["without a key", undefined], ["with a key", KEY]]) {
  const keyed = key instanceof Uint8Array ? { key } : {};

  Deno.test(`handshake: ${name} both learn who the other is, however it is cut`, () => {
    const pair = () =>
      [
        side({ id: "dialer", ...keyed }),
        side({ id: "acceptor", ...keyed }),
      ] as const;
    assertMet(meet(...pair()));
    assertMet(meet(...pair(), everyByte));
    fc.assert(fc.property(places, (cuts) => {
      assertMet(meet(...pair(), (bytes) => cutAt(bytes, cuts)));
    }));
  });
}

Deno.test("handshake: a client is let in where clients are accepted, and nowhere else", () => {
  const client = () => side({ id: "c1", role: "client", accepts: ["chain"] });
  const open = side({ id: "n1", accepts: ["chain", "client"] });
  assertEquals(
    meet(client(), open).acceptor.peer,
    "skein client c1 0123456789abcdef",
  );
  assertRefused(
    meet(client(), side({ accepts: ["chain"] })),
    "role-mismatch",
    '"client", wanted chain',
  );
});

Deno.test("handshake: another cluster is refused, and both names are said", () => {
  assertRefused(
    meet(side({ cluster: "blue" }), side({ cluster: "green" })),
    "cluster-mismatch",
    '"blue"',
    '"green"',
  );
});

Deno.test("handshake: another key is refused", () => {
  const other = bytesOf("another cluster key entirely");
  assertRefused(
    meet(side({ key: other }), side({ key: KEY })),
    "wrong-key",
    "cluster's key",
  );
  const longer = joined([KEY, Uint8Array.of(1)]);
  assertRefused(meet(side({ key: longer }), side({ key: KEY })), "wrong-key");
});

Deno.test("handshake: a key on one side only is refused, and it says on which", () => {
  assertRefused(
    meet(side({ key: KEY }), side()),
    "key-required",
    "Peer has a cluster key, this node has none",
  );
  assertRefused(
    meet(side(), side({ key: KEY })),
    "key-required",
    "This node has a cluster key, peer has none",
  );
});

/** A greeting as `side` gives it, with some fields changed. */
function greeting(changes: Record<string, unknown> = {}): Uint8Array {
  return bytesOf(JSON.stringify({
    versions: [1],
    cluster: "skein",
    role: "chain",
    id: "stranger",
    incarnation: "0123456789abcdef",
    nonce: "00112233445566778899aabbccddeeff",
    keyed: false,
    ...changes,
  }));
}

/** Feeds one side with bytes of our making. */
function feed(
  kind: "dial" | "accept",
  bytes: Uint8Array,
  options: HandshakeOptions = side(),
): Party {
  const party = new Party(kind, options);
  party.take([bytes]);
  return party;
}

function hello(changes: Record<string, unknown> = {}): Uint8Array {
  return joined([PREFACE, encodeFrame(FRAME.hello, greeting(changes))]);
}

Deno.test("handshake: no version in common is refused, and all are said", () => {
  const party = feed("accept", hello({ versions: [2, 3] }));
  assertFailed(party, "version-mismatch", "2, 3, this node speaks 1");
  assertEquals(feed("accept", hello({ versions: [3, 1] })).error, undefined);
});

Deno.test("handshake: fields of later versions are passed over", () => {
  const party = feed("accept", hello({ zone: "west", since: 1 }));
  assertEquals([party.error, party.sent.length], [undefined, 2]);
});

Deno.test("handshake: each side learns how long the other listens in silence", () => {
  const acceptor = new Handshake("accept", { ...side(), silentMsMax: 3_000 });
  const dialer = new Handshake("dial", { ...side(), silentMsMax: 500 });
  const [, challenge] = [
    ...acceptor.start(),
    ...acceptor.push(joined(dialer.start())).send,
  ];
  const { send } = dialer.push(joined([PREFACE, challenge]));
  const accepted = acceptor.push(joined(send));
  assertEquals(accepted.peerSilentMsMax, 500);
  assertEquals(dialer.push(joined(accepted.send)).peerSilentMsMax, 3_000);
  // Who does not say so is not asked to.
  const silent = new Handshake("accept", side());
  silent.push(hello());
  const proof = encodeFrame(FRAME.proof, bytesOf("{}"));
  assertEquals(silent.push(proof).peerSilentMsMax, undefined);
});

Deno.test("handshake: malformed greetings are refused by either side", () => {
  const wrong: Record<string, unknown>[] = [
    ...[{ versions: [] }, { versions: 1 }, { versions: [1.5] }],
    ...[{ versions: [-1] }, { versions: Array(17).fill(1) }],
    ...[{ cluster: "" }, { cluster: "a b" }, { cluster: "x".repeat(65) }],
    ...[{ role: 1 }, { role: "x".repeat(17) }, { id: "a\n" }, { id: null }],
    ...[{ incarnation: "0123" }, { incarnation: "0123456789ABCDEF" }],
    ...[{ nonce: "" }, { nonce: "00" }, { nonce: "x".repeat(32) }],
    ...[{ keyed: "no" }, { keyed: undefined }],
    ...[{ silentMs: 9 }, { silentMs: 3_600_001 }, { silentMs: 200.5 }],
    ...[{ silentMs: "3000" }, { silentMs: null }],
  ];
  for (const changes of wrong) {
    const note = JSON.stringify(changes);
    assertEquals(
      feed("accept", hello(changes)).error?.code,
      "invalid-message",
      note,
    );
    const challenge = encodeFrame(FRAME.challenge, greeting(changes));
    assertEquals(
      feed("dial", joined([PREFACE, challenge])).error?.code,
      "invalid-message",
      note,
    );
  }
  for (const text of ["", "{", "[]", "null", '"x"']) {
    const frame = encodeFrame(FRAME.hello, bytesOf(text));
    const party = feed("accept", joined([PREFACE, frame]));
    assertEquals(party.error?.code, "invalid-message", text);
  }
});

Deno.test("handshake: malformed proofs are refused", () => {
  const proofs = ["", "{", "null", "[]", '{"proof":1}', '{"proof":"00"}'];
  for (const text of [...proofs, `{"proof":"${"G".repeat(64)}"}`]) {
    const proof = encodeFrame(FRAME.proof, bytesOf(text));
    const party = feed("accept", joined([hello(), proof]));
    assertEquals(party.error?.code, "invalid-message", text);
  }
});

Deno.test("handshake: a keyed side takes no missing and no invented proof", () => {
  for (const text of ["{}", `{"proof":"${"0".repeat(64)}"}`]) {
    const proof = encodeFrame(FRAME.proof, bytesOf(text));
    const bytes = joined([hello({ keyed: true }), proof]);
    const party = feed("accept", bytes, side({ key: KEY }));
    assertEquals(party.error?.code, "wrong-key", text);
    assertEquals(party.peer, undefined);
  }
});

const STRANGERS: Record<string, Uint8Array> = {
  "an HTTP request": bytesOf("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
  "an HTTP response": bytesOf("HTTP/1.1 400 Bad Request\r\n\r\n"),
  "a TLS hello": Uint8Array.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
  "an SSH banner": bytesOf("SSH-2.0-OpenSSH_9.6\r\n"),
  "a preface but for its last byte": joined([
    PREFACE.subarray(0, 7),
    Uint8Array.of(13),
  ]),
  "a preface sent twice but for its beginning": PREFACE.subarray(1),
  zeros: new Uint8Array(64),
};

for (const [name, bytes] of Object.entries(STRANGERS)) {
  Deno.test(`handshake: ${name} is not Skein`, () => {
    for (const kind of ["dial", "accept"] as const) {
      for (const arrival of arrivals(bytes)) {
        const party = new Party(kind, side());
        party.take(arrival.pieces);
        assertEquals(party.error?.code, "not-skein", arrival.name);
        assertEquals(party.error?.outcome, "definite");
      }
    }
  });
}

Deno.test("handshake: random bytes end it with a WireError, or it waits", () => {
  const noise = fc.oneof(
    anyBytes(200),
    anyBytes(200).map((bytes) => joined([PREFACE, bytes])),
    fc.tuple(fc.nat(20), anyBytes(100)).map(([kind, payload]) =>
      joined([PREFACE, encodeFrame(kind, payload)])
    ),
    fc.tuple(fc.nat(20), anyBytes(100)).map(([kind, payload]) =>
      joined([hello(), encodeFrame(kind, payload)])
    ),
  );
  fc.assert(
    fc.property(
      fc.constantFrom("dial" as const, "accept" as const),
      noise,
      places,
      (kind, bytes, cuts) => {
        const party = new Party(kind, side({ key: KEY }));
        party.take(cutAt(bytes, cuts));
        assertEquals(party.peer, undefined);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("handshake: a frame above its small bound is refused before it is there", () => {
  const length = new Uint8Array(4);
  writeUint32(length, 0, HANDSHAKE_FRAME_BYTES_MAX + 1 - 4);
  for (const kind of ["dial", "accept"] as const) {
    const party = feed(kind, joined([PREFACE, length]));
    assertFailed(party, "too-large", "4097", "4096");
  }
  const padded = hello({ padding: "x".repeat(3_800) });
  assertEquals(feed("accept", padded).error, undefined);
});

Deno.test("handshake: frames in another order are refused, with both kinds", () => {
  const { hello: first, challenge, proof, welcome, beat, chainData } = FRAME;
  for (const kind of [challenge, proof, welcome, beat, chainData, 99]) {
    const frame = encodeFrame(kind, greeting());
    const party = feed("accept", joined([PREFACE, frame]));
    assertFailed(party, "invalid-message", `${kind}, wanted ${first}`);
  }
  for (const kind of [first, challenge, welcome, beat, chainData]) {
    const frame = encodeFrame(kind, bytesOf("{}"));
    const party = feed("accept", joined([hello(), frame]));
    assertFailed(party, "invalid-message", `wanted ${proof}`);
  }
  const begin = encodeFrame(challenge, greeting());
  for (const kind of [first, proof, welcome, chainData]) {
    const frame = encodeFrame(kind, greeting());
    const party = feed("dial", joined([PREFACE, frame]));
    assertFailed(party, "invalid-message", `wanted ${challenge}`);
  }
  for (const kind of [first, challenge, proof, chainData]) {
    const frame = encodeFrame(kind, bytesOf("{}"));
    const party = feed("dial", joined([PREFACE, begin, frame]));
    assertFailed(party, "invalid-message", `wanted ${welcome}`);
  }
});

Deno.test("handshake: a proof of an earlier session is refused", () => {
  const keyed = () => side({ key: KEY });
  const earlier = meet(keyed(), keyed()).dialer.sent;
  assertEquals(earlier.length, 3); // preface, hello, proof
  const replayed = feed("accept", joined(earlier), keyed());
  assertFailed(replayed, "wrong-key");
});

Deno.test("handshake: a welcome of an earlier session is refused", () => {
  const keyed = () => side({ key: KEY });
  const earlier = meet(keyed(), keyed()).acceptor.sent;
  assertEquals(earlier.length, 3); // preface, challenge, welcome
  const replayed = feed("dial", joined(earlier), keyed());
  assertFailed(replayed, "wrong-key");
});

Deno.test("handshake: a proof sent back to who gave it is refused", () => {
  const dialer = new Party("dial", side({ key: KEY }));
  dialer.takeOut();
  const challenge = encodeFrame(FRAME.challenge, greeting({ keyed: true }));
  dialer.take([joined([PREFACE, challenge])]);
  assertEquals(dialer.error, undefined);
  const proof = textOf(dialer.takeOut().subarray(5));
  dialer.take([encodeFrame(FRAME.welcome, bytesOf(proof))]);
  assertFailed(dialer, "wrong-key");
});

Deno.test("handshake: a proof is for these two greetings and no others", () => {
  // Whoever changes what one side says of itself on the way is found out.
  const dialer = new Party("dial", side({ id: "dialer", key: KEY }));
  const acceptor = new Party("accept", side({ key: KEY }));
  const text = Array.from(dialer.takeOut(), (byte) => String.fromCharCode(byte))
    .join("").replace('"dialer"', '"d1aler"');
  acceptor.take([Uint8Array.from(text, (c) => c.charCodeAt(0))]);
  dialer.take([acceptor.takeOut()]);
  acceptor.take([dialer.takeOut()]);
  assertFailed(acceptor, "wrong-key");
});

Deno.test("handshake: a side without a key gives no proof, and no two proofs are alike", () => {
  const proofOf = (key?: Uint8Array) => {
    const [, , proof] = meet(side({ key }), side({ key })).dialer.sent;
    return textOf(proof.subarray(5));
  };
  assertEquals(proofOf(), "{}");
  assertNotEquals(proofOf(KEY), proofOf(KEY));
});

Deno.test("handshake: the peer's error frame is its own word", () => {
  const busy = encodeError(
    new WireError("busy", "This node has 9 connections"),
  );
  for (const kind of ["dial", "accept"] as const) {
    const { error } = feed(kind, joined([PREFACE, busy]));
    assertInstanceOf(error, PeerError);
    assertEquals([error.code, error.message], [
      "busy",
      "This node has 9 connections",
    ]);
  }
});

Deno.test("handshake: an unreadable error frame is an error all the same", () => {
  const cases: [string, WireCode, string][] = [
    ["", "invalid-message", "Peer sent an unreadable error"],
    ["{}", "invalid-message", "Peer sent an unreadable error"],
    ['{"code":"new-one","text":"hm"}', "invalid-message", "hm"],
    [
      JSON.stringify({ code: "busy", text: "x".repeat(2_000) }),
      "busy",
      "x".repeat(1_024),
    ],
  ];
  for (const [text, code, message] of cases) {
    const frame = encodeFrame(FRAME.error, bytesOf(text));
    const { error } = feed("dial", joined([PREFACE, frame]));
    assertInstanceOf(error, PeerError);
    assertEquals([error.code, error.message], [code, message]);
  }
});

Deno.test("handshake: a long error is cut to what a peer takes during a handshake", () => {
  for (const text of ["x".repeat(5_000), "€".repeat(5_000)]) {
    const bytes = encodeError(new WireError("busy", text));
    assert(bytes.length <= HANDSHAKE_FRAME_BYTES_MAX, `${bytes.length} bytes`);
    const { error } = feed("dial", joined([PREFACE, bytes]));
    assertInstanceOf(error, PeerError);
    assertEquals(error.code, "busy");
  }
});

Deno.test("handshake: bytes after it are the rest, none lost and none twice", () => {
  const data = encodeFrame(FRAME.chainData, new Uint8Array(300).fill(5));
  fc.assert(fc.property(places, (cuts) => {
    const cut: Cut = (bytes) => cutAt(bytes, cuts);
    const dialer = new Party("dial", side({ key: KEY }));
    const acceptor = new Party("accept", side({ key: KEY }));
    acceptor.take(cut(dialer.takeOut()));
    dialer.take(cut(acceptor.takeOut()));
    // Neither waits for the other before it goes on with its own words.
    dialer.send(data, data);
    acceptor.take(cut(dialer.takeOut()));
    acceptor.send(data);
    dialer.take(cut(acceptor.takeOut()));
    assert(dialer.isOver && acceptor.isOver);
    assertEquals(acceptor.rest, joined([data, data]));
    assertEquals(dialer.rest, joined([data]));
  }));
});
