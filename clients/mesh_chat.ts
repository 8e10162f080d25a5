/** `skein chat` at a mesh server: what one types goes to everyone, a room or one person; what comes is shown. */

import type { Address } from "../protocol/address.ts";
import { readUserName } from "../protocol/chat.ts";
import { WireError } from "../protocol/errors.ts";
import type { ToClient } from "../protocol/mesh.ts";
import { formatMore, readMeshAnswer } from "../protocol/mesh_answers.ts";
import { backoffMs } from "../nodes/host/link.ts";
import type { OpenLog } from "../nodes/host/log.ts";
import { cutText, escapeJson, escapeText } from "../nodes/host/text.ts";
import { askMeshServers } from "./asked_servers.ts";
import type { ChatProblem } from "./chat_contract.ts";
import type { ChatFlags } from "./chat_flags.ts";
import type { ChatSearch } from "./chat_search.ts";
import { ChatTerminal } from "./chat_terminal.ts";
import { clockTime } from "./clock_time.ts";
import { CurrentLink } from "./current_link.ts";
import { LineInput } from "./line_input.ts";
import type {
  MeshChatEffect,
  MeshChatInput,
  MeshCommand,
  MeshResult,
} from "./mesh_chat_contract.ts";
import { MeshChatCore } from "./mesh_chat_core.ts";
import {
  answerLines,
  gapText,
  lateLine,
  type Moved,
  movedObjects,
  note,
} from "./mesh_shown.ts";
import {
  MESH_TYPED_HELP,
  type MeshTyped,
  readMeshTyped,
} from "./mesh_typed.ts";

/** How long a server may take to say how it is. */
const ASK_WAIT_MS = 1_000;

const RETRY_WAIT_MS_MAX = 1_000;

/** Over so long those who have lost one server come to another. */
const RECONNECT_SPREAD_MS = 200;

/** How long an interrupted client waits for what is under way. */
const INTERRUPT_WAIT_MS = 5_000;

/** A launcher in between may pass one Ctrl-C on twice. */
const ONE_CTRL_C_MS = 400;

const TICK_MS = 500;

/** Bytes of input read at once; above the longest line. */
const INPUT_BLOCK_BYTES = 131_072;

/** Characters of a message of which nobody knows, in the line that says so. */
const TEXT_SHOWN_MAX = 60;

/** Exit codes: all acknowledged; something was not; wrong flags are 2. */
const EXIT_ALL = 0;
const EXIT_NOT_ALL = 1;
const EXIT_INTERRUPTED = 130;

/** Where the servers are, and who is told what. */
export interface MeshChatterOptions {
  readonly flags: ChatFlags;
  readonly opened: OpenLog;
  /** First choice first. */
  readonly targets: readonly Address[];
  /** Finds others when all that are known are gone; undefined: they were named. */
  readonly search: ChatSearch | undefined;
}

