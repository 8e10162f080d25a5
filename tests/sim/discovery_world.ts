/** Fleets without configuration in simulated time: how groups begin, meet and end. */

import type { Address } from "../../protocol/address.ts";
import type { StoreId } from "../../protocol/epoch.ts";
import {
  DISCOVERY_TIMING,
  type DiscoveryTiming,
} from "../../election/discovery_contract.ts";
import { DEFAULT_TIMING } from "../../nodes/chat/replica/contract.ts";
import { HistoryRecorder } from "../history/history.ts";
import type { ChatChecker } from "./chat_checker.ts";
import { SimulatedClient } from "./chat_client.ts";
import { SimulatedDisk } from "./chat_disk.ts";
import { CALM_TEMPER, ChatFaults, type Victims } from "./chat_faults.ts";
import { Links } from "./chat_links.ts";
import { SimulatedReplica } from "./chat_node.ts";
import { throughWire } from "./chat_wire.ts";
import { Air } from "./discovery_air.ts";
import { DiscoveryChecker } from "./discovery_checker.ts";
import { SimulatedDiscovery } from "./discovery_node.ts";
import type { DiscoverySurroundings } from "./discovery_node.ts";
import { drawDiscoveryPlan } from "./discovery_plan.ts";
import { Random } from "./random.ts";
import { World } from "./world.ts";

/** How long a fleet has, in simulated time, to become one after the last fault. */
const CALM_MS = 60_000;
/** How long it has to stay one then. */
const STEADY_MS = 300;
const LOOK_EVERY_MS = 50;
/** How long a server of a whole group waits, at most, until it is let go. */
const LEAVE_MS = 5_000;
const SERVERS_MAX = 9;

/** One run's outcome; `transcript` is empty unless asked for. */
export interface DiscoveryRun {
  readonly seed: number;
  readonly steps: number;
  /** Writes that were acknowledged. */
  readonly messages: number;
  readonly faults: number;
  /** What did not hold; empty when all did. */
  readonly failures: readonly string[];
  readonly transcript: readonly string[];
  /** Groups that were founded, and of those the ones that gave way. */
  readonly founded: number;
  readonly dissolved: number;
  /** Groups that were there in the end; 0 if the fleet did not have to be whole. */
  readonly groups: number;
  /** How long that took after the last fault, in simulated time. */
  readonly healingMs: number;
}

/** Runs one fleet from one seed. */
export function runDiscovery(
  seed: number,
  options: { transcript: boolean } = { transcript: false },
): DiscoveryRun {
  const world = new World(new Random(seed), options);
  const fleet = new SimulatedFleet(world);
  try {
    fleet.run();
  } catch (error) {
    fleet.checker.fail(
      `a core threw: ${error instanceof Error ? error.stack : error}`,
    );
  }
  const { checker } = fleet;
  return {
    seed,
    steps: world.steps,
    messages: checker.acknowledgedCount,
    faults: fleet.faults.count,
    failures: checker.failures,
    transcript: world.transcript,
    founded: checker.foundedCount,
    dissolved: checker.dissolvedCount,
    groups: fleet.groups,
    healingMs: fleet.healingMs,
  };
}

class SimulatedFleet implements DiscoverySurroundings {
  readonly world: World;
  readonly links: Links;
  readonly air: Air;
  readonly checker: DiscoveryChecker;
  readonly history = new HistoryRecorder();
  readonly replicas: SimulatedReplica[] = [];
  readonly clients: SimulatedClient[] = [];
  readonly options: DiscoverySurroundings["options"];
  readonly discoveryTiming: DiscoveryTiming;
  readonly isOneSided = true;
  readonly applyMsMax: number;
  readonly faults: ChatFaults;
  groups = 0;
  healingMs = 0;
  readonly #random: Random;
  readonly #faultsUntilMs: number;
  readonly #startMsMax: number;
  readonly #syncMsMax: number;
  readonly #discoveries = new Map<SimulatedReplica, SimulatedDiscovery>();

