/** A server that receives the log of another: a member, or a learner. */

import {
  compareEpochs,
  isSameEpoch,
  type StoreId,
} from "../../../protocol/epoch.ts";
import type {
  LogEntry,
  LogPosition,
  ReplicaMessage,
} from "../../../protocol/replica.ts";
import type { View } from "../../../protocol/view.ts";
import type { ReplicaContext } from "./context.ts";
import { divergedReason } from "./divergence.ts";

type Append = Extract<ReplicaMessage, { kind: "append" }>;

/** Lives as long as one view is the newest accepted here, and another leads it. */
export class Follower {
  readonly view: View;
  readonly #context: ReplicaContext;
  /** The save that makes the acceptance of this view durable. */
  readonly #save: number;
  /** All up to here is as the primary of this view has it. */
  #verified = 0;
  /** The primary's commit index, as last heard. */
  #commit = 0;
  #acknowledged = 0;
  /** Entries came while a snapshot was on its way. */
  #hasMissed = false;
  /** What came before the acceptance was durable; at most the primary's window. */
  #early: Append[] = [];
  #heardMs: number;

  constructor(context: ReplicaContext, view: View) {
    this.#context = context;
    this.view = view;
    this.#save = context.acceptor.lastSave;
    this.#heardMs = context.nowMs;
  }

  /** When the primary was last heard of. */
  get heardMs(): number {
    return this.#heardMs;
  }

  /** The primary has said something in this view's epoch. */
  heard(): void {
    this.#heardMs = this.#context.nowMs;
  }

  /** Takes entries; the answer follows when they are on disk. */
  append(message: Append): void {
    if (!this.#context.acceptor.isSaved(this.#save)) {
      this.#early.push(message);
      return;
    }
    if (this.#context.isFetching) {
      this.#hasMissed = true; // Afterwards the primary is told.
      return;
    }
    const { log } = this.#context;
    const { previous, entries } = message;
    const end = previous.index + entries.length;
    const { base } = log;
    // From a primary that was replaced before the base was committed.
    if (compareEpochs(message.epoch, base.epoch) < 0) return;
    if (contradicts(message, base)) {
      const reason = divergedReason(base.index);
      return this.#context.emit({ kind: "fatal", reason });
    }
    // What the base stands for is committed, and so is in every primary's log.
    if (previous.index > log.base.index && !log.has(previous)) {
      return this.#mismatch(previous);
    }
    this.#write(entries);
    this.#verified = Math.max(this.#verified, end, log.base.index);
    this.#hearCommit(message.commit);
    this.acknowledge({ always: entries.length === 0 });
  }

  /** The primary lives, and has committed up to `commit`. */
  heartbeat(commit: number): void {
    this.#hearCommit(commit);
  }

  /** Says how much is on disk and verified, if that is news. */
  acknowledge(options: { always: boolean }): void {
    const { log, acceptor } = this.#context;
    if (!acceptor.isSaved(this.#save) || this.#verified === 0) {
      // At index 0 there is something to say only to a question.
      if (!options.always || !acceptor.isSaved(this.#save)) return;
    }
    if (this.#mustKeepQuiet) return;
    const index = Math.min(this.#verified, log.durableIndex);
    this.#applyCommitted();
    if (index <= this.#acknowledged && !options.always) return;
    this.#acknowledged = index;
    this.#context.send(this.view.primary, {
      kind: "appended",
      epoch: this.view.epoch,
      index,
    });
  }

  /** The acceptance of this view is on disk: handles what came before. */
  saved(): void {
    if (!this.#context.acceptor.isSaved(this.#save)) return;
    const early = this.#early;
    this.#early = [];
    for (const message of early) this.append(message);
  }

  /** What is needed is compacted at the primary. */
  snapshotNeeded(from: StoreId): void {
    const { acceptor, isFetching } = this.#context;
    if (isFetching || !acceptor.isSaved(this.#save)) return;
    this.#context.isFetching = true;
    this.#context.emit({ kind: "fetch-snapshot", from });
  }

  /** The log begins after `base` now, which is committed. */
  snapshotInstalled(base: LogPosition): void {
    this.#verified = Math.max(this.#verified, base.index);
    this.acknowledge({ always: true });
    if (this.#hasMissed) this.#beginAnew();
  }

  snapshotFailed(): void {
    this.#beginAnew();
  }

  /** What the primary sent meanwhile was not taken, and nothing may come after it. */
  #beginAnew(): void {
    this.#hasMissed = false;
    const { epoch, primary } = this.view;
    this.#context.send(primary, { kind: "unaware", epoch });
  }

  /** The link to the primary is new: what was under way is lost. */
  linkUp(): void {
    this.#acknowledged = 0;
    this.#early = [];
  }

  /** One word for transcripts. */
  describe(): string {
    return `verified ${this.#verified}${
      this.#early.length > 0 ? ` early ${this.#early.length}` : ""
    }${this.#context.isFetching ? " fetching" : ""}`;
  }

  /** Damaged data do not count as a member's until a view says otherwise. */
  get #mustKeepQuiet(): boolean {
    const { acceptor, self } = this.#context;
    return acceptor.isDamaged && this.view.members.includes(self);
  }

  #hearCommit(commit: number): void {
    this.#commit = Math.max(this.#commit, commit);
    this.#applyCommitted();
  }

  /** Only what is verified in this epoch, and only what is on disk here. */
  #applyCommitted(): void {
    const { log } = this.#context;
    this.#context.commitTo(
      Math.min(this.#commit, this.#verified, log.durableIndex),
    );
  }

  #mismatch(previous: LogPosition): void {
    const { log } = this.#context;
    this.#context.send(this.view.primary, {
      kind: "mismatch",
      epoch: this.view.epoch,
      previous,
      hint: log.lastUpTo(previous.index, previous.epoch),
    });
  }

  /** Keeps what is there already; cuts off what conflicts. */
  #write(entries: readonly LogEntry[]): void {
    const { log } = this.#context;
    let first = 0;
    while (
      first < entries.length &&
      (entries[first].index <= log.base.index || log.has(entries[first]))
    ) first += 1;
    if (first === entries.length) return;
    const fresh = first === 0 ? entries : entries.slice(first);
    if (fresh[0].index <= log.lastIndex) this.#context.cut(fresh[0].index - 1);
    this.#context.append(fresh);
  }
}

/** Whether no log that has these entries can have `base`: epochs never go down in a log. */
function contradicts(message: Append, base: LogPosition): boolean {
  const { previous, entries } = message;
  if (previous.index > base.index) return false;
  const last = entries.findLast(({ index }) => index <= base.index) ?? previous;
  return last.index === base.index
    ? !isSameEpoch(last.epoch, base.epoch)
    : compareEpochs(last.epoch, base.epoch) > 0;
}
