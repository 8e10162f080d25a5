/** One attempt to make a new view: who may, who promises, what is chosen. */

import {
  compareEpochs,
  type Epoch,
  EPOCH_NONE,
  isSameEpoch,
  type StoreId,
} from "../protocol/epoch.ts";
import type { LogPosition } from "../protocol/replica.ts";
import {
  compareRank,
  isMajority,
  type NodeInfo,
  REASON_CHARACTERS_MAX,
  type View,
} from "../protocol/view.ts";

/** What a ballot is to change, if it finds the view that its proposer leads. */
export type BallotPurpose =
  /** Go on with those members that answer. */
  | { readonly kind: "members" }
  /** Add learners that have all that the frozen primary has: its log ends at `end`. */
  | {
    readonly kind: "join";
    readonly joiners: readonly StoreId[];
    readonly end: LogPosition;
  }
  /** Replace the voters, by one more or one fewer. */
  | { readonly kind: "voters"; readonly voters: readonly StoreId[] }
  /** Forget the voters before the last change. */
  | { readonly kind: "settle" }
  /** Begin: all of these, and none has a view. */
  | { readonly kind: "birth"; readonly founders: readonly StoreId[] };

/** What a node says when it promises. */
export interface Promised {
  readonly accepted: View | undefined;
  /** Undefined if it keeps no log. */
  readonly last: LogPosition | undefined;
  readonly isDraining: boolean;
  /** Its log has had a hole: it counts as a member that did not answer. */
  readonly isDamaged: boolean;
}

/** What a ballot is made with. */
export interface BallotOptions {
  readonly purpose: BallotPurpose;
  readonly reason: string;
  readonly self: StoreId;
  /** The view that the proposer leads; only then a purpose other than `members` counts. */
  readonly leads: View | undefined;
  /** Whether a working primary of lower rank stays. */
  readonly sticky: boolean;
  /** Rank and name of a store that has a link, for the view's own list. */
  readonly nodeOf: (store: StoreId) => NodeInfo | undefined;
}

/**
 * Collects answers in three rounds: pre-vote, prepare, accept. It knows no
 * links and sends nothing; its owner asks it what the answers amount to. An
 * epoch proposes at most one view, since {@linkcode choose} is called once.
 *
 * @see Lin et al., "PacificA" (2008); Liskov and Cowling, "Viewstamped Replication Revisited" (2012)
 */
export class Ballot {
  readonly options: BallotOptions;
  #epoch: Epoch = EPOCH_NONE;
  readonly #granted = new Map<StoreId, View | undefined>();
  readonly #promised = new Map<StoreId, Promised>();
  readonly #accepted = new Set<StoreId>();
  #view: View | undefined;
  /** The view on which the chosen one was built: its voters must agree as well. */
  #base: View | undefined;

  constructor(options: BallotOptions) {
    this.options = options;
  }

  /** The epoch prepared; the lowest of all before {@linkcode prepare}. */
  get epoch(): Epoch {
    return this.#epoch;
  }

  /** The view proposed, once there is one. */
  get view(): View | undefined {
    return this.#view;
  }

  /** `store` would promise; `accepted` is its newest view. */
  grant(store: StoreId, accepted: View | undefined): void {
    this.#granted.set(store, accepted);
  }

