/** What goes into the core of a replicated group's node, and what comes out. */

import type { StoreId } from "../../../protocol/epoch.ts";
import type { Peer } from "../../../election/membership.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import type {
  LogEntry,
  LogPosition,
  LogShape,
  ReplicaMessage,
} from "../../../protocol/replica.ts";
import type { AcceptorState, NodeKind, View } from "../../../protocol/view.ts";

export type { AcceptorState, LogShape, Peer };

/** All waits of the protocol, in milliseconds; safety rests on none of them. */
export interface ReplicaTiming {
  readonly heartbeatMs: number;
  /** Silence after which a node is taken for dead. */
  readonly suspectAfterMs: number;
  /** How long an election or a ballot may take before it is begun anew. */
  readonly electionMs: number;
  /** How long a ballot with a majority waits for members whose links stand. */
  readonly settleMs: number;
  /** How long a join may keep the group frozen. */
  readonly joinMs: number;
  /** A sync that takes longer ends the process. */
  readonly syncStallMs: number;
}

/** Of two cores and a loopback, see README; a link over the internet wants more. */
export const DEFAULT_TIMING: ReplicaTiming = {
  heartbeatMs: 25,
  suspectAfterMs: 250,
  electionMs: 150,
  settleMs: 30,
  joinMs: 1_000,
  syncStallMs: 3_000,
};

/** What makes one node of a group. */
export interface ReplicaOptions {
  readonly self: Peer;
  /**
   * The group as it is to be born: all of these together found it, when none
   * has a view. Empty: this node only ever joins.
   */
  readonly founders: readonly { id: NodeId; kind: NodeKind }[];
  /** Whether a working primary of lower rank is left to lead. */
  readonly sticky: boolean;
  /**
   * A primary takes the vote of a node that was silent for so long, in ms;
   * undefined: never.
   */
  readonly forgetAfterMs?: number;
  readonly timing: ReplicaTiming;
  /** Seeds the jitter; any 32 bits. */
  readonly seed: number;
}

export type ReplicaInput =
  /** Once, first. What is given is durable. */
  | {
    readonly kind: "start";
    readonly acceptor: AcceptorState;
    readonly log: LogShape;
  }
  /** A link to a node stands; `peer.incarnation` is new to this link. */
  | { readonly kind: "peer-up"; readonly peer: Peer }
  /** The link is gone: what was sent may or may not have arrived. */
  | {
    readonly kind: "peer-down";
    readonly store: StoreId;
    readonly reason: string;
  }
  /** After a `peer-down`: nobody listens at its address, its process is gone. */
  | { readonly kind: "peer-refused"; readonly store: StoreId }
  | {
    readonly kind: "message";
    readonly from: StoreId;
    readonly message: ReplicaMessage;
  }
  /**
   * Commands to be committed. The primary appends them, another node forwards
   * them; where neither is possible they are dropped. Whoever proposes watches
   * what is committed, and proposes again after a change of view or a while.
   */
  | { readonly kind: "propose"; readonly commands: readonly Uint8Array[] }
  /** All log writes up to number `write` survive a power loss. */
  | { readonly kind: "durable"; readonly write: number }
  /** All saves of acceptor state up to `number` survive a power loss. */
  | { readonly kind: "saved"; readonly number: number }
  /** Answers `read-log`: entries from `from` on, at least one, or none if compacted. */
  | {
    readonly kind: "log-read";
    readonly to: StoreId;
    readonly from: number;
    readonly entries: readonly LogEntry[];
  }
  /** Entries up to `base` are gone from the log; a snapshot has them. */
  | { readonly kind: "compacted"; readonly base: LogPosition }
  /** Answers `fetch-snapshot`: the log is empty now and begins after `base`. */
  | { readonly kind: "snapshot-installed"; readonly base: LogPosition }
  | { readonly kind: "snapshot-failed"; readonly reason: string }
  /** A linearizable read, see `read-ready`. `token` is unique in this process. */
  | { readonly kind: "read"; readonly token: number }
  /** Begin a group of this node alone; without effect once there is a view. */
  | { readonly kind: "found" }
  /**
   * Do not lead any more, and leave the view; answered by `left`. For good: give
   * the vote back as well, and `left` comes only when nobody counts on it.
   */
  | { readonly kind: "leave"; readonly isForGood: boolean }
  /** The time asked for by {@linkcode Replica.wakeAtMs} has come; more often is harmless. */
  | { readonly kind: "wake" };

/** Inputs that come by the thousand and say nothing of who is there. */
export function isRoutine(input: ReplicaInput): boolean {
  if (input.kind !== "message") {
    return input.kind === "propose" || input.kind === "durable" ||
      input.kind === "log-read" || input.kind === "read";
  }
  const { kind } = input.message;
  return kind === "append" || kind === "appended" || kind === "forward" ||
    kind === "heartbeat" || kind === "heartbeat-answer" ||
    kind === "read-index" || kind === "read-index-answer";
}

/** Where a node stands in its group. */
export type ReplicaRole = "primary" | "member" | "learner" | "witness" | "none";

/** What a node knows of its group, for its clients, its operators and itself. */
export interface GroupState {
  readonly role: ReplicaRole;
  /** The newest view known to be active. */
  readonly view: View | undefined;
  /** Whether commands proposed here have somewhere to go just now. */
  readonly isWritable: boolean;
  /** What is waited for if it is not; sentences. */
  readonly waitsFor: readonly string[];
}

export type ReplicaEffect =
  /** To a node whose link stands; dropped without a trace otherwise. */
  | {
    readonly kind: "send";
    readonly to: StoreId;
    readonly message: ReplicaMessage;
  }
  /** Write and sync, then answer `saved`. Several may be under way; the last counts. */
  | {
    readonly kind: "save";
    readonly number: number;
    readonly state: AcceptorState;
  }
  /** Add to the log, in the order of `write`, and sync; then answer `durable`. */
  | {
    readonly kind: "append";
    readonly write: number;
    readonly entries: readonly LogEntry[];
  }
  /** Drop what is after `after`, which was never committed; counts as a write. */
  | { readonly kind: "cut"; readonly write: number; readonly after: number }
  /** Read entries from `from` on, at most `bytesMax` bytes of commands and at least one entry. */
  | {
    readonly kind: "read-log";
    readonly to: StoreId;
    readonly from: number;
    readonly bytesMax: number;
  }
  /** All up to `index` is committed and on disk here: apply it. Never goes back. */
  | { readonly kind: "commit"; readonly index: number }
  /** Read what is applied as soon as `index` is applied. */
  | {
    readonly kind: "read-ready";
    readonly token: number;
    readonly index: number;
  }
  /** No primary could be asked: ask again later. */
  | { readonly kind: "read-failed"; readonly token: number }
  /** Get the newest snapshot from there, install it, answer `snapshot-installed`. */
  | { readonly kind: "fetch-snapshot"; readonly from: StoreId }
  /** The state has changed. Whoever has open proposals proposes them again. */
  | { readonly kind: "group"; readonly state: GroupState }
  /** For the operator's log. */
  | {
    readonly kind: "note";
    readonly level: "info" | "warn";
    readonly text: string;
  }
  /** This process may stop: nobody waits for it any more, or nobody can be told. */
  | { readonly kind: "left" }
  /** Exit non-zero at once. */
  | { readonly kind: "fatal"; readonly reason: string };
