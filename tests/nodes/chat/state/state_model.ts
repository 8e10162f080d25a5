/** A tiny model of the chat's state, and random commands for it. */

import fc from "fast-check";
import {
  type Command,
  encodeCommand,
} from "../../../../nodes/chat/state/commands.ts";
import type { Result } from "../../../../nodes/chat/state/results.ts";
import type { ChatState } from "../../../../nodes/chat/state/state.ts";
import { hex, type History, sessionId } from "./state_fixture.ts";

/** One step of a random history, in small numbers. */
export type Step =
  | { kind: "register"; user: number; token: number }
  | { kind: "open"; session: number; user: number; isRight: boolean }
  | { kind: "send"; session: number; ahead: number; to: number; text: string }
  | { kind: "mark-read"; session: number; ahead: number; back: number }
  | { kind: "close" | "delete"; session: number; ahead: number }
  | { kind: "expire"; sessions: number[]; isRight: boolean }
  | { kind: "touch"; sessions: number[] }
  | { kind: "repeat"; back: number }
  | { kind: "empty" | "junk" };

const USERS = 5;
const SESSIONS = 6;
const user = fc.nat(USERS - 1);
const session = fc.nat(SESSIONS - 1);
/** Mostly the next sequence. */
const ahead = fc.oneof(
  { weight: 8, arbitrary: fc.constant(1) },
  { weight: 1, arbitrary: fc.integer({ min: -70, max: 3 }) },
);

/** A random step. */
export const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("register" as const),
      user,
      token: fc.nat(30),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("open" as const),
      session,
      user,
      isRight: fc.nat(9).map((n) => n > 0),
    }),
  },
  {
    weight: 30,
    arbitrary: fc.record({
      kind: fc.constant("send" as const),
      session,
      ahead,
      to: user,
      text: fc.string({ minLength: 1, maxLength: 30, unit: "grapheme" })
        .map((text) => text.replaceAll("\0", "0")),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("mark-read" as const),
      session,
      ahead,
      back: fc.nat(30),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("close" as const, "delete" as const),
      session,
      ahead,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("expire" as const),
      sessions: fc.array(session, { minLength: 1, maxLength: 3 }),
      isRight: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("touch" as const),
      sessions: fc.array(session, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("repeat" as const),
      back: fc.nat(60),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("empty" as const, "junk" as const),
    }),
  },
);

/** What a history begins with, so that most of it has an effect. */
export const FIRST_STEPS: readonly Step[] = [0, 1, 2, 3].flatMap((user) => [
  { kind: "register", user, token: 40 + user },
  { kind: "open", session: user, user, isRight: true },
]);

interface ModelUser {
  readonly id: number;
  readonly name: string;
  readonly token: string;
  readUpTo: number;
}

interface ModelSession {
  readonly user: ModelUser;
  readonly secretHash: string;
  used: number;
  /** Of sequence 1, 2, 3 … */
  readonly results: Result[];
}

interface ModelMessage {
  readonly id: number;
  readonly from: ModelUser;
  readonly to: ModelUser;
  readonly text: string;
  readonly time: number;
}

const OK: Result = { code: "ok", value: 0 };

/**
 * What the chat's state must be, without bounds, files or speed. It forgets
 * nothing, so histories must be shorter than what the state remembers.
 */
