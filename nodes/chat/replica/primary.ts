/** The primary of an active view: appends, replicates, commits, and wishes. */

import type { BallotPurpose } from "../../../election/ballot.ts";
import type { PeerState } from "../../../election/membership.ts";
import type { StoreId } from "../../../protocol/epoch.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import {
  type LogEntry,
  type LogPosition,
  NO_ROUND,
  type ReplicaMessage,
} from "../../../protocol/replica.ts";
import { compareRank, isMajority, type View } from "../../../protocol/view.ts";
import type { ReplicaContext } from "./context.ts";
import { canCommit } from "./group_state.ts";
import { Progress } from "./progress.ts";

/** Entries that a learner may lack when the group is frozen to take it in. */
const JOIN_LAG_MAX = 4_096;

/** Bytes of commands held back while the group is frozen; what is beyond is dropped. */
const HELD_BYTES_MAX = 33_554_432;

/** Reads waiting for a round of heartbeats; what is beyond fails at once. */
const READS_MAX = 16_384;

/** A handover that did not come to pass is tried again after this, doubled each time. */
const HANDOVER_FIRST_MS = 500;
const HANDOVER_MAX_MS = 60_000;

/** Another view with other members follows after this, doubled while they follow closely. */
const MEMBERS_FIRST_MS = 10;
const MEMBERS_MAX_MS = 2_000;
const MEMBERS_CALM_MS = 1_000;

/** Whoever waits for nothing hears of a commit after this, if no entries come before. */
const NOTICE_MS = 1;

/** A join that took too long is tried again after this. */
const JOIN_PAUSE_MS = 1_000;

/** A change of the view that the primary wants. */
export interface Wish {
  readonly purpose: BallotPurpose;
  readonly reason: string;
}

interface Read {
  readonly token: number;
  /** Who asked; undefined for this node. */
  readonly from: StoreId | undefined;
  readonly index: number;
  /** The round that must be confirmed; 0 until it has begun. */
  round: number;
}

/** What a node said that leaves. */
interface Leaving {
  readonly reason: string;
  readonly isForGood: boolean;
}

interface Join {
  readonly stores: readonly StoreId[];
  readonly untilMs: number;
}

/** Waits between attempts; they outlive the primary of one view. */
export interface PrimaryWaits {
  handoverAfterMs: number;
  handoverWaitMs: number;
  joinAfterMs: number;
  membersAfterMs: number;
  membersWaitMs: number;
}

/** Waits as they are at first. */
export function primaryWaits(): PrimaryWaits {
  return {
    handoverAfterMs: 0,
    handoverWaitMs: HANDOVER_FIRST_MS,
    joinAfterMs: 0,
    membersAfterMs: 0,
    membersWaitMs: MEMBERS_FIRST_MS,
  };
}

/** Lives as long as this node leads its view and has promised nothing higher. */
export class Primary {
  readonly view: View;
  readonly #context: ReplicaContext;
  readonly #waits: PrimaryWaits;
  readonly #progress = new Map<StoreId, Progress>();
  readonly #leaving = new Map<StoreId, Leaving>();
  /** When it began to lead. */
  readonly #sinceMs: number;
  /** The index of the empty entry that this view begins with. */
  readonly #startIndex: number;
  #join: Join | undefined;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #round = 0;
  #beatMs = -Infinity;
  readonly #rounds = new Map<StoreId, number>();
  #reads: Read[] = [];
  #refusedMs: number | undefined;
  /** The index of the last command that each server has forwarded. */
  readonly #forwarded = new Map<StoreId, number>();
  /** When to tell what is committed to those who have not heard of it. */
  #noticeAtMs = Infinity;

  /** Begins to lead; the view is active, and accepted here durably. */
  constructor(context: ReplicaContext, view: View, waits: PrimaryWaits) {
    this.#context = context;
    this.view = view;
    this.#waits = waits;
    this.#sinceMs = context.nowMs;
    this.#startIndex = context.log.lastIndex + 1;
    // Until now nobody had a reason to speak to this node.
    context.membership.forgive(context.nowMs);
    for (const { peer } of context.membership.present()) {
      this.peerUp(peer.store);
    }
    this.#append([new Uint8Array(0)]);
    this.#beat();
  }

