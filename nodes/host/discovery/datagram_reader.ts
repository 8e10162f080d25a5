/** Reads datagrams, and not more of them than a process can bear. */

import type { Address } from "../../../protocol/address.ts";
import { DATAGRAM_BYTES } from "../../../protocol/discovery.ts";

/** Datagrams read in a second; what comes beyond is the system's to drop. */
export const DATAGRAMS_PER_SECOND_MAX = 1_000;

const SECOND_MS = 1_000;

/** After a read that failed, though the socket is open. */
const AGAIN_AFTER_MS = 100;

/** Who gets what is read. */
export interface DatagramReaderOptions {
  /** @param bytes Overwritten by the next one. */
  onDatagram(bytes: Uint8Array, from: Address): void;
}

/** Reads one socket until it is closed. What `onDatagram` throws ends the process. */
export class DatagramReader {
  /** Datagrams read. */
  received = 0;
  /** Seconds in which nothing more was read for want of allowance. */
  pauses = 0;
  /** Reads that failed. */
  failures = 0;
  readonly #conn: Deno.DatagramConn;
  readonly #options: DatagramReaderOptions;
  /** One byte more than is allowed, so that what is too long shows. */
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES + 1);
  #secondSinceMs = -Infinity;
  #inSecond = 0;
  #isClosed = false;
  #wake: () => void = () => {};

  /** @param conn Belongs to the reader from now on. */
  constructor(conn: Deno.DatagramConn, options: DatagramReaderOptions) {
    this.#conn = conn;
    this.#options = options;
    void this.#read();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#conn.close();
    this.#wake();
  }

  async #read(): Promise<void> {
    while (!this.#isClosed) {
      const datagram = await this.#receive();
      if (datagram === undefined) continue;
      // A mistake of whoever takes it is ours, and not for the next one to hide.
      this.#options.onDatagram(...datagram);
      await this.#pace();
    }
  }

  /** The next one; undefined if none came. */
  async #receive(): Promise<[Uint8Array, Address] | undefined> {
    try {
      const [bytes, from] = await this.#conn.receive(this.#buffer);
      if (this.#isClosed || from.transport !== "udp") return undefined;
      this.received += 1;
      return [bytes, { host: from.hostname, port: from.port }];
    } catch (error) {
      if (this.#isClosed) return undefined;
      if (error instanceof Deno.errors.BadResource) throw error;
      // An error that a peer's system reported, or want of memory.
      this.failures += 1;
      await this.#wait(AGAIN_AFTER_MS);
      return undefined;
    }
  }

  async #pace(): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#secondSinceMs >= SECOND_MS) {
      this.#secondSinceMs = nowMs;
      this.#inSecond = 0;
    }
    this.#inSecond += 1;
    if (this.#inSecond < DATAGRAMS_PER_SECOND_MAX) return;
    this.pauses += 1;
    await this.#wait(this.#secondSinceMs + SECOND_MS - nowMs);
  }

  /** Waits, or less if the reader is closed. */
  async #wait(ms: number): Promise<void> {
    if (this.#isClosed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
