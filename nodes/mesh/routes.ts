/** Who is reached over which links, and on which of them an event is pushed at once. */

import type { NodeId } from "../../protocol/ids.ts";
import type { Topology } from "../../protocol/mesh.ts";

/** Ids of the servers to which a server says that its links stand. */
export type Claims = ReadonlyMap<NodeId, readonly NodeId[]>;

type Edge = readonly [NodeId, NodeId];

/**
 * The graph of those links that both ends speak of (RFC 2328, section 16.1,
 * does the same), seen from one server, with a topology laid upon it.
 */
export class Routes {
  /** Servers to which a way leads, this one included; sorted. */
  readonly reachable: readonly NodeId[];
  /** Links on which events are pushed, the lower id first; sorted. */
  readonly edges: readonly Edge[];
  /** Whether the topology could not be had, so that all links push. */
  readonly isFlooded: boolean;
  readonly #eager = new Map<NodeId, Set<NodeId>>();
  readonly #links: ReadonlyMap<NodeId, ReadonlySet<NodeId>>;

  constructor(
    claims: Claims,
    { self, topology }: { self: NodeId; topology: Topology },
  ) {
    const links = linksOf(claims);
    this.#links = links;
    this.reachable = reachableFrom(self, links);
    const wanted = wantedEdges(this.reachable, topology);
    const isThere = ([a, b]: Edge) => links.get(a)?.has(b) === true;
    this.isFlooded = wanted !== undefined && !wanted.every(isThere);
    this.edges = wanted === undefined || this.isFlooded
      ? allEdges(this.reachable, links)
      : wanted;
    for (const id of this.reachable) this.#eager.set(id, new Set());
    for (const [a, b] of this.edges) {
      this.#eager.get(a)?.add(b);
      this.#eager.get(b)?.add(a);
    }
  }

  /** The servers to which this one pushes. */
  eagerOf(id: NodeId): ReadonlySet<NodeId> {
    return this.#eager.get(id) ?? NOBODY;
  }

  /** Whether both say that a link stands between them. */
  areLinked(a: NodeId, b: NodeId): boolean {
    return this.#links.get(a)?.has(b) === true;
  }
}

const NOBODY: ReadonlySet<NodeId> = new Set();

function linksOf(claims: Claims): Map<NodeId, Set<NodeId>> {
  const links = new Map<NodeId, Set<NodeId>>();
  for (const [id, neighbours] of claims) links.set(id, new Set(neighbours));
  for (const [id, others] of links) {
    for (const other of others) {
      if (other === id || links.get(other)?.has(id) !== true) {
        others.delete(other);
      }
    }
  }
  return links;
}

function reachableFrom(
  self: NodeId,
  links: ReadonlyMap<NodeId, ReadonlySet<NodeId>>,
): NodeId[] {
  const found = new Set([self]);
  // What is added while it is walked is walked too.
  for (const id of found) {
    for (const other of links.get(id) ?? []) found.add(other);
  }
  return [...found].sort();
}

/** Edges between sorted ids; undefined: all there are. */
function wantedEdges(
  ids: readonly NodeId[],
  topology: Topology,
): Edge[] | undefined {
  switch (topology) {
    case "mesh":
      return undefined;
    case "star":
      return ids.slice(1).map((id) => [ids[0], id]);
    case "bus":
      return ids.slice(1).map((id, at) => [ids[at], id]);
    case "ring": {
      const edges: Edge[] = ids.slice(1).map((id, at) => [ids[at], id]);
      // Of two the edge is there already; of one there is none.
      if (ids.length > 2) edges.push([ids[0], ids[ids.length - 1]]);
      return edges.sort(compareEdges);
    }
  }
}

function allEdges(
  ids: readonly NodeId[],
  links: ReadonlyMap<NodeId, ReadonlySet<NodeId>>,
): Edge[] {
  const edges: Edge[] = [];
  for (const a of ids) {
    for (const b of links.get(a) ?? []) if (a < b) edges.push([a, b]);
  }
  return edges.sort(compareEdges);
}

function compareEdges(a: Edge, b: Edge): number {
  if (a[0] !== b[0]) return a[0] < b[0] ? -1 : 1;
  return a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0;
}
