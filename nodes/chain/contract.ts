/** What goes into a chain node's core, and what comes out. */

import type { RouteNode } from "../../protocol/chain.ts";
import type { LinkEffect, LinkId, LinkInput } from "../../protocol/core.ts";
import type { ClientId } from "../../protocol/ids.ts";
import type { SourceKind } from "./source.ts";
import type { Problem } from "./successors.ts";

/** What makes one chain node. */
export interface ChainOptions {
  readonly self: RouteNode;
  /** Addresses of the successors, first choice first; empty makes the tail. */
  readonly targets: readonly string[];
  /** How long the first choice may be away before another is used. */
  readonly nextTimeoutMs: number;
  /** Unacknowledged bytes kept before reading stops. */
  readonly queueBytesMax: number;
  /** Whether plain-text clients get a line per message. */
  readonly ackLines: boolean;
  /** Whether unacknowledged messages, or the tail's progress, are kept on disk. */
  readonly spool: boolean;
  /** Whether `received` and `forwarded` are to be reported. */
  readonly narrate: boolean;
}

export type ChainInput =
  | LinkInput
  /** Once, first. `frames` were in the spool; `clients` is what the tail had delivered. */
  | {
    readonly kind: "start";
    readonly frames: readonly Uint8Array[];
    readonly clients: readonly (readonly [ClientId, number])[];
  }
  /** A connection has come in and shown who it is; `bytes` were read already. */
  | {
    readonly kind: "accepted";
    readonly link: LinkId;
    readonly from: SourceKind;
    readonly label: string;
    /** The client's id: its own, or one drawn for a plain-text connection. */
    readonly client: ClientId | undefined;
    readonly bytes: Uint8Array;
  }
  /** A link to a successor stands; `bytes` came after its handshake. */
  | {
    readonly kind: "connected";
    readonly link: LinkId;
    readonly target: number;
    readonly bytes: Uint8Array;
  }
  /** A `dial` came to nothing. */
  | {
    readonly kind: "unreachable";
    readonly target: number;
    readonly error: Problem;
  }
  /** The tail's last `deliver` is where it should be, synced if it is to be. */
  | { readonly kind: "delivered" }
  /** The last `spool` is on disk. */
  | { readonly kind: "spooled" }
  | { readonly kind: "tick" }
  | { readonly kind: "ack-tick" }
  /** The node is to stop: read no more, finish what is under way. */
  | { readonly kind: "drain" };

export type ChainEffect =
  | LinkEffect
  /**
   * Try once to connect to a successor and to shake hands, after a jittered
   * wait that grows with `attempt` (0: at once).
   */
  | {
    readonly kind: "dial";
    readonly target: number;
    readonly attempt: number;
  }
  /** The tail: put these bytes out, in order, then report `delivered`. */
  | {
    readonly kind: "deliver";
    readonly bytes: readonly Uint8Array[];
    /** With a spool: the clients these bytes bring further, and to where. */
    readonly clients: readonly (readonly [ClientId, number])[];
  }
  /** Append these frames to the spool, sync, then report `spooled`. */
  | {
    readonly kind: "spool";
    /** Where they begin, in bytes since the start. */
    readonly position: number;
    readonly frames: readonly Uint8Array[];
  }
  /** All before `position`, in bytes since the start, is acknowledged. */
  | { readonly kind: "spool-trim"; readonly position: number }
  /** Report `tick` after this time. */
  | { readonly kind: "timer"; readonly afterMs: number }
  /** Report `ack-tick` after this time. */
  | { readonly kind: "ack-timer"; readonly afterMs: number }
  /** For `--print`: messages came in. */
  | {
    readonly kind: "received";
    readonly label: string;
    readonly messages: number;
    readonly text: Uint8Array;
  }
  /** For `--print`: so many messages were handed to `to`, for the first time. */
  | {
    readonly kind: "forwarded";
    readonly to: string;
    readonly messages: number;
  }
  | {
    readonly kind: "log";
    readonly level: "info" | "warn" | "error";
    readonly message: string;
    readonly fields: Record<string, string | number>;
  }
  /** After `drain`: nothing is left to do, or nobody to do it with. */
  | { readonly kind: "drained" };

/** What an operator may want to count. */
export interface ChainCounters {
  messagesReceived: number;
  bytesReceived: number;
  bytesAcknowledged: number;
  linesRefused: number;
  linksRefused: number;
}
