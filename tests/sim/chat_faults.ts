/** Everything that can break in a simulated group, and what must not break with it. */

import {
  compareEpochs,
  EPOCH_NONE,
  type StoreId,
} from "../../protocol/epoch.ts";
import { isMajority, type View } from "../../protocol/view.ts";
import type { DiscoveryEffect } from "../../election/discovery_contract.ts";
import type { ReplicaEffect } from "../../nodes/chat/replica/contract.ts";
import type { FaultKind, FaultPlan } from "./chat_dramas.ts";
import type { ChatChecker } from "./chat_checker.ts";
import type { SimulatedClient } from "./chat_client.ts";
import type { DiskTemper, SimulatedDisk } from "./chat_disk.ts";
import type { Links } from "./chat_links.ts";
import type { SimulatedReplica } from "./chat_node.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/** What the faults fall upon. */
export interface Victims {
  readonly world: World;
  readonly links: Links;
  readonly checker: ChatChecker;
  readonly replicas: readonly SimulatedReplica[];
  readonly clients: readonly SimulatedClient[];
  /** A new server comes; false if there are enough. */
  addServer(): boolean;
  /** The process has ended by itself. */
  ended(node: SimulatedReplica, why: "left" | "failed"): void;
}

/** How long a process waits until nobody counts on it any more. */
const LEAVE_MS_MAX = 2_000;

/** Crashes after turning points, at most, in one run. */
const TURNING_CRASHES_MAX = 30;

/** Draws faults until it is told to stop. */
export class ChatFaults {
  /** How many there were. */
  count = 0;
  isOver = false;
  readonly #victims: Victims;
  readonly #random: Random;
  readonly #plan: FaultPlan;
  #turningCrashes = 0;
  #silentUntilMs = 0;

  constructor(victims: Victims, plan: FaultPlan) {
    this.#victims = victims;
    this.#random = victims.world.random;
    this.#plan = plan;
  }

  /** Draws the first fault, and from then on one after the other. */
  start(): void {
    const { world } = this.#victims;
    const next = () => {
      if (this.isOver) return;
      this.#fault(this.#random.pick(this.#plan.kinds));
      world.schedule(this.#random.int(this.#plan.everyMs * 2), next);
    };
    world.schedule(this.#random.int(1_000), next);
  }

  /** Whether the process dies now; maybe whoever it spoke to is next. */
  mayCrashAfter(
    node: SimulatedReplica,
    effect: ReplicaEffect | DiscoveryEffect,
  ): boolean {
    const { kinds, turningPoints, turningChance } = this.#plan;
    if (this.isOver || turningPoints.length === 0) return false;
    const kind = effect.kind === "send" ? effect.message.kind : effect.kind;
    if (!turningPoints.includes(kind)) return false;
    if (!this.#random.chance(turningChance)) return false;
    this.#turningCrashes += 1;
    if (this.#turningCrashes > TURNING_CRASHES_MAX) return false;
    if (kinds.includes("rot") && this.#random.chance(0.3)) {
      this.#victims.world.schedule(0, () => this.#rot(node));
    }
    if (this.#random.chance(0.2)) this.#partition([node]);
    else if (effect.kind === "send") this.#strikeNext(effect.to);
    return true;
  }

  #strikeNext(store: StoreId): void {
    const { replicas, world } = this.#victims;
    const next = replicas.find(({ disk }) => disk.store === store);
    if (next === undefined || this.#random.chance(0.6)) return;
    world.schedule(this.#random.int(40), () => {
      if (this.isOver) return;
      if (this.#random.chance(0.5)) this.#crash(next);
      else this.#partition([next]);
    });
  }

  /** A process that ended comes back, sooner or later. */
  startLater(node: SimulatedReplica): void {
    // Whoever is back at once meets those who have not noticed.
    const waitMsMax = this.#random.chance(0.3) ? 10 : this.#plan.backMsMax;
    this.#victims.world.schedule(
      this.#random.int(waitMsMax),
      () => this.#start(node),
    );
  }

  #start(node: SimulatedReplica): void {
    if (!this.isOver) node.start();
  }

  #fault(kind: FaultKind): void {
    const { replicas, links, world, checker, clients } = this.#victims;
    const node = this.#random.pick(replicas);
    const other = this.#random.pick(replicas);
    this.count += 1;
    switch (kind) {
      case "crash":
        return this.#crash(node);
      case "power":
        node.crash({ withPower: true });
        return this.startLater(node);
      case "crash-many":
        for (const victim of replicas) {
          if (this.#random.chance(0.5)) this.#crash(victim);
        }
        return;
      case "crash-all":
        for (const victim of replicas) {
          world.schedule(this.#random.int(20), () => {
            if (!this.isOver) this.#crash(victim);
          });
        }
        return;
      case "behead": {
        const primary = checker.newestActive?.primary;
        const head = replicas.find(({ disk }) => disk.store === primary);
        return head === undefined ? undefined : this.#crash(head);
      }
      case "freeze":
        return this.#freeze(node);
      case "partition":
        return this.#partition(replicas.filter(() => this.#random.chance(0.5)));
      case "isolate":
        return this.#partition([node]);
      case "split":
        return this.#split();
      case "one-way":
        return this.#silence([[node.name, other.name]]);
      case "cut":
        return links.cut(node.name, other.name);
      case "slow-disk":
        return this.#slowDisk(node);
      case "lose-disk":
        if (!mayLose(node, { replicas, checker })) return;
        node.crash();
        node.loseDisk();
        return this.startLater(node);
      case "rot":
        return this.#rot(node);
      case "leave":
        if (node.kind === "server" && node.isAwake) node.leave();
        return;
      case "retire":
        return this.#retire(node);
      case "join":
        this.#victims.addServer();
        return;
      case "compact":
        return node.compact();
      case "priority":
        node.priority = this.#random.int(3);
        return this.#crash(node);
      case "client": {
        const client = this.#random.pick(clients);
        return this.#silence(
          replicas.flatMap((
            { name },
          ): [string, string][] => [[name, client.name], [client.name, name]]),
        );
      }
      case "expire":
        if (!node.isAwake) return;
        return node.service?.propose({
          kind: "expire",
          session: this.#random.pick(clients).session,
        });
    }
  }

  /** Leaves for good; if nobody lets it go it stops all the same. */
  #retire(node: SimulatedReplica): void {
    const { world } = this.#victims;
    if (!node.isAwake || node.isLeaving) return;
    const { life } = node;
    node.leave({ isForGood: true });
    world.schedule(LEAVE_MS_MAX, () => {
      if (node.life !== life || !node.machine.isUp) return;
      world.note(() => `${node.name} LEAVES unheard`);
      node.crash();
      this.#victims.ended(node, "failed");
    });
  }

