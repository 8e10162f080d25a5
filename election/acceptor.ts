/** A voter's durable word: what it has promised and accepted. */

import {
  compareEpochs,
  type Epoch,
  EPOCH_NONE,
  isSameEpoch,
} from "../protocol/epoch.ts";
import type { AcceptorState, View } from "../protocol/view.ts";

/** A state to be made durable; saves complete in the order of their number. */
export interface Save {
  readonly number: number;
  readonly state: AcceptorState;
}

/**
 * The acceptor of Paxos, with a view as its value. What changes here counts at
 * once for what this node will refuse, and only when it is saved for what it
 * has said: an answer that rests on it waits for {@linkcode isSaved}.
 *
 * @see Lamport, "Paxos Made Simple" (2001), section 2.2
 */
export class Acceptor {
  #state: AcceptorState = {
    promised: EPOCH_NONE,
    accepted: undefined,
    isDamaged: false,
  };
  #startedAt: Epoch = EPOCH_NONE;
  #lastSave = 0;
  #lastSaved = 0;

  /** Takes what a restart found. */
  load(state: AcceptorState): void {
    this.#state = state;
    this.#startedAt = maxEpoch(state.promised, state.accepted?.epoch);
  }

  get promised(): Epoch {
    return this.#state.promised;
  }

  get accepted(): View | undefined {
    return this.#state.accepted;
  }

  /** The log here has a hole: it does not count as a member's. */
  get isDamaged(): boolean {
    return this.#state.isDamaged;
  }

  /** The number of the last save asked for. */
  get lastSave(): number {
    return this.#lastSave;
  }

  /** Whether save `number` and all before it are on disk. */
  isSaved(number: number): boolean {
    return number <= this.#lastSaved;
  }

  /** Saves up to `number` are on disk. */
  saved(number: number): void {
    this.#lastSaved = Math.max(this.#lastSaved, number);
  }

  /**
   * Whether this process may lead in `epoch`: only above all that it knew when
   * it started. A restarted primary would else write two entries under one
   * epoch and index.
   */
  mayLead(epoch: Epoch): boolean {
    return compareEpochs(epoch, this.#startedAt) > 0;
  }

  /** Whether something higher than `epoch` was promised. */
  isAbove(epoch: Epoch): boolean {
    return compareEpochs(this.#state.promised, epoch) > 0;
  }

  /** Takes part in nothing below `epoch` from now on; undefined if it cannot. */
  promise(epoch: Epoch): Save | undefined {
    if (this.isAbove(epoch)) return undefined;
    return this.#save({ ...this.#state, promised: epoch });
  }

  /** Takes `view` for the newest; undefined if something higher was promised. */
  accept(view: View, options: { isRepaired: boolean }): Save | undefined {
    if (this.isAbove(view.epoch)) return undefined;
    return this.#save({
      promised: view.epoch,
      accepted: view,
      isDamaged: this.#state.isDamaged && !options.isRepaired,
    });
  }

  /** Whether the newest view accepted is that of `epoch`. */
  hasAccepted(epoch: Epoch): boolean {
    const { accepted } = this.#state;
    return accepted !== undefined && isSameEpoch(accepted.epoch, epoch);
  }

  #save(state: AcceptorState): Save {
    this.#state = state;
    return { number: ++this.#lastSave, state };
  }
}

function maxEpoch(a: Epoch, b: Epoch | undefined): Epoch {
  return b !== undefined && compareEpochs(b, a) > 0 ? b : a;
}
