/**
 * Who is at the other end of a framed link: version, cluster, role, id,
 * incarnation, and the proof of the cluster key; see `WIRE.md#handshake`.
 */

import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { isWireCode, WireError } from "./errors.ts";
import {
  encodeFrame,
  FRAME,
  type Frame,
  FrameReader,
  PREFACE,
} from "./frame.ts";
import type { Incarnation, NodeId } from "./ids.ts";
import { parseJson } from "./json.ts";
import {
  ERROR_TEXT_CHARACTERS_MAX,
  FRAME_BYTES_MAX,
  HANDSHAKE_FRAME_BYTES_MAX,
} from "./limits.ts";

/** The protocol version spoken here. */
export const PROTOCOL_VERSION = 1;

/** What a process is on a link. */
export type Role = "chain" | "client" | "chat" | "witness" | "mesh";

/** What each side says of itself. */
export interface Identity {
  readonly cluster: string;
  readonly role: Role;
  readonly id: NodeId;
  readonly incarnation: Incarnation;
}

/** What a handshake needs from its host. */
export interface HandshakeOptions {
  readonly self: Identity;
  /** Roles that the other side may have. */
  readonly accepts: readonly Role[];
  /** The cluster key; without it no proof is given or asked for. */
  readonly key?: Uint8Array;
  /** 16 random bytes, never used before. */
  readonly nonce: Uint8Array;
  /** How long this side listens in silence before it gives the link up. */
  readonly silentMsMax?: number;
}

/** What became of the bytes pushed: first send these, then go on if `peer` is there. */
export interface HandshakeStep {
  readonly send: readonly Uint8Array[];
  /** Set when the handshake is over. */
  readonly peer?: Identity;
  /** How long the peer listens in silence, if it says so. */
  readonly peerSilentMsMax?: number;
  /** Bytes that came after the handshake, to be read as frames. */
  readonly rest?: Uint8Array;
}

const NAME = Type.String({ pattern: "^[A-Za-z0-9._:-]{1,64}$" });
const GREETING = Compile(Type.Object({
  versions: Type.Array(Type.Integer({ minimum: 0, maximum: 65_535 }), {
    minItems: 1,
    maxItems: 16,
  }),
  cluster: NAME,
  role: Type.String({ maxLength: 16 }),
  id: NAME,
  incarnation: Type.String({ pattern: "^[0-9a-f]{16}$" }),
  nonce: Type.String({ pattern: "^[0-9a-f]{32}$" }),
  keyed: Type.Boolean(),
  silentMs: Type.Optional(Type.Integer({ minimum: 10, maximum: 3_600_000 })),
}));
const PROOF = Compile(Type.Object({
  proof: Type.Optional(Type.String({ pattern: "^[0-9a-f]{64}$" })),
}));
const ERROR = Compile(Type.Object({
  code: Type.String({ maxLength: 32 }),
  text: Type.String(),
}));

/** The peer ended the link and said why; do not answer it. */
export class PeerError extends WireError {}

/** An `error` frame: the last that is sent on a link. */
export function encodeError(error: WireError): Uint8Array<ArrayBuffer> {
  const text = error.message.slice(0, ERROR_TEXT_CHARACTERS_MAX);
  return encodeFrame(
    FRAME.error,
    new TextEncoder().encode(JSON.stringify({ code: error.code, text })),
  );
}

/** What a peer's `error` frame says. */
export function readError(payload: Uint8Array): PeerError {
  let value: unknown;
  try {
    value = parseJson(payload);
  } catch {
    value = undefined; // A broken farewell is a farewell all the same.
  }
  if (!ERROR.Check(value)) {
    return new PeerError("invalid-message", "Peer sent an unreadable error");
  }
  return new PeerError(
    isWireCode(value.code) ? value.code : "invalid-message",
    value.text.slice(0, ERROR_TEXT_CHARACTERS_MAX),
  );
}

/**
 * One side of a handshake: hello, challenge, proof, welcome. The dialer proves
 * the key first, so that a stranger who dials learns nothing to guess it by.
 */
