/** Messages that are applied and not yet in the database, or not yet in its inboxes. */

import type { StoredMessage } from "./state_core.ts";

/** Ids of messages by recipient, each list ascending. */
export class RecentIds {
  readonly #byRecipient = new Map<number, number[]>();

  /** @param message With an id above all before. */
  add({ id, to }: StoredMessage): void {
    const own = this.#byRecipient.get(to);
    if (own === undefined) this.#byRecipient.set(to, [id]);
    else own.push(id);
  }

  /** Ids of messages to a user, ascending. */
  to(user: number): readonly number[] {
    return this.#byRecipient.get(user) ?? [];
  }

  /** Each recipient with its ids. */
  inboxes(): Iterable<readonly [number, readonly number[]]> {
    return this.#byRecipient;
  }
}

/**
 * Messages that wait for a row in the database: few, since messages that live
 * long cost the garbage collector more than writing them costs SQLite.
 */
export class UnwrittenMessages {
  #messages: StoredMessage[] = [];

  /** How many. */
  get count(): number {
    return this.#messages.length;
  }

  /** @param message With an id above all before. */
  add(message: StoredMessage): void {
    this.#messages.push(message);
  }

  /** Takes all, ascending by id. */
  take(): readonly StoredMessage[] {
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }

  /** The message of this id, if it waits. */
  get(id: number): StoredMessage | undefined {
    const messages = this.#messages;
    let low = 0;
    let high = messages.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (messages[middle].id < id) low = middle + 1;
      else high = middle;
    }
    const found = messages.at(low);
    return found?.id === id ? found : undefined;
  }
}
