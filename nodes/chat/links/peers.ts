/** Links between the nodes of a group: one for each pair, kept as long as both live. */

import {
  type Address,
  formatAddress,
  isWildcardHost,
  parseAddress,
} from "../../../protocol/address.ts";
import type { StoreId } from "../../../protocol/epoch.ts";
import { WireError } from "../../../protocol/errors.ts";
import { FRAME, type Frame } from "../../../protocol/frame.ts";
import { type Identity, PeerError } from "../../../protocol/handshake.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import type {
  ReplicaHello,
  ReplicaMessage,
} from "../../../protocol/replica.ts";
import {
  decodeReplicaMessage,
  encodeReplicaMessage,
} from "../../../protocol/replica_codec.ts";
import {
  encodeReplicaHello,
  readReplicaHello,
} from "../../../protocol/replica_talk.ts";
import { type NodeKind, NODES_MAX } from "../../../protocol/view.ts";
import { dial, type Greeting, type OpenLink } from "../../host/link.ts";
import { Listener } from "../../host/listener.ts";
import { answerDiscoverAsk } from "../../host/discovery/tcp_answer.ts";
import type { SayAdvert } from "../../host/discovery/tcp_answer.ts";
import type { Log } from "../../host/log.ts";
import type { ReplicaInput } from "../replica/contract.ts";
import { FrameLink, readFirst } from "../../host/frame_link.ts";
import {
  DEFAULT_PEER_WAITS,
  PeerDialer,
  type PeerWaits,
  StaleAttempt,
} from "./peer_dialer.ts";
import {
  checkEpochs,
  checkStranger,
  isKept,
  type Joined,
  otherProcess,
} from "./peer_checks.ts";
import { SeldomLog } from "../../host/seldom_log.ts";

/** Connections at once: a link to each node, those that replace one, and snapshots. */
const CONNECTIONS_MAX = 2 * NODES_MAX + 16;

/** A node that this one is told of. */
export interface PeerAddress {
  readonly id: NodeId;
  readonly kind: NodeKind;
  /** Of its replica port. */
  readonly address: Address;
}

/** What the links tell the core of a group's node. */
export type PeerInput = Extract<
  ReplicaInput,
  { kind: "peer-up" | "peer-down" | "peer-refused" | "message" }
>;

/** What makes the links of one node. */
export interface PeerLinksOptions {
  /** Its role is `chat` for a server. */
  readonly self: Identity;
  /** The cluster key. */
  readonly key?: Uint8Array;
  /** Where other nodes find this one; port 0 lets the system choose. */
  readonly listen: Address;
  /** The other nodes; this one is left out if it is among them. */
  readonly peers: readonly PeerAddress[];
  /** What this node says of itself; asked anew for each link. */
  hello(): ReplicaHello;
  /** How long a link may be silent. Suspicion is the core's; this is for dead links. */
  readonly silentMsMax: number;
  /** Bytes that may wait to be sent on one link; beyond it the link is given up. */
  readonly queueBytesMax?: number;
  readonly waits?: Partial<PeerWaits>;
  readonly log: Log;
  /** What happened, in order; never called from within a call of this node's own. */
  onInputs(inputs: readonly PeerInput[]): void;
  /**
   * A node of the group refuses this one since another process has its id or
   * its data directory; told again whenever it happens.
   */
  onIdTaken(text: string): void;
  /**
   * Serves a connection that asks for snapshots, to its end. Without it such
   * connections are refused.
   *
   * @param ask The first frame, a `snapshot-ask`.
   */
  serveSnapshots?(link: FrameLink, ask: Frame): Promise<void>;
  /** What this node says of itself to whoever asks over TCP. */
  readonly advert: SayAdvert;
  /** The store that a node had when it was last in the group, if that is known. */
  storeOf?(id: NodeId): StoreId | undefined;
  /** Counter of the highest epoch promised here; what is far above it is refused. */
  epochCounter?(): number;
}

/** How a node that this one knows is doing, for operators. */
export interface PeerState {
  readonly id: NodeId;
  readonly kind: NodeKind;
  /** Where it is dialed, or where it came from. */
  readonly address: string;
  readonly store: StoreId | undefined;
  readonly isLinked: boolean;
  /** Why there is no link, if so. */
  readonly problem: string | undefined;
}

