/** What must hold of a replicated group, whatever breaks; checked on every step. */

import {
  compareEpochs,
  type Epoch,
  EPOCH_NONE,
  formatEpoch,
  isSameEpoch,
  type StoreId,
} from "../../protocol/epoch.ts";
import type { LogEntry } from "../../protocol/replica.ts";
import type { View } from "../../protocol/view.ts";
import { checkHistory } from "../history/linearizability.ts";
import type { HistoryRecorder } from "../history/history.ts";
import type { SimulatedDisk, SimulatedLog } from "./chat_disk.ts";
import type { Applied, ChatState } from "./chat_state.ts";
import type { World } from "./world.ts";

/** What the checker sees of a node that reports something. */
export interface CheckedNode {
  readonly name: string;
  readonly disk: SimulatedDisk;
  /** The log as the process has written it, synced or not. */
  readonly log: SimulatedLog;
}

/** An entry that was committed somewhere. */
interface Committed {
  readonly entry: LogEntry;
  /** The epoch in which it was committed, by that epoch's primary. */
  readonly inEpoch: Epoch;
}

/** What the checkers of several groups have in common. */
export interface Findings {
  readonly failures: string[];
  /** By store; a store whose directory is lost stays in here. */
  readonly disks: Map<StoreId, SimulatedDisk>;
}

/** Sees every node of a group at once, as nobody in the group does. */
export class ChatChecker {
  readonly failures: string[];
  readonly disks: Map<StoreId, SimulatedDisk>;
  /** Whether there was ever anything that somebody could miss. */
  hasHeldData = false;
  /** Whether the group has ended. */
  isDissolved = false;
  /** Whether a node without which nothing can be committed has left it. */
  isGivenUp = false;
  readonly #world: World;
  readonly #views = new Map<string, View>();
  readonly #knownViews = new WeakSet<View>();
  /** At `index - 1`. */
  readonly #committed: Committed[] = [];
  /** State hash after each index, at `index - 1`. */
  readonly #hashes: number[] = [];
  #newestCommitEpoch: Epoch = EPOCH_NONE;
  #newestActive: View | undefined;
  /** Every set of voters that an active view had. */
  readonly #activeVoters = new Set<string>();
  /** Elements that took effect, with their place in their list. */
  readonly #effective = new Map<string, number>();
  /** Elements whose clients were told so. */
  readonly #acknowledged = new Map<string, number>();

  constructor(
    world: World,
    { failures, disks }: Findings = { failures: [], disks: new Map() },
  ) {
    this.#world = world;
    this.failures = failures;
    this.disks = disks;
  }

  fail(text: string): void {
    this.failures.push(text);
    this.#world.note(() => `FAILURE ${text}`);
  }

  /** All up to here is committed somewhere. */
  get commitIndex(): number {
    return this.#committed.length;
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.size;
  }

  /** The view of the highest epoch that some node knows to be active. */
  get newestActive(): View | undefined {
    return this.#newestActive;
  }

  /** Every view that was ever proposed, of this epoch or a higher one. */
  viewsFrom(epoch: Epoch): View[] {
    return [...this.#views.values()].filter((view) =>
      compareEpochs(view.epoch, epoch) >= 0
    );
  }

