/**
 * The simulated data directory of one store: what was synced survives a crash,
 * and of what was only written any first part.
 */

import { EPOCH_NONE, isSameEpoch } from "../../protocol/epoch.ts";
import type { Epoch, StoreId } from "../../protocol/epoch.ts";
import type { LogEntry, LogPosition } from "../../protocol/replica.ts";
import type {
  AcceptorState,
  LogShape,
} from "../../nodes/chat/replica/contract.ts";
import type { ChatSnapshot } from "./chat_state.ts";
import type { Random } from "./random.ts";

const ORIGIN: LogPosition = { index: 0, epoch: EPOCH_NONE };

/** A log in memory or on disk, without gaps. */
export class SimulatedLog {
  base: LogPosition = ORIGIN;
  entries: LogEntry[] = [];

  get lastIndex(): number {
    return this.base.index + this.entries.length;
  }

  /** Undefined if it is compacted or not there. */
  at(index: number): LogEntry | undefined {
    return this.entries[index - this.base.index - 1];
  }

  /** Whether it holds, or stands for, the entry of that epoch there. */
  has(index: number, epoch: Epoch): boolean {
    if (index <= this.base.index) return true;
    const entry = this.at(index);
    return entry !== undefined && isSameEpoch(entry.epoch, epoch);
  }

  /** Drops all after `index`. */
  cut(index: number): void {
    this.entries.length = Math.min(
      this.entries.length,
      Math.max(0, index - this.base.index),
    );
  }

  /** Forgets all up to `base`. */
  compact(base: LogPosition): void {
    if (base.index <= this.base.index) return;
    this.entries.splice(0, base.index - this.base.index);
    this.base = base;
  }

  /** Starts anew behind a snapshot. */
  reset(base: LogPosition): void {
    this.base = base;
    this.entries = [];
  }

  /** The position of an entry that is there, or of the base. */
  position(index: number): LogPosition | undefined {
    return index === this.base.index ? this.base : this.at(index);
  }

  shape(): LogShape {
    const runs: LogPosition[] = [];
    for (const { index, epoch } of this.entries) {
      const last = runs.at(-1);
      if (last === undefined || !isSameEpoch(last.epoch, epoch)) {
        runs.push({ index, epoch });
      }
    }
    return { base: this.base, runs, lastIndex: this.lastIndex };
  }

  copy(): SimulatedLog {
    const copy = new SimulatedLog();
    copy.base = this.base;
    copy.entries = this.entries.slice();
    return copy;
  }
}

type LogWrite =
  | {
    readonly kind: "append";
    readonly write: number;
    readonly entries: readonly LogEntry[];
  }
  | { readonly kind: "cut"; readonly write: number; readonly after: number };

/** How often and how much a disk disappoints. */
export interface DiskTemper {
  /** Milliseconds that most syncs take, at most. */
  syncMsMax: number;
  /** How often one takes much longer. */
  stallChance: number;
  stallMsMax: number;
  /** How often one fails. */
  failChance: number;
}

/** One store. Whoever writes calls `write…`, then syncs, then `synced…`. */
export class SimulatedDisk {
  readonly store: StoreId;
  /** What it is like now, and when nothing is wrong with it. */
  readonly temper: DiskTemper;
  readonly usual: Readonly<DiskTemper>;
  /** What survives. */
  acceptor: AcceptorState = {
    promised: EPOCH_NONE,
    accepted: undefined,
    isDamaged: false,
  };
  readonly log = new SimulatedLog();
  /** At the base or after it. */
  snapshot: ChatSnapshot | undefined;
  /** The directory is gone for good. */
  isLost = false;
  /** Groups that this node was in and that ended; latest last. */
  dissolved: readonly StoreId[] = [];
  readonly #random: Random;
  /** A write was lost on the way to the disk: what comes after it cannot be read. */
  #hasHole = false;
  #logWrites: LogWrite[] = [];
  #saves: { readonly number: number; readonly state: AcceptorState }[] = [];

  constructor(store: StoreId, random: Random, temper: DiskTemper) {
    this.store = store;
    this.#random = random;
    this.temper = { ...temper };
    this.usual = temper;
  }

  /** Whether it can vouch for what it acknowledged. */
  get isSound(): boolean {
    return !this.isLost && !this.acceptor.isDamaged;
  }

  /** How long the next sync takes; undefined: it fails after a while. */
  syncMs(): number | undefined {
    const { syncMsMax, stallChance, stallMsMax, failChance } = this.temper;
    if (this.#random.chance(failChance)) return undefined;
    if (this.#random.chance(stallChance)) return this.#random.int(stallMsMax);
    return 0.05 + this.#random.next() * syncMsMax;
  }

  get hasLogWrites(): boolean {
    return this.#logWrites.length > 0;
  }

  get hasSaves(): boolean {
    return this.#saves.length > 0;
  }

  writeLog(write: LogWrite): void {
    this.#logWrites.push(write);
  }

  writeAcceptor(number: number, state: AcceptorState): void {
    this.#saves.push({ number, state });
  }

  /** Log writes that a sync which begins now covers. */
  get logWriteCount(): number {
    return this.#logWrites.length;
  }

  get saveCount(): number {
    return this.#saves.length;
  }

  /** The first `count` log writes are durable; returns the last one's number. */
  syncedLog(count: number): number {
    const synced = this.#logWrites.splice(0, count);
    for (const write of synced) this.#apply(write);
    return synced[synced.length - 1].write;
  }

  /** The first `count` saves are durable; returns the last one's number. */
  syncedAcceptor(count: number): number {
    const last = this.#saves.splice(0, count)[count - 1];
    this.acceptor = last.state;
    return last.number;
  }

  /** A sync has failed: what it should have written is gone, and no later sync brings it. */
  syncFailed(): void {
    this.#hasHole = true;
  }

  /** A snapshot from elsewhere takes the place of everything; nothing is being written. */
  install(snapshot: ChatSnapshot): void {
    const { index } = snapshot.position;
    if (index >= (this.snapshot?.position.index ?? 0)) this.snapshot = snapshot;
    this.log.reset(snapshot.position);
  }

  /** Of what was not synced any first part survives, a torn record never. */
  crash(): void {
    for (const write of this.#logWrites) {
      if (this.#random.chance(0.4)) break;
      if (write.kind === "append" && this.#random.chance(0.3)) {
        const count = this.#random.int(write.entries.length);
        this.#apply({ ...write, entries: write.entries.slice(0, count) });
        break;
      }
      this.#apply(write);
    }
    for (const { state } of this.#saves) {
      if (this.#random.chance(0.5)) break;
      this.acceptor = state;
    }
    this.#logWrites = [];
    this.#saves = [];
    this.#hasHole = false;
  }

  /** A record before the log's end has rotted; found at the next start. */
  rot(): void {
    const { base, entries } = this.log;
    this.log.cut(base.index + this.#random.int(entries.length + 1));
    this.acceptor = { ...this.acceptor, isDamaged: true };
  }

  #apply(write: LogWrite): void {
    if (this.#hasHole) return;
    if (write.kind === "cut") this.log.cut(write.after);
    else this.log.entries.push(...write.entries);
  }
}
