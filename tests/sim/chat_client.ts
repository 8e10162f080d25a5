/**
 * A simulated person with a session: appends, reads, asks the same again at
 * another server when one does not answer, and keeps record of it all.
 */

import type { StoreId } from "../../protocol/epoch.ts";
import type { HistoryEvent, HistoryRecorder } from "../history/history.ts";
import type { ChatChecker } from "./chat_checker.ts";
import type { Links } from "./chat_links.ts";
import type { SimulatedReplica } from "./chat_node.ts";
import type { ChatAnswer, ChatRequest } from "./chat_service.ts";
import type { World } from "./world.ts";

/** What all clients share. */
export interface ClientSurroundings {
  readonly world: World;
  readonly links: Links;
  /** Whoever checks that group. */
  checkerOf(group: StoreId | undefined): ChatChecker;
  readonly history: HistoryRecorder;
  readonly replicas: readonly SimulatedReplica[];
  /** Whether a client whose session is in that group may ask there. */
  serves(server: SimulatedReplica, group: StoreId | undefined): boolean;
  newId(): string;
}

/** How one client differs from others. */
export interface ClientPlan {
  readonly name: string;
  readonly keys: readonly string[];
  /** Appends under way at once. */
  readonly pipeline: number;
  readonly thinkMsMax: number;
  /** How many of its requests are reads. */
  readonly readShare: number;
  readonly patienceMs: number;
}

/** One request until its answer. */
interface Open {
  readonly process: number;
  readonly key: string;
  readonly kind: "append" | "read" | "local-read";
  /** Of an append. */
  readonly sequence: number;
  readonly value: string;
}

/** One connection; what comes over another is not heard. */
interface Connection {
  readonly server: SimulatedReplica;
  readonly life: number;
  /** When what was sent last arrives, each way: nothing overtakes. */
  toServerMs: number;
  toClientMs: number;
  hasSession: boolean;
  /** The group in whose name the last answer was given. */
  group: StoreId | undefined;
  heardMs: number;
  /** Something was lost on the way, and with it all that comes after. */
  isBroken: boolean;
}

export class SimulatedClient {
  readonly name: string;
  /** Whether it still begins new requests. */
  isBusy = true;
  readonly #around: ClientSurroundings;
  readonly #plan: ClientPlan;
  /** Numbers of its processes in the history. */
  readonly processes = new Set<number>();
  readonly #free: number[] = [];
  #session = "";
  /** Where the session is open. */
  #group: StoreId | undefined;
  #sequence = 0;
  #seen = 0;
  #open: Open[] = [];
  #connection: Connection | undefined;
  #values = 0;
  /** Places of what was acknowledged, by key. */
  readonly #own = new Map<string, { value: string; position: number }[]>();

  constructor(around: ClientSurroundings, plan: ClientPlan) {
    this.#around = around;
    this.#plan = plan;
    this.name = plan.name;
    this.#login();
  }

  /** Requests without an answer yet. */
  get openCount(): number {
    return this.#open.length;
  }

  /** Where the session is open; undefined until it was for the first time. */
  get group(): StoreId | undefined {
    return this.#group;
  }

  get session(): string {
    return this.#session;
  }