  /** Whether nothing is appended for the moment. */
  get isFrozen(): boolean {
    return this.#join !== undefined;
  }

  /** Whether all that came before this view is committed. */
  get hasCommitted(): boolean {
    return this.#context.commitIndex >= this.#startIndex;
  }

  /** Up to where a server has acknowledged the log. */
  matchedOf(store: StoreId): number | undefined {
    return this.#progress.get(store)?.matched;
  }

  /** A link stands: tells the view, and begins to replicate to a server. */
  peerUp(store: StoreId): void {
    this.#context.send(store, { kind: "active", view: this.view });
    this.#leaving.delete(store);
    const peer = this.#context.membership.get(store)?.peer;
    if (peer?.kind !== "server") return;
    const { incarnation } = peer;
    let progress = this.#progress.get(store);
    // What an earlier process of that store had says nothing of this one's log.
    if (progress?.incarnation !== incarnation) {
      const { epoch } = this.view;
      progress = new Progress(this.#context, { store, incarnation, epoch });
      this.#progress.set(store, progress);
    }
    progress.restart();
  }

  /**
   * Appends commands, or holds them back while frozen.
   *
   * @param from Who forwarded them, and hears at once when they are committed.
   */
  propose(commands: readonly Uint8Array[], from?: StoreId): void {
    if (this.#join === undefined) {
      this.#append(commands);
      if (from === undefined) return;
      this.#forwarded.set(from, this.#context.log.lastIndex);
      return;
    }
    for (const command of commands) {
      if (this.#heldBytes + command.length > HELD_BYTES_MAX) return;
      this.#held.push(command);
      this.#heldBytes += command.length;
    }
  }

  /** A server has all up to `index` on disk. */
  appended(from: StoreId, index: number): void {
    this.#progress.get(from)?.appended(index);
    this.advance();
  }

  mismatch(from: StoreId, previous: LogPosition, hint: LogPosition): void {
    this.#progress.get(from)?.mismatch(previous, hint);
  }

  logRead(to: StoreId, from: number, entries: readonly LogEntry[]): void {
    this.#progress.get(to)?.read(from, entries);
  }

  /** A node follows this view still, as of a round of heartbeats. */
  answered(from: StoreId, round: number): void {
    this.#rounds.set(from, Math.max(this.#rounds.get(from) ?? 0, round));
    this.#confirmReads();
  }

  /** Something higher was promised somewhere: this view may be over. */
  refused(): void {
    const { nowMs, jitter, options } = this.#context;
    this.#refusedMs ??= nowMs + jitter.between(0.5, 1.5) *
        options.timing.electionMs;
  }

  /** A member stops soon, or cannot vouch for its data. */
  leaving(from: StoreId, { reason, isForGood }: Leaving): void {
    this.#leaving.set(from, { reason, isForGood });
  }

  /** A linearizable read, of this node or of another. */
  read(token: number, from: StoreId | undefined): void {
    if (this.#reads.length >= READS_MAX) return this.#failRead({ token, from });
    const index = Math.max(this.#context.commitIndex, this.#startIndex);
    const isIdle = this.#reads.length === 0;
    this.#reads.push({ token, from, index, round: 0 });
    // Those that come while a round is under way share the next one.
    if (isIdle) this.#beat();
  }

  /** Commits what all members have on disk. */
  advance(): void {
    const { log, acceptor, self } = this.#context;
    if (this.#join !== undefined || acceptor.isAbove(this.view.epoch)) return;
    let index = log.durableIndex;
    for (const store of this.view.members) {
      if (store === self) continue;
      index = Math.min(index, this.#progress.get(store)?.matched ?? 0);
    }
    // Older epochs' entries are committed only together with one of this epoch.
    if (index < this.#startIndex || index <= this.#context.commitIndex) return;
    const before = this.#context.commitIndex;
    this.#context.commitTo(index);
    this.#confirmReads();
    // The clients of those who forwarded wait for it; others hear of it with the
    // next entries, or a little later.
    this.#tellCommitted((store) => {
      const last = this.#forwarded.get(store) ?? 0;
      if (last <= index) this.#forwarded.delete(store);
      return last > before;
    });
    this.#noticeAtMs = Math.min(
      this.#noticeAtMs,
      this.#context.nowMs + NOTICE_MS,
    );
  }

  /** Whatever time brings: heartbeats, and the end of a join that takes too long. */
  tick(): void {
    const { nowMs, options } = this.#context;
    if (nowMs - this.#beatMs >= options.timing.heartbeatMs) this.#beat();
    for (const progress of this.#progress.values()) progress.tick();
    if (nowMs >= this.#noticeAtMs) {
      this.#noticeAtMs = Infinity;
      this.#tellCommitted(() => true);
    }
    if (this.#join !== undefined && nowMs >= this.#join.untilMs) {
      this.#waits.joinAfterMs = nowMs + JOIN_PAUSE_MS;
      this.#unfreeze();
    }
  }

  /** When {@linkcode tick} is due. */
  get wakeAtMs(): number {
    const beatMs = this.#beatMs + this.#context.options.timing.heartbeatMs;
    const joinMs = this.#join?.untilMs ?? Infinity;
    return Math.min(beatMs, joinMs, this.#noticeAtMs);
  }

  /** The change of view that is wanted most; undefined if all is well. */
  wish(): Wish | undefined {
    return this.#wishWithout() ?? this.#wishHigher() ?? this.#wishJoin() ??
      this.#wishVoters() ?? this.#wishHandover();
  }

  /** Ends: what was held back is proposed anew by whoever wants it. */
  stop(): void {
    for (const read of this.#reads) this.#failRead(read);
    this.#reads = [];
    this.#held = [];
  }

  #append(commands: readonly Uint8Array[]): void {
    const { log } = this.#context;
    const { epoch } = this.view;
    let index = log.lastIndex;
    let bytes = 0;
    const entries: LogEntry[] = [];
    for (const command of commands) {
      index += 1;
      bytes += command.length;
      entries.push({ index, epoch, command });
    }
    if (entries.length === 0) return;
    // Sent first: the others' disks work while this one's does. One message for
    // all, so that it is encoded once.
    const message: ReplicaMessage = {
      kind: "append",
      epoch,
      previous: log.last,
      commit: this.#context.commitIndex,
      entries,
    };
    for (const progress of this.#progress.values()) {
      progress.push(message, bytes);
    }
    this.#context.append(entries);
  }

  #beat(): void {
    this.#round += 1;
    this.#beatMs = this.#context.nowMs;
    for (const read of this.#reads) {
      if (read.round === 0) read.round = this.#round;
    }
    this.#context.broadcast({
      kind: "heartbeat",
      epoch: this.view.epoch,
      round: this.#round,
      commit: this.#context.commitIndex,
      isWritable: canCommit(this.#context, this.view),
    });
    this.#confirmReads();
  }

  #tellCommitted(isDue: (store: StoreId) => boolean): void {
    const { commitIndex } = this.#context;
    const told: ReplicaMessage = {
      kind: "heartbeat",
      epoch: this.view.epoch,
      round: NO_ROUND,
      commit: commitIndex,
      isWritable: canCommit(this.#context, this.view),
    };
    for (const [store, progress] of this.#progress) {
      if (progress.toldCommit >= commitIndex || !isDue(store)) continue;
      progress.toldCommit = commitIndex;
      this.#context.send(store, told);
    }
  }

  #confirmReads(): void {
    // An index that is not committed may be cut, and then nobody would reach it.
    if (!this.hasCommitted) return;
    while (this.#reads.length > 0) {
      const read = this.#reads[0];
      if (read.round === 0) return this.#beat();
      const { self } = this.#context;
      const isConfirmed = isMajority(
        this.view,
        (store) =>
          store === self || (this.#rounds.get(store) ?? 0) >= read.round,
      );
      if (!isConfirmed) return;
      this.#reads.shift();
      const { token, from, index } = read;
      if (from === undefined) {
        this.#context.emit({ kind: "read-ready", token, index });
      } else {
        this.#context.send(from, { kind: "read-index-answer", token, index });
      }
    }
  }

  #failRead(read: { token: number; from: StoreId | undefined }): void {
    const { token, from } = read;
    if (from === undefined) {
      this.#context.emit({ kind: "read-failed", token });
    } else {
      this.#context.send(from, {
        kind: "read-index-answer",
        token,
        index: undefined,
      });
    }
  }

  #unfreeze(): void {
    this.#join = undefined;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    this.#append(held);
    this.advance();
  }

  /** Members that are gone, or going; and this node, if it is. */
  #wishWithout(): Wish | undefined {
    const { membership, nowMs, options, self, isDraining } = this.#context;
    const silentMs = options.timing.suspectAfterMs;
    const lost: string[] = [];
    const going: string[] = [];
    let staying = isDraining ? 0 : 1;
    if (isDraining) going.push(`${options.self.id} leaves`);
    for (const store of this.view.members) {
      if (store === self) continue;
      const leaving = this.#leaving.get(store);
      const state = membership.get(store);
      if (membership.isSuspect(store, { nowMs, silentMs })) {
        lost.push(this.#context.lossOf(store));
      } else if (leaving !== undefined) {
        going.push(`${this.#context.nameOf(store)} left (${leaving.reason})`);
      } else if (state?.isDraining !== true) staying += 1;
    }
    // If all are going, they stay to the end: somebody has to lead.
    const reasons = staying > 0 ? [...lost, ...going] : lost;
    if (reasons.length === 0 || !this.#mayWishMembers()) return undefined;
    return { purpose: { kind: "members" }, reason: reasons.join("; ") };
  }

  /** Not again at once if the last such wish did not help. */
  #mayWishMembers(): boolean {
    const { nowMs } = this.#context;
    const waits = this.#waits;
    if (nowMs < waits.membersAfterMs) return false;
    if (nowMs - waits.membersAfterMs > MEMBERS_CALM_MS) {
      waits.membersWaitMs = MEMBERS_FIRST_MS;
    }
    waits.membersAfterMs = nowMs + waits.membersWaitMs;
    waits.membersWaitMs = Math.min(MEMBERS_MAX_MS, 2 * waits.membersWaitMs);
    return true;
  }

  #wishHigher(): Wish | undefined {
    if ((this.#refusedMs ?? Infinity) > this.#context.nowMs) return undefined;
    return {
      purpose: { kind: "members" },
      reason: "a ballot came to nothing",
    };
  }

  /** Freezes when a learner is nearly there; wishes when it is. */
  #wishJoin(): Wish | undefined {
    const { nowMs, options, log } = this.#context;
    if (this.#join === undefined) {
      if (nowMs < this.#waits.joinAfterMs || !this.hasCommitted) {
        return undefined;
      }
      const stores = this.#joiners();
      if (stores.length === 0) return undefined;
      this.#join = { stores, untilMs: nowMs + options.timing.joinMs };
    }
    const { stores } = this.#join;
    const isThere = (store: StoreId) =>
      this.#context.membership.isUp(store) &&
      this.matchedOf(store) === log.lastIndex;
    if (!stores.every(isThere)) return undefined;
    const names = stores.map((store) => this.#context.nameOf(store)).sort();
    return {
      purpose: { kind: "join", joiners: stores, end: log.last },
      reason: `${names.join(", ")} joined`,
    };
  }

  #joiners(): StoreId[] {
    const { log } = this.#context;
    return this.#standing()
      .filter(({ peer: { store, kind }, isDraining }) => {
        const progress = this.#progress.get(store);
        return kind === "server" && !isDraining &&
          !this.view.members.includes(store) &&
          progress?.isStreaming === true &&
          log.lastIndex - progress.matched <= JOIN_LAG_MAX;
      })
      .map(({ peer }) => peer.store);
  }

  /** Peers with a link that were heard of lately. */
  #standing(): PeerState[] {
    return [...this.#context.membership.present()]
      .filter(({ peer }) => this.#isHere(peer.store));
  }

  #isHere(store: StoreId): boolean {
    const { self, membership, nowMs, options } = this.#context;
    const silentMs = options.timing.suspectAfterMs;
    return store === self ||
      membership.isUp(store) &&
        !membership.isSuspect(store, { nowMs, silentMs });
  }

  /** One voter more or fewer at a time, and then the old set is forgotten. */
  #wishVoters(): Wish | undefined {
    if (this.#join !== undefined || !this.hasCommitted) return undefined;
    const { voters, previousVoters, members } = this.view;
    if (previousVoters !== undefined) {
      const reason = `${this.view.reason} (settled)`;
      return { purpose: { kind: "settle" }, reason };
    }
    const gone = this.#voterGone();
    if (gone !== undefined) return gone;
    const { self, options } = this.#context;
    const standing = this.#standing().map(({ peer }) => peer);
    for (const peer of [options.self, ...standing]) {
      if (voters.includes(peer.store)) continue;
      if (this.#leaving.has(peer.store)) continue;
      // Whoever has not accepted this view yet may end in another group, and its
      // vote with it.
      if (peer.store !== self && !this.#rounds.has(peer.store)) continue;
      const replaced = voters.find((store) =>
        this.#context.nameOf(store) === peer.id
      );
      if (replaced !== undefined) {
        return {
          purpose: {
            kind: "voters",
            voters: voters.filter((store) => store !== replaced),
          },
          reason: `${peer.id} has lost its data and is replaced`,
        };
      }
      if (peer.kind === "server" && !members.includes(peer.store)) continue;
      if (peer.kind === "witness" && !this.#isExpected(peer.id)) continue;
      return {
        purpose: { kind: "voters", voters: [...voters, peer.store] },
        reason: `${peer.id} votes`,
      };
    }
    return undefined;
  }

  /** A voter that has left for good, or was dead for too long; one at a time. */
  #voterGone(): Wish | undefined {
    const { self, nowMs, membership, options } = this.#context;
    const { voters, members } = this.view;
    const forgetMs = options.forgetAfterMs ?? Infinity;
    for (const store of voters) {
      // A member is out of sync first; the last voter stays until another votes.
      if (store === self || members.includes(store)) continue;
      if (voters.length === 1) continue;
      const name = this.#context.nameOf(store);
      const state = membership.get(store);
      const silentMs = nowMs - Math.max(state?.heardMs ?? 0, this.#sinceMs);
      const hasLeft = this.#leaving.get(store)?.isForGood === true;
      if (!hasLeft && silentMs < forgetMs) continue;
      const staying = voters.filter((other) => other !== store);
      // Where others are dead, the vote of one who wants to go may be needed.
      if (!isMajority({ voters: staying }, (other) => this.#isHere(other))) {
        continue;
      }
      return {
        purpose: { kind: "voters", voters: staying },
        reason: hasLeft
          ? `${name} has left for good and votes no more`
          : `${name} is forgotten (dead for ${Math.round(silentMs / 1_000)} s)`,
      };
    }
    return undefined;
  }

  /** A vote without data is given only to whom the configuration names, if it names any. */
  #isExpected(id: NodeId): boolean {
    const { founders } = this.#context.options;
    return founders.length === 0 || founders.some((node) => node.id === id);
  }

  #wishHandover(): Wish | undefined {
    const { nowMs, options, membership } = this.#context;
    if (options.sticky || this.#join !== undefined || !this.hasCommitted) {
      return undefined;
    }
    if (nowMs < this.#waits.handoverAfterMs) return undefined;
    let highest = options.self;
    for (const store of this.view.members) {
      const state = membership.get(store);
      if (state?.isUp !== true || state.isDraining || !state.reachesAll) {
        continue;
      }
      if (compareRank(state.peer, highest) > 0) highest = state.peer;
    }
    if (highest === options.self) return undefined;
    this.#waits.handoverAfterMs = nowMs + this.#waits.handoverWaitMs;
    this.#waits.handoverWaitMs = Math.min(
      HANDOVER_MAX_MS,
      2 * this.#waits.handoverWaitMs,
    );
    return {
      purpose: { kind: "members" },
      reason: `${options.self.id} hands over to ${highest.id}`,
    };
  }
}
