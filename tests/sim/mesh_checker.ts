/** What must hold of mesh servers, whatever happens to them. */

import type { NodeId } from "../../protocol/ids.ts";
import type { MeshMessage, ToClient } from "../../protocol/mesh.ts";
import type { RelayedEvent } from "../../protocol/mesh_peer.ts";
import type {
  ClientAsk,
  ClientNumber,
  MeshEffect,
} from "../../nodes/mesh/contract.ts";
import type { SimulatedMeshServer } from "./mesh_server.ts";
import type { World } from "./world.ts";

/** A life of a server's stream: a process may begin several. */
type StreamName = string;

interface Sent {
  readonly stream: StreamName;
  readonly server: NodeId;
  readonly from: string;
  readonly n: number;
  /** Which message of its stream this is, 1 first. */
  readonly index: number;
  readonly room: string | undefined;
  readonly to: string | undefined;
  readonly isLocal: boolean;
}

/** What one process has got of a stream. */
interface Got {
  /** Index of the latest message that was seen. */
  index: number;
  /** Messages that were told of as missed since. */
  missed: number;
}

interface ClientModel {
  name: string | undefined;
  /** When it logged in, by its server's clock. */
  since?: number;
  readonly rooms: Set<string>;
}

interface Open {
  readonly client: ClientNumber;
  readonly ask: ClientAsk;
}

/** One process of a server. */
class ProcessModel {
  readonly clients = new Map<ClientNumber, ClientModel>();
  readonly open = new Map<number, Open>();
  readonly got = new Map<StreamName, Got>();
  readonly texts = new Set<string>();
  /** For everyone, and come in time: each must be given in the end. */
  readonly arrived: RelayedEvent[] = [];
  /** Which of its streams is the current one. */
  epoch = 0;
  /** Messages of its current stream. */
  messages = 0;
  readonly missedNotices: { server: NodeId; count: number }[] = [];

  client(number: ClientNumber): ClientModel {
    let model = this.clients.get(number);
    if (model === undefined) {
      model = { name: undefined, rooms: new Set() };
      this.clients.set(number, model);
    }
    return model;
  }
}

export class MeshChecker {
  readonly failures: string[] = [];
  /** Whether what is kept is so much that nothing may ever be missed. */
  mayMiss = false;
  messages = 0;
  missed = 0;
  readonly #world: World;
  readonly #processes = new Map<SimulatedMeshServer, ProcessModel>();
  readonly #sent = new Map<string, Sent>();
  /** The stream that each server's clients last saw a message of. */
  readonly #streamOf = new Map<string, StreamName>();
  /** When somebody logged in under a name, by server and name. */
  readonly #logins = new Map<string, number[]>();
  #nextId = 1;
  #nextText = 1;

  constructor(world: World) {
    this.#world = world;
  }

  fail(text: string): void {
    this.#world.note(() => `FAILED: ${text}`);
    this.failures.push(`${this.#world.nowMs.toFixed(0)} ms: ${text}`);
  }

  newText(): string {
    return `m${this.#nextText++}`;
  }

  // What happens

  started(server: SimulatedMeshServer): void {
    this.#processes.set(server, new ProcessModel());
  }

  crashed(server: SimulatedMeshServer): void {
    this.#processes.delete(server);
  }

