/** Reads datagrams, and not more of them than a process can bear. */

import type { Address } from "../../../protocol/address.ts";
import { DATAGRAM_BYTES } from "../../../protocol/discovery.ts";

/** Datagrams read in a second; what comes beyond is the system's to drop. */
export const DATAGRAMS_PER_SECOND_MAX = 1_000;

/**
 * They are read in so many portions, so that a flood does not keep out all
 * others for the rest of a second.
 */
const PORTIONS_PER_SECOND = 10;

const PORTION_MAX = DATAGRAMS_PER_SECOND_MAX / PORTIONS_PER_SECOND;
const PORTION_MS = 1_000 / PORTIONS_PER_SECOND;

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
  /** Tenths of a second in which nothing more was read for want of allowance. */
  pauses = 0;
  /** Reads that failed. */
  failures = 0;
  readonly #conn: Deno.DatagramConn;
  readonly #options: DatagramReaderOptions;
  /** One byte more than is allowed, so that what is too long shows. */
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES + 1);
  #portionSinceMs = -Infinity;
  #inPortion = 0;
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
    if (nowMs - this.#portionSinceMs >= PORTION_MS) {
      this.#portionSinceMs = nowMs;
      this.#inPortion = 0;
    }
    this.#inPortion += 1;
    if (this.#inPortion < PORTION_MAX) return;
    this.pauses += 1;
    await this.#wait(this.#portionSinceMs + PORTION_MS - nowMs);
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
