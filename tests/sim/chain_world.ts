/** Whole chains in simulated time, from one seed, with everything that can break. */

import type { LinkId } from "../../protocol/core.ts";
import { ChainChecker } from "./chain_checker.ts";
import {
  type Dial,
  FAULTS_UNTIL_MS,
  SimulatedNode,
  SimulatedSender,
  SimulatedTyper,
  type Surroundings,
} from "./chain_processes.ts";
import { Network } from "./network.ts";
import { Random } from "./random.ts";
import { type Machine, World } from "./world.ts";

const CALM_UNTIL_MS = 300_000;
const DIAL_WAIT_MS_MAX = 1_000;

/** One run's outcome; `transcript` is empty unless asked for. */
export interface ChainRun {
  readonly seed: number;
  readonly steps: number;
  readonly messages: number;
  readonly faults: number;
  /** What did not hold; empty when all did. */
  readonly failures: readonly string[];
  readonly transcript: readonly string[];
}

/** Runs one chain from one seed. */
export function runChain(
  seed: number,
  options: { transcript: boolean } = { transcript: false },
): ChainRun {
  const random = new Random(seed);
  const world = new World(random, options);
  const chain = new SimulatedChain(world);
  try {
    chain.run();
  } catch (error) {
    chain.checker.fail(
      `a core threw: ${error instanceof Error ? error.stack : error}`,
    );
  }
  return {
    seed,
    steps: world.steps,
    messages: chain.checker.messages,
    faults: chain.faults,
    failures: chain.checker.failures,
    transcript: world.transcript,
  };
}

class SimulatedChain implements Surroundings {
  readonly world: World;
  readonly random: Random;
  readonly network: Network;
  readonly checker: ChainChecker;
  readonly #nodes: SimulatedNode[] = [];
  readonly #senders: SimulatedSender[] = [];
  readonly #typers: SimulatedTyper[] = [];
  faults = 0;

