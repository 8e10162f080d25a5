/** What clients and mesh servers say to each other, a JSON object a line; see `WIRE.md#mesh-clients`. */

import type { WireCode } from "./errors.ts";
import type { NodeId } from "./ids.ts";

/** Bytes of a request, its newline not counted. */
export const MESH_REQUEST_BYTES_MAX = 65_536;

/** Bytes of a message's text in UTF-8: what a person writes, and a page pasted. */
export const MESH_TEXT_BYTES_MAX = 16_384;

/** Characters of a room's name. */
export const ROOM_CHARACTERS_MAX = 64;

/** Rooms that one client may be in: each of its servers keeps them. */
export const ROOMS_PER_CLIENT_MAX = 32;

/** Messages of one `history`. */
export const HISTORY_LIMIT_MAX = 200;
export const HISTORY_LIMIT_DEFAULT = 50;

/** Names and rooms of one list; `total` says how many there are. */
export const LISTED_MAX = 1_000;

/** How messages go from server to server; see `nodes/mesh/README.md`. */
export const TOPOLOGIES = ["mesh", "ring", "bus", "star"] as const;
export type Topology = typeof TOPOLOGIES[number];

/** Names a request within its connection; its answer carries the same. */
export type MeshRequestId = number | string;

/** Fields that every request may have. */
interface AnyRequest {
  readonly id?: MeshRequestId | undefined;
}

export interface MeshLogin extends AnyRequest {
  readonly type: "login";
  readonly username: string;
  /** Whether all messages come with their extra fields; see {@linkcode ToClient}. */
  readonly more?: boolean | undefined;
}

export interface MeshSay extends AnyRequest {
  readonly type: "msg";
  readonly text: string;
  /** Only to those in this room; without it to everyone. */
  readonly room?: string | undefined;
  /** Only to clients of this server: it is not relayed. */
  readonly local?: boolean | undefined;
}

export interface MeshDirect extends AnyRequest {
  readonly type: "dm";
  readonly to: string;
  readonly text: string;
}

export interface MeshRoom extends AnyRequest {
  readonly type: "join" | "leave";
  readonly room: string;
}

export interface MeshWho extends AnyRequest {
  readonly type: "who";
  readonly room?: string | undefined;
}

export interface MeshHistory extends AnyRequest {
  readonly type: "history";
  readonly room?: string | undefined;
  /** 1 to {@linkcode HISTORY_LIMIT_MAX}. */
  readonly limit?: number | undefined;
  /** Only messages with a lower `seq` of the shared log. */
  readonly before?: number | undefined;
}

export interface MeshTopology extends AnyRequest {
  readonly type: "topology";
  /** What to switch to; without it the answer tells what it is. */
  readonly topology?: Topology | undefined;
}

export interface MeshDrain extends AnyRequest {
  readonly type: "drain";
  /** Take clients again. */
  readonly undo?: boolean | undefined;
}

export interface MeshPlain extends AnyRequest {
  readonly type: "rooms" | "status" | "trace" | "ping" | "help" | "quit";
}

/** A message from a server that speaks nothing but these lines. */
export interface RelayLine {
  readonly type: "relay_msg";
  readonly from: string;
  readonly origin_server: NodeId;
  readonly text: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
}

export type MeshRequest =
  | MeshLogin
  | MeshSay
  | MeshDirect
  | MeshRoom
  | MeshWho
  | MeshHistory
  | MeshTopology
  | MeshDrain
  | MeshPlain
  | RelayLine;

