/** What mesh servers say, as lines for people; nothing that others wrote can move the cursor or forge a line. */

import type {
  HistoryLine,
  ListedServer,
  MeshMessage,
  MeshStatus,
  ToClient,
  Topology,
  TraceReport,
} from "../protocol/mesh.ts";
import { escapeText } from "../nodes/host/text.ts";
import { tableLines } from "./table.ts";

/** How a time in ms since 1970 is shown. */
export type TimeOf = (ms: number) => string;

type Of<Type extends ToClient["type"]> = ToClient & { readonly type: Type };

/** A message to everyone or to a room: `[12:01 A] #room Dana: Hello`. */
function showSaid(message: MeshMessage, timeOf: TimeOf): string {
  const { from, server, text, time, room, local } = message;
  const where = room === undefined ? "" : `#${room} `;
  const whom = local === true ? " (to this server alone)" : "";
  return textLines(
    `[${timeOf(time)} ${server}] ${where}${from}${whom}: `,
    text,
  );
}

/** A private message: `[12:01 A] Dana -> Lina: Hello`. */
function showDirect(message: Of<"dm">, timeOf: TimeOf): string {
  const { from, to, server, text, time } = message;
  return textLines(`[${timeOf(time)} ${server}] ${from} -> ${to}: `, text);
}

/** Somebody who came or went. */
function showPresence(presence: Of<"presence">): string {
  const { event, name, was = "somebody", server } = presence;
  switch (event) {
    case "login":
      return note(`${name} is here (Server ${server})`);
    case "logout":
      return note(`${name} has gone (Server ${server})`);
    case "rename":
      return note(`${was} is ${name} now (Server ${server})`);
  }
}

/** A server that came or went. */
function showServerNews({ event, server }: Of<"server">): string {
  return note(
    event === "up"
      ? `Server ${server} is reached`
      : `Server ${server} is not reached`,
  );
}

/**
 * Whatever a server says, in lines.
 *
 * @returns None for what only says that something was done.
 */
export function answerLines(answer: ToClient, timeOf: TimeOf): string[] {
  switch (answer.type) {
    case "msg":
      return [showSaid(answer, timeOf)];
    case "dm":
      return [showDirect(answer, timeOf)];
    case "system":
      return [note(answer.text)];
    case "error":
      return [escapeText(answer.text)];
    case "presence":
      return [showPresence(answer)];
    case "server":
      return [showServerNews(answer)];
    case "who":
      return whoLines(answer, timeOf);
    case "rooms":
      return roomLines(answer);
    case "history":
      return historyLines(answer, timeOf);
    case "status":
      return serverLines(answer);
    case "topology":
      return topologyLines(answer);
    case "trace":
      return traceLines(answer);
    case "help":
      return answer.text.split("\n").map(escapeText);
    case "ok":
    case "pong":
      return [];
  }
}

/** A line that nobody has written. */
export function note(text: string): string {
  return `* ${escapeText(text)}`;
}

function whoLines(who: Of<"who">, timeOf: TimeOf): string[] {
  const { room, users, total } = who;
  const where = room === undefined ? "" : ` in #${room}`;
  if (users.length === 0) return [note(`Nobody is${where || " here"}`)];
  const rows = users.map(({ name, server, since }) => [
    name,
    server,
    timeOf(since),
  ]);
  return [
    ...tableLines(WHO_COLUMNS, rows).map(escapeText),
    note(counted(users.length, { total, of: "user", where })),
  ];
}

const WHO_COLUMNS = [
  { heading: "NAME" },
  { heading: "SERVER" },
  { heading: "SINCE" },
];

function roomLines({ rooms, total }: Of<"rooms">): string[] {
  if (rooms.length === 0) {
    return [note("There is no room; /join ROOM makes one")];
  }
  const rows = rooms.map(({ room, users }) => [`#${room}`, String(users)]);
  const columns = [{ heading: "ROOM" }, { heading: "USERS", isNumber: true }];
  return [
    ...tableLines(columns, rows).map(escapeText),
    note(counted(rooms.length, { total, of: "room", where: "" })),
  ];
}

