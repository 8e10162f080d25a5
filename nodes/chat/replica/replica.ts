/** Wires a replica's core to its disk, its links and its clock: a log that a group agrees on. */

import { setImmediate } from "node:timers";
import type { Epoch, StoreId } from "../../../protocol/epoch.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { LogEntry } from "../../../protocol/replica.ts";
import { StartError } from "../../host/process.ts";
import type { CommittedLog } from "./committed_log.ts";
import type {
  GroupState,
  LogShape,
  ReplicaEffect,
  ReplicaInput,
} from "./contract.ts";
import { ReplicaCore } from "./core.ts";
import { divergedReason } from "./divergence.ts";
import { LOG_START } from "./log_index.ts";
import type { PeerLinks } from "../links/peers.ts";
import type { ReplicaCounters, ReplicaParts } from "./replica_parts.ts";

/** Bytes of commands that are applied before anything else gets its turn. */
const APPLY_BYTES_MAX = 262_144;

/** A sync that takes longer than this on average is waited for, not blocked on. */
const QUICK_SYNC_MS = 2;

/** After so long without a write the log notes that all of it is synced. */
const IDLE_MARK_MS = 500;

/** How long one linearizable read may wait for the primary. */
const READ_WAIT_MS = 5_000;

/** How long entries for a repair are waited for. */
const FETCH_WAIT_MS = 3_000;

type ReadLog = Extract<ReplicaEffect, { kind: "read-log" }>;

interface WaitingRead {
  resolve(index: number): void;
  reject(error: WireError): void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** One node's part in the group; see {@linkcode CommittedLog}. */
export class Replica implements CommittedLog {
  readonly counters: ReplicaCounters = {
    syncs: 0,
    syncSeconds: 0,
    views: 0,
    elections: 0,
    proposals: 0,
  };
  readonly peers: PeerLinks;
  readonly #parts: ReplicaParts;
  readonly #core: ReplicaCore;
  readonly #inputs: ReplicaInput[] = [];
  #isDraining = false;
  #proposals: Uint8Array[] = [];
  #isTurnDue = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAtMs = Infinity;
  #lastWrite = 0;
  #syncedWrite = 0;
  #syncMs = 0;
  #wroteMs = 0;
  #isMarked = true;
  #commitIndex: number;
  #appliedIndex: number;
  #isInstalling = false;
  readonly #reads = new Map<number, WaitingRead>();
  #lastToken = 0;
  #lastBallot = 0;
  #group: GroupState;
  /** Met damage that could not be mended: done again when the log was compacted. */
  readonly #unread = new Map<StoreId, ReadLog>();
  #isApplyStalled = false;
  #fetched: ((entries: readonly LogEntry[]) => void) | undefined;
  #whenLeft: (() => void) | undefined;
  #isClosed = false;

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
    this.#core = new ReplicaCore(parts.core);
    this.#commitIndex = this.#appliedIndex = parts.appliedIndex;
    this.#group = this.#core.group;
    const shape: LogShape = parts.log?.shape ??
      { base: LOG_START, runs: [], lastIndex: 0 };
    this.peers = parts.connect((inputs) => this.#hear(inputs));
    this.#push({ kind: "start", acceptor: parts.acceptorState, log: shape });
    this.#drain();
  }

  get group(): GroupState {
    return this.#group;
  }

  /** The last index that the service has been given. */
  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** As far as this node knows; what is above `appliedIndex` is being applied. */
  get commitIndex(): number {
    return this.#commitIndex;
  }

  /** See {@linkcode ReplicaCore.progress}. */
  get progress(): ReplicaCore["progress"] {
    return this.#core.progress;
  }

  /** One line for logs. */
  describe(): string {
    return this.#core.describe();
  }

  propose(commands: readonly Uint8Array[]): void {
    this.counters.proposals += commands.length;
    for (const command of commands) this.#proposals.push(command);
    this.#turnLater();
  }

