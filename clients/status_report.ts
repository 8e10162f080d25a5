/** What the answers of several servers say together, and as a table for people. */

import { formatEpoch, type StoreId } from "../protocol/epoch.ts";
import type {
  NodeRole,
  NodeStatus,
  PeerStatus,
  RivalStatus,
} from "../protocol/status.ts";
import { escapeText } from "../nodes/host/text.ts";
import { type Column, tableLines } from "./table.ts";

/** What an operator can do about two groups that both hold data. */
export const RIVAL_ADVICE =
  "Such groups never merge by themselves: stop the servers of one and start them with a new --data directory, so that they join the other; or tell them apart with --cluster";

/** What came back from one client port. */
export type StatusAnswer =
  | { readonly address: string; readonly status: NodeStatus }
  | {
    readonly address: string;
    readonly problem: string;
    /** Who should be there, as others say. */
    readonly node?: string;
  };

/** A line of the table; what is not known is absent. */
export interface StatusRow {
  /** Its id, or the address where nobody said who is there. */
  readonly node: string;
  readonly role: NodeRole | "unknown";
  /** Whether it answered itself; else others told of it. */
  readonly hasAnswered: boolean;
  readonly epoch?: string;
  readonly committedIndex?: number;
  readonly appliedIndex?: number;
  /** Entries behind what is known to be committed, or in the primary's log. */
  readonly lag?: number;
  readonly hash?: string;
  readonly diskUsedBytes?: number;
  readonly diskFreeBytes?: number;
  readonly clients?: number;
  /** How long it has known its view to be active, and why that was made. */
  readonly viewAgeMs?: number;
  readonly viewReason?: string;
  /** Why it does not answer, or whom it does not reach. */
  readonly problem?: string;
}

/** The group as a whole. */
export interface StatusReport {
  readonly cluster: string | undefined;
  /** By the newest view's primary if it answered, else by any server: others hear that it lives, not whom it hears. */
  readonly isWritable: boolean;
  /** Of the highest epoch that was answered. */
  readonly primary: string | undefined;
  /**
   * How many more nodes may be lost, whichever they are: as long as a majority
   * of voters and one server in sync are left. Undefined if nobody leads.
   */
  readonly lossesLeft: number | undefined;
  readonly rows: readonly StatusRow[];
  /** What an operator should know; sentences. */
  readonly remarks: readonly string[];
}

interface Answered {
  readonly address: string;
  readonly status: NodeStatus;
}

/**
 * Puts the answers together: each node once, servers first.
 *
 * @param notes What is known beside the answers; remarks as well.
 */
export function statusReport(
  answers: readonly StatusAnswer[],
  notes: readonly string[] = [],
): StatusReport {
  const answered = onePerNode(
    answers.filter((answer): answer is Answered => "status" in answer),
  );
  const newest = newestOf(answered)?.status;
  const committedIndex = Math.max(
    0,
    ...answered.map(({ status }) => status.committedIndex),
  );
  const rows = [
    ...answered.map(({ status }) => answeredRow(status, committedIndex)),
    ...otherRows(answers, newest),
  ];
  rows.sort(byKindAndName);
  return {
    cluster: newest?.cluster,
    isWritable: isWritable(answered, newest),
    primary: newest?.view?.primary,
    lossesLeft: lossesLeft(newest),
    rows,
    remarks: [...remarksOn(answered, newest), ...notes],
  };
}

const COLUMNS: readonly Column[] = [
  { heading: "NODE" },
  { heading: "ROLE" },
  { heading: "EPOCH" },
  { heading: "COMMITTED", isNumber: true },
  { heading: "APPLIED", isNumber: true },
  { heading: "LAG", isNumber: true },
  { heading: "DISK" },
  { heading: "CLIENTS", isNumber: true },
  // Problems stand in its place.
  { heading: "LAST CHANGE OF VIEW" },
];

const REASON_CHARACTERS_MAX = 100;

/**
 * Lines for a terminal or a file, without escape sequences.
 *
 * @param columnsMax What of the table is wider is cut off; sentences are not.
 */
