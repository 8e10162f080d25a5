/** What the parts of the chat service share. */

import type { StoreId } from "../../../protocol/epoch.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { Incarnation, NodeId } from "../../../protocol/ids.ts";
import type { LogEntry, LogPosition } from "../../../protocol/replica.ts";
import type { NodeStatus } from "../../../protocol/status.ts";
import type { Log } from "../../host/log.ts";
import type { Latencies } from "./latencies.ts";
import type { IndexWaits, WaitFailure } from "./index_waits.ts";
import type { SessionTable } from "../state/sessions.ts";
import type { ListOptions, MessagePage } from "../state/state.ts";
import type { Applied } from "../state/state_core.ts";
import type { UserTable } from "../state/users.ts";

/** Of the chat's state, what serves clients. */
export interface ServiceState {
  readonly users: Pick<UserTable, "byId" | "byName">;
  readonly sessions: Pick<SessionTable, "get" | "idleSince">;
  /** The last entry applied. */
  readonly applied: LogPosition;
  /** Applies entries that follow {@linkcode applied}. */
  apply(entries: readonly LogEntry[]): readonly Applied[];
  /** Messages to a user. */
  list(userId: number, options: ListOptions): MessagePage;
}

/** Hashes and checks passwords, off the event loop and a bounded number at once. */
export interface ServicePasswords {
  /** @throws {WireError} `busy` */
  hash(password: string): Promise<string>;
  /**
   * Takes as long for a user that there is not.
   *
   * @throws {WireError} `busy`
   */
  verify(password: string, phc: string | undefined): Promise<boolean>;
}

/** What a service is made of. */
export interface ServiceOptions {
  readonly state: ServiceState;
  readonly passwords: ServicePasswords;
  readonly log: Log;
  /** Monotonic, in ms. */
  nowMs(): number;
  /** Since 1970, in ms; goes into commands. */
  wallMs(): number;
  randomHex(bytes: number): string;
  /** Runs a task when this turn ends; `queueMicrotask` unless in simulated time. */
  defer(task: () => void): void;
  /** What `status` answers, and `watch` in part. */
  status(): NodeStatus;
  /** Lets an operator send this server away; without it nobody can. */
  readonly leave?: LeaveHost;
  /** The state has failed: exit non-zero at once. */
  onFatal(error: unknown): void;
  /** The group has ended for the sake of another one: begin anew, before the state writes anything. */
  onDissolved(into: StoreId): void;
  readonly limits?: Partial<ServiceLimits>;
}

/** How a server leaves its group for good. */
export interface LeaveHost {
  /** This process, as whoever asks has to name it. */
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  /** The cluster key, of which whoever asks has to show a proof. */
  readonly key: Uint8Array | undefined;
  /**
   * Hands over, gives its data's place and its vote up, and resolves when a
   * view without them is active; the process then ends by itself.
   *
   * @throws {WireError} Why it stays: `busy` for the last server of its group.
   */
  leaveForGood(): Promise<void>;
}

/** What a service bears; tests give less. */
export interface ServiceLimits {
  /** Requests of all connections that wait for their result. */
  readonly waitingRequestsMax: number;
  /** Bytes of commands that wait for their result. */
  readonly waitingBytesMax: number;
  /** Bytes that wait to be read, of all connections; the slowest is cut off first. */
  readonly queuedBytesMax: number;
  /** How long a request may wait before its client is told that it may yet be done. */
  readonly requestWaitMs: number;
  /** How long the group may take no writes before new ones are refused at once. */
  readonly holdWritesMs: number;
  /** How long a session may be idle. */
  readonly sessionIdleMs: number;
}

export const DEFAULT_LIMITS: ServiceLimits = {
  waitingRequestsMax: 65_536,
  waitingBytesMax: 67_108_864,
  queuedBytesMax: 268_435_456,
  requestWaitMs: 10_000,
  holdWritesMs: 3_000,
  sessionIdleMs: 30 * 24 * 3_600_000,
};

/** What a service has done since its start. */
export interface ServiceCounters {
  requests: number;
  /** Answered with an error. */
  refusedRequests: number;
  /** Commands proposed, repeats included. */
  proposals: number;
  /** Messages pushed to connections. */
  pushed: number;
  /** Connections cut off because they read too slowly. */
  slowConsumers: number;
  /** From a client's request until it is applied here. */
  readonly latencies: Latencies;
}

/** What the parts of one service share. */
export interface ServiceContext {
  readonly state: ServiceState;
  readonly passwords: ServicePasswords;
  readonly waits: IndexWaits;
  readonly limits: ServiceLimits;
  readonly counters: ServiceCounters;
  /** Commands that wait for their results, of all clients. */
  readonly waiting: { requests: number; bytes: number };
  /** Monotonic, in ms. */
  nowMs(): number;
  /** Since 1970, in ms. */
  wallMs(): number;
  /** Random bytes as hexadecimal digits. */
  randomHex(bytes: number): string;
  /** Hands a command to the log when this turn ends. */
  propose(command: Uint8Array): void;
  /** The state cannot be relied upon: the process ends. */
  fail(error: unknown): void;
}

/** What to tell a client whose read waited in vain. */
export function waitError(failure: WaitFailure): WireError {
  return failure === "timeout"
    ? new WireError("timeout", "This server is behind the others")
    : new WireError("no-primary", "The group has no primary just now");
}
