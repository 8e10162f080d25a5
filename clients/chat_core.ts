/** What `skein chat` decides: logging in, numbering, sending again, showing each message once. */

import type {
  ChatAnswer,
  ChatMessage,
  ErrorAnswer,
  OkAnswer,
  SessionProof,
} from "../protocol/chat.ts";
import { readMessage } from "../protocol/chat_answers.ts";
import type { Core } from "../protocol/core.ts";
import type { WireCode } from "../protocol/errors.ts";
import type {
  ChatEffect,
  ChatInput,
  ChatProblem,
  Credentials,
  ListCommand,
} from "./chat_contract.ts";
import {
  ChatOutbox,
  type Outgoing,
  type OutgoingResult,
} from "./chat_outbox.ts";

/** How often a quiet connection is asked whether it still is one. */
const PING_EVERY_MS = 10_000;

/** How long an answer may take: a server says itself after 10 s that it takes longer. */
const ANSWER_WAIT_MS = 20_000;

/** How long a client that has nothing left to do waits until its session is ended. */
const LEAVE_WAIT_MS = 2_000;

/** How long to wait before trying again what nobody said a time for. */
const RETRY_MS = 500;

/** Messages of one `list` while catching up. */
const CATCH_UP_LIMIT = 100;

/** Pushed messages that wait while older ones are fetched; beyond it they are fetched too. */
const PUSHES_WAITING_MAX = 1_000;

/** Refusals at the door that no further attempt can change. */
const FINAL_CODES: ReadonlySet<WireCode> = new Set<WireCode>([
  "not-private",
  "lines-refused",
  "not-skein",
]);

/** What a request was for. */
interface Asked {
  readonly kind:
    | "register"
    | "login"
    | "resume"
    | "ping"
    | "catch-up"
    | "list";
}

type Phase = "idle" | "offline" | "joining" | "ready" | "done";

/** One chat client as a state machine. */
export class ChatCore implements Core<ChatInput, ChatEffect> {
  readonly #targetCount: number;
  /** Whether messages are shown; else nothing is fetched. */
  readonly #shows: boolean;
  readonly #outbox = new ChatOutbox();
  #phase: Phase = "idle";
  #credentials: Credentials | undefined;
  #proof: SessionProof | undefined;
  #user = "";
  /** What was said when the name to register was taken. */
  #takenText: string | undefined;
  #wasReady = false;
  /** Highest index heard of: no server may answer from before it. */
  #seen = 0;
  /** All messages up to here were shown. */
  #shown = 0;
  #isCaughtUp = false;
  #pushes: ChatMessage[] = [];
  #lists: ListCommand[] = [];
  #asked = new Map<number, Asked>();
  #nextId = 1;
  #target = 0;
  #attempts = 0;
  #refusals = 0;
  /** Nothing is sent before this. */
  #holdUntilMs = 0;
  #heardMs = 0;
  #wakeAtMs = Infinity;
  #hasEnded = false;
  /** All is done, and the session is being ended. */
  #leaveUntilMs: number | undefined;
  #wantsInput = false;
  #nowMs = 0;
  #effects: ChatEffect[] = [];

  constructor(options: { targetCount: number; shows: boolean }) {
    this.#targetCount = options.targetCount;
    this.#shows = options.shows;
  }

  /** Commands that have no result yet. */
  get openCount(): number {
    return this.#outbox.size + this.#lists.length;
  }

  /** Whether it is logged in just now. */
  get isReady(): boolean {
    return this.#phase === "ready";
  }

  /** Number of the last message shown, for `mark-read`. */
  get shown(): number {
    return this.#shown;
  }

  describe(): string {
    return `${this.#phase} target ${this.#target} outbox ${this.#outbox.size} shown ${this.#shown} seen ${this.#seen}`;
  }

