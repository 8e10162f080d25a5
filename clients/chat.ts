/** `skein chat`: what one types goes to others, what comes is shown. */

import { type Address, formatAddress } from "../protocol/address.ts";
import type { ChatAnswer, ChatMessage } from "../protocol/chat.ts";
import { readAnswer } from "../protocol/chat_answers.ts";
import type { StoreId } from "../protocol/epoch.ts";
import { WireError } from "../protocol/errors.ts";
import { orExit } from "../nodes/host/flags.ts";
import { backoffMs } from "../nodes/host/link.ts";
import { type OpenLog, openLog } from "../nodes/host/log.ts";
import { escapeJson, escapeText } from "../nodes/host/text.ts";
import { askService } from "./asked_servers.ts";
import type { ChatEffect, ChatInput, ChatProblem } from "./chat_contract.ts";
import { ChatCore } from "./chat_core.ts";
import { type ChatFlags, parseChatClientFlags } from "./chat_flags.ts";
import type { Outgoing, OutgoingResult } from "./chat_outbox.ts";
import { type ChatGroup, type ChatMesh, ChatSearch } from "./chat_search.ts";
import { ChatTerminal } from "./chat_terminal.ts";
import {
  readTyped,
  showMessage,
  showView,
  type Typed,
  TYPED_HELP,
} from "./chat_typed.ts";
import { clockTime } from "./clock_time.ts";
import { CredentialsDialog } from "./credentials_dialog.ts";
import { CurrentLink } from "./current_link.ts";
import { LineInput } from "./line_input.ts";
import { MeshChatter } from "./mesh_chat.ts";

const DIAL_WAIT_MS_MAX = 1_000;

/** Over so long those who have lost one server come to another. */
const RECONNECT_SPREAD_MS = 50;

/** How long an interrupted client waits for what is under way. */
const INTERRUPT_WAIT_MS = 5_000;

/** A launcher in between may pass one Ctrl-C on twice. */
const ONE_CTRL_C_MS = 400;

const TICK_MS = 500;

/** Bytes of input read at once; above the longest line. */
const INPUT_BLOCK_BYTES = 131_072;

/** How long all servers may take to say of which service they are. */
const SERVICE_WAIT_MS = 2_000;

/** Exit codes: all acknowledged; something was not; wrong flags are 2. */
const EXIT_ALL = 0;
const EXIT_NOT_ALL = 1;
const EXIT_INTERRUPTED = 130;

const PROMPT = "> ";

/** What came of it: an exit code, or mesh servers, which another chatter speaks to. */
type Outcome = number | { readonly mesh: readonly Address[] };

/** Chats, and exits with 0 only if all that was sent was acknowledged. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseChatClientFlags(args, Deno.env));
  const opened = openLog({ node: "skein-chat", level: flags.logLevel });
  for (const warning of flags.warnings) opened.log.warn(warning);
  const code = await chat(flags, opened);
  await opened.flush();
  Deno.exit(code);
}

async function chat(flags: ChatFlags, opened: OpenLog): Promise<number> {
  const search = flags.connect.length === 0
    ? new ChatSearch({
      search: flags.search,
      service: flags.service,
      log: opened.log,
      onWait: (text) => sayWait(text, opened),
    })
    : undefined;
  if (flags.service === "chat" && await isMesh(flags.connect)) {
    opened.log.error(
      `${
        formatAddress(flags.connect[0])
      } is a mesh server, not one of a chat group: leave "--service chat" out`,
    );
    return EXIT_NOT_ALL;
  }
  const isNamedMesh = flags.service === "mesh" && search === undefined;
  const outcome = isNamedMesh
    ? { mesh: flags.connect }
    : await new Chatter({ flags, opened, search }).run();
  if (typeof outcome === "number") return outcome;
  const targets = outcome.mesh;
  return await new MeshChatter({ flags, opened, targets, search }).run();
}

/** Whether the first that answers is of the other service; false: none does yet. */
async function isMesh(connect: readonly Address[]): Promise<boolean> {
  if (connect.length === 0) return false;
  try {
    return await askService(connect, SERVICE_WAIT_MS) === "mesh";
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return false;
  }
}

/** Nobody has answered yet. */
function sayWait(text: string, { log }: OpenLog): void {
  const isTyped = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  if (isTyped) console.error(escapeText(text));
  else log.warn(text);
}

