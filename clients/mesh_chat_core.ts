/** What a mesh chat client decides: which server, under what name, what is sent and what is known of it. */

import type { Address } from "../protocol/address.ts";
import type { Core } from "../protocol/core.ts";
import type { MeshStatus, Notice, ToClient } from "../protocol/mesh.ts";
import type { ChatProblem } from "./chat_contract.ts";
import type { MeshChatEffect, MeshChatInput } from "./mesh_chat_contract.ts";
import { type GapClock, type GapFilled, MeshGap } from "./mesh_gap.ts";
import {
  EMPTIED,
  isFinal,
  isForAnother,
  ofChatGroup,
  SILENT,
} from "./mesh_refusals.ts";
import { MeshOutbox } from "./mesh_outbox.ts";
import { byLoad, MeshTargets } from "./mesh_targets.ts";

/** How often a quiet connection is asked whether it still is one. */
const PING_EVERY_MS = 5_000;

/** How long an answer may take; a trace takes a second. */
const ANSWER_WAIT_MS = 10_000;

/** The same while a server says that it waits for its log. */
const WAITING_SERVER_MS = 60_000;

/** How long a name may still be held by this client's own session that was lost. */
const NAME_WAIT_MS = 10_000;
const NAME_RETRY_MS = 500;

/** How long what was sent may take to be acknowledged before a move. */
const MOVE_WAIT_MS = 1_000;

/** How long a server may take to hang up after `quit`. */
const PART_WAIT_MS = 1_000;

/** Whoever is thrown out sooner than this after a login waits longer each time. */
const SETTLED_MS = 1_000;

/** What the core asked for itself. */
type Own = "login" | "status" | "ping" | "rejoin" | "gap";

type Phase =
  /** Nobody has said who to log in as. */
  | "idle"
  | "seeking"
  | "joining"
  | "ready"
  /** The server has asked to go: what was sent is waited for. */
  | "moving"
  /** `quit` was said. */
  | "parting"
  | "done";

/** One mesh chat client as a state machine. */
export class MeshChatCore implements Core<MeshChatInput, MeshChatEffect> {
  readonly #targets: MeshTargets;
  readonly #outbox = new MeshOutbox();
  readonly #rooms = new Set<string>();
  readonly #asked = new Map<number, Own>();
  #phase: Phase = "idle";
  #user: string | undefined;
  #isLinked = false;
  /** Whether an `ask` or a `dial` is under way. */
  #isTrying = false;
  /** Where the link leads, or the dial. */
  #at: Address | undefined;
  /** What to dial if that fails, best first. */
  #next: Address[] = [];
  #attempt = 0;
  #finalRefusals = 0;
  #wasReady = false;
  #readyAtMs = 0;
  /** Undefined: nobody looks at what comes. */
  readonly #gap: MeshGap | undefined;
  /** Where it was, and since when nothing was heard from there. */
  #was = "";
  #brokeMs = 0;
  #status: MeshStatus | undefined;
  #nextId = 1;
  #heardMs = 0;
  /** Until when a taken name may be this client's own. */
  #nameUntilMs: number | undefined;
  #loginAtMs: number | undefined;
  #partUntilMs = 0;
  #isServerWaiting = false;
  #hasEnded = false;
  #wantsInput = false;
  #wakeAtMs = Infinity;
  #nowMs = 0;
  #effects: MeshChatEffect[] = [];

  /**
   * @param options.targets What somebody named; without any it waits until some are found.
   * @param options.clock Where messages are shown: what was said between two
   *   servers is looked for. Undefined: they are not.
   */
  constructor(
    options: {
      readonly targets: readonly Address[];
      readonly clock?: GapClock | undefined;
    },
  ) {
    const { targets, clock } = options;
    this.#targets = new MeshTargets(targets);
    this.#gap = clock === undefined ? undefined : new MeshGap(clock);
  }

  /** Commands that have no result yet. */
  get openCount(): number {
    return this.#outbox.size;
  }

  /** Whether a line more may be kept; else whoever types is told. */
  get hasRoom(): boolean {
    return this.#outbox.hasRoom;
  }

  /** Whether it is logged in just now. */
  get isReady(): boolean {
    return this.#phase === "ready";
  }

  /** Whether it ever was. */
  get wasReady(): boolean {
    return this.#wasReady;
  }

  /** Rooms that it is in, or will be in again. */
  get rooms(): ReadonlySet<string> {
    return this.#rooms;
  }

  describe(): string {
    return `${this.#phase} targets ${this.#targets.size} outbox ${this.#outbox.size} rooms ${this.#rooms.size}`;
  }

