/** The open door of a node: sorts who comes in, and refuses who must not. */

import {
  type Address,
  formatAddress,
  isLoopbackAddress,
  isPrivateAddress,
} from "../../protocol/address.ts";
import { WireError } from "../../protocol/errors.ts";
import { PREFACE } from "../../protocol/frame.ts";
import { encodeError } from "../../protocol/handshake.ts";
import {
  closeConn,
  type Greeting,
  HANDSHAKE_WAIT_MS,
  Link,
  type OpenLink,
  shakeHands,
} from "./link.ts";
import type { Log } from "./log.ts";
import { areFilesFree } from "./open_files.ts";

/** Bytes of a connection's first read: they show what it speaks. */
const FIRST_READ_BYTES = 4_096;

/** How long a refused stranger may wait before it says what it speaks. */
const STRANGER_WAIT_MS = 2_000;

/** Refusals and failures logged in a second; the rest is only counted. */
const REFUSALS_LOGGED_MAX = 5;

/** Refusals that are said at once; more are closed without a word. */
const REFUSALS_SAID_MAX = 64;

/** Descriptors that are left for the disk, other ports and refusals. */
const FILES_SPARE = 256;

/** How many connections are let in before descriptors are counted again. */
const FILES_CHECK_EVERY = 64;

/** How long it is believed that there are no more descriptors. */
const FILES_WAIT_MS = 1_000;

/** From where plain text is accepted. */
export type LinesFrom = "none" | "loopback" | "private" | "any";

/** What a listener needs to know, and whom it hands connections to. */
export interface ListenerOptions {
  readonly listen: Address;
  readonly greeting: Greeting;
  readonly silentMsMax: number;
  readonly lines: LinesFrom;
  /** Connections at once, handshakes included. */
  readonly connectionsMax: number;
  /** How long a handshake may take; 5 s unless given. */
  readonly handshakeWaitMs?: number;
  readonly log: Log;
  /** A framed link whose peer has shown who it is. */
  onLink(open: OpenLink): void;
  /** A plain-text connection; `first` was read already. */
  onLines(link: Link, first: Uint8Array): void;
  /**
   * How a plain-text connection is refused, as a line; by default as a chain
   * does. `first` is what it began with.
   */
  lineRefusal?(error: WireError, first: Uint8Array): string;
}

/** Accepts connections until it is closed. */
export class Listener {
  /** Where it listens, with the port that the system chose. */
  readonly address: Address;
  /** Connections refused, for metrics. */
  refused = 0;
  readonly #options: ListenerOptions;
  readonly #listener: Deno.TcpListener;
  readonly #waiting = new Set<Deno.Conn>();
  #isClosed = false;
  #open = 0;
  #refusing = 0;
  /** So many connections do not want for descriptors. */
  #filesFor = FILES_CHECK_EVERY;
  #filesCheckedMs = -Infinity;
  #loggedSinceMs = 0;
  #logged = 0;

  /** @throws {Error} The system's error, when the address cannot be used. */
  constructor(options: ListenerOptions) {
    this.#options = options;
    const { host, port } = options.listen;
    this.#listener = Deno.listen({ hostname: host, port });
    this.address = { host, port: this.#listener.addr.port };
    void this.#accept();
  }

  /** Says that a connection handed out is over. */
  release(): void {
    this.#open -= 1;
  }

  /** Accepts no more, and ends handshakes under way. A second call does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
    for (const conn of this.#waiting) closeConn(conn);
  }

  async #accept(): Promise<void> {
    for (;;) {
      try {
        const conn = await this.#listener.accept();
        conn.setNoDelay(true);
        // Somebody who only listens may be gone for days unnoticed.
        conn.setKeepAlive(true);
        void this.#sort(conn);
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return;
        if (error instanceof Deno.errors.Interrupted) return;
        // Out of file descriptors, or reset before we came: the rest must live.
        if (this.#mayLog()) {
          this.#options.log.warn("Cannot accept a connection", { error });
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #sort(conn: Deno.TcpConn): Promise<void> {
    const { greeting } = this.#options;
    const ip = conn.remoteAddr.hostname;
    this.#open += 1;
    const full = this.#whyFull();
    if (full !== undefined) {
      return await this.#refuse(conn, new WireError("busy", full));
    }
    const isOpen = this.#options.lines === "any" || greeting.key !== undefined;
    if (!isOpen && !isPrivateAddress(ip)) {
      const text =
        `This node has no cluster key and talks to private addresses only, not to ${ip}`;
      return await this.#refuse(conn, new WireError("not-private", text));
    }
    const first = await this.#readFirst(conn, this.#firstWaitMs);
    if (first === undefined) return this.release();
    if (first[0] === PREFACE[0]) await this.#greet(conn, first);
    else await this.#admitLines(conn, first);
  }

  /** Why there is no room for the newest connection, if so. */
  #whyFull(): string | undefined {
    const { connectionsMax } = this.#options;
    if (this.#open > connectionsMax) {
      return `This node has ${connectionsMax} connections, which is its limit`;
    }
    if (this.#open <= this.#filesFor) return undefined;
    const nowMs = performance.now();
    const isKnown = nowMs - this.#filesCheckedMs < FILES_WAIT_MS;
    if (!isKnown && areFilesFree(FILES_SPARE + FILES_CHECK_EVERY)) {
      this.#filesFor = this.#open + FILES_CHECK_EVERY;
      return undefined;
    }
    if (!isKnown) this.#filesCheckedMs = nowMs;
    const count = this.#open - 1 - this.#refusing;
    return `This node has ${count} connections, and may open no more files`;
  }

  /**
   * How long a stranger may be silent. Who may type lines may take his time;
   * a node speaks at once, and whoever does not only takes its place.
   */
  get #firstWaitMs(): number | undefined {
    if (this.#options.lines !== "none") return undefined;
    return this.#options.handshakeWaitMs ?? HANDSHAKE_WAIT_MS;
  }

  async #readFirst(
    conn: Deno.TcpConn,
    waitMs: number | undefined,
  ): Promise<Uint8Array | undefined> {
    const buffer = new Uint8Array(FIRST_READ_BYTES);
    this.#waiting.add(conn);
    const timer = waitMs === undefined
      ? undefined
      : setTimeout(() => closeConn(conn), waitMs);
    try {
      const count = await conn.read(buffer);
      if (count !== null) return buffer.slice(0, count);
    } catch {
      // Gone before it said anything, or we are closing: nobody to tell.
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(conn);
    }
    closeConn(conn);
    return undefined;
  }