function counted(
  count: number,
  { total, of, where }: { total: number; of: string; where: string },
): string {
  const all = `${total} ${of}${total === 1 ? "" : "s"}${where}`;
  return count < total ? `${count} of ${all}` : all;
}

function historyLines(history: Of<"history">, timeOf: TimeOf): string[] {
  const { room, messages, more } = history;
  const lines = messages.map((message) => historyLine(message, timeOf));
  const [first] = messages;
  if (first === undefined) return [note("No messages")];
  if (!more) return lines;
  const whose = room === undefined ? "" : ` #${room}`;
  const again = `/history${whose} ${messages.length} ${first.seq}`;
  return [note(`There is more before these: ${again}`), ...lines];
}

function historyLine(message: HistoryLine, timeOf: TimeOf): string {
  return said(message, { timeOf, before: `${message.seq} ` });
}

function said(
  { time, server, from, text, room }: HistoryLine,
  { timeOf, before = "", mark = "" }: {
    readonly timeOf: TimeOf;
    readonly before?: string;
    readonly mark?: string;
  },
): string {
  const ms = Date.parse(time);
  const at = Number.isNaN(ms) ? time : timeOf(ms);
  const where = room === undefined ? "" : `#${room} `;
  const head = `${before}[${at} ${server}${mark}] ${where}${from}: `;
  return textLines(head, text);
}

/** A message of the log that is shown behind its time: `[12:01 A, late] Dana: Hello`. */
export function lateLine(message: HistoryLine, timeOf: TimeOf): string {
  return said(message, { timeOf, mark: ", late" });
}

/** Where one is after a break, and whether what others said meanwhile is shown. */
export interface Moved {
  readonly server: string;
  readonly was: string;
  /** Since when there was no server, in ms. */
  readonly gapMs: number;
  /** Oldest first. */
  readonly late: readonly HistoryLine[];
  /** Whether these are known to be all. */
  readonly isWhole: boolean;
}

/** What may be missing after a break, in a sentence; undefined: nothing. */
export function gapText(
  { gapMs, late, isWhole }: Pick<Moved, "gapMs" | "late" | "isWhole">,
): string | undefined {
  if (isWhole) return undefined;
  const said = `hat others said in between (${(gapMs / 1_000).toFixed(1)} s)`;
  const where = "/history has what is in that server's log";
  return late.length === 0
    ? `W${said} is not shown: ${where}`
    : `There may be more of w${said}: ${where}`;
}

/** For programs: that one has moved, then what others said meanwhile. */
export function movedObjects(
  { server, was, gapMs, late, isWhole }: Moved,
): readonly object[] {
  const gap = gapText({ gapMs, late, isWhole }) ??
    `What others said in between follows: ${late.length}`;
  return [
    {
      ...{ type: "system", code: "moved", server, was, gapMs },
      ...{ late: late.length, whole: isWhole },
      text: `At Server ${server} now. ${gap}`,
    },
    ...late.map(({ seq, time, server, from, text, room }) => ({
      ...{ type: "msg", from, server, text, time: Date.parse(time) },
      ...{ room, seq, late: true },
    })),
  ];
}

/** The servers of a cluster as a table. */
export function serverLines(status: MeshStatus): string[] {
  const rows = status.servers.map((server) => [
    server.id === status.server ? `${server.id} (asked)` : server.id,
    stateOf(server),
    server.up ? String(server.clients) : "-",
    server.address ?? "-",
  ]);
  return tableLines(SERVER_COLUMNS, rows).map(escapeText);
}

const SERVER_COLUMNS = [
  { heading: "SERVER" },
  { heading: "STATE" },
  { heading: "CLIENTS", isNumber: true },
  { heading: "FOR PEOPLE" },
];

function stateOf({ up, draining }: ListedServer): string {
  if (!up) return "NOT REACHED";
  return draining ? "draining" : "up";
}

/** Which servers pass messages on to which at once, drawn. */
export function topologyLines(topology: Of<"topology">): string[] {
  const { topology: name, by, edges } = topology;
  const who = by === undefined ? "" : `, chosen at Server ${by}`;
  const drawn = edges.length === 0
    ? ["(no other server is reached)"]
    : drawnEdges(name, edges);
  return [`Topology ${name}${who}`, "", ...drawn.map((line) => `  ${line}`)]
    .map(escapeText);
}

