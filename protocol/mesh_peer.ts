/** What mesh servers say to each other, in frames; see `WIRE.md#mesh-peers`. */

import type { NodeId } from "./ids.ts";
import type { Topology } from "./mesh.ts";

/** Servers that an event may go through; a longer way is taken for a loop. */
export const HOPS_MAX = 16;

/** Servers of one cluster: each knows of each, and heartbeats name them all. */
export const MESH_SERVERS_MAX = 64;

/**
 * When a server of that id began, in ms since 1970, or one more than the
 * highest that was known of it: the higher one is the later life.
 */
export type Generation = number;

/**
 * The highest generation and version that is taken from a peer, so that there
 * is always a higher one to begin anew under; as a time it is the year 10889.
 */
export const GENERATION_MAX = 2 ** 48;

/** A life of a server: whose stream an event belongs to. */
export interface Origin {
  readonly id: NodeId;
  readonly generation: Generation;
}

/** What happened at its origin. */
export type MeshEventBody =
  /** To everyone, or to a room. */
  | {
    readonly kind: "msg";
    readonly from: string;
    readonly text: string;
    readonly room?: string;
  }
  | {
    readonly kind: "dm";
    readonly from: string;
    readonly to: string;
    /** Where that one was, as the origin knew: another of that name is not meant. */
    readonly at: NodeId;
    readonly text: string;
  }
  | { readonly kind: "login"; readonly name: string; readonly since: number }
  /** After a rename, with the time of the first login. */
  | {
    readonly kind: "login";
    readonly name: string;
    readonly since: number;
    readonly was: string;
    /** That the user is in: who is told late may know somebody else as `was`. */
    readonly rooms: readonly string[];
  }
  | { readonly kind: "logout"; readonly name: string }
  | {
    readonly kind: "join" | "leave";
    readonly name: string;
    readonly room: string;
  }
  /** Every server answers it with `traced`. */
  | { readonly kind: "trace"; readonly trace: number }
  | {
    readonly kind: "traced";
    readonly trace: number;
    readonly of: NodeId;
    readonly path: readonly NodeId[];
  };

/** One event of an origin's stream. */
export interface MeshEvent {
  readonly origin: Origin;
  /** 1 first, without gaps. */
  readonly n: number;
  /** Messages (`msg`, `dm`) of the stream up to and with this event. */
  readonly messages: number;
  /** Milliseconds since 1970, by the origin's clock. */
  readonly time: number;
  readonly body: MeshEventBody;
}

/** An event on its way. */
export interface RelayedEvent {
  /** The servers that it went through, the origin first, the sender last. */
  readonly via: readonly NodeId[];
  readonly event: MeshEvent;
  /** The event as JSON, as it came or as it was first encoded: forwarded as it is. */
  readonly json: string;
}

/** Somebody who is logged in at an origin. */
export interface PresentUser {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly rooms: readonly string[];
}

/** What one server says of its place in the cluster; the highest `version` counts. */
export interface ServerState {
  readonly id: NodeId;
  readonly generation: Generation;
  readonly version: number;
  /** Ids of the servers to which its links stand. */
  readonly neighbours: readonly NodeId[];
  readonly clients: number;
  readonly draining: boolean;
  /** Where people reach it. */
  readonly address?: string;
}

/** The topology in force: the highest version, then the highest `by`, counts. */
export interface TopologyChoice {
  readonly topology: Topology;
  readonly version: number;
  readonly by: NodeId;
}

/** How far somebody has got with an origin's stream. */
export interface Seen {
  readonly id: NodeId;
  readonly generation: Generation;
  readonly n: number;
}

export type PeerMessage =
  /** The first on a link, from both sides. */
  | {
    readonly kind: "hello";
    readonly generation:
      Generation; /** The highest generation known of the other side's id. */
    readonly known: Generation;
  }
  | { readonly kind: "events"; readonly events: readonly RelayedEvent[] }
  /** Several times a second: who is there, how far each stream was seen, what topology. */
  | {
    readonly kind: "beat";
    readonly servers: readonly ServerState[];
    readonly seen: readonly Seen[];
    readonly topology: TopologyChoice;
  }
  /** Wants the events of an origin after `after`, or, if that is undefined, who is present there. */
  | { readonly kind: "ask"; readonly origin: Origin; readonly after?: number }
  /**
   * What an origin was after event `n`, in place of events that are gone or
   * were never wanted; in parts where it does not fit into one frame.
   */
  | {
    readonly kind: "presence";
    readonly origin: Origin;
    /** As in the question. */
    readonly after?: number;
    readonly n: number;
    readonly messages: number;
    readonly users: readonly PresentUser[];
    readonly isFirst: boolean;
    readonly isLast: boolean;
  };
