/** The view of a group that an operator recovers by force: one server, and nobody else. */

import type { Epoch, StoreId } from "../../../protocol/epoch.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import type { AcceptorState } from "../../../protocol/view.ts";

/**
 * How far a recovered group's epoch is above all that is known: further than any
 * view that the survivor missed, at one view a second for eleven days.
 */
export const RECOVERED_EPOCH_STEP = 1_000_000;

/** Why such a view was made, for people. */
export const RECOVERED_REASON = "recovered by force";

/** Who is to survive. */
export interface Survivor {
  readonly store: StoreId;
  readonly id: NodeId;
  readonly votes: AcceptorState;
  /** Epochs that are in its log, or that its state was made under. */
  readonly epochs: readonly Epoch[];
}

/**
 * What the survivor's votes are to be. Its next process finds itself the only
 * voter and member of the newest view, and makes the next one by itself. Others
 * follow it, since its epoch is the higher one: whatever they have that it has
 * not is lost.
 *
 * @throws {RangeError} No epoch is left above those known.
 */
export function recoveredVotes(survivor: Survivor): AcceptorState {
  const { store, id, votes, epochs } = survivor;
  const { promised, accepted } = votes;
  const counters = [promised, ...epochs].map(({ counter }) => counter);
  const known = Math.max(accepted?.epoch.counter ?? 0, ...counters);
  const counter = known + RECOVERED_EPOCH_STEP;
  if (!Number.isSafeInteger(counter)) {
    throw new RangeError(
      `The highest epoch known is ${known}, wanted at most ${
        Number.MAX_SAFE_INTEGER - RECOVERED_EPOCH_STEP
      }`,
    );
  }
  const epoch: Epoch = { counter, store };
  const priority = accepted?.nodes[store]?.priority ?? 0;
  return {
    promised: epoch,
    accepted: {
      epoch,
      // It goes on: whoever comes back joins it again.
      group: accepted?.group ?? store,
      voters: [store],
      members: [store],
      primary: store,
      nodes: { [store]: { id, kind: "server", priority } },
      reason: RECOVERED_REASON,
    },
    isDamaged: false,
  };
}
