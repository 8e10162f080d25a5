/** What was heard of nodes and groups around, with bounds and an end. */

import type { Address } from "../protocol/address.ts";
import { formatAddress } from "../protocol/address.ts";
import type { Advert, AdvertLeader } from "../protocol/discovery.ts";
import { compareEpochs, type Epoch, type StoreId } from "../protocol/epoch.ts";
import type { NodeId } from "../protocol/ids.ts";
import { compareRank, type NodeKind, NODES_MAX } from "../protocol/view.ts";

/** Nodes remembered: so many of the own group, without a group, and of others. */
const SIGHTINGS_MAX = 2 * NODES_MAX;

/** Groups remembered that somebody said were dissolved. */
const DISSOLVED_KEPT_MAX = 4 * NODES_MAX;

/** What one node has said of itself last. */
export interface Sighting {
  readonly advert: Advert;
  readonly address: Address;
  readonly heardMs: number;
  /** What was told of it when it was last met; undefined if it is not to be met. */
  metAs: string | undefined;
}

/** What makes one group remain rather than another. */
export interface GroupRank {
  readonly id: StoreId;
  /** Or has a witness: it is meant, and never gives itself up. */
  readonly holdsData: boolean;
  readonly leader: AdvertLeader;
}

/** A group as its nodes have told of it. */
export interface HeardGroup extends GroupRank {
  readonly epoch: Epoch;
  readonly heardMs: number;
  /** Whether one of its nodes says that it takes writes. */
  readonly isWorking: boolean;
  /** The leader itself has said so. */
  readonly isLeaderHeard: boolean;
  /** Its leader, or else the node with the lowest id that told of it. */
  readonly from: NodeId;
  readonly address: Address;
  readonly servers: number;
}

/**
 * Above 0 if `a` remains before `b`: data before none, then the higher leader,
 * then the higher founder. Both groups come to the same answer.
 */
export function compareGroups(a: GroupRank, b: GroupRank): number {
  if (a.holdsData !== b.holdsData) return a.holdsData ? 1 : -1;
  const byLeader = compareRank(
    { ...a.leader, kind: "server" },
    { ...b.leader, kind: "server" },
  );
  if (byLeader !== 0) return byLeader;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/**
 * The group that a node without one should join; undefined if none. A witness
 * binds a group for good, so it lets several empty ones settle first.
 */
export function preferredGroup<Group extends GroupRank>(
  groups: readonly Group[],
  kind: NodeKind,
): Group | undefined {
  if (groups.length === 0) return undefined;
  const best = groups.reduce((a, b) => compareGroups(a, b) > 0 ? a : b);
  const mustSettle = kind === "witness" && groups.length > 1 && !best.holdsData;
  return mustSettle ? undefined : best;
}

/** Remembers the last word of each node for a while. */
export class Sightings {
  readonly #keepMs: number;
  /** By node id; who was heard of last stands last. */
  readonly #nodes = new Map<NodeId, Sighting>();
  /** In the order in which they were heard of. */
  readonly #dissolved: Set<StoreId>;

  /**
   * @param options `keepMs`: how long a node is remembered that is silent;
   * `dissolved`: groups that are known to have ended.
   */
  constructor(options: { keepMs: number; dissolved: readonly StoreId[] }) {
    this.#keepMs = options.keepMs;
    this.#dissolved = new Set(options.dissolved);
  }

  /** All that are remembered, in no order that means anything. */
  get nodes(): Iterable<Sighting> {
    return this.#nodes.values();
  }

  /** Whether somebody who was in that group says that it has ended. */
  isDissolved(group: StoreId): boolean {
    return this.#dissolved.has(group);
  }

  /** A node has said this of itself. */
  add(
    heard: Pick<Sighting, "advert" | "address" | "heardMs">,
    own: StoreId | undefined,
  ): void {
    const { advert } = heard;
    const before = this.#nodes.get(advert.id);
    const isSame = before !== undefined && wordOf(before) === wordOf(heard);
    this.#nodes.delete(advert.id);
    this.#makeRoom(kindOf(advert, own), own);
    const metAs = isSame ? before.metAs : undefined;
    this.#nodes.set(advert.id, { ...heard, metAs });
    for (const group of advert.dissolved) this.#noteDissolved(group);
  }

  /** Forgets who has been silent for too long. */
  forget(nowMs: number): void {
    for (const [id, { heardMs }] of this.#nodes) {
      if (nowMs - heardMs <= this.#keepMs) return;
      this.#nodes.delete(id);
    }
  }

  /** Groups that have not ended, without `own`. */
  groups(own: StoreId | undefined): HeardGroup[] {
    const groups = new Map<StoreId, HeardGroup>();
    for (const sighting of this.#nodes.values()) {
      const { group } = sighting.advert;
      if (group === undefined || group.id === own) continue;
      if (this.#dissolved.has(group.id)) continue;
      groups.set(group.id, merge(groups.get(group.id), sighting));
    }
    return [...groups.values()];
  }

  /** What is known of one group; undefined if it has ended, or nothing is known. */
  group(id: StoreId): HeardGroup | undefined {
    return this.groups(undefined).find((group) => group.id === id);
  }

  #noteDissolved(group: StoreId): void {
    this.#dissolved.add(group);
    if (this.#dissolved.size <= DISSOLVED_KEPT_MAX) return;
    for (const oldest of this.#dissolved) {
      this.#dissolved.delete(oldest);
      return;
    }
  }

  /** The oldest of a kind goes first: strangers cannot push out the own group. */
  #makeRoom(kind: SightingKind, own: StoreId | undefined): void {
    let oldest: NodeId | undefined;
    let count = 0;
    for (const [id, { advert }] of this.#nodes) {
      if (kindOf(advert, own) !== kind) continue;
      oldest ??= id;
      count += 1;
    }
    if (count >= SIGHTINGS_MAX && oldest !== undefined) {
      this.#nodes.delete(oldest);
    }
  }
}

/** Where a node is, in one string: met again when it changes. */
export function wordOf(
  { advert, address }: Pick<Sighting, "advert" | "address">,
): string {
  return `${advert.store} ${advert.group?.id} ${formatAddress(address)}`;
}

type SightingKind = "own" | "none" | "other";

function kindOf({ group }: Advert, own: StoreId | undefined): SightingKind {
  if (group === undefined) return "none";
  return group.id === own ? "own" : "other";
}

/** What several nodes say of one group: the newest epoch knows who leads. */
function merge(known: HeardGroup | undefined, sighting: Sighting): HeardGroup {
  const { advert, address, heardMs } = sighting;
  const { group, id, kind } = advert;
  if (group === undefined) throw new Error(`"${id}" tells of no group`);
  const servers = (known?.servers ?? 0) + (kind === "server" ? 1 : 0);
  const holdsData = known?.holdsData === true || !group.isVoid;
  const isWorking = known?.isWorking === true || group.isWorking;
  const isNewer = known === undefined ||
    compareEpochs(group.epoch, known.epoch) > 0;
  const { epoch, leader } = isNewer ? group : known;
  const isLeader = id === leader.id && id === group.leader.id;
  const isLeaderHeard = isLeader ||
    known?.isLeaderHeard === true && known.leader.id === leader.id;
  const tells = known === undefined || id === leader.id ||
    known.from !== leader.id && id < known.from;
  return {
    id: group.id,
    holdsData,
    isWorking,
    leader,
    epoch,
    heardMs: Math.max(known?.heardMs ?? 0, heardMs),
    isLeaderHeard,
    from: tells ? id : known.from,
    address: tells ? address : known.address,
    servers,
  };
}
