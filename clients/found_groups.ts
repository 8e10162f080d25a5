/** Which groups there are, by what their nodes say of themselves. */

import {
  type Address,
  formatAddress,
  isLoopbackAddress,
} from "../protocol/address.ts";
import type { AdvertGroup, AdvertLeader } from "../protocol/discovery.ts";
import { compareEpochs, type Epoch, type StoreId } from "../protocol/epoch.ts";
import { compareRank } from "../protocol/view.ts";
import { formatChoice } from "../nodes/host/discovery/discover_flags.ts";
import type { Sighting } from "../nodes/host/discovery/finder.ts";
import type { SearchSettings } from "./where_flags.ts";

/** A group, by what its nodes say that answered. */
export interface FoundGroup {
  /** The store that founded it. */
  readonly id: StoreId;
  readonly cluster: string;
  /** Of the newest view that one of them knows. */
  readonly epoch: Epoch;
  readonly leader: AdvertLeader;
  /** Servers in sync, and voters, in that view. */
  readonly members: number;
  readonly voters: number;
  /** Whether nothing was ever kept in it, as far as all of them know. */
  readonly isVoid: boolean;
  /** Each node once, by id. */
  readonly nodes: readonly Sighting[];
}

/** Mesh servers of one cluster; they have no leader. */
export interface FoundMesh {
  readonly cluster: string;
  /** Each once, by id. */
  readonly nodes: readonly Sighting[];
}

/** Everybody who was sighted. */
export interface FoundNodes {
  /** Best first: what holds data, then whose leader ranks highest. */
  readonly groups: readonly FoundGroup[];
  /** By cluster; the largest first. */
  readonly meshes: readonly FoundMesh[];
  /** Nodes that look for a group themselves. */
  readonly seekers: readonly Sighting[];
}

/** Sorts nodes into their groups. */
export function foundNodes(sightings: Iterable<Sighting>): FoundNodes {
  const groups = new Map<StoreId, Sighting[]>();
  const meshes = new Map<string, Sighting[]>();
  const seekers: Sighting[] = [];
  for (const sighting of sightings) {
    const { group, cluster, service } = sighting.advert;
    if (service === "mesh") {
      meshes.set(cluster, [...meshes.get(cluster) ?? [], sighting]);
    } else if (group === undefined) seekers.push(sighting);
    else {
      // Clusters may not know of each other, and still be on one network.
      const key = `${service} ${cluster} ${group.id}`;
      groups.set(key, [...groups.get(key) ?? [], sighting]);
    }
  }
  return {
    groups: [...groups.values()].flatMap((nodes) => groupOf(nodes) ?? [])
      .sort(byChoice),
    meshes: Array.from(meshes, ([cluster, nodes]) => ({
      cluster,
      nodes: nodes.sort(byId),
    })).sort((one, other) => other.nodes.length - one.nodes.length),
    seekers: seekers.sort(byId),
  };
}

/**
 * Where clients reach the servers of a group, its leader first; each once.
 */
export function clientAddresses({ nodes, leader }: FoundGroup): Address[] {
  const isLeader = ({ advert }: Sighting) => advert.id === leader.id;
  const [first] = nodes.filter(isLeader);
  const ordered = [
    first?.clients ?? leaderAddress(leader, nodes),
    ...nodes.filter((one) => !isLeader(one)).map(({ clients }) => clients),
  ];
  const taken = new Set<string>();
  return ordered.filter((address) => {
    if (address === undefined || taken.has(formatAddress(address))) {
      return false;
    }
    taken.add(formatAddress(address));
    return true;
  }).filter((address) => address !== undefined);
}

/** For people: whose group it is, how large, and whether there is anything in it. */
export function describeGroup(group: FoundGroup): string {
  const { leader, epoch, members, isVoid } = group;
  const servers = `${members} server${members === 1 ? "" : "s"}`;
  const empty = isVoid ? ", empty" : "";
  return `the group of ${leader.id} (epoch ${epoch.counter}, ${servers}${empty})`;
}

/** Where clients reach the servers of a mesh; each once. */
export function meshAddresses({ nodes }: FoundMesh): Address[] {
  const found = new Map<string, Address>();
  for (const { clients } of nodes) {
    if (clients !== undefined) found.set(formatAddress(clients), clients);
  }
  return [...found.values()];
}

/** For people: which servers these are. */
export function describeMesh({ nodes }: FoundMesh): string {
  const ids = nodes.map(({ advert }) => advert.id);
  return `the mesh of ${ids.join(", ")}`;
}

/** For people: who was looked for in vain, and what else to try. */
export function nobody({ where, cluster, key }: SearchSettings): string {
  const keyed = key === undefined
    ? "without a cluster key"
    : "with this cluster key";
  return `Nobody of the cluster "${cluster}" answers by ${
    formatChoice(where)
  } ${keyed}; "skein discover" tells more, "-c HOST:PORT" names a server`;
}

function groupOf(nodes: readonly Sighting[]): FoundGroup | undefined {
  let newest: AdvertGroup | undefined;
  for (const { advert: { group } } of nodes) {
    if (group === undefined) continue;
    const isNewer = newest === undefined ||
      compareEpochs(group.epoch, newest.epoch) > 0;
    if (isNewer) newest = group;
  }
  if (newest === undefined) return undefined;
  const { id, epoch, leader, members, voters } = newest;
  return {
    ...{ id, epoch, leader, members, voters },
    cluster: nodes[0].advert.cluster,
    // Whoever is behind may not know yet of what was kept.
    isVoid: nodes.every(({ advert }) => advert.group?.isVoid !== false),
    nodes: [...nodes].sort(byId),
  };
}

/** A leader that did not answer itself, as others know it. */
function leaderAddress(
  { clients }: AdvertLeader,
  nodes: readonly Sighting[],
): Address | undefined {
  if (clients === undefined || !isLoopbackAddress(clients.host)) return clients;
  // Of the machine of whoever tells of it; only here it may be this one.
  const isHere = nodes.some(({ peers }) => isLoopbackAddress(peers.host));
  return isHere ? clients : undefined;
}

function byChoice(one: FoundGroup, other: FoundGroup): number {
  if (one.isVoid !== other.isVoid) return one.isVoid ? 1 : -1;
  const rank = compareRank(
    { ...other.leader, kind: "server" },
    { ...one.leader, kind: "server" },
  );
  if (rank !== 0) return rank;
  return one.id < other.id ? 1 : -1;
}

function byId({ advert: one }: Sighting, { advert: other }: Sighting): number {
  return one.id < other.id ? -1 : one.id > other.id ? 1 : 0;
}
