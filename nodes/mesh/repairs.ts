/** What was lost on the way is asked for, and given to who asks. */

import type { LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import type { NodeId } from "../../protocol/ids.ts";
import type {
  Origin,
  PeerMessage,
  PresentUser,
  RelayedEvent,
} from "../../protocol/mesh_peer.ts";
import { relayedBytes } from "../../protocol/mesh_peer_codec.ts";
import type { MeshContext } from "./context.ts";
import type { KnownServer, KnownServers } from "./known_servers.ts";
import type { PeerLink, PresenceParts } from "./peer_link.ts";
import { USERS_PER_SERVER_MAX } from "./presence.ts";
import type { Relay } from "./relay.ts";
import { before, type OpenAsk, type Place, type Stream } from "./stream.ts";

/** Bytes of events in one answer; fits a frame, so that its end is seen. */
export const ANSWER_BYTES_MAX = 200_000;

/**
 * How long events that no neighbour has kept are waited for: their origin has
 * them, and may be linked again.
 */
export const LACK_WAIT_MS = 5_000;

/** Bytes of users in one part of a presence, by the longest they can be as JSON. */
const PART_BYTES_MAX = 200_000;

type Presence = Extract<PeerMessage, { kind: "presence" }>;

/** What the repairs ask of the core around them. */
export interface RepairParts {
  readonly context: MeshContext;
  readonly servers: KnownServers;
  readonly relay: Relay;
  links(): Iterable<PeerLink>;
  /** Whether a link to it stands, greeted or not. */
  isLinked(peer: NodeId): boolean;
  /** Who is present at a server was replaced. */
  replaced(server: KnownServer): void;
  /** So many messages of a server, 1 or more, are in nobody's memory. */
  missed(server: KnownServer, count: number): void;
}

export class Repairs {
  readonly #parts: RepairParts;

  constructor(parts: RepairParts) {
    this.#parts = parts;
  }

  /**
   * Asks for what some neighbour had a beat ago and has not come since: what
   * was sent then has had its time.
   */
  beat(): void {
    for (const server of this.#parts.servers) {
      if (server === this.#parts.servers.self) continue;
      const { stream } = server;
      this.#expire(stream);
      if (!stream.isMet || stream.n < stream.wantedN) this.#ask(stream);
      stream.wantedN = this.#heardMax(stream);
    }
  }

  /** Asks at once: what is missing can not be on its way. */
  askNow(server: KnownServer): void {
    if (this.isBehind(server)) this.#ask(server.stream);
  }

  /** Whether somebody is known to have more of this server's events. */
  isBehind(server: KnownServer): boolean {
    if (server === this.#parts.servers.self) return false;
    const { stream } = server;
    return !stream.isMet || stream.ask !== undefined ||
      this.#heardMax(stream) > stream.n;
  }

  /** Events came over a link: if they were asked for, the next ones are. */
  answered(from: PeerLink, events: readonly RelayedEvent[]): void {
    for (const { event: { origin, n } } of events) {
      const server = this.#parts.servers.inLife(origin);
      if (server === undefined) continue;
      if (!server.stream.isMet) this.askNow(server);
      const { ask } = server.stream;
      if (ask === undefined) continue;
      if (ask.link !== from.link || ask.after === undefined) continue;
      if (n !== ask.after + 1) continue;
      server.stream.ask = undefined;
      server.stream.offers.clear();
      this.askNow(server);
    }
  }

  /** A link is gone, and with it what was asked over it. */
  linkDown(link: PeerLink): void {
    for (const server of this.#parts.servers) {
      const { stream } = server;
      stream.offers.delete(link.link);
      if (stream.ask?.link !== link.link) continue;
      stream.ask = undefined;
      this.askNow(server);
    }
  }

  // Asking

  #heardMax({ origin }: Stream): number {
    let max = 0;
    for (const link of this.#parts.links()) {
      max = Math.max(max, link.heardOf(origin) ?? 0);
    }
    return max;
  }

  /** Another neighbour is asked when one does not answer. */
  #expire(stream: Stream): void {
    const { ask } = stream;
    if (ask === undefined || this.#parts.context.nowMs < ask.untilMs) return;
    stream.ask = undefined;
    if (stream.isMet && this.#heardMax(stream) <= stream.n) return;
    this.#ask(stream, ask.link);
  }

  #ask(stream: Stream, notOver?: LinkId): void {
    if (stream.ask !== undefined) return;
    const { origin } = stream;
    let best: PeerLink | undefined;
    // Anybody before who did not answer, the origin itself before others.
    const rank = ({ link, peer }: PeerLink) =>
      link === notOver ? 1 : peer === origin.id ? 3 : 2;
    const able = this.#awaitsOrigin(stream)
      ? this.#able(stream).filter(({ peer }) => peer === origin.id)
      : this.#able(stream);
    for (const link of able) {
      if ((stream.offers.get(link.link) ?? 0) > stream.n) continue;
      if (best === undefined || rank(link) > rank(best)) best = link;
    }
    if (best !== undefined) return this.#askOver(best, stream, false);
    // Nobody has all: who lacks least.
    const lack = ({ link }: PeerLink) => stream.offers.get(link) ?? Infinity;
    for (const link of able) {
      if (best === undefined || lack(link) < lack(best)) best = link;
    }
    if (best !== undefined) this.#askOver(best, stream, true);
  }

  /** Neighbours that have more of it, or know at least who is present. */
  #able({ origin, isMet, n }: Stream): PeerLink[] {
    const able: PeerLink[] = [];
    for (const link of this.#parts.links()) {
      const heard = link.heardOf(origin);
      if (heard !== undefined && (!isMet || heard > n)) able.push(link);
    }
    return able;
  }

  /**
   * Whether a server that is met for the first time is to be asked itself: what
   * it has pushed here is then before its answer, or numbered above it. Another
   * may be ahead of what is on its way. It has askMs for it.
   */
  #awaitsOrigin(stream: Stream): boolean {
    const { isMet, origin } = stream;
    if (isMet || !this.#parts.isLinked(origin.id)) return false;
    const { nowMs, options } = this.#parts.context;
    stream.originUntilMs ??= nowMs + options.timing.askMs;
    return nowMs < stream.originUntilMs;
  }

  #askOver(best: PeerLink, stream: Stream, isFinal: boolean): void {
    const { context } = this.#parts;
    const { origin } = stream;
    const after = stream.isMet ? stream.n : undefined;
    stream.ask = {
      ...{ link: best.link, after, isFinal },
      untilMs: context.nowMs + context.options.timing.askMs,
    };
    context.emit({
      ...{ kind: "send", link: best.link },
      message: {
        ...{ kind: "ask", origin },
        ...after !== undefined && { after },
      },
    });
  }

  // Answering

  /** Answers a question as well as it can; who hears nothing asks another. */
  answer(to: PeerLink, { id, generation }: Origin, after?: number): void {
    const { context, servers } = this.#parts;
    const server = servers.inLife({ id, generation });
    if (server === undefined || !server.stream.isMet) return;
    const { stream } = server;
    const { n: last, messages: all } = stream;
    const now = { after, n: last, messages: all };
    if (after === undefined) return this.#sendPresence(to, stream, now);
    if (after >= last) return;
    stream.recent.age(context.nowMs);
    const { oldest } = stream.recent;
    if (oldest === undefined) return this.#sendPresence(to, stream, now);
    if (oldest.event.n > after + 1) {
      return this.#sendPresence(to, stream, { after, ...before(oldest) });
    }
    this.#sendEvents(to, stream, after + 1);
  }

  #sendEvents(to: PeerLink, stream: Stream, from: number): void {
    const { context, relay } = this.#parts;
    const events: RelayedEvent[] = [];
    let bytes = 0;
    for (const relayed of stream.recent.from(from)) {
      const { event, json } = relayed;
      const again = { via: relay.viaFrom(relayed), event, json };
      bytes += relayedBytes(again);
      if (events.length > 0 && bytes > ANSWER_BYTES_MAX) break;
      events.push(again);
    }
    context.counters.resent += events.length;
    const message: PeerMessage = { kind: "events", events };
    context.emit({ kind: "send", link: to.link, message });
  }

  /** Who is present now, in as many parts as it takes. */
  #sendPresence(
    to: PeerLink,
    stream: Stream,
    { after, n, messages }: Place & { after: number | undefined },
  ): void {
    const { context } = this.#parts;
    const { origin } = stream;
    let users: PresentUser[] = [];
    let bytes = 0;
    let isFirst = true;
    const send = (isLast: boolean) => {
      context.emit({
        ...{ kind: "send", link: to.link },
        message: {
          ...{ kind: "presence", origin, n, messages, users },
          ...{ isFirst, isLast },
          ...after !== undefined && { after },
        },
      });
      isFirst = false;
    };
    for (const user of stream.presence.users()) {
      const userBytes = jsonBytes(user);
      if (users.length > 0 && bytes + userBytes > PART_BYTES_MAX) {
        send(false);
        users = [];
        bytes = 0;
      }
      users.push(user);
      bytes += userBytes;
    }
    send(true);
  }

  // Presence from others

  /**
   * Takes a part of who is present somewhere; with the last one it counts.
   *
   * @throws {WireError} The parts are not of one.
   */
  takePresence(from: PeerLink, message: Presence): void {
    const { origin, n, messages, users, isFirst, isLast } = message;
    if (isFirst !== (from.presence === undefined)) throw notOfOne(from);
    const parts = from.presence ?? { origin, n, messages, users: [] };
    const isSame = parts.origin.id === origin.id &&
      parts.origin.generation === origin.generation && parts.n === n;
    if (!isSame) throw notOfOne(from);
    if (parts.users.length + users.length > USERS_PER_SERVER_MAX) {
      throw new WireError(
        "too-large",
        `Cannot take presence of "${origin.id}": it has more than ${USERS_PER_SERVER_MAX} users`,
      );
    }
    for (const user of users) parts.users.push(user);
    from.presence = isLast ? undefined : parts;
    const server = this.#parts.servers.inLife(origin);
    if (server === undefined || server === this.#parts.servers.self) return;
    const { ask } = server.stream;
    // What answers an earlier question may be older than what is known.
    if (ask?.link !== from.link || ask.after !== message.after) return;
    if (!isLast) {
      // As long as parts come the answer is under way.
      const { context } = this.#parts;
      const untilMs = context.nowMs + context.options.timing.askMs;
      server.stream.ask = { ...ask, untilMs };
      return;
    }
    server.stream.ask = undefined;
    from.heard(origin, n);
    if (this.#mayReplace(server.stream, parts, { from, ask })) {
      server.stream.offers.clear();
      this.#replace(server, parts);
    }
    this.askNow(server);
  }

  /** Whether what an answer says is taken in place of events that are gone. */
  #mayReplace(
    stream: Stream,
    { n }: PresenceParts,
    { from, ask }: { from: PeerLink; ask: OpenAsk },
  ): boolean {
    if (!stream.isMet) {
      return from.peer === stream.origin.id || !this.#awaitsOrigin(stream);
    }
    // It was met at its first event meanwhile: then none is missed.
    if (ask.after === undefined) return false;
    if (ask.after !== stream.n) {
      // Others brought some meanwhile; they may bring the rest.
      stream.offers.clear();
      return false;
    }
    const { origin, offers } = stream;
    const { nowMs, options } = this.#parts.context;
    if (offers.size === 0) stream.offeredMs = nowMs;
    offers.set(from.link, n);
    // Nobody has more of its events than the origin.
    if (from.peer === origin.id) return true;
    const able = this.#able(stream);
    if (!able.every(({ link }) => offers.has(link))) return false;
    const isLeast = n <= Math.min(...offers.values());
    if (!ask.isFinal && !isLeast) return false;
    const isOver = nowMs - stream.offeredMs >= LACK_WAIT_MS;
    if (isOver && !this.#parts.isLinked(origin.id)) return true;
    // The same question again, but not at once.
    stream.ask = { ...ask, untilMs: nowMs + options.timing.askMs };
    return false;
  }

  /**
   * Who is present is taken over; the stream goes on after number `n`. What
   * came ahead of its turn and is held here is not lost with what is gone.
   */
  #replace(server: KnownServer, { n, messages, users }: PresenceParts): void {
    const { relay, replaced } = this.#parts;
    const { stream } = server;
    const { early } = stream;
    if (stream.isMet && n <= stream.n) return;
    if (stream.isMet) {
      // Between the gaps: before who is present, since not all that happened
      // up to now is told over it.
      const end = early.runTo(n)?.event.n ?? n + 1;
      for (;;) {
        const { lowest } = early;
        if (lowest === undefined || lowest.event.n >= end) break;
        this.#skip(server, before(lowest));
        relay.drain(server);
        if (server.stream !== stream) return;
      }
      const first = early.runTo(n);
      this.#skip(server, first === undefined ? { n, messages } : before(first));
    } else {
      // What others sent since they know of this server is not missed: it
      // begins with the first of that, and what lacks there is asked for.
      const { lowest } = early;
      const isFirst = lowest !== undefined && lowest.event.n <= n;
      const from = isFirst ? before(lowest) : { n, messages };
      stream.beginAfter(from);
    }
    stream.presence.replace(users);
    replaced(server);
    relay.drain(server);
  }

  /** Goes on after number `n`: what is up to there is in nobody's memory. */
  #skip(
    server: KnownServer,
    { n, messages }: Place,
  ): void {
    const { stream } = server;
    if (n <= stream.n) return;
    const missed = messages - stream.messages;
    stream.n = n;
    stream.messages = messages;
    stream.recent.clear();
    if (missed > 0) this.#parts.missed(server, missed);
  }
}

function notOfOne({ peer }: PeerLink): WireError {
  return new WireError(
    "invalid-message",
    `Cannot take presence from "${peer}": its parts do not belong together`,
  );
}

/** An upper bound: a UTF-16 unit is at most 6 bytes of JSON. */
function jsonBytes({ name, rooms }: PresentUser): number {
  let bytes = 64 + 6 * name.length;
  for (const room of rooms) bytes += 6 * room.length + 3;
  return bytes;
}