  constructor(world: World) {
    this.world = world;
    this.random = world.random;
    const { random } = this;
    this.network = new Network(world, {
      delayMsMax: 1 + random.int(random.chance(0.2) ? 400 : 20),
      socketBytes: 500 + random.int(60_000),
      silentMsMax: 3_000,
    });
    this.checker = new ChainChecker(world);
    const count = 1 + random.int(5);
    for (let index = 0; index < count; index++) {
      this.#nodes.push(
        new SimulatedNode(this, index, {
          targets: this.#targetsOf(index, count),
          spool: random.chance(0.4),
          ackLines: random.chance(0.5),
        }),
      );
    }
    this.checker.tail = this.#nodes[count - 1];
    for (let index = 0; index <= random.int(3); index++) {
      const entry = random.chance(0.8) ? 0 : random.int(count);
      const targets = random.chance(0.3) ? [entry, random.int(count)] : [entry];
      this.#senders.push(
        new SimulatedSender(this, index, [...new Set(targets)]),
      );
    }
    for (let index = 0; index < random.int(4); index++) {
      this.#typers.push(new SimulatedTyper(this, index, random.int(count)));
    }
  }

  run(): void {
    const { world, random, checker } = this;
    for (const node of this.#nodes) {
      world.schedule(random.int(2_000), () => node.restart());
    }
    for (const sender of this.#senders) {
      sender.machine.later(random.int(2_000), () => sender.start());
    }
    for (const typer of this.#typers) typer.start();
    const faultEveryMs = 100 + random.int(3_000);
    const next = () => {
      if (world.nowMs >= FAULTS_UNTIL_MS) return;
      this.#fault();
      world.schedule(random.int(faultEveryMs * 2), next);
    };
    if (random.chance(0.9)) world.schedule(random.int(faultEveryMs), next);
    const failed = () => checker.failures.length > 0;
    world.run(FAULTS_UNTIL_MS, failed);
    for (const node of this.#nodes) {
      if (node.machine.isFrozen) node.machine.thaw();
      node.restart();
    }
    this.#healAll();
    world.run(CALM_UNTIL_MS, () => failed() || this.#isQuiet());
    for (const node of this.#nodes) {
      world.note(() => `${node.machine.name} ${node.core.describe()}`);
    }
    if (failed()) return;
    for (const sender of this.#senders) {
      if (!sender.isDone) checker.fail(`not live: ${sender.core.describe()}`);
    }
    checker.checkEnd();
  }

  dialNode(
    from: SimulatedNode,
    target: number,
    dial: Dial,
  ): void {
    this.#dialLater(from.machine, dial, (node) => {
      const links = this.network.connect(
        { machine: from.machine, sink: (input) => from.input(input) },
        { machine: node.machine, sink: (input) => node.input(input) },
      );
      node.machine.later(0, () =>
        node.input({
          kind: "accepted",
          link: links[1],
          from: "node",
          label: from.machine.name,
          client: undefined,
          bytes: new Uint8Array(0),
        }));
      from.machine.later(0, () =>
        from.input({
          kind: "connected",
          link: links[0],
          target,
          bytes: new Uint8Array(0),
        }));
    }, () => from.input({ kind: "unreachable", target, error: REFUSED }));
  }

  dialSender(
    from: SimulatedSender,
    dial: Dial,
  ): void {
    this.#dialLater(from.machine, dial, (node) => {
      const links = this.network.connect(
        { machine: from.machine, sink: (input) => from.input(input) },
        { machine: node.machine, sink: (input) => node.input(input) },
      );
      node.machine.later(0, () =>
        node.input({
          kind: "accepted",
          link: links[1],
          from: "client",
          label: from.machine.name,
          client: from.client,
          bytes: new Uint8Array(0),
        }));
      from.machine.later(0, () =>
        from.input({
          kind: "connected",
          link: links[0],
          bytes: new Uint8Array(0),
        }));
    }, () => from.input({ kind: "unreachable", error: REFUSED }));
  }

  connectTyper(typer: SimulatedTyper): LinkId | undefined {
    const node = this.#nodes[typer.target];
    if (!node.machine.isUp || node.machine.isFrozen) return undefined;
    const links = this.network.connect(
      { machine: typer.machine, sink: (input) => typer.input(input) },
      { machine: node.machine, sink: (input) => node.input(input) },
    );
    node.machine.later(0, () =>
      node.input({
        kind: "accepted",
        link: links[1],
        from: "lines",
        label: typer.machine.name,
        client: typer.client,
        bytes: new Uint8Array(0),
      }));
    return links[0];
  }

  /** The worst moment for a crash is just after a promise. */
  crashAfterPromise(index: number): void {
    const node = this.#nodes[index];
    if (this.world.nowMs > FAULTS_UNTIL_MS || !this.random.chance(0.3)) return;
    if (!node.machine.isUp || (node.isTail && !node.spool)) return;
    this.faults += 1;
    node.crash();
    this.world.schedule(this.random.int(4_000), () => node.restart());
  }

  /** Each node knows the next one, and sometimes one further on. */
  #targetsOf(index: number, count: number): number[] {
    if (index === count - 1) return [];
    const targets = [index + 1];
    if (index + 2 < count && this.random.chance(0.5)) targets.push(index + 2);
    return targets;
  }

  #dialLater(
    machine: Machine,
    dial: Dial,
    connect: (node: SimulatedNode) => void,
    fail: () => void,
  ): void {
    const waitMs = dial.attempt === 0
      ? 0
      : this.random.int(Math.min(DIAL_WAIT_MS_MAX, 20 * 2 ** dial.attempt));
    machine.later(waitMs + this.random.int(5), () => {
      const node = this.#nodes[dial.to];
      const isThere = node.machine.isUp && !node.machine.isFrozen &&
        this.network.reaches(machine, node.machine);
      if (isThere) connect(node);
      else fail();
    });
  }

  #fault(): void {
    const { random, network } = this;
    this.faults += 1;
    const node = random.pick(this.#nodes);
    const sender = random.pick(this.#senders);
    const other = random.chance(0.3) ? sender : random.pick(this.#nodes);
    switch (random.int(5)) {
      case 0:
        // A tail that keeps nothing may repeat after its own crash.
        if (node.isTail && !node.spool) return;
        node.crash();
        this.world.schedule(random.int(4_000), () => node.restart());
        return;
      case 1:
        if (other.machine !== node.machine) {
          network.cut(node.machine, other.machine);
        }
        return;
      case 2:
      case 3:
        if (other.machine === node.machine) return;
        network.silence(node.machine, other.machine);
        this.world.schedule(
          random.int(8_000),
          () => network.heal(node.machine, other.machine),
        );
        return;
      case 4:
        if (!node.machine.isUp || node.machine.isFrozen) return;
        node.machine.freeze();
        network.suspectFrozen(node.machine);
        this.world.schedule(random.int(8_000), () => {
          if (node.machine.isFrozen) node.machine.thaw();
        });
        return;
    }
  }

  #healAll(): void {
    const machines = [...this.#nodes, ...this.#senders].map((x) => x.machine);
    for (const a of machines) {
      for (const b of machines) if (a !== b) this.network.heal(a, b);
    }
  }

  #isQuiet(): boolean {
    return this.#senders.every((sender) => sender.isDone) &&
      this.checker.isComplete;
  }
}

const REFUSED = { code: "link-lost", text: "connection refused" } as const;
