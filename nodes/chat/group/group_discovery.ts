/** Looks for the group on the network, and lets others find it: discovery, wired. */

import type { Advert } from "../../../protocol/discovery.ts";
import type { StoreId } from "../../../protocol/epoch.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import { DiscoveryCore } from "../../../election/discovery.ts";
import {
  DISCOVERY_TIMING,
  type DiscoveryEffect,
  type DiscoveryInput,
  type OwnGroup,
  type Rival,
} from "../../../election/discovery_contract.ts";
import { type Answerer, openAnswerer } from "../../host/discovery/answerer.ts";
import type { DiscoverWhere, Finder } from "../../host/discovery/finder.ts";
import { openFinder } from "../../host/discovery/open_finder.ts";
import { formatChoice } from "../../host/discovery/discover_flags.ts";
import type { Asker } from "../../host/discovery/tcp_answer.ts";
import type { Log } from "../../host/log.ts";
import { StartError } from "../../host/process.ts";
import { GoneNodes } from "./gone_nodes.ts";
import type { Peer } from "../../../election/membership.ts";
import { NODES_MAX } from "../../../protocol/view.ts";
import type { PeerAddress, PeerLinks } from "../links/peers.ts";

/** A node that is in no view, not linked and not heard of for so long is dialled no more. */
const UNHEARD_MS_MAX = 20_000;

/** How often the operator is told that nobody can be asked. */
const WAIT_SAID_MS = 60_000;

/** Questions asked sooner than is due; each one that was due allows for one more. */
const SOON_ASKS_MAX = 40;

/** Nodes remembered that there was no room for. */
const CROWD_MAX = 2 * NODES_MAX;

/** What discovery needs of the node that it serves. */
export interface GroupDiscoveryOptions {
  readonly where: DiscoverWhere;
  readonly self: Omit<Peer, "group">;
  readonly cluster: string;
  readonly key: Uint8Array | undefined;
  /** Groups that ended here. */
  readonly dissolved: readonly StoreId[];
  readonly peers: Pick<PeerLinks, "meet" | "forget" | "regroup" | "states">;
  /** What this node says of itself to whoever asks. */
  advert(): Advert;
  ownGroup(): OwnGroup | undefined;
  /** Names of the nodes of the newest view. */
  namesInView(): ReadonlySet<NodeId>;
  readonly log: Log;
  /** Begin a group of this node alone. */
  onFound(): void;
  /** Commit the end of the group, if it is still empty then. */
  onDissolve(into: StoreId): void;
  /** The group has ended elsewhere: begin anew. */
  onGiveUp(reason: string): void;
}

/** Lives from the first question until the node stops. */
export class GroupDiscovery {
  /** Other groups that hold data as this one does. */
  rivals: readonly Rival[] = [];
  readonly #options: GroupDiscoveryOptions;
  readonly #core: DiscoveryCore;
  readonly #finder: Finder;
  readonly #answerer: Answerer | undefined;
  /** When each node that was met was heard of last. */
  readonly #heardMs = new Map<NodeId, number>();
  /** Nodes that are to be met once there is room. */
  readonly #crowd = new Map<NodeId, PeerAddress>();
  readonly #gone = new GoneNodes();
  #group: StoreId | undefined;
  #told = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Since when there is nobody to be asked; undefined if there is, or was. */
  #waitsSinceMs: number | undefined;
  #waitSaidMs = -Infinity;
  #isStarted = false;
  #soon: ReturnType<typeof setTimeout> | undefined;
  #soonAsks = 0;
  #isClosed = false;

