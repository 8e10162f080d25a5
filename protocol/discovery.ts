/** What nodes that look for each other say; see `WIRE.md#discovery`. */

import type { Address } from "./address.ts";
import type { Epoch, StoreId } from "./epoch.ts";
import type { Incarnation, NodeId } from "./ids.ts";
import type { NodeKind } from "./view.ts";

/** What a node offers; nodes of different services never form one group. */
export type ServiceName = "chat" | "mesh" | "edge";

/** The port of questions, at every address of a machine; several processes share it. */
export const DISCOVERY_PORT = 8090;

/** Where questions go beside the broadcast addresses: site-local scope (RFC 2365). */
export const DISCOVERY_GROUP = "239.255.83.75";

/**
 * Bytes of a question, padded; an answer is never longer, so that nobody can
 * make a node send more than it got. Fits into one Ethernet frame.
 */
export const DATAGRAM_BYTES = 1_200;

/** Groups that one advert says were dissolved; the latest ones. */
export const DISSOLVED_MAX = 4;

/**
 * Where a port is reached: at `host`, or, without one, at the address that the
 * answer came from.
 */
export interface Endpoint {
  readonly host?: string;
  readonly port: number;
}

/** Who leads a group, as the node that answers knows it. */
export interface AdvertLeader {
  readonly id: NodeId;
  readonly priority: number;
  /** Where people reach it, if that is known and is not a wildcard. */
  readonly clients?: Address;
}

/** The group that a node belongs to. */
export interface AdvertGroup {
  /** The store that founded it: no two groups have the same. */
  readonly id: StoreId;
  /** Whether nothing was ever kept in it that anybody could miss. */
  readonly isVoid: boolean;
  /** Whether it takes writes, as far as the node can tell. */
  readonly isWorking: boolean;
  readonly epoch: Epoch;
  readonly leader: AdvertLeader;
  /** Of the newest view known to the node: how many are in sync, how many vote. */
  readonly members: number;
  readonly voters: number;
}

/** What a node says of itself when it is asked. */
export interface Advert {
  readonly service: ServiceName;
  readonly cluster: string;
  readonly id: NodeId;
  readonly kind: NodeKind;
  readonly priority: number;
  readonly store: StoreId;
  readonly incarnation: Incarnation;
  /** Where other nodes reach it. */
  readonly peers: Endpoint;
  /** Where people reach it; not of a witness. */
  readonly clients?: Endpoint;
  /** Absent while it looks for one. */
  readonly group?: AdvertGroup;
  /** Groups that this node was in and that decided to end; latest last. */
  readonly dissolved: readonly StoreId[];
  /** Whether there is no cluster key: the group is open to all on private networks. */
  readonly isOpen: boolean;
}