export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #dials: boolean;
  readonly #reader = new FrameReader(HANDSHAKE_FRAME_BYTES_MAX);
  readonly #own: Uint8Array<ArrayBuffer>;
  #prefaceBytes = 0;
  #theirs: Uint8Array | undefined;
  #peer: Identity | undefined;
  #peerSilentMsMax: number | undefined;

  constructor(side: "dial" | "accept", options: HandshakeOptions) {
    this.#dials = side === "dial";
    this.#options = options;
    const { self, key, nonce, silentMsMax } = options;
    this.#own = new TextEncoder().encode(JSON.stringify({
      versions: [PROTOCOL_VERSION],
      ...self,
      nonce: Buffer.from(nonce).toString("hex"),
      keyed: key !== undefined,
      silentMs: silentMsMax,
    }));
  }

  /** What to send before anything is read. */
  start(): Uint8Array[] {
    return this.#dials
      ? [PREFACE, encodeFrame(FRAME.hello, this.#own)]
      : [PREFACE];
  }

  /**
   * Handles bytes from the peer, any number.
   *
   * @throws {PeerError} The peer refused; close.
   * @throws {WireError} We refuse: send {@linkcode encodeError}, then close.
   */
  push(chunk: Uint8Array): HandshakeStep {
    const skip = this.#checkPreface(chunk);
    this.#reader.push(chunk.subarray(skip));
    const send: Uint8Array[] = [];
    let frame = this.#reader.next();
    while (frame !== undefined) {
      const over = this.#handle(frame, send);
      if (over !== undefined) {
        return {
          send,
          peer: over,
          peerSilentMsMax: this.#peerSilentMsMax,
          rest: this.#reader.takeRest(),
        };
      }
      frame = this.#reader.next();
    }
    return { send };
  }

  #checkPreface(chunk: Uint8Array): number {
    let at = 0;
    while (at < chunk.length && this.#prefaceBytes < PREFACE.length) {
      if (chunk[at] !== PREFACE[this.#prefaceBytes]) {
        throw new WireError(
          "not-skein",
          "Peer does not speak Skein's protocol: its first bytes are not the preface",
        );
      }
      at += 1;
      this.#prefaceBytes += 1;
    }
    return at;
  }

  #handle(frame: Frame, send: Uint8Array[]): Identity | undefined {
    if (frame.kind === FRAME.error) throw readError(frame.payload);
    const expected = this.#dials
      ? (this.#theirs === undefined ? FRAME.challenge : FRAME.welcome)
      : (this.#theirs === undefined ? FRAME.hello : FRAME.proof);
    if (frame.kind !== expected) {
      throw new WireError(
        "invalid-message",
        `Cannot shake hands: frame is of kind ${frame.kind}, wanted ${expected}`,
      );
    }
    if (this.#theirs === undefined) {
      this.#peer = this.#checkGreeting(frame.payload);
      this.#theirs = frame.payload.slice();
      send.push(
        this.#dials
          ? this.#proof(FRAME.proof)
          : encodeFrame(FRAME.challenge, this.#own),
      );
      return undefined;
    }
    this.#checkProof(frame.payload);
    if (!this.#dials) send.push(this.#proof(FRAME.welcome));
    this.#reader.bytesMax = FRAME_BYTES_MAX;
    return this.#peer;
  }

  #checkGreeting(payload: Uint8Array): Identity {
    const value = parseJson(payload);
    if (!GREETING.Check(value)) {
      throw new WireError(
        "invalid-message",
        "Cannot shake hands: wrong fields",
      );
    }
    const { self, key, accepts } = this.#options;
    if (!value.versions.includes(PROTOCOL_VERSION)) {
      throw new WireError(
        "version-mismatch",
        `Peer speaks protocol version ${
          value.versions.join(", ")
        }, this node speaks ${PROTOCOL_VERSION}`,
      );
    }
    if (value.cluster !== self.cluster) {
      throw new WireError(
        "cluster-mismatch",
        `Peer belongs to cluster "${value.cluster}", this node to "${self.cluster}"`,
      );
    }
    const role = accepts.find((accepted) => accepted === value.role);
    if (role === undefined) {
      throw new WireError(
        "role-mismatch",
        `Peer has role "${value.role}", wanted ${accepts.join(" or ")}`,
      );
    }
    if (value.keyed !== (key !== undefined)) {
      throw new WireError(
        "key-required",
        value.keyed
          ? "Peer has a cluster key, this node has none"
          : "This node has a cluster key, peer has none",
      );
    }
    const { cluster, id, incarnation } = value;
    this.#peerSilentMsMax = value.silentMs;
    return { cluster, role, id, incarnation };
  }

  #proof(kind: number): Uint8Array {
    const { key } = this.#options;
    const side = this.#dials ? "dialer" : "acceptor";
    const text = key === undefined
      ? "{}"
      : JSON.stringify({ proof: this.#hmac(key, side).toString("hex") });
    return encodeFrame(kind, new TextEncoder().encode(text));
  }

  #checkProof(payload: Uint8Array): void {
    const value = parseJson(payload);
    if (!PROOF.Check(value)) {
      throw new WireError("invalid-message", "Cannot shake hands: wrong proof");
    }
    const { key } = this.#options;
    if (key === undefined) return;
    const wanted = this.#hmac(key, this.#dials ? "acceptor" : "dialer");
    const given = Buffer.from(value.proof ?? "", "hex");
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
      throw new WireError("wrong-key", "Peer does not have this cluster's key");
    }
  }

  /** Binds the proof to both greetings, nonces included, and to its side. */
  #hmac(key: Uint8Array, side: "dialer" | "acceptor"): Buffer {
    const theirs = this.#theirs ?? new Uint8Array(0);
    const [hello, challenge] = this.#dials
      ? [this.#own, theirs]
      : [theirs, this.#own];
    return createHmac("sha256", key).update(`skein ${side} ${hello.length}\n`)
      .update(hello).update(challenge).digest();
  }
}
