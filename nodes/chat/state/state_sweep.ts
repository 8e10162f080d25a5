/** Removes the messages of deleted users, a few rows at a time. */

import type { StateDatabase } from "./state_database.ts";

/** Messages that a step looks at; below 1 ms, or 3 ms if all are removed. */
const MESSAGES_PER_STEP = 512;

/** One pass over all messages, for all users deleted before it began. */
interface Pass {
  readonly users: readonly number[];
  /** Messages up to here have been looked at. */
  cursor: number;
}

/**
 * A deleted user is gone at once, since whoever lists messages passes over
 * those of users that are not there. Their bytes follow in passes: so a
 * deletion takes no longer than any other command, and no index by sender is
 * needed, which every message would pay for.
 */
export class StateSweep {
  readonly #deleted: Set<number>;
  /** Deleted, and known to the database. */
  readonly #stored: Set<number>;
  #pass: Pass | undefined;

  /** @param stored Users that are deleted and not swept away in the database. */
  constructor(stored: Iterable<number>) {
    this.#stored = new Set(stored);
    this.#deleted = new Set(this.#stored);
  }

  /** Whether a {@linkcode step} has something to do. */
  get isReady(): boolean {
    return this.#stored.size > 0;
  }

  /** A user was deleted. */
  add(user: number): void {
    this.#deleted.add(user);
  }

  /** These deletions are in the database now, with all messages before them. */
  written(users: readonly number[]): void {
    for (const user of users) this.#stored.add(user);
  }

  /**
   * Looks at some messages. No transaction may be open.
   *
   * @returns How many it removed.
   */
  step(database: StateDatabase): number {
    this.#pass ??= { users: [...this.#stored], cursor: 0 };
    const pass = this.#pass;
    const ends = database.messageEnds(pass.cursor, MESSAGES_PER_STEP);
    const gone = ends.filter(({ from, to }) =>
      this.#stored.has(from) || this.#stored.has(to)
    );
    const isLast = ends.length < MESSAGES_PER_STEP;
    if (gone.length > 0 || isLast) {
      database.transaction(() => {
        for (const message of gone) {
          database.removeMessage(message, {
            // The whole inbox of a deleted user goes in the end.
            keepsInbox: this.#stored.has(message.to),
          });
        }
        if (isLast) { for (const user of pass.users) database.swept(user); }
      });
    }
    if (!isLast) {
      pass.cursor = ends[ends.length - 1].id;
      return gone.length;
    }
    this.#pass = undefined;
    for (const user of pass.users) {
      this.#stored.delete(user);
      this.#deleted.delete(user);
    }
    return gone.length;
  }
}
