/** What a committed command does to accounts, sessions and messages. */

import { EPOCH_NONE, type StoreId } from "../../../protocol/epoch.ts";
import type { LogEntry, LogPosition } from "../../../protocol/replica.ts";
import {
  type Command,
  decodeCommand,
  type DissolveCommand,
  type ExpireSessionsCommand,
  type OpenSessionCommand,
  type RegisterCommand,
  type SessionCommand,
  type TouchSessionsCommand,
} from "./commands.ts";
import type { Result } from "./results.ts";
import { type EndedSession, type Session, SessionTable } from "./sessions.ts";
import { STATE_HASH_NONE, StateHash } from "./state_hash.ts";
import { type User, UserTable } from "./users.ts";

/** A message, as it is kept. */
export interface StoredMessage {
  /** Index of its `send` entry. */
  readonly id: number;
  /** User ids. */
  readonly from: number;
  readonly to: number;
  /** Time in that entry: wall clock of the sender's server, in ms since 1970. */
  readonly time: number;
  readonly text: string;
}

/** A message, as people see it. */
export interface Message {
  readonly id: number;
  /** The sender's name. */
  readonly from: string;
  /** The recipient's name. */
  readonly to: string;
  readonly time: number;
  readonly text: string;
}

/** What became of one entry, and whom it concerns. */
export interface Applied {
  readonly index: number;
  /** `undefined`: an empty entry, or bytes that are no command (`invalid`). */
  readonly command: Command | undefined;
  readonly result: Result;
  /** Stored by this entry, to be shown to its recipient; not set for a repetition. */
  readonly message: StoredMessage | undefined;
  /** Sessions that ended with this entry. */
  readonly ended: readonly EndedSession[];
  /** The account that was made or deleted by this entry. */
  readonly registered: User | undefined;
  readonly deleted: User | undefined;
  /** The group ended with this entry, for the sake of that one. */
  readonly dissolved: StoreId | undefined;
}

/** Where a {@linkcode StateCore} goes on from. */
export interface StateCoreStart {
  readonly users?: UserTable;
  readonly sessions?: SessionTable;
  /** The last entry that is applied. */
  readonly applied?: LogPosition;
  /** The running hash there. */
  readonly hash?: string;
}

const OK: Result = { code: "ok", value: 0 };
const INVALID: Result = { code: "invalid", value: 0 };
const UNKNOWN_USER: Result = { code: "unknown-user", value: 0 };
const NO_SESSION: Result = { code: "no-session", value: 0 };
const NOBODY: readonly EndedSession[] = [];

/** An outcome before its entry's index is put to it. */
interface Outcome {
  readonly result: Result;
  readonly message?: StoredMessage;
  readonly ended?: readonly EndedSession[];
  readonly registered?: User;
  readonly deleted?: User;
  readonly dissolved?: StoreId;
}

/**
 * The chat's state but for stored messages: a deterministic function of the
 * committed entries. Messages only pass through: who applies keeps them.
 */
export class StateCore {
  readonly users: UserTable;
  readonly sessions: SessionTable;
  readonly #hash: StateHash;
  #applied: LogPosition;
  #isDissolved = false;

  constructor(start: StateCoreStart = {}) {
    this.users = start.users ?? new UserTable();
    this.sessions = start.sessions ?? new SessionTable();
    this.#applied = start.applied ?? { index: 0, epoch: EPOCH_NONE };
    this.#hash = new StateHash(start.hash ?? STATE_HASH_NONE);
  }

  /** Where the last entry applied stands; index 0 if none. */
  get applied(): LogPosition {
    return { index: this.#applied.index, epoch: this.#applied.epoch };
  }

  /** Whether there is no account: sessions and messages go with theirs. */
  get isVoid(): boolean {
    return this.users.size === 0;
  }

  /**
   * Whether the group ended with an entry that is applied. In no file: nothing
   * that was applied since may be written, or a start from there would go on.
   */
  get isDissolved(): boolean {
    return this.#isDissolved;
  }

  /** Over all entries applied and their results, 16 hexadecimal digits. */
  get hash(): string {
    return this.#hash.text;
  }

  /** Applies the entry that follows {@linkcode applied}. */
  apply(entry: LogEntry): Applied {
    const { index } = entry;
    if (index !== this.#applied.index + 1) {
      throw new Error(
        `Cannot apply entry ${index}: ${this.#applied.index} is applied, wanted the one after it`,
      );
    }
    this.users.advance(index);
    this.sessions.advance(index);
    // Nothing counts after the end of the group.
    const command = entry.command.length === 0 || this.#isDissolved
      ? undefined
      : decodeCommand(entry.command);
    const outcome = command === undefined
      ? { result: entry.command.length === 0 ? OK : INVALID }
      : this.#execute(command, index);
    this.#applied = entry;
    this.#hash.add(entry, outcome.result);
    return {
      index,
      command,
      result: outcome.result,
      message: outcome.message,
      ended: outcome.ended ?? NOBODY,
      registered: outcome.registered,
      deleted: outcome.deleted,
      dissolved: outcome.dissolved,
    };
  }

  #execute(command: Command, index: number): Outcome {
    switch (command.kind) {
      case "send":
      case "mark-read":
      case "close-session":
      case "delete-account":
        return this.#executeOnce(command, index);
      case "register":
        return this.#register(command, index);
      case "open-session":
        return this.#open(command, index);
      case "expire-sessions":
        return this.#expire(command, index);
      case "touch-sessions":
        return this.#touch(command, index);
      case "dissolve":
        return this.#dissolve(command);
    }
  }

