/** What goes out on one connection: its part of a ring, and what is for it alone, in order. */

import { Buffer } from "node:buffer";
import { WireError } from "../../../protocol/errors.ts";
import type { Link } from "../../host/link.ts";
import type { Block, Framing, Ring } from "./ring.ts";

/** Bytes for one client alone that may wait; beyond it the client is slow. */
export const OWN_BYTES_MAX = 1_048_576;

/** Messages for one client alone that may wait: each costs memory of its own. */
export const OWN_COUNT_MAX = 16_384;

/** Below so many waiting bytes the client may ask for more. */
export const LOW_WATER_BYTES = 65_536;

/** Bytes that are copied together where own messages lie between others. */
const GATHER_BYTES_MAX = 65_536;

/**
 * Whoever is far behind and takes so many bytes in so long reads on, and is worth
 * waiting for; below it, one reader would hold up all others.
 */
const PACE_BYTES = 262_144;
const PACE_MS = 2_000;

/** How long one write may take: longer, and nobody reads. */
const WRITE_WAIT_MS = 30_000;

/** How long a connection that is closed may take to read its last words. */
const LAST_WORD_WAIT_MS = 5_000;

/** What a subscriber reports. Nothing more comes after `onOver`. */
export interface SubscriberEvents {
  /** It has fallen behind; cut it off. May come within any call. */
  onSlow(error: WireError): void;
  /** Some was written, and less than {@linkcode LOW_WATER_BYTES} wait for it alone. */
  onRoom(): void;
  /** The connection is over. Once, never within a call. */
  onOver(): void;
}

/** A message for one client alone, and the place in the ring at which it belongs. */
interface Own {
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** One write. */
interface Write {
  readonly bytes: Uint8Array;
  /** What the bytes lie in, if they were not copied. */
  readonly block: Block | undefined;
  readonly isOwn: boolean;
}

export class Subscriber {
  readonly framing: Framing;
  readonly #link: Link;
  readonly #events: SubscriberEvents;
  #ring: Ring | undefined;
  #position = 0;
  /** All up to here goes out before the end. */
  #until = Infinity;
  #own: Own[] = [];
  #ownAt = 0;
  #ownBytes = 0;
  /** Bytes that went into writes, ever. */
  #takenBytes = 0;
  /** While it is far behind: when it was seen to read on, and how far it was then. */
  #pace: { atMs: number; takenBytes: number } | undefined;
  #isWriting = false;
  #underWay: Write | undefined;
  #writeSinceMs = 0;
  #isClosing = false;
  #isOver = false;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(link: Link, framing: Framing, events: SubscriberEvents) {
    this.#link = link;
    this.framing = framing;
    this.#events = events;
  }

  get ring(): Ring | undefined {
    return this.#ring;
  }

  /** Where it reads on in its ring. */
  get position(): number {
    return this.#position;
  }