  step(input: MeshChatInput, nowMs: number): MeshChatEffect[] {
    this.#effects = [];
    this.#nowMs = nowMs;
    if (this.#phase !== "done") this.#handle(input);
    if (this.#phase !== "done") this.#goOn();
    return this.#effects;
  }

  #handle(input: MeshChatInput): void {
    switch (input.kind) {
      case "login":
        this.#user = input.user;
        if (this.#isLinked) this.#login();
        else this.#seek();
        return;
      case "found":
        this.#targets.found(input.addresses);
        return this.#seek();
      case "asked":
        return this.#chose(input);
      case "connected":
        return this.#connected();
      case "unreachable":
        this.#isTrying = false;
        return this.#failed(input.problem);
      case "link-down":
        return this.#lost(input.problem);
      case "answer":
        this.#heardMs = this.#nowMs;
        return this.#take(input.answer);
      case "command":
        return this.#outbox.add(input.command);
      case "more":
        this.#wantsInput = false;
        return;
      case "end":
        this.#hasEnded = true;
        return;
      case "wake":
        this.#wakeAtMs = Infinity;
        return;
    }
  }

  // Which server

  #seek(): void {
    if (this.#isTrying || this.#isLinked || this.#user === undefined) return;
    this.#phase = "seeking";
    const next = this.#next.shift();
    const isAgain = this.#wasReady;
    const { all: addresses } = this.#targets;
    if (next !== undefined) return this.#dial(next);
    if (addresses.length === 0) return;
    const attempt = this.#attempt++;
    const isOnly = addresses.length === 1 && attempt === 0 && !isAgain;
    if (isOnly) return this.#dial(addresses[0]);
    this.#isTrying = true;
    this.#effects.push({ kind: "ask", addresses, attempt, isAgain });
  }

  #dial(address: Address): void {
    this.#at = address;
    this.#isTrying = true;
    this.#effects.push({ kind: "dial", address });
  }

  #chose(asked: MeshChatInput & { readonly kind: "asked" }): void {
    this.#isTrying = false;
    const { servers, problem, dice } = asked;
    for (const { address, status } of servers) {
      this.#targets.follow(address, status);
    }
    this.#next = byLoad(servers, { dice, isAgain: this.#wasReady });
    if (this.#next.length > 0) return this.#seek();
    this.#failed(
      servers.length > 0 || problem === undefined ? EMPTIED : problem,
    );
  }