  /** Whether to raise the epoch: a majority would, and some member is among it. */
  get mayPrepare(): boolean {
    const { purpose } = this.options;
    const highest = newestOf(this.#granted.values());
    if (highest === undefined) {
      return purpose.kind === "birth" &&
        purpose.founders.every((store) => this.#granted.has(store));
    }
    return isMajority(highest, (store) => this.#granted.has(store)) &&
      highest.members.some((store) => this.#granted.has(store));
  }

  /** Ends the pre-vote: promises are for `epoch` from now on. */
  prepare(epoch: Epoch): void {
    this.#epoch = epoch;
  }

  /** `store` has promised this epoch, durably. */
  promise(store: StoreId, answer: Promised): void {
    if (this.#view === undefined) this.#promised.set(store, answer);
  }

  /** Whether `store` has promised. */
  hasPromised(store: StoreId): boolean {
    return this.#promised.has(store);
  }

  /** Whether a view may be chosen now. */
  get mayChoose(): boolean {
    return this.#view === undefined && this.#successor() !== undefined;
  }

  /** Those whose answer could still make the next view a better one. */
  get expected(): readonly StoreId[] {
    const { purpose } = this.options;
    const wanted = purpose.kind === "join"
      ? purpose.joiners
      : purpose.kind === "voters"
      ? purpose.voters
      : [];
    return [...(this.#newest()?.members ?? []), ...wanted];
  }

  /** Fixes the view of this epoch; call it once, after {@linkcode mayChoose}. */
  choose(): View {
    const view = this.#successor();
    if (view === undefined || this.#view !== undefined) {
      throw new Error("No view can be chosen");
    }
    this.#base = this.#newest();
    this.#view = view;
    return view;
  }

  /** `store` has accepted the chosen view, durably. */
  accept(store: StoreId): void {
    this.#accepted.add(store);
  }

  /** Whether the chosen view is active. */
  get isActive(): boolean {
    const view = this.#view;
    if (view === undefined) return false;
    const has = (store: StoreId) => this.#accepted.has(store);
    return isMajority(view, has) &&
      (this.#base === undefined || isMajority(this.#base, has));
  }

  #newest(): View | undefined {
    return newestOf(
      [...this.#promised.values()].map(({ accepted }) => accepted),
    );
  }

  /** What the answers so far allow; undefined if not enough. */
  #successor(): View | undefined {
    const { purpose, leads } = this.options;
    const newest = this.#newest();
    if (newest === undefined) {
      return purpose.kind === "birth"
        ? this.#birth(purpose.founders)
        : undefined;
    }
    if (!isMajority(newest, (store) => this.#promised.has(store))) {
      return undefined;
    }
    const isOwn = leads !== undefined &&
      compareEpochs(leads.epoch, newest.epoch) === 0;
    const isWhole = newest.members.every((store) => this.#holdsData(store));
    if (isOwn && isWhole) {
      const changed = this.#changed(newest);
      if (changed !== undefined) return this.#complete(changed);
    }
    // Whoever leaves stays a member only if nobody else is left.
    const holders = newest.members.filter((store) => this.#holdsData(store));
    const staying = holders.filter((store) =>
      this.#promised.get(store)?.isDraining !== true
    );
    const members = staying.length > 0 ? staying : holders;
    if (members.length === 0) return undefined;
    return this.#complete({ ...newest, members });
  }

  /** The view that leads to the purpose, all members having answered. */
  #changed(view: View): View | undefined {
    const { purpose } = this.options;
    switch (purpose.kind) {
      case "members":
      case "birth":
        return undefined;
      case "join": {
        // What one acknowledged before it promised may have rotted since.
        const joiners = purpose.joiners.filter((store) => {
          const last = this.#promised.get(store)?.last;
          return last !== undefined && last.index === purpose.end.index &&
            isSameEpoch(last.epoch, purpose.end.epoch);
        });
        if (joiners.length === 0) return undefined;
        const members = new Set([...view.members, ...joiners]);
        return { ...view, members: [...members] };
      }
      case "voters":
        if (view.previousVoters !== undefined) return undefined;
        if (!this.#canVote(purpose, view)) return undefined;
        return {
          ...view,
          voters: purpose.voters,
          previousVoters: view.voters,
        };
      case "settle": {
        const { previousVoters: _, ...rest } = view;
        return rest;
      }
    }
  }

  /**
   * Whether the new voters are there: whoever gets a vote may be about to leave
   * for good, and those who stay may be too few to accept a view.
   */
  #canVote({ voters }: Pick<View, "voters">, view: View): boolean {
    const has = (store: StoreId) => this.#promised.has(store);
    return isMajority({ voters }, has) &&
      voters.every((store) => view.voters.includes(store) || has(store));
  }

  #birth(founders: readonly StoreId[]): View | undefined {
    if (!founders.every((store) => this.#promised.has(store))) return undefined;
    const members = founders.filter((store) => this.#holdsData(store));
    if (members.length === 0) return undefined;
    return this.#complete({
      epoch: this.#epoch,
      group: this.options.self,
      voters: founders,
      members,
      primary: members[0],
      nodes: {},
      reason: "",
    });
  }

  /** Gives a view its epoch, its primary and its list of nodes. */
  #complete(view: View): View {
    const stores = new Set([
      ...view.voters,
      ...(view.previousVoters ?? []),
      ...view.members,
    ]);
    const nodes: Record<StoreId, NodeInfo> = {};
    for (const store of [...stores].sort()) {
      const node = this.options.nodeOf(store) ?? view.nodes[store];
      if (node === undefined) throw new Error(`Store ${store} has no name`);
      nodes[store] = { id: node.id, kind: node.kind, priority: node.priority };
    }
    return {
      epoch: this.#epoch,
      group: view.group,
      voters: [...view.voters].sort(),
      ...(view.previousVoters === undefined
        ? {}
        : { previousVoters: [...view.previousVoters].sort() }),
      members: [...view.members].sort(),
      primary: this.#leader(view, nodes),
      nodes,
      reason: this.options.reason.slice(0, REASON_CHARACTERS_MAX),
    };
  }

  /** The highest of the members that answered and stay; the old one if it may stay. */
  #leader(view: View, nodes: Readonly<Record<StoreId, NodeInfo>>): StoreId {
    const answered = view.members.filter((store) => this.#promised.has(store));
    const staying = answered.filter((store) =>
      this.#promised.get(store)?.isDraining !== true
    );
    const eligible = staying.length > 0 ? staying : answered;
    if (this.options.sticky && eligible.includes(view.primary)) {
      return view.primary;
    }
    return eligible.reduce((best, store) =>
      compareRank(nodes[store], nodes[best]) > 0 ? store : best
    );
  }

  #holdsData(store: StoreId): boolean {
    const answer = this.#promised.get(store);
    return answer?.last !== undefined && !answer.isDamaged;
  }
}

function newestOf(views: Iterable<View | undefined>): View | undefined {
  let newest: View | undefined;
  for (const view of views) {
    if (
      view !== undefined &&
      (newest === undefined || compareEpochs(view.epoch, newest.epoch) > 0)
    ) newest = view;
  }
  return newest;
}
