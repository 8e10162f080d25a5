/** What must hold of several groups in one world, whatever breaks; checked on every step. */

import type { StoreId } from "../../protocol/epoch.ts";
import type { View } from "../../protocol/view.ts";
import { HistoryRecorder } from "../history/history.ts";
import { ownGroup } from "../../nodes/chat/group/own_advert.ts";
import { ChatChecker, sketch } from "./chat_checker.ts";
import type { SimulatedClient } from "./chat_client.ts";
import type { SimulatedDisk } from "./chat_disk.ts";
import { canGoOn, newestAccepted } from "./chat_faults.ts";
import type { SimulatedReplica } from "./chat_node.ts";
import { decodeCommand } from "./chat_state.ts";
import { missingOf } from "./chat_whole.ts";
import type { SimulatedDiscovery } from "./discovery_node.ts";
import type { World } from "./world.ts";

/** What is looked at in the end. */
export interface Fleet {
  readonly replicas: readonly SimulatedReplica[];
  /** Without those that are gone for good. */
  readonly living: readonly SimulatedReplica[];
  readonly clients: readonly SimulatedClient[];
  readonly history: HistoryRecorder;
  readonly options: { readonly sticky: boolean };
  discoveryOf(node: SimulatedReplica): SimulatedDiscovery | undefined;
}

/** A checker for each group, and what holds between them. */
export class DiscoveryChecker {
  readonly failures: string[] = [];
  readonly disks = new Map<StoreId, SimulatedDisk>();
  /** Stores that have left for good, and were let go. */
  readonly left = new Set<StoreId>();
  readonly #world: World;
  readonly #groups = new Map<StoreId | undefined, ChatChecker>();
  /** The group in whose active views each store has stood. */
  readonly #homes = new Map<StoreId, StoreId>();
  readonly #active = new WeakSet<View>();

  constructor(world: World) {
    this.#world = world;
  }

  fail(text: string): void {
    this.of(undefined).fail(text);
  }

