/** What the tail has delivered of whom, so that repeats are dropped. */

import type { DataHead } from "../../protocol/chain.ts";
import type { LinkId } from "../../protocol/core.ts";
import type { ClientId } from "../../protocol/ids.ts";

/**
 * Clients remembered. At the bound the one silent for longest is forgotten;
 * only if that very client then repeats what was delivered before would a
 * message appear twice.
 */
export const CLIENTS_REMEMBERED_MAX = 100_000;

/** How stale a client's place in the order of use may be. */
const TOUCH_EVERY_MS = 1_000;

interface Progress {
  /** Position after the last byte taken from this client's stream. */
  end: number;
  /** The link it last came over. */
  link: LinkId;
  touchedMs: number;
}

/** Where each client's stream stands, newest use last. */
export class Delivery {
  readonly #clients = new Map<ClientId, Progress>();
  readonly #clientsMax: number;
  /** Gaps seen within one link: our mistake or a peer's, never the network's. */
  gaps = 0;
  /** Bytes dropped because they had been taken before. */
  repeatedBytes = 0;

  constructor(clientsMax: number = CLIENTS_REMEMBERED_MAX) {
    this.#clientsMax = clientsMax;
  }

  /** Clients remembered now. */
  get size(): number {
    return this.#clients.size;
  }

  /** Restores what was durable before a restart, oldest use first. */
  restore(client: ClientId, end: number): void {
    this.#remember(client, { end, link: -1, touchedMs: 0 });
  }

  /**
   * Takes a client's next bytes.
   *
   * @returns The part of `text` that is new, maybe empty; whole messages.
   */
  take(
    head: DataHead,
    text: Uint8Array,
    from: { link: LinkId; nowMs: number },
  ): Uint8Array {
    const known = this.#clients.get(head.client);
    const end = head.offset + text.length;
    if (known === undefined) {
      this.#remember(head.client, {
        end,
        link: from.link,
        touchedMs: from.nowMs,
      });
      return text;
    }
    if (head.offset > known.end && !head.base && known.link === from.link) {
      this.gaps += 1;
    }
    known.link = from.link;
    if (from.nowMs - known.touchedMs > TOUCH_EVERY_MS) {
      known.touchedMs = from.nowMs;
      this.#clients.delete(head.client);
      this.#clients.set(head.client, known);
    }
    const skip = Math.min(text.length, Math.max(0, known.end - head.offset));
    this.repeatedBytes += skip;
    if (end > known.end) known.end = end;
    return text.subarray(skip);
  }

  /** Position after the last byte taken from `client`. */
  endOf(client: ClientId): number {
    return this.#clients.get(client)?.end ?? 0;
  }

  /** Every client with its position, oldest use first. */
  entries(): [ClientId, number][] {
    return Array.from(this.#clients, ([client, { end }]) => [client, end]);
  }

  #remember(client: ClientId, progress: Progress): void {
    if (this.#clients.size >= this.#clientsMax) {
      const oldest = this.#clients.keys().next().value;
      if (oldest !== undefined) this.#clients.delete(oldest);
    }
    this.#clients.set(client, progress);
  }
}
