/** What a simulated node is given, and what it has to do with. */

import type { StoreId } from "../../protocol/epoch.ts";
import type { DiscoveryEffect } from "../../election/discovery_contract.ts";
import type { NodeKind } from "../../protocol/view.ts";
import type {
  ReplicaEffect,
  ReplicaOptions,
} from "../../nodes/chat/replica/contract.ts";
import type { ChatChecker } from "./chat_checker.ts";
import type { SimulatedDisk } from "./chat_disk.ts";
import type { Links } from "./chat_links.ts";
import type { SimulatedReplica } from "./chat_node.ts";
import type { World } from "./world.ts";

/** What a node shares with all others. */
export interface ChatSurroundings {
  readonly world: World;
  readonly links: Links;
  /** Whoever checks that group. */
  checkerOf(group: StoreId | undefined): ChatChecker;
  readonly replicas: readonly SimulatedReplica[];
  /** Whether some nodes are told of others that are not told of them. */
  readonly isOneSided: boolean;
  readonly options: Pick<
    ReplicaOptions,
    "founders" | "sticky" | "forgetAfterMs" | "timing"
  >;
  /** Milliseconds that applying lags behind, at most. */
  readonly applyMsMax: number;
  /** 16 hexadecimal digits that nobody else has. */
  newId(): string;
  newDisk(): SimulatedDisk;
  /** The worst moments for a crash are just after a word or a write. */
  mayCrashAfter(
    node: SimulatedReplica,
    effect: ReplicaEffect | DiscoveryEffect,
  ): boolean;
  /** The process has ended by itself. */
  ended(node: SimulatedReplica, why: "left" | "failed"): void;
  /** What else runs in this process, which has just started. */
  companionOf?(node: SimulatedReplica): Companion;
}

/** What runs beside the core, and hears of it; one for each process. */
export interface Companion {
  /** A view, or what is kept, is not what it was; whatever comes of it is done later. */
  changed(): void;
}

/** How one node differs from others. */
export interface ReplicaPlan {
  readonly name: string;
  readonly kind: NodeKind;
  readonly priority: number;
  /** Whether it is configured as one of those who found the group. */
  readonly isFounder: boolean;
}
