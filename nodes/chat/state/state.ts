/** The chat's state: what was applied, in memory and in `state.db`. */

import type { LogEntry, LogPosition } from "../../../protocol/replica.ts";
import { RecentIds, UnwrittenMessages } from "./recent_messages.ts";
import { SessionTable } from "./sessions.ts";
import {
  type Applied,
  type Message,
  StateCore,
  type StoredMessage,
} from "./state_core.ts";
import { inSlices, nextTurn } from "./slices.ts";
import { MESSAGES_AT_ONCE, type StateDatabase } from "./state_database.ts";
import { dumpState } from "./state_dump.ts";
import { type OpenedState, StateFile } from "./state_file.ts";
import { StateLoader } from "./state_load.ts";
import { StateSweep } from "./state_sweep.ts";
import { UserTable } from "./users.ts";

/** Messages of one {@linkcode ChatState.list}. */
export const LIST_MESSAGES_MAX = 200;

/** Messages that wait for their rows: these are written in about 1 ms. */
const UNWRITTEN_MAX = 1_024;

/**
 * How long what is applied may stay unwritten: this, or so many times as long
 * as the last write took. Rows of inboxes and sessions are written once for all
 * that happened to them, so waiting saves most of them; a restart applies that
 * much of the log again.
 */
const WRITE_AFTER_MS = 500;
const WRITE_AFTER_TIMES = 20;

/** Entries that may stay unwritten; a restart applies them again in about 1 s. */
const WRITE_ENTRIES_MAX = 262_144;

/** How long one {@linkcode ChatState.maintain} sweeps, turns of others included. */
const SWEEP_MS = 50;

/** Which messages to list. */
export interface ListOptions {
  /** Only ids above this: the oldest of them. */
  readonly after?: number;
  /** Only ids below this: without `after`, the newest of them. */
  readonly before?: number;
  /** 1 to {@linkcode LIST_MESSAGES_MAX}. */
  readonly limit: number;
  /** Only those above what the user has marked as read: the oldest of them. */
  readonly unreadOnly?: boolean;
}

/** What a list found. */
export interface MessagePage {
  /** Ascending by id; may be fewer than asked for although there are more. */
  readonly messages: readonly Message[];
  /**
   * There may be more: ask again with this as `after`, if that or `unreadOnly`
   * was given, and as `before` otherwise. `undefined`: that was all.
   */
  readonly next: number | undefined;
}

/** How much there is. */
export interface StateCounts {
  readonly users: number;
  readonly sessions: number;
  /** Those of deleted users count until they are swept away. */
  readonly messages: number;
}

/**
 * The state machine with its database. All that is asked is answered from what
 * is applied, whether it is written or not. After a failed write memory and
 * database may have parted: everything fails from then on, and the process
 * must end.
 */
export class ChatState {
  /** How the file was found; if not `found`, it is empty now. */
  readonly opened: OpenedState;
  readonly #file: StateFile;
  #memory: Memory;
  #unwritten = new UnwrittenMessages();
  /** Not in the database's inboxes yet. */
  #recent = new RecentIds();
  /** What is being written there; empty if nothing is. */
  #writing = new RecentIds();
  /** What takes several turns goes one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  /** The files are being put in order, or replaced: nothing may be written. */
  #isHeld = false;
  /** When the last write ended, and how long it took. */
  #lastWrite = { endMs: performance.now(), tookMs: 0 };
  #isInstalling = false;
  #readerCount = 0;
  /** What was being written when a write failed is in neither place. */
  #failure: unknown;

  private constructor(file: StateFile, memory: Memory) {
    this.#file = file;
    this.opened = file.opened;
    this.#memory = memory;
  }

  /**
   * Opens `state.db`, or makes it. One that is damaged or of another version is
   * removed and begun anew: see {@linkcode opened}, and then install the
   * snapshot and apply the log from {@linkcode applied} on.
   *
   * @param path `:memory:` keeps all in memory.
   * @throws {StorageError} `open-failed`: the system does not let us.
   */
  static open(path: string): ChatState {
    const { file, loaded } = StateFile.open(path, load);
    return new ChatState(file, loaded);
  }

  /** The last entry applied; index 0 if none. */
  get applied(): LogPosition {
    return this.#memory.core.applied;
  }

