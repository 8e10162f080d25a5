/** Events that came before their turn; what is not kept is asked for again. */

import type { RelayedEvent } from "../../protocol/mesh_peer.ts";

/** Events of one stream: some seconds of a busy server, on a way that is slower. */
export const EARLY_EVENTS_MAX = 4_096;

/** Characters of them. */
export const EARLY_CHARACTERS_MAX = 1_048_576;

export class EarlyEvents {
  readonly #events = new Map<number, RelayedEvent>();
  #characters = 0;

  get count(): number {
    return this.#events.size;
  }

  /** @returns Whether it is kept: it was not there, and there is room. */
  add(relayed: RelayedEvent): boolean {
    const { n } = relayed.event;
    if (this.#events.has(n)) return false;
    const characters = this.#characters + relayed.json.length;
    if (characters > EARLY_CHARACTERS_MAX) return false;
    if (this.#events.size >= EARLY_EVENTS_MAX) return false;
    this.#events.set(n, relayed);
    this.#characters = characters;
    return true;
  }

  /** Removes and returns number `n`. */
  take(n: number): RelayedEvent | undefined {
    const relayed = this.#events.get(n);
    if (relayed === undefined) return undefined;
    this.#events.delete(n);
    this.#characters -= relayed.json.length;
    return relayed;
  }

  /** The one with the lowest number; goes through all. */
  get lowest(): RelayedEvent | undefined {
    let lowest: RelayedEvent | undefined;
    for (const relayed of this.#events.values()) {
      if (lowest === undefined || relayed.event.n < lowest.event.n) {
        lowest = relayed;
      }
    }
    return lowest;
  }

  /** Where the unbroken run begins that ends with number `n`; undefined: `n` is not here. */
  runTo(n: number): RelayedEvent | undefined {
    let first: RelayedEvent | undefined;
    for (let at = n; this.#events.has(at); at--) first = this.#events.get(at);
    return first;
  }
}
