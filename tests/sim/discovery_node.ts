/** What looks for a group in a simulated process: the production core, wired as in `nodes/chat`. */

import type { Address } from "../../protocol/address.ts";
import type { Advert, AdvertGroup } from "../../protocol/discovery.ts";
import type { StoreId } from "../../protocol/epoch.ts";
import { DiscoveryCore } from "../../election/discovery.ts";
import type {
  DiscoveryEffect,
  DiscoveryInput,
  DiscoveryTiming,
  OwnGroup,
  Rival,
} from "../../election/discovery_contract.ts";
import type { GroupState } from "../../nodes/chat/replica/contract.ts";
import { ownAdvert, ownGroup } from "../../nodes/chat/group/own_advert.ts";
import type { SimulatedReplica } from "./chat_node.ts";
import { decodeCommand } from "./chat_state.ts";
import type { ChatSurroundings, Companion } from "./chat_surroundings.ts";
import { CoreTimer } from "./core_timer.ts";
import type { Air, Antenna, Station } from "./discovery_air.ts";
import type { Machine } from "./world.ts";

const PORT = 8_081;

/** What all that look for a group share. */
export interface DiscoverySurroundings extends ChatSurroundings {
  readonly air: Air;
  readonly discoveryTiming: DiscoveryTiming;
  /** The machine's address. */
  hostOf(node: SimulatedReplica): string;
  /** The machine at an address. */
  nodeAt(address: Address): SimulatedReplica | undefined;
}

interface Heard {
  readonly group: StoreId | undefined;
  readonly heardMs: number;
}

/** Lives as long as its process. */
export class SimulatedDiscovery implements Companion, Antenna {
  readonly machine: Machine;
  readonly host: string;
  /** Other groups that hold data, as this node knows them. */
  rivals: readonly Rival[] = [];
  readonly #node: SimulatedReplica;
  readonly #around: DiscoverySurroundings;
  readonly #core: DiscoveryCore;
  readonly #timer: CoreTimer;
  readonly #station: Station;
  readonly #life: number;
  /** As the core was told. */
  #told: OwnGroup | undefined;
  /** Since when groups are said to be empty and not to work. */
  readonly #lameSinceMs = new Map<StoreId, number>();
  /** Groups that are said to hold something, or to be meant. */
  readonly #kept = new Set<StoreId>();
  /** The group of each node that was heard of, by its own last word, and when. */
  readonly #heard = new Map<string, Heard>();
  /** The group that was met last while this node was in none. */
  #met: StoreId | undefined;
  #hasStarted = false;
  #isLookDue = false;