  asked(
    server: SimulatedMeshServer,
    client: ClientNumber,
    ask: ClientAsk,
  ): number {
    const id = this.#nextId++;
    this.#of(server).open.set(id, { client, ask });
    this.#world.note(() =>
      `${server.name} client ${client} asks ${JSON.stringify(ask)}`
    );
    return id;
  }

  /** A connection is over: what it asked stays without an answer. */
  clientGone(server: SimulatedMeshServer, client: ClientNumber): void {
    const process = this.#of(server);
    process.clients.delete(client);
    for (const [id, open] of process.open) {
      if (open.client === client) process.open.delete(id);
    }
  }

  /** All effects of one step. */
  stepped(server: SimulatedMeshServer, effects: readonly MeshEffect[]): void {
    const process = this.#of(server);
    // First what was said here: its number comes with the acknowledgement.
    for (const effect of effects) {
      if (effect.kind === "report" && /later life/.test(effect.text)) {
        process.epoch += 1;
        process.messages = 0;
      }
      if (effect.kind === "tell") this.#acknowledged(server, effect.message);
    }
    for (const effect of effects) {
      if (effect.kind === "deliver") this.#delivered(server, effect.message);
      if (effect.kind === "tell") this.#told(server, effect);
      if (effect.kind === "end-client") {
        this.clientGone(server, effect.client);
      }
    }
  }

  #of(server: SimulatedMeshServer): ProcessModel {
    const process = this.#processes.get(server);
    if (process === undefined) throw new Error(`${server.name} is not there`);
    return process;
  }

  // Answers

  /** Takes note of what a client has said, when its server says its number. */
  #acknowledged(server: SimulatedMeshServer, message: ToClient): void {
    if (message.type !== "ok" || typeof message.id !== "number") return;
    const process = this.#of(server);
    const open = process.open.get(message.id);
    if (open === undefined) return;
    const { ask, client } = open;
    if (ask.kind !== "say" && ask.kind !== "dm") return;
    const { name } = process.client(client);
    if (name === undefined) return this.fail("A stranger has said something");
    const isLocal = ask.kind === "say" && ask.isLocal;
    if (!isLocal) process.messages += 1;
    this.messages += 1;
    this.#sent.set(ask.text, {
      stream: `${server.name}.${server.life}.${process.epoch}`,
      ...{ server: server.name, from: name, n: message.n ?? 0 },
      index: process.messages,
      room: ask.kind === "say" ? ask.room : undefined,
      to: ask.kind === "dm" ? ask.to : undefined,
      isLocal,
    });
  }

  #told(
    server: SimulatedMeshServer,
    { clients, message }: Extract<MeshEffect, { kind: "tell" }>,
  ): void {
    const process = this.#of(server);
    if (message.type === "msg" || message.type === "dm") {
      if (clients === "all") return this.fail(`${message.text} goes to all`);
      const wanted = message.type === "msg"
        ? this.#members(process, message.room)
        : this.#parties(server, message);
      if (!isSameSet(clients, wanted)) {
        this.fail(
          `${server.name} gives ${message.text} to ${clients}, wanted ${wanted}`,
        );
      }
      return this.#took(server, message);
    }
    if (message.type === "system") this.#noticed(server, clients, message);
    if ("id" in message && typeof message.id === "number") {
      this.#answered(server, message.id, clients);
    }
  }

  #answered(
    server: SimulatedMeshServer,
    id: number,
    clients: readonly ClientNumber[] | "all",
  ): void {
    const process = this.#of(server);
    const open = process.open.get(id);
    if (open === undefined) {
      return this.fail(`${server.name} answers ${id}, which nobody asks`);
    }
    if (clients === "all" || clients.join() !== String(open.client)) {
      this.fail(`${server.name} answers ${id} to ${clients}`);
    }
    process.open.delete(id);
  }

  #noticed(
    server: SimulatedMeshServer,
    clients: readonly ClientNumber[] | "all",
    { notice, text }: Extract<ToClient, { type: "system" }>,
  ): void {
    const process = this.#of(server);
    if (notice === undefined) return;
    if (notice.code === "missed") {
      // Who has all of it is a neighbour.
      if (!this.mayMiss && server.core?.isLinked(notice.server) === true) {
        this.fail(`${server.name} missed what is kept`);
      }
      this.missed += notice.count;
      const stream = this.#streamOf.get(`${server.name}<${notice.server}`);
      process.missedNotices.push({ ...notice });
      const got = stream === undefined ? undefined : process.got.get(stream);
      if (got !== undefined) got.missed += notice.count;
      return;
    }
    if (clients === "all") return;
    for (const client of clients) {
      const model = process.client(client);
      if (notice.code === "welcome") {
        model.name = notice.name;
        model.since = server.timeMs;
        this.#isNow(server, notice.name, model.since);
      }
      if (notice.code === "renamed") {
        if (model.name !== notice.was) this.fail(`${notice.was} is another`);
        this.#checkEarlier(notice.was, model.since ?? 0, text);
        model.name = notice.name;
        this.#isNow(server, notice.name, model.since ?? 0);
      }
      if (notice.code === "joined") model.rooms.add(notice.room);
      if (notice.code === "left") model.rooms.delete(notice.room);
    }
  }

  #isNow(server: SimulatedMeshServer, name: string, since: number): void {
    const key = `${server.name}|${name}`;
    this.#logins.set(key, [...this.#logins.get(key) ?? [], since]);
  }

  /** Somebody must have had the name before. */
  #checkEarlier(name: string, since: number, text: string): void {
    const winner = / on Server ([A-I]): /.exec(text)?.[1];
    const logins = this.#logins.get(`${winner}|${name}`) ?? [];
    if (logins.some((other) => other <= since)) return;
    this.fail(`${text}, but nobody has`);
  }

  // Messages

  #members(process: ProcessModel, room: string | undefined): ClientNumber[] {
    if (room === undefined) return [];
    return [...process.clients].filter(([, { rooms }]) => rooms.has(room))
      .map(([client]) => client);
  }

  #parties(
    server: SimulatedMeshServer,
    message: Extract<ToClient, { type: "dm" }>,
  ): ClientNumber[] {
    const isFrom = server.name === message.server;
    return [...this.#of(server).clients].filter(([, { name }]) =>
      name === message.to || isFrom && name === message.from
    ).map(([client]) => client);
  }

  #delivered(server: SimulatedMeshServer, message: MeshMessage): void {
    if (message.room !== undefined) this.fail(`${message.text} is for a room`);
    this.#took(server, message);
  }

  #took(
    server: SimulatedMeshServer,
    message: Extract<ToClient, { type: "msg" | "dm" }>,
  ): void {
    const process = this.#of(server);
    const { text } = message;
    const sent = this.#sent.get(text);
    if (process.texts.has(text)) this.fail(`${server.name} got ${text} twice`);
    process.texts.add(text);
    if (sent === undefined) return this.fail(`Nobody has said ${text}`);
    const isSame = sent.from === message.from &&
      sent.server === message.server && sent.n === message.n &&
      (message.type === "dm"
        ? sent.to === message.to
        : sent.to === undefined && sent.room === message.room);
    if (!isSame) this.fail(`${server.name} got ${JSON.stringify(message)}`);
    if (sent.isLocal) {
      if (sent.server !== server.name) this.fail(`${text} is local`);
      return;
    }
    this.#inTurn(server, text, sent);
  }

  /** In the order of its stream; what is between was told of, or was not for here. */
  #inTurn(server: SimulatedMeshServer, text: string, sent: Sent): void {
    const process = this.#of(server);
    const { stream, index } = sent;
    const key = `${server.name}<${sent.server}`;
    const got = process.got.get(stream);
    if (got === undefined) {
      // A later life: nothing of an earlier one may come any more.
      process.got.set(stream, { index, missed: 0 });
      this.#streamOf.set(key, stream);
      return;
    }
    if (this.#streamOf.get(key) !== stream) {
      return this.fail(`${server.name} got ${text} of a life that is over`);
    }
    if (index <= got.index) {
      return this.fail(`${server.name} got ${text} too late`);
    }
    let left = 0;
    for (const other of this.#sent.values()) {
      if (other.stream !== stream || other.isLocal) continue;
      if (other.index <= got.index || other.index >= index) continue;
      if (other.room === undefined && other.to === undefined) left += 1;
    }
    const between = index - got.index - 1;
    if (left > got.missed || got.missed > between) {
      this.fail(
        `${server.name} lacks ${left} to ${between} messages before ${text}, ${got.missed} are called missed`,
      );
    }
    got.index = index;
    got.missed = 0;
  }

  /**
   * Events come to a server. What it has not got past is held from now on, and
   * given in the end, whatever else is lost.
   */
  arrives(server: SimulatedMeshServer, events: readonly RelayedEvent[]): void {
    const streams = server.core?.streams ?? [];
    for (const relayed of events) {
      const { origin, n, body } = relayed.event;
      if (body.kind !== "msg" || body.room !== undefined) continue;
      const stream = streams.find(({ id }) => id === origin.id);
      if (stream?.generation === origin.generation && stream.n >= n) continue;
      this.#of(server).arrived.push(relayed);
    }
  }

  // The end

  /** What came to a server was given, unless its origin's life is over. */
  checkArrived(server: SimulatedMeshServer): void {
    const { texts, arrived } = this.#of(server);
    for (const { event: { origin, n, body } } of arrived) {
      if (body.kind !== "msg" || texts.has(body.text)) continue;
      const isLatest = server.core?.streams.some(({ id, generation }) =>
        id === origin.id && generation === origin.generation
      );
      if (!isLatest) continue;
      this.fail(
        `${server.name} had ${origin.id}/${n}, ${body.text}, and gave it to nobody`,
      );
    }
  }

  /** All that was asked is answered. */
  checkAnswers(server: SimulatedMeshServer): void {
    for (const [id, { ask }] of this.#of(server).open) {
      this.fail(`${server.name} leaves ${ask.kind} ${id} without an answer`);
    }
  }

  has(server: SimulatedMeshServer, text: string): boolean {
    return this.#of(server).texts.has(text);
  }

  clientsOf(server: SimulatedMeshServer): Map<ClientNumber, ClientModel> {
    return this.#of(server).clients;
  }

  /** Of those who are logged in there, or in a room of it. */
  names(server: SimulatedMeshServer, room?: string): string[] {
    return [...this.#of(server).clients.values()].flatMap(({ name, rooms }) =>
      name === undefined || room !== undefined && !rooms.has(room) ? [] : [name]
    );
  }
}

function isSameSet(
  a: readonly ClientNumber[],
  b: readonly ClientNumber[],
): boolean {
  return a.length === b.length && b.every((one) => a.includes(one));
}
