/** Whole replicated groups in simulated time, from one seed, with everything that can break. */

import { DEFAULT_TIMING } from "../../nodes/chat/replica/contract.ts";
import type { ReplicaTiming } from "../../nodes/chat/replica/contract.ts";
import { type HistoryEvent, HistoryRecorder } from "../history/history.ts";
import { ChatChecker } from "./chat_checker.ts";
import { SimulatedClient } from "./chat_client.ts";
import { SimulatedDisk } from "./chat_disk.ts";
import { type Drama, drawPlan } from "./chat_dramas.ts";
import {
  CALM_TEMPER,
  ChatFaults,
  mustLive,
  type Victims,
} from "./chat_faults.ts";
import { Links } from "./chat_links.ts";
import { SimulatedReplica } from "./chat_node.ts";
import type { ChatSurroundings } from "./chat_surroundings.ts";
import { missingOf } from "./chat_whole.ts";
import { throughWire } from "./chat_wire.ts";
import { Random } from "./random.ts";
import { World } from "./world.ts";

/** How long a group has, in simulated time, to be whole again after the last fault. */
const CALM_MS = 10_000;
/** How long it has to stay whole then. */
const STEADY_MS = 300;
const LAST_READS_MS = 5_000;
const LOOK_EVERY_MS = 20;
const SERVERS_ADDED_MAX = 2;

/** Servers and witnesses. */
const SIZES: readonly (readonly [number, number])[] = [
  [3, 2],
  [3, 2],
  [3, 2],
  [3, 2],
  [3, 2],
  [3, 0],
  [1, 0],
  [5, 0],
  [2, 1],
  [2, 1],
];

/** One run's outcome; `transcript` is empty unless asked for. */
export interface ChatRun {
  readonly seed: number;
  readonly steps: number;
  /** Writes that were acknowledged. */
  readonly messages: number;
  readonly faults: number;
  /** What did not hold; empty when all did. */
  readonly failures: readonly string[];
  readonly transcript: readonly string[];
  /** What the clients saw. */
  readonly history: readonly HistoryEvent[];
  /** Whether the group had to be whole again in the end, and was asked to be. */
  readonly wasLive: boolean;
  /** How long that took after the last fault, in simulated time. */
  readonly healingMs: number;
}

/** Runs one group from one seed; `drama` chooses its faults. */
export function runChat(
  seed: number,
  options: { transcript: boolean; drama?: Drama } = { transcript: false },
): ChatRun {
  const world = new World(new Random(seed), options);
  const group = new SimulatedGroup(world, options.drama);
  try {
    group.run();
  } catch (error) {
    group.checker.fail(
      `a core threw: ${error instanceof Error ? error.stack : error}`,
    );
  }
  return {
    seed,
    steps: world.steps,
    messages: group.checker.acknowledgedCount,
    faults: group.faults.count,
    failures: group.checker.failures,
    transcript: world.transcript,
    history: group.history.events,
    wasLive: group.wasLive,
    healingMs: group.healingMs,
  };
}

class SimulatedGroup implements ChatSurroundings, Victims {
  readonly world: World;
  readonly links: Links;
  readonly checker: ChatChecker;
  readonly history = new HistoryRecorder();
  readonly isOneSided = false;
  readonly replicas: SimulatedReplica[] = [];
  readonly clients: SimulatedClient[] = [];
  readonly options: ChatSurroundings["options"];
  readonly applyMsMax: number;
  readonly faults: ChatFaults;
  wasLive = false;
  healingMs = 0;
  readonly #random: Random;
  readonly #keys: readonly string[];
  readonly #faultsUntilMs: number;
  readonly #syncMsMax: number;
  /** Nodes that stay dead in the end. */
  #dead: ReadonlySet<SimulatedReplica> = new Set();

