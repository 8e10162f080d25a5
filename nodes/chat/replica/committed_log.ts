/** The border between the chat service and whatever replicates its log. */

import type { LogEntry } from "../../../protocol/replica.ts";
import type { GroupState } from "./contract.ts";

/** What a log engine reports to the service that lives on it. */
export interface CommittedLogEvents {
  /** Committed entries, in the order of their index, each once, without a gap. */
  committed(entries: readonly LogEntry[]): void;
  /** The group has changed: propose again what is still open. */
  groupChanged(state: GroupState): void;
}

/**
 * A log that many servers agree on. The service proposes commands and applies
 * what comes back; another engine may stand behind this as well.
 */
export interface CommittedLog {
  /** As last told by `groupChanged`. */
  readonly group: GroupState;
  /**
   * Asks for commands to be committed, in this order if all goes well. They may
   * be lost, or committed more than once: name each by session and sequence,
   * look for them in `committed`, propose them again after `groupChanged` or a
   * while.
   *
   * @param commands Each 1 to `COMMAND_BYTES_MAX` bytes; not changed afterwards.
   */
  propose(commands: readonly Uint8Array[]): void;
  /**
   * An index such that whoever has applied it sees every write that was
   * acknowledged anywhere before this call.
   *
   * @throws {WireError} `no-primary`: try again later.
   */
  readIndex(): Promise<number>;
}
