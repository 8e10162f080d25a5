/** Accounts, by name and by id. */

import { SEEN_ENTRIES_MAX } from "./commands.ts";
import type { Result } from "./results.ts";

/** Accounts in all, about 500 bytes each; then `too-many-users`. */
export const USERS_MAX = 100_000;

/** One account, as it is stored. */
export interface UserRow {
  /** Index of the entry that made it: a name taken anew is another user. */
  readonly id: number;
  readonly name: string;
  /** PHC string of the password's hash. */
  readonly phc: string;
  /** Of the `register` that made it. */
  readonly token: string;
  /** Time in that entry, in ms since 1970. */
  readonly createdMs: number;
  /** Messages up to this id are read. */
  readonly readUpTo: number;
}

/** An account that was deleted, remembered for {@linkcode SEEN_ENTRIES_MAX} entries. */
export interface DeletedUserRow {
  readonly id: number;
  readonly token: string;
  /** Index of the entry that deleted it. */
  readonly at: number;
}

/** What was changed since {@linkcode UserTable.takeChanges} was called before. */
export interface UserChanges {
  /** Rows as they are now. */
  readonly changed: readonly UserRow[];
  /** In the order in which they were deleted. */
  readonly deleted: readonly DeletedUserRow[];
  /** Deleted ones of before this index are forgotten. */
  readonly forgottenBefore: number;
}

/** One account. Only the table changes it. */
export class User implements UserRow {
  readonly id: number;
  readonly name: string;
  readonly phc: string;
  readonly token: string;
  readonly createdMs: number;
  readUpTo: number;
  /** Changed since the changes were taken. */
  isDirty = false;

  constructor(row: UserRow) {
    this.id = row.id;
    this.name = row.name;
    this.phc = row.phc;
    this.token = row.token;
    this.createdMs = row.createdMs;
    this.readUpTo = row.readUpTo;
  }
}

/** All accounts. Deterministic: no clock, no chance. */
export class UserTable {
  readonly #byName = new Map<string, User>();
  readonly #byId = new Map<number, User>();
  /** By token, in the order in which they were deleted. */
  readonly #deleted = new Map<string, DeletedUserRow>();
  #oldestDeletedAt = Infinity;
  #forgottenBefore = 0;
  #dirty: User[] = [];
  #newlyDeleted: DeletedUserRow[] = [];
  readonly #usersMax: number;

  /** @param rows What was stored; deleted ones in the order in which they were deleted. */
  constructor(
    rows: {
      users?: Iterable<UserRow>;
      deleted?: Iterable<DeletedUserRow>;
    } = {},
    options: { usersMax?: number } = {},
  ) {
    this.#usersMax = options.usersMax ?? USERS_MAX;
    for (const row of rows.users ?? []) this.#add(new User(row));
    for (const row of rows.deleted ?? []) this.#remember(row);
  }

  /** How many there are. */
  get size(): number {
    return this.#byId.size;
  }

  /** The account of this name. */
  byName(name: string): User | undefined {
    return this.#byName.get(name);
  }

  /** The account of this id. */
  byId(id: number): User | undefined {
    return this.#byId.get(id);
  }

  /** All accounts, in no order that means anything. */
  rows(): IterableIterator<User> {
    return this.#byId.values();
  }

  /** All deleted ones that are not forgotten, in the order in which they were deleted. */
  deletedRows(): IterableIterator<DeletedUserRow> {
    return this.#deleted.values();
  }

  /** Must be told of each entry before it is applied: forgets what may be forgotten. */
  advance(index: number): void {
    const before = index - SEEN_ENTRIES_MAX;
    if (this.#oldestDeletedAt >= before) return;
    this.#forgottenBefore = before;
    this.#oldestDeletedAt = Infinity;
    for (const [token, { at }] of this.#deleted) {
      if (at >= before) {
        this.#oldestDeletedAt = at;
        return;
      }
      this.#deleted.delete(token);
    }
  }

  /** Makes an account, exactly once for each token. */
  register(
    registration: Omit<UserRow, "readUpTo"> & { readonly seen: number },
  ): Result {
    const { id, name, token, seen } = registration;
    const present = this.#byName.get(name);
    if (present !== undefined) {
      return present.token === token
        ? { code: "ok", value: present.id }
        : { code: "user-exists", value: 0 };
    }
    // A repetition must not bring back what was deleted since.
    if (this.#deleted.has(token)) return { code: "stale", value: 0 };
    if (seen >= id || id - seen > SEEN_ENTRIES_MAX) {
      return { code: "late", value: 0 };
    }
    if (this.#byId.size >= this.#usersMax) {
      return { code: "too-many-users", value: 0 };
    }
    // Nothing is read yet; ids of messages to a user are above its own id.
    const user = new User({ ...registration, readUpTo: id });
    this.#add(user);
    this.#touched(user);
    return { code: "ok", value: id };
  }

  /** Marks as read; never goes back. */
  markRead(user: User, upTo: number): void {
    if (upTo <= user.readUpTo) return;
    user.readUpTo = upTo;
    this.#touched(user);
  }

  /** Deletes an account. Its sessions and messages are the caller's to remove. */
  delete(user: User, index: number): void {
    this.#byName.delete(user.name);
    this.#byId.delete(user.id);
    const row = { id: user.id, token: user.token, at: index };
    this.#remember(row);
    this.#newlyDeleted.push(row);
  }

  /**
   * What is to be written since this was called before. The rows are copies:
   * later commands do not change them.
   */
  takeChanges(): UserChanges {
    const changed: UserRow[] = [];
    for (const user of this.#dirty) {
      user.isDirty = false;
      if (this.#byId.get(user.id) === user) changed.push(copyOf(user));
    }
    const deleted = this.#newlyDeleted;
    this.#dirty = [];
    this.#newlyDeleted = [];
    return { changed, deleted, forgottenBefore: this.#forgottenBefore };
  }

  #add(user: User): void {
    this.#byName.set(user.name, user);
    this.#byId.set(user.id, user);
  }

  #remember(row: DeletedUserRow): void {
    this.#deleted.set(row.token, row);
    this.#oldestDeletedAt = Math.min(this.#oldestDeletedAt, row.at);
  }

  #touched(user: User): void {
    if (user.isDirty) return;
    user.isDirty = true;
    this.#dirty.push(user);
  }
}

function copyOf(
  { id, name, phc, token, createdMs, readUpTo }: UserRow,
): UserRow {
  return { id, name, phc, token, createdMs, readUpTo };
}
