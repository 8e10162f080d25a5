/** What the nodes of a replicated group say to one another; see `WIRE.md#replica`. */

import type { Epoch, StoreId } from "./epoch.ts";
import type { View } from "./view.ts";

/** Bytes of one command. */
export const COMMAND_BYTES_MAX = 131_072;

/** One place in a log. */
export interface LogPosition {
  /** 1, 2, 3 … without a gap; 0 is before the first. */
  readonly index: number;
  /** The epoch of the entry there. */
  readonly epoch: Epoch;
}

/** One entry of the log. */
export interface LogEntry extends LogPosition {
  /** 0 (an empty entry, which only commits those before it) to {@linkcode COMMAND_BYTES_MAX} bytes. */
  readonly command: Uint8Array;
}

/** What a log holds, without its commands. */
export interface LogShape {
  /** What the snapshot or the compaction stands for; index 0 if nothing. */
  readonly base: LogPosition;
  /** First index of each epoch above the base, ascending. */
  readonly runs: readonly LogPosition[];
  /** `base.index` if there is no entry. */
  readonly lastIndex: number;
}

/** The round of a heartbeat that only tells what is committed: it is not answered. */
export const NO_ROUND = 0;

/** Every message of the protocol; one frame each. */
export type ReplicaMessage =
  /** May I raise the epoch? `round` is echoed. */
  | { readonly kind: "pre-vote"; readonly round: number }
  | {
    readonly kind: "pre-vote-answer";
    readonly round: number;
    readonly granted: boolean;
    readonly promised: Epoch;
    readonly accepted: View | undefined;
  }
  /** Promise to take part in nothing below this epoch. */
  | { readonly kind: "prepare"; readonly epoch: Epoch }
  | {
    readonly kind: "promise";
    readonly epoch: Epoch;
    readonly accepted: View | undefined;
    /** The last entry of the log; undefined if it keeps none. */
    readonly last: LogPosition | undefined;
    /** It is about to stop and should not lead. */
    readonly isDraining: boolean;
    /** Its log has had a hole: it is no member before a join makes it one. */
    readonly isDamaged: boolean;
  }
  /** Something higher than `epoch` was promised. */
  | {
    readonly kind: "refuse";
    readonly epoch: Epoch;
    readonly promised: Epoch;
  }
  | { readonly kind: "accept"; readonly view: View }
  | { readonly kind: "accepted"; readonly epoch: Epoch }
  /** A majority has accepted this view. */
  | { readonly kind: "active"; readonly view: View }
  /** I was spoken to in an epoch whose view I do not have: send `active`. */
  | { readonly kind: "unaware"; readonly epoch: Epoch }
  /** The primary seems dead and you rank higher: will you? */
  | { readonly kind: "election" }
  /** I live, and I will. */
  | { readonly kind: "alive" }
  /** Entries that follow `previous`; none only asks whether `previous` matches. */
  | {
    readonly kind: "append";
    readonly epoch: Epoch;
    readonly previous: LogPosition;
    /** All up to here is committed. */
    readonly commit: number;
    /** Indexes follow `previous` without a gap. */
    readonly entries: readonly LogEntry[];
  }
  /** All up to `index` is on disk and as the primary of `epoch` has it. */
  | { readonly kind: "appended"; readonly epoch: Epoch; readonly index: number }
  /** The log has no such entry as `previous`; `hint` is the last one that might match. */
  | {
    readonly kind: "mismatch";
    readonly epoch: Epoch;
    readonly previous: LogPosition;
    readonly hint: LogPosition;
  }
  /** The primary lives; `round` is echoed by whoever still follows it. */
  | {
    readonly kind: "heartbeat";
    readonly epoch: Epoch;
    readonly round: number;
    readonly commit: number;
    /** Whether the primary hears all that a commit needs. */
    readonly isWritable: boolean;
  }
  | {
    readonly kind: "heartbeat-answer";
    readonly epoch: Epoch;
    readonly round: number;
    /** It has links to all members and to a majority of the voters. */
    readonly reachesAll: boolean;
    readonly isDraining: boolean;
  }
  /** Commands for the primary to append; whoever is not primary drops them. */
  | { readonly kind: "forward"; readonly commands: readonly Uint8Array[] }
  /** What is committed now? Answered after a round of heartbeats. */
  | { readonly kind: "read-index"; readonly token: number }
  /** `index` is undefined if the asked node cannot say: ask again, or another. */
  | {
    readonly kind: "read-index-answer";
    readonly token: number;
    readonly index: number | undefined;
  }
  /** What you lack is compacted: get the snapshot, which ends at `index` or later. */
  | {
    readonly kind: "snapshot-needed";
    readonly epoch: Epoch;
    readonly index: number;
  }
  /** Go on without me, and without my vote too if I do not come back. At most 200 characters. */
  | {
    readonly kind: "leaving";
    readonly reason: string;
    readonly isForGood: boolean;
  }
  /** Send committed entries, to mend a damaged segment; not handled by the core. */
  | { readonly kind: "fetch"; readonly from: number; readonly to: number }
  | { readonly kind: "fetched"; readonly entries: readonly LogEntry[] };

/** What a node says of itself once its link stands, before any {@linkcode ReplicaMessage}. */
export interface ReplicaHello {
  readonly store: StoreId;
  readonly kind: "server" | "witness";
  readonly priority: number;
  /** The group of the newest view that it has accepted; none if it is new. */
  readonly group: StoreId | undefined;
  /** Where clients find it, `HOST:PORT`; for a server only. */
  readonly clientAddress: string | undefined;
}
