/** Chat services over a log in memory, with clients, in a time of their own. */

import { assert, assertEquals } from "@std/assert";
import type {
  ClientSide,
  ClientTransport,
} from "../../../../nodes/chat/service/client.ts";
import type { CommittedLog } from "../../../../nodes/chat/replica/committed_log.ts";
import type { GroupState } from "../../../../nodes/chat/replica/contract.ts";
import { ChatService } from "../../../../nodes/chat/service/service.ts";
import type {
  ServiceLimits,
  ServicePasswords,
  ServiceState,
} from "../../../../nodes/chat/service/service_context.ts";
import type {
  ListOptions,
  MessagePage,
} from "../../../../nodes/chat/state/state.ts";
import {
  StateCore,
  type StoredMessage,
} from "../../../../nodes/chat/state/state_core.ts";
import type { Log } from "../../../../nodes/host/log.ts";
import { readAnswer } from "../../../../protocol/chat_answers.ts";
import type { ChatAnswer } from "../../../../protocol/chat.ts";
import { WireError } from "../../../../protocol/errors.ts";
import type { LogEntry } from "../../../../protocol/replica.ts";
import type { NodeStatus } from "../../../../protocol/status.ts";
import { canned } from "../canned_status.ts";

const EPOCH = { counter: 1, store: "0000000000000001" };

/** The chat's state with its messages in an array. */
export class MemoryState implements ServiceState {
  readonly core = new StateCore();
  readonly #messages: StoredMessage[] = [];

  get users() {
    return this.core.users;
  }
  get sessions() {
    return this.core.sessions;
  }
  get applied() {
    return this.core.applied;
  }

  apply(entries: readonly LogEntry[]) {
    return entries.map((entry) => {
      const applied = this.core.apply(entry);
      if (applied.message !== undefined) this.#messages.push(applied.message);
      return applied;
    });
  }

  list(userId: number, options: ListOptions): MessagePage {
    const { after, before = Infinity, limit, unreadOnly = false } = options;
    const readUpTo = this.users.byId(userId)?.readUpTo ?? 0;
    const from = Math.max(after ?? 0, unreadOnly ? readUpTo : 0);
    const found = this.#messages.filter(({ to, id }) =>
      to === userId && id > from && id < before
    );
    const isAscending = after !== undefined || unreadOnly;
    const kept = isAscending ? found.slice(0, limit) : found.slice(-limit);
    const messages = kept.flatMap((message) => {
      const sender = this.users.byId(message.from);
      const recipient = this.users.byId(message.to);
      if (sender === undefined || recipient === undefined) return [];
      return [{ ...message, from: sender.name, to: recipient.name }];
    });
    const next = kept.length < found.length
      ? kept.at(isAscending ? -1 : 0)?.id
      : undefined;
    return { messages, next };
  }
}

/** Passwords that are their own hash; the next ones may be refused. */
export class PlainPasswords implements ServicePasswords {
  isBusy = false;
  verified = 0;

  async hash(password: string): Promise<string> {
    await this.#work();
    return `plain:${btoa(password)}`;
  }

  async verify(password: string, phc: string | undefined): Promise<boolean> {
    await this.#work();
    this.verified += 1;
    return phc === `plain:${btoa(password)}`;
  }

  async #work(): Promise<void> {
    await Promise.resolve();
    if (this.isBusy) throw new WireError("busy", "Too many logins at once");
  }
}

/** One server: its service over the group's log. */
export class MemoryNode implements CommittedLog {
  readonly state = new MemoryState();
  readonly passwords = new PlainPasswords();
  readonly service: ChatService;
  /** Proposed and not committed; committed at the end of a turn unless held. */
  proposed: Uint8Array[] = [];
  /** Errors after which the process would end. */
  readonly fatal: unknown[] = [];
  /** The group for whose sake this one has ended. */
  dissolvedInto: string | undefined;
  /** Whether proposals wait for {@linkcode commit}. */
  isHolding = false;
  /** Whether proposals vanish. */
  isDropping = false;
  /** Entries that this server has not been told of wait in the group's log. */
  isBehind = false;
  isReadable = true;
  group: GroupState;
  /** What its status says beside the usual. */
  shown: Partial<NodeStatus> = {};
  /** How it leaves for good. */
  leaveForGood: () => Promise<void> = () => Promise.resolve();
  readonly #world: MemoryWorld;