  /** Over all entries applied and their results: equal on all servers at an index. */
  get hash(): string {
    return this.#memory.core.hash;
  }

  /** Accounts. Read only: commands change them. */
  get users(): Pick<UserTable, "byName" | "byId" | "size"> {
    return this.#memory.core.users;
  }

  /** Sessions. Read only: commands change them. */
  get sessions(): Pick<
    SessionTable,
    "get" | "ofUser" | "judge" | "idleSince" | "size"
  > {
    return this.#memory.core.sessions;
  }

  /** See {@linkcode StateCore.isVoid}. */
  get isVoid(): boolean {
    return this.#memory.core.isVoid;
  }

  get counts(): StateCounts {
    const { core, messageCount } = this.#memory;
    return {
      users: core.users.size,
      sessions: core.sessions.size,
      messages: messageCount,
    };
  }

  /** Whether {@linkcode maintain} has something to do. */
  get hasWork(): boolean {
    return this.#memory.sweep.isReady || this.#isWriteDue ||
      this.#readerCount === 0 && this.#file.isWalLarge;
  }

  /**
   * Applies entries, in order, from the one after {@linkcode applied} on.
   *
   * @throws {Error} An entry is missing: ours is the mistake.
   * @throws {StorageError} `write-failed`, `damaged`: exit.
   */
  apply(entries: readonly LogEntry[]): Applied[] {
    if (this.#isInstalling) {
      throw new Error("Cannot apply entries while a dump is being installed");
    }
    this.#refuseIfFailed();
    const { core, sweep } = this.#memory;
    const applied: Applied[] = [];
    for (const entry of entries) {
      const done = core.apply(entry);
      if (done.message !== undefined) this.#add(done.message);
      if (done.deleted !== undefined) sweep.add(done.deleted.id);
      applied.push(done);
    }
    if (this.#unwritten.count >= UNWRITTEN_MAX && !this.#isHeld) {
      this.#guard(() => this.#writeMessages());
    }
    return applied;
  }

  /**
   * Writes what is applied, in one transaction, in slices of a few ms. What is
   * applied meanwhile waits for the next call. Once the group has ended nothing
   * is written: a process that dies before it begins anew applies the end again.
   *
   * @throws {StorageError} `write-failed`, `damaged`: exit.
   */
  flush(): Promise<void> {
    return this.#inTurn(() => this.#flush());
  }

