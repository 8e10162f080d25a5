/** How a simulated node finds the others: dials again and again, and probes after a loss. */

import type { StoreId } from "../../protocol/epoch.ts";
import type { LinkEnd, Links } from "./chat_links.ts";
import type { SimulatedReplica } from "./chat_node.ts";
import type { World } from "./world.ts";

/** About how long between two attempts. */
const DIAL_EVERY_MS = 100;
/** How often a refused attempt is reported as well. */
const REPORT_CHANCE = 0.3;
/** How long the node with the larger name waits for the other, if it may not know this one. */
const DIAL_ANYWAY_MS = 500;

/** Attempts to connect to one other node. */
interface Dialing {
  end: LinkEnd | undefined;
}

/** What a dialer works with. */
export interface DialerSurroundings {
  readonly world: World;
  readonly links: Links;
  /** Whether some nodes are told of others that are not told of them. */
  readonly isOneSided: boolean;
}

/** Of two nodes the one with the smaller name dials, and the other one if it has to. */
export class ReplicaDialer {
  readonly #node: SimulatedReplica;
  readonly #around: DialerSurroundings;
  /** Nodes that this one was told of. */
  readonly #known = new Set<string>();
  readonly #dialing = new Map<string, Dialing>();

  constructor(node: SimulatedReplica, around: DialerSurroundings) {
    this.#node = node;
    this.#around = around;
  }

  /** Keeps a link to another node from now on. */
  learn(other: SimulatedReplica, waitMsMax: number): void {
    this.#known.add(other.name);
    if (this.#node.isLinkedTo(other.disk.store)) return;
    this.dial(other, waitMsMax);
  }

  /** Begins to dial, within `waitMsMax`, unless it does so already. */
  dial(other: SimulatedReplica, waitMsMax: number): void {
    const { name, machine } = this.#node;
    const { isOneSided, world } = this.#around;
    const isFirst = name < other.name;
    if (!machine.isUp || !this.#known.has(other.name)) return;
    if (!isFirst && !isOneSided) return;
    if (this.#dialing.has(other.name)) return;
    const dialing: Dialing = { end: undefined };
    this.#dialing.set(other.name, dialing);
    machine.later(
      world.random.next() * waitMsMax + (isFirst ? 0 : DIAL_ANYWAY_MS),
      () => this.#attempt(other, dialing),
    );
  }

  /** The link stands. */
  stop(name: string): void {
    this.#dialing.delete(name);
  }

  /** The process is gone. */
  forget(): void {
    this.#known.clear();
    this.#dialing.clear();
  }

  /** After a loss: is its process gone? Nothing is said while nothing is certain. */
  probe(other: SimulatedReplica, store: StoreId): void {
    const { world, links } = this.#around;
    if (!this.#known.has(other.name)) return;
    this.#node.machine.later(world.random.next() * 3, () => {
      const isGone = links.reaches(other, this.#node) && !other.machine.isUp;
      if (isGone) this.#refused(store);
    });
  }

  #attempt(other: SimulatedReplica, dialing: Dialing): void {
    const { links, world: { random } } = this.#around;
    if (this.#dialing.get(other.name) !== dialing) return;
    if (dialing.end === undefined || dialing.end.isOver) {
      const result = links.dial(this.#node, other);
      if (typeof result !== "string") dialing.end = result;
      else if (result === "refused" && random.chance(REPORT_CHANCE)) {
        this.#refused(other.disk.store);
      }
    }
    this.#node.machine.later(
      DIAL_EVERY_MS * (0.5 + random.next()),
      () => this.#attempt(other, dialing),
    );
  }

  #refused(store: StoreId): void {
    if (!this.#node.isLinkedTo(store)) this.#node.refused(store);
  }
}
