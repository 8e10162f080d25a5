/**
 * What a simulated server does for its clients: proposes their commands until
 * they are applied here, and answers their reads.
 */

import type {
  GroupState,
  ReplicaInput,
} from "../../nodes/chat/replica/contract.ts";
import type { Result } from "../../nodes/chat/state/results.ts";
import {
  type Applied,
  type ChatCommand,
  type ChatState,
  decodeCommand,
  encodeCommand,
} from "./chat_state.ts";

/** What a client asks. */
export type ChatRequest =
  | { readonly kind: "command"; readonly command: ChatCommand }
  /** What is applied here, as soon as that is `seen` or more. */
  | { readonly kind: "local-read"; readonly key: string; readonly seen: number }
  | { readonly kind: "read"; readonly key: string };

/** What it is told. */
export type ChatAnswer =
  | {
    readonly kind: "result";
    readonly result: Result;
    readonly index: number;
  }
  | {
    readonly kind: "list";
    readonly list: readonly string[];
    readonly index: number;
  }
  /** Nothing was done: ask again. */
  | { readonly kind: "failed" };

type Reply = (answer: ChatAnswer) => void;

interface OpenCommand {
  readonly bytes: Uint8Array;
  readonly reply: Reply;
  proposedMs: number;
}

interface WaitingRead {
  readonly key: string;
  readonly index: number;
  readonly reply: Reply;
}

/** Proposed again after this. */
const PROPOSE_AGAIN_MS = 1_000;

/** What the service needs of its process. */
export interface ServiceHost {
  readonly state: ChatState;
  readonly nowMs: number;
  /** Steps the core, after this turn. */
  input(input: ReplicaInput): void;
}

/** Lives as long as its process. */
export class SimulatedService {
  readonly #host: ServiceHost;
  /** In the order in which they came. */
  readonly #open = new Map<string, OpenCommand>();
  readonly #reads = new Map<number, { key: string; reply: Reply }>();
  #waiting: WaitingRead[] = [];
  #token = 0;

  constructor(host: ServiceHost) {
    this.#host = host;
  }

  /** Requests that wait for something. */
  get openCount(): number {
    return this.#open.size + this.#reads.size + this.#waiting.length;
  }

  /** One line for whoever waits for it. */
  describe(): string {
    return `commands ${[...this.#open.keys()]}; reads ${[
      ...this.#reads.keys(),
    ]}; waiting ${this.#waiting.map(({ index }) => index)}`;
  }

  request(request: ChatRequest, reply: Reply): void {
    switch (request.kind) {
      case "command":
        return this.#command(request.command, reply);
      case "local-read":
        this.#waiting.push({ key: request.key, index: request.seen, reply });
        return this.#answerReads();
      case "read": {
        const token = ++this.#token;
        this.#reads.set(token, { key: request.key, reply });
        return this.#host.input({ kind: "read", token });
      }
    }
  }

  /** Proposes without a client who waits, as a sweep of old sessions does. */
  propose(command: ChatCommand): void {
    const commands = [encodeCommand(command)];
    this.#host.input({ kind: "propose", commands });
  }

  readReady(token: number, index: number): void {
    const read = this.#reads.get(token);
    if (read === undefined) return;
    this.#reads.delete(token);
    this.#waiting.push({ ...read, index });
    this.#answerReads();
  }

  readFailed(token: number): void {
    this.#reads.get(token)?.reply({ kind: "failed" });
    this.#reads.delete(token);
  }

  groupChanged(_state: GroupState): void {
    this.#proposeAgain(0);
  }

  /** To be called now and then. */
  tick(): void {
    this.#proposeAgain(PROPOSE_AGAIN_MS);
  }

  /** An entry was applied here. */
  applied({ command, result }: Applied): void {
    this.#answerReads();
    if (command === undefined) return;
    const key = keyOf(command);
    const open = this.#open.get(key);
    if (open === undefined) return;
    // One before it is still to come: both are proposed again, in order.
    if (result.code === "gap") return this.#proposeAgain(0);
    this.#open.delete(key);
    open.reply({ kind: "result", result, index: this.#host.state.index });
  }

  /** A snapshot has taken the place of many entries at once. */
  restored(): void {
    this.#answerReads();
    for (const [key, { bytes, reply }] of [...this.#open]) {
      const command = decodeCommand(bytes);
      const result = command === undefined ? undefined : this.#known(command);
      if (result === undefined) continue;
      this.#open.delete(key);
      reply({ kind: "result", result, index: this.#host.state.index });
    }
  }

  #command(command: ChatCommand, reply: Reply): void {
    const { state, nowMs } = this.#host;
    const result = this.#known(command);
    if (result !== undefined) {
      return reply({ kind: "result", result, index: state.index });
    }
    const bytes = encodeCommand(command);
    this.#open.set(keyOf(command), { bytes, reply, proposedMs: nowMs });
    this.#host.input({ kind: "propose", commands: [bytes] });
  }

  /** What is known without asking anybody: it was applied here before. */
  #known(command: ChatCommand): Result | undefined {
    if (command.kind !== "append") return undefined;
    const { sessions } = this.#host.state;
    if (sessions.get(command.session) === undefined) return undefined;
    const result = sessions.judge(command.session, command.sequence);
    return result?.code === "gap" ? undefined : result;
  }

  #proposeAgain(afterMs: number): void {
    const { nowMs } = this.#host;
    const commands: Uint8Array[] = [];
    for (const open of this.#open.values()) {
      if (nowMs - open.proposedMs < afterMs) continue;
      open.proposedMs = nowMs;
      commands.push(open.bytes);
    }
    if (commands.length > 0) this.#host.input({ kind: "propose", commands });
  }

  #answerReads(): void {
    if (this.#waiting.length === 0) return;
    const { state } = this.#host;
    const { index } = state;
    const ready = this.#waiting.filter((read) => read.index <= index);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter((read) => read.index > index);
    for (const { key, reply } of ready) {
      reply({ kind: "list", list: [...state.list(key)], index });
    }
  }
}

function keyOf(command: ChatCommand): string {
  switch (command.kind) {
    case "append":
      return `${command.session} ${command.sequence}`;
    case "open":
    case "expire":
      return `${command.kind} ${command.session}`;
    case "dissolve":
      return `${command.kind} ${command.into}`;
  }
}