  constructor(world: MemoryWorld, options: WorldOptions) {
    this.#world = world;
    this.group = writable("primary");
    this.service = new ChatService({
      state: this.state,
      passwords: this.passwords,
      log: options.log ?? SILENT,
      nowMs: () => world.nowMs,
      wallMs: () => world.wallMs,
      randomHex: (bytes) => world.randomHex(bytes),
      defer: (task) => world.defer(task),
      status: () =>
        canned({
          node: "memory",
          appliedIndex: this.state.applied.index,
          ...this.shown,
        }),
      leave: {
        node: "memory",
        incarnation: "00000000000000aa",
        key: options.key,
        leaveForGood: () => this.leaveForGood(),
      },
      onFatal: (error) => this.fatal.push(error),
      onDissolved: (into) => this.dissolvedInto = into,
      limits: options.limits ?? {},
    });
    this.service.start(this);
  }

  propose(commands: readonly Uint8Array[]): void {
    if (this.isDropping) return;
    this.proposed.push(...commands);
    if (!this.isHolding) this.#world.defer(() => this.commit());
  }

  readIndex(): Promise<number> {
    return this.isReadable
      ? Promise.resolve(this.#world.entries.length)
      : Promise.reject(new WireError("no-primary", "Nobody leads"));
  }

  /** Commits what is proposed, or only these. */
  commit(commands: readonly Uint8Array[] = this.proposed.splice(0)): void {
    for (const command of commands) {
      const index = this.#world.entries.length + 1;
      this.#world.entries.push({ index, epoch: EPOCH, command });
    }
    this.#world.deliver();
  }

  /** Tells the service what is committed. */
  deliver(): void {
    if (this.isBehind) return;
    const entries = this.#world.entries.slice(this.state.applied.index);
    if (entries.length > 0) this.service.committed(entries);
  }

  change(group: GroupState): void {
    this.group = group;
    this.service.groupChanged(group);
  }
}

/** What the servers of a world are given. */
export interface WorldOptions {
  readonly nodes?: number;
  readonly limits?: Partial<ServiceLimits>;
  /** The cluster key. */
  readonly key?: Uint8Array;
  /** Nobody's by default. */
  readonly log?: Log;
}

/** A group of servers, their clients, and the time they live in. */
export class MemoryWorld {
  nowMs = 0;
  readonly entries: LogEntry[] = [];
  readonly nodes: MemoryNode[] = [];
  #tasks: (() => void)[] = [];
  #drawn = 0;

  constructor(options: WorldOptions = {}) {
    const { nodes = 1 } = options;
    for (let i = 0; i < nodes; i++) {
      this.nodes.push(new MemoryNode(this, options));
    }
  }

  get wallMs(): number {
    return 1_700_000_000_000 + this.nowMs;
  }

  get node(): MemoryNode {
    return this.nodes[0];
  }

  randomHex(bytes: number): string {
    this.#drawn += 1;
    return this.#drawn.toString(16).padStart(2 * bytes, "0");
  }

  defer(task: () => void): void {
    this.#tasks.push(task);
  }

  deliver(): void {
    for (const node of this.nodes) node.deliver();
  }

  /** Runs until nothing more happens without time passing. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 20; idle++) {
      const tasks = this.#tasks.splice(0);
      if (tasks.length > 0) idle = 0;
      for (const task of tasks) task();
      await Promise.resolve();
    }
  }

  /** Lets time pass, with a tick at its end. */
  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    for (const node of this.nodes) node.service.tick();
    await this.settle();
  }

  connect(node: MemoryNode = this.node): MemoryClient {
    return new MemoryClient(this, node);
  }

