/** Which servers there are and how they are linked: told on in beats, from neighbour to neighbour. */

import type { LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import type { NodeId } from "../../protocol/ids.ts";
import type { ListedServer, Topology } from "../../protocol/mesh.ts";
import {
  GENERATION_MAX,
  MESH_SERVERS_MAX,
  type PeerMessage,
  type Seen,
  type ServerState,
  type TopologyChoice,
} from "../../protocol/mesh_peer.ts";
import type { MeshContext } from "./context.ts";
import type { MeshInput } from "./contract.ts";
import type { KnownServer, KnownServers } from "./known_servers.ts";
import { PeerLink } from "./peer_link.ts";
import type { Relay } from "./relay.ts";
import type { Repairs } from "./repairs.ts";
import { Routes } from "./routes.ts";

/** Changes are told at once, but not more often than this. */
export const CHANGE_GAP_MS = 20;

/** Another life is begun at most this often: two processes of one id would never end. */
export const ANEW_GAP_MS = 1_000;

/** A new life is up to so much above the one that others know. */
export const ANEW_SPREAD = 65_536;

/** How many clients there are is told once in so many beats. */
const CLIENTS_BEATS = 4;

type Beat = Extract<PeerMessage, { kind: "beat" }>;
type Hello = Extract<PeerMessage, { kind: "hello" }>;

/** What this part asks of the core around it. */
export interface ClusterParts {
  readonly context: MeshContext;
  readonly servers: KnownServers;
  readonly relay: Relay;
  readonly repairs: Repairs;
  /** How many are logged in here. */
  clients(): number;
  /** This server has begun another life, with an empty stream. */
  beganAnew(): void;
  /** A server is reached that was not before. */
  cameUp(server: KnownServer): void;
}

export class Cluster {
  routes: Routes;
  choice: TopologyChoice;
  isDraining = false;
  readonly #parts: ClusterParts;
  readonly #context: MeshContext;
  readonly #servers: KnownServers;
  readonly #links = new Map<LinkId, PeerLink>();
  readonly #byPeer = new Map<NodeId, PeerLink>();
  /** The highest generation of this server that others know of. */
  #strayed = 0;
  #anewMs = -Infinity;
  #version = 0;
  #beatMs = Infinity;
  #saidMs = -Infinity;
  #beats = 0;
  #isLinksChanged = false;
  /** Who is linked to whom, or what counts of it, has changed. */
  #isChanged = false;
  /** There is something that others should hear before the next beat. */
  #isUrgent = false;
  readonly #refused = new Set<NodeId>();

  constructor(parts: ClusterParts) {
    const { context, servers } = parts;
    const { id, topology } = context.options;
    this.#parts = parts;
    this.#context = context;
    this.#servers = servers;
    this.choice = { topology, version: 0, by: id };
    this.#renew();
    this.routes = this.#newRoutes();
  }

  /** Monotonic: when the next tick is due. */
  get dueMs(): number {
    if (!this.#isUrgent) return this.#beatMs;
    return Math.min(this.#beatMs, this.#saidMs + CHANGE_GAP_MS);
  }

  isLinked(peer: NodeId): boolean {
    return this.#byPeer.has(peer);
  }

  find(link: LinkId): PeerLink | undefined {
    return this.#links.get(link);
  }

  /** The links over which both sides have said hello. */
  *greeted(): Generator<PeerLink> {
    for (const link of this.#links.values()) if (link.isGreeted) yield link;
  }

  /** All servers known, this one included; by id. */
  list(): ListedServer[] {
    const { self } = this.#servers;
    return [...this.#servers].map(({ id, isUp, state }) => ({
      id,
      up: isUp,
      clients: id === self.id ? this.#parts.clients() : state?.clients ?? 0,
      draining: state?.draining ?? false,
      ...state?.address !== undefined && { address: state.address },
    })).sort((a, b) => a.id < b.id ? -1 : 1);
  }

  /** Where clients may go instead: the least loaded first. */
  others(): string[] {
    const { self } = this.#servers;
    return this.list()
      .filter(({ id, up, draining }) => id !== self.id && up && !draining)
      .sort((a, b) => a.clients - b.clients)
      .flatMap(({ address }) => address === undefined ? [] : [address]);
  }

  start(): void {
    this.#beatMs = this.#context.nowMs + this.#context.options.timing.beatMs;
  }

  /** Beats if it is time to, and tells what is urgent. */
  tick(): void {
    const { nowMs, options } = this.#context;
    if (nowMs < this.#beatMs) return;
    this.#beatMs = nowMs + options.timing.beatMs;
    this.#beats += 1;
    const { self } = this.#servers;
    const isLate = self.state?.clients !== this.#parts.clients();
    if (isLate && this.#beats % CLIENTS_BEATS === 0) this.#renew();
    this.#beginAnew();
    for (const { stream } of this.#servers) stream.recent.age(nowMs);
    if (this.#servers.forgetOld(nowMs)) this.#isChanged = true;
    for (const link of this.greeted()) link.forgetAllBut(this.#servers);
    this.#parts.repairs.beat();
    this.#say();
  }

  /** Ends a step: what has changed takes effect, and is told. */
  settle(): void {
    if (this.#isLinksChanged) {
      this.#isLinksChanged = false;
      this.#renew();
    }
    if (this.#isChanged) this.#reroute();
    const { nowMs } = this.#context;
    if (this.#isUrgent && nowMs >= this.#saidMs + CHANGE_GAP_MS) this.#say();
  }

  // Links

  linkUp(input: Extract<MeshInput, { kind: "link-up" }>): void {
    const { id: self } = this.#context.options;
    const link = new PeerLink(input);
    const { peer, incarnation } = link;
    const old = this.#byPeer.get(peer);
    if (peer === self || old !== undefined && old.incarnation !== incarnation) {
      const text = peer === self
        ? `Server ${self} is this one`
        : `Another process is linked as "${peer}"`;
      return this.#refuse(link, new WireError("id-taken", text));
    }
    if (old !== undefined) {
      if (!this.#replaces(link, old)) {
        return this.#context.emit({ kind: "close", link: link.link });
      }
      this.#context.emit({ kind: "close", link: old.link });
      // The peer is as near as before: nobody is to think that it went.
      link.isNeighbour = old.isNeighbour;
      this.#drop(old);
    } else if (this.#links.size >= MESH_SERVERS_MAX - 1) {
      const text = `${MESH_SERVERS_MAX} servers are all that one mesh takes`;
      return this.#refuse(link, new WireError("busy", text));
    }
    this.#links.set(link.link, link);
    this.#byPeer.set(peer, link);
    this.#context.emit({
      ...{ kind: "send", link: link.link },
      message: {
        kind: "hello",
        generation: this.#servers.self.generation,
        known: this.#servers.get(peer)?.generation ?? 0,
      },
    });
  }

  linkDown(number: LinkId, reason: string): void {
    const link = this.#links.get(number);
    if (link === undefined) return;
    this.#drop(link);
    this.#context.report("debug", `Link to ${link.peer} is down`, { reason });
  }

  /** Ends a link for its peer's mistake. */
  close(link: PeerLink, error: WireError): void {
    this.#context.emit({ kind: "close", link: link.link, error });
    this.#drop(link);
    this.#context.report("warn", `Closed the link to ${link.peer}`, {
      ...{ code: error.code, reason: error.message },
    });
  }

  /**
   * Of two links that both ends dialled, the one whose dialer has the lower
   * id stays; a peer that dials again has lost the link before.
   */
  #replaces(link: PeerLink, old: PeerLink): boolean {
    if (link.isDialed === old.isDialed) return true;
    return link.isDialed === (this.#context.options.id < link.peer);
  }

  #refuse({ link, peer }: PeerLink, error: WireError): void {
    this.#context.emit({ kind: "close", link, error });
    if (this.#refused.has(peer)) return;
    if (this.#refused.size < MESH_SERVERS_MAX) this.#refused.add(peer);
    this.#context.report("warn", `Refused a link to ${peer}`, {
      ...{ code: error.code, reason: error.message },
    });
  }

  #drop(link: PeerLink): void {
    this.#links.delete(link.link);
    this.#byPeer.delete(link.peer);
    this.#parts.repairs.linkDown(link);
    this.#isLinksChanged = true;
  }

  // What neighbours say

  /** The peer's first words: from now on events pass. */
  hello(link: PeerLink, { generation, known }: Hello): void {
    const { nowMs } = this.#context;
    const { peer } = link;
    link.isGreeted = true;
    link.isNeighbour = true;
    this.#isLinksChanged = true;
    this.#servers.meet({ id: peer, generation }, { nowMs, isLinked: true });
    this.strayed({ generation: known, n: 0 });
    this.#beginAnew();
  }

  beat(link: PeerLink, { servers, seen, topology }: Beat): void {
    const isFirst = !link.hasBeaten;
    link.hasBeaten = true;
    for (const state of servers) this.#takeState(link, state);
    link.toldTopology(topology);
    this.#takeChoice(topology);
    for (const one of seen) this.#takeSeen(link, one, isFirst);
    this.#beginAnew();
  }

  #takeState(link: PeerLink, state: ServerState): void {
    const { self } = this.#servers;
    if (state.id === self.id) {
      this.strayed({ generation: state.generation, n: 0 });
      // Said in this very life: only a higher version can take its place.
      const isOwn = state.generation === self.generation;
      if (isOwn && state.version > this.#version) {
        checkBelow(state.version);
        this.#version = state.version;
        this.#renew();
      }
      return;
    }
    const server = this.#servers.meet(state, {
      nowMs: this.#context.nowMs,
      isLinked: state.id === link.peer,
    });
    if (server === undefined) return;
    link.told(state);
    const before = server.state;
    if (before !== undefined && before.version >= state.version) return;
    server.state = state;
    this.#isChanged ||= before === undefined ||
      before.neighbours.length !== state.neighbours.length ||
      state.neighbours.some((id) => !before.neighbours.includes(id));
    if (this.#isChanged || before?.draining !== state.draining) {
      this.#isUrgent = true;
    }
  }

  #takeChoice(topology: TopologyChoice): void {
    if (!isLater(topology, this.choice)) return;
    const isOther = topology.topology !== this.choice.topology;
    this.choice = topology;
    this.#isChanged = true;
    this.#isUrgent = true;
    if (!isOther) return;
    const { topology: name, by } = topology;
    this.#context.report("info", `The topology is ${name} now`, { by });
  }

  #takeSeen(link: PeerLink, { id, generation, n }: Seen, isFirst: boolean) {
    const { self } = this.#servers;
    if (id === self.id) return this.strayed({ generation, n });
    const server = this.#servers.meet({ id, generation }, {
      nowMs: this.#context.nowMs,
      isLinked: id === link.peer,
    });
    if (server === undefined) return;
    const { stream } = server;
    link.heard(stream.origin, n);
    // Nothing has happened there yet: it is followed from the beginning.
    if (n === 0) stream.isMet = true;
    // Over a new link nothing is on its way.
    if (isFirst || !stream.isMet) this.#parts.repairs.askNow(server);
  }

  /**
   * Somebody knows more of this server than it has ever done: another life of
   * it, whose numbers must not come again.
   */
  strayed({ generation, n }: { generation: number; n: number }): void {
    const { self } = this.#servers;
    if (generation < self.generation) return;
    if (generation === self.generation && n <= self.stream.n) return;
    checkBelow(generation);
    this.#strayed = Math.max(this.#strayed, generation);
  }

  #beginAnew(): void {
    const { nowMs } = this.#context;
    const { self } = this.#servers;
    if (this.#strayed < self.generation) return;
    if (nowMs < this.#anewMs + ANEW_GAP_MS) return;
    this.#anewMs = nowMs;
    // Not just one above it: another process of this id may have done that
    // too, and be known to others only.
    const above = 1 + this.#context.options.generation % ANEW_SPREAD;
    const generation = Math.min(this.#strayed + above, GENERATION_MAX);
    this.#context.report("warn", "Others know a later life of this server", {
      ...{ generation: self.generation, now: generation },
    });
    this.#servers.beginLife(self, generation);
    this.#renew();
    this.#parts.beganAnew();
  }

  // What this server says

  choose(topology: Topology): void {
    const { version } = this.choice;
    const { id } = this.#context.options;
    this.#takeChoice({ topology, version: version + 1, by: id });
  }

  setDraining(isDraining: boolean): void {
    if (this.isDraining === isDraining) return;
    this.isDraining = isDraining;
    this.#renew();
  }

  /** Says anew what this server is. */
  #renew(): void {
    const { id, address } = this.#context.options;
    const { self } = this.#servers;
    this.#version += 1;
    self.state = {
      ...{ id, generation: self.generation, version: this.#version },
      neighbours: this.#neighbours(),
      clients: this.#parts.clients(),
      draining: this.isDraining,
      ...address !== undefined && { address },
    };
    this.#isChanged = true;
    this.#isUrgent = true;
  }

  #neighbours(): NodeId[] {
    return [...this.#links.values()].filter(({ isNeighbour }) => isNeighbour)
      .map(({ peer }) => peer).sort();
  }

  /** To each neighbour what it does not know. */
  #say(): void {
    this.#isUrgent = false;
    this.#saidMs = this.#context.nowMs;
    for (const link of this.greeted()) {
      const servers: ServerState[] = [];
      const seen: Seen[] = [];
      for (const server of this.#servers) {
        const { id, state, stream } = server;
        if (state !== undefined && this.#isNews(link, state)) {
          servers.push(state);
          link.told(state);
        }
        if (stream.isMet && link.tellSeen(stream)) {
          seen.push({ id, generation: server.generation, n: stream.n });
        }
      }
      const isQuiet = servers.length === 0 && seen.length === 0;
      if (isQuiet && link.hasTopology(this.choice)) continue;
      link.toldTopology(this.choice);
      this.#context.emit({
        ...{ kind: "send", link: link.link },
        message: { kind: "beat", servers, seen, topology: this.choice },
      });
    }
  }

  #isNews(link: PeerLink, state: ServerState): boolean {
    if (state.id === link.peer || link.hasState(state)) return false;
    if (state.id === this.#servers.self.id) return true;
    // It hears that from the server itself, as long as the two are linked.
    return !this.routes.areLinked(state.id, link.peer);
  }

  // The graph

  #newRoutes(): Routes {
    const claims = new Map<NodeId, readonly NodeId[]>();
    for (const { id, state } of this.#servers) {
      if (state !== undefined) claims.set(id, state.neighbours);
    }
    const self = this.#servers.self.id;
    return new Routes(claims, { self, topology: this.choice.topology });
  }

  #reroute(): void {
    this.#isChanged = false;
    this.routes = this.#newRoutes();
    const reachable = new Set(this.routes.reachable);
    for (const server of this.#servers) {
      const isUp = reachable.has(server.id);
      if (isUp !== server.isUp) this.#upOrDown(server, isUp);
    }
    this.#parts.relay.reroute();
  }

  #upOrDown(server: KnownServer, isUp: boolean): void {
    const context = this.#context;
    const { id } = server;
    server.isUp = isUp;
    if (!isUp) server.downSinceMs = context.nowMs;
    const event = isUp ? "up" : "down";
    context.tellMore({ type: "server", event, server: id });
    context.log({ type: isUp ? "peer_up" : "peer_down", from: id });
    context.report("info", `Server ${id} is ${event}`);
    if (isUp) this.#parts.cameUp(server);
  }
}

/** @throws {WireError} There would be no number above it. */
function checkBelow(number: number): void {
  if (number < GENERATION_MAX) return;
  throw new WireError(
    "invalid-message",
    `Cannot go above generation or version ${number}: it is the highest there is`,
  );
}

/**
 * The higher version counts, then the higher id: a last-writer-wins register.
 * A server that was started anew may have used a version twice: then the names
 * decide, so that all decide alike.
 */
function isLater(a: TopologyChoice, b: TopologyChoice): boolean {
  if (a.version !== b.version) return a.version > b.version;
  return a.by === b.by ? a.topology > b.topology : a.by > b.by;
}
