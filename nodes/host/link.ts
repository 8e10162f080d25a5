/** Links: connections whose other end is known to live and to belong here. */

import {
  type Address,
  formatAddress,
  isLoopbackAddress,
} from "../../protocol/address.ts";
import { WireError } from "../../protocol/errors.ts";
import { encodeFrame, FRAME } from "../../protocol/frame.ts";
import {
  encodeError,
  Handshake,
  type HandshakeOptions,
  type Identity,
  PeerError,
} from "../../protocol/handshake.ts";
import { INCARNATION_BYTES } from "../../protocol/ids.ts";
import { settleWithin } from "./settle_within.ts";

/** Bytes that may wait to be sent on one link; beyond it the link is given up. */
export const SEND_QUEUE_BYTES_MAX = 2_097_152;

/** How long a connection or a handshake may take. */
export const HANDSHAKE_WAIT_MS = 5_000;

/** How long a closing link waits for the peer to read its last words. */
const LINGER_MS = 1_000;
const LINGER_BYTES_MAX = 4_194_304;

/** Bytes of a read during a handshake. */
const HANDSHAKE_READ_BYTES = 4_096;

/** A link sends a sign of life after a quarter of what the other side waits. */
const BEATS_PER_SILENCE = 4;

const BEAT = encodeFrame(FRAME.beat);

/** How a link is kept. */
export interface LinkOptions {
  /** How long a peer may be silent while we listen; undefined for plain text. */
  readonly silentMsMax: number | undefined;
  /** How long the peer listens in silence; as long as we do unless given. */
  readonly peerSilentMsMax?: number | undefined;
}

/** A write that tells of its end by a call. */
interface Alone {
  readonly bytes: Uint8Array;
  /** How much of it is written. */
  at: number;
  done(error?: WireError): void;
}

/**
 * A connection with signs of life in both directions. One read at a time; what
 * is sent goes out in order. A silent peer is noticed only while a read waits,
 * so that backpressure is never taken for death.
 */
export class Link {
  /** Where the peer is, for people. */
  readonly label: string;
  /** Whether the peer is a process of this machine. */
  readonly isLocal: boolean;
  readonly #conn: Deno.Conn;
  readonly #silentMsMax: number | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #checkedMs = performance.now();
  #listeningSinceMs: number | undefined;
  #wroteMs = performance.now();
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #isSending = false;
  #sending = Promise.resolve();
  /** The write under way, if it is one of {@linkcode write}. */
  #alone: Alone | undefined;
  #after: PromiseWithResolvers<void> | undefined;
  #isClosed = false;
  #failure: WireError | undefined;

