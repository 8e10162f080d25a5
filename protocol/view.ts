/** Views: who votes, who is in sync and who leads, under one epoch. */

import type { Epoch, StoreId } from "./epoch.ts";
import type { NodeId } from "./ids.ts";

/** A chat server holds data; a witness only votes. */
export type NodeKind = "server" | "witness";

/** What orders servers and names them to people. */
export interface NodeInfo {
  readonly id: NodeId;
  readonly kind: NodeKind;
  /** The highest priority leads, then the highest id by text; a whole number, default 0. */
  readonly priority: number;
}

/** Who is who from its epoch on. All sets are sorted and hold no store twice. */
export interface View {
  readonly epoch: Epoch;
  /** The store that founded the group: no two groups have the same. */
  readonly group: StoreId;
  /** Counted when a view is chosen; 1 to {@linkcode NODES_MAX}. */
  readonly voters: readonly StoreId[];
  /** The voters before, while a change of them is under way. */
  readonly previousVoters?: readonly StoreId[];
  /** In sync: each acknowledges a write before it commits; at least one. */
  readonly members: readonly StoreId[];
  /** One of the members. */
  readonly primary: StoreId;
  /** Name and rank of every store that the sets above name. */
  readonly nodes: Readonly<Record<StoreId, NodeInfo>>;
  /** Why this view was made, for people; 0 to {@linkcode REASON_CHARACTERS_MAX}. */
  readonly reason: string;
}

/** The durable state of a voter. */
export interface AcceptorState {
  /** The highest epoch promised. */
  readonly promised: Epoch;
  /** The view of the highest epoch accepted. */
  readonly accepted: View | undefined;
  /** The log has a hole: counts as a member that did not answer until repaired. */
  readonly isDamaged: boolean;
}

/** Voters, members and learners of one group together. */
export const NODES_MAX = 32;

/** Characters of a view's reason. */
export const REASON_CHARACTERS_MAX = 200;

/** Whether `present` has more than half of the voters, of both sets where there are two. */
export function isMajority(
  view: Pick<View, "voters" | "previousVoters">,
  isPresent: (store: StoreId) => boolean,
): boolean {
  return hasMajority(view.voters, isPresent) &&
    (view.previousVoters === undefined ||
      hasMajority(view.previousVoters, isPresent));
}

function hasMajority(
  voters: readonly StoreId[],
  isPresent: (store: StoreId) => boolean,
): boolean {
  let count = 0;
  for (const store of voters) if (isPresent(store)) count += 1;
  return count * 2 > voters.length;
}

/** Above 0 if `a` leads before `b`. Ids are unique within a group. */
export function compareRank(a: NodeInfo, b: NodeInfo): number {
  if (a.priority !== b.priority) return a.priority - b.priority;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