export class Model {
  readonly users = new Map<string, ModelUser>();
  readonly #sessions = new Map<string, ModelSession>();
  /** By id: sequence and result of the command that ended it. */
  readonly #ended = new Map<string, [number, Result]>();
  readonly #deletedTokens = new Set<string>();
  /** How often a number in a step has become a new session. */
  readonly #generations = new Map<number, number>();
  messages: ModelMessage[] = [];

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Makes the command of a step that fits the present state. */
  commandOf(step: Step, history: History): Uint8Array {
    const time = 1_000 + history.index;
    switch (step.kind) {
      case "register":
        return encodeCommand({
          kind: "register",
          user: `user-${step.user}`,
          phc: `phc-${step.user}`,
          token: hex(step.token, 32),
          seen: history.index,
          time,
        });
      case "open":
        if (step.isRight && this.#ended.has(this.#idOf(step.session))) {
          const generation = this.#generations.get(step.session) ?? 0;
          this.#generations.set(step.session, generation + 1);
        }
        return encodeCommand({
          kind: "open-session",
          session: this.#idOf(step.session),
          secretHash: hex(step.user, 64),
          user: `user-${step.user}`,
          userId: (this.users.get(`user-${step.user}`)?.id ?? 0) +
            (step.isRight ? 0 : 1),
          seen: history.index,
          time,
        });
      case "send":
        return encodeCommand({
          kind: "send",
          ...this.#next(step),
          time,
          to: `user-${step.to}`,
          text: step.text,
        });
      case "mark-read":
        return encodeCommand({
          kind: "mark-read",
          ...this.#next(step),
          time,
          upTo: Math.max(history.index + 3 - step.back, 0),
        });
      case "close":
        return encodeCommand({
          kind: "close-session",
          ...this.#next(step),
          time,
        });
      case "delete":
        return encodeCommand({
          kind: "delete-account",
          ...this.#next(step),
          time,
        });
      case "expire":
        return encodeCommand({
          kind: "expire-sessions",
          sessions: step.sessions.map((number) => ({
            id: this.#idOf(number),
            used: (this.#sessions.get(this.#idOf(number))?.used ?? 1) -
              (step.isRight ? 0 : 1),
          })),
          time,
        });
      case "touch":
        return encodeCommand({
          kind: "touch-sessions",
          ids: step.sessions.map((number) => this.#idOf(number)),
          time,
        });
      case "repeat":
        return history.entries.at(-1 - step.back)?.command ?? new Uint8Array(0);
      case "empty":
        return new Uint8Array(0);
      case "junk":
        return Uint8Array.of(0x7b, 0xff);
    }
  }

  /** Applies a command that {@linkcode commandOf} made. */
  apply(index: number, bytes: Uint8Array): Result {
    if (bytes.length === 0) return OK;
    if (bytes[1] === 0xff) return { code: "invalid", value: 0 };
    const command: Command = JSON.parse(new TextDecoder().decode(bytes));
    switch (command.kind) {
      case "register": {
        const { user: name, token } = command;
        const present = this.users.get(name);
        if (present?.token === token) return { code: "ok", value: present.id };
        if (present) return { code: "user-exists", value: 0 };
        if (this.#deletedTokens.has(token)) return { code: "stale", value: 0 };
        this.users.set(name, { id: index, name, token, readUpTo: index });
        return { code: "ok", value: index };
      }
      case "open-session": {
        const { session: id, secretHash } = command;
        const owner = this.users.get(command.user);
        if (owner?.id !== command.userId) {
          return { code: "unknown-user", value: 0 };
        }
        const present = this.#sessions.get(id);
        if (present?.user === owner && present.secretHash === secretHash) {
          return OK;
        }
        if (present || this.#ended.has(id)) return { code: "stale", value: 0 };
        this.#sessions.set(id, {
          user: owner,
          secretHash,
          used: index,
          results: [],
        });
        return OK;
      }
      case "expire-sessions": {
        let value = 0;
        for (const { id, used } of command.sessions) {
          if (this.#sessions.get(id)?.used !== used) continue;
          this.#end(id, [0, OK]);
          value += 1;
        }
        return { code: "ok", value };
      }
      case "touch-sessions": {
        const found = command.ids.map((id) => this.#sessions.get(id))
          .filter((one) => one !== undefined);
        for (const one of found) one.used = index;
        return { code: "ok", value: found.length };
      }
      case "dissolve":
        throw new Error("These histories end no group");
      default:
        return this.#applyOnce(index, command);
    }
  }

  /** What a state says, to be compared with {@linkcode view}. */
  static viewOf(state: ChatState): unknown {
    return Array.from({ length: USERS }, (_, number) => {
      const found = state.users.byName(`user-${number}`);
      return found === undefined ? undefined : {
        id: found.id,
        readUpTo: found.readUpTo,
        unread: state.list(found.id, { limit: 200, unreadOnly: true })
          .messages.length,
        messages: state.list(found.id, { limit: 200 }).messages,
      };
    });
  }

  view(): unknown {
    return Array.from({ length: USERS }, (_, number) => {
      const found = this.users.get(`user-${number}`);
      if (found === undefined) return undefined;
      const own = this.messages.filter(({ to }) => to === found);
      return {
        id: found.id,
        readUpTo: found.readUpTo,
        unread: own.filter(({ id }) =>
          id > found.readUpTo
        ).slice(0, 200).length,
        messages: own.map(({ id, from, to, time, text }) => ({
          id,
          from: from.name,
          to: to.name,
          time,
          text,
        })),
      };
    });
  }

  #idOf(number: number): string {
    return sessionId(number + 256 * (this.#generations.get(number) ?? 0));
  }

  #next(
    step: { session: number; ahead: number },
  ): { session: string; sequence: number } {
    const id = this.#idOf(step.session);
    const last = this.#sessions.get(id)?.results.length ?? 0;
    return { session: id, sequence: Math.max(last + step.ahead, 1) };
  }

  #applyOnce(
    index: number,
    command: Command & { session: string; sequence: number },
  ): Result {
    const { session: id, sequence } = command;
    const found = this.#sessions.get(id);
    if (found === undefined) {
      const [last, result] = this.#ended.get(id) ?? [0, OK];
      return last === sequence ? result : { code: "no-session", value: 0 };
    }
    const { results } = found;
    if (sequence > results.length + 1) {
      return { code: "gap", value: results.length + 1 };
    }
    if (sequence <= results.length - 64) return { code: "stale", value: 0 };
    if (sequence <= results.length) return results[sequence - 1];
    const result = this.#execute(index, { command, found });
    if (this.#sessions.has(id)) {
      results.push(result);
      found.used = index;
    }
    return result;
  }

  #execute(
    index: number,
    { command, found }: { command: Command; found: ModelSession },
  ): Result {
    const own = found.user;
    switch (command.kind) {
      case "send": {
        const to = this.users.get(command.to);
        if (to === undefined) return { code: "unknown-user", value: 0 };
        const { text, time } = command;
        this.messages.push({ id: index, from: own, to, text, time });
        return { code: "ok", value: index };
      }
      case "mark-read":
        own.readUpTo = Math.max(own.readUpTo, Math.min(command.upTo, index));
        return { code: "ok", value: own.readUpTo };
      case "close-session":
        this.#end(command.session, [command.sequence, OK]);
        return OK;
      case "delete-account": {
        const result: Result = { code: "ok", value: own.id };
        for (const [id, { user }] of this.#sessions) {
          if (user !== own) continue;
          const isOwn = id === command.session;
          this.#end(id, isOwn ? [command.sequence, result] : [0, OK]);
        }
        this.users.delete(own.name);
        this.#deletedTokens.add(own.token);
        this.messages = this.messages.filter(({ from, to }) =>
          from !== own && to !== own
        );
        return result;
      }
      default:
        throw new Error(`${command.kind} is no command of a session`);
    }
  }

  #end(id: string, own: [number, Result]): void {
    this.#sessions.delete(id);
    this.#ended.set(id, own);
  }
}
