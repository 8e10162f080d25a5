/** What a replica is made of, and what it counts. */

import type { StoreId } from "../../../protocol/epoch.ts";
import type { LogPosition } from "../../../protocol/replica.ts";
import type {
  SegmentDamage,
  SegmentLog,
} from "../../../storage/segment_log.ts";
import type { Log } from "../../host/log.ts";
import type { CommittedLogEvents } from "./committed_log.ts";
import type { AcceptorState, ReplicaOptions } from "./contract.ts";
import type { PeerInput, PeerLinks } from "../links/peers.ts";

/** Where a voter's word is kept. */
export interface AcceptorStore {
  /** Returns when it survives a power loss. */
  saveNow(state: AcceptorState): void;
}

/** What makes a replica. */
export interface ReplicaParts {
  readonly core: ReplicaOptions;
  /** What was found on disk. */
  readonly acceptorState: AcceptorState;
  readonly acceptor: AcceptorStore;
  /** The data directory, for what is said to an operator. */
  readonly directory: string;
  /** Undefined for a witness. */
  readonly log: SegmentLog | undefined;
  /** The last index that the service's state has; 0 if none. */
  readonly appliedIndex: number;
  readonly events: CommittedLogEvents;
  /** Opens the links; called once, at the end of the constructor. */
  readonly connect: (
    onInputs: (inputs: readonly PeerInput[]) => void,
  ) => PeerLinks;
  /**
   * Gets a snapshot from a node and puts it in the place of the service's
   * state; the log is emptied afterwards, by the replica.
   */
  readonly installSnapshot: (from: StoreId) => Promise<LogPosition>;
  /**
   * Mends an ended segment that a read found bad.
   *
   * @returns Whether it can be read now. Undefined for a witness.
   */
  readonly mendLog: ((damage: SegmentDamage) => Promise<boolean>) | undefined;
  /** The disk has failed, or is too slow: exit non-zero at once. */
  readonly onFatal: (error: Error) => void;
  readonly journal: Log;
}

/** Numbers for a status page and for metrics. */
export interface ReplicaCounters {
  syncs: number;
  syncSeconds: number;
  /** Views that became known as active. */
  views: number;
  /** Ballots begun here. */
  elections: number;
  proposals: number;
}
