/** A node of a replicated group: what it does with each input, and nothing else. */

import { formatEpoch, type StoreId } from "../../../protocol/epoch.ts";
import type { Core } from "../../../protocol/core.ts";
import {
  type LogPosition,
  NO_ROUND,
  type ReplicaMessage,
} from "../../../protocol/replica.ts";
import { isMajority, type View } from "../../../protocol/view.ts";
import { ReplicaContext } from "./context.ts";
import {
  type GroupState,
  isRoutine,
  type Peer,
  type ReplicaEffect,
  type ReplicaInput,
  type ReplicaOptions,
  type ReplicaRole,
} from "./contract.ts";
import { Departure } from "./departure.ts";
import { EarlyCommands } from "./early_commands.ts";
import { Elector } from "./elector.ts";
import { Follower } from "./follower.ts";
import { isForeign } from "./foreign.ts";
import { foundersIfReady } from "./founding.ts";
import { groupState, isSameState } from "./group_state.ts";
import { Primary, primaryWaits } from "./primary.ts";
import { RemoteReads } from "./remote_reads.ts";

type Start = Extract<ReplicaInput, { kind: "start" }>;
type Epochal = Extract<ReplicaMessage, { kind: "append" | "heartbeat" }>;

/** Who does not hold the newest data waits so much longer before it proposes. */
const BYSTANDER_PATIENCE = 4;

/**
 * The protocol of `protocol/WIRE.md#replica`: views are chosen by a majority of
 * the voters, and a write is committed when all members of the view have it on
 * disk. A chat server runs it with a log, a witness without one.
 */
export class ReplicaCore implements Core<ReplicaInput, ReplicaEffect> {
  readonly #context: ReplicaContext;
  readonly #elector: Elector;
  readonly #reads: RemoteReads;
  readonly #waits = primaryWaits();
  readonly #early = new EarlyCommands();
  readonly #departure: Departure;
  #primary: Primary | undefined;
  #follower: Follower | undefined;
  /** Whether it led the view before the one that is being made. */
  #hasLed = false;
  /** Since when no active view is known. */
  #inactiveSinceMs = 0;
  #patienceMs = 0;
  #steppedMs = 0;
  #tickedMs = 0;
  #told: GroupState | undefined;
  /** Whether a look at the group is due, which most inputs are spared. */
  #mustLook = true;

