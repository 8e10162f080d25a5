/** All servers that one of them has heard of, itself included, each in its latest life. */

import type { NodeId } from "../../protocol/ids.ts";
import {
  type Generation,
  MESH_SERVERS_MAX,
  type Origin,
  type ServerState,
} from "../../protocol/mesh_peer.ts";
import type { RecentBounds } from "./contract.ts";
import { Stream } from "./stream.ts";

/** How long a server that cannot be reached is remembered, with its recent events. */
export const SERVER_KEPT_MS = 3_600_000;

export class KnownServer {
  readonly id: NodeId;
  generation: Generation;
  /** Of this generation; undefined until the first one has come. */
  state: ServerState | undefined;
  stream: Stream;
  /** Whether a way of links leads there. */
  isUp = false;
  /** Monotonic: since when it is not up. */
  downSinceMs: number;

  constructor(stream: Stream, nowMs: number) {
    this.id = stream.origin.id;
    this.generation = stream.origin.generation;
    this.stream = stream;
    this.downSinceMs = nowMs;
  }
}

export class KnownServers {
  readonly self: KnownServer;
  readonly #servers = new Map<NodeId, KnownServer>();
  readonly #recent: RecentBounds;

  constructor(self: Origin, recent: RecentBounds) {
    this.#recent = recent;
    this.self = new KnownServer(new Stream(self, { isMet: true, recent }), 0);
    this.self.isUp = true;
    this.#servers.set(self.id, this.self);
  }

  [Symbol.iterator](): IterableIterator<KnownServer> {
    return this.#servers.values();
  }

  get count(): number {
    return this.#servers.size;
  }

  get(id: NodeId): KnownServer | undefined {
    return this.#servers.get(id);
  }

  /** The server in this very life, or undefined. */
  inLife({ id, generation }: Origin): KnownServer | undefined {
    const server = this.#servers.get(id);
    return server?.generation === generation ? server : undefined;
  }

  /**
   * The server in this life, which begins if it is the latest heard of.
   *
   * @param nowMs Monotonic.
   * @param isLinked Whether it is at the other end of a link: then it is taken
   *   in place of one that was not reached for longest.
   * @returns undefined for an earlier life, and for a server beyond the bound.
   */
  meet(
    { id, generation }: Origin,
    { nowMs, isLinked }: { nowMs: number; isLinked: boolean },
  ): KnownServer | undefined {
    const server = this.#servers.get(id);
    if (server === undefined) {
      if (this.#servers.size >= MESH_SERVERS_MAX) {
        if (!isLinked || !this.#forgetOne()) return undefined;
      }
      const stream = this.#newStream({ id, generation }, false);
      const met = new KnownServer(stream, nowMs);
      this.#servers.set(id, met);
      return met;
    }
    if (generation < server.generation) return undefined;
    if (generation > server.generation) this.beginLife(server, generation);
    return server;
  }

  /**
   * Forgets what belongs to an earlier life. Who followed that one follows
   * this from its first event on.
   */
  beginLife(server: KnownServer, generation: Generation): void {
    const { id } = server;
    server.generation = generation;
    server.state = undefined;
    server.stream = this.#newStream({ id, generation }, server.stream.isMet);
  }

  /** Forgets who was not reached for {@linkcode SERVER_KEPT_MS}; returns whether there was any. */
  forgetOld(nowMs: number): boolean {
    let isAny = false;
    for (const server of this.#servers.values()) {
      if (server.isUp || nowMs - server.downSinceMs < SERVER_KEPT_MS) continue;
      this.#servers.delete(server.id);
      isAny = true;
    }
    return isAny;
  }

  #newStream(origin: Origin, isMet: boolean): Stream {
    return new Stream(origin, { isMet, recent: this.#recent });
  }

  #forgetOne(): boolean {
    let oldest: KnownServer | undefined;
    for (const server of this.#servers.values()) {
      if (server.isUp) continue;
      if (oldest === undefined || server.downSinceMs < oldest.downSinceMs) {
        oldest = server;
      }
    }
    return oldest !== undefined && this.#servers.delete(oldest.id);
  }
}
