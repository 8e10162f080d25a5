/** The latest events of one stream, without gaps, to be sent again to who missed them. */

import type { RelayedEvent } from "../../protocol/mesh_peer.ts";
import type { RecentBounds } from "./contract.ts";
import { OwnEvent } from "./own_event.ts";

/** What an event takes as objects; a guess on the high side, as all of these. */
const EVENT_BYTES = 256;

/** For a character of JSON: V8 keeps one in at most 2 bytes. */
const JSON_CHARACTER_BYTES = 2;

/** The JSON of an event of this server beside its text, and a character of that, which may be escaped. */
const OWN_JSON_BYTES = 400;
const OWN_CHARACTER_BYTES = 4;

export class RecentEvents {
  readonly #bounds: RecentBounds;
  // Two arrays: an object for each event would live just long enough to be moved
  // by the garbage collector, again and again.
  #kept: RelayedEvent[] = [];
  /** When each of them came. */
  #keptMs: number[] = [];
  /** Where in `#kept` the oldest one stands: what is before it was let go. */
  #head = 0;
  #bytes = 0;

  constructor(bounds: RecentBounds) {
    this.#bounds = bounds;
  }

  get count(): number {
    return this.#kept.length - this.#head;
  }

  /** An estimate on the high side. */
  get bytes(): number {
    return this.#bytes;
  }

  get oldest(): RelayedEvent | undefined {
    return this.#kept[this.#head];
  }

  /** Adds the event that follows the newest one. */
  push(relayed: RelayedEvent, nowMs: number): void {
    this.#kept.push(relayed);
    this.#keptMs.push(nowMs);
    this.#bytes += bytesOf(relayed);
    const { eventsMax, bytesMax } = this.#bounds;
    while (this.count > eventsMax || this.#bytes > bytesMax) this.#drop();
  }

  /** Lets go what is too old. */
  age(nowMs: number): void {
    const sinceMs = nowMs - this.#bounds.ageMsMax;
    while (this.count > 0 && this.#keptMs[this.#head] < sinceMs) {
      this.#drop();
    }
  }

  /** Lets go of all: the stream goes on after a gap. */
  clear(): void {
    this.#kept = [];
    this.#keptMs = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  /** The events from number `n` on, one after another; none if `n` is gone. */
  *from(n: number): Generator<RelayedEvent> {
    const first = this.oldest?.event.n;
    if (first === undefined || n < first) return;
    for (let at = this.#head + n - first; at < this.#kept.length; at++) {
      yield this.#kept[at];
    }
  }

  #drop(): void {
    this.#bytes -= bytesOf(this.#kept[this.#head]);
    this.#head += 1;
    // Now and then the front is cut off: each event is moved once at most.
    if (this.#head < 64 || this.#head * 2 < this.#kept.length) return;
    this.#kept = this.#kept.slice(this.#head);
    this.#keptMs = this.#keptMs.slice(this.#head);
    this.#head = 0;
  }
}

/**
 * The same each time: it is taken off again when the event goes. What others
 * sent may have fields that are not known here; and one's own is not put into
 * JSON for this.
 */
function bytesOf(relayed: RelayedEvent): number {
  if (!(relayed instanceof OwnEvent)) {
    return EVENT_BYTES + JSON_CHARACTER_BYTES * relayed.json.length;
  }
  const { body } = relayed.event;
  let characters = 0;
  if (body.kind === "msg" || body.kind === "dm") characters = body.text.length;
  else if ("rooms" in body) {
    for (const room of body.rooms) characters += room.length + 3;
  }
  return EVENT_BYTES + OWN_JSON_BYTES + OWN_CHARACTER_BYTES * characters;
}