  constructor(world: World) {
    this.world = world;
    const { random } = world;
    this.#random = random;
    this.checker = new DiscoveryChecker(world);
    this.links = new Links(world, {
      delayMsMax: random.pick([2, 2, 20, 200]),
      slowChance: random.next() * 0.2,
      silentMsMax: 300 + random.int(3_000),
    });
    this.air = new Air(world, this.links, {
      lossChance: random.pick([0, 0.05, 0.2, 0.5]),
      doubleChance: random.pick([0, 0, 0.1, 0.5]),
      delayMsMax: random.pick([2, 50, 1_000, 8_000]),
      slowChance: random.next() * 0.2,
    });
    if (random.chance(0.03)) this.links.transcode = throughWire;
    if (random.chance(0.03)) this.air.isEncoded = true;
    this.links.onSend = (message) => {
      if (message.kind === "accept") this.checker.saw(message.view);
      if (message.kind === "active") this.checker.sawActive(message.view);
    };
    this.applyMsMax = random.chance(0.7) ? 0 : random.int(30);
    this.#syncMsMax = random.pick([0.5, 3, 3, 20]);
    this.#faultsUntilMs = 2_000 + random.int(5_000);
    this.#startMsMax = random.pick([1, 50, 500, this.#faultsUntilMs]);
    this.discoveryTiming = drawTiming(random);
    this.options = {
      founders: [],
      sticky: random.chance(0.15),
      ...(random.chance(0.3) && { forgetAfterMs: 300 + random.int(3_000) }),
      timing: DEFAULT_TIMING,
    };
    this.#addNodes();
    this.#addClients();
    this.faults = new ChatFaults(this.#victims(), drawDiscoveryPlan(random));
  }

  run(): void {
    const { world, checker, faults } = this;
    for (const replica of this.replicas) {
      world.schedule(this.#random.int(this.#startMsMax), () => replica.start());
    }
    for (const client of this.clients) {
      const waitMs = this.#random.int(this.#faultsUntilMs);
      world.schedule(waitMs, () => client.start());
    }
    this.#compactNowAndThen();
    if (this.#random.chance(0.5)) this.#beginApart();
    if (this.#random.chance(0.9)) faults.start();
    world.run(this.#faultsUntilMs, () => this.#hasFailed);
    if (this.#hasFailed) return this.#describe();
    this.#calm();
    this.#expectOne();
    this.#describe();
    if (!this.#hasFailed) checker.checkEnd(this);
  }

  checkerOf(group: StoreId | undefined): ChatChecker {
    return this.checker.of(group);
  }

  serves(server: SimulatedReplica, group: StoreId | undefined): boolean {
    return group === undefined || server.groupId === group;
  }

  companionOf(node: SimulatedReplica): SimulatedDiscovery {
    const discovery = new SimulatedDiscovery(node, this);
    this.#discoveries.set(node, discovery);
    return discovery;
  }

  hostOf(node: SimulatedReplica): string {
    return `10.0.0.${this.replicas.indexOf(node) + 1}`;
  }

  nodeAt({ host }: Address): SimulatedReplica | undefined {
    return this.replicas.find((node) => this.hostOf(node) === host);
  }

  newId(): string {
    const half = () => this.#random.uint32().toString(16).padStart(8, "0");
    return half() + half();
  }

  newDisk(): SimulatedDisk {
    const disk = new SimulatedDisk(this.newId(), this.#random, {
      ...CALM_TEMPER,
      syncMsMax: this.#syncMsMax,
    });
    this.checker.disks.set(disk.store, disk);
    return disk;
  }

  mayCrashAfter(
    ...[node, effect]: Parameters<ChatFaults["mayCrashAfter"]>
  ): boolean {
    return this.faults.mayCrashAfter(node, effect);
  }

  ended(node: SimulatedReplica, why: "left" | "failed"): void {
    const isForGood = why === "left" && node.isLeavingForGood;
    if (isForGood) this.checker.left.add(node.disk.store);
    const staysAway = this.faults.isOver || this.#random.chance(0.6);
    node.isGone ||= isForGood && staysAway;
    if (node.isGone) return;
    // Or it comes back, as a new one.
    if (isForGood) node.loseDisk();
    if (!this.faults.isOver) return this.faults.startLater(node);
    this.world.schedule(this.#random.int(500), () => node.start());
  }

  get living(): SimulatedReplica[] {
    return this.replicas.filter(({ isGone }) => !isGone);
  }

  discoveryOf(node: SimulatedReplica): SimulatedDiscovery | undefined {
    return node.machine.isUp ? this.#discoveries.get(node) : undefined;
  }

  #addNodes(): void {
    const random = this.#random;
    const servers = random.chance(0.1)
      ? 1 + random.int(SERVERS_MAX)
      : 2 + random.int(4);
    const witnesses = random.chance(0.3) ? 1 + random.int(2) : 0;
    const hasPriorities = random.chance(0.2);
    for (let count = 1; count <= servers + witnesses; count++) {
      const kind = count <= servers ? "server" : "witness";
      this.replicas.push(
        new SimulatedReplica(this, {
          name: `${kind}-${count}`,
          kind,
          priority: hasPriorities ? random.int(3) : 0,
          isFounder: false,
        }),
      );
    }
  }

  #addClients(): void {
    const random = this.#random;
    const count = random.pick([0, 0, 1, 2, 4]);
    for (let number = 1; number <= count; number++) {
      this.clients.push(
        new SimulatedClient(this, {
          name: `c${number}`,
          keys: ["k1", "k2"],
          pipeline: 1 + random.int(2),
          thinkMsMax: random.pick([10, 50, 400]),
          readShare: random.pick([0.2, 0.7]),
          patienceMs: 200 + random.int(2_000),
        }),
      );
    }
  }

  /** Faults fall upon any of the groups that are there. */
  #victims(): Victims {
    const checker = () => this.checker.any();
    return {
      ...{ world: this.world, links: this.links, replicas: this.replicas },
      clients: this.clients,
      get checker() {
        return checker();
      },
      addServer: () => false,
      ended: (node, why) => this.ended(node, why),
    };
  }

  /** In two or three parts, which do not hear each other for a while. */
  #beginApart(): void {
    const { links, world } = this;
    const parts = 2 + this.#random.int(2);
    const partOf = new Map(
      [...this.replicas, ...this.clients].map(({ name }) =>
        [name, this.#random.int(parts)] as const
      ),
    );
    for (const [from, part] of partOf) {
      for (const [to, other] of partOf) {
        if (part === other) continue;
        links.silence(from, to);
        const untilMs = this.#random.int(this.#faultsUntilMs);
        world.schedule(untilMs, () => links.heal(from, to));
      }
    }
  }

  #compactNowAndThen(): void {
    if (this.#random.chance(0.7)) return;
    const everyMs = 100 + this.#random.int(1_000);
    const next = () => {
      this.#random.pick(this.replicas).compact();
      if (!this.faults.isOver) this.world.schedule(everyMs, next);
    };
    this.world.schedule(everyMs, next);
  }

  /** The faults stop; some nodes stay away, as far as their groups must bear it. */
  #calm(): void {
    const { world, links, faults, air } = this;
    world.note(() => "CALM");
    faults.isOver = true;
    links.timing.delayMsMax = 5;
    links.timing.slowChance = 0.05;
    air.temper.lossChance = Math.min(air.temper.lossChance, 0.2);
    air.temper.slowChance = 0;
    links.healAll();
    for (const disk of this.checker.disks.values()) {
      Object.assign(disk.temper, CALM_TEMPER);
    }
    for (const { machine } of this.replicas) {
      if (machine.isFrozen) machine.thaw();
    }
    this.#chooseGone();
    for (const replica of this.replicas) {
      if (replica.isGone || replica.isLeaving) {
        replica.crash({ withPower: this.#random.chance(0.3) });
      }
      world.schedule(this.#random.int(500), () => replica.start());
    }
    for (const client of this.clients) {
      if (this.#random.chance(0.1)) client.die();
      client.isBusy = false;
    }
  }

  #chooseGone(): void {
    if (this.#random.chance(0.5)) return;
    for (const replica of this.replicas) {
      if (replica.isGone || this.#random.chance(0.5)) continue;
      replica.isGone = true;
      replica.isGone = this.checker.mustLive(this);
    }
  }

  /** Within a bounded time all that live are one group, or as many as hold data. */
  #expectOne(): void {
    const { world, checker } = this;
    checker.checkLeft(this);
    if (!checker.mustLive(this)) return;
    const calmMs = world.nowMs;
    const missing = this.#waitUntilWhole();
    if (missing === undefined) {
      this.healingMs = world.nowMs - STEADY_MS - calmMs;
      this.groups = checker.groupsOf(this.living).size;
      return this.#letOneGo();
    }
    checker.checkLeft(this);
    // A view may have been proposed at the last moment by one who is gone.
    if (!checker.mustLive(this) || this.#hasFailed) return;
    checker.fail(`not one: there is not ${missing}`);
  }

  /** What is still missing in the end; undefined if nothing is, for a while. */
  #waitUntilWhole(): string | undefined {
    const { world, checker } = this;
    const untilMs = world.nowMs + CALM_MS;
    let wholeSinceMs = Infinity;
    let missing: string | undefined;
    while (world.nowMs < untilMs) {
      world.run(world.nowMs + LOOK_EVERY_MS, () => this.#hasFailed);
      missing = checker.missing(this);
      if (this.#hasFailed) return missing ?? "an end without failure";
      if (missing !== undefined) wholeSinceMs = Infinity;
      else if (wholeSinceMs === Infinity) wholeSinceMs = world.nowMs;
      if (world.nowMs - wholeSinceMs >= STEADY_MS) return undefined;
    }
    return missing ?? "a while of calm";
  }

  /** One server leaves a group that is whole: it is let go if it can be, and all stays whole. */
  #letOneGo(): void {
    const { world, checker } = this;
    if (this.#random.chance(0.6)) return;
    const groups = [...checker.groupsOf(this.living).values()];
    const servers = this.#random.pick(groups)
      .filter(({ kind }) => kind === "server");
    if (servers.length < 2) return;
    const leaver = this.#random.pick(servers);
    const isNeeded = !checker.canSpare(leaver, this.living);
    leaver.leave({ isForGood: true });
    world.run(world.nowMs + LEAVE_MS, () => this.#hasFailed || leaver.isGone);
    if (this.#hasFailed) return;
    if (!leaver.isGone && !isNeeded) {
      checker.fail(`${leaver.name} is not let go`);
    }
    // Whoever is needed comes back, and finds its place.
    if (!leaver.isGone) leaver.crash();
    leaver.start();
    const missing = this.#waitUntilWhole();
    if (missing === undefined || this.#hasFailed) return;
    checker.fail(`not one after ${leaver.name} left: there is not ${missing}`);
  }

  get #hasFailed(): boolean {
    return this.checker.failures.length > 0;
  }

  #describe(): void {
    for (const node of this.replicas) {
      this.world.note(() => {
        const text = node.core?.describe() ?? `${node.name} is down`;
        return `${text}; ${this.discoveryOf(node)?.describe()}`;
      });
    }
  }
}

/** Mostly shorter than in production, so that a run is. */
function drawTiming(random: Random): DiscoveryTiming {
  if (random.chance(0.3)) return DISCOVERY_TIMING;
  return {
    askMs: 30 + random.int(150),
    calmMs: 300 + random.int(1_500),
    foundMs: 100 + random.int(900),
  };
}
