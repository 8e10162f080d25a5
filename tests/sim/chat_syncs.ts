/** The syncs of one process to its simulated disk. */

import type { SimulatedDisk } from "./chat_disk.ts";
import type { Machine } from "./world.ts";

/** A sync that fails says so after this, at most. */
const FAIL_MS_MAX = 50;

/** Who is told. */
export interface SyncEvents {
  durable(write: number): void;
  saved(number: number): void;
  /** A sync has failed: the process ends. */
  failed(): void;
}

/** Lives as long as its process; at most one sync of each file is under way. */
export class DiskSyncs {
  readonly #machine: Machine;
  readonly #disk: SimulatedDisk;
  readonly #events: SyncEvents;
  #isSyncingLog = false;
  #isSyncingAcceptor = false;

  constructor(machine: Machine, disk: SimulatedDisk, events: SyncEvents) {
    this.#machine = machine;
    this.#disk = disk;
    this.#events = events;
  }

  /** All that is written to the log becomes durable. */
  syncLog(): void {
    if (this.#isSyncingLog || !this.#disk.hasLogWrites) return;
    this.#isSyncingLog = true;
    const count = this.#disk.logWriteCount;
    this.sync(() => {
      this.#isSyncingLog = false;
      this.#events.durable(this.#disk.syncedLog(count));
      this.syncLog();
    });
  }

  /** All that the acceptor has saved becomes durable. */
  syncAcceptor(): void {
    if (this.#isSyncingAcceptor || !this.#disk.hasSaves) return;
    this.#isSyncingAcceptor = true;
    const count = this.#disk.saveCount;
    this.sync(() => {
      this.#isSyncingAcceptor = false;
      this.#events.saved(this.#disk.syncedAcceptor(count));
      this.syncAcceptor();
    });
  }

  /** Does what rests on a sync after it; a sync that fails ends the process. */
  sync(then: () => void): void {
    const { random } = this.#machine.world;
    const waitMs = this.#disk.syncMs();
    this.#machine.later(waitMs ?? random.int(FAIL_MS_MAX), () => {
      if (waitMs !== undefined) return then();
      this.#disk.syncFailed();
      this.#events.failed();
    });
  }
}