/** One person, or one pipe, at a mesh. */
export class MeshChatter {
  readonly #options: MeshChatterOptions;
  readonly #core: MeshChatCore;
  readonly #terminal: ChatTerminal | undefined;
  readonly #input: LineInput;
  readonly #shows: boolean;
  readonly #link = new CurrentLink<ToClient>({
    read: readMeshAnswer,
    tell: (news) => this.#step(news),
  });
  #user = "";
  /** The servers that one has been at: what comes from another is not one's own. */
  readonly #servers = new Set<string>();
  /** Where lines without an address go; undefined: to everyone. */
  #room: string | undefined;
  #line = 0;
  #failed = 0;
  #trouble = "";
  /** Why the server takes nothing just now. */
  #waitingText = "";
  /** Whether nothing more will be typed. */
  #hasEnded = false;
  #progressMs = performance.now();
  #interruptedMs: number | undefined;
  #finish: (code: number) => void = () => {};

  constructor(options: MeshChatterOptions) {
    this.#options = options;
    const { flags, targets } = options;
    const isTyped = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
    this.#shows = isTyped || flags.json;
    const epochMs = performance.timeOrigin;
    const clock = { epochMs, readTime: (text: string) => Date.parse(text) };
    this.#core = new MeshChatCore({
      targets,
      ...this.#shows && { clock },
    });
    this.#input = new LineInput(Deno.stdin, {
      blockBytesMax: INPUT_BLOCK_BYTES,
      onRefused: (line, error) => this.#refuseLine(line, error.message),
    });
    this.#terminal = isTyped
      ? new ChatTerminal({
        onLine: (line) => this.#typed(line),
        onEnd: () => this.#inputEnded(),
        onInterrupt: () => this.#interrupt(),
      })
      : undefined;
  }

  /** Resolves with the exit code. */
  async run(): Promise<number> {
    const finished = new Promise<number>((resolve) => this.#finish = resolve);
    if (this.#terminal === undefined) {
      Deno.addSignalListener("SIGINT", () => this.#interrupt());
    }
    const { flags: { register }, opened } = this.#options;
    if (register) {
      opened.log.warn("A mesh has no accounts: --register counts for nothing");
    }
    const timer = setInterval(() => this.#checkProgress(), TICK_MS);
    void this.#login(undefined);
    const code = await finished;
    clearInterval(timer);
    this.#options.search?.close();
    this.#terminal?.close();
    this.#link.close();
    // Whoever types has seen what failed, and may have said it anew.
    const isComplete = this.#terminal !== undefined ||
      this.#failed + this.#input.refused === 0;
    return code === EXIT_ALL && !isComplete ? EXIT_NOT_ALL : code;
  }

  #step(input: MeshChatInput): void {
    for (const effect of this.#core.step(input, performance.now())) {
      this.#act(effect);
    }
  }

  #act(effect: MeshChatEffect): void {
    switch (effect.kind) {
      case "ask":
        return void this.#ask(effect);
      case "dial":
        return void this.#link.dial(effect.address);
      case "write":
        return this.#link.write(effect.lines);
      case "close":
        return this.#link.close();
      case "wake":
        setTimeout(() => this.#step({ kind: "wake" }), effect.afterMs);
        return;
      case "want-input":
        if (this.#terminal === undefined) void this.#read();
        return;
      case "heard":
        return this.#heard(effect.answer);
      case "ready":
        return this.#ready(effect);
      case "moved":
        return this.#moved(effect);
      case "renamed":
        this.#user = effect.user;
        return;
      case "result":
        return this.#result(effect.command, effect.result);
      case "refused":
        return void this.#refused(effect.problem);
      case "trouble":
        return this.#sayTrouble(effect.problem);
      case "done":
        if (effect.problem !== undefined) this.#complain(effect.problem.text);
        return this.#finish(
          effect.problem === undefined ? EXIT_ALL : EXIT_NOT_ALL,
        );
    }
  }

  // Connections

  async #ask(
    { addresses, attempt, isAgain }: MeshChatEffect & { kind: "ask" },
  ): Promise<void> {
    const waitMs = backoffMs(attempt, Math.random(), RETRY_WAIT_MS_MAX) +
      (isAgain ? Math.random() * RECONNECT_SPREAD_MS : 0);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    const asked = await askMeshServers(addresses, ASK_WAIT_MS);
    this.#step({ kind: "asked", ...asked, dice: Math.random() });
  }

  // Who

  async #login(problem: ChatProblem | undefined): Promise<void> {
    const { user: said } = this.#options.flags;
    const user = problem === undefined && said !== undefined
      ? said
      : await this.#askName();
    if (user === undefined) return this.#finish(EXIT_NOT_ALL);
    this.#user = user;
    this.#step({ kind: "login", user });
  }

  /** Undefined: there is nobody to ask, or nobody wants to say. */
  async #askName(): Promise<string | undefined> {
    for (;;) {
      const name = (await this.#terminal?.ask("Name: "))?.trim();
      if (name === undefined) return undefined;
      if (name === "") continue;
      try {
        return readUserName(name);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        this.#print(error.message);
      }
    }
  }

  async #refused({ code, text }: ChatProblem): Promise<void> {
    const why = code === "name-taken"
      ? `Somebody is here as ${this.#user}: ${text}`
      : text;
    this.#complain(why);
    if (this.#terminal === undefined) return this.#finish(EXIT_NOT_ALL);
    await this.#login({ code, text });
  }

  #ready({ user, server, again }: MeshChatEffect & { kind: "ready" }): void {
    this.#user = user;
    this.#servers.add(server);
    this.#progressMs = performance.now();
    this.#trouble = "";
    this.#options.search?.rest();
    this.#waitingText = "";
    if (!this.#shows && again) {
      this.#options.opened.log.info(`At Server ${server} now`);
    }
    this.#say(
      again
        ? note(`At Server ${server} now`)
        : note(`Welcome ${user} to Server ${server}; /help tells more`),
    );
    this.#prompt();
  }

  /** What one has oneself said is among it if nobody knew whether it arrived. */
  #moved(moved: Moved): void {
    if (this.#options.flags.json) {
      for (const object of movedObjects(moved)) {
        this.#print(escapeJson(JSON.stringify(object)));
      }
      return;
    }
    for (const line of moved.late) this.#print(lateLine(line, clockTime));
    const gap = gapText(moved);
    if (gap !== undefined) this.#say(note(gap));
  }

  #prompt(): void {
    const room = this.#room === undefined ? "" : `#${this.#room}`;
    this.#terminal?.prompt(`${room}> `);
  }

  // What is typed, and what comes through a pipe

  async #read(): Promise<void> {
    try {
      const block = await this.#input.next();
      if (block === undefined) return this.#step({ kind: "end" });
      const text = new TextDecoder().decode(block.text);
      for (const line of text.slice(0, -1).split("\n")) this.#typed(line);
      // Not one of them may have been for the core.
      this.#step({ kind: "more" });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#complain(`Cannot read the input: ${text}`);
      this.#finish(EXIT_NOT_ALL);
    }
  }

  #typed(text: string): void {
    this.#line += 1;
    const where = { line: this.#line, room: this.#room };
    this.#do(readMeshTyped(text, where));
  }

  #do(typed: MeshTyped): void {
    switch (typed.kind) {
      case "nothing":
        return;
      case "command":
        return this.#command(typed.command);
      case "room":
        return this.#talkTo(typed.room);
      case "help":
        return this.#say(MESH_TYPED_HELP);
      case "quit":
        return this.#inputEnded();
      case "wrong":
        return this.#refuseLine(this.#line, typed.text);
    }
  }

  #command(command: MeshCommand): void {
    // A pipe is read no further instead: only the rest of a block comes here.
    if (this.#terminal !== undefined && !this.#core.hasRoom) {
      return this.#print(
        "Too many lines wait for a server; this one is not kept",
      );
    }
    if (this.#core.openCount === 0) this.#progressMs = performance.now();
    this.#step({ kind: "command", command });
  }

  #talkTo(room: string | undefined): void {
    this.#room = room;
    if (room !== undefined && !this.#core.rooms.has(room)) {
      this.#command({ kind: "join", room });
    } else {
      this.#say(note(`You talk to ${room === undefined ? "all" : `#${room}`}`));
    }
    this.#prompt();
  }

  /** Nothing more will be typed. */
  #inputEnded(): void {
    if (this.#terminal !== undefined && !this.#core.isReady) {
      // Whoever goes while no server is reached does not wait for one.
      const isAll = this.#core.wasReady && this.#core.openCount === 0;
      return this.#finish(isAll ? EXIT_ALL : EXIT_NOT_ALL);
    }
    this.#step({ kind: "end" });
    if (this.#terminal === undefined) return;
    this.#hasEnded = true;
    const { openCount } = this.#core;
    if (openCount === 0) return;
    const what = openCount === 1 ? "1 line" : `${openCount} lines`;
    this.#print(
      note(`Waits for the answer to ${what}; Ctrl-C leaves without it`),
    );
  }

  // What is shown

  #heard(answer: ToClient): void {
    // That somebody is in a room is said in answer to what he typed.
    const code = answer.type === "system" ? answer.notice?.code : undefined;
    if (code === "waiting" && answer.type === "system") {
      this.#waitingText = ` (${answer.text})`;
    } else if (code === "going-on") this.#waitingText = "";
    if (code === "joined" || code === "left") return;
    if (!this.#shows) return this.#logNotice(answer);
    if (this.#options.flags.json) return this.#printJson(answer);
    const isWritten = answer.type === "msg" || answer.type === "dm";
    if (this.#isOwn(answer)) return;
    for (const line of answerLines(answer, clockTime)) {
      if (isWritten) this.#print(line);
      else if (answer.type === "error") this.#complain(line);
      else this.#say(answer.type === "system" ? line : dim(line));
    }
  }

  /**
   * One's own words stand where they were typed; and who one is, one knows.
   * Somebody else may have the same name at another server, until the two meet.
   */
  #isOwn(answer: ToClient): boolean {
    switch (answer.type) {
      case "msg":
      case "dm":
        return answer.from === this.#user && this.#servers.has(answer.server);
      case "presence":
        return answer.event !== "rename" && answer.name === this.#user &&
          this.#servers.has(answer.server);
      default:
        return false;
    }
  }

  /** At the end of a pipe nobody reads messages, but what went wrong is told. */
  #logNotice(answer: ToClient): void {
    if (answer.type === "error") return this.#complain(answer.text);
    if (answer.type !== "system") return;
    const isNews = answer.notice !== undefined &&
      ["renamed", "missed", "move", "waiting"].includes(answer.notice.code);
    this.#options.opened.log[isNews ? "warn" : "info"](answer.text);
  }

  #result(command: MeshCommand, result: MeshResult): void {
    this.#progressMs = performance.now();
    switch (result.kind) {
      case "ok":
        return this.#done(command);
      case "answered":
        if (result.answer.type === "system") return this.#done(command);
        if (this.#options.flags.json) return this.#printJson(result.answer);
        for (const line of answerLines(result.answer, clockTime)) {
          this.#print(line);
        }
        return;
      case "refused":
        this.#failed += 1;
        if (command.kind === "join" && this.#room === command.room) {
          this.#room = undefined;
          this.#prompt();
        }
        return this.#complain(
          `${
            nameOf(command, this.#isPiped)
          } was not done: ${result.problem.text}`,
        );
      case "unknown":
        this.#failed += 1;
        return this.#complain(
          `? not known whether ${nameOf(command, this.#isPiped)} arrived`,
        );
    }
  }

  #done(command: MeshCommand): void {
    if (command.kind === "join") {
      const isHere = command.room === this.#room;
      const more = isHere ? ", and talk to it" : "";
      this.#say(note(`You are in #${command.room}${more}`));
    }
    if (command.kind === "leave") {
      this.#say(note(`You have left #${command.room}`));
      if (command.room !== this.#room) return;
      this.#room = undefined;
      this.#prompt();
    }
  }

  get #isPiped(): boolean {
    return this.#terminal === undefined;
  }

  #refuseLine(line: number, text: string): void {
    if (this.#terminal !== undefined) return this.#print(text);
    this.#failed += 1;
    this.#options.opened.log.error(`Line ${line} is left out: ${text}`);
  }

  /** Once for each thing that is wrong. */
  #sayTrouble({ code, text }: ChatProblem): void {
    const { search, opened } = this.#options;
    // All servers that are known may be gone, and others have come.
    search?.againMesh((addresses) => this.#step({ kind: "found", addresses }));
    if (text === this.#trouble) return;
    this.#trouble = text;
    if (this.#terminal !== undefined) {
      return this.#say(note(`${text}; still trying, what you type is kept`));
    }
    opened.log.warn(`${text}; still trying`, { code });
  }

  #complain(text: string): void {
    if (this.#terminal !== undefined) return this.#print(escapeText(text));
    this.#options.opened.log.error(text);
  }

  #say(text: string): void {
    const { quiet } = this.#options.flags;
    if (this.#terminal !== undefined && !quiet) this.#print(text);
  }

  #printJson(answer: ToClient): void {
    this.#print(escapeJson(formatMore(answer)));
  }

  #print(text: string): void {
    if (this.#terminal !== undefined) this.#terminal.print(text);
    else console.log(text);
  }

  // The end

  #interrupt(): void {
    const nowMs = performance.now();
    if (this.#hasEnded) return this.#finish(EXIT_INTERRUPTED);
    if (this.#interruptedMs !== undefined) {
      if (nowMs - this.#interruptedMs < ONE_CTRL_C_MS) return;
      return this.#finish(EXIT_INTERRUPTED);
    }
    this.#interruptedMs = nowMs;
    const { openCount, wasReady, isReady } = this.#core;
    if (openCount === 0 && !isReady) {
      return this.#finish(wasReady ? EXIT_ALL : EXIT_INTERRUPTED);
    }
    if (openCount > 0) {
      const what = openCount === 1
        ? "1 request under way; Ctrl-C again gives it up"
        : `${openCount} requests under way; Ctrl-C again gives them up`;
      this.#complain(`Waiting for ${what}`);
    }
    setTimeout(() => this.#finish(EXIT_NOT_ALL), INTERRUPT_WAIT_MS);
    this.#step({ kind: "end" });
  }

  #checkProgress(): void {
    const { timeoutMs } = this.#options.flags;
    const isIdle = this.#core.isReady && this.#core.openCount === 0;
    const waitedMs = performance.now() - this.#progressMs;
    if (isIdle || timeoutMs === undefined || waitedMs < timeoutMs) return;
    this.#complain(
      `Giving up: nothing was acknowledged for ${
        timeoutMs / 1_000
      } s${this.#waitingText}`,
    );
    this.#finish(EXIT_NOT_ALL);
  }
}

/** A command in a sentence; of a pipe by its line as well. */
function nameOf(command: MeshCommand, isPiped: boolean): string {
  switch (command.kind) {
    case "say":
    case "dm": {
      const text = `"${cutText(command.text, TEXT_SHOWN_MAX)}"`;
      const whom = command.kind === "dm" ? ` to ${command.to}` : "";
      return `${text}${whom}${isPiped ? ` of line ${command.line}` : ""}`;
    }
    case "join":
    case "leave":
      return `"/${command.kind} ${command.room}"`;
    case "who":
    case "rooms":
    case "history":
    case "topology":
    case "trace":
    case "servers":
      return `"/${command.kind}"`;
  }
}

/** It is nothing that anybody has written. */
function dim(text: string): string {
  return Deno.noColor ? text : `\x1b[2m${text}\x1b[22m`;
}
