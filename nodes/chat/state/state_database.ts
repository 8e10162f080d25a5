/** `state.db`: users, sessions and messages in SQLite, at one index of the log. */

import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { LogPosition } from "../../../protocol/replica.ts";
import type { EndedRow, SessionChanges, SessionRow } from "./sessions.ts";
import type { StoredMessage } from "./state_core.ts";
import {
  bytesAt,
  markOf,
  numberAt,
  packIds,
  packNumbers,
  type Row,
  RowError,
  type StateMark,
  textAt,
  unpackIds,
  unpackNumbers,
} from "./state_schema.ts";
import type { DeletedUserRow, UserChanges, UserRow } from "./users.ts";

/** What is written in one transaction. */
export interface StateBatch {
  readonly applied: LogPosition;
  readonly hash: string;
  readonly users: UserChanges;
  readonly sessions: SessionChanges;
  /** For each recipient the ids of new messages, ascending; their rows are written. */
  readonly inboxes: Iterable<readonly [number, readonly number[]]>;
  /** Rows of messages up to and with `applied`. */
  readonly messageCount: number;
}

/** A part of a user's inbox: ids of messages, ascending. */
export interface InboxBlock {
  /** The first id that was in it once. */
  readonly first: number;
  readonly ids: readonly number[];
}

/** Ids in one row of `inbox`: about 1 KiB. */
export const INBOX_BLOCK_IDS_MAX = 512;

/** Ids that {@linkcode StateDatabase.messages} takes; a list of 200 takes four calls. */
export const MESSAGES_AT_ONCE = 64;

/** Rows between two points at which writing may pause; well below 1 ms. */
const ROWS_PER_STEP = 256;

/** Messages in one statement; more gain nothing. */
const MESSAGES_PER_STATEMENT = 64;

/** Rows of ended sessions and accounts that one batch forgets: no flood of them at once. */
const FORGOTTEN_PER_BATCH_MAX = 4_096;

/** Half as many calls of the system for a message as with SQLite's 4,096. */
export const PAGE_BYTES = 8_192;

/** KiB of pages that SQLite keeps in memory; the system's cache has the rest. */
const CACHE_KIB = 4_096;

/**
 * How a connection that writes is set up. `synchronous` is off since the state
 * syncs the files itself, in the order that keeps them whole, without holding
 * up the process; see `StateFile`. `secure_delete` is on for what
 * users deleted.
 */
export const WRITER_PRAGMAS =
  `pragma page_size = ${PAGE_BYTES}; pragma journal_mode = wal; pragma synchronous = off;
  pragma wal_autocheckpoint = 0; pragma cache_size = -${CACHE_KIB};
  pragma secure_delete = on; pragma foreign_keys = off;`;

/**
 * One connection with the statements that the state needs. Every method throws
 * what SQLite says, or {@linkcode RowError}; whoever owns it adds what it means.
 */
export class StateDatabase {
  readonly connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @param connection Open, with tables; closed by whoever opened it. */
  constructor(connection: DatabaseSync) {
    this.connection = connection;
  }

