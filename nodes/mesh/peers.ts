/** Links to the other servers: dials them, takes those that dial, reads and writes. */

import { type Address, formatAddress } from "../../protocol/address.ts";
import type { LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import { PeerError } from "../../protocol/handshake.ts";
import type { NodeId } from "../../protocol/ids.ts";
import {
  MESH_SERVERS_MAX,
  type PeerMessage,
} from "../../protocol/mesh_peer.ts";
import {
  decodePeerMessage,
  encodePeerMessage,
} from "../../protocol/mesh_peer_codec.ts";
import { FrameLink } from "../host/frame_link.ts";
import { backoffMs, dial, type Greeting, type OpenLink } from "../host/link.ts";
import type { Log } from "../host/log.ts";
import { SeldomLog } from "../host/seldom_log.ts";
import type { MeshInput } from "./contract.ts";

/** Messages are dropped above it, since they can be asked for again; nothing else is. */
export const EVENTS_QUEUE_BYTES_MAX = 1_048_576;

/** With so much else waiting the peer does not read at all: the link is given up. */
const QUEUE_BYTES_MAX = 8_388_608;

/** Longest wait between two attempts to reach a server, at first and after a minute. */
const DIAL_WAIT_MS_MAX = 1_000;
const LATER_DIAL_WAIT_MS_MAX = 5_000;
const LATER_MS = 60_000;

/** How long a connection, and a handshake, may take. */
const HANDSHAKE_WAIT_MS = 2_000;

/** How long the side with the higher id lets the other one dial first. */
const DIAL_SECOND_MS = 250;

/** A link that lasted so long was a good one: the next attempt is a first one. */
const LASTING_MS = 1_000;

/** Who refuses this server, or is refused, is not asked again at once. */
const REFUSED_WAIT_MS = 1_000;

/** A found server that is not heard of for so long, and not linked, is dialled no more. */
const UNHEARD_MS_MAX = 60_000;

/** Links at once: two to each server while one takes the other's place. */
const LINKS_MAX = 2 * MESH_SERVERS_MAX;

/** Somebody to be dialled. */
interface Target {
  readonly id: NodeId;
  address: Address;
  /** By configuration: never forgotten. */
  readonly isConfigured: boolean;
  heardMs: number;
  attempts: number;
  linkedSinceMs: number;
  /** Since when there is no link. */
  missingSinceMs: number;
  timer: ReturnType<typeof setTimeout> | undefined;
  dialing: AbortController | undefined;
  /** It is this very process, or its namesake. */
  isSelf: boolean;
  problem: string;
}

interface Standing {
  readonly link: FrameLink;
  readonly onClosed: (() => void) | undefined;
}

/** What one server is to this one, for its operator. */
export interface PeerState {
  readonly id: NodeId;
  readonly address: string;
  readonly linked: boolean;
  /** Why not. */
  readonly problem?: string;
}

/** What links need of the server that they serve. */
export interface PeersOptions {
  readonly greeting: Greeting;
  /** A peer that is silent for so long is gone. */
  readonly silentMsMax: number;
  readonly log: Log;
  /** Steps the core; what it wants of links comes back within the call. */
  input(input: MeshInput): void;
}

/** All links to other servers. */
export class Peers {
  #dropped = 0;
  /** Of links that are over. */
  readonly #past = { sent: 0, received: 0 };
  readonly #options: PeersOptions;
  readonly #self: Greeting["self"];
  readonly #said: SeldomLog;
  readonly #targets = new Map<NodeId, Target>();
  readonly #links = new Map<LinkId, Standing>();
  #nextLink = 1;
  /** The message encoded last, and its frames: most go to several links. */
  #encoded: { message: PeerMessage; frames: readonly Uint8Array[] } | undefined;
  #isStopping = false;

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#self = options.greeting.self;
    this.#said = new SeldomLog(options.log);
  }

  /**
   * Dials a server from now on, as long as there is no link to it.
   *
   * @returns False if there are too many others, or it is this one.
   */
  meet(
    peer: {
      readonly id: NodeId;
      readonly address: Address;
      readonly isConfigured: boolean;
    },
  ): boolean {
    const { id, address, isConfigured } = peer;
    if (id === this.#self.id || this.#isStopping) return false;
    const nowMs = performance.now();
    const known = this.#targets.get(id);
    if (known !== undefined) {
      known.heardMs = nowMs;
      if (!known.isConfigured) this.#move(known, address);
      return true;
    }
    if (this.#targets.size >= MESH_SERVERS_MAX) {
      this.#said.say("warn", "too many", {
        message:
          `Dials ${MESH_SERVERS_MAX} servers, which is its limit: others must dial this one`,
      });
      return false;
    }
    const target: Target = {
      ...{ id, address, isConfigured, heardMs: nowMs },
      ...{ attempts: 0, linkedSinceMs: nowMs },
      ...{ missingSinceMs: nowMs, timer: undefined, dialing: undefined },
      ...{ isSelf: false, problem: "not reached yet" },
    };
    this.#targets.set(id, target);
    this.#tend(target, this.#self.id < id ? 0 : DIAL_SECOND_MS);
    return true;
  }

  /** Takes a link that another server has dialled. */
  accept(open: OpenLink, onClosed: () => void): void {
    this.#take(open, { isDialed: false, onClosed });
  }

  /** Sends a message, unless it can be asked for again and too much waits. */
  send(id: LinkId, message: PeerMessage): void {
    const standing = this.#links.get(id);
    if (standing === undefined) return;
    const { link } = standing;
    if (
      message.kind === "events" && link.queuedBytes > EVENTS_QUEUE_BYTES_MAX
    ) {
      this.#dropped += message.events.length;
      this.#said.say("info", `slow ${link.peer.id}`, {
        message:
          `Server ${link.peer.id} is slow to take messages: it gets the rest when it asks for it`,
      });
      return;
    }
    for (const frame of this.#framesOf(message)) link.send(frame);
  }

  /** Ends a link on the core's behalf; nothing more is put in for it. */
  close(id: LinkId, error?: WireError): void {
    const standing = this.#drop(id);
    if (standing === undefined) return;
    const { link } = standing;
    void link.close(error);
    this.#missing(
      link.peer.id,
      error ?? new WireError("link-lost", "ended by this server"),
    );
  }

  /** Servers to be dialled and servers that have dialled, by id. */
  get states(): readonly PeerState[] {
    const states = new Map<NodeId, PeerState>();
    for (const { id, address, isSelf, problem } of this.#targets.values()) {
      if (isSelf) continue;
      const linked = this.isLinked(id);
      states.set(id, {
        ...{ id, address: formatAddress(address), linked },
        ...!linked && { problem },
      });
    }
    for (const { link } of this.#links.values()) {
      const { id } = link.peer;
      if (states.has(id)) continue;
      states.set(id, { id, address: link.label, linked: true });
    }
    return [...states.values()].sort((a, b) => a.id < b.id ? -1 : 1);
  }

  /** Events that were not sent, and bytes of frames. */
  get counters() {
    let { sent: sentBytes, received: receivedBytes } = this.#past;
    for (const { link: { bytes } } of this.#links.values()) {
      sentBytes += bytes.sent;
      receivedBytes += bytes.received;
    }
    return { dropped: this.#dropped, sentBytes, receivedBytes };
  }

  /** Whether any link to that server stands. */
  isLinked(id: NodeId): boolean {
    for (const { link } of this.#links.values()) {
      if (link.peer.id === id) return true;
    }
    return false;
  }

  /** Bytes that wait on all links. */
  get queuedBytes(): number {
    let bytes = 0;
    for (const { link } of this.#links.values()) bytes += link.queuedBytes;
    return bytes;
  }

  get linkCount(): number {
    return this.#links.size;
  }

  /** Dials no more, says why to all, and closes; at most two seconds. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const { timer, dialing } of this.#targets.values()) {
      clearTimeout(timer);
      dialing?.abort();
    }
    const error = new WireError("shutting-down", "This server is stopping");
    await Promise.all(
      [...this.#links.keys()].map((id) => this.#drop(id)?.link.close(error)),
    );
  }

  // Links

  #take(
    open: OpenLink,
    how: { readonly isDialed: boolean; readonly onClosed?: () => void },
  ): void {
    const { peer } = open;
    const link = new FrameLink(open, QUEUE_BYTES_MAX);
    const refusal = this.#whyNot(peer);
    if (refusal !== undefined) {
      if (peer.incarnation !== this.#self.incarnation) {
        this.#said.say("warn", `refused ${peer.id}`, {
          message: `Refused a server: ${refusal.message}`,
          fields: { code: refusal.code, address: link.label },
        });
      }
      void link.close(refusal);
      how.onClosed?.();
      return;
    }
    const id = this.#nextLink++;
    this.#links.set(id, { link, onClosed: how.onClosed });
    const target = this.#targets.get(peer.id);
    if (target !== undefined) {
      clearTimeout(target.timer);
      target.timer = undefined;
      target.heardMs = performance.now();
      target.linkedSinceMs = performance.now();
    }
    this.#said.forget(peer.id);
    this.#said.forget(`lost ${peer.id}`);
    void this.#serve(id, link);
    this.#options.input({
      kind: "link-up",
      ...{ link: id, peer: peer.id, incarnation: peer.incarnation },
      ...{ isDialed: how.isDialed, timeMs: Date.now() },
    });
  }

  #whyNot(peer: Greeting["self"]): WireError | undefined {
    if (this.#isStopping) {
      return new WireError("shutting-down", "This server is stopping");
    }
    if (peer.id === this.#self.id) {
      return new WireError(
        "id-taken",
        peer.incarnation === this.#self.incarnation
          ? "This is the very same server"
          : `This server is called "${peer.id}" as well: give each its own id`,
      );
    }
    if (this.#links.size < LINKS_MAX) return undefined;
    return new WireError(
      "busy",
      `This server has ${LINKS_MAX} links to others, which is its limit`,
    );
  }

  /** Reads until the link ends. */
  async #serve(id: LinkId, link: FrameLink): Promise<void> {
    try {
      for (;;) {
        const frames = await link.read();
        for (const { kind, payload } of frames) {
          if (!this.#links.has(id)) return;
          const message = decodePeerMessage(kind, payload);
          const timeMs = Date.now();
          this.#options.input({ kind: "peer", link: id, message, timeMs });
        }
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      if (this.#drop(id) === undefined) return;
      void link.close(error);
      this.#sayLost(link, error);
      const reason = error.message;
      this.#options.input({
        ...{ kind: "link-down", link: id, reason, timeMs: Date.now() },
      });
      this.#missing(link.peer.id, error);
    }
  }

  #sayLost(link: FrameLink, error: WireError): void {
    const { id } = link.peer;
    const isTheirs = error instanceof PeerError;
    const isMistake = error.outcome === "definite";
    this.#said.say(isMistake ? "warn" : "info", `lost ${id}`, {
      message: isTheirs
        ? `Server ${id} has ended the link: ${error.message}`
        : isMistake
        ? `Ended the link with server ${id}: ${error.message}`
        : `Lost the link with server ${id}: ${error.message}`,
      fields: { code: error.code, address: link.label },
    });
  }

  #drop(id: LinkId): Standing | undefined {
    const standing = this.#links.get(id);
    if (standing === undefined) return undefined;
    this.#links.delete(id);
    this.#past.sent += standing.link.bytes.sent;
    this.#past.received += standing.link.bytes.received;
    standing.onClosed?.();
    return standing;
  }

  #framesOf(message: PeerMessage): readonly Uint8Array[] {
    if (this.#encoded?.message !== message) {
      this.#encoded = { message, frames: encodePeerMessage(message) };
    }
    return this.#encoded.frames;
  }

  // Dialling

  #move(target: Target, address: Address): void {
    if (formatAddress(target.address) === formatAddress(address)) return;
    target.address = address;
    // Whoever is said to be elsewhere now may be another one after all.
    if (!target.isSelf) return;
    target.isSelf = false;
    this.#tend(target, 0);
  }

  #missing(id: NodeId, error: WireError): void {
    const target = this.#targets.get(id);
    if (target === undefined || this.isLinked(id)) return;
    const nowMs = performance.now();
    target.problem = error.message;
    target.missingSinceMs = nowMs;
    if (nowMs - target.linkedSinceMs >= LASTING_MS) target.attempts = 0;
    const isRefused = error.outcome === "definite";
    const isFirst = this.#self.id < id;
    this.#tend(
      target,
      isRefused ? REFUSED_WAIT_MS : isFirst ? 0 : DIAL_SECOND_MS,
    );
  }

  /** Sees to it that the target is dialled, after a wait. */
  #tend(target: Target, leastMs: number): void {
    const { dialing, timer, isSelf } = target;
    if (this.#isStopping || isSelf || dialing !== undefined) return;
    if (timer !== undefined || this.isLinked(target.id)) return;
    const nowMs = performance.now();
    const isLater = nowMs - target.missingSinceMs >= LATER_MS;
    const waitMs = backoffMs(
      target.attempts,
      Math.random(),
      isLater ? LATER_DIAL_WAIT_MS_MAX : DIAL_WAIT_MS_MAX,
    );
    target.attempts += 1;
    target.timer = setTimeout(() => {
      target.timer = undefined;
      void this.#dial(target);
    }, Math.max(leastMs, waitMs));
  }

  async #dial(target: Target): Promise<void> {
    const { id, address } = target;
    if (this.#isStopping || this.isLinked(id)) return;
    if (this.#isForgotten(target)) return;
    target.dialing = new AbortController();
    try {
      const open = await dial(address, this.#options.greeting, {
        silentMsMax: this.#options.silentMsMax,
        waitMs: HANDSHAKE_WAIT_MS,
        signal: target.dialing.signal,
      });
      this.#dialed(target, open);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#failed(target, error);
    } finally {
      target.dialing = undefined;
    }
    this.#tend(target, 0);
  }

  #dialed(target: Target, open: OpenLink): void {
    const { peer } = open;
    if (peer.id === target.id) return this.#take(open, { isDialed: true });
    const where = formatAddress(target.address);
    const isSelf = peer.incarnation === this.#self.incarnation;
    const text = isSelf
      ? `Server ${target.id} is said to be at ${where}, which is this server itself`
      : `Server ${target.id} is said to be at ${where}, but "${peer.id}" is there`;
    const error = new WireError("wrong-node", text);
    void new FrameLink(open).close(error);
    if (isSelf) {
      target.isSelf = true;
      this.#options.log.info(text);
    } else this.#failed(target, error);
  }

  #failed(target: Target, error: WireError): void {
    if (this.#isStopping || this.isLinked(target.id)) return;
    const { id, address } = target;
    target.problem = error.message;
    const isOther = error.code === "wrong-node" &&
      !(error instanceof PeerError);
    const message = isOther
      ? error.message
      : error instanceof PeerError
      ? `Server ${id} refuses this one: ${error.message}`
      : `Cannot reach server ${id} at ${
        formatAddress(address)
      }: ${error.message}`;
    this.#said.say(error.outcome === "definite" ? "warn" : "info", id, {
      message,
      fields: { code: error.code },
    });
  }

  /** Whoever was found once, and went, is not dialled for ever. */
  #isForgotten(target: Target): boolean {
    const { id, isConfigured, heardMs } = target;
    if (isConfigured || performance.now() - heardMs < UNHEARD_MS_MAX) {
      return false;
    }
    return this.#targets.delete(id);
  }
}