  constructor(world: World, drama: Drama | undefined) {
    this.world = world;
    const { random } = world;
    this.#random = random;
    this.checker = new ChatChecker(world);
    this.links = new Links(world, {
      delayMsMax: random.pick([2, 2, 20, 200]),
      slowChance: random.next() * 0.2,
      silentMsMax: 300 + random.int(3_000),
    });
    if (random.chance(0.05)) this.links.transcode = throughWire;
    this.links.onSend = (message) => {
      if (message.kind === "accept") this.checker.saw(message.view);
      if (message.kind === "active") this.checker.sawActive(message.view);
    };
    this.applyMsMax = random.chance(0.7) ? 0 : random.int(30);
    this.#syncMsMax = random.pick([0.5, 3, 3, 20]);
    this.#faultsUntilMs = 1_500 + random.int(5_000);
    const [servers, witnesses] = random.pick(SIZES);
    const founders = [
      ...numbered("server", servers),
      ...numbered("witness", witnesses),
    ];
    this.options = {
      founders,
      sticky: random.chance(0.2),
      ...(random.chance(0.1) && { forgetAfterMs: 300 + random.int(3_000) }),
      timing: drawTiming(random),
    };
    const hasPriorities = random.chance(0.2);
    for (const { id, kind } of founders) {
      const priority = hasPriorities ? random.int(3) : 0;
      this.#add({ name: id, kind, priority, isFounder: true });
    }
    this.#keys = numbered("k", 1 + random.int(3)).map(({ id }) => id);
    for (let count = 0; count <= random.int(5); count++) {
      this.clients.push(
        new SimulatedClient(this, {
          name: `c${count + 1}`,
          keys: this.#keys,
          pipeline: random.chance(0.5) ? 1 : 1 + random.int(4),
          thinkMsMax: random.pick([10, 50, 400]),
          readShare: random.pick([0.2, 0.7]),
          patienceMs: 200 + random.int(2_000),
        }),
      );
    }
    this.faults = new ChatFaults(this, drawPlan(random, drama));
  }

