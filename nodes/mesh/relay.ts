/** Events on their way: numbered, pushed on, delivered in order, each once. */

import { WireError } from "../../protocol/errors.ts";
import type { NodeId } from "../../protocol/ids.ts";
import {
  HOPS_MAX,
  type MeshEvent,
  type MeshEventBody,
  type PeerMessage,
  type RelayedEvent,
} from "../../protocol/mesh_peer.ts";
import type { MeshContext } from "./context.ts";
import type { KnownServer, KnownServers } from "./known_servers.ts";
import { OwnEvent } from "./own_event.ts";
import type { PeerLink } from "./peer_link.ts";
import type { Routes } from "./routes.ts";

/** What the relay asks of the core around it. */
export interface RelayParts {
  readonly context: MeshContext;
  readonly servers: KnownServers;
  links(): Iterable<PeerLink>;
  routes(): Routes;
  /** An event's turn has come, at its origin too. */
  deliver(server: KnownServer, relayed: RelayedEvent): void;
  /** Somebody has events of this server's own that it never gave. */
  strayed(event: { generation: number; n: number }): void;
}

export class Relay {
  readonly #parts: RelayParts;
  readonly #ownVia: readonly NodeId[];
  #eager: readonly PeerLink[] = [];

  constructor(parts: RelayParts) {
    this.#parts = parts;
    this.#ownVia = [parts.context.options.id];
  }

  /** To be called when links or routes have changed. */
  reroute(): void {
    const { context, links, routes } = this.#parts;
    const eager = routes().eagerOf(context.options.id);
    this.#eager = [...links()].filter(({ isGreeted, peer }) =>
      isGreeted && eager.has(peer)
    );
  }

  /** Numbers an event of this server, delivers it here and pushes it. */
  publish(body: MeshEventBody): MeshEvent {
    const { context, servers } = this.#parts;
    const { stream } = servers.self;
    const isMessage = body.kind === "msg" || body.kind === "dm";
    const event: MeshEvent = {
      origin: stream.origin,
      n: stream.n + 1,
      messages: stream.messages + (isMessage ? 1 : 0),
      time: context.timeMs,
      body,
    };
    const relayed = new OwnEvent(this.#ownVia, event);
    this.#advance(servers.self, relayed);
    if (this.#eager.length > 0) {
      // One message for all links: the host encodes it once.
      const message: PeerMessage = { kind: "events", events: [relayed] };
      for (const { link } of this.#eager) {
        context.effects.push({ kind: "send", link, message });
      }
    }
    return event;
  }

  /**
   * Takes events from a peer; what is new goes on.
   *
   * @throws {WireError} The peer is not who it says it got them through.
   */
  receive(from: PeerLink, events: readonly RelayedEvent[]): void {
    const fresh: RelayedEvent[] = [];
    for (const relayed of events) {
      if (this.#take(from, relayed)) fresh.push(relayed);
    }
    if (fresh.length > 0) this.#pushOn(from, fresh);
  }

  /** Delivers what came early and has its turn now. */
  drain(server: KnownServer): void {
    const { stream } = server;
    if (stream.early.count === 0) return;
    let next = stream.early.take(stream.n + 1);
    while (next !== undefined) {
      this.#advance(server, next);
      // An event may begin a new life of its stream: then this one is over.
      next = server.stream === stream
        ? stream.early.take(stream.n + 1)
        : undefined;
    }
  }

  /** The way that an event will have gone when it leaves this server again. */
  viaFrom({ via, event }: RelayedEvent): readonly NodeId[] {
    const self = this.#ownVia[0];
    if (event.origin.id === self) return this.#ownVia;
    // Too long a way, or one through a former life of this server.
    if (isSpent(via, self)) return [event.origin.id, self];
    return [...via, self];
  }

  /** @returns Whether it is new here. */
  #take(from: PeerLink, relayed: RelayedEvent): boolean {
    const { context, servers } = this.#parts;
    const { event: { origin, n }, via } = relayed;
    if (via[0] !== origin.id || via[via.length - 1] !== from.peer) {
      throw new WireError(
        "invalid-message",
        `Cannot take event of "${origin.id}" from "${from.peer}": it came through "${
          via.join(",")
        }"`,
      );
    }
    if (origin.id === context.options.id) {
      context.counters.duplicates += 1;
      this.#parts.strayed({ generation: origin.generation, n });
      return false;
    }
    const server = servers.meet(origin, {
      nowMs: context.nowMs,
      isLinked: origin.id === from.peer,
    });
    if (server === undefined) return this.#isDuplicate();
    const { stream } = server;
    if (n === 1 && !stream.isMet) stream.isMet = true;
    if (!stream.isMet) {
      from.heard(origin, n);
      return stream.early.add(relayed) || this.#isDuplicate();
    }
    if (n <= stream.n) return this.#isDuplicate();
    if (n > stream.n + 1) {
      from.heard(origin, n);
      return stream.early.add(relayed) || this.#isDuplicate();
    }
    this.#advance(server, relayed);
    this.drain(server);
    return true;
  }

  #isDuplicate(): false {
    this.#parts.context.counters.duplicates += 1;
    return false;
  }

  #advance(server: KnownServer, relayed: RelayedEvent): void {
    const { stream } = server;
    stream.n = relayed.event.n;
    stream.messages = relayed.event.messages;
    stream.recent.push(relayed, this.#parts.context.nowMs);
    this.#parts.deliver(server, relayed);
  }

  /** Pushes to those to whom the sender does not push the same itself. */
  #pushOn(from: PeerLink, fresh: readonly RelayedEvent[]): void {
    const { context, routes } = this.#parts;
    const theirs = routes().eagerOf(from.peer);
    let onward: readonly RelayedEvent[] | undefined;
    for (const to of this.#eager) {
      if (to === from || theirs.has(to.peer)) continue;
      onward ??= this.#onward(fresh);
      const events = onward.filter(({ via }) => !via.includes(to.peer));
      if (events.length === 0) continue;
      context.emit({
        ...{ kind: "send", link: to.link },
        message: { kind: "events", events },
      });
    }
  }

  #onward(fresh: readonly RelayedEvent[]): RelayedEvent[] {
    const self = this.#ownVia[0];
    const onward: RelayedEvent[] = [];
    for (const { via, event, json } of fresh) {
      if (isSpent(via, self)) this.#parts.context.counters.loops += 1;
      else onward.push({ via: [...via, self], event, json });
    }
    return onward;
  }
}

/** Whether an event goes no further this way. */
function isSpent(via: readonly NodeId[], self: NodeId): boolean {
  return via.length >= HOPS_MAX || via.includes(self);
}
