/** How a node leaves its group: for a while, or for good. */

import type { StoreId } from "../../../protocol/epoch.ts";
import type { View } from "../../../protocol/view.ts";
import type { ReplicaContext } from "./context.ts";

/** Lives as long as the core; does nothing until {@linkcode begin}. */
export class Departure {
  readonly #context: ReplicaContext;
  #hasLeft = false;
  /** The view whose primary was told. */
  #told: View | undefined;
  #toldMs = 0;

  constructor(context: ReplicaContext) {
    this.#context = context;
  }

  /**
   * Leads no more and leaves the view; for good, gives the vote back too. It
   * ends with the effect `left`.
   */
  begin(isForGood: boolean): void {
    this.#context.isDraining = true;
    this.#context.isLeavingForGood ||= isForGood;
    // Whoever asks again wants to hear it again.
    this.#hasLeft = false;
    this.#told = undefined;
  }

  /** A new link to the primary: it may have heard nothing. */
  linkUp(): void {
    this.#told = undefined;
  }

  tick(now: { isPrimary: boolean; isBallotOut: boolean }): void {
    if (!this.#context.isDraining || this.#hasLeft) return;
    if (this.#context.isLeavingForGood) this.#leaveForGood(now.isPrimary);
    else this.#leaveView(now);
  }

  /** Until it neither is in sync nor votes, nor may be asked for the old voters. */
  #leaveForGood(isPrimary: boolean): void {
    const { view, isActive, self } = this.#context;
    if (view === undefined || isActive && !isNamed(view, self)) this.#left();
    else if (!isPrimary) this.#tell("leaving for good");
  }

  /** Until it is in no view, or nobody is left who could go on without it. */
  #leaveView(now: { isPrimary: boolean; isBallotOut: boolean }): void {
    const { view, isActive, self, membership } = this.#context;
    const isMember = view !== undefined && view.members.includes(self);
    const others =
      view?.members.filter((store) =>
        store !== self && membership.isUp(store)
      ) ?? [];
    if (isMember && others.length > 0) {
      if (!now.isPrimary) this.#tell("stopping");
    } else if (!now.isBallotOut && !(isMember && !isActive)) this.#left();
  }

  /** At once, and now and then: the primary may not have led yet when it came. */
  #tell(reason: string): void {
    const { view, isActive, isLeavingForGood, nowMs } = this.#context;
    const { electionMs } = this.#context.options.timing;
    if (view === undefined || !isActive) return;
    if (this.#told === view && nowMs - this.#toldMs < electionMs) return;
    this.#told = view;
    this.#toldMs = nowMs;
    this.#context.send(view.primary, {
      kind: "leaving",
      reason,
      isForGood: isLeavingForGood,
    });
  }

  #left(): void {
    this.#hasLeft = true;
    this.#context.emit({ kind: "left" });
  }
}

/** Whether a store is in sync, votes, or is among the voters before. */
function isNamed(view: View, store: StoreId): boolean {
  const { members, voters, previousVoters = [] } = view;
  return [members, voters, previousVoters].some((set) => set.includes(store));
}
