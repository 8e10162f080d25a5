/** What goes into the core of discovery, and what comes out. */

import type { Address } from "../protocol/address.ts";
import type { Advert } from "../protocol/discovery.ts";
import type { Epoch, StoreId } from "../protocol/epoch.ts";
import type { NodeId } from "../protocol/ids.ts";
import type { NodeInfo, NodeKind } from "../protocol/view.ts";

/** All waits of discovery, in milliseconds. */
export interface DiscoveryTiming {
  /** Between questions while there is no group, or no active view of it. */
  readonly askMs: number;
  /** Between questions once all is well; give or take a half. */
  readonly calmMs: number;
  /** How long a node without a group listens before it founds one; up to twice that. */
  readonly foundMs: number;
}

/** Of a LAN; a group that is there is found at the first question. */
export const DISCOVERY_TIMING: DiscoveryTiming = {
  askMs: 150,
  calmMs: 3_000,
  foundMs: 700,
};

/** What makes the discovery of one node. */
export interface DiscoveryOptions {
  readonly self: NodeInfo;
  readonly store: StoreId;
  /** Groups that this node was in and that ended: it joins none of them again. */
  readonly dissolved: readonly StoreId[];
  readonly timing: DiscoveryTiming;
  /** Seeds the jitter; any 32 bits. */
  readonly seed: number;
}

/** The group that this node is in, as its replica knows it. */
export interface OwnGroup {
  readonly id: StoreId;
  /** Whether nothing is kept in it here, applied or not yet. */
  readonly isVoid: boolean;
  /** The same as far as this node has applied: the rest may never be committed. */
  readonly isAppliedVoid: boolean;
  /** Whether it works: a view is active, and its leader is linked, or is this node and has a majority. */
  readonly isActive: boolean;
  /** Whether this node leads that view. */
  readonly isLeader: boolean;
  readonly epoch: Epoch;
  readonly leader: NodeInfo;
  /** A witness votes in it: such a group is meant, and never gives itself up. */
  readonly hasWitness: boolean;
  /**
   * Whether no view was or will be made without this node, which is in sync in
   * its newest one: then what is committed in the group is in its log.
   */
  readonly isIndispensable: boolean;
}

export type DiscoveryInput =
  /** Once, first. */
  | { readonly kind: "start"; readonly group: OwnGroup | undefined }
  /** A node answered; `peers` is where this node reaches it. Nothing but itself vouches for it. */
  | {
    readonly kind: "heard";
    readonly advert: Advert;
    readonly peers: Address;
  }
  /** The own group has changed, or is known now. Never becomes undefined again. */
  | { readonly kind: "group"; readonly group: OwnGroup }
  /** The time of `wakeAtMs` has come; more often is harmless. */
  | { readonly kind: "wake" };

/** Another group that holds data as this one does: the two never merge by themselves. */
export interface Rival {
  readonly group: StoreId;
  readonly leader: NodeId;
  readonly epoch: Epoch;
  /** The node that told of it, and its replica address. */
  readonly from: NodeId;
  readonly address: Address;
}

export type DiscoveryEffect =
  /** Send a question. */
  | { readonly kind: "ask" }
  /** Keep a link to this node; told again when its address changes. */
  | {
    readonly kind: "meet";
    readonly id: NodeId;
    readonly nodeKind: NodeKind;
    readonly address: Address;
  }
  /** Nobody is there: begin a group of this node alone. */
  | { readonly kind: "found" }
  /** This node leads an empty group, and another is to remain: commit its end. */
  | { readonly kind: "dissolve"; readonly into: StoreId }
  /**
   * The own group has ended without this node hearing it, and holds nothing:
   * forget it, and begin as a new store.
   */
  | { readonly kind: "give-up"; readonly reason: string }
  /** All other groups that hold data and were heard of lately; on each change. */
  | { readonly kind: "rivals"; readonly rivals: readonly Rival[] }
  /** For the operator's log. */
  | {
    readonly kind: "note";
    readonly level: "info" | "warn";
    readonly text: string;
  };