  /**
   * To be called while {@linkcode hasWork}, looked at every 100 ms or so: writes, keeps the files small and removes what deleted users left.
   *
   * @throws {StorageError} `write-failed`, `damaged`: exit.
   */
  maintain(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isWriteDue) await this.#flush();
      await this.#reclaim();
      const untilMs = performance.now() + SWEEP_MS;
      while (this.#memory.sweep.isReady && performance.now() < untilMs) {
        this.#sweepStep();
        await nextTurn();
      }
    });
  }

  /**
   * Makes the state survive a power loss.
   *
   * @returns Up to where: the log before that is not needed for a restart.
   * @throws {StorageError} `write-failed`, `damaged`: exit.
   */
  checkpoint(): Promise<LogPosition> {
    return this.#inTurn(async () => {
      await this.#flush();
      const { stored } = this.#memory;
      await this.#file.sync();
      await this.#reclaim();
      return stored;
    });
  }

  /** Removes all that deleted users left, to the last row. */
  sweep(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#flush();
      while (this.#memory.sweep.isReady) {
        this.#sweepStep();
        await nextTurn();
      }
    });
  }

  /** A stored message with names for ids; `undefined` if one of the two is gone. */
  messageOf(stored: StoredMessage): Message | undefined {
    const { users } = this.#memory.core;
    const from = users.byId(stored.from);
    const to = users.byId(stored.to);
    if (from === undefined || to === undefined) return undefined;
    const { id, time, text } = stored;
    return { id, from: from.name, to: to.name, time, text };
  }

  /**
   * Messages to a user. Takes up to some ms.
   *
   * @param user User id.
   * @throws {StorageError} `damaged`: exit.
   */
  list(user: number, options: ListOptions): MessagePage {
    return this.#guard(() => this.#list(user, options));
  }

  /**
   * Dumps the state as it is at the first step, in chunks; see `dumpState`.
   * Entries may be applied meanwhile. End the iteration soon, or the files grow.
   *
   * @param onStart Told the last entry that the dump has, before the first chunk.
   * @throws {StorageError} `write-failed`, `damaged`: exit.
   */
  async *dump(
    onStart?: (position: LogPosition) => void,
  ): AsyncGenerator<Uint8Array> {
    const reader = await this.#inTurn(async () => {
      await this.#flush();
      onStart?.(this.#memory.stored);
      return this.#guard(() => this.#openReader());
    });
    try {
      for (;;) {
        const step = this.#guard(() => reader.chunks.next());
        if (step.done === true) return;
        yield step.value;
        await nextTurn();
      }
    } finally {
      reader.close();
    }
  }

  /**
   * Puts a dump in the place of the whole state. Nothing may be applied until
   * it is over; what is asked meanwhile is answered from the old state.
   *
   * @throws {StorageError} `damaged`: it is no dump, and nothing has changed.
   *   `write-failed`: exit.
   */
  install(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    this.#isInstalling = true;
    return this.#inTurn(async () => {
      const made = this.#file.createNew();
      try {
        const loader = new StateLoader(made.database, this.#file.path);
        for await (const chunk of chunks) {
          loader.push(chunk);
          await nextTurn();
        }
        loader.finish();
      } catch (error) {
        made.discard();
        throw this.#file.failure(error);
      }
      await this.#held(() => this.#file.adopt(made));
      this.#memory = this.#guard(() => load(this.#file.database));
      this.#unwritten = new UnwrittenMessages();
      this.#recent = new RecentIds();
    }).finally(() => {
      this.#isInstalling = false;
    });
  }

  /** Writes what is applied and closes the file. Nothing may be called after it. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        await this.#flush();
      } finally {
        this.#file.close();
      }
    });
  }

  #list(user: number, options: ListOptions): MessagePage {
    const { before = Infinity, unreadOnly = false } = options;
    const limit = Math.min(Math.max(options.limit, 1), LIST_MESSAGES_MAX);
    const isUp = options.after !== undefined || unreadOnly;
    const readUpTo = unreadOnly ? this.users.byId(user)?.readUpTo ?? 0 : 0;
    const after = Math.max(options.after ?? 0, readUpTo);
    const found: number[] = [];
    let next: number | undefined;
    for (const id of isUp ? this.#up(user, after) : this.#down(user, before)) {
      if (id >= before) break;
      if (found.length === limit) {
        // One more is there: it is where the next page begins.
        next = isUp ? id - 1 : id + 1;
        break;
      }
      found.push(id);
    }
    const messages = this.#resolve(found);
    return { messages, next };
  }

  /** Ids of messages to a user above `after`, ascending. */
  *#up(user: number, after: number): Generator<number> {
    const { database } = this.#file;
    // Rows above that are just being written, and are in memory as well.
    const { index: stored } = this.#memory.stored;
    let block = database.inboxBlockAt(user, after) ??
      database.inboxBlockAfter(user, after);
    while (block !== undefined && block.first <= stored) {
      for (const id of block.ids) if (id > after) yield id;
      block = database.inboxBlockAfter(user, block.first);
    }
    for (const recent of [this.#writing, this.#recent]) {
      for (const id of recent.to(user)) if (id > after) yield id;
    }
  }

  /** Ids of messages to a user below `before`, descending. */
  *#down(user: number, before: number): Generator<number> {
    for (const recent of [this.#recent, this.#writing]) {
      for (const id of recent.to(user).toReversed()) if (id < before) yield id;
    }
    const { database } = this.#file;
    let at = Math.min(before - 1, this.#memory.stored.index);
    for (;;) {
      const block = database.inboxBlockAt(user, at);
      if (block === undefined) return;
      for (let place = block.ids.length - 1; place >= 0; place -= 1) {
        if (block.ids[place] < before) yield block.ids[place];
      }
      at = block.first - 1;
    }
  }

  /** Messages whose sender and recipient are there, ascending. */
  #resolve(ids: readonly number[]): Message[] {
    const stored: StoredMessage[] = [];
    const written: number[] = [];
    for (const id of ids) {
      const message = this.#unwritten.get(id);
      if (message === undefined) written.push(id);
      else stored.push(message);
    }
    for (let at = 0; at < written.length; at += MESSAGES_AT_ONCE) {
      const part = written.slice(at, at + MESSAGES_AT_ONCE);
      stored.push(...this.#file.database.messages(part));
    }
    stored.sort((a, b) => a.id - b.id);
    return stored.map((message) => this.messageOf(message))
      .filter((message) => message !== undefined);
  }

  #add(message: StoredMessage): void {
    this.#unwritten.add(message);
    this.#recent.add(message);
    this.#memory.messageCount += 1;
  }

  #writeMessages(): void {
    if (this.#unwritten.count === 0) return;
    this.#file.database.addMessages(this.#unwritten.take());
  }

  get #isWriteDue(): boolean {
    const { core, stored } = this.#memory;
    const unwritten = core.applied.index - stored.index;
    if (unwritten === 0 || core.isDissolved) return false;
    const { endMs, tookMs } = this.#lastWrite;
    const afterMs = Math.max(WRITE_AFTER_MS, WRITE_AFTER_TIMES * tookMs);
    return unwritten >= WRITE_ENTRIES_MAX ||
      performance.now() - endMs >= afterMs;
  }

  async #flush(): Promise<void> {
    this.#refuseIfFailed();
    const { core, stored } = this.#memory;
    if (core.applied.index === stored.index || core.isDissolved) return;
    const beganMs = performance.now();
    try {
      await inSlices(this.#write());
    } catch (error) {
      throw this.#fail(error);
    }
    const endMs = performance.now();
    this.#lastWrite = { endMs, tookMs: endMs - beganMs };
  }

  *#write(): Generator<void> {
    const { core, sweep, messageCount } = this.#memory;
    const { applied, hash } = core;
    this.#writeMessages();
    this.#writing = this.#recent;
    this.#recent = new RecentIds();
    const users = core.users.takeChanges();
    const sessions = core.sessions.takeChanges();
    yield* this.#file.database.write({
      applied,
      hash,
      users,
      sessions,
      inboxes: this.#writing.inboxes(),
      messageCount,
    });
    this.#memory.stored = applied;
    this.#writing = new RecentIds();
    sweep.written(users.deleted.map(({ id }) => id));
  }

  #sweepStep(): void {
    const { sweep } = this.#memory;
    this.#guard(() => {
      this.#memory.messageCount -= sweep.step(this.#file.database);
    });
  }

  async #reclaim(): Promise<void> {
    if (this.#readerCount > 0 || !this.#file.isWalLarge) return;
    await this.#held(() => this.#file.reclaim());
  }

  #openReader(): { chunks: Iterator<Uint8Array>; close: () => void } {
    if (this.#file.isInMemory) {
      // There is no second connection to what is in memory.
      const chunks = [...dumpState(this.#file.database)].values();
      return { chunks, close: () => {} };
    }
    const reader = this.#file.openReader();
    this.#readerCount += 1;
    const chunks = dumpState(reader.database);
    return {
      chunks,
      close: () => {
        chunks.return(undefined);
        reader.close();
        this.#readerCount -= 1;
      },
    };
  }

  /** Nothing is written while `work` goes on. */
  async #held(work: () => Promise<void>): Promise<void> {
    this.#isHeld = true;
    try {
      await work();
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#isHeld = false;
    }
  }

  #guard<T>(work: () => T): T {
    this.#refuseIfFailed();
    try {
      return work();
    } catch (error) {
      throw this.#fail(error);
    }
  }

  #fail(error: unknown): unknown {
    this.#failure ??= this.#file.failure(error);
    return this.#failure;
  }

  #refuseIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Runs `work` when all before it is over, well or not. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** What is in memory, and where the database stands. */
interface Memory {
  readonly core: StateCore;
  readonly sweep: StateSweep;
  /** What the database has. */
  stored: LogPosition;
  /** Messages, with those of deleted users that are not swept away yet. */
  messageCount: number;
}

function load(database: StateDatabase): Memory {
  const { index, epoch, hash, messages } = database.mark();
  const users = new UserTable({
    users: database.users(),
    deleted: database.deletedUsers(),
  });
  const sessions = new SessionTable({
    sessions: database.sessions(),
    ended: database.endedSessions(),
  });
  // The database forgets in its own time.
  users.advance(index);
  sessions.advance(index);
  const stored = { index, epoch };
  return {
    core: new StateCore({ users, sessions, applied: stored, hash }),
    sweep: new StateSweep(database.sweeping()),
    stored,
    messageCount: messages,
  };
}
