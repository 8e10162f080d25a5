/** Sessions: each numbered command takes effect exactly once. */

import { SEEN_ENTRIES_MAX } from "./commands.ts";
import { packResult, type Result, unpackResult } from "./results.ts";

/** Results that a session keeps, for clients that ask again after a reconnect. */
export const RESULTS_KEPT = 64;

/** Sessions of one user; one more closes the least recently used. */
export const SESSIONS_PER_USER_MAX = 16;

/** Sessions in all, about 800 bytes each at most; then `too-many-sessions`. */
export const SESSIONS_MAX = 100_000;

/** One login, as it is stored. */
export interface SessionRow {
  /** 16 hexadecimal digits. */
  readonly id: string;
  /** SHA-256 of the secret that a client must show to resume, 64 hexadecimal digits. */
  readonly secretHash: string;
  /** User id. */
  readonly user: number;
  /** Index of the entry that opened it. */
  readonly opened: number;
  /** Index of the entry that used it last. */
  readonly used: number;
  /** Time in that entry, in ms since 1970, by the clock of whoever made it. */
  readonly usedMs: number;
  /** The last sequence executed, 0 if none. */
  readonly sequence: number;
  /**
   * Packed results of the last {@linkcode RESULTS_KEPT} sequences or fewer,
   * that of sequence s at `(s - 1) % RESULTS_KEPT`.
   */
  readonly results: readonly number[];
}

/** A session that has ended, remembered for {@linkcode SEEN_ENTRIES_MAX} entries. */
export interface EndedRow {
  readonly id: string;
  /** Index of the entry that ended it. */
  readonly at: number;
  /** Sequence of its own command that ended it; 0 if another did. */
  readonly sequence: number;
  /** Packed result of that command; 0 if there is none. */
  readonly result: number;
}

/** Why a session ended. */
export type SessionEnd = "closed" | "replaced" | "expired" | "user-deleted";

/** A session that ended with an entry. */
export interface EndedSession {
  readonly id: string;
  readonly user: number;
  readonly reason: SessionEnd;
}

/** What was changed since {@linkcode SessionTable.takeChanges} was called before. */
export interface SessionChanges {
  /** Rows as they are now. */
  readonly changed: readonly SessionRow[];
  /** Ids of sessions that have ended, oldest first. */
  readonly ended: readonly EndedRow[];
  /** Ended sessions of before this index are forgotten. */
  readonly forgottenBefore: number;
}

/** What a session is opened with. */
export interface SessionOpening {
  readonly id: string;
  readonly secretHash: string;
  readonly user: number;
  /** What the opening server had applied. */
  readonly seen: number;
  readonly index: number;
  readonly timeMs: number;
}

/** One login. Only the table changes it. */
export class Session implements SessionRow {
  readonly id: string;
  readonly secretHash: string;
  readonly user: number;
  readonly opened: number;
  used: number;
  usedMs: number;
  sequence: number;
  results: number[];
  /** Changed since the changes were taken. */
  isDirty = false;

  constructor(row: SessionRow) {
    this.id = row.id;
    this.secretHash = row.secretHash;
    this.user = row.user;
    this.opened = row.opened;
    this.used = row.used;
    this.usedMs = row.usedMs;
    this.sequence = row.sequence;
    this.results = [...row.results];
  }
}

const OK: Result = { code: "ok", value: 0 };
const NO_SESSION: Result = { code: "no-session", value: 0 };
const STALE: Result = { code: "stale", value: 0 };
const LATE: Result = { code: "late", value: 0 };
const FULL: Result = { code: "too-many-sessions", value: 0 };

/** All sessions, by id and by user. Deterministic: no clock, no chance. */
export class SessionTable {
  readonly #sessions = new Map<string, Session>();
  readonly #byUser = new Map<number, Session[]>();
  /** In the order in which they ended. */
  readonly #ended = new Map<string, EndedRow>();
  /** Index at which the oldest of them ended; saves a look at each entry. */
  #oldestEndedAt = Infinity;
  #forgottenBefore = 0;
  #dirty: Session[] = [];
  #newlyEnded: EndedRow[] = [];
  readonly #sessionsMax: number;

  /**
   * @param rows What was stored, ended ones in the order in which they ended;
   *   at most `sessionsMax` sessions.
   */
  constructor(
    rows: { sessions?: Iterable<SessionRow>; ended?: Iterable<EndedRow> } = {},
    options: { sessionsMax?: number } = {},
  ) {
    this.#sessionsMax = options.sessionsMax ?? SESSIONS_MAX;
    for (const row of rows.sessions ?? []) this.#add(new Session(row));
    for (const row of rows.ended ?? []) this.#remember(row);
  }

  /** How many there are. */
  get size(): number {
    return this.#sessions.size;
  }

