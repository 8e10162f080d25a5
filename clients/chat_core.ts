/** What `skein chat` decides: logging in, numbering, sending again, showing each message once. */

import type { Address } from "../protocol/address.ts";
import type {
  ChatAnswer,
  ChatMessage,
  ErrorAnswer,
  OkAnswer,
  SessionProof,
} from "../protocol/chat.ts";
import { type ChatView, readChatView } from "../protocol/chat_view.ts";
import type { Core } from "../protocol/core.ts";
import type { WireCode } from "../protocol/errors.ts";
import type {
  ChatEffect,
  ChatInput,
  ChatProblem,
  Credentials,
  ListCommand,
} from "./chat_contract.ts";
import { ChatInbox, messagesIn } from "./chat_inbox.ts";
import {
  ChatOutbox,
  type Outgoing,
  type OutgoingResult,
} from "./chat_outbox.ts";
import { ChatTargets } from "./chat_targets.ts";
import { GroupNews } from "./group_news.ts";
import { Stall } from "./stall.ts";

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
    | "watch"
    | "catch-up"
    | "list";
}

type Phase = "idle" | "seeking" | "offline" | "joining" | "ready" | "done";

/** One chat client as a state machine. */
export class ChatCore implements Core<ChatInput, ChatEffect> {
  readonly #targets: ChatTargets;
  /** Whether messages are shown; else nothing is fetched. */
  readonly #shows: boolean;
  readonly #outbox = new ChatOutbox();
  readonly #inbox = new ChatInbox();
  #phase: Phase = "idle";
  #credentials: Credentials | undefined;
  #proof: SessionProof | undefined;
  #user = "";
  /** What was said when the name to register was taken. */
  #takenText: string | undefined;
  #wasReady = false;
  /** Highest index heard of: no server may answer from before it. */
  #seen = 0;
  readonly #news = new GroupNews();
  readonly #stall = new Stall();
  #lists: ListCommand[] = [];
  #asked = new Map<number, Asked>();
  #nextId = 1;
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

  /** @param options.targets First choice first; without any it waits until some are found. */
  constructor(options: { targets: readonly Address[]; shows: boolean }) {
    this.#targets = new ChatTargets(options.targets);
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
    return this.#inbox.shown;
  }

  describe(): string {
    return `${this.#phase} targets ${this.#targets.size} outbox ${this.#outbox.size} shown ${this.shown} seen ${this.#seen}`;
  }