  step(input: ChatInput, nowMs: number): ChatEffect[] {
    this.#effects = [];
    this.#nowMs = nowMs;
    if (this.#phase !== "done") this.#handle(input);
    if (this.#phase !== "done") this.#goOn();
    return this.#effects;
  }

  #handle(input: ChatInput): void {
    switch (input.kind) {
      case "login":
        this.#credentials = input.credentials;
        if (this.#phase === "idle") this.#dial();
        else if (this.#phase === "joining") this.#join();
        return;
      case "connected":
        this.#phase = "joining";
        this.#heardMs = this.#nowMs;
        return this.#join();
      case "unreachable":
        return this.#unreachable(input.problem);
      case "link-down":
        return this.#lost(input.problem);
      case "answer":
        this.#heardMs = this.#nowMs;
        return this.#take(input.answer);
      case "command":
        if (input.command.kind === "list") this.#lists.push(input.command);
        else this.#outbox.add(input.command);
        return;
      case "more":
        this.#wantsInput = false;
        return;
      case "end":
        this.#hasEnded = true;
        return;
      case "wake":
        this.#wakeAtMs = Infinity;
        return this.#checkLink();
    }
  }

  // The connection

  #dial(): void {
    this.#phase = "offline";
    // Every server is tried once before the wait begins to grow.
    const attempt = Math.floor(this.#attempts / this.#targetCount);
    this.#attempts += 1;
    this.#effects.push({ kind: "dial", target: this.#target, attempt });
  }

  #unreachable(problem: ChatProblem): void {
    this.#refusals = FINAL_CODES.has(problem.code) ? this.#refusals + 1 : 0;
    if (this.#refusals >= this.#targetCount) return this.#finish(problem);
    this.#effects.push({ kind: "trouble", problem });
    this.#target = (this.#target + 1) % this.#targetCount;
    this.#dial();
  }

  #lost(problem: ChatProblem): void {
    if (this.#phase === "idle" || this.#phase === "offline") return;
    this.#phase = "offline";
    if (this.#leaveUntilMs !== undefined) return this.#finish();
    this.#asked.clear();
    this.#isCaughtUp = false;
    this.#pushes = [];
    this.#outbox.linkDown();
    this.#unreachable(problem);
  }

  #hangUp(problem: ChatProblem): void {
    this.#effects.push({ kind: "close" });
    this.#lost(problem);
  }

  #checkLink(): void {
    if (this.#phase !== "ready" && this.#phase !== "joining") return;
    const quietMs = this.#nowMs - this.#heardMs;
    if (quietMs >= ANSWER_WAIT_MS && this.#isWaiting) {
      return this.#hangUp({
        code: "timeout",
        text: `the server said nothing for ${quietMs / 1_000} s`,
      });
    }
    if (quietMs >= PING_EVERY_MS && this.#phase === "ready") {
      if (!this.#isAsked("ping")) this.#ask({ kind: "ping" }, { type: "ping" });
    }
  }

  get #isWaiting(): boolean {
    return this.#asked.size > 0 || this.#outbox.sentCount > 0;
  }

  // Logging in

  #join(): void {
    if (this.#isJoining) return;
    const proof = this.#proof;
    const credentials = this.#credentials;
    if (proof !== undefined) {
      const seen = this.#seen;
      this.#ask({ kind: "resume" }, { type: "resume", ...proof, seen });
    } else if (credentials?.isNew) {
      const { user, password } = credentials;
      this.#ask({ kind: "register" }, { type: "register", user, password });
    } else this.#login();
  }

  get #isJoining(): boolean {
    return this.#isAsked("register") || this.#isAsked("login") ||
      this.#isAsked("resume");
  }