  /** The session of this id, if it lives. */
  get(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  /** A user's sessions, at most {@linkcode SESSIONS_PER_USER_MAX}. */
  ofUser(user: number): readonly Session[] {
    return this.#byUser.get(user) ?? [];
  }

  /** All that live, in no order that means anything. */
  rows(): IterableIterator<SessionRow> {
    return this.#sessions.values();
  }

  /** All that ended and are not forgotten, in the order in which they ended. */
  endedRows(): IterableIterator<EndedRow> {
    return this.#ended.values();
  }

  /** Must be told of each entry before it is applied: forgets what may be forgotten. */
  advance(index: number): void {
    const before = index - SEEN_ENTRIES_MAX;
    if (this.#oldestEndedAt >= before) return;
    this.#forgottenBefore = before;
    this.#oldestEndedAt = Infinity;
    for (const [id, { at }] of this.#ended) {
      if (at >= before) {
        this.#oldestEndedAt = at;
        return;
      }
      this.#ended.delete(id);
    }
  }

  /**
   * Opens a session for a user that exists.
   *
   * @returns The result, and the session that had to make room.
   */
  open(
    opening: SessionOpening,
  ): { readonly result: Result; readonly replaced: EndedSession | undefined } {
    const { id, secretHash, user, seen, index, timeMs } = opening;
    const present = this.#sessions.get(id);
    if (present !== undefined) {
      const isSame = present.user === user && present.secretHash === secretHash;
      return { result: isSame ? OK : STALE, replaced: undefined };
    }
    if (this.#ended.has(id)) return { result: STALE, replaced: undefined };
    if (seen >= index || index - seen > SEEN_ENTRIES_MAX) {
      return { result: LATE, replaced: undefined };
    }
    const own = this.#byUser.get(user);
    let replaced: EndedSession | undefined;
    if (own !== undefined && own.length >= SESSIONS_PER_USER_MAX) {
      const oldest = own.reduce((a, b) => isUsedBefore(a, b) ? a : b);
      replaced = this.end(oldest, { index, reason: "replaced" });
    } else if (this.#sessions.size >= this.#sessionsMax) {
      return { result: FULL, replaced: undefined };
    }
    const session = new Session({
      id,
      secretHash,
      user,
      opened: index,
      used: index,
      usedMs: timeMs,
      sequence: 0,
      results: [],
    });
    this.#add(session);
    this.#touched(session);
    return { result: OK, replaced };
  }

  /**
   * What must not be executed, and what to answer instead.
   *
   * @returns `undefined`: execute it now, then say {@linkcode complete}, or
   *   {@linkcode end} if it ends the session.
   */
  judge(id: string, sequence: number): Result | undefined {
    const session = this.#sessions.get(id);
    if (session === undefined) {
      const ended = this.#ended.get(id);
      return ended !== undefined && ended.sequence === sequence
        ? unpackResult(ended.result) ?? NO_SESSION
        : NO_SESSION;
    }
    const { sequence: last, results } = session;
    if (sequence === last + 1) return undefined;
    if (sequence > last) return { code: "gap", value: last + 1 };
    if (sequence <= last - RESULTS_KEPT) return STALE;
    return unpackResult(results[(sequence - 1) % RESULTS_KEPT]) ?? STALE;
  }

  /** Stores the result of the session's next sequence. */
  complete(
    session: Session,
    done: { result: Result; index: number; timeMs: number },
  ): void {
    session.results[session.sequence % RESULTS_KEPT] = packResult(done.result);
    session.sequence += 1;
    session.used = done.index;
    session.usedMs = done.timeMs;
    this.#touched(session);
  }

  /** Counts as a use, without a command of its own. */
  touch(session: Session, at: { index: number; timeMs: number }): void {
    session.used = at.index;
    session.usedMs = at.timeMs;
    this.#touched(session);
  }

  /**
   * Ends a session. `own` is its own command that did so, whose result is
   * remembered for a repetition.
   */
  end(
    session: Session,
    options: {
      index: number;
      reason: SessionEnd;
      own?: { sequence: number; result: Result };
    },
  ): EndedSession {
    const { index, reason, own } = options;
    this.#sessions.delete(session.id);
    const rest = (this.#byUser.get(session.user) ?? [])
      .filter((other) => other !== session);
    if (rest.length === 0) this.#byUser.delete(session.user);
    else this.#byUser.set(session.user, rest);
    const row = {
      id: session.id,
      at: index,
      sequence: own?.sequence ?? 0,
      result: own === undefined ? 0 : packResult(own.result),
    };
    this.#remember(row);
    this.#newlyEnded.push(row);
    return { id: session.id, user: session.user, reason };
  }

  /**
   * Sessions last used before a time, to be expired: the longest idle first.
   * Looks at all sessions, about 1 ms for 100,000: not to be asked often.
   */
  idleSince(timeMs: number, limit: number): readonly SessionRow[] {
    const idle: Session[] = [];
    for (const session of this.#sessions.values()) {
      if (session.usedMs < timeMs) idle.push(session);
    }
    return idle.sort((a, b) => a.usedMs - b.usedMs)
      .slice(0, limit);
  }

  /**
   * What is to be written since this was called before. The rows are copies:
   * later commands do not change them.
   */
  takeChanges(): SessionChanges {
    const changed: SessionRow[] = [];
    for (const session of this.#dirty) {
      session.isDirty = false;
      if (this.#sessions.get(session.id) === session) {
        changed.push(copyOf(session));
      }
    }
    const ended = this.#newlyEnded;
    this.#dirty = [];
    this.#newlyEnded = [];
    return { changed, ended, forgottenBefore: this.#forgottenBefore };
  }

  #add(session: Session): void {
    this.#sessions.set(session.id, session);
    const own = this.#byUser.get(session.user);
    if (own === undefined) this.#byUser.set(session.user, [session]);
    else own.push(session);
  }

  #remember(row: EndedRow): void {
    this.#ended.set(row.id, row);
    this.#oldestEndedAt = Math.min(this.#oldestEndedAt, row.at);
  }

  #touched(session: Session): void {
    if (session.isDirty) return;
    session.isDirty = true;
    this.#dirty.push(session);
  }
}

/** By the entry, and where one entry used both by id: the order of a list would differ. */
function isUsedBefore(a: SessionRow, b: SessionRow): boolean {
  return a.used !== b.used ? a.used < b.used : a.id < b.id;
}

function copyOf(row: SessionRow): SessionRow {
  return {
    id: row.id,
    secretHash: row.secretHash,
    user: row.user,
    opened: row.opened,
    used: row.used,
    usedMs: row.usedMs,
    sequence: row.sequence,
    results: row.results.slice(),
  };
}
