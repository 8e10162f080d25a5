/** One link to another mesh server: what was said over it. */

import type { LinkId } from "../../protocol/core.ts";
import type { Incarnation, NodeId } from "../../protocol/ids.ts";
import type {
  Generation,
  Origin,
  PresentUser,
  TopologyChoice,
} from "../../protocol/mesh_peer.ts";
import type { Stream } from "./stream.ts";

/** A state, as far as one can tell it from another of the same server. */
interface StateStamp {
  readonly generation: Generation;
  readonly version: number;
}

/** Presence of which the last part has not come. */
export interface PresenceParts {
  readonly origin: Origin;
  readonly n: number;
  readonly messages: number;
  readonly users: PresentUser[];
}

export class PeerLink {
  readonly link: LinkId;
  readonly peer: NodeId;
  readonly incarnation: Incarnation;
  readonly isDialed: boolean;
  /** Whether the peer's hello has come: before it nothing else may. */
  isGreeted = false;
  /** Whether others are told that it stands: greeted, or in place of one that was. */
  isNeighbour = false;
  /** Whether a first beat has come. */
  hasBeaten = false;
  /** How far the peer has got, by origin; never less than it said. */
  readonly #heard = new Map<NodeId, { generation: Generation; n: number }>();
  /** What the peer was told, or has told: it is not said again. */
  readonly #states = new Map<NodeId, StateStamp>();
  readonly #seen = new Map<NodeId, { generation: Generation; n: number }>();
  #topology: TopologyChoice | undefined;
  presence: PresenceParts | undefined;

  constructor(from: {
    link: LinkId;
    peer: NodeId;
    incarnation: Incarnation;
    isDialed: boolean;
  }) {
    this.link = from.link;
    this.peer = from.peer;
    this.incarnation = from.incarnation;
    this.isDialed = from.isDialed;
  }

  /** The peer has all of this origin's events up to `n`, or sent number `n` itself. */
  heard({ id, generation }: Origin, n: number): void {
    const before = this.#heard.get(id);
    if (before?.generation === generation && before.n >= n) return;
    this.#heard.set(id, { generation, n });
  }

  /** How far the peer is known to have got; undefined: nothing is known. */
  heardOf({ id, generation }: Origin): number | undefined {
    const heard = this.#heard.get(id);
    return heard?.generation === generation ? heard.n : undefined;
  }

  hasState({ id, generation, version }: StateStamp & { id: NodeId }): boolean {
    const state = this.#states.get(id);
    return state?.generation === generation && state.version === version;
  }

  told({ id, generation, version }: StateStamp & { id: NodeId }): void {
    this.#states.set(id, { generation, version });
  }

  hasTopology({ topology, version, by }: TopologyChoice): boolean {
    const told = this.#topology;
    return told?.version === version && told.by === by &&
      told.topology === topology;
  }

  toldTopology(choice: TopologyChoice): void {
    this.#topology = choice;
  }

  /** Whether the peer does not know yet how far this server has got; then it will. */
  tellSeen({ origin, n }: Stream): boolean {
    const seen = this.#seen.get(origin.id);
    if (seen?.generation === origin.generation && seen.n === n) return false;
    this.#seen.set(origin.id, { generation: origin.generation, n });
    return true;
  }

  /** Forgets what concerns servers that are not known any more. */
  forgetAllBut(known: { get(id: NodeId): unknown; readonly count: number }) {
    for (const map of [this.#heard, this.#states, this.#seen]) {
      if (map.size <= known.count) continue;
      for (const id of [...map.keys()]) {
        if (known.get(id) === undefined) map.delete(id);
      }
    }
  }
}
