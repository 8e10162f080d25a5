/** Reads a dump of the state into an empty database; see `FORMAT.md#chat-state-dump`. */

import { Buffer } from "node:buffer";
import type { Epoch } from "../../../protocol/epoch.ts";
import { StorageError } from "../../../storage/errors.ts";
import { isText, PHC_CHARACTERS_MAX } from "./commands.ts";
import { RecentIds } from "./recent_messages.ts";
import {
  type EndedRow,
  RESULTS_KEPT,
  type SessionRow,
  SESSIONS_MAX,
} from "./sessions.ts";
import type { StoredMessage } from "./state_core.ts";
import type { StateDatabase } from "./state_database.ts";
import {
  DUMP_CHUNK_BYTES_MAX,
  DUMP_RECORD,
  DUMP_RECORD_HEADER_BYTES,
  DUMP_VERSION,
} from "./state_dump.ts";
import { type DeletedUserRow, type UserRow, USERS_MAX } from "./users.ts";

/** Messages written at once, and with them one row in each recipient's inbox. */
const MESSAGES_PER_BATCH = 8_192;

/** Other rows written at once. */
const ROWS_PER_BATCH = 2_048;

interface DumpHead {
  readonly index: number;
  readonly epoch: Epoch;
  readonly hash: string;
}

/**
 * Takes the chunks of a dump, in order. Believes nothing: order, bounds and
 * counts are checked, whoever sent it.
 */
export class StateLoader {
  readonly #database: StateDatabase;
  readonly #path: string;
  #head: DumpHead | undefined;
  #isEnded = false;
  /** The kind of record that came last: kinds come in the order of their numbers. */
  #kind = 0;
  /** Position in the dump, in bytes, for errors. */
  #position = 0;
  #lastUser = 0;
  #lastSession = "";
  #lastMessage = 0;
  #sessionCount = 0;
  #messageCount = 0;
  readonly #userIds = new Set<number>();
  #users: UserRow[] = [];
  #deletedUsers: DeletedUserRow[] = [];
  #sessions: SessionRow[] = [];
  #endedSessions: EndedRow[] = [];
  #messages: StoredMessage[] = [];