  async #greet(conn: Deno.TcpConn, first: Uint8Array): Promise<void> {
    const { greeting, silentMsMax, onLink } = this.#options;
    const waitMs = this.#options.handshakeWaitMs ?? HANDSHAKE_WAIT_MS;
    this.#waiting.add(conn);
    try {
      onLink(
        await shakeHands(conn, {
          side: "accept",
          greeting,
          first,
          silentMsMax,
          waitMs,
        }),
      );
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      // Whoever has gone was not refused: it stopped, or was late itself.
      if (error.code !== "link-lost") this.#noteRefusal(conn, error);
      this.release();
    } finally {
      this.#waiting.delete(conn);
    }
  }

  async #admitLines(conn: Deno.TcpConn, first: Uint8Array): Promise<void> {
    const { lines, onLines } = this.#options;
    const ip = conn.remoteAddr.hostname;
    const isAdmitted = lines === "any" ||
      (lines === "private" && isPrivateAddress(ip)) ||
      (lines === "loopback" && isLoopbackAddress(ip));
    if (isAdmitted) {
      onLines(new Link(conn, { silentMsMax: undefined }), first);
      return;
    }
    const text = `This node takes plain text from ${
      lines === "none" ? "nobody" : `${lines} addresses only, not from ${ip}`
    }`;
    await this.#refuse(conn, new WireError("lines-refused", text), first);
  }

  /** Tells a stranger why not, in the way it speaks. */
  async #refuse(
    conn: Deno.TcpConn,
    error: WireError,
    known?: Uint8Array,
  ): Promise<void> {
    this.#noteRefusal(conn, error);
    if (this.#refusing >= REFUSALS_SAID_MAX) {
      closeConn(conn);
      return this.release();
    }
    this.#refusing += 1;
    const first = known ?? await this.#readFirst(conn, STRANGER_WAIT_MS);
    if (first !== undefined) {
      const link = new Link(conn, { silentMsMax: undefined });
      const isFramed = first[0] === PREFACE[0];
      await link.close(
        isFramed ? frameRefusal(error) : new TextEncoder().encode(
          this.#options.lineRefusal?.(error, first) ?? lineRefusal(error),
        ),
      );
    }
    this.#refusing -= 1;
    this.release();
  }

  #noteRefusal(conn: Deno.TcpConn, error: WireError): void {
    this.refused += 1;
    if (!this.#mayLog()) return;
    this.#options.log.warn(`Refused a connection: ${error.message}`, {
      from: formatAddress({
        host: conn.remoteAddr.hostname,
        port: conn.remoteAddr.port,
      }),
      code: error.code,
      refused: this.refused,
    });
  }

  /** A few times in a second. */
  #mayLog(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#loggedSinceMs > 1_000) {
      this.#loggedSinceMs = nowMs;
      this.#logged = 0;
    }
    this.#logged += 1;
    return this.#logged <= REFUSALS_LOGGED_MAX;
  }
}

function lineRefusal(error: WireError): string {
  return `error 0 ${error.code} ${error.message}\n`;
}

function frameRefusal(error: WireError): Uint8Array {
  const frame = encodeError(error);
  const bytes = new Uint8Array(PREFACE.length + frame.length);
  bytes.set(PREFACE);
  bytes.set(frame, PREFACE.length);
  return bytes;
}