  #crash(node: SimulatedReplica): void {
    node.crash({ withPower: this.#random.chance(0.1) });
    this.startLater(node);
  }

  #freeze(node: SimulatedReplica): void {
    const { machine } = node;
    if (!node.isAwake) return;
    machine.freeze();
    this.#victims.links.suspectSilence(node.name);
    this.#victims.world.schedule(this.#random.int(this.#plan.awayMsMax), () => {
      if (machine.isFrozen) machine.thaw();
    });
  }

  /** Clients stay on either side, or see both. */
  #partition(side: readonly SimulatedReplica[]): void {
    const { replicas, clients } = this.#victims;
    const names = new Set(side.map(({ name }) => name));
    for (const { name } of clients) {
      if (this.#random.chance(0.3)) names.add(name);
    }
    const all = [...replicas, ...clients].map(({ name }) => name);
    const isOneWay = this.#random.chance(0.2);
    const pairs: [string, string][] = [];
    for (const inside of all.filter((name) => names.has(name))) {
      for (const outside of all.filter((name) => !names.has(name))) {
        pairs.push([inside, outside]);
        if (!isOneWay) pairs.push([outside, inside]);
      }
    }
    this.#silence(pairs);
  }

  /** Two sides, and some nodes in between that both sides hear: maybe the primary alone. */
  #split(): void {
    const { replicas, checker } = this.#victims;
    const primary = checker.newestActive?.primary;
    const isPrimaryAlone = this.#random.chance(0.5);
    const sides: [string[], string[]] = [[], []];
    for (const { name, kind, disk } of replicas) {
      const isBetween = isPrimaryAlone
        ? disk.store === primary
        : this.#random.chance(kind === "witness" ? 0.7 : 0.2);
      if (!isBetween) sides[this.#random.int(2)].push(name);
    }
    this.#silence(
      sides[0].flatMap((a) =>
        sides[1].flatMap((b): [string, string][] => [[a, b], [b, a]])
      ),
    );
  }

  #silence(pairs: readonly (readonly [string, string])[]): void {
    const { links, world } = this.#victims;
    // Where everything is silent nothing can go wrong: mostly one at a time.
    if (world.nowMs < this.#silentUntilMs && this.#random.chance(0.8)) return;
    const forMs = this.#random.int(this.#plan.awayMsMax);
    this.#silentUntilMs = world.nowMs + forMs;
    world.note(() =>
      `SILENCE ${pairs.map((pair) => pair.join(">")).join(" ")}`
    );
    for (const [from, to] of pairs) links.silence(from, to);
    world.schedule(forMs, () => {
      for (const [from, to] of pairs) links.heal(from, to);
    });
  }

  #slowDisk({ disk, name }: SimulatedReplica): void {
    const { temper, usual } = disk;
    this.#victims.world.note(() => `${name} has a SLOW DISK`);
    temper.syncMsMax = 5 + this.#random.int(100);
    temper.stallChance = this.#random.next() * 0.1;
    temper.stallMsMax = this.#random.pick([200, 6_000]);
    if (this.#random.chance(0.3)) temper.failChance = 0.05;
    this.#victims.world.schedule(
      this.#random.int(this.#plan.awayMsMax * 2),
      () => Object.assign(temper, usual),
    );
  }

  #rot(node: SimulatedReplica): void {
    const { replicas, checker } = this.#victims;
    if (node.kind === "witness" || !mayRot(node, { replicas, checker })) return;
    node.crash();
    this.#victims.world.note(() => `${node.name} has a ROTTEN LOG`);
    node.disk.rot();
    this.startLater(node);
  }
}

