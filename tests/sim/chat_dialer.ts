/** How a simulated node finds the others: dials again and again, and probes after a loss. */

import type { StoreId } from "../../protocol/epoch.ts";
import type { LinkEnd, Links } from "./chat_links.ts";
import type { SimulatedReplica } from "./chat_node.ts";
import type { World } from "./world.ts";

/** About how long between two attempts. */
const DIAL_EVERY_MS = 100;
/** How often a refused attempt is reported as well. */
const REPORT_CHANCE = 0.3;

/** Attempts to connect to one other node. */
interface Dialing {
  end: LinkEnd | undefined;
}

/** Of two nodes the one with the smaller name dials. */
export class ReplicaDialer {
  readonly #node: SimulatedReplica;
  readonly #around: { readonly world: World; readonly links: Links };
  readonly #dialing = new Map<string, Dialing>();

  constructor(
    node: SimulatedReplica,
    around: { readonly world: World; readonly links: Links },
  ) {
    this.#node = node;
    this.#around = around;
  }

  /** Begins to dial, within `waitMsMax`, unless it does so already. */
  dial(other: SimulatedReplica, waitMsMax: number): void {
    const { name, machine } = this.#node;
    if (!machine.isUp || name > other.name) return;
    if (this.#dialing.has(other.name)) return;
    const dialing: Dialing = { end: undefined };
    this.#dialing.set(other.name, dialing);
    machine.later(
      this.#around.world.random.next() * waitMsMax,
      () => this.#attempt(other, dialing),
    );
  }

  /** The link stands. */
  stop(name: string): void {
    this.#dialing.delete(name);
  }

  /** The process is gone. */
  forget(): void {
    this.#dialing.clear();
  }

  /** After a loss: is its process gone? Nothing is said while nothing is certain. */
  probe(other: SimulatedReplica, store: StoreId): void {
    const { world, links } = this.#around;
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
