/** A connection to a node's replica port by hand, for what no well-behaved node would send. */

import { parseAddress } from "../../../protocol/address.ts";
import {
  encodeFrame,
  FRAME,
  type Frame,
  FrameReader,
  PREFACE,
} from "../../../protocol/frame.ts";
import { Handshake, type Identity } from "../../../protocol/handshake.ts";
import { encodeReplicaHello } from "../../../protocol/replica_talk.ts";
import type { ReplicaHello } from "../../../protocol/replica.ts";
import { bounded } from "../until.ts";
import { isGone } from "./raw_client.ts";

const READ_BYTES = 65_536;

/** Who we claim to be, unless a test says otherwise; drawn anew for each connection. */
export function stranger(): Identity {
  const incarnation = crypto.getRandomValues(new Uint8Array(8)).toHex();
  return { cluster: "skein", role: "chat", id: "stranger", incarnation };
}

/** What we say of ourselves, unless a test says otherwise. */
export const STRANGER_HELLO: ReplicaHello = {
  store: "5a5a5a5a5a5a5a5a",
  kind: "server",
  priority: 0,
  group: undefined,
  clientAddress: undefined,
};

/** The last words of a node on a link. */
export interface Farewell {
  readonly code: string;
  readonly text: string;
}

/** How to come in. */
export interface GreetOptions {
  readonly as?: Partial<Identity>;
  readonly key?: string;
  /** What to say after the handshake; nothing if undefined. */
  readonly hello?: Partial<ReplicaHello> | undefined;
}

/** A connection whose bytes are the test's own. */
export class RawPeer implements AsyncDisposable {
  readonly #conn: Deno.TcpConn;
  readonly #reader = new FrameReader();
  readonly #frames: Frame[] = [];
  #prefaceLeft = PREFACE.length;
  #text = "";

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Connects, and says nothing yet. */
  static async connect(address: string): Promise<RawPeer> {
    const { host, port } = parseAddress(address);
    return new RawPeer(
      await bounded(
        `${address} answers`,
        Deno.connect({ hostname: host, port }),
      ),
    );
  }

  /** Connects, shakes hands, and says hello if it is given. */
  static async greet(address: string, options: GreetOptions): Promise<RawPeer> {
    const { as, key, hello } = options;
    const peer = await RawPeer.connect(address);
    const handshake = new Handshake("dial", {
      self: { ...stranger(), ...as },
      accepts: ["chat", "witness"],
      nonce: crypto.getRandomValues(new Uint8Array(16)),
      ...key !== undefined && { key: new TextEncoder().encode(key) },
    });
    try {
      await peer.#shakeHands(handshake);
      if (hello === undefined) return peer;
      await peer.write(encodeReplicaHello({ ...STRANGER_HELLO, ...hello }));
      return peer;
    } catch (error) {
      await peer[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Writes all of it; what a node that has closed does not take is dropped. */
  async write(...parts: readonly Uint8Array[]): Promise<void> {
    try {
      for (const part of parts) {
        for (let at = 0; at < part.length;) {
          at += await this.#conn.write(part.subarray(at));
        }
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  /** Reads until a frame of this kind has come. */
  async frame(kind: number): Promise<Frame> {
    for (;;) {
      const found = this.#frames.find((frame) => frame.kind === kind);
      if (found !== undefined) return found;
      const isOpen = await bounded(`a frame of kind ${kind}`, this.#read());
      if (!isOpen) throw new Error(`Closed without a frame of kind ${kind}`);
    }
  }

  /** Reads until the node closes; returns its last words, if any. */
  async farewell(): Promise<Farewell | undefined> {
    while (await bounded("the node closes the link", this.#read()));
    const last = this.#frames.at(-1);
    if (last?.kind !== FRAME.error) return undefined;
    return JSON.parse(new TextDecoder().decode(last.payload));
  }

  /** Reads until the node closes; returns what it said as text, for whoever came with text. */
  async farewellText(): Promise<string> {
    while (await bounded("the node closes the connection", this.#read()));
    return this.#text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#conn.close();
    await Promise.resolve();
  }

  async #shakeHands(handshake: Handshake): Promise<void> {
    await this.write(...handshake.start());
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      const count = await bounded(
        "the handshake goes on",
        this.#conn.read(buffer),
      );
      if (count === null) throw new Error("Closed during the handshake");
      const { send, peer, rest } = handshake.push(buffer.subarray(0, count));
      await this.write(...send);
      if (peer === undefined || rest === undefined) continue;
      this.#prefaceLeft = 0;
      this.#take(rest);
      return;
    }
  }

  async #read(): Promise<boolean> {
    const buffer = new Uint8Array(READ_BYTES);
    let count: number | null;
    try {
      count = await this.#conn.read(buffer);
    } catch (error) {
      if (!isGone(error)) throw error;
      count = null;
    }
    if (count === null) return false;
    this.#take(buffer.subarray(0, count));
    return true;
  }

  #take(bytes: Uint8Array): void {
    const isText = this.#prefaceLeft === PREFACE.length &&
      bytes[0] !== PREFACE[0];
    if (isText) {
      this.#text += new TextDecoder().decode(bytes);
      return;
    }
    const skip = Math.min(this.#prefaceLeft, bytes.length);
    this.#prefaceLeft -= skip;
    this.#reader.push(bytes.subarray(skip));
    for (let frame; (frame = this.#reader.next()) !== undefined;) {
      this.#frames.push({ kind: frame.kind, payload: frame.payload.slice() });
    }
  }
}

/** A `hello` of the handshake with fields of the test's choice. */
export function greetingOf(
  fields: Readonly<Record<string, unknown>>,
): Uint8Array {
  return jsonFrame(FRAME.hello, {
    versions: [1],
    ...stranger(),
    nonce: "0".repeat(32),
    keyed: true,
    ...fields,
  });
}

/** A frame with JSON in it. */
export function jsonFrame(kind: number, value: unknown): Uint8Array {
  return encodeFrame(kind, new TextEncoder().encode(JSON.stringify(value)));
}