class Chatter {
  readonly #flags: ChatFlags;
  readonly #opened: OpenLog;
  readonly #core: ChatCore;
  readonly #terminal: ChatTerminal | undefined;
  readonly #input: LineInput;
  readonly #dialog: CredentialsDialog;
  /** Undefined: the servers are named. */
  readonly #search: ChatSearch | undefined;
  /** The group that was found, or that its servers say they are of. */
  #group: StoreId | undefined;
  readonly #link = new CurrentLink<ChatAnswer>({
    read: readAnswer,
    tell: (news) => this.#step(news),
  });
  #user = "";
  #partner: string | undefined;
  #line = 0;
  #failed = 0;
  #trouble = "";
  #progressMs = performance.now();
  #interruptedMs: number | undefined;
  /** Whether it is known which service the servers are of. */
  #isSure: boolean;
  #finish: (outcome: Outcome) => void = () => {};
  readonly #onSignal = () => this.#interrupt();

  constructor(
    { flags, opened, search }: {
      readonly flags: ChatFlags;
      readonly opened: OpenLog;
      readonly search: ChatSearch | undefined;
    },
  ) {
    this.#flags = flags;
    this.#search = search;
    this.#isSure = flags.service === "chat";
    this.#opened = opened;
    const isTyped = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
    this.#core = new ChatCore({
      targets: flags.connect,
      shows: isTyped || flags.json,
    });
    this.#input = new LineInput(Deno.stdin, {
      blockBytesMax: INPUT_BLOCK_BYTES,
      onRefused: (line, error) => this.#refuseLine(line, error.message),
    });
    this.#terminal = isTyped
      ? new ChatTerminal({
        onLine: (line) => void this.#typed(line),
        onEnd: () => this.#inputEnded(),
        onInterrupt: () => this.#interrupt(),
      })
      : undefined;
    const terminal = this.#terminal;
    this.#dialog = new CredentialsDialog({
      ...flags,
      terminal,
      hasMenu: search === undefined,
    });
  }

  /** Resolves with the exit code, or with whom another is to speak to. */
  async run(): Promise<Outcome> {
    const finished = new Promise<Outcome>((resolve) => this.#finish = resolve);
    if (this.#terminal === undefined) {
      Deno.addSignalListener("SIGINT", this.#onSignal);
    }
    const timer = setInterval(() => this.#checkProgress(), TICK_MS);
    void this.#begin();
    const code = await finished;
    clearInterval(timer);
    this.#terminal?.close();
    if (typeof code !== "number") {
      if (this.#terminal === undefined) {
        Deno.removeSignalListener("SIGINT", this.#onSignal);
      }
      return code;
    }
    this.#search?.close();
    this.#link.close();
    // Whoever types has seen what failed, and may have said it anew.
    const isComplete = this.#terminal !== undefined ||
      this.#failed + this.#input.refused === 0;
    return code === EXIT_ALL && !isComplete ? EXIT_NOT_ALL : code;
  }

  #step(input: ChatInput): void {
    for (const effect of this.#core.step(input, performance.now())) {
      this.#act(effect);
    }
  }

  #act(effect: ChatEffect): void {
    switch (effect.kind) {
      case "dial":
        return void this.#dial(effect);
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
      case "show":
        return this.#show(effect.message);
      case "listed":
        if (effect.messages.length === 0) this.#say("No messages");
        for (const message of effect.messages) this.#show(message);
        return;
      case "list-failed":
        return this.#complain(`Cannot list: ${effect.problem.text}`);
      case "ready":
        return this.#ready(effect);
      case "view":
        return this.#view(effect);
      case "result":
        return this.#result(effect.command, effect.result);
      case "refused":
        return void this.#refused(effect.problem);
      case "trouble":
        return this.#sayTrouble(effect.problem);
      case "stalled":
        return this.#sayNews(
          `Not acknowledged yet: ${effect.problem.text}; still trying`,
        );
      case "going-on":
        return this.#sayNews("Going on: the server acknowledges again");
      case "done":
        if (effect.problem !== undefined) {
          this.#complain(effect.problem.text);
        }
        return this.#finish(
          effect.problem === undefined ? EXIT_ALL : EXIT_NOT_ALL,
        );
    }
  }

  // Connections

  /** Finds a group, where no server is named, and then out who this is. */
  async #begin(): Promise<void> {
    if (this.#search !== undefined) {
      const group = await this.#search.first();
      if (group === undefined) return;
      if ("mesh" in group) {
        this.#foundAny(group);
        return this.#finish({ mesh: group.mesh });
      }
      this.#group = group.id;
      this.#progressMs = performance.now();
      this.#foundAny(group);
      this.#found(group.addresses);
    } else if (!await this.#isChat()) {
      return this.#finish({ mesh: this.#flags.connect });
    }
    this.#isSure = true;
    const { missingPassword } = this.#flags;
    if (missingPassword !== undefined) {
      await Deno.stderr.write(new TextEncoder().encode(missingPassword.stderr));
      return this.#finish(missingPassword.code);
    }
    await this.#login(undefined);
  }

  #foundAny({ text, isOneOfSeveral }: ChatGroup | ChatMesh): void {
    this.#say(text);
    // At the end of a pipe nobody sees which one it was.
    const isWarned = isOneOfSeveral && this.#terminal === undefined;
    this.#opened.log[isWarned ? "warn" : "info"](text);
  }

  /** Asks the servers that were named, until one says of which service it is. */
  async #isChat(): Promise<boolean> {
    for (let attempt = 1; !this.#isSure; attempt++) {
      try {
        const { connect } = this.#flags;
        return await askService(connect, SERVICE_WAIT_MS) === "chat";
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        const { code, message: text } = error;
        this.#sayTrouble({ code, text });
        const waitMs = backoffMs(attempt, Math.random(), DIAL_WAIT_MS_MAX);
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
    return true;
  }

  get #isLooking(): boolean {
    return this.#search === undefined
      ? !this.#isSure
      : this.#group === undefined;
  }

  #found(addresses: readonly Address[]): void {
    this.#step({ kind: "found", addresses });
  }

  async #dial(
    { address, attempt, isAgain }: ChatEffect & { kind: "dial" },
  ): Promise<void> {
    const waitMs = backoffMs(attempt, Math.random(), DIAL_WAIT_MS_MAX) +
      (isAgain ? Math.random() * RECONNECT_SPREAD_MS : 0);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    await this.#link.dial(address);
  }

  // Who

  async #login(problem: ChatProblem | undefined): Promise<void> {
    const credentials = await this.#dialog.ask(problem);
    if (credentials === undefined) return this.#finish(EXIT_NOT_ALL);
    this.#step({ kind: "login", credentials });
  }

  async #refused(problem: ChatProblem): Promise<void> {
    if (!this.#dialog.mayBeNew(problem)) this.#complain(problem.text);
    if (this.#terminal === undefined) return this.#finish(EXIT_NOT_ALL);
    await this.#login(problem);
  }

  #ready({ user, again }: { user: string; again: boolean }): void {
    this.#user = user;
    this.#progressMs = performance.now();
    if (this.#trouble !== "") this.#say("Connected again");
    this.#trouble = "";
    this.#search?.rest();
    if (again) return;
    this.#say(`Logged in as ${user}. "@NAME TEXT" sends, /help tells more`);
    this.#terminal?.prompt(PROMPT);
    const { chosen } = this.#dialog;
    this.#dialog.chosen = undefined;
    if (chosen !== undefined) void this.#do(chosen);
  }

  #view({ view, news }: ChatEffect & { kind: "view" }): void {
    this.#group = view.group ?? this.#group;
    if (news === "first") return;
    const text = showView(view);
    this.#opened.log.info(text);
    if (news === "votes") return;
    // Dim: it is nothing that anybody has written.
    this.#say(Deno.noColor ? text : `\x1b[2m${text}\x1b[22m`);
  }

  // What is typed, and what comes through a pipe

  async #read(): Promise<void> {
    try {
      const block = await this.#input.next();
      if (block === undefined) return this.#step({ kind: "end" });
      const text = new TextDecoder().decode(block.text);
      for (const line of text.slice(0, -1).split("\n")) {
        this.#line += 1;
        await this.#do(readTyped(line, this.#partner));
      }
      // Not one of them may have been for the core.
      this.#step({ kind: "more" });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#complain(`Cannot read the input: ${text}`);
      this.#finish(EXIT_NOT_ALL);
    }
  }

  async #typed(line: string): Promise<void> {
    this.#line += 1;
    await this.#do(readTyped(line, this.#partner));
  }

  async #do(typed: Typed): Promise<void> {
    switch (typed.kind) {
      case "nothing":
        return;
      case "send":
        this.#partner = typed.to;
        return this.#command({ ...typed, line: this.#line });
      case "partner":
        this.#partner = typed.to;
        return this.#say(`You write to ${typed.to}`);
      case "list":
        return this.#step({ kind: "command", command: typed });
      case "mark-read":
        return this.#command({
          kind: "mark-read",
          upto: typed.upto ?? this.#core.shown,
        });
      case "delete-account":
        return await this.#deleteAccount();
      case "logout":
      case "quit":
        return this.#step({ kind: "end" });
      case "who":
        return this.#say(
          `You are ${this.#user}, and write to ${this.#partner ?? "nobody"}`,
        );
      case "help":
        return this.#say(TYPED_HELP);
      case "wrong":
        return this.#refuseLine(this.#line, typed.text);
    }
  }

  /** Nothing more will be typed. */
  #inputEnded(): void {
    if (this.#isLooking) return this.#finish(EXIT_NOT_ALL);
    this.#step({ kind: "end" });
  }

  async #deleteAccount(): Promise<void> {
    const password = this.#terminal === undefined
      ? this.#flags.password
      : await this.#terminal.askSecret(
        `Password, to delete ${this.#user} with all its messages: `,
      );
    this.#terminal?.prompt(PROMPT);
    if (password === undefined || password === "") return;
    this.#command({ kind: "delete-account", password });
  }

  #command(command: Outgoing): void {
    if (this.#core.openCount === 0) this.#progressMs = performance.now();
    this.#step({ kind: "command", command });
  }

  // What is shown

  #show(message: ChatMessage): void {
    if (this.#flags.json) {
      const { n, from, to, text, time } = message;
      return this.#print(
        escapeJson(JSON.stringify({ n, from, to, text, time })),
      );
    }
    if (this.#terminal !== undefined && message.from !== this.#user) {
      this.#partner ??= message.from;
    }
    this.#print(showMessage(message, clockTime));
  }

  #result(command: Outgoing, result: OutgoingResult): void {
    this.#progressMs = performance.now();
    const what = this.#nameOf(command);
    switch (result.kind) {
      case "ok":
        if (command.kind === "delete-account") this.#say("Account deleted");
        return;
      case "refused":
        this.#failed += 1;
        return this.#complain(`${what} was not done: ${result.text}`);
      case "unknown":
        this.#failed += 1;
        return this.#complain(
          `${what} may not have been done: ${result.reason}`,
        );
    }
  }

  #nameOf(command: Outgoing): string {
    switch (command.kind) {
      case "send":
        return this.#terminal === undefined
          ? `The message to ${command.to} of line ${command.line}`
          : `The message to ${command.to}`;
      case "mark-read":
        return "Marking as read";
      case "delete-account":
        return "Deleting the account";
      case "logout":
        return "Logging out";
    }
  }

  #refuseLine(line: number, text: string): void {
    if (this.#terminal !== undefined) return this.#print(text);
    this.#failed += 1;
    this.#opened.log.error(`Line ${line} is left out: ${text}`);
  }

  /** Once for each thing that is wrong. */
  #sayTrouble({ code, text }: ChatProblem): void {
    // All servers that are known may be gone, and others have come.
    if (this.#group !== undefined) {
      this.#search?.again(this.#group, (addresses) => this.#found(addresses));
    }
    if (text === this.#trouble) return;
    this.#trouble = text;
    if (this.#terminal !== undefined) {
      return this.#say(`${escapeText(text)}; still trying`);
    }
    this.#opened.log.warn(`${text}; still trying`, { code });
  }

  /** To whoever types, and to whoever reads what a pipe's end says. */
  #sayNews(text: string): void {
    if (this.#terminal !== undefined) return this.#say(escapeText(text));
    this.#opened.log.warn(text);
  }

  #complain(text: string): void {
    if (this.#terminal !== undefined) return this.#print(escapeText(text));
    this.#opened.log.error(text);
  }

  #say(text: string): void {
    if (this.#terminal !== undefined && !this.#flags.quiet) this.#print(text);
  }

  #print(text: string): void {
    if (this.#terminal !== undefined) this.#terminal.print(text);
    else console.log(text);
  }

  // The end

  #interrupt(): void {
    const nowMs = performance.now();
    if (this.#interruptedMs !== undefined) {
      if (nowMs - this.#interruptedMs < ONE_CTRL_C_MS) return;
      return this.#finish(EXIT_INTERRUPTED);
    }
    this.#interruptedMs = nowMs;
    const { openCount } = this.#core;
    if (openCount === 0) {
      // Who has logged in and waits for nothing has done what he came for.
      return this.#finish(this.#user === "" ? EXIT_INTERRUPTED : EXIT_ALL);
    }
    const what = openCount === 1
      ? "1 request under way; Ctrl-C again gives it up"
      : `${openCount} requests under way; Ctrl-C again gives them up`;
    this.#complain(`Waiting for ${what}`);
    setTimeout(() => this.#finish(EXIT_NOT_ALL), INTERRUPT_WAIT_MS);
    this.#step({ kind: "end" });
  }

  #checkProgress(): void {
    const { timeoutMs } = this.#flags;
    const isIdle = this.#core.isReady && this.#core.openCount === 0;
    const waitedMs = performance.now() - this.#progressMs;
    if (isIdle || timeoutMs === undefined || waitedMs < timeoutMs) return;
    const what = this.#isLooking && this.#search !== undefined
      ? "no group was found"
      : "nothing was acknowledged";
    this.#complain(`Giving up: ${what} for ${timeoutMs / 1_000} s`);
    this.#finish(EXIT_NOT_ALL);
  }
}