  constructor(conn: Deno.Conn, options: LinkOptions) {
    this.#conn = conn;
    this.#silentMsMax = options.silentMsMax;
    const remote = conn.remoteAddr;
    this.label = remote.transport === "tcp"
      ? formatAddress({ host: remote.hostname, port: remote.port })
      : remote.transport;
    this.isLocal = isLocal(conn);
    if (this.#silentMsMax !== undefined) {
      const peerSilentMsMax = options.peerSilentMsMax ?? this.#silentMsMax;
      const everyMs = Math.min(this.#silentMsMax, peerSilentMsMax) /
        BEATS_PER_SILENCE;
      this.#timer = setInterval(() => this.#check(everyMs), everyMs);
    }
  }

  /**
   * Reads 1 to `into.length` bytes.
   *
   * @returns The number of bytes, or null when the peer has closed its side.
   * @throws {WireError} `timeout` or `link-lost`: the link is gone.
   */
  async read(into: Uint8Array): Promise<number | null> {
    this.#listeningSinceMs = performance.now();
    try {
      return await this.#conn.read(into);
    } catch (cause) {
      throw this.#lost(cause);
    } finally {
      this.#listeningSinceMs = undefined;
    }
  }

  /**
   * Sends whole frames or lines after what was sent before.
   *
   * @returns Once the operating system has them.
   * @throws {WireError} `link-lost`, or `busy` above {@linkcode SEND_QUEUE_BYTES_MAX}.
   */
  send(bytes: Uint8Array): Promise<void> {
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > SEND_QUEUE_BYTES_MAX) {
      this.#fail(
        new WireError(
          "busy",
          `Cannot send: ${this.#queuedBytes} bytes wait, limit is ${SEND_QUEUE_BYTES_MAX}`,
        ),
      );
    }
    if (!this.#isSending) return this.#sending = this.#drain(bytes);
    this.#queue.push(bytes);
    if (this.#alone !== undefined) this.#sending = this.#afterAlone();
    return this.#sending;
  }

  /**
   * As {@linkcode send}, for who has one write under way at a time, and a
   * hundred thousand a second: makes no promise of its own.
   *
   * @param done Called once, later; with the error that `send` throws, if any.
   */
  write(bytes: Uint8Array, done: (error?: WireError) => void): void {
    if (this.#isSending) {
      this.send(bytes).then(() => done(), done);
      return;
    }
    this.#isSending = true;
    this.#queuedBytes += bytes.length;
    this.#alone = { bytes, at: 0, done };
    this.#conn.write(bytes).then(this.#onWritten, this.#onFailed);
  }

  /** Breaks the connection at once. */
  abort(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    closeConn(this.#conn);
  }

  /**
   * Sends what waits and `lastWords`, lets the peer read them, and closes; all
   * of it within a second. Closing with unread input would reset the
   * connection and could take the last words with it.
   */
  async close(lastWords?: Uint8Array): Promise<void> {
    if (this.#isClosed) return;
    clearInterval(this.#timer);
    // A write that waits for a peer who does not read may outlive its
    // connection (Deno 2.7), so nothing but the clock ends this for certain.
    await settleWithin(this.#takeLeave(lastWords), LINGER_MS);
    this.abort();
  }

  async #takeLeave(lastWords?: Uint8Array): Promise<void> {
    try {
      if (lastWords !== undefined) await this.send(lastWords);
      else {await (this.#alone === undefined
          ? this.#sending
          : this.#afterAlone());}
      await this.#conn.closeWrite();
      const rest = new Uint8Array(65_536);
      for (let bytes = 0; bytes < LINGER_BYTES_MAX;) {
        const count = await this.#conn.read(rest);
        if (count === null) break;
        bytes += count;
      }
    } catch {
      // The peer did not wait for the end: nobody is left to tell.
    }
  }

  async #drain(first: Uint8Array): Promise<void> {
    this.#isSending = true;
    try {
      let next: Uint8Array | undefined = first;
      while (next !== undefined) {
        let at = await this.#conn.write(next);
        while (at < next.length) {
          at += await this.#conn.write(next.subarray(at));
        }
        this.#queuedBytes -= next.length;
        // Only beats need to know; asking for the time is a fiftieth of a write.
        if (this.#timer !== undefined) this.#wroteMs = performance.now();
        next = this.#queue.shift();
      }
    } catch (cause) {
      throw this.#lost(cause);
    } finally {
      // At once, not in a later turn: what is sent until then would be stuck.
      this.#isSending = false;
    }
  }

  readonly #onWritten = (count: number): void => {
    const alone = this.#alone;
    if (alone === undefined) return;
    alone.at += count;
    if (alone.at < alone.bytes.length) {
      const rest = alone.bytes.subarray(alone.at);
      this.#conn.write(rest).then(this.#onWritten, this.#onFailed);
      return;
    }
    this.#queuedBytes -= alone.bytes.length;
    if (this.#timer !== undefined) this.#wroteMs = performance.now();
    this.#alone = undefined;
    this.#isSending = false;
    const after = this.#after;
    if (after !== undefined) {
      this.#after = undefined;
      const next = this.#queue.shift();
      if (next !== undefined) this.#sending = this.#drain(next);
      after.resolve(next === undefined ? undefined : this.#sending);
    }
    alone.done();
  };

  readonly #onFailed = (cause: unknown): void => {
    const alone = this.#alone;
    const after = this.#after;
    const error = this.#lost(cause);
    this.#alone = undefined;
    this.#after = undefined;
    this.#isSending = false;
    after?.reject(error);
    alone?.done(error);
  };

  /** What was queued behind a write of {@linkcode write} is sent, if anything was. */
  #afterAlone(): Promise<void> {
    this.#after ??= Promise.withResolvers<void>();
    return this.#after.promise;
  }

  /** Says that we live, and looks whether the peer does. */
  #check(everyMs: number): void {
    const nowMs = performance.now();
    const lateMs = nowMs - this.#checkedMs - everyMs;
    this.#checkedMs = nowMs;
    if (!this.#isSending && nowMs - this.#wroteMs >= everyMs / 2) {
      this.send(BEAT).catch(() => {
        // The pending read reports the loss; a beat needs no second report.
      });
    }
    // Whoever was stopped himself must not take the others for dead.
    if (lateMs > everyMs) {
      this.#listeningSinceMs &&= nowMs;
      return;
    }
    const sinceMs = this.#listeningSinceMs;
    const silentMsMax = this.#silentMsMax ?? Infinity;
    if (sinceMs === undefined || nowMs - sinceMs < silentMsMax) return;
    this.#fail(
      new WireError("timeout", `Peer was silent for ${silentMsMax} ms`),
    );
  }

  #fail(error: WireError): void {
    this.#failure ??= error;
    this.abort();
  }

  #lost(cause: unknown): WireError {
    this.abort();
    if (this.#failure !== undefined) return this.#failure;
    return new WireError("link-lost", reasonOf(cause), { cause });
  }
}

/** How to shake hands; the nonce is drawn anew each time. */
export type Greeting = Omit<HandshakeOptions, "nonce">;

/** A framed link whose peer has shown who it is. */
export interface OpenLink {
  readonly link: Link;
  readonly peer: Identity;
  /** Bytes that came after the handshake. */
  readonly rest: Uint8Array;
}

/** How to dial. */
export interface DialOptions {
  readonly silentMsMax: number;
  /** How long the connection may take, and then the handshake; 5 s unless given. */
  readonly waitMs?: number;
  /** Gives the attempt up; a link that stands already is left alone. */
  readonly signal?: AbortSignal;
}

/**
 * Connects and shakes hands.
 *
 * @throws {WireError} Why not; its code says whether trying again makes sense.
 */
export async function dial(
  address: Address,
  greeting: Greeting,
  options: DialOptions,
): Promise<OpenLink> {
  const { silentMsMax, signal } = options;
  const waitMs = options.waitMs ?? HANDSHAKE_WAIT_MS;
  const conn = await connect(address, { waitMs, signal });
  const onAbort = () => closeConn(conn);
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    return await shakeHands(conn, {
      side: "dial",
      greeting,
      first: new Uint8Array(0),
      silentMsMax,
      waitMs,
    });
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/**
 * Brings a handshake to its end; `first` was read already.
 *
 * @throws {WireError} The connection is closed, and the peer was told why.
 */
export async function shakeHands(
  conn: Deno.Conn,
  options: {
    side: "dial" | "accept";
    greeting: Greeting;
    first: Uint8Array;
    silentMsMax: number;
    waitMs?: number;
  },
): Promise<OpenLink> {
  const waitMs = options.waitMs ?? HANDSHAKE_WAIT_MS;
  const { silentMsMax } = options;
  const nonce = crypto.getRandomValues(new Uint8Array(16));
  const handshake = new Handshake(options.side, {
    ...options.greeting,
    nonce,
    silentMsMax,
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    closeConn(conn);
  }, waitMs);
  try {
    await writeAll(conn, handshake.start());
    let chunk = options.first;
    const buffer = new Uint8Array(HANDSHAKE_READ_BYTES);
    for (;;) {
      const step = handshake.push(chunk);
      await writeAll(conn, step.send);
      const { peer, rest, peerSilentMsMax } = step;
      if (peer !== undefined && rest !== undefined) {
        const link = new Link(conn, { silentMsMax, peerSilentMsMax });
        return { link, peer, rest };
      }
      const count = await conn.read(buffer);
      if (count === null) {
        throw new WireError("link-lost", "Peer closed during the handshake");
      }
      chunk = buffer.slice(0, count);
    }
  } catch (cause) {
    const error = isLate
      ? new WireError("timeout", `Handshake took longer than ${waitMs} ms`)
      : cause instanceof WireError
      ? cause
      : new WireError("link-lost", reasonOf(cause), { cause });
    const link = new Link(conn, { silentMsMax: undefined });
    const isTheirs = error instanceof PeerError || error.code === "link-lost";
    if (isLate || isTheirs) link.abort();
    else void link.close(encodeError(error));
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Writes all, or as much as the peer takes. Whether it has gone is for the
 * next read to say: its last words may still be there.
 */
async function writeAll(
  conn: Deno.Conn,
  parts: readonly Uint8Array[],
): Promise<void> {
  try {
    for (const bytes of parts) {
      for (let at = 0; at < bytes.length;) {
        at += await conn.write(bytes.subarray(at));
      }
    }
  } catch {
    // See above.
  }
}

/** Eight random bytes as 16 hexadecimal digits: a process's incarnation. */
export function drawIncarnation(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(INCARNATION_BYTES));
  return bytes.toHex();
}

/**
 * How long to wait before attempt number `attempt`, 0 being the first: "full
 * jitter", so that those who lost the same node do not all return at once.
 *
 * @param dice At least 0, below 1.
 */
export function backoffMs(
  attempt: number,
  dice: number,
  waitMsMax: number,
): number {
  return attempt === 0 ? 0 : dice * Math.min(waitMsMax, 50 * 2 ** attempt);
}

/**
 * Connects.
 *
 * @throws {WireError} `timeout` or `link-lost`; its cause is the system's error.
 */
export async function connect(
  address: Address,
  options: { waitMs: number; signal?: AbortSignal | undefined },
): Promise<Deno.TcpConn> {
  const { waitMs, signal } = options;
  if (signal?.aborted) throw new WireError("link-lost", "Given up");
  let isGivenUp = false;
  const connecting = Deno.connect({
    hostname: address.host,
    port: address.port,
  });
  const given = Promise.withResolvers<never>();
  const giveUp = (code: "timeout" | "link-lost", text: string) => {
    isGivenUp = true;
    given.reject(new WireError(code, text));
  };
  const timer = setTimeout(
    () => giveUp("timeout", `No answer within ${waitMs} ms`),
    waitMs,
  );
  const onAbort = () => giveUp("link-lost", "Given up");
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const conn = await Promise.race([connecting, given.promise]);
    // Given up in the same turn, and nobody waits for it any more.
    if (isGivenUp) await given.promise;
    conn.setNoDelay(true);
    return conn;
  } catch (cause) {
    // Should it come after all, nobody waits for it any more.
    if (isGivenUp) connecting.then(closeConn, () => {});
    if (cause instanceof WireError) throw cause;
    throw new WireError("link-lost", reasonOf(cause), { cause });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Closes a connection that may be closed already. */
export function closeConn(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch (error) {
    // It is closed already, which is what was wanted.
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** Nobody else can speak from an address of this machine and hear the answers. */
function isLocal({ remoteAddr, localAddr }: Deno.Conn): boolean {
  if (remoteAddr.transport !== "tcp" || localAddr.transport !== "tcp") {
    return remoteAddr.transport === "unix";
  }
  return isLoopbackAddress(remoteAddr.hostname) ||
    remoteAddr.hostname === localAddr.hostname;
}

function reasonOf(cause: unknown): string {
  if (cause instanceof Deno.errors.ConnectionRefused) {
    return "connection refused";
  }
  if (cause instanceof Deno.errors.ConnectionReset) return "connection reset";
  if (cause instanceof Deno.errors.BrokenPipe) return "connection reset";
  return cause instanceof Error ? cause.message : String(cause);
}