  step(input: ChatInput, nowMs: number): ChatEffect[] {
    this.#effects = [];
    this.#nowMs = nowMs;
    if (this.#phase !== "done") this.#handle(input);
    if (this.#phase !== "done") this.#goOn();
    if (this.#phase !== "done") this.#checkStall();
    return this.#effects;
  }

  #handle(input: ChatInput): void {
    switch (input.kind) {
      case "login":
        this.#credentials = input.credentials;
        if (this.#phase === "idle") this.#dial();
        else if (this.#phase === "joining") this.#join();
        return;
      case "found":
        this.#targets.found(input.addresses);
        if (this.#phase === "seeking") this.#dial();
        return;
      case "connected":
        this.#phase = "joining";
        this.#heardMs = this.#nowMs;
        this.#ask({ kind: "watch" }, { type: "watch" });
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
    const next = this.#targets.next();
    this.#phase = next === undefined ? "seeking" : "offline";
    if (next === undefined) return;
    const { address, round: attempt } = next;
    const isAgain = this.#wasReady;
    this.#effects.push({ kind: "dial", address, attempt, isAgain });
  }

  #unreachable(problem: ChatProblem): void {
    this.#refusals = FINAL_CODES.has(problem.code) ? this.#refusals + 1 : 0;
    if (this.#refusals >= this.#targets.size) return this.#finish(problem);
    this.#effects.push({ kind: "trouble", problem });
    this.#dial();
  }

  #lost(problem: ChatProblem): void {
    if (this.#phase !== "joining" && this.#phase !== "ready") return;
    this.#phase = "offline";
    if (this.#leaveUntilMs !== undefined) return this.#finish();
    this.#asked.clear();
    this.#inbox.linkDown();
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
        text: `the server said nothing for ${Math.round(quietMs / 1_000)} s`,
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
    this.#targets.settle();
    this.#refusals = 0;
    this.#effects.push({
      kind: "ready",
      user: this.#user,
      again: this.#wasReady,
    });
    if (this.#shows) this.#catchUp();
    else this.#inbox.skip();
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
        return this.#shows ? this.#show(this.#inbox.pushed(answer)) : undefined;
      case "view":
        return this.#follow(answer);
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
      case "watch": {
        const view = readChatView(fields);
        return view === undefined ? undefined : this.#follow(view);
      }
      case "list": {
        this.#lists.shift();
        this.#done();
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
        this.#stall.refused(answer);
        if (retryMs !== undefined) return this.#hold(retryMs);
        this.#lists.shift();
        this.#done();
        this.#effects.push({ kind: "list-failed", problem: { code, text } });
        return;
      case "ping":
        return;
      // An older server: the group is not followed, and nothing else is lost.
      case "watch":
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
    } else this.#stall.refused(answer);
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
    this.#done();
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

  // What takes long

  #done(): void {
    if (this.#stall.done(this.#nowMs)) this.#effects.push({ kind: "going-on" });
  }

  #checkStall(): void {
    const isLinked = this.#phase === "ready" || this.#phase === "joining";
    const isWaiting = this.openCount > 0 && this.#leaveUntilMs === undefined;
    const problem = this.#stall.look({ isLinked, isWaiting }, this.#nowMs);
    if (problem !== undefined) this.#effects.push({ kind: "stalled", problem });
    this.#wake(this.#stall.dueMs - this.#nowMs);
  }

  // Messages

  #show(messages: readonly ChatMessage[]): void {
    for (const message of messages) {
      this.#effects.push({ kind: "show", message });
    }
  }

  /** Fetches what was not shown yet: unread at first, all of it after a break. */
  #catchUp(): void {
    this.#inbox.fallBehind();
    if (this.#isAsked("catch-up")) return;
    this.#ask({ kind: "catch-up" }, {
      type: "list",
      after: this.shown,
      limit: CATCH_UP_LIMIT,
      seen: this.#seen,
      ...!this.#wasReady && this.shown === 0 && { unread: true },
    });
  }

  #caughtUp(fields: Readonly<Record<string, unknown>>): void {
    const { show, isMore } = this.#inbox.fetched(fields);
    this.#show(show);
    if (isMore) this.#catchUp();
  }

  // The group

  #follow(view: ChatView): void {
    this.#targets.follow(view);
    const news = this.#news.take(view);
    if (news !== "old") this.#effects.push({ kind: "view", view, news });
  }

  // What follows from each step

  #goOn(): void {
    if (this.#nowMs < this.#holdUntilMs) {
      return this.#wake(this.#holdUntilMs - this.#nowMs);
    }
    if (this.#phase === "joining" && !this.#isJoining) this.#rejoin();
    if (this.#phase === "ready") this.#send();
    if (this.#phase === "ready" && this.#isAllDone) return this.#leave();
    if (this.#phase === "ready" || this.#phase === "joining") {
      this.#wake(PING_EVERY_MS);
    }
    // Not before what is there is shown: it may be what is to be marked as read.
    const mayWant = !this.#hasEnded && !this.#wantsInput &&
      this.#inbox.isCaughtUp && this.#outbox.hasRoom;
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
    if (!this.#inbox.isCaughtUp && this.#shows) this.#catchUp();
  }

  get #isAllDone(): boolean {
    if (this.#leaveUntilMs !== undefined) return true;
    return this.#hasEnded && this.openCount === 0 && this.#inbox.isCaughtUp;
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