  run(): void {
    const { world, checker, faults } = this;
    for (const replica of this.replicas) {
      world.schedule(this.#random.int(300), () => replica.start());
    }
    for (const client of this.clients) {
      world.schedule(this.#random.int(1_000), () => client.start());
    }
    this.#compactNowAndThen();
    if (this.#random.chance(0.95)) faults.start();
    const failed = () => checker.failures.length > 0;
    world.run(this.#faultsUntilMs, failed);
    if (failed()) return this.#describe();
    this.#calm();
    if (this.wasLive) this.#expectLife();
    this.#describe();
    if (!failed()) this.#checkEnd();
  }

  checkerOf(): ChatChecker {
    return this.checker;
  }

  serves(): boolean {
    return true;
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

  ended(node: SimulatedReplica): void {
    if (!this.faults.isOver) return this.faults.startLater(node);
    if (this.#dead.has(node)) return;
    this.world.schedule(this.#random.int(500), () => node.start());
  }

  addServer(): boolean {
    const servers = this.replicas.filter(({ kind }) => kind === "server");
    const founding = this.options.founders.length;
    if (this.replicas.length >= founding + SERVERS_ADDED_MAX) return false;
    const added = this.#add({
      name: `server-${servers.length + 1}`,
      kind: "server",
      priority: this.#random.chance(0.3) ? 1 : 0,
      isFounder: false,
    });
    for (const replica of this.replicas) replica.learnOf(added);
    added.start();
    return true;
  }

  #add(
    plan: ConstructorParameters<typeof SimulatedReplica>[1],
  ): SimulatedReplica {
    const replica = new SimulatedReplica(this, plan);
    this.replicas.push(replica);
    return replica;
  }

  #compactNowAndThen(): void {
    if (this.#random.chance(0.5)) return;
    const everyMs = 100 + this.#random.int(1_000);
    const next = () => {
      this.#random.pick(this.replicas).compact();
      if (!this.faults.isOver) this.world.schedule(everyMs, next);
    };
    this.world.schedule(everyMs, next);
  }

  /** The faults stop; some nodes stay dead, as far as the group must bear it. */
  #calm(): void {
    const { world, links, faults } = this;
    world.note(() => "CALM");
    faults.isOver = true;
    links.timing.delayMsMax = 5;
    links.timing.slowChance = 0.05;
    links.healAll();
    for (const disk of this.checker.disks.values()) {
      Object.assign(disk.temper, CALM_TEMPER);
    }
    for (const { machine } of this.replicas) {
      if (machine.isFrozen) machine.thaw();
    }
    this.#dead = this.#chooseDead();
    for (const replica of this.replicas) {
      if (this.#dead.has(replica)) {
        replica.crash({ withPower: this.#random.chance(0.3) });
      } else world.schedule(this.#random.int(500), () => replica.start());
    }
    for (const client of this.clients) {
      if (this.#random.chance(0.1)) client.die();
      client.isBusy = false;
    }
    this.wasLive = mustLive(this.#living(), this.replicas);
  }

  #chooseDead(): Set<SimulatedReplica> {
    const dead = new Set<SimulatedReplica>();
    if (this.#random.chance(0.5)) return dead;
    for (const replica of this.replicas) {
      if (this.#random.chance(0.5)) continue;
      dead.add(replica);
      const live = this.replicas.filter((other) => !dead.has(other));
      if (!mustLive(live, this.replicas)) dead.delete(replica);
    }
    return dead;
  }

  #living(): SimulatedReplica[] {
    return this.replicas.filter((replica) => !this.#dead.has(replica));
  }

  /** Within a bounded time all that live are in sync, and all clients have their answers. */
  #expectLife(): void {
    const { world, checker } = this;
    const failed = () => checker.failures.length > 0;
    const calmMs = world.nowMs;
    const untilMs = calmMs + CALM_MS;
    let quietSinceMs = Infinity;
    let missing: string | undefined;
    while (world.nowMs < untilMs) {
      world.run(world.nowMs + LOOK_EVERY_MS, failed);
      if (failed()) return;
      missing = this.#missing();
      if (missing !== undefined) quietSinceMs = Infinity;
      else if (quietSinceMs === Infinity) quietSinceMs = world.nowMs;
      if (world.nowMs - quietSinceMs < STEADY_MS) continue;
      this.healingMs = quietSinceMs - calmMs;
      return this.#readLast();
    }
    // A view may have been proposed at the last moment by one who is gone.
    if (!mustLive(this.#living(), this.replicas)) {
      this.wasLive = false;
      return;
    }
    checker.fail(`not live: there is not ${missing}`);
  }

  /** What is still missing; undefined if all is as it should be. */
  #missing(): string | undefined {
    const { checker, options: { sticky } } = this;
    const missing = missingOf({ checker, living: this.#living(), sticky });
    if (missing !== undefined) return missing;
    const open = this.clients.find(({ openCount }) => openCount > 0);
    return open === undefined ? undefined : `answers: ${open.describe()}`;
  }

  /** One more read of every list ends the history: it says what became of all. */
  #readLast(): void {
    const { world, checker } = this;
    const last = new SimulatedClient(this, {
      name: "last",
      keys: this.#keys,
      pipeline: 1,
      thinkMsMax: 1,
      readShare: 1,
      patienceMs: 1_000,
    });
    this.clients.push(last);
    last.isBusy = false;
    for (const key of this.#keys) last.readLast(key);
    last.start();
    const isOver = () => checker.failures.length > 0 || last.openCount === 0;
    if (!isOver()) world.run(world.nowMs + LAST_READS_MS, isOver);
    if (!isOver()) checker.fail(`not live: ${last.describe()}`);
  }

  #checkEnd(): void {
    const servers = this.replicas.filter(({ kind }) => kind === "server");
    const newest = servers.reduce((a, b) =>
      a.state.index > b.state.index ? a : b
    );
    this.checker.checkOnce(newest.state);
    // Whatever was acknowledged is here, unless nobody who had it is.
    if (this.wasLive) this.checker.checkKept(newest.state);
    this.checker.checkHistory(this.history);
  }

  #describe(): void {
    for (const { name, core } of this.replicas) {
      this.world.note(() => core?.describe() ?? `${name} is down`);
    }
  }
}

function numbered(
  kind: "server" | "witness" | "k",
  count: number,
): { id: string; kind: "server" | "witness" }[] {
  return Array.from({ length: count }, (_, at) => ({
    id: `${kind}-${at + 1}`,
    kind: kind === "witness" ? kind : "server",
  }));
}

/** Mostly the default waits; sometimes shorter or longer ones. */
function drawTiming(random: Random): ReplicaTiming {
  if (random.chance(0.7)) return DEFAULT_TIMING;
  const suspectAfterMs = 60 + random.int(400);
  return {
    heartbeatMs: 10 + random.int(40),
    suspectAfterMs,
    electionMs: 60 + random.int(400),
    settleMs: 5 + random.int(80),
    joinMs: 200 + random.int(1_500),
    syncStallMs: 500 + random.int(4_000),
  };
}
