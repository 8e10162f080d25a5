/** Who answered, as a table for people and as an object for programs. */

import { formatAddress } from "../protocol/address.ts";
import { formatEpoch } from "../protocol/epoch.ts";
import type {
  FinderCounters,
  Sighting,
} from "../nodes/host/discovery/finder.ts";
import { formatChoice } from "../nodes/host/discovery/discover_flags.ts";
import { escapeText } from "../nodes/host/text.ts";
import type { DiscoverFlags } from "./discover_flags.ts";
import type { FoundGroup, FoundMesh, FoundNodes } from "./found_groups.ts";
import { RIVAL_ADVICE } from "./status_report.ts";
import { type Column, tableLines } from "./table.ts";

/** What a search has come to. */
export interface DiscoverReport {
  readonly groups: readonly FoundGroup[];
  readonly meshes: readonly FoundMesh[];
  readonly seekers: readonly Sighting[];
  /** What an operator should know; sentences. */
  readonly remarks: readonly string[];
}

type Settings = Pick<DiscoverFlags, "all" | "search" | "timeoutMs">;

/** How the search went. */
interface Search {
  readonly counters: FinderCounters;
  /** What is known of those that were asked in vain; sentences. */
  readonly problems: readonly string[];
}

/** Puts together who answered; if nobody did, what may be wrong. */
export function discoverReport(
  found: FoundNodes,
  search: Settings & Search,
): DiscoverReport {
  const { groups, meshes, seekers } = found;
  const nodes = [
    ...[...groups, ...meshes].flatMap(({ nodes }) => nodes),
    ...seekers,
  ];
  const remarks = nodes.length === 0
    ? silence(search)
    : [...rivals(groups), ...twins(nodes), ...openness(nodes)];
  return { groups, meshes, seekers, remarks };
}

const COLUMNS: readonly Column[] = [
  { heading: "NODE" },
  { heading: "ROLE" },
  { heading: "GROUP" },
  { heading: "EPOCH" },
  { heading: "SERVICE" },
  { heading: "CLUSTER" },
  { heading: "KEY" },
  { heading: "FOR NODES" },
  { heading: "FOR PEOPLE" },
  { heading: "MS", isNumber: true },
  { heading: "FOUND BY" },
];

/** Digits of a group's id that are shown. */
const GROUP_DIGITS = 8;

/** Lines for a terminal or a file, without escape sequences; groups are set apart. */
export function formatDiscovery(report: DiscoverReport): string[] {
  const { groups, meshes, seekers, remarks } = report;
  const blocks = [
    ...[...groups, ...meshes].map(({ nodes }) => nodes),
    ...seekers.length > 0 ? [seekers] : [],
  ];
  if (blocks.length === 0) return remarks.map(escapeText);
  const [headings, ...rows] = tableLines(
    COLUMNS,
    blocks.flatMap((nodes) => nodes.map(cellsOf)),
  );
  const lines = [headings];
  for (const [at, nodes] of blocks.entries()) {
    if (at > 0) lines.push("");
    lines.push(...rows.splice(0, nodes.length));
  }
  if (remarks.length > 0) lines.push("", ...remarks);
  return lines.map(escapeText);
}

/** For programs: nothing is cut. */
export function discoveryObject(report: DiscoverReport): object {
  const { groups, meshes, seekers, remarks } = report;
  return {
    groups: groups.map(({ nodes, ...group }) => ({
      ...group,
      nodes: nodes.map(nodeObject),
    })),
    meshes: meshes.map(({ cluster, nodes }) => ({
      cluster,
      nodes: nodes.map(nodeObject),
    })),
    seekers: seekers.map(nodeObject),
    remarks,
  };
}

function nodeObject({ advert, peers, clients, via, tookMs }: Sighting): object {
  return {
    ...advert,
    peers: formatAddress(peers),
    ...clients !== undefined && { clients: formatAddress(clients) },
    ...{ via, tookMs },
  };
}

