/** What a node says of its group: to its clients, its operators and itself. */

import type { StoreId } from "../../../protocol/epoch.ts";
import { isMajority, type View } from "../../../protocol/view.ts";
import type { ReplicaContext } from "./context.ts";
import type { GroupState, ReplicaRole } from "./contract.ts";

/** Silence, in suspicions, after which a primary no longer counts on a node, nor that on it. */
const SILENCE = 2;

/** The state as of now. */
export function groupState(
  context: ReplicaContext,
  role: ReplicaRole,
): GroupState {
  const { view, isActive } = context;
  const isWritable = view !== undefined && isActive &&
    (role === "primary"
      ? canCommit(context, view)
      : isHeard(context, view.primary) && !context.isPrimaryAnew &&
        context.isPrimaryWritable);
  return {
    role,
    view: isActive ? view : undefined,
    isWritable,
    waitsFor: isWritable ? [] : waitsFor(context),
  };
}

/** Whether the primary of a view hears all that a commit needs. */
export function canCommit(context: ReplicaContext, view: View): boolean {
  return isMajority(view, (store) => isHeard(context, store)) &&
    view.members.every((store) => isHeard(context, store));
}

function isHeard(context: ReplicaContext, store: StoreId): boolean {
  const { self, membership, nowMs, options: { timing } } = context;
  const silentMs = SILENCE * timing.suspectAfterMs;
  return store === self ||
    membership.isUp(store) && !membership.isSuspect(store, { nowMs, silentMs });
}

/** Whether nothing has changed that anybody asks for. */
export function isSameState(a: GroupState, b: GroupState): boolean {
  return a.role === b.role && a.view === b.view &&
    a.isWritable === b.isWritable &&
    a.waitsFor.length === b.waitsFor.length &&
    a.waitsFor.every((text, index) => text === b.waitsFor[index]);
}

function waitsFor(context: ReplicaContext): string[] {
  const { view, membership, options, self } = context;
  if (view === undefined) {
    return options.founders
      .filter(({ id }) =>
        id !== options.self.id && membership.presentAs(id) === undefined
      )
      .map(({ id }) => `${id}, to found the group`);
  }
  const leads = view.primary === self;
  // Only the primary speaks to all others, and all of them to it, all the time.
  const isHere = (store: StoreId) =>
    leads || store === view.primary
      ? isHeard(context, store)
      : store === self || membership.isUp(store);
  const missing = (stores: readonly StoreId[]) => {
    const names = stores.filter((store) => !isHere(store))
      .map((store) => context.nameOf(store));
    return [...new Set(names)].sort();
  };
  const waits: string[] = [];
  if (!isMajority(view, isHere)) {
    const voters = [...view.voters, ...(view.previousVoters ?? [])];
    waits.push(
      `a majority of the voters; missing: ${missing(voters).join(", ")}`,
    );
  }
  if (!view.members.some(isHere)) {
    waits.push(`a server in sync: ${missing(view.members).join(" or ")}`);
  }
  if (waits.length > 0) return waits;
  const isTold = context.isActive && !context.isPrimaryWritable;
  return isTold
    ? [`${context.nameOf(view.primary)}, which leads and cannot commit`]
    : ["a view"];
}