  /** A client that is registered and logged in. */
  async client(
    name: string,
    node: MemoryNode = this.node,
  ): Promise<MemoryClient> {
    const client = this.connect(node);
    if (node.state.users.byName(name) === undefined) {
      await client.ask({ type: "register", user: name, password: PASSWORD });
    }
    await client.ask({ type: "login", user: name, password: PASSWORD });
    return client;
  }
}

/** Everybody's. */
export const PASSWORD = "correct horse";

/** The far end of a connection. */
export class MemoryClient implements ClientTransport {
  readonly label = "memory";
  isLocal = true;
  readonly side: ClientSide;
  /** All lines that came. */
  readonly received: string[] = [];
  /** How often the service wrote. */
  writes = 0;
  /** Whether what is written stays in the queue. */
  isStuck = false;
  isClosed = false;
  isReading = true;
  stuck: WireError | undefined;
  #queued = "";
  #nextId = 1;
  readonly #world: MemoryWorld;

  constructor(world: MemoryWorld, node: MemoryNode) {
    this.#world = world;
    this.side = node.service.connect(this);
  }

  get queuedBytes(): number {
    return this.#queued.length;
  }

  write(lines: string): void {
    this.writes += 1;
    if (this.isStuck) this.#queued += lines;
    else this.#receive(lines);
  }

  readOn(): void {
    this.isReading = true;
  }

  close(lastWord = ""): void {
    this.#receive(this.#queued + lastWord);
    this.#queued = "";
    this.isClosed = true;
    this.#world.defer(() => this.side.closed());
  }

  cutOff(lastWord: string): void {
    this.#queued = "";
    this.close(lastWord);
  }

  check(): WireError | undefined {
    return this.stuck;
  }

  /** Reads again: what was queued comes. */
  unstick(): void {
    this.isStuck = false;
    const queued = this.#queued;
    this.#queued = "";
    this.#receive(queued);
    this.side.drained();
  }

  /** The connection breaks. */
  drop(): void {
    this.isClosed = true;
    this.side.closed();
  }

  /** Writes lines as they are. */
  say(lines: string): void {
    this.isReading = this.side.take(lines);
  }

  /** Sends one request under an id of its own, and does not wait. */
  send(request: Readonly<Record<string, unknown>>): number {
    const id = this.#nextId++;
    this.say(`${JSON.stringify({ id, ...request })}\n`);
    return id;
  }

  /** Sends one request, and takes its answer's fields. */
  async ask(
    request: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, unknown>> {
    const id = this.send(request);
    await this.#world.settle();
    return this.answer(id);
  }

  /** The answer to a request. */
  answer(id: number): Record<string, unknown> {
    const found = this.answers.filter((answer) => answer.id === id);
    assertEquals(
      found.length,
      1,
      `answers to ${id}: ${this.received.join("")}`,
    );
    return found[0];
  }

  /** All answers and pushes so far, as JSON. */
  get answers(): Record<string, unknown>[] {
    return this.received.map((line) => JSON.parse(line));
  }

  /** Numbers and texts of the messages pushed. */
  get pushed(): unknown[] {
    return this.answers.filter(({ type }) => type === "message")
      .map(({ text }) => text);
  }

  #receive(lines: string): void {
    if (lines === "") return;
    assert(lines.endsWith("\n"));
    for (const line of lines.slice(0, -1).split("\n")) {
      // Whatever the service says, a client can read.
      const answer: ChatAnswer | undefined = readAnswer(line);
      assert(answer !== undefined, line);
      this.received.push(line);
    }
  }
}

/** A group that takes writes. */
export function writable(role: GroupState["role"] = "member"): GroupState {
  return { role, view: undefined, isWritable: true, waitsFor: [] };
}

/** A group that takes none. */
export function unwritable(...waitsFor: string[]): GroupState {
  return { role: "member", view: undefined, isWritable: false, waitsFor };
}

const nothing = () => {};
/** A log that nobody reads. */
export const SILENT = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
};
