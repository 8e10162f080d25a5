/** What goes into the core of a mesh server, and what comes out. */

import type { LinkId } from "../../protocol/core.ts";
import type { WireError } from "../../protocol/errors.ts";
import type { Incarnation, NodeId } from "../../protocol/ids.ts";
import type {
  MeshMessage,
  MeshRequestId,
  MeshStatus,
  ToClient,
  Topology,
} from "../../protocol/mesh.ts";
import type { Generation, PeerMessage } from "../../protocol/mesh_peer.ts";

/** Numbers one client's connection within one process; never used twice. */
export type ClientNumber = number;

/** All waits, in milliseconds. */
export interface MeshTiming {
  /** How often each link hears who is there and how far one has got. */
  readonly beatMs: number;
  /** How long a resend that was asked for may take until another is asked. */
  readonly askMs: number;
  /** How long a trace waits for reports. */
  readonly traceMs: number;
}

export const DEFAULT_MESH_TIMING: MeshTiming = {
  beatMs: 250,
  askMs: 1_000,
  traceMs: 1_000,
};

/** What a server keeps of each stream to send it again: whatever is reached first. */
export interface RecentBounds {
  readonly eventsMax: number;
  readonly bytesMax: number;
  readonly ageMsMax: number;
}

export const DEFAULT_RECENT: RecentBounds = {
  eventsMax: 10_000,
  bytesMax: 8_388_608,
  ageMsMax: 600_000,
};

export interface MeshOptions {
  readonly id: NodeId;
  readonly cluster: string;
  /** Milliseconds since 1970 at the start of the process. */
  readonly generation: Generation;
  readonly topology: Topology;
  readonly timing: MeshTiming;
  readonly recent: RecentBounds;
  /** Clients that may be logged in. */
  readonly clientsMax: number;
  /** Where people reach this server, for other servers' clients; undefined: not known. */
  readonly address?: string;
}

/** `timeMs` is milliseconds since 1970 everywhere; monotonic time comes with `step`. */
export type MeshInput =
  /** First of all, once. */
  | { readonly kind: "start"; readonly timeMs: number }
  /** A link stands whose other side has shown that it is a mesh server called `peer`. */
  | {
    readonly kind: "link-up";
    readonly link: LinkId;
    readonly peer: NodeId;
    readonly incarnation: Incarnation;
    /** Whether this side has dialled. Of two links, the one whose dialer has the lower id stays. */
    readonly isDialed: boolean;
    readonly timeMs: number;
  }
  | {
    readonly kind: "link-down";
    readonly link: LinkId;
    readonly reason: string;
    readonly timeMs: number;
  }
  /** A frame, decoded; one that could not be is the host's to refuse. */
  | {
    readonly kind: "peer";
    readonly link: LinkId;
    readonly message: PeerMessage;
    readonly timeMs: number;
  }
  | ({
    readonly client: ClientNumber;
    readonly id?: MeshRequestId | undefined;
    readonly timeMs: number;
  } & ClientAsk)
  /** A connection is over, logged in or not. */
  | {
    readonly kind: "client-gone";
    readonly client: ClientNumber;
    readonly timeMs: number;
  }
  /** A message of a server that speaks plain lines: to local clients alone. */
  | {
    readonly kind: "plain-relay";
    readonly client: ClientNumber;
    readonly from: string;
    readonly server: NodeId;
    readonly text: string;
    readonly timeMs: number;
  }
  /** The time asked for has come; more often is harmless. */
  | { readonly kind: "tick"; readonly timeMs: number };

/** What a client wants; the texts and names were checked against their bounds at the border. */
export type ClientAsk =
  /** `more`: wants presence. The name was taken through `readUserName`. */
  | { readonly kind: "login"; readonly name: string; readonly more: boolean }
  | {
    readonly kind: "say";
    readonly text: string;
    readonly room?: string | undefined;
    readonly isLocal: boolean;
  }
  | { readonly kind: "dm"; readonly to: string; readonly text: string }
  | { readonly kind: "join" | "leave"; readonly room: string }
  | { readonly kind: "who"; readonly room?: string | undefined }
  | { readonly kind: "rooms" }
  | { readonly kind: "topology"; readonly topology?: Topology | undefined }
  | { readonly kind: "trace" }
  /** Only given for clients that may; the host checks that. */
  | { readonly kind: "drain"; readonly isUndone: boolean }
  | { readonly kind: "quit" };

export type MeshEffect =
  | {
    readonly kind: "send";
    readonly link: LinkId;
    readonly message: PeerMessage;
  }
  /** Close; no further input comes from this link. Tell the peer why if there is an error. */
  | {
    readonly kind: "close";
    readonly link: LinkId;
    readonly error?: WireError;
  }
  /** To every client that is logged in. */
  | { readonly kind: "deliver"; readonly message: MeshMessage }
  /** To these, in the order of all deliveries. `moreOnly`: skip clients without `more`. */
  | {
    readonly kind: "tell";
    readonly clients: readonly ClientNumber[] | "all";
    readonly message: ToClient;
    readonly moreOnly?: true;
    /** Only once all `log` effects before it are in the file, whoever is killed then. */
    readonly isOnceLogged?: true;
  }
  /** The client's last word was said: close its connection. */
  | { readonly kind: "end-client"; readonly client: ClientNumber }
  /** Into the shared log: messages of this server's clients, and this server's events. */
  | { readonly kind: "log"; readonly entry: MeshLogEntry }
  /** For the operator. */
  | {
    readonly kind: "report";
    readonly level: "debug" | "info" | "warn";
    readonly text: string;
    readonly fields?: Readonly<Record<string, string | number>>;
  }
  /** Give `tick` after so many ms; the latest one counts alone. */
  | { readonly kind: "timer"; readonly afterMs: number };

/** An entry of `storage/shared_log.ts`, which adds `seq` and `server`. */
export interface MeshLogEntry {
  readonly type:
    | "msg"
    | "dm"
    | "login"
    | "logout"
    | "rename"
    | "join"
    | "leave"
    | "peer_up"
    | "peer_down"
    | "missed"
    | "topology"
    | "drain"
    | "start"
    | "stop";
  readonly timeMs: number;
  readonly from?: string;
  readonly room?: string;
  readonly to?: string;
  readonly text?: string;
}

/** What the host and the metrics may ask of a core at any time. */
export interface MeshView {
  readonly status: MeshStatus;
  /** Whether a link to that server stands: then it need not be dialled. */
  isLinked(peer: NodeId): boolean;
  readonly counters: {
    readonly delivered: number;
    readonly duplicates: number;
    readonly resent: number;
    readonly missed: number;
    readonly loops: number;
  };
}
