/** Groups must not mix: what is said by somebody of another one does not count. */

import type { StoreId } from "../../../protocol/epoch.ts";
import type { ReplicaMessage } from "../../../protocol/replica.ts";
import type { ReplicaContext } from "./context.ts";

/**
 * Whether a message comes from another group. A node that has a view takes
 * part in no other group, or two groups with data would become one and lose
 * the data of the lower epoch. Who shows a view of another one is not listened
 * to any more, or the two would ask each other for their views without end.
 */
export function isForeign(
  context: Pick<ReplicaContext, "view" | "membership">,
  { from, message }: { from: StoreId; message: ReplicaMessage },
): boolean {
  const { view, membership } = context;
  if (view === undefined) return false;
  const shown = groupIn(message);
  if (shown !== undefined) membership.regrouped(from, shown);
  const group = membership.get(from)?.peer.group;
  return group !== undefined && group !== view.group;
}

/** The group of the view that a message brings, if it brings one. */
function groupIn(message: ReplicaMessage): StoreId | undefined {
  switch (message.kind) {
    case "accept":
    case "active":
      return message.view.group;
    case "pre-vote-answer":
    case "promise":
      return message.accepted?.group;
    default:
      return undefined;
  }
}