  /** Invariant 3: one view per epoch. */
  saw(view: View): void {
    if (this.#knownViews.has(view)) return;
    this.#knownViews.add(view);
    const key = `${view.epoch.counter} ${view.epoch.store}`;
    const known = this.#views.get(key);
    if (known === undefined) {
      this.#views.set(key, view);
      this.#checkVoters(view);
    } else if (sketch(known) !== sketch(view)) {
      this.fail(
        `two views of epoch ${key}: ${sketch(known)} and ${sketch(view)}`,
      );
    }
    if (view.voters.length === 0) this.fail(`${sketch(view)} has no voter`);
    if (!view.members.includes(view.primary)) {
      this.fail(`view ${sketch(view)} is led by no member`);
    }
  }

  sawActive(view: View): void {
    this.saw(view);
    this.#activeVoters.add(view.voters.join());
    const newest = this.#newestActive?.epoch ?? EPOCH_NONE;
    if (compareEpochs(view.epoch, newest) > 0) this.#newestActive = view;
  }

  /** Invariant 2: whoever begins to lead has all that lower epochs have committed. */
  leads(node: CheckedNode, view: View): void {
    if (view.primary !== node.disk.store) {
      this.fail(`${node.name} leads view ${sketch(view)} of another`);
    }
    for (let index = this.commitIndex; index > node.log.base.index; index--) {
      const { entry, inEpoch } = this.#committed[index - 1];
      if (compareEpochs(inEpoch, view.epoch) >= 0) continue;
      if (node.log.has(index, entry.epoch)) continue;
      return this.fail(
        `${node.name} leads epoch ${formatEpoch(view.epoch)} without entry ${
          describeEntry(entry)
        }, committed in ${formatEpoch(inEpoch)}`,
      );
    }
  }

  /** A node reports all up to `index` as committed; `from` was reported before. */
  committed(node: CheckedNode, from: number, index: number): void {
    const { name, log, disk } = node;
    if (index > disk.log.lastIndex) {
      this.fail(
        `${name} takes ${index} for committed, its disk ends at ${disk.log.lastIndex}`,
      );
    }
    const first = Math.max(from, log.base.index) + 1;
    const known = Math.min(index, this.commitIndex);
    for (let at = first; at <= known; at++) this.#compare(node, at);
    if (index > this.commitIndex) this.#advance(node, index);
  }

  /** A node drops the end of its log: never what is committed. */
  cut(node: CheckedNode, after: number): void {
    for (let index = node.log.lastIndex; index > after; index--) {
      if (this.#holds(node, index)) {
        this.fail(`${node.name} cuts ${index}, which is committed`);
      }
    }
  }

  /** A snapshot takes the place of a log: a member keeps all that is committed. */
  installs(node: CheckedNode, index: number): void {
    const { accepted, isDamaged } = node.disk.acceptor;
    const isMember = accepted?.members.includes(node.disk.store) === true;
    if (!isMember || isDamaged) return;
    for (let at = node.log.lastIndex; at > index; at--) {
      if (this.#holds(node, at)) {
        this.fail(`${node.name} drops ${at} for a snapshot of ${index}`);
      }
    }
  }

  /** Invariant 4: one state at one index. */
  applied(node: CheckedNode, state: ChatState, applied: Applied): void {
    const { index, hash } = state;
    if (index > this.commitIndex) {
      this.fail(`${node.name} applies ${index}, which nobody has committed`);
    }
    const known = this.#hashes[index - 1];
    if (known === undefined) {
      this.#hashes[index - 1] = hash;
      this.#took(applied);
      this.#checkEnd(state);
    } else if (known !== hash) {
      this.fail(`${node.name} has another state at ${index} than others`);
    }
  }

  /** A snapshot or a database is as of `state.index`. */
  restored(node: CheckedNode, state: ChatState): void {
    const { index, hash } = state;
    if (index > 0 && this.#hashes[index - 1] !== hash) {
      this.fail(`${node.name} is restored to another state at ${index}`);
    }
  }

  /** A client is told that its element has a place. */
  acknowledged(value: string, position: number): void {
    this.#acknowledged.set(value, position);
    if (this.#effective.get(value) !== position) {
      this.fail(
        `"${value}" was acknowledged at ${position}, its place is ${
          this.#effective.get(value)
        }`,
      );
    }
  }

  /** Invariant 2: nothing took effect twice. */
  checkOnce(state: ChatState): void {
    const seen = new Set<string>();
    for (const list of state.lists().values()) {
      for (const value of list) {
        if (seen.has(value)) this.fail(`"${value}" took effect twice`);
        seen.add(value);
      }
    }
  }

  /** Invariant 2: what was acknowledged is there for good. */
  checkKept(state: ChatState): void {
    const seen = new Set([...state.lists().values()].flat());
    for (const value of this.#acknowledged.keys()) {
      if (!seen.has(value)) {
        this.fail(`"${value}" was acknowledged and is not there`);
      }
    }
  }

  /** Invariant 5, over what all clients saw. */
  checkHistory(history: HistoryRecorder): void {
    const verdict = checkHistory(history.events);
    if (verdict.kind === "broken") {
      this.fail(`not linearizable, list ${verdict.key}: ${verdict.reason}`);
    } else if (verdict.kind === "undecided") {
      this.fail(`nobody knows whether list ${verdict.key} is linearizable`);
    }
  }

  /** Only what holds nothing ends, and then nothing takes effect any more. */
  #checkEnd(state: ChatState): void {
    this.hasHeldData ||= !state.isVoid;
    this.isDissolved ||= state.isDissolved;
    if (!this.hasHeldData || !this.isDissolved && !this.isGivenUp) return;
    this.fail(`a group that held data has ended at ${state.index}`);
  }

