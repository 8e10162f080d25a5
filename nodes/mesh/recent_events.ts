/** The latest events of one stream, without gaps, to be sent again to who missed them. */

import type { RelayedEvent } from "../../protocol/mesh_peer.ts";
import type { RecentBounds } from "./contract.ts";

/** What an event takes beside its text; a guess on the high side. */
const EVENT_BYTES = 256;

interface Kept {
  readonly relayed: RelayedEvent;
  readonly bytes: number;
  readonly atMs: number;
}

export class RecentEvents {
  readonly #bounds: RecentBounds;
  #kept: Kept[] = [];
  /** Where in `#kept` the oldest one stands: what is before it was let go. */
  #head = 0;
  #bytes = 0;

  constructor(bounds: RecentBounds) {
    this.#bounds = bounds;
  }

  get count(): number {
    return this.#kept.length - this.#head;
  }

  /** An estimate on the high side: V8 keeps a character in at most 2 bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  get oldest(): RelayedEvent | undefined {
    return this.#kept[this.#head]?.relayed;
  }

  /** Adds the event that follows the newest one. */
  push(relayed: RelayedEvent, nowMs: number): void {
    const bytes = 2 * relayed.json.length + EVENT_BYTES;
    this.#kept.push({ relayed, bytes, atMs: nowMs });
    this.#bytes += bytes;
    const { eventsMax, bytesMax } = this.#bounds;
    while (this.count > eventsMax || this.#bytes > bytesMax) this.#drop();
  }

  /** Lets go what is too old. */
  age(nowMs: number): void {
    const sinceMs = nowMs - this.#bounds.ageMsMax;
    while (this.count > 0 && this.#kept[this.#head].atMs < sinceMs) {
      this.#drop();
    }
  }

  /** Lets go of all: the stream goes on after a gap. */
  clear(): void {
    this.#kept = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  /** The events from number `n` on, one after another; none if `n` is gone. */
  *from(n: number): Generator<RelayedEvent> {
    const first = this.oldest?.event.n;
    if (first === undefined || n < first) return;
    for (let at = this.#head + n - first; at < this.#kept.length; at++) {
      yield this.#kept[at].relayed;
    }
  }

  #drop(): void {
    this.#bytes -= this.#kept[this.#head].bytes;
    this.#head += 1;
    // Now and then the front is cut off: each event is moved once at most.
    if (this.#head < 64 || this.#head * 2 < this.#kept.length) return;
    this.#kept = this.#kept.slice(this.#head);
    this.#head = 0;
  }
}
