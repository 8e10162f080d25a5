/** Decides all that a mesh server does: `README.md` beside this says how and why. */

import type { Core, LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import type { NodeId } from "../../protocol/ids.ts";
import type { MeshStatus } from "../../protocol/mesh.ts";
import type {
  MeshEvent,
  MeshEventBody,
  PeerMessage,
  RelayedEvent,
} from "../../protocol/mesh_peer.ts";
import { Budget } from "./budget.ts";
import { ClientDesk } from "./client_desk.ts";
import { Cluster } from "./cluster.ts";
import { MeshContext } from "./context.ts";
import type {
  MeshEffect,
  MeshInput,
  MeshOptions,
  MeshView,
} from "./contract.ts";
import { type KnownServer, KnownServers } from "./known_servers.ts";
import { NameConflicts } from "./name_conflicts.ts";
import type { PeerLink } from "./peer_link.ts";
import { Relay } from "./relay.ts";
import { Repairs } from "./repairs.ts";
import { Traces, TRACES_MAX } from "./traces.ts";

/**
 * Switches of the topology that clients of one server may ask for in a second:
 * each one makes all servers beat and find their ways anew, and is logged.
 */
export const SWITCHES_MAX = 4;

type Input<Kind extends MeshInput["kind"]> = Extract<
  MeshInput,
  { kind: Kind }
>;

export class MeshCore implements Core<MeshInput, MeshEffect>, MeshView {
  readonly #context: MeshContext;
  readonly #servers: KnownServers;
  readonly #cluster: Cluster;
  readonly #relay: Relay;
  readonly #repairs: Repairs;
  readonly #desk: ClientDesk;
  readonly #traces: Traces;
  readonly #conflicts: NameConflicts;
  readonly #switches = new Budget({ max: SWITCHES_MAX, windowMs: 1_000 });
  /** When `tick` was last asked for. */
  #timerMs = Infinity;

  constructor(options: MeshOptions) {
    const { id, generation, recent } = options;
    const context = new MeshContext(options);
    const servers = new KnownServers({ id, generation }, recent);
    const links = () => this.#cluster.greeted();
    this.#context = context;
    this.#servers = servers;
    this.#relay = new Relay({
      ...{ context, servers, links },
      routes: () => this.#cluster.routes,
      deliver: (server, relayed) => this.#deliver(server, relayed),
      strayed: (event) => this.#cluster.strayed(event),
    });
    this.#repairs = new Repairs({
      ...{ context, servers, links, relay: this.#relay },
      isLinked: (peer) => this.#cluster.isLinked(peer),
      replaced: (server) => this.#conflicts.checkAll(server),
      missed: (server, count) => this.#missed(server, count),
    });
    this.#desk = new ClientDesk({
      ...{ context, servers },
      isDraining: () => this.#cluster.isDraining,
      publish: (body) => this.#publish(body),
    });
    this.#cluster = new Cluster({
      ...{ context, servers, relay: this.#relay, repairs: this.#repairs },
      clients: () => this.#desk.sessions.count,
      beganAnew: () => this.#beganAnew(),
      cameUp: (server) => this.#conflicts.checkAll(server),
    });
    this.#traces = new Traces(context);
    this.#conflicts = new NameConflicts({
      ...{ servers, desk: this.#desk, repairs: this.#repairs },
    });
  }

  step(input: MeshInput, nowMs: number): MeshEffect[] {
    const context = this.#context;
    context.nowMs = nowMs;
    context.timeMs = input.timeMs;
    context.effects = [];
    this.#take(input);
    this.#cluster.settle();
    this.#conflicts.settle();
    this.#traces.finish();
    this.#setTimer(nowMs, input.kind === "tick");
    return context.effects;
  }

  describe(): string {
    const { routes, choice, isDraining } = this.#cluster;
    const streams = [...this.#servers].map((server) => {
      const { id, isUp, stream: { n, isMet, ask, early, presence } } = server;
      return `${id}${isUp ? "" : "(down)"}:${isMet ? n : "?"}` +
        `${ask === undefined ? "" : " asked"}` +
        `${early.count === 0 ? "" : ` early ${early.count}`}` +
        ` users ${presence.count}`;
    });
    return `${choice.topology}${routes.isFlooded ? " flooded" : ""}` +
      `${isDraining ? " draining" : ""} ${streams.join(", ")}`;
  }

  get status(): MeshStatus {
    const { id, cluster } = this.#context.options;
    return {
      service: "mesh",
      server: id,
      cluster,
      clients: this.#desk.sessions.count,
      draining: this.#cluster.isDraining,
      topology: this.#cluster.choice.topology,
      servers: this.#cluster.list(),
    };
  }

  isLinked(peer: NodeId): boolean {
    return this.#cluster.isLinked(peer);
  }

  get counters() {
    return this.#context.counters;
  }

  /** What is held of each server that is known, for the operator; by id. */
  get streams() {
    return [...this.#servers].map(({ id, generation, isUp, stream }) => ({
      ...{ id, generation, isUp, isMet: stream.isMet, n: stream.n },
      users: stream.presence.count,
      recent: stream.recent.count,
      recentBytes: stream.recent.bytes,
      early: stream.early.count,
    })).sort((a, b) => a.id < b.id ? -1 : 1);
  }

  // Inputs

  #take(input: MeshInput): void {
    const context = this.#context;
    switch (input.kind) {
      case "start":
        context.log({ type: "start" });
        return this.#cluster.start();
      case "link-up":
        return this.#cluster.linkUp(input);
      case "link-down":
        return this.#cluster.linkDown(input.link, input.reason);
      case "peer":
        return this.#takePeer(input.link, input.message);
      case "client-gone":
        this.#traces.clientGone(input.client);
        return this.#desk.gone(input.client);
      case "plain-relay":
        return this.#desk.plainRelay(input, input);
      case "tick":
        return this.#cluster.tick();
      case "login":
        return this.#desk.login(input);
      case "say":
        return this.#desk.say(input);
      case "dm":
        return this.#desk.dm(input);
      case "join":
        return this.#desk.join(input);
      case "leave":
        return this.#desk.leave(input);
      case "who":
        return this.#desk.who(input);
      case "rooms":
        return this.#desk.rooms(input);
      case "topology":
        return this.#takeTopology(input);
      case "trace":
        return this.#trace(input);
      case "drain":
        return this.#drain(input);
      case "quit":
        this.#traces.clientGone(input.client);
        this.#desk.gone(input.client);
        return context.emit({ kind: "end-client", client: input.client });
    }
  }

  /** A peer's mistake ends its link, and nothing else. */
  #takePeer(number: LinkId, message: PeerMessage): void {
    const link = this.#cluster.find(number);
    if (link === undefined) return;
    try {
      this.#takeMessage(link, message);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#cluster.close(link, error);
    }
  }

  #takeMessage(link: PeerLink, message: PeerMessage): void {
    if (link.isGreeted === (message.kind === "hello")) {
      throw new WireError(
        "invalid-message",
        `Cannot take ${message.kind} from "${link.peer}": ${
          link.isGreeted ? "it has said hello" : "it has not said hello"
        }`,
      );
    }
    switch (message.kind) {
      case "hello":
        return this.#cluster.hello(link, message);
      case "events":
        this.#relay.receive(link, message.events);
        return this.#repairs.answered(link, message.events);
      case "beat":
        return this.#cluster.beat(link, message);
      case "ask":
        return this.#repairs.answer(link, message.origin, message.after);
      case "presence":
        return this.#repairs.takePresence(link, message);
    }
  }

  #takeTopology({ client, id, topology }: Input<"topology">): void {
    const context = this.#context;
    // What is in force is nobody's news, however often it is asked for.
    if (topology !== undefined && topology !== this.#cluster.choice.topology) {
      if (this.#switches.isSpent(context.nowMs)) {
        const text =
          `The topology was switched ${SWITCHES_MAX} times within a second, try again`;
        return context.refuse(client, id, { code: "busy", text });
      }
      this.#switches.spend(context.nowMs);
      this.#cluster.choose(topology);
      const from = this.#desk.sessions.get(client)?.name;
      context.log({
        ...{ type: "topology", text: topology },
        ...from !== undefined && { from },
      });
    }
    const { choice, routes } = this.#cluster;
    context.tell([client], {
      ...{ type: "topology", id, topology: choice.topology },
      by: choice.version === 0 ? undefined : choice.by,
      edges: routes.edges,
    });
  }

  #trace({ client, id }: Input<"trace">): void {
    if (this.#traces.isFull) {
      const { traceMs } = this.#context.options.timing;
      const text =
        `${TRACES_MAX} traces were begun within ${traceMs} ms, try again`;
      return this.#context.refuse(client, id, { code: "busy", text });
    }
    const { routes, choice } = this.#cluster;
    const self = this.#context.options.id;
    const trace = this.#traces.begin({ client, id }, {
      topology: choice.topology,
      servers: routes.reachable.filter((server) => server !== self),
    });
    this.#publish({ kind: "trace", trace });
  }

  #drain({ client, id, isUndone }: Input<"drain">): void {
    const context = this.#context;
    const { id: server } = context.options;
    const isChange = this.#cluster.isDraining === isUndone;
    this.#cluster.setDraining(!isUndone);
    if (isChange) {
      context.log({ type: "drain", text: isUndone ? "undone" : "begun" });
      context.report(
        "info",
        isUndone ? "Takes clients again" : "Takes no new clients",
      );
    }
    if (!isUndone) {
      const to = this.#cluster.others();
      const where = to.length === 0 ? "" : `: go on at ${to.join(" or ")}`;
      context.tell("all", {
        ...{ type: "system", notice: { code: "move", to } },
        text: `Server ${server} is being emptied${where}`,
      });
    }
    context.ok(client, id);
  }

  // Events

  #publish(body: MeshEventBody): MeshEvent {
    return this.#relay.publish(body);
  }

  /** An event's turn has come. */
  #deliver(server: KnownServer, relayed: RelayedEvent): void {
    const { event, via } = relayed;
    const { body } = event;
    const isOwn = server === this.#servers.self;
    switch (body.kind) {
      case "msg": {
        const { from, text, room } = body;
        const { origin, n, time } = event;
        return this.#desk.deliver({
          ...{ type: "msg", from, server: origin.id, text, time, n },
          ...room !== undefined && { room },
        });
      }
      case "dm":
        return this.#desk.deliverDirect(event);
      case "login":
      case "logout":
        if (server.stream.presence.apply(body)) {
          this.#desk.tellPresence(server, body);
        }
        if (body.kind === "login" && !isOwn) this.#conflicts.check(body.name);
        return;
      case "join":
      case "leave":
        server.stream.presence.apply(body);
        return;
      case "trace": {
        // Nobody waits for the report of a trace that is sent again.
        const { ask, early } = server.stream;
        if (isOwn || ask !== undefined || early.count > 0) return;
        const { id } = this.#context.options;
        const path = [...via, id];
        this.#publish({
          ...{ kind: "traced", trace: body.trace, of: server.id, path },
        });
        return;
      }
      case "traced":
        if (body.of !== this.#context.options.id) return;
        return this.#traces.report(body.trace, body.path);
    }
  }

  /** Told before what comes after them. */
  #missed({ id }: KnownServer, count: number): void {
    const context = this.#context;
    context.counters.missed += count;
    const text = count === 1
      ? `1 message from Server ${id} was missed`
      : `${count} messages from Server ${id} were missed`;
    context.tell("all", {
      ...{ type: "system", text },
      notice: { code: "missed", server: id, count },
    });
    context.log({ type: "missed", from: id, text });
    context.report("warn", text);
  }

  /** This server has a new generation: its new stream begins with who is here. */
  #beganAnew(): void {
    for (const { name, since, rooms } of this.#desk.sessions) {
      this.#publish({ kind: "login", name, since });
      for (const room of rooms) this.#publish({ kind: "join", name, room });
    }
  }

  // Time

  /** Asks for a tick where one is due before the one asked for, or that one has come. */
  #setTimer(nowMs: number, isTick: boolean): void {
    const dueMs = Math.min(this.#cluster.dueMs, this.#traces.dueMs);
    if (isTick) this.#timerMs = Infinity;
    if (dueMs >= this.#timerMs || dueMs === Infinity) return;
    this.#timerMs = dueMs;
    const afterMs = Math.max(0, Math.ceil(dueMs - nowMs));
    this.#context.emit({ kind: "timer", afterMs });
  }
}