  readIndex(): Promise<number> {
    const token = ++this.#lastToken;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#reads.delete(token);
        reject(noPrimary());
      }, READ_WAIT_MS);
      this.#reads.set(token, { resolve, reject, timer });
      this.#push({ kind: "read", token });
      this.#drain();
    });
  }

  /** Removes what a snapshot stands for from the log, up to `index`. */
  async compact(index: number): Promise<void> {
    const { log } = this.#parts;
    if (log === undefined || this.#isInstalling) return;
    await log.compact(index);
    this.#push({ kind: "compacted", base: log.base });
    for (const effect of this.#unread.values()) this.#readLog(effect);
    this.#drain();
  }

  /**
   * Committed entries from another server, to mend a damaged segment.
   *
   * @param range First and last index, both wanted.
   * @throws {WireError} `timeout`: no server has them, or none answers; try later.
   */
  async fetchEntries(range: { from: number; to: number }): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    while (entries.length < range.to - range.from + 1) {
      const from = range.from + entries.length;
      entries.push(...await this.#fetchSome({ from, to: range.to }));
    }
    return entries;
  }

  /** Begins a group of this node alone, if it is in none. */
  found(): void {
    this.#hear([{ kind: "found" }]);
  }

  /**
   * Hands the lead over and leaves the view, if others can go on; for good,
   * gives the vote back as well.
   *
   * @param options `onLate`: it is done, but later than `waitMs`.
   * @returns Whether that is done; `false` after `waitMs`, and it goes on trying.
   */
  leave(
    waitMs: number,
    options: { isForGood: boolean; onLate?: () => void },
  ): Promise<boolean> {
    const { isForGood, onLate } = options;
    return new Promise((resolve) => {
      const left = () => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        if (this.#whenLeft === left) this.#whenLeft = onLate;
        resolve(false);
      }, waitMs);
      this.#whenLeft = left;
      this.#push({ kind: "leave", isForGood });
      this.#drain();
    });
  }

  /** Ends the links and takes no more input. The log is the caller's to close. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const token of [...this.#reads.keys()]) this.#failRead(token);
    await this.peers.close();
  }

  #hear(inputs: readonly ReplicaInput[]): void {
    for (const input of inputs) {
      const message = input.kind === "message" ? input.message : undefined;
      if (input.kind === "message" && message?.kind === "fetch") {
        this.#serveFetch(input.from, message);
      } else if (message?.kind === "fetched") {
        this.#fetched?.(message.entries);
      } else {
        this.#push(input);
      }
    }
    this.#drain();
  }

  #push(input: ReplicaInput): void {
    this.#inputs.push(input);
  }

  /** Handles all inputs, also those that come up meanwhile. */
  #drain(): void {
    if (this.#isDraining || this.#isClosed) return;
    this.#isDraining = true;
    try {
      for (let at = 0; at < this.#inputs.length; at++) {
        for (
          const effect of this.#core.step(this.#inputs[at], performance.now())
        ) {
          this.#act(effect);
        }
      }
      this.#inputs.length = 0;
    } catch (error) {
      this.#inputs.length = 0;
      this.#fail(error);
    } finally {
      this.#isDraining = false;
    }
    this.#apply();
    this.#arm();
  }

  #act(effect: ReplicaEffect): void {
    const { log, acceptor, journal } = this.#parts;
    switch (effect.kind) {
      case "send":
        if (effect.message.kind === "prepare") {
          this.#countBallot(effect.message.epoch);
        }
        return this.peers.send(effect.to, effect.message);
      case "save":
        // What is sent before may leave while this blocks.
        this.peers.flush();
        acceptor.saveNow(effect.state);
        return this.#push({ kind: "saved", number: effect.number });
      case "append":
        log?.append(effect.entries);
        return this.#wrote(effect.write);
      case "cut":
        if (effect.after < this.#commitIndex) {
          throw new StartError(divergedReason(this.#commitIndex));
        }
        log?.cut(effect.after);
        return this.#wrote(effect.write);
      case "read-log":
        return this.#readLog(effect);
      case "commit":
        this.#commitIndex = Math.max(this.#commitIndex, effect.index);
        return;
      case "read-ready":
        return this.#answerRead(effect.token, effect.index);
      case "read-failed":
        return this.#failRead(effect.token);
      case "fetch-snapshot":
        return void this.#fetch(effect.from);
      case "group":
        return this.#changed(effect.state);
      case "note":
        return journal[effect.level](effect.text);
      case "left":
        return this.#whenLeft?.();
      case "fatal":
        return this.#fail(
          new StartError(`${effect.reason}, in "${this.#parts.directory}"`),
        );
    }
  }

  #readLog(effect: ReadLog): void {
    const { to, from, bytesMax } = effect;
    this.#unread.delete(to);
    try {
      const { log } = this.#parts;
      const entries = log?.read(from, { bytesMax }) ?? [];
      // A compaction may be under way: the core, which does not know of it yet,
      // would read the same again without end.
      if (log !== undefined && entries.length === 0) {
        this.#push({ kind: "compacted", base: log.base });
      }
      this.#push({ kind: "log-read", to, from, entries });
    } catch (error) {
      this.#mend(error, (isMended) => {
        if (!isMended) return void this.#unread.set(to, effect);
        this.#readLog(effect);
        this.#drain();
      });
    }
  }

  /** Has what a failed read has met mended, if it is the log's damage and can be. */
  #mend(error: unknown, then: (isMended: boolean) => void): void {
    const { log, mendLog } = this.#parts;
    const damage = log?.damageOf(error);
    if (damage === undefined || mendLog === undefined) return this.#fail(error);
    void mendLog(damage).then((isMended) => {
      if (!this.#isClosed) then(isMended);
    });
  }

  /** One ballot asks everybody. */
  #countBallot({ counter }: Epoch): void {
    if (counter <= this.#lastBallot) return;
    this.#lastBallot = counter;
    this.counters.elections += 1;
  }

  #changed(state: GroupState): void {
    if (state.view !== undefined && state.view !== this.#group.view) {
      this.counters.views += 1;
    }
    this.#group = state;
    // Not within a step: whoever hears it may propose at once.
    queueMicrotask(() => this.#parts.events.groupChanged(state));
  }

  #wrote(write: number): void {
    this.#lastWrite = write;
    this.#isMarked = false;
    this.#turnLater();
  }

  /** Does the rest when all that has arrived by now is handled: one sync for all of it. */
  #turnLater(): void {
    if (this.#isTurnDue || this.#isClosed) return;
    this.#isTurnDue = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#isTurnDue = false;
    if (this.#isClosed) return;
    if (this.#proposals.length > 0) {
      const commands = this.#proposals;
      this.#proposals = [];
      this.#push({ kind: "propose", commands });
      this.#drain();
    }
    this.peers.flush();
    this.#sync();
    this.#apply();
  }

  /** Blocks while the disk is quick, which is cheapest; waits while it is not. */
  #sync(): void {
    const { log } = this.#parts;
    const write = this.#lastWrite;
    if (log === undefined || write === this.#syncedWrite) return;
    if (log.isSyncing) return; // Its end begins the next one.
    const startMs = performance.now();
    if (this.#syncMs <= QUICK_SYNC_MS) {
      try {
        log.syncNow();
      } catch (error) {
        return this.#fail(error);
      }
      return this.#synced(write, startMs);
    }
    log.sync().then(
      () => {
        this.#synced(write, startMs);
        if (this.#lastWrite !== write) this.#turnLater();
      },
      (error) => this.#fail(error),
    );
  }

  #synced(write: number, startMs: number): void {
    const nowMs = performance.now();
    const tookMs = nowMs - startMs;
    this.#wroteMs = nowMs;
    this.counters.syncs += 1;
    this.counters.syncSeconds += tookMs / 1_000;
    // Quick again only after a while: one quick sync among slow ones is chance.
    this.#syncMs += (tookMs - this.#syncMs) / 16;
    if (this.#isClosed) return;
    // One that blocked was silent meanwhile, and is replaced by then; one that is
    // waited for is ended by the core.
    if (tookMs > this.#parts.core.timing.syncStallMs) {
      this.#parts.journal.warn("The disk was slow, or this process stopped", {
        ms: Math.round(tookMs),
        path: this.#parts.directory,
      });
    }
    this.#syncedWrite = write;
    this.#push({ kind: "durable", write });
    this.#drain();
    this.peers.flush();
  }

  /** Gives committed entries to the service, some at a time. */
  #apply(): void {
    const { log, events } = this.#parts;
    if (log === undefined || this.#isInstalling || this.#isDraining) return;
    if (this.#appliedIndex >= this.#commitIndex || this.#isApplyStalled) return;
    let entries: LogEntry[];
    try {
      entries = log.read(this.#appliedIndex + 1, {
        bytesMax: APPLY_BYTES_MAX,
        to: this.#commitIndex,
      });
    } catch (error) {
      this.#isApplyStalled = true;
      return this.#mend(error, (isMended) => {
        this.#isApplyStalled = false;
        if (!isMended) return this.#fail(error);
        this.#apply();
      });
    }
    if (entries.length === 0) return;
    this.#appliedIndex += entries.length;
    try {
      events.committed(entries);
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#appliedIndex < this.#commitIndex) this.#turnLater();
  }

  async #fetch(from: StoreId): Promise<void> {
    const { log, installSnapshot, journal } = this.#parts;
    if (log === undefined) return;
    this.#isInstalling = true;
    try {
      const base = await installSnapshot(from);
      // The log may be somebody else's by now.
      if (this.#isClosed) return;
      await log.reset(base);
      this.#appliedIndex = base.index;
      this.#commitIndex = Math.max(this.#commitIndex, base.index);
      journal.info("Installed a snapshot", { index: base.index });
      this.#push({ kind: "snapshot-installed", base });
    } catch (error) {
      if (!(error instanceof WireError)) return this.#fail(error);
      this.#push({ kind: "snapshot-failed", reason: error.message });
    } finally {
      this.#isInstalling = false;
    }
    this.#drain();
  }

  /** One answer of a server that should have these entries; at least one of them. */
  #fetchSome(
    range: { from: number; to: number },
  ): Promise<readonly LogEntry[]> {
    // All that are linked: while a view is being made nobody knows the members.
    for (const { peer } of this.#core.progress.peers) {
      if (peer.kind !== "server") continue;
      this.peers.send(peer.store, { kind: "fetch", ...range });
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fetched = undefined;
        reject(new WireError("timeout", "No server sent the entries wanted"));
      }, FETCH_WAIT_MS);
      this.#fetched = (entries) => {
        // Several servers answer; only what continues the rest is of use.
        if (entries[0]?.index !== range.from) return;
        this.#fetched = undefined;
        clearTimeout(timer);
        resolve(entries);
      };
    });
  }

  /** Sends committed entries to a node that mends a damaged segment. */
  #serveFetch(to: StoreId, range: { from: number; to: number }): void {
    const { log } = this.#parts;
    const end = Math.min(range.to, this.#commitIndex);
    if (log === undefined || range.from > end) return;
    try {
      const entries = log.read(range.from, {
        bytesMax: APPLY_BYTES_MAX,
        to: end,
      });
      if (entries.length > 0) this.peers.send(to, { kind: "fetched", entries });
    } catch (error) {
      // Others may answer meanwhile; who asks, asks again.
      this.#mend(error, () => {});
    }
  }

  #answerRead(token: number, index: number): void {
    this.#takeRead(token)?.resolve(index);
  }

  #failRead(token: number): void {
    this.#takeRead(token)?.reject(noPrimary());
  }

  #takeRead(token: number): WaitingRead | undefined {
    const read = this.#reads.get(token);
    this.#reads.delete(token);
    clearTimeout(read?.timer);
    return read;
  }

  /** One timer, set anew only when the next wake is earlier than it. */
  #arm(): void {
    if (this.#isClosed) return;
    const atMs = this.#core.wakeAtMs;
    if (this.#timer !== undefined && this.#timerAtMs <= atMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    const waitMs = Math.max(0, atMs - performance.now());
    this.#timer = setTimeout(() => this.#wake(), waitMs);
  }

  #wake(): void {
    this.#timer = undefined;
    if (performance.now() >= this.#core.wakeAtMs - 0.5) {
      this.#push({ kind: "wake" });
      this.#drain();
    } else {
      this.#arm();
    }
    this.#markIfIdle();
  }

  #markIfIdle(): void {
    const { log } = this.#parts;
    if (this.#isMarked || this.#lastWrite !== this.#syncedWrite) return;
    if (performance.now() - this.#wroteMs < IDLE_MARK_MS) return;
    this.#isMarked = true;
    try {
      log?.mark();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#parts.onFatal(
      error instanceof Error ? error : new Error(String(error)),
    );
  }
}

function noPrimary(): WireError {
  return new WireError("no-primary", "No primary can be asked just now");
}
