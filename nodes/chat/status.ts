/** What a node says of itself and its group: to people, probes and programs. */

import type { Epoch, StoreId } from "../../protocol/epoch.ts";
import type { NodeId } from "../../protocol/ids.ts";
import {
  type NodeRole,
  type NodeStatus,
  type PeerStatus,
  RIVALS_SHOWN_MAX,
} from "../../protocol/status.ts";
import { formatAddress } from "../../protocol/address.ts";
import type { NodeKind, View } from "../../protocol/view.ts";
import type { Rival } from "../../election/discovery_contract.ts";
import { formatChoice } from "../host/discovery/discover_flags.ts";
import { VERSION } from "../host/flags.ts";
import type { Readiness } from "../host/admin.ts";
import type { GroupState } from "./replica/contract.ts";
import type { NodeSettings } from "./group/group_flags.ts";
import type { PeerState } from "./links/peers.ts";

/** What a node knows of itself; a witness has 0 in place of an index. */
export interface StatusParts {
  readonly settings: Pick<
    NodeSettings,
    "id" | "cluster" | "key" | "group" | "discover"
  >;
  readonly kind: NodeKind;
  readonly store: StoreId;
  readonly group: GroupState;
  /** How long `group.view` has been known to be active. */
  readonly viewAgeMs: number;
  readonly lastIndex: number;
  readonly committedIndex: number;
  readonly appliedIndex: number;
  /** Of the state at `appliedIndex`; empty on a witness. */
  readonly hash: string;
  readonly diskUsedBytes: number | undefined;
  readonly diskFreeBytes: number | undefined;
  readonly clients: number;
  /** The group of the newest view accepted, active or not. */
  readonly groupId: StoreId | undefined;
  readonly rivals: readonly Rival[];
  /** {@linkcode PeerLinks.states} */
  readonly links: readonly PeerState[];
  /** {@linkcode PeerLinks.clientAddressOf} */
  readonly clientAddressOf: (store: StoreId) => string | undefined;
  /** A primary: up to where that server has acknowledged the log. */
  readonly acknowledgedBy: (store: StoreId) => number | undefined;
}

/** Committed entries that a server may still have to apply and be called ready. */
const UNAPPLIED_MAX = 1_000;

const OPEN_TO = "no key: open to private networks";

/** Puts together what {@linkcode NodeStatus} says. */
export function nodeStatus(parts: StatusParts): NodeStatus {
  const { settings, group, diskUsedBytes, diskFreeBytes } = parts;
  const { view } = group;
  return {
    version: VERSION,
    cluster: settings.cluster,
    node: settings.id,
    store: parts.store,
    kind: parts.kind,
    role: group.role,
    ...view !== undefined && {
      view: {
        epoch: view.epoch,
        primary: nameIn(view, view.primary),
        members: view.members.map((store) => nameIn(view, store)).sort(),
        voters: view.voters.map((store) => nameIn(view, store)).sort(),
        ...view.previousVoters !== undefined && {
          previousVoters: view.previousVoters
            .map((store) => nameIn(view, store)).sort(),
        },
        reason: view.reason,
        ageMs: Math.max(0, Math.round(parts.viewAgeMs)),
      },
    },
    isWritable: group.isWritable,
    waitsFor: group.waitsFor,
    lastIndex: parts.lastIndex,
    committedIndex: parts.committedIndex,
    appliedIndex: parts.appliedIndex,
    hash: parts.hash,
    ...diskUsedBytes !== undefined && { diskUsedBytes },
    ...diskFreeBytes !== undefined && { diskFreeBytes },
    clients: parts.clients,
    ...settings.key === undefined && { openTo: OPEN_TO },
    ...parts.groupId !== undefined && { group: parts.groupId },
    ...settings.discover !== undefined &&
      { discover: formatChoice(settings.discover) },
    ...parts.rivals.length > 0 && {
      rivals: parts.rivals.slice(0, RIVALS_SHOWN_MAX).map((rival) => ({
        ...{ group: rival.group, leader: rival.leader, epoch: rival.epoch },
        address: formatAddress(rival.address),
      })),
    },
    peers: peersOf(parts),
  };
}

