/** How a group begins: all of its founders together, none of them with a view. */

import type { StoreId } from "../../../protocol/epoch.ts";
import { compareRank } from "../../../protocol/view.ts";
import type { ReplicaContext } from "./context.ts";

/**
 * The founders' stores, if this node is to found the group now: it is the
 * server of the highest rank, all others are linked, and nobody has a view. A
 * group that was born can so never be born again while one of it remembers.
 */
export function foundersIfReady(
  context: ReplicaContext,
): StoreId[] | undefined {
  const { view, membership, options, self } = context;
  const { founders } = options;
  if (view !== undefined || options.self.kind !== "server") return undefined;
  if (!founders.some(({ id }) => id === options.self.id)) return undefined;
  const stores = [self];
  for (const { id } of founders) {
    if (id === options.self.id) continue;
    const peer = membership.presentAs(id)?.peer;
    if (peer === undefined || peer.group !== undefined) return undefined;
    if (peer.kind === "server" && compareRank(peer, options.self) > 0) {
      return undefined;
    }
    stores.push(peer.store);
  }
  return stores;
}