  /** @throws {StartError} Another program keeps the port of questions to itself. */
  constructor(options: GroupDiscoveryOptions) {
    this.#options = options;
    const { where, self, cluster, key, dissolved, log } = options;
    const seed = crypto.getRandomValues(new Uint32Array(1))[0];
    const { id, kind, priority, store } = self;
    this.#core = new DiscoveryCore({
      self: { id, kind, priority },
      ...{ store, dissolved, seed, timing: DISCOVERY_TIMING },
    });
    const common = {
      service: "chat" as const,
      cluster,
      log,
      ...key !== undefined && { key },
    };
    this.#finder = openFinder({
      ...common,
      where,
      advert: options.advert,
      onSighting: (sighting) => this.heard(sighting),
    });
    this.#answerer = where.kind === "udp"
      ? answererAt(where, { ...common, advert: options.advert })
      : undefined;
  }

  /**
   * Asks for the first time. Without a group nothing else happens while there
   * is nobody to be asked: a group founded behind a mistyped name would be a
   * rival of the one that was meant.
   */
  start(): void {
    this.#isStarted = true;
    const group = this.#options.ownGroup();
    if (group !== undefined) return this.#begin(group);
    this.#waitsSinceMs = performance.now();
    this.#await();
  }

  #await(): void {
    if (this.#isClosed || this.#waitsSinceMs === undefined) return;
    this.#finder.ask();
    if (this.#finder.isReady) return this.#begin(undefined);
    this.#sayWait(this.#waitsSinceMs);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#await(), DISCOVERY_TIMING.askMs);
  }

  #sayWait(sinceMs: number): void {
    const nowMs = performance.now();
    // A resolver takes its time.
    if (nowMs - sinceMs < DISCOVERY_TIMING.foundMs) return;
    if (nowMs - this.#waitSaidMs < WAIT_SAID_MS) return;
    this.#waitSaidMs = nowMs;
    const { where, log } = this.#options;
    log.warn(
      `"--discover ${
        formatChoice(where)
      }" has no address to ask at: waits for one, and founds no group before`,
    );
  }

  #begin(group: OwnGroup | undefined): void {
    this.#waitsSinceMs = undefined;
    this.#group = group?.id;
    this.#told = wordOf(group);
    this.#step({ kind: "start", group });
  }

  /** The group may have changed, or what is kept in it. */
  groupChanged(): void {
    if (this.#isClosed) return;
    const group = this.#options.ownGroup();
    if (group === undefined) return;
    if (this.#waitsSinceMs !== undefined) this.#begin(undefined);
    if (this.#group === undefined) {
      this.#group = group.id;
      this.#options.peers.regroup(group.id);
    }
    if (group.isActive) this.#forgetGone();
    const word = wordOf(group);
    if (word === this.#told) return;
    this.#told = word;
    this.#step({ kind: "group", group });
  }

  /** Numbers for metrics. */
  get counters(): {
    readonly finder: Finder["counters"];
    readonly answerer: Answerer["counters"] | undefined;
  } {
    return {
      finder: this.#finder.counters,
      answerer: this.#answerer?.counters,
    };
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#soon);
    this.#finder.close();
    this.#answerer?.close();
  }

  /** A node has answered, or asked by TCP. */
  heard({ advert, peers }: Asker): void {
    // Whoever asks before that asks again.
    if (this.#isClosed || !this.#isStarted) return;
    if (this.#waitsSinceMs !== undefined) this.#begin(undefined);
    this.groupChanged();
    if (this.#heardMs.has(advert.id)) {
      this.#heardMs.set(advert.id, performance.now());
    }
    this.#step({ kind: "heard", advert, peers });
    this.#askSoonIfOneWay(advert);
  }

  /**
   * A node that does not know this one's address hears of this group only when
   * it is asked. Without a group, or when its own gives way, it founds one
   * unless it hears of this one often.
   */
  #askSoonIfOneWay({ group }: Advert): void {
    const isOneWay = this.#options.where.kind !== "udp";
    if (!isOneWay || this.#group === undefined || this.#isClosed) return;
    if (group !== undefined && (group.id === this.#group || !group.isVoid)) {
      return;
    }
    if (this.#soon !== undefined || this.#soonAsks >= SOON_ASKS_MAX) return;
    this.#soonAsks += 1;
    this.#soon = setTimeout(() => {
      this.#soon = undefined;
      this.#finder.ask();
    }, DISCOVERY_TIMING.askMs);
  }

  #step(input: DiscoveryInput): void {
    for (const effect of this.#core.step(input, performance.now())) {
      this.#act(effect);
    }
    this.#arm();
  }

  #act(effect: DiscoveryEffect): void {
    const { log } = this.#options;
    switch (effect.kind) {
      case "ask":
        this.#forgetUnheard();
        this.#soonAsks = Math.max(0, this.#soonAsks - 1);
        return this.#finder.ask();
      case "meet": {
        const { id, nodeKind: kind, address } = effect;
        this.#heardMs.set(id, performance.now());
        return this.#meet({ id, kind, address });
      }
      case "found":
        return this.#options.onFound();
      case "dissolve":
        return this.#options.onDissolve(effect.into);
      case "give-up":
        return this.#options.onGiveUp(effect.reason);
      case "rivals":
        this.rivals = effect.rivals;
        return;
      case "note":
        return log[effect.level](effect.text);
    }
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    const waitMs = Math.max(0, this.#core.wakeAtMs - performance.now());
    this.#timer = setTimeout(() => {
      this.groupChanged();
      this.#step({ kind: "wake" });
    }, waitMs);
  }

  #meet(peer: PeerAddress): void {
    this.#crowd.delete(peer.id);
    if (this.#options.peers.meet(peer)) return;
    if (this.#crowd.size < CROWD_MAX) this.#crowd.set(peer.id, peer);
  }

  /** Who left for good, or was forgotten, is not to be shown as missing. */
  #forgetGone(): void {
    const { peers, namesInView } = this.#options;
    for (const id of this.#gone.since(namesInView(), peers.states)) {
      this.#heardMs.delete(id);
      this.#crowd.delete(id);
      peers.forget(id);
    }
  }

  /** Nodes that went without a word would be dialled for ever. */
  #forgetUnheard(): void {
    const { peers } = this.#options;
    const kept = new Set(this.#options.namesInView());
    for (const { id, isLinked } of peers.states) if (isLinked) kept.add(id);
    const nowMs = performance.now();
    for (const [id, heardMs] of this.#heardMs) {
      if (kept.has(id) || nowMs - heardMs < UNHEARD_MS_MAX) continue;
      this.#heardMs.delete(id);
      this.#crowd.delete(id);
      peers.forget(id);
    }
    for (const peer of [...this.#crowd.values()]) this.#meet(peer);
  }
}

function answererAt(
  where: Extract<DiscoverWhere, { kind: "udp" }>,
  options: Omit<Parameters<typeof openAnswerer>[0], "where">,
): Answerer {
  try {
    return openAnswerer({ ...options, where });
  } catch (cause) {
    throw new StartError(
      `Cannot listen for questions at UDP port ${where.port}: ${
        cause instanceof Error ? cause.message : String(cause)
      }; "--discover udp:${where.group}:PORT" takes another one`,
      { cause },
    );
  }
}

/** Tells whether anything has changed that discovery goes by. */
function wordOf(group: OwnGroup | undefined): string {
  return JSON.stringify(group) ?? "";
}
