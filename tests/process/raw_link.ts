/** A framed connection by hand, for what no well-behaved peer would send. */

import {
  encodeFrame,
  FRAME,
  type Frame,
  FrameReader,
  PREFACE,
} from "../../protocol/frame.ts";
import { Handshake, type Identity } from "../../protocol/handshake.ts";
import { DATA_HEADER_BYTES, writeDataHead } from "../../protocol/chain.ts";
import type { ChainFleet } from "./chain_fleet.ts";
import { bounded } from "./until.ts";

const READ_BYTES = 65_536;

/** Who we claim to be, unless a test says otherwise. */
export const STRANGER: Identity = {
  cluster: "skein",
  role: "client",
  id: "stranger",
  incarnation: "00000000000000aa",
};

/** What a node says before it closes a link. */
export interface Farewell {
  readonly code: string;
  readonly text: string;
}

/** A connection whose bytes are the test's own. */
export class RawLink implements AsyncDisposable {
  readonly #conn: Deno.TcpConn;
  readonly #frames: Frame[] = [];
  #reader = new FrameReader();
  #prefaceLeft = PREFACE.length;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Connects, and says nothing yet. */
  static async connect(fleet: ChainFleet, to: string): Promise<RawLink> {
    return new RawLink(await fleet.connect(to));
  }

  /** Connects and shakes hands. */
  static async greet(
    fleet: ChainFleet,
    options: {
      readonly to: string;
      readonly as?: Identity;
      readonly key?: Uint8Array;
    },
  ): Promise<RawLink> {
    const { as = STRANGER, key } = options;
    const link = await RawLink.connect(fleet, options.to);
    const handshake = new Handshake("dial", {
      self: as,
      accepts: ["chain"],
      nonce: crypto.getRandomValues(new Uint8Array(16)),
      ...(key !== undefined && { key }),
    });
    try {
      await link.#shakeHands(handshake);
      return link;
    } catch (error) {
      await link[Symbol.asyncDispose]();
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

  /** Reads until the node closes; returns its last words, if any. */
  async farewell(): Promise<Farewell | undefined> {
    await bounded("the node closes the link", this.#readAll());
    const last = this.#frames.at(-1);
    if (last?.kind !== FRAME.error) return undefined;
    return JSON.parse(new TextDecoder().decode(last.payload));
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
      this.#reader.push(rest);
      return;
    }
  }

  async #readAll(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      let count: number | null;
      try {
        count = await this.#conn.read(buffer);
      } catch (error) {
        if (isGone(error)) return;
        throw error;
      }
      if (count === null) return;
      const skip = Math.min(this.#prefaceLeft, count);
      this.#prefaceLeft -= skip;
      this.#reader.push(buffer.subarray(skip, count));
      for (let frame; (frame = this.#reader.next()) !== undefined;) {
        this.#frames.push({ kind: frame.kind, payload: frame.payload.slice() });
      }
    }
  }
}

/** A `hello` with fields of the test's choice. */
export function helloOf(
  fields: Readonly<Record<string, unknown>>,
): Uint8Array {
  return encodeFrame(
    FRAME.hello,
    new TextEncoder().encode(JSON.stringify({
      versions: [1],
      ...STRANGER,
      nonce: "0".repeat(32),
      keyed: false,
      ...fields,
    })),
  );
}

/** A `data` frame around any bytes. */
export function dataFrame(
  text: Uint8Array,
  head: {
    readonly client?: bigint;
    readonly offset?: number;
    readonly messages?: number;
    readonly base?: boolean;
  } = {},
): Uint8Array {
  const frame = new Uint8Array(DATA_HEADER_BYTES + text.length);
  writeDataHead(frame, {
    client: 0xaan,
    offset: 0,
    messages: 1,
    base: true,
    pipelined: false,
    ...head,
    textBytes: text.length,
  });
  frame.set(text, DATA_HEADER_BYTES);
  return frame;
}

function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionAborted;
}