type Edge = readonly [string, string];

function drawnEdges(topology: Topology, edges: readonly Edge[]): string[] {
  const neighbours = neighboursOf(edges);
  const drawn = topology === "star"
    ? drawnStar(neighbours)
    : topology === "mesh"
    ? undefined
    : drawnPath(neighbours, edges.length);
  if (drawn !== undefined) return drawn;
  // Of a full mesh, and wherever an edge that is wanted does not stand.
  const width = Math.max(...Array.from(neighbours.keys(), (id) => id.length));
  return Array.from(
    neighbours,
    ([id, others]) => `${id.padEnd(width)} ── ${others.join(", ")}`,
  );
}

/** By id; so are the neighbours of each. */
function neighboursOf(edges: readonly Edge[]): Map<string, string[]> {
  const found = new Map<string, Set<string>>();
  for (const [one, other] of [...edges, ...edges.map(([a, b]) => [b, a])]) {
    found.set(one, (found.get(one) ?? new Set()).add(other));
  }
  const ids = [...found.keys()].sort();
  return new Map(ids.map((id) => [id, [...found.get(id) ?? []].sort()]));
}

/** A bus or a ring in one line; undefined: it is neither. */
function drawnPath(
  neighbours: ReadonlyMap<string, readonly string[]>,
  edgeCount: number,
): string[] | undefined {
  const degrees = Array.from(neighbours.values(), (all) => all.length);
  if (degrees.some((degree) => degree > 2)) return undefined;
  const ids = [...neighbours.keys()];
  const start = ids.find((id) => neighbours.get(id)?.length === 1) ?? ids[0];
  const path = [start];
  for (let at: string | undefined = start; at !== undefined;) {
    at = neighbours.get(at)?.find((id) => !path.includes(id));
    if (at !== undefined) path.push(at);
  }
  if (path.length < ids.length) return undefined;
  const isClosed = edgeCount === path.length && path.length > 2;
  return [[...path, ...isClosed ? [start] : []].join(" ── ")];
}

/** A hub with its spokes; undefined: it is none. */
function drawnStar(
  neighbours: ReadonlyMap<string, readonly string[]>,
): string[] | undefined {
  const [hub, ...others] = [...neighbours.keys()].sort((one, other) =>
    (neighbours.get(other)?.length ?? 0) - (neighbours.get(one)?.length ?? 0)
  );
  const isStar = others.every((id) => neighbours.get(id)?.length === 1) &&
    neighbours.get(hub)?.length === others.length;
  if (!isStar) return undefined;
  return others.sort().map((id, at) => {
    const isLast = at === others.length - 1;
    if (at === 0) return `${hub} ${isLast ? "──" : "─┬─"} ${id}`;
    return `${" ".repeat(hub.length)} ${isLast ? " └─" : " ├─"} ${id}`;
  });
}

/** The way that one message took to each server. */
export function traceLines(trace: Of<"trace">): string[] {
  const { topology, reports, missing } = trace;
  const rows = [...reports].sort(byMs).map(({ server, path, ms }) => [
    server,
    path.join(" -> "),
    ms.toFixed(ms < 10 ? 1 : 0),
  ]);
  const lost = missing.map((server) => [server, "NOT REACHED IN TIME", "-"]);
  const columns = [
    { heading: "SERVER" },
    { heading: "PATH" },
    { heading: "MS", isNumber: true },
  ];
  return [
    `Topology ${topology}`,
    "",
    ...tableLines(columns, [...rows, ...lost]),
  ]
    .map(escapeText);
}

function byMs(one: TraceReport, other: TraceReport): number {
  return one.ms - other.ms;
}

/** Behind its head, further lines of a text stand below its first. */
function textLines(head: string, text: string): string {
  const safe = escapeText(head);
  const lines = text.replace(/\n$/, "").split("\n").map(escapeText);
  return safe + lines.join(`\n${" ".repeat(safe.length)}`);
}
