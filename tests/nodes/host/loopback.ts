/** Real connections on loopback, and what a test does at their ends. */

import { assert } from "@std/assert";
import type { Greeting, Link } from "../../../nodes/host/link.ts";
import { FRAME, type Frame, FrameReader } from "../../../protocol/frame.ts";
import type { Role } from "../../../protocol/handshake.ts";
import { bounded } from "../../process/until.ts";
import { joined } from "../../protocol/splits.ts";

/** This machine, a port of the system's choice. */
export const LISTEN = { hostname: "127.0.0.1", port: 0 } as const;

/** The two ends of one connection. */
export interface Ends extends Disposable {
  readonly dialed: Deno.TcpConn;
  readonly accepted: Deno.TcpConn;
}

/** Connects two ends; both are closed in the end, if they are not yet. */
export async function connectEnds(): Promise<Ends> {
  using listener = Deno.listen(LISTEN);
  const { port } = listener.addr;
  const [dialed, accepted] = await Promise.all([
    Deno.connect({ ...LISTEN, port }),
    listener.accept(),
  ]);
  return {
    dialed,
    accepted,
    [Symbol.dispose]() {
      closeOnce(dialed);
      closeOnce(accepted);
    },
  };
}

/** Closes a connection that may be closed already. */
export function closeOnce(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** A port that nobody listens on. */
export function freePort(): number {
  using listener = Deno.listen(LISTEN);
  return listener.addr.port;
}

/** How a node introduces itself. */
export function greeting(
  changes: {
    id?: string;
    cluster?: string;
    role?: Role;
    accepts?: readonly Role[];
    key?: Uint8Array;
  } = {},
): Greeting {
  const { id = "n1", cluster = "skein", role = "chain", key } = changes;
  return {
    self: { cluster, role, id, incarnation: "0123456789abcdef" },
    accepts: changes.accepts ?? ["chain", "client"],
    ...(key !== undefined && { key }),
  };
}

/** All bytes until the peer closes its side, or breaks the connection. */
export async function readToEnd(conn: Deno.Conn): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const into = new Uint8Array(65_536);
  try {
    for (;;) {
      const count = await bounded("the end", conn.read(into));
      if (count === null) break;
      pieces.push(into.slice(0, count));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
  return joined(pieces);
}

/** Reads until `isEnough` of the bytes so far. */
export async function readUntil(
  conn: { read(into: Uint8Array): Promise<number | null> },
  isEnough: (bytes: Uint8Array) => boolean,
): Promise<Uint8Array> {
  let bytes: Uint8Array<ArrayBufferLike> = new Uint8Array(0);
  const into = new Uint8Array(65_536);
  while (!isEnough(bytes)) {
    const count = await bounded("more bytes", conn.read(into));
    assert(count !== null, `it ended after ${bytes.length} bytes`);
    bytes = joined([bytes, into.subarray(0, count)]);
  }
  return bytes;
}

/** Whole frames in `bytes`. */
export function framesOf(bytes: Uint8Array): Frame[] {
  const reader = new FrameReader();
  reader.push(bytes);
  const frames: Frame[] = [];
  for (let frame = reader.next(); frame; frame = reader.next()) {
    frames.push(frame);
  }
  return frames;
}

/** Reads frames of a link until so many beats have come. */
export async function readBeats(link: Link, count: number): Promise<void> {
  await readUntil(
    link,
    (bytes) =>
      framesOf(bytes).filter(({ kind }) => kind === FRAME.beat).length >= count,
  );
}

/**
 * Lets what was begun on other connections come to its end: events of the
 * network that have happened are told before these round trips are over.
 */
export async function roundTrips(count = 10): Promise<void> {
  using ends = await connectEnds();
  const into = new Uint8Array(1);
  for (let i = 0; i < count; i++) {
    await ends.dialed.write(into);
    await ends.accepted.read(into);
    await ends.accepted.write(into);
    await ends.dialed.read(into);
  }
}