  start(): void {
    const { world } = this.#around;
    this.#connect();
    const think = () => {
      if (!this.isBusy) return;
      this.#begin();
      world.schedule(world.random.next() * this.#plan.thinkMsMax, think);
    };
    think();
  }

  /** Never asks again: nobody will know what became of what is open. */
  die(): void {
    this.isBusy = false;
    this.#connection = undefined;
    for (const open of this.#open) this.#record(open, "info");
    this.#open = [];
  }

  /** Reads a list once more, for the end of the history. */
  readLast(key: string): void {
    this.#ask({ kind: "read", key });
  }

  /** One line for whoever waits for it. */
  describe(): string {
    const { server, hasSession } = this.#connection ?? {};
    return `${this.name} at ${server?.name} ${
      hasSession ? "" : "without session "
    }waits for ${this.#open.map(({ kind, value }) => `${kind} ${value}`)}`;
  }

  #begin(): void {
    const { random } = this.#around.world;
    const appends = this.#open.filter(({ kind }) => kind === "append").length;
    const key = random.pick(this.#plan.keys);
    if (!random.chance(this.#plan.readShare)) {
      if (appends < this.#plan.pipeline) this.#ask({ kind: "append", key });
    } else if (this.#open.length - appends === 0) {
      this.#ask({ kind: random.chance(0.6) ? "read" : "local-read", key });
    }
  }

  #ask({ kind, key }: { kind: Open["kind"]; key: string }): void {
    const { history } = this.#around;
    const isAppend = kind === "append";
    const open: Open = {
      process: this.#free.pop() ?? history.newProcess(),
      key,
      kind,
      sequence: isAppend ? ++this.#sequence : 0,
      value: isAppend ? `${this.name}.${++this.#values}` : "",
    };
    this.#open.push(open);
    this.processes.add(open.process);
    this.#record(open, "invoke");
    if (this.#connection?.hasSession) this.#send(this.#connection, open);
  }

  // Sessions and connections.

  #login(): void {
    this.#session = this.#around.newId();
    this.#sequence = 0;
  }

  #connect(): void {
    const { world, links, replicas } = this.#around;
    const servers = replicas.filter(({ kind }) => kind === "server");
    const server = world.random.pick(servers);
    const isReached = server.isAwake && links.hears(this.name, server.name) &&
      links.hears(server.name, this.name) &&
      this.#around.serves(server, this.#group);
    if (!isReached) {
      const waitMs = 10 + world.random.int(100);
      return world.schedule(waitMs, () => {
        if (this.#isWanted) this.#connect();
      });
    }
    const { life } = server;
    const connection: Connection = {
      server,
      life,
      toServerMs: 0,
      toClientMs: 0,
      hasSession: false,
      group: undefined,
      heardMs: world.nowMs,
      isBroken: false,
    };
    this.#connection = connection;
    this.#openSession(connection);
    this.#watch(connection);
  }

  get #isWanted(): boolean {
    return this.isBusy || this.#open.length > 0;
  }

  /** Goes elsewhere when the server is gone, or says nothing for too long. */
  #watch(connection: Connection): void {
    const { world } = this.#around;
    world.schedule(20 + world.random.int(60), () => {
      if (this.#connection !== connection) return;
      const { server, life, heardMs, hasSession } = connection;
      const isReset = server.isPowered &&
        (server.life !== life || !server.machine.isUp);
      const isWaiting = this.#open.length > 0 || !hasSession;
      const isSilent = isWaiting &&
        world.nowMs - heardMs > this.#plan.patienceMs;
      if (!isReset && !isSilent) return this.#watch(connection);
      this.#connection = undefined;
      if (this.#isWanted) this.#connect();
    });
  }

  #openSession(connection: Connection): void {
    const session = this.#session;
    const { state } = connection.server;
    const isOpen = () => {
      connection.hasSession = true;
      this.#group = connection.group;
      for (const open of this.#open) this.#send(connection, open);
    };
    // It resumes what is open already.
    const seen = state.index;
    this.#exchange(connection, {
      kind: "command",
      command: { kind: "open", session, seen },
    }, (answer) => {
      if (session !== this.#session) return;
      if (answer.kind === "result" && answer.result.code === "ok") {
        return isOpen();
      }
      this.#expired();
    });
  }

  /** The session is over: nobody knows what became of its open appends. */
  #expired(): void {
    const appends = this.#open.filter(({ kind }) => kind === "append");
    this.#open = this.#open.filter(({ kind }) => kind !== "append");
    for (const open of appends) this.#record(open, "info");
    this.#login();
    this.#connection = undefined;
    this.#connect();
  }

  // Requests and answers.

  #send(connection: Connection, open: Open): void {
    const { key, kind, sequence, value } = open;
    const session = this.#session;
    const request: ChatRequest = kind === "append"
      ? {
        kind: "command",
        command: { kind: "append", session, sequence, key, value },
      }
      : kind === "read"
      ? { kind: "read", key }
      : { kind: "local-read", key, seen: this.#seen };
    const seen = this.#seen;
    this.#exchange(
      connection,
      request,
      (answer) => this.#answered({ connection, open, seen }, answer),
    );
  }