  #isAsked(wanted: Asked["kind"]): boolean {
    for (const { kind } of this.#asked.values()) {
      if (kind === wanted) return true;
    }
    return false;
  }

  #login(): void {
    if (this.#credentials === undefined || this.#isJoining) return;
    const { user, password } = this.#credentials;
    const seen = this.#seen;
    this.#ask({ kind: "login" }, { type: "login", user, password, seen });
  }

  #registered(): void {
    const credentials = this.#credentials;
    if (credentials === undefined) return;
    this.#credentials = { ...credentials, isNew: false };
    this.#login();
  }

  #joined(fields: Readonly<Record<string, unknown>>): void {
    const { session, secret, user } = fields;
    if (typeof session === "string" && typeof secret === "string") {
      // Numbers of another session mean nothing in this one.
      for (const lost of this.#outbox.renumber()) {
        this.#report(lost, {
          kind: "unknown",
          reason: "the session had ended",
        });
      }
      this.#proof = { session, secret };
    }
    if (typeof user === "string") this.#user = user;
    this.#phase = "ready";
    this.#attempts = 0;
    this.#refusals = 0;
    this.#effects.push({
      kind: "ready",
      user: this.#user,
      again: this.#wasReady,
    });
    if (!this.#shows) {
      this.#isCaughtUp = true;
    } else this.#catchUp();
    this.#wasReady = true;
  }

  #notJoined(asked: Asked, answer: ErrorAnswer): void {
    const { code, text, retryMs } = answer;
    const problem = { code, text };
    if (code === "name-taken") {
      // By an attempt of ours whose answer was lost, if the password fits.
      this.#takenText = text;
      return this.#registered();
    }
    if (asked.kind === "resume" && code === "session-unknown") {
      this.#proof = undefined;
      // The session is over because it was told to be.
      if (this.#outbox.wasSent("logout")) return this.#finish();
      return this.#login();
    }
    if (code === "wrong-password" && this.#outbox.wasSent("delete-account")) {
      const [deletion] = this.#outbox.renumber()
        .filter(({ kind }) => kind === "delete-account");
      this.#report(deletion, { kind: "ok", n: undefined });
      return this.#finish();
    }
    if (retryMs !== undefined || answer.outcome === "indefinite") {
      this.#holdUntilMs = this.#nowMs + (retryMs ?? RETRY_MS);
      this.#effects.push({ kind: "trouble", problem });
      return;
    }
    this.#credentials = undefined;
    const taken = code === "wrong-password" ? this.#takenText : undefined;
    this.#takenText = undefined;
    this.#effects.push({
      kind: "refused",
      problem: taken === undefined
        ? problem
        : { code: "name-taken", text: `${taken}, with another password` },
    });
  }

  // Answers

  #ask(asked: Asked, request: Readonly<Record<string, unknown>>): void {
    const id = this.#nextId++;
    this.#asked.set(id, asked);
    this.#write(`${JSON.stringify({ ...request, id })}\n`);
  }

  #write(lines: string): void {
    const last = this.#effects.at(-1);
    if (last?.kind === "write") {
      this.#effects[this.#effects.length - 1] = {
        kind: "write",
        lines: last.lines + lines,
      };
    } else this.#effects.push({ kind: "write", lines });
  }

  #take(answer: ChatAnswer): void {
    switch (answer.type) {
      case "message":
        this.#see(answer.n);
        return this.#pushed(answer);
      case "notice":
        // Some messages were not pushed: fetch them.
        if (answer.code === "missed" && this.#shows) this.#catchUp();
        return;
      case "ok":
      case "error": {
        const { id } = answer;
        if (typeof id !== "number") {
          return answer.type === "error" ? this.#told(answer) : undefined;
        }
        const asked = this.#asked.get(id);
        if (asked === undefined) return this.#outboxAnswer(id, answer);
        this.#asked.delete(id);
        return answer.type === "ok"
          ? this.#ok(asked, answer)
          : this.#notOk(asked, answer);
      }
    }
  }

  #ok(asked: Asked, answer: OkAnswer): void {
    const { fields } = answer;
    this.#see(fields.index);
    switch (asked.kind) {
      case "register":
        return this.#registered();
      case "login":
      case "resume":
        return this.#joined(fields);
      case "catch-up":
        return this.#caughtUp(fields);
      case "list": {
        this.#lists.shift();
        this.#effects.push({ kind: "listed", messages: messagesIn(fields) });
        return;
      }
      case "ping":
        return;
    }
  }

  #notOk(asked: Asked, answer: ErrorAnswer): void {
    const { code, text, retryMs } = answer;
    switch (asked.kind) {
      case "register":
      case "login":
      case "resume":
        return this.#notJoined(asked, answer);
      case "catch-up":
        this.#hold(retryMs);
        return;
      case "list":
        if (retryMs !== undefined) return this.#hold(retryMs);
        this.#lists.shift();
        this.#effects.push({ kind: "list-failed", problem: { code, text } });
        return;
      case "ping":
        return;
    }
  }

  /** Said to nobody in particular: about the connection, or the session. */
  #told(answer: ErrorAnswer): void {
    const { code, text } = answer;
    if (code === "session-moved") return this.#finish({ code, text });
    if (code === "session-unknown") {
      this.#proof = undefined;
      // Whoever has just logged out or deleted the account wants no other.
      if (this.#credentials !== undefined) this.#login();
      this.#phase = "joining";
      return;
    }
    // Whatever else it is, the server closes: go on at another.
    this.#hangUp({ code, text });
  }

  #outboxAnswer(id: number, answer: OkAnswer | ErrorAnswer): void {
    if (answer.type === "ok") {
      this.#see(answer.fields.index);
      this.#see(answer.fields.n);
    }
    const settled = this.#outbox.answer(id, answer);
    if (settled === undefined) return;
    if (settled.kind === "again") return this.#hold(settled.retryMs);
    if (settled.kind === "no-session") {
      return this.#told({
        type: "error",
        id: undefined,
        code: "session-unknown",
        text: "The session has ended",
        outcome: "indefinite",
        retryMs: undefined,
      });
    }
    const { command, result } = settled;
    const isOver = result.kind === "ok" &&
      (command.kind === "delete-account" || command.kind === "logout");
    this.#report(command, result);
    if (isOver) this.#finish();
  }

  #report(command: Outgoing, result: OutgoingResult): void {
    this.#effects.push({ kind: "result", command, result });
  }

  #hold(retryMs: number | undefined): void {
    this.#holdUntilMs = Math.max(
      this.#holdUntilMs,
      this.#nowMs + (retryMs ?? RETRY_MS),
    );
  }

  #see(index: unknown): void {
    if (typeof index === "number" && index > this.#seen) this.#seen = index;
  }

  // Messages

  #pushed(message: ChatMessage): void {
    if (!this.#shows) return;
    if (this.#isCaughtUp) return this.#show(message);
    // What does not fit is fetched by the next list.
    if (this.#pushes.length < PUSHES_WAITING_MAX) this.#pushes.push(message);
  }

  #show(message: ChatMessage): void {
    if (message.n <= this.#shown) return;
    this.#shown = message.n;
    this.#effects.push({ kind: "show", message });
  }

  /** Fetches what was not shown yet: unread at first, all of it after a break. */
  #catchUp(): void {
    this.#isCaughtUp = false;
    if (this.#isAsked("catch-up")) return;
    this.#ask({ kind: "catch-up" }, {
      type: "list",
      after: this.#shown,
      limit: CATCH_UP_LIMIT,
      seen: this.#seen,
      ...!this.#wasReady && this.#shown === 0 && { unread: true },
    });
  }

  #caughtUp(fields: Readonly<Record<string, unknown>>): void {
    const { next, index } = fields;
    for (const message of messagesIn(fields)) this.#show(message);
    if (typeof next === "number") {
      // All up to there were deleted, or are shown.
      this.#shown = Math.max(this.#shown, next);
      return this.#catchUp();
    }
    if (typeof index === "number") this.#shown = Math.max(this.#shown, index);
    this.#isCaughtUp = true;
    const pushes = this.#pushes;
    this.#pushes = [];
    for (const message of pushes) this.#show(message);
    // Some were not kept: they are behind the last that was.
    if (pushes.length === PUSHES_WAITING_MAX) this.#catchUp();
  }

  // What follows from each step

  #goOn(): void {
    if (this.#nowMs < this.#holdUntilMs) {
      return this.#wake(this.#holdUntilMs - this.#nowMs);
    }
    if (this.#phase === "joining" && this.#asked.size === 0) this.#rejoin();
    if (this.#phase === "ready") this.#send();
    if (this.#phase === "ready" && this.#isAllDone) return this.#leave();
    if (this.#phase === "ready" || this.#phase === "joining") {
      this.#wake(PING_EVERY_MS);
    }
    // Not before what is there is shown: it may be what is to be marked as read.
    const mayWant = !this.#hasEnded && !this.#wantsInput &&
      this.#isCaughtUp && this.#outbox.hasRoom;
    if (!mayWant) return;
    this.#wantsInput = true;
    this.#effects.push({ kind: "want-input" });
  }

  /** After a wait: asks again what was refused for a while. */
  #rejoin(): void {
    if (this.#credentials !== undefined || this.#proof !== undefined) {
      this.#join();
    }
  }

  #send(): void {
    const lines = this.#outbox.take(() => this.#nextId++);
    if (lines !== "") this.#write(lines);
    const [list] = this.#lists;
    if (list !== undefined && !this.#isAsked("list")) {
      const { limit, unread } = list;
      const seen = this.#seen;
      this.#ask({ kind: "list" }, { type: "list", limit, unread, seen });
    }
    if (!this.#isCaughtUp && this.#shows) this.#catchUp();
  }

  get #isAllDone(): boolean {
    if (this.#leaveUntilMs !== undefined) return true;
    return this.#hasEnded && this.openCount === 0 && this.#isCaughtUp;
  }

  /** Ends the session; whatever comes of that, all is done. */
  #leave(): void {
    if (this.#leaveUntilMs === undefined) {
      this.#leaveUntilMs = this.#nowMs + LEAVE_WAIT_MS;
      this.#outbox.add({ kind: "logout" });
      this.#send();
    }
    if (this.#nowMs >= this.#leaveUntilMs) return this.#finish();
    this.#wake(this.#leaveUntilMs - this.#nowMs);
  }

  #wake(afterMs: number): void {
    const atMs = this.#nowMs + afterMs;
    if (atMs >= this.#wakeAtMs) return;
    this.#wakeAtMs = atMs;
    this.#effects.push({ kind: "wake", afterMs });
  }

  #finish(problem?: ChatProblem): void {
    const isLinked = this.#phase === "ready" || this.#phase === "joining";
    this.#phase = "done";
    if (isLinked) this.#effects.push({ kind: "close" });
    this.#effects.push({
      kind: "done",
      ...(problem !== undefined && { problem }),
    });
  }
}

function messagesIn(
  fields: Readonly<Record<string, unknown>>,
): readonly ChatMessage[] {
  const { messages } = fields;
  if (!Array.isArray(messages)) return [];
  return messages.flatMap((value) => readMessage(value) ?? []);
}