/** Disks as they are when all is well. */
export const CALM_TEMPER: DiskTemper = {
  syncMsMax: 3,
  stallChance: 0,
  stallMsMax: 1,
  failChance: 0,
};

interface Known {
  readonly replicas: readonly SimulatedReplica[];
  readonly checker: ChatChecker;
}

/**
 * Whether the group may lose this directory: any view that may be the newest
 * keeps a majority of its voters and one member, and one of its founders
 * remembers that it was born.
 */
function mayLose(node: SimulatedReplica, known: Known): boolean {
  const isBorn = known.replicas.some(({ isFounder, disk }) =>
    isFounder && disk !== node.disk && disk.acceptor.accepted !== undefined
  );
  if (!isBorn) return false;
  const isThere = (disk: SimulatedDisk | undefined) =>
    disk !== undefined && !disk.isLost && disk !== node.disk;
  return newestViews(known).every((view) =>
    isMajority(view, (store) => isThere(known.checker.disks.get(store))) &&
    mayLoseData(node, { view, ...known })
  ) && newestViews(known).length > 0;
}

function mayRot(node: SimulatedReplica, known: Known): boolean {
  const views = newestViews(known);
  return views.length > 0 &&
    views.every((view) => mayLoseData(node, { view, ...known }));
}

function mayLoseData(
  node: SimulatedReplica,
  { view, checker }: Known & { view: View },
): boolean {
  return view.members.some((store) => {
    const disk = checker.disks.get(store);
    return disk !== undefined && disk !== node.disk && disk.isSound;
  });
}

/** All views proposed from the newest active one on: one of them is the newest. */
function newestViews({ checker }: Known): View[] {
  return checker.viewsFrom(checker.newestActive?.epoch ?? EPOCH_NONE);
}

/**
 * Whether these nodes, when they run and reach one another, must go on: a
 * majority of the voters of the newest view that one of them has accepted, and
 * a member of it whose data are whole.
 */
export function mustLive(
  live: readonly SimulatedReplica[],
  all: readonly SimulatedReplica[],
): boolean {
  const newest = newestAccepted(live);
  if (newest === undefined) {
    return live.length === all.length && newestAccepted(all) === undefined;
  }
  return canGoOn(newest, live);
}

/** Whether a group with this newest view goes on with those that live. */
export function canGoOn(
  newest: View,
  live: readonly SimulatedReplica[],
): boolean {
  const disks = new Map(live.map(({ disk }) => [disk.store, disk]));
  return isMajority(newest, (store) => disks.has(store)) &&
    newest.members.some((store) => disks.get(store)?.isSound === true);
}

/** The newest view that one of these has accepted. */
export function newestAccepted(
  nodes: readonly SimulatedReplica[],
): View | undefined {
  let newest: View | undefined;
  for (const { disk: { acceptor: { accepted } } } of nodes) {
    if (accepted === undefined) continue;
    if (
      newest === undefined || compareEpochs(accepted.epoch, newest.epoch) > 0
    ) newest = accepted;
  }
  return newest;
}