export function formatReport(
  report: StatusReport,
  columnsMax = Infinity,
): string[] {
  const cut = (line: string) =>
    line.length > columnsMax ? `${line.slice(0, columnsMax - 1)}…` : line;
  const table = report.rows.length > 0
    ? tableLines(COLUMNS, report.rows.map(cellsOf))
    : [];
  return [
    escapeText(summary(report)),
    ...table.length > 0 ? ["", ...table.map(escapeText).map(cut)] : [],
    ...report.remarks.length > 0 ? ["", ...report.remarks.map(escapeText)] : [],
  ];
}

function summary(report: StatusReport): string {
  const { cluster, primary, isWritable, lossesLeft } = report;
  if (cluster === undefined) return "No server answers";
  const leads = primary === undefined
    ? "no primary is known"
    : `${primary} leads`;
  const survives = lossesLeft === undefined
    ? ""
    : lossesLeft === 0
    ? ", survives no loss"
    : `, survives the loss of any ${lossesLeft}`;
  return `Cluster ${cluster}: ${leads}; ${
    isWritable ? `takes writes${survives}` : "takes NO writes"
  }`;
}

function isWritable(
  answered: readonly Answered[],
  newest: NodeStatus | undefined,
): boolean {
  return newest?.role === "primary"
    ? newest.isWritable
    : answered.some(({ status }) => status.isWritable);
}

/** By what the primary sees; anybody else may have other links than it has. */
function lossesLeft(newest: NodeStatus | undefined): number | undefined {
  if (newest?.view === undefined || newest.role !== "primary") return undefined;
  const { members, voters, previousVoters } = newest.view;
  const present = new Set(
    newest.peers.filter(({ isLinked }) => isLinked).map(({ id }) => id),
  ).add(newest.node);
  const inSync = members.filter((id) => present.has(id)).length;
  const spare = (ids: readonly string[]) =>
    ids.filter((id) => present.has(id)).length - Math.floor(ids.length / 2) - 1;
  const voting = Math.min(spare(voters), spare(previousVoters ?? voters));
  return Math.max(0, Math.min(voting, inSync - 1));
}

function cellsOf(row: StatusRow): readonly string[] {
  const number = (value: number | undefined) => value?.toString() ?? "-";
  return [
    row.node,
    row.hasAnswered || row.role === "witness" ? row.role : `(${row.role})`,
    row.epoch ?? "-",
    number(row.committedIndex),
    number(row.appliedIndex),
    number(row.lag),
    diskText(row),
    number(row.clients),
    lastCell(row),
  ];
}

function lastCell(row: StatusRow): string {
  if (row.problem !== undefined) return row.problem;
  if (row.viewAgeMs === undefined) return "-";
  const reason = row.viewReason ?? "";
  const short = reason.length > REASON_CHARACTERS_MAX
    ? `${reason.slice(0, REASON_CHARACTERS_MAX - 1)}…`
    : reason;
  return `${ageText(row.viewAgeMs)} ago${short === "" ? "" : `: ${short}`}`;
}