/** Whether a chat server can do its job: it is in sync, and the group takes writes. */
export function chatReadiness(
  status: NodeStatus,
  node: { readonly isStopping: boolean },
): Readiness {
  const reasons: string[] = [];
  if (node.isStopping) reasons.push("This server is stopping");
  const { view, role } = status;
  if (view === undefined) {
    reasons.push("This server knows no active view of its group");
  } else if (role !== "primary" && role !== "member") {
    reasons.push(
      `This server is not in sync: the members are ${view.members.join(", ")}`,
    );
  }
  const unapplied = status.committedIndex - status.appliedIndex;
  if (unapplied > UNAPPLIED_MAX) {
    reasons.push(`This server has ${unapplied} committed entries to apply`);
  }
  if (!status.isWritable) {
    reasons.push(
      ...status.waitsFor.length > 0
        ? status.waitsFor
        : ["The group takes no writes"],
    );
  }
  return { ready: reasons.length === 0, reasons };
}

/** Whether a witness can vote: it knows a view, and hears that view's primary. */
export function witnessReadiness(
  status: NodeStatus,
  node: { readonly isStopping: boolean },
): Readiness {
  const reasons: string[] = [];
  if (node.isStopping) reasons.push("This witness is stopping");
  const { view } = status;
  if (view === undefined) {
    reasons.push("This witness knows no active view of its group");
    reasons.push(...status.waitsFor);
  } else {
    const primary = status.peers.find(({ id }) => id === view.primary);
    if (primary?.isLinked !== true) {
      reasons.push(
        `No link to the primary ${view.primary}${
          primary?.problem === undefined ? "" : `: ${primary.problem}`
        }`,
      );
    }
  }
  return { ready: reasons.length === 0, reasons };
}

/** A number for an epoch, for dashboards: it grows with every view. */
export function epochNumber(epoch: Epoch | undefined): number {
  return epoch?.counter ?? 0;
}

function nameIn(view: View, store: StoreId): NodeId {
  return Object.hasOwn(view.nodes, store) ? view.nodes[store].id : store;
}

/** Everybody else that is configured, linked or in the view, by id. */
function peersOf(parts: StatusParts): PeerStatus[] {
  const { settings, group: { view }, links } = parts;
  const kinds = new Map<NodeId, NodeKind>();
  for (const { id, kind } of settings.group) kinds.set(id, kind);
  for (const { id, kind } of links) kinds.set(id, kind);
  const named = view === undefined ? [] : [...view.voters, ...view.members];
  for (const store of named) {
    const info = view?.nodes[store];
    if (info !== undefined) kinds.set(info.id, info.kind);
  }
  kinds.delete(settings.id);
  return [...kinds].sort(([one], [other]) => one < other ? -1 : 1)
    .map(([id, kind]) => peerOf(parts, { id, kind }));
}

function peerOf(
  parts: StatusParts,
  { id, kind }: { readonly id: NodeId; readonly kind: NodeKind },
): PeerStatus {
  const { settings, group: { view }, links } = parts;
  const configured = settings.group.find((node) => node.id === id);
  const link = links.find((one) => one.id === id);
  const isLinked = link?.isLinked === true;
  const address = link?.address ??
    (configured && formatAddress(configured.address));
  const clientAddress =
    (link?.store === undefined
      ? undefined
      : parts.clientAddressOf(link.store)) ??
      (configured?.clients && formatAddress(configured.clients));
  const acknowledgedIndex = link?.store === undefined || kind === "witness"
    ? undefined
    : parts.acknowledgedBy(link.store);
  const problem = link?.problem;
  return {
    id,
    kind,
    role: roleIn(view, { id, kind, isLinked }),
    ...address !== undefined && { address },
    ...clientAddress !== undefined && { clientAddress },
    isLinked,
    ...problem !== undefined && { problem },
    ...acknowledgedIndex !== undefined && { acknowledgedIndex },
  };
}

/** The role of a node by its name: a new store of that name is a learner. */
function roleIn(
  view: View | undefined,
  node: { id: NodeId; kind: NodeKind; isLinked: boolean },
): NodeRole {
  if (node.kind === "witness") return "witness";
  if (view === undefined) return "none";
  if (nameIn(view, view.primary) === node.id) return "primary";
  if (view.members.some((store) => nameIn(view, store) === node.id)) {
    return "member";
  }
  return node.isLinked ? "learner" : "none";
}
