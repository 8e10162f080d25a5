/** What the parts of a replica's core share: its state, and its effects so far. */

import { Acceptor, type Save } from "../../../election/acceptor.ts";
import { Jitter } from "../../../election/jitter.ts";
import { Membership, type Peer } from "../../../election/membership.ts";
import type { StoreId } from "../../../protocol/epoch.ts";
import type { LogEntry, ReplicaMessage } from "../../../protocol/replica.ts";
import type { NodeInfo, View } from "../../../protocol/view.ts";
import type { ReplicaEffect, ReplicaOptions } from "./contract.ts";
import { LogIndex } from "./log_index.ts";

/** Characters of the reason for a loss: a view's reason may have several. */
const LOSS_CHARACTERS_MAX = 60;

/** One per core; its parts read it and act through it. */
export class ReplicaContext {
  readonly options: ReplicaOptions;
  readonly self: StoreId;
  readonly acceptor = new Acceptor();
  readonly membership = new Membership();
  readonly log = new LogIndex();
  readonly jitter: Jitter;
  /** Monotonic, of the step under way. */
  nowMs = 0;
  /** Whether the accepted view is known to be active. */
  isActive = false;
  /** Whether the primary that this node follows said last that it can commit. */
  isPrimaryWritable = true;
  /** Its process began anew, and has not spoken in the view's epoch: it may not lead it. */
  isPrimaryAnew = false;
  /** Asked to stop: leads no more, and wants to be in no view. */
  isDraining = false;
  /** Asked to leave: gives its vote back as well. */
  isLeavingForGood = false;
  /** A snapshot is on its way here; the log is not to be touched. */
  isFetching = false;
  /** All up to here was reported as committed. */
  commitIndex = 0;
  #effects: ReplicaEffect[] = [];
  #waiting: {
    readonly number: number;
    readonly act: () => void;
    sinceMs: number;
  }[] = [];

  constructor(options: ReplicaOptions) {
    this.options = options;
    this.self = options.self.store;
    this.jitter = new Jitter(options.seed);
  }

  /** The newest view accepted here, active or not. */
  get view(): View | undefined {
    return this.acceptor.accepted;
  }

  /** Adds an effect of the step under way. */
  emit(effect: ReplicaEffect): void {
    this.#effects.push(effect);
  }

  /** Takes the effects of the step. */
  take(): ReplicaEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  send(to: StoreId, message: ReplicaMessage): void {
    this.#effects.push({ kind: "send", to, message });
  }

  /** A link to a node stands. */
  linked(peer: Peer): void {
    const { incarnation } = this.membership.get(peer.store)?.peer ?? peer;
    this.isPrimaryAnew ||= incarnation !== peer.incarnation &&
      peer.store === this.view?.primary;
    this.membership.up(peer, this.nowMs);
  }

  /** Why a node whose link is lost, or who is silent, is taken for dead. */
  lossOf(store: StoreId): string {
    const state = this.membership.get(store);
    const { suspectAfterMs } = this.options.timing;
    const reason = store === this.view?.primary && this.isPrimaryAnew
      ? "restarted"
      : state?.isUp === true
      ? `silent for ${suspectAfterMs} ms`
      : state?.isRefused === true
      ? "connection refused"
      : state?.downReason || "no connection";
    return `${this.nameOf(store)} lost (${
      reason.slice(0, LOSS_CHARACTERS_MAX)
    })`;
  }

  /** To everybody to whom a link stands. */
  broadcast(message: ReplicaMessage): void {
    for (const { peer } of this.membership.present()) {
      this.send(peer.store, message);
    }
  }

  note(level: "info" | "warn", text: string): void {
    this.#effects.push({ kind: "note", level, text });
  }

  /** Makes acceptor state durable, and only then does what rests on it. */
  save(save: Save, act: () => void): void {
    this.#effects.push({ kind: "save", ...save });
    this.#wait(save.number, act);
  }

  /** Does what rests on all that was saved so far, once it is durable. */
  afterSaves(act: () => void): void {
    const { acceptor } = this;
    if (acceptor.isSaved(acceptor.lastSave)) act();
    else this.#wait(acceptor.lastSave, act);
  }

  /** Saves up to `number` are on disk. */
  saved(number: number): void {
    this.acceptor.saved(number);
    while (this.#waiting.length > 0 && this.#waiting[0].number <= number) {
      this.#waiting.shift()?.act();
    }
  }

  /** Since when the oldest write or save waits for the disk. */
  get pendingSinceMs(): number | undefined {
    const saveMs = this.#waiting[0]?.sinceMs ?? Infinity;
    const sinceMs = Math.min(saveMs, this.log.pendingSinceMs ?? Infinity);
    return sinceMs === Infinity ? undefined : sinceMs;
  }

  /** This process itself was stopped: neither peers nor disk are to blame. */
  forgive(): void {
    this.membership.forgive(this.nowMs);
    this.log.forgiveStall(this.nowMs);
    for (const waiting of this.#waiting) waiting.sinceMs = this.nowMs;
  }

  append(entries: readonly LogEntry[]): void {
    const write = this.log.append(entries, this.nowMs);
    this.#effects.push({ kind: "append", write, entries });
  }

  cut(after: number): void {
    const write = this.log.cut(after, this.nowMs);
    this.#effects.push({ kind: "cut", write, after });
  }

  /** Reports what is committed; never goes back. */
  commitTo(index: number): void {
    if (index <= this.commitIndex) return;
    this.commitIndex = index;
    this.#effects.push({ kind: "commit", index });
  }

  /** Name and rank of a store: its link's own word first, else the view's. */
  nodeOf(store: StoreId): NodeInfo | undefined {
    if (store === this.self) return this.options.self;
    return this.membership.get(store)?.peer ?? this.view?.nodes[store];
  }

  /** A store's name for people. */
  nameOf(store: StoreId): string {
    return this.nodeOf(store)?.id ?? store;
  }

  #wait(number: number, act: () => void): void {
    this.#waiting.push({ number, act, sinceMs: this.nowMs });
  }
}