  /** Whoever checks that group; those that are in none are checked as well. */
  of(group: StoreId | undefined): ChatChecker {
    let checker = this.#groups.get(group);
    if (checker === undefined) {
      checker = new ChatChecker(this.#world, this);
      this.#groups.set(group, checker);
    }
    return checker;
  }

  /** Whoever checks one of the groups, at random. */
  any(): ChatChecker {
    const checkers = [...this.#groups.values()];
    return checkers.length === 0
      ? this.of(undefined)
      : this.#world.random.pick(checkers);
  }

  get foundedCount(): number {
    return [...this.#groups.keys()].filter((group) => group !== undefined)
      .length;
  }

  get dissolvedCount(): number {
    return [...this.#groups.values()].filter(({ isDissolved }) => isDissolved)
      .length;
  }

  get acknowledgedCount(): number {
    let count = 0;
    for (const group of this.#groups.values()) count += group.acknowledgedCount;
    return count;
  }

  saw(view: View): void {
    this.of(view.group).saw(view);
  }

  /** No store stands in the active views of two groups. */
  sawActive(view: View): void {
    this.of(view.group).sawActive(view);
    if (this.#active.has(view)) return;
    this.#active.add(view);
    for (const store of [...view.voters, ...view.members]) {
      const home = this.#homes.get(store) ?? view.group;
      this.#homes.set(store, home);
      if (home === view.group) continue;
      this.fail(`${sketch(view)} names a store of group ${home}`);
    }
  }

  /** The groups that some of these belong to, durably, with those that do. */
  groupsOf(
    nodes: readonly SimulatedReplica[],
  ): Map<StoreId, SimulatedReplica[]> {
    const groups = new Map<StoreId, SimulatedReplica[]>();
    for (const node of nodes) {
      const group = node.disk.acceptor.accepted?.group;
      if (group === undefined) continue;
      const known = groups.get(group);
      if (known === undefined) groups.set(group, [node]);
      else known.push(node);
    }
    return groups;
  }

  /**
   * Whether those that live must become whole: each group goes on, or has ended
   * and somebody lives who says so, or is empty and is given up for another.
   */
  mustLive({ living }: Pick<Fleet, "living">): boolean {
    const stuck: SimulatedReplica[] = [];
    for (const [group, nodes] of this.groupsOf(living)) {
      const isTold = living.some(({ disk }) => disk.dissolved.includes(group));
      const { isDissolved, isGivenUp, hasHeldData } = this.of(group);
      if ((isDissolved || isGivenUp) && isTold) continue;
      const newest = newestAccepted(nodes);
      // The founder may have forgotten the view that others have.
      if (newest !== undefined && canGoOn(newest, living)) continue;
      if (hasHeldData || !nodes.some(mayGiveUp)) return false;
      stuck.push(...nodes);
    }
    return living.some((node) =>
      node.kind === "server" && !stuck.includes(node)
    );
  }

  /** Whether its group goes on without it and its vote. */
  canSpare(
    node: SimulatedReplica,
    living: readonly SimulatedReplica[],
  ): boolean {
    const others = living.filter((other) => other !== node);
    const view = this.of(node.groupId).newestActive;
    if (view === undefined) return false;
    const isOther = (store: StoreId) => store !== node.disk.store;
    const voters = view.voters.filter(isOther);
    const members = view.members.filter(isOther);
    return canGoOn({ ...view, voters, members }, others);
  }

  /** No group counts on who was let go. */
  checkLeft({ living }: Pick<Fleet, "living">): void {
    for (const [group, nodes] of this.groupsOf(living)) {
      const newest = newestAccepted(nodes);
      if (newest === undefined || canGoOn(newest, living)) continue;
      const { voters, previousVoters = [], members } = newest;
      const missed = [...voters, ...previousVoters, ...members]
        .find((store) => this.left.has(store));
      if (missed === undefined || this.of(group).isDissolved) continue;
      const name = newest.nodes[missed].id;
      this.fail(`${sketch(newest)} counts on ${name}, who has left for good`);
    }
  }

  /** What is still missing; undefined if all that live are as they should be. */
  missing(fleet: Fleet): string | undefined {
    const { living, clients, options: { sticky } } = fleet;
    const groups = this.groupsOf(living);
    const lost = living.find(({ disk }) =>
      disk.acceptor.accepted === undefined
    );
    if (lost !== undefined) return `a group of ${lost.name}`;
    const meant = [...groups].filter(([group, nodes]) =>
      this.of(group).hasHeldData || nodes.some(isWitnessed)
    );
    if (groups.size > Math.max(1, meant.length)) {
      return `one group, but ${[...groups.keys()]}`;
    }
    for (const [group, nodes] of groups) {
      const checker = this.of(group);
      const missing = missingOf({ checker, living: nodes, sticky }) ??
        this.#missingDeparture(checker.newestActive);
      if (missing !== undefined) return `${missing}, in ${group}`;
    }
    return missingRivals(fleet, groups) ??
      missingAnswers(clients, new Set(groups.keys()));
  }

  #missingDeparture(view: View | undefined): string | undefined {
    const store = view?.voters.find((store) => this.left.has(store));
    return store && `an end of the vote of ${view?.nodes[store].id}`;
  }

  /** Whatever was acknowledged in a group is there for good. */
  checkEnd({ clients, history, replicas }: Fleet): void {
    for (const [group, nodes] of this.groupsOf(replicas)) {
      const checker = this.of(group);
      const servers = nodes.filter(({ kind }) => kind === "server");
      if (servers.length === 0) continue;
      const { state } = servers.reduce((a, b) =>
        a.state.index > b.state.index ? a : b
      );
      checker.checkOnce(state);
      if (state.index >= checker.commitIndex) checker.checkKept(state);
      checker.checkHistory(historyOf(group, { clients, history }));
    }
  }
}

/** Nothing can be in its group that is not here, and nothing is here. */
function mayGiveUp(node: SimulatedReplica): boolean {
  const { disk, state } = node;
  const own = ownGroup({
    self: node.hello(),
    acceptedView: disk.acceptor.accepted,
    state: { role: "none", view: undefined, isWritable: false, waitsFor: [] },
    isVoid: true,
    isAppliedVoid: true,
  });
  const isEmpty = state.isVoid &&
    disk.log.entries.every(({ command }) =>
      decodeCommand(command)?.kind !== "open"
    );
  return isEmpty && own?.isIndispensable === true && !own.hasWitness;
}

/** A group with a witness is meant: it stays. */
function isWitnessed({ disk }: SimulatedReplica): boolean {
  const view = disk.acceptor.accepted;
  return view !== undefined &&
    view.voters.some((store) => view.nodes[store].kind === "witness");
}

/** Where several groups hold data, all of each know of all others. */
function missingRivals(
  fleet: Fleet,
  groups: ReadonlyMap<StoreId, readonly SimulatedReplica[]>,
): string | undefined {
  for (const [group, nodes] of groups) {
    const others = [...groups.keys()].filter((other) => other !== group).sort();
    for (const node of nodes) {
      const rivals = fleet.discoveryOf(node)?.rivals.map(({ group }) =>
        group
      ) ?? [];
      if (rivals.sort().join() === others.join()) continue;
      return `${node.name} of ${group} knowing of ${others}, but ${rivals}`;
    }
  }
  return undefined;
}

/** Whoever has a session in a group that is there has all answers. */
function missingAnswers(
  clients: readonly SimulatedClient[],
  groups: ReadonlySet<StoreId>,
): string | undefined {
  const open = clients.find(({ openCount, group }) =>
    openCount > 0 && (group === undefined || groups.has(group))
  );
  return open === undefined ? undefined : `answers: ${open.describe()}`;
}

/** What those saw who had their session in one group. */
function historyOf(
  group: StoreId,
  { clients, history }: Pick<Fleet, "clients" | "history">,
): HistoryRecorder {
  const processes = new Set(
    clients.filter((client) => client.group === group)
      .flatMap(({ processes }) => [...processes]),
  );
  const own = new HistoryRecorder();
  for (const event of history.events) {
    if (processes.has(event.process)) own.add(event);
  }
  return own;
}
