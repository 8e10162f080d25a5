/** Holds ballots: when this node asks for a new view, and how it answers others. */

import {
  Ballot,
  type BallotPurpose,
  type Promised,
} from "../../../election/ballot.ts";
import { Bully } from "../../../election/bully.ts";
import {
  compareEpochs,
  type Epoch,
  formatEpoch,
  isSameEpoch,
  type StoreId,
} from "../../../protocol/epoch.ts";
import type { ReplicaMessage } from "../../../protocol/replica.ts";
import { compareRank, type View } from "../../../protocol/view.ts";
import type { ReplicaContext } from "./context.ts";

type Message<Kind extends ReplicaMessage["kind"]> = Extract<
  ReplicaMessage,
  { kind: Kind }
>;

/** What the elector tells the core. */
export interface ElectorEvents {
  /** Something higher than the view's epoch was promised here: it is over. */
  promised(): void;
  /** A view was accepted here, durable or not yet. */
  accepted(): void;
  /** A majority has accepted this node's view. */
  active(view: View): void;
}

/**
 * A reset reaches one node some ms before another, and that one says no until it
 * has come: so a pre-vote is asked again soon.
 */
const ASK_AGAIN_MS = 5;

type Phase = "pre-vote" | "promising" | "prepare" | "accept";

interface Run {
  readonly ballot: Ballot;
  readonly round: number;
  phase: Phase;
  untilMs: number;
  /** When a pre-vote is asked for again. */
  againMs: number;
  /** Since when a view could be chosen, if members still to answer were not waited for. */
  choosableMs: number | undefined;
}

/** At most one ballot at a time; after one that failed there is a pause. */
export class Elector {
  readonly #context: ReplicaContext;
  readonly #events: ElectorEvents;
  readonly #bully: Bully;
  #run: Run | undefined;
  #round = 0;
  #counter = 0;
  #notBeforeMs = 0;

  constructor(context: ReplicaContext, events: ElectorEvents) {
    this.#context = context;
    this.#events = events;
    const { electionMs, settleMs } = context.options.timing;
    this.#bully = new Bully({ aliveMs: settleMs, electionMs });
  }

  /** Whether a ballot runs, or has to wait. */
  get isBusy(): boolean {
    return this.#run !== undefined ||
      this.#context.nowMs < this.#notBeforeMs;
  }

  /** Whether it asks for promises already: no way back. */
  get isBallotOut(): boolean {
    return this.#run !== undefined && this.#run.phase !== "pre-vote";
  }

  /** Ends an election that is no longer needed; a ballot goes on. */
  calm(): void {
    this.#bully.reset();
    if (this.#run?.phase === "pre-vote") this.#run = undefined;
  }

  /** A view is wanted, by a node that leads none: goes through Bully. */
  elect(reason: string): void {
    if (this.isBusy) return;
    const step = this.#bully.tick(this.#context.nowMs, this.#higher());
    switch (step.kind) {
      case "wait":
        return;
      case "ask":
        for (const to of step.higher) {
          this.#context.send(to, { kind: "election" });
        }
        return;
      case "propose":
        this.#bully.reset();
        this.begin({ kind: "members" }, { reason, leads: undefined });
    }
  }

  /** A lower node wants an election. */
  election(from: StoreId): void {
    this.#context.send(from, { kind: "alive" });
  }

  /** A higher node lives and will propose. */
  alive(): void {
    this.#bully.alive(this.#context.nowMs);
  }

  /** Begins a ballot with its pre-vote. */
  begin(
    purpose: BallotPurpose,
    options: { reason: string; leads: View | undefined },
  ): void {
    const { self, view, nowMs, options: { timing, sticky } } = this.#context;
    const ballot = new Ballot({
      ...options,
      purpose,
      self,
      sticky,
      nodeOf: (store) => this.#context.nodeOf(store),
    });
    this.#round += 1;
    this.#run = {
      ballot,
      round: this.#round,
      phase: "pre-vote",
      untilMs: nowMs + timing.electionMs,
      againMs: nowMs + ASK_AGAIN_MS,
      choosableMs: undefined,
    };
    ballot.grant(self, view);
    this.#context.broadcast({ kind: "pre-vote", round: this.#round });
    this.#prepareIfGranted(this.#run);
  }