/** Somebody who is logged in, as lists have it. */
export interface ListedUser {
  readonly name: string;
  readonly server: NodeId;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** One server of the cluster, as a server knows it. */
export interface ListedServer {
  readonly id: NodeId;
  /** Whether messages reach it just now. */
  readonly up: boolean;
  readonly clients: number;
  readonly draining: boolean;
  /** Where people reach it, as seen from the server that says so. */
  readonly address?: string;
}

/** How one server got a traced message. */
export interface TraceReport {
  readonly server: NodeId;
  /** The servers it went through, the origin first, `server` last. */
  readonly path: readonly NodeId[];
  /** From the request until the origin had this report. */
  readonly ms: number;
}

/** A line of the history, as the shared log has it. */
export interface HistoryLine {
  readonly seq: number;
  /** As in the log: ISO 8601, UTC. */
  readonly time: string;
  readonly server: NodeId;
  readonly from: string;
  readonly text: string;
  readonly room?: string;
}

/** What a notice is about, for programs; people read its text. */
export type Notice =
  | { readonly code: "welcome"; readonly name: string; readonly server: NodeId }
  | { readonly code: "renamed"; readonly name: string; readonly was: string }
  | { readonly code: "missed"; readonly server: NodeId; readonly count: number }
  | { readonly code: "move"; readonly to: readonly string[] }
  | { readonly code: "joined" | "left"; readonly room: string }
  | { readonly code: "waiting" | "going-on" };

/**
 * What a server says. A client that logged in without `more` gets the bare
 * messages `{"type":"system","text"}`, `{"type":"msg","from","server","text"}`
 * and `{"type":"error","text"}`, byte for byte, and no `presence` and `server`
 * lines; every other gets the fields marked below too.
 */
export type ToClient =
  /** `text` alone, or with the fields of `notice` and `id`. */
  | {
    readonly type: "system";
    readonly text: string;
    readonly notice?: Notice;
    readonly id?: MeshRequestId | undefined;
  }
  /** More: `time` (ms since 1970), `n` (number in its origin's stream), `room`, `local`. */
  | MeshMessage
  | {
    readonly type: "dm";
    readonly from: string;
    readonly server: NodeId;
    readonly to: string;
    readonly text: string;
    readonly time: number;
    readonly n: number;
  }
  /** More: `code`, `id`. */
  | {
    readonly type: "error";
    readonly text: string;
    readonly code: WireCode;
    readonly id?: MeshRequestId | undefined;
  }
  /** Done; only for requests with an `id`. `n`: the message's number, 0 of a local one. */
  | {
    readonly type: "ok";
    readonly id: MeshRequestId;
    readonly n?: number | undefined;
  }
  /** Somebody came or went, anywhere; only with `more`. */
  | {
    readonly type: "presence";
    readonly event: "login" | "logout" | "rename";
    readonly name: string;
    readonly was?: string;
    readonly server: NodeId;
  }
  /** A server came or went; only with `more`. */
  | {
    readonly type: "server";
    readonly event: "up" | "down";
    readonly server: NodeId;
  }
  | {
    readonly type: "who";
    readonly id?: MeshRequestId | undefined;
    readonly room?: string | undefined;
    readonly users: readonly ListedUser[];
    readonly total: number;
  }
  | {
    readonly type: "rooms";
    readonly id?: MeshRequestId | undefined;
    readonly rooms: readonly {
      readonly room: string;
      readonly users: number;
    }[];
    readonly total: number;
  }
  | {
    readonly type: "history";
    readonly id?: MeshRequestId | undefined;
    readonly room?: string | undefined;
    readonly messages: readonly HistoryLine[];
    /** Whether there is anything before the first of them. */
    readonly more: boolean;
  }
  | ({
    readonly type: "status";
    readonly id?: MeshRequestId | undefined;
  } & MeshStatus)
  | {
    readonly type: "topology";
    readonly id?: MeshRequestId | undefined;
    readonly topology: Topology;
    /** The server at which it was chosen; undefined as long as nobody did. */
    readonly by?: NodeId | undefined;
    /** Pairs of servers between which messages go at once. */
    readonly edges: readonly (readonly [NodeId, NodeId])[];
  }
  | {
    readonly type: "trace";
    readonly id?: MeshRequestId | undefined;
    readonly topology: Topology;
    readonly reports: readonly TraceReport[];
    /** Servers that are up and did not report in time. */
    readonly missing: readonly NodeId[];
  }
  | { readonly type: "pong"; readonly id?: MeshRequestId | undefined }
  | {
    readonly type: "help";
    readonly id?: MeshRequestId | undefined;
    readonly text: string;
  };

/** A message to everyone or to a room. */
export interface MeshMessage {
  readonly type: "msg";
  readonly from: string;
  readonly server: NodeId;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly n: number;
  readonly room?: string;
  readonly local?: true;
}

/** What a server says of itself; anybody may ask, logged in or not. */
export interface MeshStatus {
  readonly service: "mesh";
  readonly server: NodeId;
  readonly cluster: string;
  readonly clients: number;
  readonly draining: boolean;
  readonly topology: Topology;
  /** All that are known, this one included; by id. */
  readonly servers: readonly ListedServer[];
}