function cellsOf({ advert, peers, clients, via, tookMs }: Sighting): string[] {
  const { id, group, service, cluster, isOpen } = advert;
  return [
    id,
    roleOf(advert),
    group?.id.slice(0, GROUP_DIGITS) ?? "-",
    group === undefined ? "-" : formatEpoch(group.epoch),
    ...[service, cluster],
    isOpen ? "none" : "yes",
    formatAddress(peers),
    clients === undefined ? "-" : formatAddress(clients),
    tookMs.toFixed(tookMs < 10 ? 1 : 0),
    via,
  ];
}

function roleOf({ id, kind, group, service }: Sighting["advert"]): string {
  if (service === "mesh") return kind;
  if (group === undefined) return `${kind}, looks for a group`;
  return group.leader.id === id ? "LEADER" : kind;
}

/** Groups that could be one, and are not. */
function rivals(groups: readonly FoundGroup[]): string[] {
  const remarks: string[] = [];
  const places = new Map<string, FoundGroup[]>();
  for (const group of groups) {
    const place = `${group.nodes[0].advert.service} ${group.cluster}`;
    places.set(place, [...places.get(place) ?? [], group]);
  }
  for (const [place, all] of places) {
    if (all.length === 1) continue;
    const full = all.filter(({ isVoid }) => !isVoid);
    const leaders = (some: readonly FoundGroup[]) =>
      some.map(({ leader }) => leader.id).join(" and ");
    if (full.length > 1) {
      remarks.push(
        `RIVALS (${place}): the groups of ${
          leaders(full)
        } hold data. ${RIVAL_ADVICE}`,
      );
    }
    const empty = all.filter(({ isVoid }) => isVoid);
    if (empty.length > 0) {
      remarks.push(
        `${all.length} groups (${place}): of ${
          leaders(empty)
        }, empty; they become one by themselves`,
      );
    }
  }
  return remarks;
}

/** Two stores under one id. */
function twins(nodes: readonly Sighting[]): string[] {
  const remarks: string[] = [];
  const stores = new Map<string, string>();
  for (const { advert: { service, cluster, id, store } } of nodes) {
    const name = `${service} ${cluster} ${id}`;
    const other = stores.get(name);
    if (other !== undefined && other !== store) {
      remarks.push(`Two nodes have the id ${id}: stores ${other} and ${store}`);
    }
    stores.set(name, store);
  }
  return remarks;
}

function openness(nodes: readonly Sighting[]): string[] {
  const open = nodes.filter(({ advert }) => advert.isOpen)
    .map(({ advert }) => advert.id).sort();
  if (open.length === 0) return [];
  return [
    `Without a cluster key, and so open to whoever is on their networks: ${
      [...new Set(open)].join(", ")
    }`,
  ];
}

/** What it may be that nobody answers; what was heard in vain comes first. */
function silence(
  { search, all, timeoutMs, counters, problems }: Settings & Search,
): string[] {
  const { where, cluster, key } = search;
  const heard = Object.entries(counters.refused)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason} ${count}`);
  const whose = all ? "" : ` of the cluster "${cluster}"`;
  const named = where.kind === "static"
    ? where.addresses.map(formatAddress).join(", ")
    : formatChoice(where);
  return [
    `No node${whose} answers by ${named} within ${timeoutMs / 1_000} s`,
    ...problems,
    ...heard.length > 0 ? [`Answers not taken: ${heard.join(", ")}`] : [],
    "",
    "It may be that",
    "- no node runs there, or it runs with --discover static",
    key === undefined
      ? "- they have a cluster key, and this command has none: --key-file"
      : "- they have no cluster key, or another one than this command",
    ...all ? [] : [`- they are of another cluster than "${cluster}": --all`],
    ...where.kind === "udp"
      ? [
        `- port ${where.port}/udp is closed by a firewall, or the network passes neither broadcast nor multicast: -c HOST:PORT asks a node over TCP`,
      ]
      : [],
  ];
}