  /** Only while there is nothing that anybody could miss. */
  #dissolve({ into }: DissolveCommand): Outcome {
    if (!this.isVoid) return { result: { code: "ok", value: 0 } };
    this.#isDissolved = true;
    return { result: { code: "ok", value: 1 }, dissolved: into };
  }

  #executeOnce(command: SessionCommand, index: number): Outcome {
    const known = this.sessions.judge(command.session, command.sequence);
    if (known !== undefined) return { result: known };
    const session = this.sessions.get(command.session);
    const user = session && this.users.byId(session.user);
    // A session ends with its user, so the second is never missing.
    if (session === undefined || user === undefined) {
      return { result: NO_SESSION };
    }
    switch (command.kind) {
      case "close-session":
        return this.#close(session, { sequence: command.sequence, index });
      case "delete-account":
        return this.#delete(user, { command, index });
      case "send":
      case "mark-read": {
        const outcome = command.kind === "send"
          ? this.#send(command, { from: user, index })
          : this.#markRead(user, Math.min(command.upTo, index));
        this.sessions.complete(session, {
          result: outcome.result,
          index,
          timeMs: command.time,
        });
        return outcome;
      }
    }
  }

  #send(
    command: SessionCommand & { kind: "send" },
    { from, index }: { from: User; index: number },
  ): Outcome {
    const to = this.users.byName(command.to);
    if (to === undefined) return { result: UNKNOWN_USER };
    return {
      result: { code: "ok", value: index },
      message: {
        id: index,
        from: from.id,
        to: to.id,
        time: command.time,
        text: command.text,
      },
    };
  }

  #markRead(user: User, upTo: number): Outcome {
    this.users.markRead(user, upTo);
    return { result: { code: "ok", value: user.readUpTo } };
  }

  #close(
    session: Session,
    { sequence, index }: { sequence: number; index: number },
  ): Outcome {
    const ended = this.sessions.end(session, {
      index,
      reason: "closed",
      own: { sequence, result: OK },
    });
    return { result: OK, ended: [ended] };
  }

  #delete(
    user: User,
    { command, index }: { command: SessionCommand; index: number },
  ): Outcome {
    const result: Result = { code: "ok", value: user.id };
    const ended = [...this.sessions.ofUser(user.id)].map((session) =>
      this.sessions.end(session, {
        index,
        reason: "user-deleted",
        ...(session.id === command.session
          ? { own: { sequence: command.sequence, result } }
          : {}),
      })
    );
    this.users.delete(user, index);
    return { result, ended, deleted: user };
  }

  #register(command: RegisterCommand, index: number): Outcome {
    const result = this.users.register({
      id: index,
      name: command.user,
      phc: command.phc,
      token: command.token,
      createdMs: command.time,
      seen: command.seen,
    });
    const registered = this.users.byId(index);
    return registered === undefined ? { result } : { result, registered };
  }

  #open(command: OpenSessionCommand, index: number): Outcome {
    const user = this.users.byName(command.user);
    if (user === undefined || user.id !== command.userId) {
      return { result: UNKNOWN_USER };
    }
    const { result, replaced } = this.sessions.open({
      id: command.session,
      secretHash: command.secretHash,
      user: user.id,
      seen: command.seen,
      index,
      timeMs: command.time,
    });
    return replaced === undefined ? { result } : { result, ended: [replaced] };
  }

  #expire(command: ExpireSessionsCommand, index: number): Outcome {
    const ended: EndedSession[] = [];
    for (const { id, used } of command.sessions) {
      const session = this.sessions.get(id);
      if (session === undefined || session.used !== used) continue;
      ended.push(this.sessions.end(session, { index, reason: "expired" }));
    }
    return { result: { code: "ok", value: ended.length }, ended };
  }

  #touch(command: TouchSessionsCommand, index: number): Outcome {
    let count = 0;
    for (const id of command.ids) {
      const session = this.sessions.get(id);
      if (session === undefined) continue;
      this.sessions.touch(session, { index, timeMs: command.time });
      count += 1;
    }
    return { result: { code: "ok", value: count } };
  }
}