  /**
   * @param database Empty, with tables.
   * @param path Named in errors.
   */
  constructor(database: StateDatabase, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /**
   * Reads one chunk; takes a few ms.
   *
   * @throws {StorageError} `damaged`: this is no dump. Get another.
   */
  push(chunk: Uint8Array): void {
    if (chunk.length > DUMP_CHUNK_BYTES_MAX) {
      throw this.#bad(
        `a chunk has ${chunk.length} bytes, limit is ${DUMP_CHUNK_BYTES_MAX}`,
      );
    }
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let at = 0; at < bytes.length;) {
      if (bytes.length - at < DUMP_RECORD_HEADER_BYTES) {
        throw this.#bad("a record is cut off");
      }
      const kind = bytes[at];
      const length = bytes.readUInt32BE(at + 1);
      const begin = at + DUMP_RECORD_HEADER_BYTES;
      if (length > bytes.length - begin) throw this.#bad("a record is cut off");
      this.#record(
        kind,
        new Fields(
          bytes.subarray(begin, begin + length),
          (reason) => this.#bad(reason),
        ),
      );
      at = begin + length;
      this.#position += DUMP_RECORD_HEADER_BYTES + length;
    }
  }

  /**
   * Writes what is left.
   *
   * @throws {StorageError} `damaged`: the dump is not whole.
   */
  finish(): void {
    if (!this.#isEnded) throw this.#bad("it has no end");
    this.#write();
    // A dump has no messages of those who are deleted.
    this.#database.forgetSweeps();
  }

  #record(kind: number, fields: Fields): void {
    if (this.#isEnded || kind < this.#kind || (kind > 1 && !this.#head)) {
      throw this.#bad(`record ${kind} comes after record ${this.#kind}`);
    }
    this.#kind = kind;
    switch (kind) {
      case DUMP_RECORD.head:
        this.#readHead(fields);
        break;
      case DUMP_RECORD.user:
        this.#readUser(fields);
        break;
      case DUMP_RECORD.deletedUser:
        this.#readDeletedUser(fields);
        break;
      case DUMP_RECORD.session:
        this.#readSession(fields);
        break;
      case DUMP_RECORD.endedSession:
        this.#readEndedSession(fields);
        break;
      case DUMP_RECORD.message:
        this.#readMessage(fields);
        break;
      case DUMP_RECORD.end:
        this.#readEnd(fields);
        break;
      default:
        throw this.#bad(`record ${kind} is not known to this version`);
    }
    fields.end();
    const rows = this.#users.length + this.#deletedUsers.length +
      this.#sessions.length + this.#endedSessions.length;
    if (rows >= ROWS_PER_BATCH) this.#write();
    if (this.#messages.length >= MESSAGES_PER_BATCH) this.#write();
  }

  #readHead(fields: Fields): void {
    if (this.#head !== undefined) throw this.#bad("it has two heads");
    const version = fields.byte();
    if (version !== DUMP_VERSION) {
      throw this.#bad(`it has version ${version}, wanted ${DUMP_VERSION}`);
    }
    this.#head = {
      index: fields.number(),
      epoch: { counter: fields.number(), store: fields.hex(8) },
      hash: fields.hex(8),
    };
  }

  #readUser(fields: Fields): void {
    const id = fields.number();
    const user: UserRow = {
      id,
      createdMs: fields.number(),
      readUpTo: fields.number(),
      token: fields.hex(16),
      name: fields.text(),
      phc: fields.text(),
    };
    if (id <= this.#lastUser || user.phc.length > PHC_CHARACTERS_MAX) {
      throw this.#bad(`user ${id} comes after user ${this.#lastUser}`);
    }
    this.#lastUser = id;
    this.#userIds.add(id);
    if (this.#userIds.size > USERS_MAX) {
      throw this.#bad(`it has more than ${USERS_MAX} users`);
    }
    this.#users.push(user);
  }

  #readDeletedUser(fields: Fields): void {
    this.#deletedUsers.push({
      at: fields.number(),
      id: fields.number(),
      token: fields.hex(16),
    });
  }

  #readSession(fields: Fields): void {
    const session: SessionRow = {
      id: fields.hex(8),
      secretHash: fields.hex(32),
      user: fields.number(),
      opened: fields.number(),
      used: fields.number(),
      usedMs: fields.number(),
      sequence: fields.number(),
      results: fields.numbers(),
    };
    const { id, results, sequence, user } = session;
    if (id <= this.#lastSession || !this.#userIds.has(user)) {
      throw this.#bad(`session ${id} of user ${user} does not belong here`);
    }
    if (results.length !== Math.min(sequence, RESULTS_KEPT)) {
      throw this.#bad(
        `session ${id} has ${results.length} results and sequence ${sequence}`,
      );
    }
    this.#lastSession = id;
    this.#sessionCount += 1;
    if (this.#sessionCount > SESSIONS_MAX) {
      throw this.#bad(`it has more than ${SESSIONS_MAX} sessions`);
    }
    this.#sessions.push(session);
  }

  #readEndedSession(fields: Fields): void {
    this.#endedSessions.push({
      at: fields.number(),
      id: fields.hex(8),
      sequence: fields.number(),
      result: fields.number(),
    });
  }

  #readMessage(fields: Fields): void {
    const message: StoredMessage = {
      id: fields.number(),
      from: fields.number(),
      to: fields.number(),
      time: fields.number(),
      text: fields.restAsText(),
    };
    const { id, from, to, text } = message;
    if (id <= this.#lastMessage || id > (this.#head?.index ?? 0)) {
      throw this.#bad(`message ${id} comes after message ${this.#lastMessage}`);
    }
    if (!this.#userIds.has(from) || !this.#userIds.has(to) || !isText(text)) {
      throw this.#bad(`message ${id} from ${from} to ${to} cannot be`);
    }
    this.#lastMessage = id;
    this.#messageCount += 1;
    this.#messages.push(message);
  }

  #readEnd(fields: Fields): void {
    const said = [fields.number(), fields.number(), fields.number()];
    const found = [this.#userIds.size, this.#sessionCount, this.#messageCount];
    if (said.join() !== found.join()) {
      throw this.#bad(
        `it has ${
          found.join(", ")
        } users, sessions and messages, and should have ${said.join(", ")}`,
      );
    }
    this.#isEnded = true;
  }

  #write(): void {
    if (this.#head === undefined) return;
    const { index, epoch, hash } = this.#head;
    const inboxes = new RecentIds();
    for (const message of this.#messages) inboxes.add(message);
    this.#database.addMessages(this.#messages);
    const steps = this.#database.write({
      applied: { index, epoch },
      hash,
      users: {
        changed: this.#users,
        deleted: this.#deletedUsers,
        forgottenBefore: 0,
      },
      sessions: {
        changed: this.#sessions,
        ended: this.#endedSessions,
        forgottenBefore: 0,
      },
      inboxes: inboxes.inboxes(),
      messageCount: this.#messageCount,
    });
    while (steps.next().done !== true);
    this.#users = [];
    this.#deletedUsers = [];
    this.#sessions = [];
    this.#endedSessions = [];
    this.#messages = [];
  }

  #bad(reason: string): StorageError {
    return new StorageError(
      "damaged",
      `Cannot install a dump of the state: ${reason}, at byte ${this.#position}`,
      { path: this.#path, position: this.#position },
    );
  }
}

/** The fields of one record, in order. */
class Fields {
  readonly #bytes: Buffer;
  readonly #bad: (reason: string) => StorageError;
  #at = 0;

  constructor(bytes: Buffer, bad: (reason: string) => StorageError) {
    this.#bytes = bytes;
    this.#bad = bad;
  }

  byte(): number {
    return this.#bytes[this.#take(1)];
  }

  number(): number {
    const at = this.#take(8);
    const value = this.#bytes.readUInt32BE(at) * 2 ** 32 +
      this.#bytes.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) throw this.#bad("a number is too large");
    return value;
  }

  hex(length: number): string {
    const at = this.#take(length);
    return this.#bytes.toString("hex", at, at + length);
  }

  text(): string {
    const length = this.#bytes.readUInt32BE(this.#take(4));
    const at = this.#take(length);
    return this.#bytes.toString("utf8", at, at + length);
  }

  /** All numbers that are left. */
  numbers(): number[] {
    const numbers: number[] = [];
    while (this.#at < this.#bytes.length) numbers.push(this.number());
    return numbers;
  }

  restAsText(): string {
    const at = this.#take(this.#bytes.length - this.#at);
    return this.#bytes.toString("utf8", at);
  }

  /** Nothing must be left. */
  end(): void {
    if (this.#at !== this.#bytes.length) {
      throw this.#bad("a record is longer than its fields");
    }
  }

  #take(length: number): number {
    if (length > this.#bytes.length - this.#at) {
      throw this.#bad("a record is shorter than its fields");
    }
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
