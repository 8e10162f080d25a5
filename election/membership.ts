/** Who is there: links to the nodes of a group, and whom they make suspect. */

import type { StoreId } from "../protocol/epoch.ts";
import type { Incarnation } from "../protocol/ids.ts";
import { type NodeInfo, NODES_MAX } from "../protocol/view.ts";

/** A node of the group, as its handshake shows it. */
export interface Peer extends NodeInfo {
  readonly store: StoreId;
  readonly incarnation: Incarnation;
  /** The group that it belongs to; none as long as it has accepted no view. */
  readonly group: StoreId | undefined;
}

/** Nodes remembered, links or not; a view names at most a quarter of them. */
export const PEERS_MAX = 4 * NODES_MAX;

/** What is known of one node. */
export interface PeerState {
  peer: Peer;
  /** Whether a link to it stands. */
  isUp: boolean;
  /** Its process is gone: nobody listens there. Only while there is no link. */
  isRefused: boolean;
  /** Why its link was lost; only while there is none. */
  downReason: string;
  /** When it last said anything, or when its link came up. */
  heardMs: number;
  /** As it last said. */
  reachesAll: boolean;
  isDraining: boolean;
}

/** All nodes that this process has had a link to, itself left out. */
export class Membership {
  readonly #peers = new Map<StoreId, PeerState>();

  /** A link to `peer` stands. */
  up(peer: Peer, nowMs: number): void {
    // The newest stands last, so that the first are those to forget.
    this.#peers.delete(peer.store);
    this.#peers.set(peer.store, {
      peer,
      isUp: true,
      isRefused: false,
      downReason: "",
      heardMs: nowMs,
      reachesAll: false,
      isDraining: false,
    });
    this.#forget();
  }

  /** Keeps strangers that come and go from filling the memory. */
  #forget(): void {
    if (this.#peers.size <= PEERS_MAX) return;
    for (const [store, { isUp }] of this.#peers) {
      if (isUp) continue;
      this.#peers.delete(store);
      return;
    }
  }

  /** It belongs to this group, which it has got since its link came up. */
  regrouped(store: StoreId, group: StoreId): void {
    const state = this.#peers.get(store);
    if (state === undefined || state.peer.group === group) return;
    state.peer = { ...state.peer, group };
  }

  /** The link is gone. */
  down(store: StoreId, reason: string): void {
    const state = this.#peers.get(store);
    if (state === undefined) return;
    state.isUp = false;
    state.downReason = reason;
  }

  /** After {@linkcode down}: nobody listens there. */
  refused(store: StoreId): void {
    const state = this.#peers.get(store);
    if (state !== undefined && !state.isUp) state.isRefused = true;
  }

  /** It has said something. */
  heard(store: StoreId, nowMs: number): void {
    const state = this.#peers.get(store);
    if (state !== undefined) state.heardMs = nowMs;
  }

  /** This process itself was stopped: nobody is to blame for the silence. */
  forgive(nowMs: number): void {
    for (const state of this.#peers.values()) state.heardMs = nowMs;
  }

  get(store: StoreId): PeerState | undefined {
    return this.#peers.get(store);
  }

  isUp(store: StoreId): boolean {
    return this.#peers.get(store)?.isUp === true;
  }

  /** Nodes with a link, in no order that means anything. */
  *present(): IterableIterator<PeerState> {
    for (const state of this.#peers.values()) if (state.isUp) yield state;
  }

  /** The store that has a link and this node's name, if any. */
  presentAs(id: string): PeerState | undefined {
    for (const state of this.present()) if (state.peer.id === id) return state;
    return undefined;
  }

  /**
   * Whether a node is suspected: its process is gone, or it was silent for
   * `silentMs`. Suspicion is never evidence; it only makes somebody ask.
   */
  isSuspect(
    store: StoreId,
    options: { nowMs: number; silentMs: number },
  ): boolean {
    const state = this.#peers.get(store);
    if (state === undefined) return true;
    if (!state.isUp && state.isRefused) return true;
    return options.nowMs - state.heardMs >= options.silentMs;
  }
}