  /** New voters count alone only when they and those before have agreed on a view. */
  #checkVoters(view: View): void {
    if (this.#newestActive === undefined) return;
    if (view.previousVoters !== undefined) return this.#checkChange(view);
    if (this.#activeVoters.has(view.voters.join())) return;
    this.fail(`${sketch(view)} forgets the voters before`);
  }

  /** One voter more or fewer at a time: half of a group may hold a ballot meanwhile. */
  #checkChange(view: View): void {
    const { voters, previousVoters = [] } = view;
    const changed = [
      ...voters.filter((store) => !previousVoters.includes(store)),
      ...previousVoters.filter((store) => !voters.includes(store)),
    ];
    if (changed.length === 1) return;
    this.fail(`${sketch(view)} changes ${changed.length} voters at once`);
  }

  /** Whether a log has the entry that is committed there. */
  #holds({ log }: CheckedNode, index: number): boolean {
    if (index > this.commitIndex || index <= log.base.index) return false;
    return log.has(index, this.#committed[index - 1].entry.epoch);
  }

  /** What is in the log must be what is committed there. */
  #compare({ name, log }: CheckedNode, index: number): void {
    const entry = log.at(index);
    const { entry: committed } = this.#committed[index - 1];
    if (entry === committed) return;
    if (
      entry === undefined || !isSameEpoch(entry.epoch, committed.epoch) ||
      !isSameBytes(entry.command, committed.command)
    ) {
      this.fail(
        `${name} commits ${describeEntry(entry)}, others committed ${
          describeEntry(committed)
        }`,
      );
    }
  }

  /** Nobody has committed as much before: only the primary may, and only with all members. */
  #advance(node: CheckedNode, index: number): void {
    const { name, log, disk } = node;
    const last = log.at(index);
    if (last === undefined) {
      return this.fail(`${name} commits ${index}, which is not in its log`);
    }
    const { epoch } = last;
    const view = this.#views.get(`${epoch.counter} ${epoch.store}`);
    if (view?.primary !== disk.store) {
      return this.fail(
        `${name} commits ${describeEntry(last)} first, its primary is ${
          view === undefined ? "nobody" : view.nodes[view.primary]?.id
        }`,
      );
    }
    if (compareEpochs(epoch, this.#newestCommitEpoch) < 0) {
      this.fail(
        `${name} commits in ${formatEpoch(epoch)} after others did in ${
          formatEpoch(this.#newestCommitEpoch)
        }`,
      );
    }
    this.#newestCommitEpoch = epoch;
    for (const store of view.members) this.#checkCopy({ view, store, last });
    for (let at = this.commitIndex + 1; at <= index; at++) {
      const entry = log.at(at);
      if (entry === undefined) {
        return this.fail(`${name} commits ${at}, which is not in its log`);
      }
      this.#committed.push({ entry, inEpoch: epoch });
    }
  }

  /** A member's disk has what is committed, unless the disk itself is gone. */
  #checkCopy(
    { view, store, last }: { view: View; store: StoreId; last: LogEntry },
  ): void {
    const disk = this.disks.get(store);
    if (disk === undefined || !disk.isSound) return;
    if (disk.log.has(last.index, last.epoch)) return;
    this.fail(
      `${describeEntry(last)} is committed in ${
        formatEpoch(view.epoch)
      } and not on the disk of its member ${view.nodes[store]?.id}`,
    );
  }

  #took({ command, result, isFirst }: Applied): void {
    if (command?.kind !== "append" || !isFirst) return;
    const { value } = command;
    if (this.#effective.has(value)) this.fail(`"${value}" took effect twice`);
    this.#effective.set(value, result.value);
  }
}

/** What makes a view: for comparisons and for people. */
export function sketch(view: View): string {
  const { epoch, voters, previousVoters, members, primary, nodes } = view;
  const names = (stores: readonly StoreId[]) =>
    stores.map((store) => `${nodes[store]?.id}/${store.slice(0, 4)}`).join(",");
  const previous = previousVoters === undefined
    ? ""
    : ` before ${names(previousVoters)}`;
  return `${formatEpoch(epoch)} members ${names(members)} led by ${
    names([primary])
  } voters ${names(voters)}${previous}`;
}

/** Index, epoch and words of an entry. */
export function describeEntry(entry: LogEntry | undefined): string {
  if (entry === undefined) return "nothing";
  const words = new TextDecoder().decode(entry.command);
  return `${entry.index}@${formatEpoch(entry.epoch)}${
    words === "" ? "" : ` "${words}"`
  }`;
}

function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