  #answered(
    asked: { connection: Connection; open: Open; seen: number },
    answer: ChatAnswer,
  ): void {
    const { connection, open } = asked;
    if (!this.#open.includes(open)) return;
    switch (answer.kind) {
      case "failed": {
        const { world } = this.#around;
        return world.schedule(world.random.int(50), () => {
          if (this.#connection === connection && this.#open.includes(open)) {
            this.#send(connection, open);
          }
        });
      }
      case "list":
        this.#close(open);
        this.#checkList(asked, answer);
        this.#seen = Math.max(this.#seen, answer.index);
        return this.#record(open, "ok", answer.list);
      case "result": {
        const { code, value: position } = answer.result;
        if (code === "no-session") return this.#expired();
        if (code !== "ok") {
          return this.#around.checkerOf(this.#group).fail(
            `"${open.value}" was answered with ${code}`,
          );
        }
        this.#close(open);
        this.#seen = Math.max(this.#seen, answer.index);
        const own = this.#own.get(open.key) ?? [];
        this.#own.set(open.key, own);
        own.push({ value: open.value, position });
        this.#around.checkerOf(this.#group).acknowledged(open.value, position);
        return this.#record(open, "ok", position);
      }
    }
  }

  /** Whatever server was asked: one's own writes are there, and time goes on. */
  #checkList(
    { open, seen }: { open: Open; seen: number },
    { list, index }: Extract<ChatAnswer, { kind: "list" }>,
  ): void {
    const checker = this.#around.checkerOf(this.#group);
    if (index < seen) {
      checker.fail(`${this.name} read ${index} after it had seen ${seen}`);
    }
    if (open.kind !== "local-read") return;
    for (const { value, position } of this.#own.get(open.key) ?? []) {
      // What was acknowledged while this read was under way need not be there.
      if (position > list.length && index >= this.#seen) {
        checker.fail(`${this.name} does not see its own "${value}"`);
      } else if (position <= list.length && list[position - 1] !== value) {
        checker.fail(`${this.name} does not find "${value}" at ${position}`);
      }
    }
  }

  /** Asks over a connection; the answer comes once at most, or never. */
  #exchange(
    connection: Connection,
    request: ChatRequest,
    then: (answer: ChatAnswer) => void,
  ): void {
    const { world, links } = this.#around;
    const { server, life } = connection;
    const answer = (answer: ChatAnswer) => {
      const list = answer.kind === "list"
        ? { ...answer, list: [...answer.list] }
        : answer;
      const { groupId } = server;
      connection.toClientMs = Math.max(
        connection.toClientMs,
        world.nowMs + links.delayMs(),
      );
      world.schedule(connection.toClientMs - world.nowMs, () => {
        if (this.#connection !== connection) return;
        connection.isBroken ||= !links.hears(server.name, this.name);
        if (connection.isBroken) return;
        connection.heardMs = world.nowMs;
        connection.group = groupId;
        then(list);
      });
    };
    connection.toServerMs = Math.max(
      connection.toServerMs,
      world.nowMs + links.delayMs(),
    );
    server.machine.later(connection.toServerMs - world.nowMs, () => {
      connection.isBroken ||= server.life !== life ||
        !links.hears(this.name, server.name);
      if (connection.isBroken) return;
      server.service?.request(request, answer);
    });
  }

  #close(open: Open): void {
    this.#open = this.#open.filter((other) => other !== open);
    this.#free.push(open.process);
  }

  #record(
    { process, kind, key, value }: Open,
    type: HistoryEvent["type"],
    answer?: number | readonly string[],
  ): void {
    // What a server has applied may be old: no part of what must be linearizable.
    if (kind === "local-read") return;
    this.#around.history.add({
      process,
      type,
      f: kind,
      key,
      value: kind === "append"
        ? value
        : typeof answer === "object"
        ? answer
        : null,
      ...(typeof answer === "number" ? { position: answer } : {}),
      time: Math.round(this.#around.world.nowMs * 1_000) / 1_000,
    });
  }
}
