/** Store ids and epochs: what orders the views of a replicated group. */

/**
 * A data directory's own number, drawn at random when it is made: 16
 * hexadecimal digits. A node that lost its disk is a new store.
 */
export type StoreId = string;

/** Number of a view and of the ballot that made it; compared in this order. */
export interface Epoch {
  /** 0 to 2^53 - 1. */
  readonly counter: number;
  /** The store that made the ballot. */
  readonly store: StoreId;
}

/** Below every epoch that a ballot has. */
export const EPOCH_NONE: Epoch = { counter: 0, store: "0000000000000000" };

const STORE_ID = /^[0-9a-f]{16}$/;

/** Whether `text` may be a store's id. */
export function isStoreId(text: string): boolean {
  return STORE_ID.test(text);
}

/** Below 0 if `a` is the lower epoch, 0 if they are one, above 0 otherwise. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  if (a.counter !== b.counter) return a.counter - b.counter;
  return a.store < b.store ? -1 : a.store > b.store ? 1 : 0;
}

/** Whether both are the same epoch. */
export function isSameEpoch(a: Epoch, b: Epoch): boolean {
  return a.counter === b.counter && a.store === b.store;
}

/** For people: the counter, and the first digits of the store. */
export function formatEpoch(epoch: Epoch): string {
  return `${epoch.counter}.${epoch.store.slice(0, 4)}`;
}