  /** Bytes for it alone that wait. */
  get ownBytes(): number {
    return this.#ownBytes;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  /**
   * Whether it would soon be dropped as slow although it reads: it is more than
   * `lagBytesMax` behind in its ring, or half of what may wait for it alone waits,
   * and it has taken {@linkcode PACE_BYTES} within {@linkcode PACE_MS}.
   */
  isLagging(nowMs: number, lagBytesMax: number): boolean {
    const lagBytes = (this.#ring?.end ?? 0) - this.#position;
    const isFar = lagBytes > lagBytesMax ||
      this.#ownBytes > OWN_BYTES_MAX / 2 ||
      this.#own.length - this.#ownAt > OWN_COUNT_MAX / 2;
    if (!isFar || this.#isClosing) {
      this.#pace = undefined;
      return false;
    }
    const takenBytes = this.#takenBytes;
    if (
      this.#pace === undefined ||
      takenBytes - this.#pace.takenBytes >= PACE_BYTES
    ) this.#pace = { atMs: nowMs, takenBytes };
    return nowMs - this.#pace.atMs <= PACE_MS;
  }

  /** Gets all of `ring` that comes from now on. */
  join(ring: Ring): void {
    this.#ring = ring;
    this.#position = ring.end;
  }

  /** Adds a message for it alone behind all that came before; flush it. */
  push(bytes: Uint8Array): void {
    if (this.#isClosing) return;
    this.#own.push({ position: this.#ring?.end ?? 0, bytes });
    this.#ownBytes += bytes.length;
    const count = this.#own.length - this.#ownAt;
    if (this.#ownBytes <= OWN_BYTES_MAX && count <= OWN_COUNT_MAX) return;
    this.#events.onSlow(
      new WireError(
        "slow-consumer",
        `Client reads too slowly: ${count} messages of ${this.#ownBytes} bytes wait for it alone, limit is ${OWN_COUNT_MAX} of ${OWN_BYTES_MAX}`,
      ),
    );
  }

  /** Writes what waits, unless a write is under way, which goes on with it. */
  flush(): void {
    if (this.#isWriting || this.#isOver) return;
    const bytes = this.#next();
    if (bytes !== undefined) this.#write(bytes);
  }

  /** Writes all that waits, and closes. */
  close(): void {
    if (this.#isClosing) return;
    this.#until = this.#ring?.end ?? 0;
    this.#beginClose();
  }

  /** Drops what waits, says `lastWord` alone, and closes. */
  cutOff(lastWord: Uint8Array): void {
    if (this.#isClosing) return;
    this.#ring = undefined;
    // A write under way takes whole messages: this may follow it.
    this.#own = [{ position: 0, bytes: lastWord }];
    this.#ownAt = 0;
    this.#ownBytes = lastWord.length;
    this.#position = 0;
    this.#beginClose();
  }

  /** Breaks the connection. */
  abort(): void {
    this.#isClosing = true;
    this.#over();
  }

  /** What is wrong with the client, if it reads nothing. */
  check(nowMs: number): WireError | undefined {
    if (!this.#isWriting || nowMs - this.#writeSinceMs <= WRITE_WAIT_MS) {
      return undefined;
    }
    return new WireError(
      "timeout",
      `Client read nothing for ${WRITE_WAIT_MS / 1_000} s`,
    );
  }

  #write(write: Write): void {
    this.#isWriting = true;
    this.#underWay = write;
    this.#writeSinceMs = performance.now();
    this.#link.write(write.bytes, this.#written);
  }

  readonly #written = (error?: WireError): void => {
    if (error !== undefined) return this.#over();
    const write = this.#underWay;
    this.#underWay = undefined;
    if (write?.block !== undefined) write.block.writers -= 1;
    if (this.#isOver) return;
    if (write?.isOwn && this.#ownBytes < LOW_WATER_BYTES) {
      this.#events.onRoom();
    }
    const next = this.#next();
    if (next !== undefined) return this.#write(next);
    this.#isWriting = false;
    if (this.#isClosing) void this.#finish();
  };

  /** The next write, if anything waits. */
  #next(): Write | undefined {
    const own = this.#own.at(this.#ownAt);
    if (own === undefined) {
      if (this.#ownAt > 0) this.#own = [];
      this.#ownAt = 0;
      return this.#takeSpan(this.#until);
    }
    if (own.position - this.#position > GATHER_BYTES_MAX) {
      return this.#takeSpan(own.position);
    }
    return this.#gather();
  }

  #takeSpan(until: number): Write | undefined {
    const span = this.#ring?.take(this.#position, until);
    if (span === undefined) return undefined;
    span.block.writers += 1;
    this.#position += span.bytes.length;
    this.#takenBytes += span.bytes.length;
    return { bytes: span.bytes, block: span.block, isOwn: false };
  }

  /** Own messages, and what lies between and behind them, copied together. */
  #gather(): Write {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    while (bytes < GATHER_BYTES_MAX) {
      const own = this.#own.at(this.#ownAt);
      if (own !== undefined && own.position <= this.#position) {
        parts.push(own.bytes);
        bytes += own.bytes.length;
        this.#ownBytes -= own.bytes.length;
        this.#ownAt += 1;
        continue;
      }
      const until = own?.position ?? this.#until;
      const span = this.#ring?.take(this.#position, until);
      // More than that is better written from where it lies.
      if (span === undefined || span.bytes.length > GATHER_BYTES_MAX) break;
      parts.push(span.bytes);
      bytes += span.bytes.length;
      this.#position += span.bytes.length;
    }
    this.#takenBytes += bytes;
    return {
      bytes: Buffer.concat(parts, bytes),
      block: undefined,
      isOwn: true,
    };
  }

  #beginClose(): void {
    this.#isClosing = true;
    this.#closeTimer = setTimeout(() => this.#over(), LAST_WORD_WAIT_MS);
    this.flush();
    if (!this.#isWriting) void this.#finish();
  }

  async #finish(): Promise<void> {
    if (this.#isOver) return;
    await this.#link.close();
    this.#over();
  }

  /** Nothing more comes or goes. */
  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isClosing = true;
    clearTimeout(this.#closeTimer);
    this.#ring = undefined;
    this.#own = [];
    this.#ownAt = 0;
    this.#ownBytes = 0;
    this.#link.abort();
    queueMicrotask(() => this.#events.onOver());
  }
}