  /** Whether another may raise the epoch, as far as this node can tell. */
  preVote(
    from: StoreId,
    message: Message<"pre-vote">,
    isPrimarySuspect: boolean,
  ): void {
    const { view, acceptor } = this.#context;
    this.#context.send(from, {
      kind: "pre-vote-answer",
      round: message.round,
      granted: view === undefined || view.primary === from || isPrimarySuspect,
      promised: acceptor.promised,
      accepted: view,
    });
  }

  preVoteAnswer(from: StoreId, message: Message<"pre-vote-answer">): void {
    this.#note(message.promised);
    const run = this.#run;
    if (run?.phase !== "pre-vote" || message.round !== run.round) return;
    if (!message.granted) return;
    run.ballot.grant(from, message.accepted);
    this.#prepareIfGranted(run);
  }

  /** Promises, durably, or refuses. */
  prepare(from: StoreId, { epoch }: Message<"prepare">): void {
    const { acceptor } = this.#context;
    this.#note(epoch);
    // Asked again, over a new link: the view of this epoch may be there already.
    const isRepeated = isSameEpoch(acceptor.promised, epoch);
    if (isRepeated) {
      const answer = this.#promised();
      return this.#context.afterSaves(() => {
        this.#context.send(from, { kind: "promise", epoch, ...answer });
      });
    }
    const save = acceptor.promise(epoch);
    if (save === undefined) return this.#refuse(from, epoch);
    this.#giveWay(epoch);
    this.#events.promised();
    const answer = this.#promised();
    this.#context.save(save, () => {
      this.#context.send(from, { kind: "promise", epoch, ...answer });
    });
  }

  promise(from: StoreId, message: Message<"promise">): void {
    const run = this.#run;
    if (run?.phase !== "prepare") return;
    if (!isSameEpoch(run.ballot.epoch, message.epoch)) return;
    const { accepted, last, isDraining, isDamaged } = message;
    run.ballot.promise(from, { accepted, last, isDraining, isDamaged });
    this.#chooseIfReady(run);
  }

  refuse(message: Message<"refuse">): void {
    this.#note(message.promised);
    const run = this.#run;
    if (run === undefined || run.phase === "pre-vote") return;
    if (isSameEpoch(run.ballot.epoch, message.epoch)) this.#abandon();
  }

  /** Accepts a view, durably, or refuses. */
  accept(from: StoreId, { view }: Message<"accept">): void {
    this.#note(view.epoch);
    const { epoch } = view;
    const isTaken = this.take(view, () => {
      this.#context.send(from, { kind: "accepted", epoch });
    });
    if (!isTaken) this.#refuse(from, epoch);
  }

  accepted(from: StoreId, { epoch }: Message<"accepted">): void {
    const run = this.#run;
    if (run?.phase !== "accept" || !isSameEpoch(run.ballot.epoch, epoch)) {
      return;
    }
    run.ballot.accept(from);
    this.#finishIfActive(run);
  }

  /**
   * Makes `view` the newest accepted here, and calls `then` when that is
   * durable; false if something higher was promised.
   */
  take(view: View, then: () => void): boolean {
    const { acceptor, self } = this.#context;
    if (acceptor.isAbove(view.epoch)) return false;
    if (acceptor.hasAccepted(view.epoch)) {
      this.#context.afterSaves(then);
      return true;
    }
    // Damaged data are no member's: only a join brings such a store into a view.
    const isRepaired = view.members.includes(self);
    const save = acceptor.accept(view, { isRepaired });
    if (save === undefined) return false;
    this.#giveWay(view.epoch);
    this.#context.save(save, then);
    this.#events.accepted();
    return true;
  }

  /** A link came up: asks whoever is behind it as well. */
  peerUp(store: StoreId): void {
    const run = this.#run;
    if (run === undefined) return;
    const { epoch, view } = run.ballot;
    if (run.phase === "pre-vote") {
      this.#context.send(store, { kind: "pre-vote", round: run.round });
    } else if (run.phase === "prepare") {
      this.#context.send(store, { kind: "prepare", epoch });
    } else if (run.phase === "accept" && view !== undefined) {
      this.#askToAccept(store, view);
    }
  }

  tick(): void {
    const run = this.#run;
    if (run === undefined) return;
    if (run.phase === "prepare") this.#chooseIfReady(run);
    else if (run.phase === "pre-vote" && this.#context.nowMs >= run.againMs) {
      // Whoever did not miss the primary yet may do so now.
      run.againMs = this.#context.nowMs + ASK_AGAIN_MS;
      this.#context.broadcast({ kind: "pre-vote", round: run.round });
    }
    if (this.#run === run && this.#context.nowMs >= run.untilMs) {
      this.#abandon();
    }
  }

  /** When {@linkcode tick} is due. */
  get wakeAtMs(): number {
    const run = this.#run;
    if (run === undefined) return Infinity;
    const { settleMs } = this.#context.options.timing;
    const againMs = run.phase === "pre-vote" ? run.againMs : Infinity;
    const settledMs = (run.choosableMs ?? Infinity) + settleMs;
    return Math.min(run.untilMs, settledMs, againMs);
  }

  #prepareIfGranted(run: Run): void {
    if (!run.ballot.mayPrepare) return;
    const { purpose } = run.ballot.options;
    const { last } = this.#context.log;
    // The freeze may have ended while the answers were on their way.
    if (purpose.kind === "join" && purpose.end.index !== last.index) {
      return this.#abandon();
    }
    const { acceptor, self, nowMs, options } = this.#context;
    this.#note(acceptor.promised);
    const epoch: Epoch = { counter: this.#counter + 1, store: self };
    const save = acceptor.promise(epoch);
    if (save === undefined) throw new Error("A higher epoch was not noted");
    this.#note(epoch);
    run.phase = "promising";
    run.untilMs = nowMs + options.timing.electionMs;
    run.ballot.prepare(epoch);
    this.#events.promised();
    const own = this.#promised();
    this.#context.save(save, () => {
      if (this.#run !== run) return;
      run.phase = "prepare";
      run.ballot.promise(self, own);
      this.#context.broadcast({ kind: "prepare", epoch });
      this.#chooseIfReady(run);
    });
  }

  #chooseIfReady(run: Run): void {
    const { ballot } = run;
    if (run.phase !== "prepare") return;
    if (!ballot.mayChoose) {
      // An answer can name a newer view, of which too few have answered yet.
      run.choosableMs = undefined;
      return;
    }
    const { nowMs, membership, options, self } = this.#context;
    run.choosableMs ??= nowMs;
    const isAwaited = (store: StoreId) =>
      store !== self && membership.isUp(store) && !ballot.hasPromised(store);
    if (
      ballot.expected.some(isAwaited) &&
      nowMs - run.choosableMs < options.timing.settleMs
    ) return;
    const view = ballot.choose();
    run.phase = "accept";
    run.untilMs = nowMs + options.timing.electionMs;
    const isTaken = this.take(view, () => {
      if (this.#run !== run) return;
      ballot.accept(self);
      this.#finishIfActive(run);
    });
    if (!isTaken) return this.#abandon();
    for (const { peer } of this.#context.membership.present()) {
      this.#askToAccept(peer.store, view);
    }
  }

  /**
   * Others hear of the view once it is active: of a group whose founder dies
   * before it has accepted its own view, nobody may remain.
   */
  #askToAccept(store: StoreId, view: View): void {
    const { voters, previousVoters = [] } = view;
    if (!voters.includes(store) && !previousVoters.includes(store)) return;
    this.#context.send(store, { kind: "accept", view });
  }

  #finishIfActive(run: Run): void {
    const { view } = run.ballot;
    if (view === undefined || !run.ballot.isActive) return;
    this.#run = undefined;
    this.#bully.reset();
    this.#context.broadcast({ kind: "active", view });
    this.#events.active(view);
  }

  /** Ends a ballot that came to nothing; the next one waits a little. */
  #abandon(): void {
    const { nowMs, jitter, options: { timing } } = this.#context;
    this.#run = undefined;
    this.#bully.reset();
    this.#notBeforeMs = nowMs + jitter.between(0.1, 1) * timing.electionMs;
  }

  /** Another's higher ballot ends one's own. */
  #giveWay(epoch: Epoch): void {
    const run = this.#run;
    if (run === undefined || run.phase === "pre-vote") return;
    if (compareEpochs(epoch, run.ballot.epoch) <= 0) return;
    this.#abandon();
  }

  #refuse(from: StoreId, epoch: Epoch): void {
    const { promised } = this.#context.acceptor;
    this.#context.send(from, { kind: "refuse", epoch, promised });
  }

  #promised(): Promised {
    const { view, log, isDraining, acceptor, options } = this.#context;
    const last = options.self.kind === "server" ? log.last : undefined;
    const { isDamaged } = acceptor;
    return { accepted: view, last, isDraining, isDamaged };
  }

  /** Members of higher rank to whom a link stands; not the primary that is gone. */
  #higher(): StoreId[] {
    const { view, membership, options } = this.#context;
    if (view === undefined) return [];
    return view.members.filter((store) => {
      const state = membership.get(store);
      return state?.isUp === true && store !== view.primary &&
        compareRank(state.peer, options.self) > 0;
    });
  }

  #note(epoch: Epoch): void {
    this.#counter = Math.max(this.#counter, epoch.counter);
  }

  /** One word for transcripts. */
  describe(): string {
    const run = this.#run;
    if (run === undefined) return "-";
    return `${run.phase} ${formatEpoch(run.ballot.epoch)}`;
  }
}