  mark(): StateMark {
    const row = this.#get(
      'select "index", epoch_counter, epoch_store, hash, messages from mark',
    );
    if (row === undefined) throw new RowError("There is no mark");
    return markOf(row);
  }

  *users(): Generator<UserRow> {
    for (
      const row of this.#iterate(
        "select id, name, phc, token, created_ms, read_up_to from user order by id",
      )
    ) {
      yield {
        id: numberAt(row, "id"),
        name: textAt(row, "name"),
        phc: textAt(row, "phc"),
        token: textAt(row, "token"),
        createdMs: numberAt(row, "created_ms"),
        readUpTo: numberAt(row, "read_up_to"),
      };
    }
  }

  /** In the order in which they were deleted. */
  *deletedUsers(): Generator<DeletedUserRow> {
    for (
      const row of this.#iterate(
        "select id, token, at from deleted_user order by at, id",
      )
    ) {
      yield {
        id: numberAt(row, "id"),
        token: textAt(row, "token"),
        at: numberAt(row, "at"),
      };
    }
  }

  *sessions(): Generator<SessionRow> {
    for (
      const row of this.#iterate(
        "select id, secret_hash, user, opened, used, used_ms, sequence, results from session order by id",
      )
    ) {
      yield {
        id: textAt(row, "id"),
        secretHash: textAt(row, "secret_hash"),
        user: numberAt(row, "user"),
        opened: numberAt(row, "opened"),
        used: numberAt(row, "used"),
        usedMs: numberAt(row, "used_ms"),
        sequence: numberAt(row, "sequence"),
        results: unpackNumbers(bytesAt(row, "results")),
      };
    }
  }

  /** In the order in which they ended. */
  *endedSessions(): Generator<EndedRow> {
    for (
      const row of this.#iterate(
        "select id, at, sequence, result from ended_session order by at, id",
      )
    ) {
      yield {
        id: textAt(row, "id"),
        at: numberAt(row, "at"),
        sequence: numberAt(row, "sequence"),
        result: numberAt(row, "result"),
      };
    }
  }

  /** Messages by id, at most `limit`; of deleted users too. */
  messagesBetween(
    range: { after: number; upTo: number; limit: number },
  ): StoredMessage[] {
    return this.#all(
      "select id, from_user, to_user, time, text from message where id > ? and id <= ? order by id limit ?",
      [range.after, range.upTo, range.limit],
    ).map(messageOf);
  }

  /** Those messages that are there, of at most {@linkcode MESSAGES_AT_ONCE} ids. */
  messages(ids: readonly number[]): StoredMessage[] {
    const sql = "select id, from_user, to_user, time, text from message where";
    if (ids.length === 1) return this.#all(`${sql} id = ?`, ids).map(messageOf);
    const places = Array(MESSAGES_AT_ONCE).fill("?").join(",");
    // No message has the id 0.
    const padded = Array.from(
      { length: MESSAGES_AT_ONCE },
      (_, at) => ids[at] ?? 0,
    );
    return this.#all(`${sql} id in (${places})`, padded).map(messageOf);
  }

  /** The block of a user's inbox in which `id` is, or the last before it. */
  inboxBlockAt(user: number, id: number): InboxBlock | undefined {
    return blockOf(this.#get(
      "select first, ids from inbox where user = ? and first <= ? order by first desc limit 1",
      [user, id],
    ));
  }

  /** The next block whose first id is above `first`. */
  inboxBlockAfter(user: number, first: number): InboxBlock | undefined {
    return blockOf(this.#get(
      "select first, ids from inbox where user = ? and first > ? order by first limit 1",
      [user, first],
    ));
  }

  /** Users whose messages are still to be removed. */
  sweeping(): number[] {
    return this.#all("select user from sweep order by user", [])
      .map((row) => numberAt(row, "user"));
  }

  /**
   * Adds rows of messages, in a transaction of their own if there is none.
   * Those above the mark count as not there.
   *
   * @param messages Ascending by id.
   */
  addMessages(messages: readonly StoredMessage[]): void {
    if (this.connection.isTransaction) this.#insertMessages(messages);
    else this.transaction(() => this.#insertMessages(messages));
  }

  /**
   * Writes a batch in one transaction: after a crash it has been written or
   * not. May pause at each `yield`, and only there.
   */
  *write(batch: StateBatch): Generator<void> {
    this.connection.exec("begin immediate");
    try {
      yield* this.#writeInboxes(batch.inboxes);
      yield* this.#writeUsers(batch.users);
      yield* this.#writeSessions(batch.sessions);
      const { index, epoch } = batch.applied;
      this.#run(
        'update mark set "index" = ?, epoch_counter = ?, epoch_store = ?, hash = ?, messages = ?',
        [index, epoch.counter, epoch.store, batch.hash, batch.messageCount],
      );
    } catch (error) {
      this.#rollBack();
      throw error;
    }
    this.connection.exec("commit");
  }

  /** Removes the messages above the mark, which a crash left there. */
  dropUnmarked(): void {
    this.#run('delete from message where id > (select "index" from mark)', []);
  }

  /** Removes a message whose sender or recipient is gone. Within a transaction. */
  removeMessage(
    message: Pick<StoredMessage, "id" | "to">,
    options: { keepsInbox: boolean },
  ): void {
    this.#run("delete from message where id = ?", [message.id]);
    this.#run("update mark set messages = messages - 1", []);
    if (options.keepsInbox) return;
    const block = this.inboxBlockAt(message.to, message.id);
    const ids = block?.ids.filter((id) => id !== message.id);
    if (block === undefined || ids === undefined) return;
    if (ids.length === block.ids.length) return;
    const key = [message.to, block.first];
    if (ids.length === 0) {
      this.#run("delete from inbox where user = ? and first = ?", key);
    } else {
      this.#run("update inbox set ids = ? where user = ? and first = ?", [
        packIds(ids),
        ...key,
      ]);
    }
  }

  /** Sender and recipient of messages above `after`, at most `limit`. */
  messageEnds(
    after: number,
    limit: number,
  ): Pick<StoredMessage, "id" | "from" | "to">[] {
    return this.#all(
      "select id, from_user, to_user from message where id > ? order by id limit ?",
      [after, limit],
    ).map((row) => ({
      id: numberAt(row, "id"),
      from: numberAt(row, "from_user"),
      to: numberAt(row, "to_user"),
    }));
  }

  /** No message of this user is left: removes its inbox, and the note of it. */
  swept(user: number): void {
    this.#run("delete from inbox where user = ?", [user]);
    this.#run("delete from sweep where user = ?", [user]);
  }

  /** There are no messages of deleted users. */
  forgetSweeps(): void {
    this.#run("delete from sweep", []);
  }

  /** Runs `work` in a transaction of its own. */
  transaction(work: () => void): void {
    this.connection.exec("begin immediate");
    try {
      work();
    } catch (error) {
      this.#rollBack();
      throw error;
    }
    this.connection.exec("commit");
  }

  /** SQLite may have rolled back by itself, and the first error is what counts. */
  #rollBack(): void {
    if (this.connection.isTransaction) this.connection.exec("rollback");
  }

  #insertMessages(messages: readonly StoredMessage[]): void {
    const many = this.#statement(
      `insert into message values ${
        Array(MESSAGES_PER_STATEMENT).fill("(?,?,?,?,?)").join(",")
      }`,
    );
    const values: (number | string)[] = [];
    let at = 0;
    while (at + MESSAGES_PER_STATEMENT <= messages.length) {
      values.length = 0;
      for (const end = at + MESSAGES_PER_STATEMENT; at < end; at += 1) {
        const { id, from, to, time, text } = messages[at];
        values.push(id, from, to, time, text);
      }
      many.run(...values);
    }
    for (const { id, from, to, time, text } of messages.slice(at)) {
      this.#run("insert into message values (?,?,?,?,?)", [
        id,
        from,
        to,
        time,
        text,
      ]);
    }
  }

  *#writeInboxes(inboxes: StateBatch["inboxes"]): Generator<void> {
    let rows = 0;
    for (const [user, ids] of inboxes) {
      for (let at = 0; at < ids.length; at += INBOX_BLOCK_IDS_MAX) {
        const part = ids.slice(at, at + INBOX_BLOCK_IDS_MAX);
        this.#run("insert into inbox values (?,?,?)", [
          user,
          part[0],
          packIds(part),
        ]);
        rows += 1;
        if (rows % ROWS_PER_STEP === 0) yield;
      }
    }
  }

  *#writeUsers(changes: UserChanges): Generator<void> {
    let rows = 0;
    for (const user of changes.changed) {
      this.#run("insert or replace into user values (?,?,?,?,?,?)", [
        user.id,
        user.name,
        user.phc,
        user.token,
        user.createdMs,
        user.readUpTo,
      ]);
      rows += 1;
      if (rows % ROWS_PER_STEP === 0) yield;
    }
    for (const { id, token, at } of changes.deleted) {
      this.#run("delete from user where id = ?", [id]);
      this.#run("insert or replace into deleted_user values (?,?,?)", [
        id,
        token,
        at,
      ]);
      this.#run("insert or replace into sweep values (?)", [id]);
      rows += 1;
      if (rows % ROWS_PER_STEP === 0) yield;
    }
    if (changes.forgottenBefore > 0) {
      this.#run(
        "delete from deleted_user where id in (select id from deleted_user where at < ? order by at limit ?)",
        [changes.forgottenBefore, FORGOTTEN_PER_BATCH_MAX],
      );
    }
  }

  *#writeSessions(changes: SessionChanges): Generator<void> {
    let rows = 0;
    for (const session of changes.changed) {
      this.#run("insert or replace into session values (?,?,?,?,?,?,?,?)", [
        session.id,
        session.secretHash,
        session.user,
        session.opened,
        session.used,
        session.usedMs,
        session.sequence,
        packNumbers(session.results),
      ]);
      rows += 1;
      if (rows % ROWS_PER_STEP === 0) yield;
    }
    for (const { id, at, sequence, result } of changes.ended) {
      this.#run("delete from session where id = ?", [id]);
      this.#run("insert or replace into ended_session values (?,?,?,?)", [
        id,
        at,
        sequence,
        result,
      ]);
      rows += 1;
      if (rows % ROWS_PER_STEP === 0) yield;
    }
    if (changes.forgottenBefore > 0) {
      this.#run(
        "delete from ended_session where id in (select id from ended_session where at < ? order by at limit ?)",
        [changes.forgottenBefore, FORGOTTEN_PER_BATCH_MAX],
      );
    }
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.connection.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, values: (number | string | Uint8Array)[]): void {
    this.#statement(sql).run(...values);
  }

  #get(sql: string, values: (number | string)[] = []): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  #all(sql: string, values: readonly (number | string)[]): Row[] {
    return this.#statement(sql).all(...values);
  }

  #iterate(sql: string): Iterable<Row> {
    return this.#statement(sql).iterate();
  }
}

/** Whether SQLite says that the file itself is bad, and not that a write failed. */
export function isDamage(error: unknown): boolean {
  if (error instanceof RowError) return true;
  if (!(error instanceof Error) || !("errcode" in error)) return false;
  // Extended codes have the primary one in their low byte: 11 SQLITE_CORRUPT,
  // 26 SQLITE_NOTADB.
  const code = Number(error.errcode) & 0xff;
  return code === 11 || code === 26;
}

function messageOf(row: Row): StoredMessage {
  return {
    id: numberAt(row, "id"),
    from: numberAt(row, "from_user"),
    to: numberAt(row, "to_user"),
    time: numberAt(row, "time"),
    text: textAt(row, "text"),
  };
}

function blockOf(row: Row | undefined): InboxBlock | undefined {
  if (row === undefined) return undefined;
  return {
    first: numberAt(row, "first"),
    ids: unpackIds(bytesAt(row, "ids")),
  };
}