  constructor(options: ReplicaOptions) {
    this.#context = new ReplicaContext(options);
    this.#reads = new RemoteReads(this.#context);
    this.#departure = new Departure(this.#context);
    this.#elector = new Elector(this.#context, {
      promised: () => this.#onPromised(),
      accepted: () => this.#onAccepted(),
      active: (view) => this.#onActive(view),
    });
  }

  step(input: ReplicaInput, nowMs: number): ReplicaEffect[] {
    const context = this.#context;
    context.nowMs = nowMs;
    if (input.kind === "start") this.#start(input);
    else this.#forgiveOwnStop();
    this.#steppedMs = nowMs;
    this.#handle(input);
    if (nowMs - this.#tickedMs >= this.#tickMs || nowMs >= this.#dueMs) {
      this.#tick();
      this.#mustLook = true;
    }
    if (
      this.#mustLook || !isRoutine(input) || this.#primary?.isFrozen === true
    ) {
      this.#mustLook = false;
      this.#reactToSuspicion();
      this.#tellGroup();
    }
    return context.take();
  }

  /** When the host is to step with `wake` at the latest. */
  get wakeAtMs(): number {
    return Math.min(this.#tickedMs + this.#tickMs, this.#dueMs);
  }

  /** What is known here of the group. */
  get group(): GroupState {
    return this.#told ?? groupState(this.#context, this.#role());
  }

  /** What a status page shows of the log and of each node with a link. */
  get progress() {
    const { log, membership } = this.#context;
    return {
      lastIndex: log.lastIndex,
      peers: [...membership.present()].map(({ peer }) => ({
        peer,
        matched: this.#primary?.matchedOf(peer.store),
      })),
    };
  }

  describe(): string {
    const { options, acceptor, view, isActive, log, commitIndex } =
      this.#context;
    const epoch = view === undefined ? "-" : formatEpoch(view.epoch);
    return `${options.self.id} ${this.#role()} view ${epoch}${
      isActive ? "" : "?"
    } promised ${
      formatEpoch(acceptor.promised)
    } log ${log.base.index}..${log.durableIndex}/${log.lastIndex} commit ${commitIndex} ballot ${this.#elector.describe()} ${
      this.#follower?.describe() ?? ""
    }`;
  }

  get #tickMs(): number {
    return this.#context.options.timing.heartbeatMs;
  }

  get #dueMs(): number {
    return Math.min(
      this.#primary?.wakeAtMs ?? Infinity,
      this.#elector.wakeAtMs,
    );
  }

  #start({ acceptor, log }: Start): void {
    const context = this.#context;
    const { nowMs } = context;
    this.#tickedMs = this.#steppedMs = nowMs;
    context.acceptor.load(acceptor);
    context.log.load(log);
    this.#becomeInactive();
    if (acceptor.isDamaged) {
      // No view that was promised with the data whole may count them any more.
      const { promised } = acceptor;
      const epoch = { counter: promised.counter + 1, store: context.self };
      const save = context.acceptor.promise(epoch);
      if (save !== undefined) context.save(save, () => {});
    } else if (
      acceptor.accepted !== undefined &&
      !context.acceptor.isAbove(acceptor.accepted.epoch)
    ) this.#follow(acceptor.accepted);
  }

  /** Whoever was stopped itself must not take the others, or its disk, for dead. */
  #forgiveOwnStop(): void {
    const { nowMs, options: { timing } } = this.#context;
    const lateMs = nowMs - Math.max(this.#steppedMs, this.wakeAtMs);
    if (lateMs < timing.suspectAfterMs / 2) return;
    this.#context.forgive();
    this.#follower?.heard();
    this.#inactiveSinceMs = Math.max(
      this.#inactiveSinceMs,
      nowMs - this.#patienceMs / 2,
    );
  }

  #handle(input: ReplicaInput): void {
    const context = this.#context;
    switch (input.kind) {
      case "start":
      case "wake":
        return;
      case "peer-up":
        return this.#peerUp(input.peer);
      case "peer-down":
        return context.membership.down(input.store, input.reason);
      case "peer-refused":
        return context.membership.refused(input.store);
      case "message":
        return this.#receive(input.from, input.message);
      case "propose":
        return this.#propose(input.commands);
      case "durable":
        context.log.durable(input.write);
        this.#primary?.advance();
        this.#follower?.acknowledge({ always: false });
        return;
      case "saved":
        context.saved(input.number);
        this.#follower?.saved();
        return;
      case "log-read":
        return this.#primary?.logRead(input.to, input.from, input.entries);
      case "compacted":
        return context.log.compact(input.base);
      case "snapshot-installed":
        return this.#snapshotInstalled(input.base);
      case "snapshot-failed":
        return this.#snapshotFailed(input.reason);
      case "read":
        return this.#read(input.token);
      case "found":
        return this.#found();
      case "leave":
        return this.#departure.begin(input.isForGood);
    }
  }

  #receive(from: StoreId, message: ReplicaMessage): void {
    const { membership, nowMs } = this.#context;
    if (!membership.isUp(from)) return;
    if (isForeign(this.#context, { from, message })) return;
    membership.heard(from, nowMs);
    switch (message.kind) {
      case "pre-vote":
        return this.#elector.preVote(from, message, this.#isPrimarySuspect());
      case "pre-vote-answer":
        return this.#elector.preVoteAnswer(from, message);
      case "prepare":
        return this.#elector.prepare(from, message);
      case "promise":
        return this.#elector.promise(from, message);
      case "refuse":
        this.#elector.refuse(message);
        return this.#refused(message);
      case "accept":
        return this.#elector.accept(from, message);
      case "accepted":
        return this.#elector.accepted(from, message);
      case "active":
        return this.#toldActive(message.view);
      case "unaware":
        return this.#primary?.peerUp(from);
      case "election":
        return this.#elector.election(from);
      case "alive":
        return this.#elector.alive();
      case "forward":
        return this.#propose(message.commands, from);
      case "leaving":
        return this.#primary?.leaving(from, message);
      case "append":
      case "heartbeat":
        return this.#followPrimary(from, message);
      case "read-index":
        return this.#readIndex(from, message.token);
      case "read-index-answer":
        return this.#reads.answered(message.token, message.index);
      case "fetch":
      case "fetched":
        return; // The host's own matter.
      default:
        return this.#receiveInView(from, message);
    }
  }

  /** Answers that mean something only to the primary of their epoch, or from it. */
  #receiveInView(
    from: StoreId,
    message: Extract<
      ReplicaMessage,
      {
        kind:
          | "appended"
          | "mismatch"
          | "heartbeat-answer"
          | "snapshot-needed";
      }
    >,
  ): void {
    if (!this.#context.acceptor.hasAccepted(message.epoch)) return;
    switch (message.kind) {
      case "appended":
        return this.#primary?.appended(from, message.index);
      case "mismatch":
        return this.#primary?.mismatch(from, message.previous, message.hint);
      case "heartbeat-answer": {
        const state = this.#context.membership.get(from);
        if (state === undefined) return;
        state.reachesAll = message.reachesAll;
        state.isDraining = message.isDraining;
        return this.#primary?.answered(from, message.round);
      }
      case "snapshot-needed":
        if (from !== this.#follower?.view.primary) return;
        return this.#follower.snapshotNeeded(from);
    }
  }

  #peerUp(peer: Peer): void {
    const context = this.#context;
    context.linked(peer);
    if (peer.store === this.#follower?.view.primary) {
      this.#follower.linkUp();
      this.#departure.linkUp();
    }
    this.#primary?.peerUp(peer.store);
    this.#elector.peerUp(peer.store);
  }

  /** Appends, or sends on what was proposed here; `from` is who forwarded. */
  #propose(commands: readonly Uint8Array[], from?: StoreId): void {
    if (this.#primary !== undefined) {
      return this.#primary.propose(commands, from);
    }
    const { view, isActive, self } = this.#context;
    if (view?.primary === self) return this.#early.push(commands);
    if (view === undefined || !isActive || from !== undefined) return;
    this.#context.send(view.primary, { kind: "forward", commands });
  }

  #read(token: number): void {
    if (this.#primary !== undefined) {
      return this.#primary.read(token, undefined);
    }
    const { view, isActive } = this.#context;
    if (view === undefined || !isActive) return this.#reads.fail(token);
    this.#reads.ask(token, view.primary);
  }

  #readIndex(from: StoreId, token: number): void {
    if (this.#primary !== undefined) return this.#primary.read(token, from);
    this.#context.send(from, {
      kind: "read-index-answer",
      token,
      index: undefined,
    });
  }

  /** A primary speaks: follows it, or says why not. */
  #followPrimary(from: StoreId, message: Epochal): void {
    const { acceptor, view } = this.#context;
    const { epoch } = message;
    if (acceptor.isAbove(epoch)) {
      const { promised } = acceptor;
      return this.#context.send(from, { kind: "refuse", epoch, promised });
    }
    if (!acceptor.hasAccepted(epoch)) {
      return this.#context.send(from, { kind: "unaware", epoch });
    }
    if (view === undefined || from !== view.primary) return;
    this.#becomeActive();
    this.#context.isPrimaryAnew = false;
    this.#follower?.heard();
    if (message.kind === "append") return this.#follower?.append(message);
    this.#follower?.heartbeat(message.commit);
    this.#hearWritable(message.isWritable);
    if (message.round === NO_ROUND) return;
    const answer: ReplicaMessage = {
      kind: "heartbeat-answer",
      epoch,
      round: message.round,
      reachesAll: this.#reachesAll(view),
      isDraining: this.#context.isDraining,
    };
    // It says that this view was accepted, and a vote may rest on it.
    this.#context.afterSaves(() => this.#context.send(from, answer));
  }

  #hearWritable(isWritable: boolean): void {
    if (this.#context.isPrimaryWritable === isWritable) return;
    this.#context.isPrimaryWritable = isWritable;
    this.#mustLook = true;
  }

  #reachesAll(view: View): boolean {
    const { membership, self } = this.#context;
    const isUp = (store: StoreId) => store === self || membership.isUp(store);
    return view.members.every(isUp) && isMajority(view, isUp);
  }

  #toldActive(view: View): void {
    if (!this.#elector.take(view, () => {})) return;
    this.#becomeActive();
    this.#context.afterSaves(() => this.#leadIfPrimary());
  }

  /** This node's own ballot has made a view. */
  #onActive(view: View): void {
    if (!this.#context.acceptor.hasAccepted(view.epoch)) return;
    this.#becomeActive();
    this.#context.afterSaves(() => this.#leadIfPrimary());
  }

  #becomeActive(): void {
    if (this.#context.isActive) return;
    this.#context.isActive = true;
    this.#mustLook = true;
    this.#elector.calm();
    const { view, membership, nowMs, self, options } = this.#context;
    if (view === undefined) return;
    // Until now it had no reason to speak to this node.
    membership.heard(view.primary, nowMs);
    const leader = this.#context.nameOf(view.primary);
    if (this.#hasLed && view.primary !== self) {
      this.#context.note(
        "info",
        `${options.self.id} steps down, ${leader} takes over`,
      );
    }
    this.#hasLed = false;
    this.#context.note(
      "info",
      `Epoch ${view.epoch.counter}: ${leader} leads ${
        view.members.map((store) => this.#context.nameOf(store)).sort().join(
          ", ",
        )
      }; ${view.reason}`,
    );
  }

  #becomeInactive(): void {
    const { nowMs, jitter, options: { timing } } = this.#context;
    this.#context.isActive = false;
    this.#context.isPrimaryWritable = true;
    this.#context.isPrimaryAnew = false;
    this.#mustLook = true;
    this.#inactiveSinceMs = nowMs;
    this.#patienceMs = timing.electionMs * jitter.between(1, 2);
  }

  #leadIfPrimary(): void {
    const { view, isActive, acceptor, self } = this.#context;
    if (view === undefined || !isActive || this.#primary !== undefined) return;
    if (view.primary !== self || acceptor.isAbove(view.epoch)) return;
    if (!acceptor.mayLead(view.epoch)) return;
    this.#follower = undefined;
    this.#primary = new Primary(this.#context, view, this.#waits);
    this.#mustLook = true;
    this.#primary.propose(this.#early.take());
    this.#primary.advance();
  }

  /** Something higher was promised here: the view accepted so far is over. */
  #onPromised(): void {
    this.#hasLed ||= this.#primary !== undefined;
    this.#primary?.stop();
    this.#primary = undefined;
    this.#follower = undefined;
    this.#becomeInactive();
  }

  /** A newer view was accepted here. */
  #onAccepted(): void {
    const { view } = this.#context;
    this.#primary?.stop();
    this.#primary = undefined;
    this.#early.take();
    this.#reads.failAll();
    this.#becomeInactive();
    if (view !== undefined) this.#follow(view);
  }

  #follow(view: View): void {
    const { self, options } = this.#context;
    const follows = options.self.kind === "server" && view.primary !== self;
    this.#follower = follows ? new Follower(this.#context, view) : undefined;
  }

  #refused(message: Extract<ReplicaMessage, { kind: "refuse" }>): void {
    const { acceptor } = this.#context;
    if (acceptor.hasAccepted(message.epoch)) this.#primary?.refused();
  }

  #snapshotInstalled(base: LogPosition): void {
    this.#context.isFetching = false;
    this.#context.log.reset(base);
    this.#context.commitIndex = Math.max(this.#context.commitIndex, base.index);
    this.#follower?.snapshotInstalled(base);
  }

  #snapshotFailed(reason: string): void {
    this.#context.isFetching = false;
    this.#context.note("warn", `No snapshot came: ${reason}`);
    this.#follower?.snapshotFailed();
  }

  #tick(): void {
    const { nowMs, options: { timing } } = this.#context;
    this.#tickedMs = nowMs;
    this.#primary?.tick();
    this.#elector.tick();
    this.#reads.tick();
    this.#bear();
    const sinceMs = this.#context.pendingSinceMs ?? nowMs;
    if (nowMs - sinceMs > timing.syncStallMs) {
      this.#context.emit({
        kind: "fatal",
        reason:
          `The disk did not finish a sync within ${timing.syncStallMs} ms`,
      });
    }
    this.#departure.tick({
      isPrimary: this.#primary !== undefined,
      isBallotOut: this.#elector.isBallotOut,
    });
  }

  /** Begins whatever change of the view is wanted now. */
  #reactToSuspicion(): void {
    if (this.#elector.isBusy) return;
    if (this.#primary !== undefined) {
      const wish = this.#primary.wish();
      if (wish === undefined) return;
      const { purpose, reason } = wish;
      const leads = this.#primary.view;
      return this.#elector.begin(purpose, { reason, leads });
    }
    const reason = this.#whyElect();
    if (reason === undefined) this.#elector.calm();
    else this.#elector.elect(reason);
  }

  /** Why a new view is wanted by a node that leads none; undefined if it is not. */
  #whyElect(): string | undefined {
    const { view, isActive, self, acceptor, nowMs, membership, options } =
      this.#context;
    if (view === undefined) return undefined;
    const isMember = view.members.includes(self);
    const patience = isMember ? 1 : BYSTANDER_PATIENCE;
    if (isActive && view.primary === self) {
      return acceptor.mayLead(view.epoch)
        ? undefined
        : `${options.self.id} restarted`;
    }
    if (isActive) {
      if (!this.#isPrimarySuspect()) return undefined;
      const state = membership.get(view.primary);
      const heardMs = this.#follower?.heardMs ?? state?.heardMs ?? 0;
      const { suspectAfterMs } = options.timing;
      if (!isMember && nowMs - heardMs < suspectAfterMs * patience) {
        return undefined;
      }
      return this.#context.lossOf(view.primary);
    }
    if (nowMs - this.#inactiveSinceMs < this.#patienceMs * patience) {
      return undefined;
    }
    return "no view was active";
  }

  /** Whether the primary of the newest view is silent or reset, seen from here. */
  #isPrimarySuspect(): boolean {
    const { view, isActive, self, membership, nowMs, options } = this.#context;
    if (view === undefined || !isActive) return true;
    if (view.primary === self) return this.#primary === undefined;
    if (this.#context.isPrimaryAnew) return true;
    if (!membership.isUp(view.primary)) return true;
    return membership.isSuspect(view.primary, {
      nowMs,
      silentMs: options.timing.suspectAfterMs,
    });
  }

  /** Founds the group, if this is the founder and all others are there and new. */
  #bear(): void {
    if (this.#elector.isBusy) return;
    const founders = foundersIfReady(this.#context);
    if (founders === undefined) return;
    this.#elector.begin({ kind: "birth", founders }, {
      reason: `${this.#context.options.self.id} founded the group`,
      leads: undefined,
    });
  }

  /** Begins a group of this node alone: nobody was there to join. */
  #found(): void {
    const { view, self, options } = this.#context;
    if (view !== undefined || this.#elector.isBusy) return;
    if (options.self.kind !== "server") return;
    this.#elector.begin({ kind: "birth", founders: [self] }, {
      reason: `${options.self.id} heard of no group and founded one`,
      leads: undefined,
    });
  }

  #role(): ReplicaRole {
    const { view, self, options } = this.#context;
    if (options.self.kind === "witness") return "witness";
    if (this.#primary !== undefined) return "primary";
    if (view === undefined) return "none";
    return view.members.includes(self) ? "member" : "learner";
  }

  /** Reports the state when it has changed. */
  #tellGroup(): void {
    const state = groupState(this.#context, this.#role());
    if (this.#told !== undefined && isSameState(state, this.#told)) return;
    if (!state.isWritable) this.#reads.failAll();
    this.#told = state;
    this.#context.emit({ kind: "group", state });
  }
}