  #failed(problem: ChatProblem): void {
    const isForGood = isFinal(problem.code);
    this.#finalRefusals = isForGood ? this.#finalRefusals + 1 : 0;
    if (isForGood && this.#finalRefusals >= this.#targets.size) {
      return this.#finish(problem);
    }
    this.#effects.push({ kind: "trouble", problem });
    this.#seek();
  }

  #connected(): void {
    this.#isTrying = false;
    this.#isLinked = true;
    this.#phase = "joining";
    this.#heardMs = this.#nowMs;
    this.#isServerWaiting = false;
    // Before the login: whoever is refused knows where else to go.
    this.#ask("status", { type: "status" });
    this.#login();
  }

  #lost(problem: ChatProblem): void {
    if (!this.#isLinked) return;
    const before = this.#phase;
    this.#isLinked = false;
    this.#endGap();
    if (before !== "joining") {
      this.#was = this.#status?.server ?? "";
      // Whoever is silent may have been gone for long.
      const isSilent = problem.code === "timeout";
      this.#brokeMs = isSilent ? this.#heardMs : this.#nowMs;
    }
    this.#asked.clear();
    this.#loginAtMs = undefined;
    for (const command of this.#outbox.linkDown()) {
      const result = { kind: "unknown" } as const;
      this.#effects.push({ kind: "result", command, result });
    }
    const isSettled = this.#nowMs - this.#readyAtMs >= SETTLED_MS;
    if (this.#wasReady && isSettled && before !== "joining") this.#attempt = 0;
    if (this.#user === undefined) this.#phase = "idle";
    else if (before === "moving" || before === "parting") {
      if (this.#isAllDone) return this.#finish();
      this.#seek();
    } else this.#failed(problem);
  }

  #hangUp(problem: ChatProblem): void {
    this.#effects.push({ kind: "close" });
    this.#lost(problem);
  }

  // Logging in

  #login(): void {
    const username = this.#user;
    if (username === undefined) return;
    this.#loginAtMs = undefined;
    this.#phase = "joining";
    this.#ask("login", { type: "login", username, more: true });
  }

  #joined(name: string | undefined): void {
    if (this.#phase !== "joining") return;
    this.#user = name ?? this.#user ?? "";
    this.#phase = "ready";
    this.#next = [];
    this.#finalRefusals = 0;
    this.#nameUntilMs = undefined;
    this.#readyAtMs = this.#nowMs;
    const server = this.#status?.server ?? "";
    const again = this.#wasReady;
    this.#effects.push({ kind: "ready", user: this.#user, server, again });
    this.#wasReady = true;
    for (const room of this.#rooms) this.#ask("rejoin", { type: "join", room });
    if (!again) return;
    const since = { brokeMs: this.#brokeMs, server, rooms: this.#rooms };
    this.#gap?.open(since, this.#nowMs);
  }

  #notJoined(problem: ChatProblem): void {
    const { code } = problem;
    if (code === "name-taken" && this.#wasReady) {
      this.#nameUntilMs ??= this.#nowMs + NAME_WAIT_MS;
      if (this.#nowMs < this.#nameUntilMs) {
        this.#loginAtMs = this.#nowMs + NAME_RETRY_MS;
        this.#effects.push({ kind: "trouble", problem });
        return;
      }
      this.#nameUntilMs = undefined;
    }
    if (isForAnother(code)) return this.#hangUp(problem);
    this.#user = undefined;
    this.#effects.push({ kind: "refused", problem });
  }

  // Answers

  #ask(own: Own, request: Readonly<Record<string, unknown>>): number {
    const id = this.#nextId++;
    this.#asked.set(id, own);
    this.#write(`${JSON.stringify({ ...request, id })}\n`);
    return id;
  }

  #write(lines: string): void {
    const last = this.#effects.at(-1);
    if (last?.kind === "write") {
      const both = last.lines + lines;
      this.#effects[this.#effects.length - 1] = { kind: "write", lines: both };
    } else this.#effects.push({ kind: "write", lines });
  }

  #take(answer: ToClient): void {
    const id = "id" in answer ? answer.id : undefined;
    if (id === undefined) return this.#told(answer);
    const own = typeof id === "number" ? this.#asked.get(id) : undefined;
    if (own !== undefined && typeof id === "number") {
      this.#asked.delete(id);
      if (own === "gap") return this.#gap?.answered(id, answer);
      return this.#ownAnswer(own, answer);
    }
    const settled = this.#outbox.answer(id, answer);
    if (settled === undefined) {
      // A second answer to the same request, such as a notice beside an `ok`.
      if (answer.type === "system") this.#told(answer);
      return;
    }
    const { command, result } = settled;
    if (result.kind !== "refused") {
      if (command.kind === "join") this.#rooms.add(command.room);
      if (command.kind === "leave") this.#rooms.delete(command.room);
    }
    if (answer.type === "status") this.#follow(answer);
    this.#effects.push({ kind: "result", command, result });
  }

  #ownAnswer(own: Exclude<Own, "gap">, answer: ToClient): void {
    switch (own) {
      case "login":
        if (answer.type === "error") return this.#notJoined(answer);
        return this.#joined(welcomedName(answer));
      case "status":
        if (answer.type === "status") this.#follow(answer);
        else if (answer.type === "ok" && this.#at !== undefined) {
          this.#hangUp(ofChatGroup(this.#at));
        }
        return;
      case "rejoin":
        if (answer.type === "error") this.#told(answer);
        return;
      case "ping":
        return;
    }
  }

  /** Said without being asked. */
  #told(answer: ToClient): void {
    // A server too full to read a login says so to nobody in particular.
    if (answer.type === "error" && this.#phase === "joining") {
      return this.#notJoined(answer);
    }
    if (answer.type === "system" && answer.notice !== undefined) {
      if (answer.notice.code === "welcome") {
        return this.#joined(answer.notice.name);
      }
      this.#effects.push({ kind: "heard", answer });
      return this.#noticed(answer.notice);
    }
    if (answer.type === "msg" || answer.type === "dm") {
      if (this.#gap?.isOpen !== true) return this.#hear(answer);
      if (!this.#gap.hold(answer)) this.#endGap();
      return;
    }
    this.#effects.push({ kind: "heard", answer });
    // It may be one that nobody here has heard of.
    const isUp = answer.type === "server" && answer.event === "up";
    if (isUp && this.#isReadyAndIdle("status")) {
      this.#ask("status", { type: "status" });
    }
  }

  /** What others, or one oneself, have written. */
  #hear(answer: ToClient): void {
    const isNew = answer.type !== "msg" || this.#gap === undefined ||
      this.#gap.isNew(answer, this.#nowMs);
    if (isNew) this.#effects.push({ kind: "heard", answer });
  }

  // What was said between two servers

  #goOnGap(): void {
    const { questions, wakeAtMs, filled } = this.#gap?.turn(this.#nowMs) ??
      { questions: [] };
    for (const question of questions) {
      const id = this.#ask("gap", { type: "history", ...question });
      this.#gap?.asked(id, question);
    }
    if (filled !== undefined) this.#filled(filled);
    else if (wakeAtMs !== undefined) this.#wake(wakeAtMs - this.#nowMs);
  }

  #endGap(): void {
    if (this.#gap?.isOpen === true) this.#filled(this.#gap.close());
  }

  #filled({ late, held, isWhole }: GapFilled): void {
    const gapMs = Math.round(this.#readyAtMs - this.#brokeMs);
    const server = this.#status?.server ?? "";
    const was = this.#was;
    this.#effects.push({ kind: "moved", server, was, gapMs, late, isWhole });
    for (const answer of held) this.#hear(answer);
  }

  #isReadyAndIdle(own: Own): boolean {
    if (this.#phase !== "ready") return false;
    for (const one of this.#asked.values()) if (one === own) return false;
    return true;
  }

  #noticed(notice: Notice): void {
    switch (notice.code) {
      case "renamed":
        this.#user = notice.name;
        this.#effects.push({ kind: "renamed", user: notice.name });
        return;
      case "move":
        return this.#move(notice.to);
      case "waiting":
      case "going-on":
        this.#isServerWaiting = notice.code === "waiting";
        return;
      case "joined":
        this.#rooms.add(notice.room);
        return;
      case "left":
        this.#rooms.delete(notice.room);
        return;
      // The login's own answer, and what is only shown.
      case "welcome":
      case "missed":
        return;
    }
  }

  #follow(status: MeshStatus): void {
    this.#status = status;
    if (this.#at !== undefined) this.#targets.follow(this.#at, status);
  }

  #move(to: readonly string[]): void {
    if (this.#at !== undefined) this.#targets.told(this.#at, to);
    // With nowhere to go it stays as long as it may.
    if (to.length === 0 || this.#phase !== "ready") return;
    this.#phase = "moving";
    this.#partUntilMs = this.#nowMs + MOVE_WAIT_MS;
  }

  // What follows from each step

  #goOn(): void {
    switch (this.#phase) {
      case "joining":
        this.#rejoinName();
        this.#checkSilence();
        break;
      case "ready":
        this.#send();
        if (this.#isAllDone) this.#part();
        else {
          this.#goOnGap();
          this.#checkSilence();
        }
        break;
      case "moving":
      case "parting":
        this.#goOnParting();
        break;
      case "seeking":
        if (this.#isAllDone && this.#wasReady) this.#finish();
        break;
      case "idle":
      case "done":
        break;
    }
    if (this.#phase === "done" || this.#hasEnded) return;
    if (this.#wantsInput || !this.#outbox.hasRoom) return;
    this.#wantsInput = true;
    this.#effects.push({ kind: "want-input" });
  }

  get #isAllDone(): boolean {
    return this.#hasEnded && this.#outbox.size === 0;
  }

  #send(): void {
    const lines = this.#outbox.take(() => this.#nextId++);
    if (lines !== "") this.#write(lines);
  }

  #rejoinName(): void {
    if (this.#loginAtMs === undefined) return;
    if (this.#nowMs >= this.#loginAtMs) return this.#login();
    this.#wake(this.#loginAtMs - this.#nowMs);
  }

  #goOnParting(): void {
    const isOver = this.#nowMs >= this.#partUntilMs;
    if (this.#phase === "parting") {
      if (isOver) return this.#hangUp(SILENT);
    } else if (isOver || this.#outbox.sentCount === 0) return this.#part();
    this.#wake(this.#partUntilMs - this.#nowMs);
  }

  /** Says goodbye, so that the name is free at once. */
  #part(): void {
    this.#endGap();
    this.#phase = "parting";
    this.#partUntilMs = this.#nowMs + PART_WAIT_MS;
    this.#write('{"type":"quit"}\n');
    this.#wake(PART_WAIT_MS);
  }

  #checkSilence(): void {
    const quietMs = this.#nowMs - this.#heardMs;
    const isWaiting = this.#asked.size > 0 || this.#outbox.sentCount > 0;
    const waitMs = this.#isServerWaiting ? WAITING_SERVER_MS : ANSWER_WAIT_MS;
    if (isWaiting && quietMs >= waitMs) return this.#hangUp(SILENT);
    if (quietMs >= PING_EVERY_MS && this.#isReadyAndIdle("ping")) {
      this.#ask("ping", { type: "ping" });
    }
    this.#wake(PING_EVERY_MS);
  }

  #wake(afterMs: number): void {
    const atMs = this.#nowMs + afterMs;
    if (atMs >= this.#wakeAtMs) return;
    this.#wakeAtMs = atMs;
    this.#effects.push({ kind: "wake", afterMs });
  }

  #finish(problem?: ChatProblem): void {
    this.#endGap();
    this.#phase = "done";
    if (this.#isLinked) this.#effects.push({ kind: "close" });
    this.#effects.push({
      kind: "done",
      ...problem !== undefined && { problem },
    });
  }
}

function welcomedName(answer: ToClient): string | undefined {
  if (answer.type !== "system" || answer.notice?.code !== "welcome") {
    return undefined;
  }
  return answer.notice.name;
}