function diskText({ diskUsedBytes, diskFreeBytes }: StatusRow): string {
  if (diskUsedBytes === undefined) return "-";
  const free = diskFreeBytes === undefined
    ? ""
    : `, ${sizeText(diskFreeBytes)} free`;
  return `${sizeText(diskUsedBytes)}${free}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1_000 && unit < UNITS.length - 1) {
    value /= 1_024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** `250 ms`, `42 s`, `3 min`, `5 h`, `2 d`: as exact as anybody needs. */
function ageText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${Math.floor(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.floor(ms / 3_600_000)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}

/** A server that two addresses lead to is one; two servers of one id stay two. */
function onePerNode(answered: readonly Answered[]): Answered[] {
  const stores = new Map<string, Answered>();
  for (const one of answered) {
    const key = `${one.status.cluster} ${one.status.node} ${one.status.store}`;
    if (!stores.has(key)) stores.set(key, one);
  }
  return [...stores.values()];
}

/** Whoever knows the newest view; the primary itself, if it answered. */
function newestOf(answered: readonly Answered[]): Answered | undefined {
  let newest: Answered | undefined;
  for (const one of answered) {
    const better = newest === undefined ||
      viewRank(one.status) > viewRank(newest.status) ||
      viewRank(one.status) === viewRank(newest.status) &&
        one.status.role === "primary";
    if (better) newest = one;
  }
  return newest;
}

function viewRank({ view }: NodeStatus): string {
  if (view === undefined) return "";
  const { counter, store } = view.epoch;
  return `${counter.toString().padStart(16, "0")}.${store}`;
}

function answeredRow(status: NodeStatus, committedIndex: number): StatusRow {
  const { view, diskUsedBytes, diskFreeBytes } = status;
  const isServer = status.kind === "server";
  return {
    node: status.node,
    role: status.role,
    hasAnswered: true,
    ...view !== undefined && {
      epoch: formatEpoch(view.epoch),
      viewAgeMs: view.ageMs,
      viewReason: view.reason,
    },
    ...isServer && {
      committedIndex: status.committedIndex,
      appliedIndex: status.appliedIndex,
      lag: committedIndex - status.appliedIndex,
      hash: status.hash,
    },
    ...diskUsedBytes !== undefined && { diskUsedBytes },
    ...diskFreeBytes !== undefined && { diskFreeBytes },
    clients: status.clients,
  };
}

/** Who did not answer: known by its address, or by what others say of it. */
function otherRows(
  answers: readonly StatusAnswer[],
  newest: NodeStatus | undefined,
): StatusRow[] {
  const rows: StatusRow[] = [];
  const names = new Set(
    answers.flatMap((one) => "status" in one ? [one.status.node] : []),
  );
  const silent = answers.filter((one) => "problem" in one);
  const shown = new Set<string>();
  for (const peer of newest?.peers ?? []) {
    if (newest === undefined || names.has(peer.id)) continue;
    const answer = silent.find(({ address, node }) =>
      node === peer.id || address === peer.clientAddress
    );
    if (answer !== undefined) shown.add(answer.address);
    rows.push(peerRow(peer, { told: newest, answer }));
  }
  for (const { address, problem } of silent) {
    if (shown.has(address)) continue;
    rows.push({
      node: address,
      role: "unknown",
      hasAnswered: false,
      problem: `does not answer: ${problem}`,
    });
  }
  return rows;
}

function peerRow(
  peer: PeerStatus,
  from: {
    readonly told: NodeStatus;
    readonly answer: { address: string; problem: string } | undefined;
  },
): StatusRow {
  const { id, role, kind, isLinked, acknowledgedIndex } = peer;
  const { told, answer } = from;
  const link = isLinked
    ? `linked to ${told.node}`
    : `no link to ${told.node}${
      peer.problem === undefined ? "" : `: ${peer.problem}`
    }`;
  const silence = answer !== undefined
    ? `${answer.address} does not answer: ${answer.problem}; `
    : kind === "server" && isLinked
    ? "not asked; "
    : "";
  return {
    node: id,
    role,
    hasAnswered: false,
    ...acknowledgedIndex !== undefined && {
      lag: Math.max(0, told.lastIndex - acknowledgedIndex),
    },
    problem: `${silence}${link}`,
  };
}

function byKindAndName(one: StatusRow, other: StatusRow): number {
  const rank = ({ role }: StatusRow) =>
    role === "unknown" ? 2 : role === "witness" ? 1 : 0;
  const ranks = rank(one) - rank(other);
  if (ranks !== 0) return ranks;
  return one.node < other.node ? -1 : one.node > other.node ? 1 : 0;
}

function remarksOn(
  answered: readonly Answered[],
  newest: NodeStatus | undefined,
): string[] {
  if (newest === undefined) return [];
  const remarks: string[] = [];
  const clusters = new Set(answered.map(({ status }) => status.cluster));
  if (clusters.size > 1) {
    remarks.push(
      `These servers are of different clusters: ${[...clusters].join(", ")}`,
    );
  }
  if (!isWritable(answered, newest)) {
    const waits = new Set(answered.flatMap(({ status }) => status.waitsFor));
    remarks.push(...[...waits].map((what) => `Waits for ${what}`));
  }
  remarks.push(...disagreements(answered), ...twins(answered));
  const missing = newest.view?.members.length ?? 0;
  const servers = newest.peers.filter(({ kind }) => kind === "server").length +
    1;
  if (newest.view !== undefined && missing < servers) {
    const out = [
      newest.node,
      ...newest.peers.flatMap(({ id, kind }) => kind === "server" ? [id] : []),
    ].filter((id) => !newest.view?.members.includes(id)).sort();
    remarks.push(`Not in sync: ${out.join(", ")}`);
  }
  const versions = new Set(answered.map(({ status }) => status.version));
  if (versions.size > 1) {
    remarks.push(`Different versions run: ${[...versions].sort().join(", ")}`);
  }
  const open = answered.filter(({ status }) => status.openTo !== undefined);
  if (open.length > 0) {
    remarks.push(
      `${open.map(({ status }) => status.node).sort().join(", ")}: ${
        open[0].status.openTo
      }`,
    );
  }
  remarks.push(...groupRemarks(answered));
  return remarks;
}

/** How others find the group, and which group it never merges with by itself. */
function groupRemarks(answered: readonly Answered[]): string[] {
  const remarks: string[] = [];
  const ways = new Set(answered.flatMap(({ status }) => status.discover ?? []));
  if (ways.size > 0) {
    remarks.push(`Servers and clients find it by ${[...ways].join(", ")}`);
  }
  const groups = new Set(answered.flatMap(({ status }) => status.group ?? []));
  if (groups.size > 1) {
    remarks.push(
      `These servers are of ${groups.size} groups, which share nothing: ${
        [...groups].sort().join(", ")
      }`,
    );
  }
  const rivals = new Map<StoreId, RivalStatus>();
  for (const { status } of answered) {
    for (const rival of status.rivals ?? []) rivals.set(rival.group, rival);
  }
  for (const { group, leader, epoch, address } of rivals.values()) {
    remarks.push(
      `RIVAL: the group of ${leader} (epoch ${
        formatEpoch(epoch)
      }, ${address}, group ${group}) holds data as well`,
    );
  }
  if (rivals.size > 0) remarks.push(RIVAL_ADVICE);
  return remarks;
}

/** Servers that have applied the same, and have another state: must never be. */
function disagreements(answered: readonly Answered[]): string[] {
  const remarks: string[] = [];
  const byIndex = new Map<string, NodeStatus>();
  for (const { status } of answered) {
    if (status.hash === "" || status.appliedIndex === 0) continue;
    const key = `${status.cluster} ${status.appliedIndex}`;
    const other = byIndex.get(key);
    if (other === undefined) byIndex.set(key, status);
    else if (other.hash !== status.hash) {
      remarks.push(
        `${other.node} and ${status.node} DIFFER at index ${status.appliedIndex}: state ${other.hash} and ${status.hash}`,
      );
    }
  }
  return remarks;
}

/** Two stores under one id, or two that say that they lead. */
function twins(answered: readonly Answered[]): string[] {
  const remarks: string[] = [];
  const names = new Map<string, NodeStatus>();
  for (const { status } of answered) {
    const other = names.get(status.node);
    if (other !== undefined) {
      remarks.push(
        `Two servers have the id ${status.node}: stores ${other.store} and ${status.store}`,
      );
    } else names.set(status.node, status);
  }
  const leaders = answered.filter(({ status }) => status.role === "primary")
    .map(({ status }) =>
      `${status.node} (epoch ${
        status.view === undefined ? "none" : formatEpoch(status.view.epoch)
      })`
    );
  if (leaders.length > 1) {
    remarks.push(
      `${
        leaders.sort().join(" and ")
      } each say that they lead: only the one of the highest epoch can commit`,
    );
  }
  return remarks;
}