  /** Looks around for the first time. */
  constructor(node: SimulatedReplica, around: DiscoverySurroundings) {
    this.#node = node;
    this.#around = around;
    this.#life = node.life;
    this.machine = node.machine;
    this.host = around.hostOf(node);
    const { id, kind, priority, store } = node.hello();
    this.#core = new DiscoveryCore({
      self: { id, kind, priority },
      store,
      dissolved: node.disk.dissolved,
      timing: around.discoveryTiming,
      seed: around.world.random.uint32(),
    });
    this.#timer = new CoreTimer({
      machine: node.machine,
      clock: node.clock,
      wakeAtMs: () => this.#core.wakeAtMs,
      wake: () => {
        this.#look();
        this.#step({ kind: "wake" });
      },
      spins: () => this.#fail(`spins: ${this.#core.describe()}`),
    });
    this.#station = around.air.open(this);
    // Not within the start of the process.
    node.machine.later(0, () => this.#start());
  }

  describe(): string {
    return this.#core.describe();
  }

  changed(): void {
    if (this.#node.state.isDissolved) this.#node.beginAnew();
    if (this.#isLookDue) return;
    // Not within a step of the replica's core.
    this.#isLookDue = true;
    this.machine.later(0, () => this.#look());
  }

  /** Tells the core what is new. */
  #look(): void {
    const node = this.#node;
    this.#isLookDue = false;
    if (!this.#hasStarted) return;
    const group = this.#ownGroup();
    if (group === undefined) return;
    const before = this.#told;
    if (before !== undefined && isSame(before, group)) return;
    this.#told = group;
    if (before === undefined) node.relink(group.id);
    this.#step({ kind: "group", group });
  }

  advert(): Advert {
    const { disk, kind } = this.#node;
    const { group: _, ...self } = this.#node.hello();
    return ownAdvert({
      self,
      cluster: "sim",
      isKeyed: false,
      dissolved: disk.dissolved,
      clients: kind === "server" ? { host: "0.0.0.0", port: 8_091 } : undefined,
      peers: {
        address: { host: "0.0.0.0", port: PORT },
        clientAddressOf: () => undefined,
      },
      acceptedView: disk.acceptor.accepted,
      state: this.#state,
      isVoid: this.#isVoid,
      isAppliedVoid: this.#node.state.isVoid,
    });
  }

  heard(advert: Advert, host: string): void {
    if (!this.#hasStarted) return;
    this.#look();
    const { port, host: named } = advert.peers;
    const peers = { host: named ?? host, port };
    const { nowMs } = this.#node;
    this.#heard.set(advert.id, { group: advert.group?.id, heardMs: nowMs });
    if (advert.group !== undefined) {
      if (!advert.group.isVoid) this.#kept.add(advert.group.id);
      this.#noteLame(advert.group);
    }
    this.#around.world.note(() =>
      `${this.#node.name} hears ${advert.id} ${
        JSON.stringify(advert.group ?? advert.dissolved)
      }`
    );
    this.#step({ kind: "heard", advert, peers });
  }

  #start(): void {
    const group = this.#ownGroup();
    this.#hasStarted = true;
    this.#told = group;
    this.#step({ kind: "start", group });
  }

  #step(input: DiscoveryInput): void {
    const node = this.#node;
    for (const effect of this.#core.step(input, node.nowMs)) {
      if (node.life !== this.#life || !node.machine.isUp) return;
      this.#act(effect);
      if (!this.#around.mayCrashAfter(node, effect)) continue;
      this.#around.world.note(() => `${node.name} dies after ${effect.kind}`);
      node.crash();
      return this.#around.ended(node, "failed");
    }
    this.#timer.arm();
  }

  #act(effect: DiscoveryEffect): void {
    const { world } = this.#around;
    const node = this.#node;
    switch (effect.kind) {
      case "ask":
        return this.#station.ask();
      case "meet":
        return this.#meet(effect);
      case "found":
        this.#checkFounding();
        return node.step({ kind: "found" });
      case "dissolve": {
        const { into } = effect;
        world.note(() => `${node.name} dissolves into ${into}`);
        return node.service?.propose({ kind: "dissolve", into });
      }
      case "give-up":
        return this.#giveUp(effect.reason);
      case "rivals":
        this.rivals = effect.rivals;
        return;
      case "note":
        return world.note(() => `${node.name} ${effect.level}: ${effect.text}`);
    }
  }

  #meet({ id, address }: Extract<DiscoveryEffect, { kind: "meet" }>): void {
    const node = this.#node;
    this.#around.world.note(() => `${node.name} meets ${id}`);
    const other = this.#around.nodeAt(address);
    if (other?.name !== id) return this.#fail(`is to meet ${id}: not there`);
    this.#checkMeeting(other);
    node.learnOf(other);
  }

  /** Whoever is in no group stays with the one that it has met, while it hears of it. */
  #checkMeeting(other: SimulatedReplica): void {
    const group = this.#heard.get(other.name)?.group;
    const before = this.#met;
    if (group === undefined || this.#told !== undefined) return;
    if (this.#node.disk.dissolved.includes(group)) {
      this.#fail(`meets ${other.name} of group ${group}, which it saw end`);
    }
    this.#met = group;
    if (before === undefined || before === group) return;
    const mayChange = this.#hasEnded(before) || this.#kept.has(group);
    if (mayChange || !this.#hasHeard(before)) return;
    this.#fail(`meets group ${group}, and ${before} as well`);
  }

  /** Nobody begins a group who did not listen, or has heard of one. */
  #checkFounding(): void {
    const { foundMs } = this.#around.discoveryTiming;
    const { world } = this.#around;
    const { awakeSinceMs, asleepMs } = this.machine;
    const { rate } = this.#node.clock;
    const awakeMs = (world.nowMs - awakeSinceMs) * rate;
    // Longer than it would have listened: it must begin anew.
    if (awakeMs < foundMs / 2 && asleepMs * rate > 2.5 * foundMs) {
      this.#fail("founds a group half asleep");
    }
    for (const { group } of this.#heard.values()) {
      if (group === undefined || this.#hasEnded(group)) continue;
      if (this.#hasHeard(group)) {
        this.#fail(`founds, and has heard of ${group}`);
      }
    }
  }

  #hasEnded(group: StoreId): boolean {
    const { isDissolved, isGivenUp } = this.#around.checkerOf(group);
    return isDissolved || isGivenUp;
  }

  /** Empty groups that do not work may be passed over after a while. */
  #noteLame({ id, isVoid, isWorking }: AdvertGroup): void {
    if (!isVoid || isWorking) this.#lameSinceMs.delete(id);
    else if (!this.#lameSinceMs.has(id)) {
      this.#lameSinceMs.set(id, this.#node.nowMs);
    }
  }

  /** Whether a group was heard of in one of the last questions, and somebody is in it. */
  #hasHeard(group: StoreId): boolean {
    const { askMs, foundMs, calmMs } = this.#around.discoveryTiming;
    const { nowMs } = this.#node;
    const lameSinceMs = this.#lameSinceMs.get(group) ?? Infinity;
    const sinceMs = nowMs - Math.min(foundMs, 4 * askMs);
    return nowMs - lameSinceMs < calmMs &&
      [...this.#heard.values()].some((heard) =>
        heard.group === group && heard.heardMs > sinceMs
      );
  }

  /** Only what has ended may be given up, or a group loses a voter that it counts on. */
  #giveUp(reason: string): void {
    const { groupId, name } = this.#node;
    this.#around.world.note(() => `${name} gives up: ${reason}`);
    const checker = this.#around.checkerOf(groupId);
    const mayGiveUp = checker.isDissolved || checker.isGivenUp ||
      !checker.hasHeldData && this.#ownGroup()?.isIndispensable === true;
    if (!mayGiveUp) this.#fail(`gives up group ${groupId}, which goes on`);
    checker.isGivenUp = true;
    this.#node.beginAnew();
  }

  #ownGroup(): OwnGroup | undefined {
    const { group: _, ...self } = this.#node.hello();
    return ownGroup({
      self,
      acceptedView: this.#node.disk.acceptor.accepted,
      state: this.#state,
      isVoid: this.#isVoid,
      isAppliedVoid: this.#node.state.isVoid,
    });
  }

  get #state(): GroupState {
    const state = this.#node.core?.group;
    if (state === undefined) throw new Error("A process without a core");
    return state;
  }

  /** Nothing is applied, and nothing that is not applied yet could be missed. */
  get #isVoid(): boolean {
    const { state, log } = this.#node;
    if (!state.isVoid) return false;
    if (state.index < log.base.index) return false;
    for (let index = state.index + 1; index <= log.lastIndex; index++) {
      const entry = log.at(index);
      const command = entry && decodeCommand(entry.command);
      if (command?.kind === "open") return false;
    }
    return true;
  }

  #fail(text: string): void {
    const { groupId, name } = this.#node;
    this.#around.checkerOf(groupId).fail(`${name} ${text}`);
  }
}

function isSame(a: OwnGroup, b: OwnGroup): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
