/** The whole state as bytes, equal on all servers; see `FORMAT.md#chat-state-dump`. */

import { Buffer } from "node:buffer";
import { SEEN_ENTRIES_MAX } from "./commands.ts";
import type { EndedRow, SessionRow } from "./sessions.ts";
import type { StoredMessage } from "./state_core.ts";
import type { StateDatabase } from "./state_database.ts";
import type { StateMark } from "./state_schema.ts";
import type { DeletedUserRow, UserRow } from "./users.ts";

/** Bytes of one chunk; with what stands before it, a chunk fits one frame. */
export const DUMP_CHUNK_BYTES_MAX = 245_760;

/** The first byte of each record. Only ever add. */
export const DUMP_RECORD = {
  head: 1,
  user: 2,
  deletedUser: 3,
  session: 4,
  endedSession: 5,
  message: 6,
  end: 7,
} as const;

/** Of the records below. */
export const DUMP_VERSION = 1;

/** Kind and length before the fields of each record. */
export const DUMP_RECORD_HEADER_BYTES = 5;

/** Messages read at once, so that a chunk is made of a few reads. */
const MESSAGES_PER_READ = 256;

/**
 * Dumps what a database holds, in chunks of 1 to
 * {@linkcode DUMP_CHUNK_BYTES_MAX} bytes, each made in about 3 ms. The same
 * state gives the same chunks, however it came about.
 *
 * @param database Must not change meanwhile: a reader's.
 */
export function* dumpState(database: StateDatabase): Generator<Uint8Array> {
  const writer = new DumpWriter();
  const mark = database.mark();
  const forgottenBefore = mark.index - SEEN_ENTRIES_MAX;
  const users = new Set<number>();
  const counts = { users: 0, sessions: 0, messages: 0 };
  writer.head(mark);
  for (const user of database.users()) {
    users.add(user.id);
    counts.users += 1;
    yield* writer.user(user);
  }
  for (const user of database.deletedUsers()) {
    // The database forgets in its own time.
    if (user.at >= forgottenBefore) yield* writer.deletedUser(user);
  }
  for (const session of database.sessions()) {
    counts.sessions += 1;
    yield* writer.session(session);
  }
  for (const session of database.endedSessions()) {
    if (session.at >= forgottenBefore) yield* writer.endedSession(session);
  }
  for (let after = 0;;) {
    // Above the mark there may be some that are just being written.
    const messages = database.messagesBetween({
      after,
      upTo: mark.index,
      limit: MESSAGES_PER_READ,
    });
    for (const message of messages) {
      // Not swept away yet, and no part of the state any more.
      if (!users.has(message.from) || !users.has(message.to)) continue;
      counts.messages += 1;
      yield* writer.message(message);
    }
    if (messages.length < MESSAGES_PER_READ) break;
    after = messages[messages.length - 1].id;
  }
  yield* writer.end(counts);
}

const NOTHING: readonly Uint8Array[] = [];

/** Records into chunks; each method returns the chunk that became full, if one did. */
class DumpWriter {
  #chunk = Buffer.allocUnsafe(DUMP_CHUNK_BYTES_MAX);
  #length = 0;

  head(mark: StateMark): void {
    this.#begin(DUMP_RECORD.head, 33);
    this.#byte(DUMP_VERSION);
    this.#number(mark.index);
    this.#number(mark.epoch.counter);
    this.#hex(mark.epoch.store);
    this.#hex(mark.hash);
  }

  user(row: UserRow): readonly Uint8Array[] {
    const name = Buffer.from(row.name);
    const phc = Buffer.from(row.phc);
    const full = this.#begin(
      DUMP_RECORD.user,
      40 + 4 + name.length + 4 + phc.length,
    );
    this.#number(row.id);
    this.#number(row.createdMs);
    this.#number(row.readUpTo);
    this.#hex(row.token);
    this.#bytes(name);
    this.#bytes(phc);
    return full;
  }

  deletedUser(row: DeletedUserRow): readonly Uint8Array[] {
    const full = this.#begin(DUMP_RECORD.deletedUser, 32);
    this.#number(row.at);
    this.#number(row.id);
    this.#hex(row.token);
    return full;
  }

  session(row: SessionRow): readonly Uint8Array[] {
    const full = this.#begin(
      DUMP_RECORD.session,
      80 + 8 * row.results.length,
    );
    this.#hex(row.id);
    this.#hex(row.secretHash);
    this.#number(row.user);
    this.#number(row.opened);
    this.#number(row.used);
    this.#number(row.usedMs);
    this.#number(row.sequence);
    for (const result of row.results) this.#number(result);
    return full;
  }

  endedSession(row: EndedRow): readonly Uint8Array[] {
    const full = this.#begin(DUMP_RECORD.endedSession, 32);
    this.#number(row.at);
    this.#hex(row.id);
    this.#number(row.sequence);
    this.#number(row.result);
    return full;
  }

  message(row: StoredMessage): readonly Uint8Array[] {
    const bytes = Buffer.byteLength(row.text);
    const full = this.#begin(DUMP_RECORD.message, 32 + bytes);
    this.#number(row.id);
    this.#number(row.from);
    this.#number(row.to);
    this.#number(row.time);
    this.#length += this.#chunk.write(row.text, this.#length);
    return full;
  }

  /** Ends the dump. */
  *end(
    counts: { users: number; sessions: number; messages: number },
  ): Generator<Uint8Array> {
    yield* this.#begin(DUMP_RECORD.end, 24);
    this.#number(counts.users);
    this.#number(counts.sessions);
    this.#number(counts.messages);
    yield this.#chunk.subarray(0, this.#length);
  }

  /** A record never crosses the end of a chunk. */
  #begin(kind: number, length: number): readonly Uint8Array[] {
    let full = NOTHING;
    if (
      this.#length + DUMP_RECORD_HEADER_BYTES + length > DUMP_CHUNK_BYTES_MAX
    ) {
      full = [this.#chunk.subarray(0, this.#length)];
      this.#chunk = Buffer.allocUnsafe(DUMP_CHUNK_BYTES_MAX);
      this.#length = 0;
    }
    this.#byte(kind);
    this.#word(length);
    return full;
  }

  #byte(value: number): void {
    this.#chunk[this.#length] = value;
    this.#length += 1;
  }

  #word(value: number): void {
    this.#length = this.#chunk.writeUInt32BE(value, this.#length);
  }

  #number(value: number): void {
    this.#word(Math.floor(value / 2 ** 32));
    this.#word(value % 2 ** 32);
  }

  #hex(digits: string): void {
    this.#length += this.#chunk.write(digits, this.#length, "hex");
  }

  #bytes(bytes: Uint8Array): void {
    this.#word(bytes.length);
    this.#chunk.set(bytes, this.#length);
    this.#length += bytes.length;
  }
}