/**
 * Keeps one link to every other node. The node with the lower id dials; the
 * other one does so only when nobody comes, as for a node that is not known
 * there yet. Nodes that are not in the list may come in.
 */
export class PeerLinks {
  /** Where it listens, with the port that the system chose. */
  readonly address: Address;
  /** Links that were lost, for metrics. */
  lost = 0;
  readonly #options: PeerLinksOptions;
  readonly #waits: PeerWaits;
  readonly #greeting: Greeting;
  readonly #listener: Listener;
  /** Those that this node was told of. */
  readonly #peers = new Map<NodeId, PeerAddress>();
  readonly #dialers = new Map<NodeId, PeerDialer>();
  readonly #joined = new Map<StoreId, Joined>();
  /** Connections that have not said what they want. */
  readonly #meeting = new Set<FrameLink>();
  readonly #unflushed = new Set<FrameLink>();
  readonly #seldom: SeldomLog;
  /** Where each node's data was when it was last linked; of those in the list. */
  readonly #stores = new Map<NodeId, StoreId>();
  #lastSent: { message: ReplicaMessage; bytes: Uint8Array } | undefined;
  #isClosed = false;

  /**
   * Listens and begins to dial.
   *
   * @throws {Error} The system's error, when the address cannot be used.
   */
  constructor(options: PeerLinksOptions) {
    this.#options = options;
    this.#waits = { ...DEFAULT_PEER_WAITS, ...options.waits };
    this.#seldom = new SeldomLog(options.log);
    const { self, key, log, silentMsMax } = options;
    const ids = new Set(options.peers.map(({ id }) => id));
    if (ids.size < options.peers.length) {
      throw new RangeError("A node id stands twice in the list of peers");
    }
    this.#greeting = {
      self,
      accepts: ["chat", "witness", "client"],
      ...(key !== undefined && { key }),
    };
    this.#listener = new Listener({
      listen: options.listen,
      greeting: this.#greeting,
      silentMsMax,
      lines: "none",
      connectionsMax: CONNECTIONS_MAX,
      log,
      onLink: (open) => void this.#admit(open),
      onLines: (link) => link.abort(),
    });
    this.address = this.#listener.address;
    for (const peer of options.peers) this.meet(peer);
  }

  /** Keeps a link to this node at this address; false where there is no room. */
  meet(peer: PeerAddress): boolean {
    const { id, address } = peer;
    if (this.#isClosed || id === this.#options.self.id) return false;
    const known = this.#peers.get(id);
    const isKnown = known?.kind === peer.kind &&
      formatAddress(known.address) === formatAddress(address);
    if (isKnown) return true;
    if (known === undefined && this.#peers.size >= NODES_MAX - 1) return false;
    this.#dialers.get(id)?.close();
    this.#peers.set(id, peer);
    this.#keep(peer);
    return true;
  }

  /** Dials this node no more; a link that stands is left alone. */
  forget(id: NodeId): void {
    this.#dialers.get(id)?.close();
    this.#dialers.delete(id);
    this.#peers.delete(id);
    this.#stores.delete(id);
  }

  /**
   * This node belongs to a group now: links to nodes of another one end, and
   * those to nodes that had none are made anew, so that both sides know.
   */
  regroup(group: StoreId): void {
    const inputs: PeerInput[] = [];
    for (const [store, { link, hello }] of this.#joined) {
      if (hello.group === group) continue;
      const reason = "this node belongs to a group now";
      this.#joined.delete(store);
      this.#unflushed.delete(link);
      void link.close(new WireError("other-group", reason));
      inputs.push({ kind: "peer-down", store, reason });
      this.#dialers.get(link.peer.id)?.again();
    }
    if (inputs.length > 0) this.#options.onInputs(inputs);
  }

  /**
   * A connection of its own to the node with this store, for bulk.
   *
   * @returns A link that belongs to the caller, who closes it.
   * @throws {WireError} `no-snapshot`: this node was never told where it is.
   * `wrong-node`: another process is there, or it is not linked. Or no link.
   */
  async connect(store: StoreId, signal: AbortSignal): Promise<FrameLink> {
    const address = this.addressOf(store);
    if (address === undefined) {
      throw new WireError("no-snapshot", `Nobody has told where ${store} is`);
    }
    const link = new FrameLink(await this.#dialTo(address, signal));
    const { incarnation } = this.#joined.get(store)?.peer ?? {};
    if (link.peer.incarnation === incarnation) return link;
    const error = otherProcess(link.peer, store);
    void link.close(error);
    throw error;
  }

  /** Connections refused before they had shown who they are, for metrics. */
  get refused(): number {
    return this.#listener.refused;
  }

  /**
   * Sends to the node with this store; without a link to it, nothing happens.
   * All that is sent in one turn leaves in one write, at the turn's end or at
   * {@linkcode flush}.
   *
   * @param message Not changed afterwards.
   */
  send(store: StoreId, message: ReplicaMessage): void {
    const joined = this.#joined.get(store);
    if (joined === undefined) return;
    // The same words often go to several nodes.
    if (this.#lastSent?.message !== message) {
      this.#lastSent = { message, bytes: encodeReplicaMessage(message) };
    }
    joined.link.send(this.#lastSent.bytes);
    this.#unflushed.add(joined.link);
  }

  /** Hands all that was sent to the system now; before a call that blocks. */
  flush(): void {
    this.#lastSent = undefined;
    for (const link of this.#unflushed) link.flush();
    this.#unflushed.clear();
  }

  /** Where clients find the node with this store, while it is linked. */
  clientAddressOf(store: StoreId): string | undefined {
    const joined = this.#joined.get(store);
    const address = joined?.hello.clientAddress;
    if (joined === undefined || address === undefined) return undefined;
    const { host, port } = parseAddress(address);
    // At every address of its machine: the one at which it is linked is one.
    return isWildcardHost(host)
      ? formatAddress({ host: parseAddress(joined.link.label).host, port })
      : address;
  }

  /** The replica address of the node with this store, if this one was told it. */
  addressOf(store: StoreId): Address | undefined {
    for (const { id, address } of this.#peers.values()) {
      if (this.#storeOf(id) === store) return address;
    }
    return undefined;
  }

  /** Every node that this one was told of or is linked to. */
  get states(): PeerState[] {
    const states: PeerState[] = [];
    for (const { id, kind, address } of this.#peers.values()) {
      const isLinked = this.#byId(id) !== undefined;
      states.push({
        id,
        kind,
        address: formatAddress(address),
        store: this.#storeOf(id),
        isLinked,
        problem: isLinked ? undefined : this.#dialers.get(id)?.problem,
      });
    }
    for (const { peer, hello, link } of this.#joined.values()) {
      if (this.#dialers.has(peer.id)) continue;
      states.push({
        id: peer.id,
        kind: hello.kind,
        address: link.label,
        store: hello.store,
        isLinked: true,
        problem: undefined,
      });
    }
    return states;
  }

  /** Ends all links, after what was sent; nothing is reported any more. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
    for (const dialer of this.#dialers.values()) dialer.close();
    const links = Array.from(this.#joined.values(), ({ link }) => link);
    links.push(...this.#meeting);
    this.#joined.clear();
    await Promise.all(links.map((link) => link.close()));
  }

  #keep(peer: PeerAddress): void {
    const { id, address } = peer;
    const { hello, peers } = this.#options;
    const dialer = new PeerDialer({
      id,
      address,
      isFirst: this.#options.self.id < id,
      // Nobody knows who looks for a group: it goes there, whatever the ids.
      isExpected: peers.some((one) => one.id === id) ||
        hello().group !== undefined,
      waits: this.#waits,
      log: this.#seldom,
      isLinked: () => this.#byId(id) !== undefined,
      dial: (signal) => this.#dial(peer, signal),
      onRefused: () => this.#noteRefused(id),
      onIdTaken: (text) => this.#options.onIdTaken(text),
    });
    this.#dialers.set(id, dialer);
    dialer.start();
  }

  #byId(id: NodeId): Joined | undefined {
    for (const joined of this.#joined.values()) {
      if (joined.peer.id === id) return joined;
    }
    return undefined;
  }

  #storeOf(id: NodeId): StoreId | undefined {
    return this.#stores.get(id) ?? this.#options.storeOf?.(id);
  }

  #noteRefused(id: NodeId): void {
    const store = this.#storeOf(id);
    if (store) this.#options.onInputs([{ kind: "peer-refused", store }]);
  }

  // Meeting

  #dialTo(address: Address, signal: AbortSignal): Promise<OpenLink> {
    return dial(address, this.#greeting, {
      silentMsMax: this.#options.silentMsMax,
      waitMs: this.#waits.dialWaitMs,
      signal,
    });
  }

  /** Makes a link to a node; rejected if there is none in the end. */
  async #dial(wanted: PeerAddress, signal: AbortSignal): Promise<void> {
    const link = this.#open(await this.#dialTo(wanted.address, signal));
    const onAbort = () => link.abort(new WireError("link-lost", "Given up"));
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal.aborted) onAbort();
      this.#checkTarget(wanted, link.peer);
      const said = this.#options.hello();
      link.send(encodeReplicaHello(said));
      const hello = this.#readHello(
        await readFirst(link, this.#waits.helloWaitMs),
      );
      if (this.#options.hello().group !== said.group) throw new StaleAttempt();
      const joined = { link, hello, peer: link.peer, isDialed: true };
      const replaced = this.#check(joined);
      // From here on it is a link and no attempt any more.
      signal.removeEventListener("abort", onAbort);
      this.#join(joined, replaced);
      void this.#serve(joined);
    } catch (error) {
      if (error instanceof WireError) void link.close(error);
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#meeting.delete(link);
    }
  }

  /** Whether the node at that address is the one that was meant. */
  #checkTarget(wanted: PeerAddress, found: Identity): void {
    const { self } = this.#options;
    const isSelf = found.incarnation === self.incarnation;
    if (found.id === wanted.id && !isSelf) return;
    const where = formatAddress(wanted.address);
    const who = isSelf ? `"${self.id}" itself` : `"${found.id}"`;
    throw new WireError(
      "wrong-node",
      `${where} was given for "${wanted.id}" and leads to ${who}`,
    );
  }

  /** Whoever comes in says first what it wants. */
  async #admit(open: OpenLink): Promise<void> {
    const link = this.#open(open);
    try {
      const first = await readFirst(link, this.#waits.helloWaitMs);
      if (link.peer.role === "client") {
        return await this.#answerQuestion(link, first);
      }
      if (first.kind === FRAME.snapshotAsk) {
        return await this.#serveSnapshots(link, first);
      }
      const hello = this.#readHello(first);
      const joined = { link, hello, peer: link.peer, isDialed: false };
      const replaced = this.#check(joined);
      link.send(encodeReplicaHello(this.#options.hello()));
      this.#join(joined, replaced);
      await this.#serve(joined);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#refuse(link, error);
    } finally {
      this.#meeting.delete(link);
      this.#listener.release();
    }
  }

  /** A client may ask who this node is, and nothing else. */
  async #answerQuestion(link: FrameLink, ask: Frame): Promise<void> {
    if (ask.kind !== FRAME.discoverAsk) {
      throw new WireError(
        "role-mismatch",
        `A client may send frame ${FRAME.discoverAsk} here, not ${ask.kind}`,
      );
    }
    const { advert } = this.#options;
    link.send(answerDiscoverAsk(ask.payload, { advert, from: link.label }));
    await link.close();
  }

  async #serveSnapshots(link: FrameLink, ask: Frame): Promise<void> {
    const { serveSnapshots, self } = this.#options;
    if (serveSnapshots !== undefined) return await serveSnapshots(link, ask);
    throw new WireError("no-snapshot", `"${self.id}" holds no data`);
  }

  #open(open: OpenLink): FrameLink {
    const link = new FrameLink(open, this.#options.queueBytesMax);
    this.#meeting.add(link);
    if (this.#isClosed) link.abort(new WireError("shutting-down", "Stopping"));
    return link;
  }

  #readHello({ kind, payload }: Frame): ReplicaHello {
    if (kind === FRAME.replicaHello) return readReplicaHello(payload);
    throw new WireError(
      "invalid-message",
      `Cannot take frame of kind ${kind}, wanted ${FRAME.replicaHello}`,
    );
  }

  /**
   * Whether a node may be linked as it says.
   *
   * @returns The link that it takes the place of, if there is one.
   */
  #check(next: Joined): Joined | undefined {
    const { self, hello } = this.#options;
    const { peer } = next;
    const wanted = this.#peers.get(peer.id);
    const { store, group } = hello();
    checkStranger(next, { self, store, group, kind: wanted?.kind });
    const before = this.#byId(peer.id);
    const owner = this.#joined.get(next.hello.store);
    if (before?.hello.store !== owner?.hello.store) {
      const [what, who] = before === undefined
        ? [`The data directory of "${peer.id}"`, owner]
        : [`The node id "${peer.id}"`, before];
      throw new WireError(
        "id-taken",
        `${what} is in use by another process: "${who?.peer.id}" at ${who?.link.label}, data directory ${who?.hello.store}`,
      );
    }
    if (before !== undefined && isKept(before, { next, self })) {
      throw new WireError("busy", `A link to "${peer.id}" stands already`);
    }
    const unknown = Array.from(this.#joined.values())
      .filter(({ peer }) => !this.#dialers.has(peer.id)).length;
    const room = NODES_MAX - 1 - this.#dialers.size;
    if (wanted === undefined && before === undefined && unknown >= room) {
      throw new WireError(
        "busy",
        `This node knows ${NODES_MAX} nodes, which is its limit`,
      );
    }
    return before;
  }

  #refuse(link: FrameLink, error: WireError): void {
    void link.close(error);
    const { id } = link.peer;
    this.#seldom.say("warn", `${id} ${link.label.replace(/:\d+$/, "")}`, {
      message: error instanceof PeerError
        ? `"${id}" refuses this node: ${error.message}`
        : `Refused "${id}": ${error.message}`,
      fields: { from: link.label, code: error.code },
    });
  }

  // Linked

  #join(joined: Joined, replaced: Joined | undefined): void {
    const { link, hello, peer } = joined;
    const { store, kind, priority, group } = hello;
    const { id, incarnation } = peer;
    const inputs: PeerInput[] = [];
    if (replaced !== undefined) {
      const reason = "a newer link took its place";
      this.#joined.delete(store);
      this.#unflushed.delete(replaced.link);
      replaced.link.abort(new WireError("link-lost", reason));
      inputs.push({ kind: "peer-down", store, reason });
    }
    this.#meeting.delete(link);
    this.#joined.set(store, joined);
    if (this.#dialers.has(id)) this.#stores.set(id, store);
    this.#dialers.get(id)?.linked();
    this.#options.log.info(`Linked to "${id}"`, { address: link.label, store });
    inputs.push({
      kind: "peer-up",
      peer: { id, kind, priority, store, incarnation, group },
    });
    this.#options.onInputs(inputs);
  }

  /** Hands on what a node says, until its link ends. */
  async #serve(joined: Joined): Promise<void> {
    const { link, hello: { store } } = joined;
    try {
      for (;;) {
        const frames = await link.read();
        if (this.#joined.get(store) !== joined) return;
        this.#take(store, frames);
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#lose(joined, error);
    }
  }

  #take(from: StoreId, frames: readonly Frame[]): void {
    const inputs: PeerInput[] = [];
    try {
      for (const frame of frames) {
        const message = decodeReplicaMessage(frame);
        checkEpochs(message, this.#options.epochCounter?.() ?? 0);
        inputs.push({ kind: "message", from, message });
      }
    } finally {
      // What came before a mistake counts.
      if (inputs.length > 0) this.#options.onInputs(inputs);
    }
  }

  #lose(joined: Joined, error: WireError): void {
    const { link, hello: { store }, peer: { id } } = joined;
    void link.close(error);
    if (this.#joined.get(store) !== joined) return;
    this.#joined.delete(store);
    this.#unflushed.delete(link);
    this.lost += 1;
    const { code, message: reason } = error;
    // A node that has got a group ends its older links: no trouble at all.
    const level = code === "other-group" ? "info" : "warn";
    this.#options.log[level](`Lost "${id}"`, { reason, code });
    this.#options.onInputs([{ kind: "peer-down", store, reason }]);
    this.#dialers.get(id)?.lost(error);
    // A stranger has no say in who this node is.
    const isKnown = this.#dialers.has(id);
    if (isKnown && error instanceof PeerError && error.code === "id-taken") {
      this.#options.onIdTaken(error.message);
    }
  }
}
