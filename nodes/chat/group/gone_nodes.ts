/** Nodes that were in a view and are in the next one no more. */

import type { StoreId } from "../../../protocol/epoch.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import type { PeerState } from "../links/peers.ts";

/** Compares each view with the one before. */
export class GoneNodes {
  /** Names of the view before, and where their data was when they came. */
  #stores = new Map<NodeId, StoreId | undefined>();

  /**
   * Who is gone since the last call: it left for good, or was forgotten. Not
   * a node whose data was lost: it is linked with a new store, and votes soon.
   */
  since(
    names: ReadonlySet<NodeId>,
    links: readonly Pick<PeerState, "id" | "store">[],
  ): NodeId[] {
    const before = this.#stores;
    const storeOf = (name: NodeId) =>
      links.find(({ id }) => id === name)?.store;
    this.#stores = new Map(
      [...names].map((id) => [id, before.get(id) ?? storeOf(id)] as const),
    );
    return [...before.keys()].filter((id) =>
      !names.has(id) && storeOf(id) === before.get(id)
    );
  }
}
