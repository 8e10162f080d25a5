/** The processes of a simulated chain: nodes, senders, and people with `nc`. */

import {
  SendCore,
  type SendEffect,
  type SendInput,
} from "../../clients/send_core.ts";
import type { ChainEffect, ChainInput } from "../../nodes/chain/contract.ts";
import { ChainCore } from "../../nodes/chain/core.ts";
import type { LinkId, LinkInput } from "../../protocol/core.ts";
import type { ClientId } from "../../protocol/ids.ts";
import type { ChainChecker } from "./chain_checker.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import { Machine, type World } from "./world.ts";

/** Until then things break; afterwards everything must come to its end. */
export const FAULTS_UNTIL_MS = 20_000;

/** An attempt to reach a node, by its index. */
export interface Dial {
  readonly to: number;
  readonly attempt: number;
}

/** What a process finds around it. */
export interface Surroundings {
  readonly world: World;
  readonly random: Random;
  readonly network: Network;
  readonly checker: ChainChecker;
  dialNode(from: SimulatedNode, target: number, dial: Dial): void;
  dialSender(from: SimulatedSender, dial: Dial): void;
  connectTyper(typer: SimulatedTyper): LinkId | undefined;
  crashAfterPromise(index: number): void;
}

/** What a node's disk keeps over a crash. */
interface Disk {
  /** Frames that were synced, and where they begin since the start. */
  frames: { position: number; readonly bytes: Uint8Array }[];
  clients: Map<ClientId, number>;
}

/** One node of the chain. */
export class SimulatedNode {
  readonly machine: Machine;
  readonly index: number;
  readonly #chain: Surroundings;
  readonly #targets: readonly number[];
  readonly spool: boolean;
  readonly ackLines: boolean;
  readonly #queueBytesMax: number;
  readonly #disk: Disk = { frames: [], clients: new Map() };
  /** How long a sync takes at most. */
  readonly #syncMsMax: number;
  #incarnation = 0;
  core: ChainCore;

  constructor(
    chain: Surroundings,
    index: number,
    options: { targets: readonly number[]; spool: boolean; ackLines: boolean },
  ) {
    this.#chain = chain;
    this.index = index;
    this.machine = new Machine(chain.world, `n${index}`);
    this.machine.isUp = false;
    this.#targets = options.targets;
    this.spool = options.spool;
    this.ackLines = options.ackLines;
    this.#queueBytesMax = 2_000 + chain.random.int(40_000);
    this.#syncMsMax = chain.random.chance(0.3) ? 3_000 : 5;
    this.core = this.#newCore();
  }

  get isTail(): boolean {
    return this.#targets.length === 0;
  }

  start(): void {
    const clients = [...this.#disk.clients];
    // Positions begin anew with each start.
    let position = 0;
    for (const entry of this.#disk.frames) {
      entry.position = position;
      position += entry.bytes.length;
    }
    const frames = this.#disk.frames.map(({ bytes }) => bytes);
    this.input({ kind: "start", frames, clients });
  }

  restart(): void {
    if (this.machine.isUp) return;
    this.machine.restart();
    this.core = this.#newCore();
    this.start();
  }

  crash(): void {
    if (!this.machine.isUp) return;
    this.machine.crash();
    this.#chain.network.crash(this.machine);
    this.#chain.checker.crashed(this);
  }

  input(input: ChainInput): void {
    const { world, checker } = this.#chain;
    const effects = this.core.step(input, world.nowMs);
    world.note(() => `${this.machine.name} ${summary(input)}`);
    for (const effect of effects) this.#act(effect);
    checker.checkNode(this, {
      queueBytesMax: this.#queueBytesMax,
      links: this.#chain.network.count(this.machine),
    });
  }

  #newCore(): ChainCore {
    this.#incarnation += 1;
    return new ChainCore({
      self: {
        id: `n${this.index}`,
        incarnation: (this.index * 1_000 + this.#incarnation).toString(16)
          .padStart(16, "0"),
      },
      targets: this.#targets.map((target) => `n${target}`),
      nextTimeoutMs: 500,
      queueBytesMax: this.#queueBytesMax,
      ackLines: this.ackLines,
      spool: this.spool,
      narrate: false,
    });
  }

  #act(effect: ChainEffect): void {
    const { network, world } = this.#chain;
    switch (effect.kind) {
      case "read":
        return network.read(effect.link, effect.into);
      case "write":
        return network.write(effect.link, effect.bytes);
      case "close":
        return network.close(effect.link);
      case "dial":
        return this.#chain.dialNode(this, effect.target, {
          to: this.#targets[effect.target],
          attempt: effect.attempt,
        });
      case "deliver":
        return this.#deliver(effect);
      case "spool":
        return this.#spoolFrames(effect.position, effect.frames);
      case "spool-trim":
        return this.#trim(effect.position);
      case "timer":
        return this.machine.later(
          effect.afterMs,
          () => this.input({ kind: "tick" }),
        );
      case "ack-timer":
        return this.machine.later(
          effect.afterMs,
          () => this.input({ kind: "ack-tick" }),
        );
      case "received":
      case "forwarded":
      case "drained":
        return;
      case "log":
        return world.note(() =>
          `${this.machine.name} log ${effect.message} ${
            JSON.stringify(effect.fields)
          }`
        );
    }
  }

  /** Standard output takes bytes one by one; with a spool all is undone or done. */
  #deliver(effect: ChainEffect & { kind: "deliver" }): void {
    const { checker, random } = this.#chain;
    if (!this.spool) {
      for (const bytes of effect.bytes) checker.put(this, bytes.slice());
    }
    this.machine.later(random.int(this.#syncMsMax), () => {
      if (this.spool) {
        if (this.#diskFails()) return;
        for (const bytes of effect.bytes) checker.put(this, bytes.slice());
        for (const [client, end] of effect.clients) {
          this.#disk.clients.set(client, end);
        }
      }
      checker.durable(this);
      this.machine.later(
        random.int(2),
        () => this.input({ kind: "delivered" }),
      );
    });
  }

  #spoolFrames(position: number, frames: readonly Uint8Array[]): void {
    const { random } = this.#chain;
    const copies = frames.map((bytes) => bytes.slice());
    this.machine.later(random.int(this.#syncMsMax), () => {
      if (this.#diskFails()) return;
      // One record: the frames of one spool effect are whole together.
      const joined = new Uint8Array(copies.reduce((n, b) => n + b.length, 0));
      let at = 0;
      for (const bytes of copies) {
        joined.set(bytes, at);
        at += bytes.length;
      }
      this.#disk.frames.push({ position, bytes: joined });
      this.input({ kind: "spooled" });
    });
  }

  /** A sync that fails ends the process, and what it was to keep is gone. */
  #diskFails(): boolean {
    const { random, world } = this.#chain;
    if (world.nowMs > FAULTS_UNTIL_MS || !random.chance(0.005)) return false;
    world.note(() => `${this.machine.name} sync failed`);
    this.crash();
    world.schedule(random.int(4_000), () => this.restart());
    return true;
  }

  /** Acknowledged records go; now and then the note of it is lost in a crash. */
  #trim(position: number): void {
    if (this.#chain.random.chance(0.3)) return;
    const { frames } = this.#disk;
    while (
      frames.length > 0 &&
      frames[0].position + frames[0].bytes.length <= position
    ) {
      frames.shift();
    }
  }
}

/** `skein send`, and its user who types whenever asked. */
export class SimulatedSender {
  readonly machine: Machine;
  readonly client: ClientId;
  readonly core: SendCore;
  readonly #chain: Surroundings;
  readonly #targets: readonly number[];
  #left: number;
  isDone = false;

  constructor(
    chain: Surroundings,
    index: number,
    targets: readonly number[],
  ) {
    this.#chain = chain;
    this.#targets = targets;
    this.client = BigInt(1_000 + index);
    this.machine = new Machine(chain.world, `c${index}`);
    this.#left = 20 + chain.random.int(200);
    this.core = new SendCore({
      client: this.client,
      targetCount: targets.length,
      queueBytesMax: 300_000,
    });
  }

  start(): void {
    this.input({ kind: "start" });
  }

  input(input: SendInput): void {
    const { world, checker } = this.#chain;
    const effects = this.core.step(input);
    world.note(() => `${this.machine.name} ${summary(input)}`);
    for (const effect of effects) this.#act(effect);
    checker.acknowledged(this.client, this.core.counts.delivered);
  }

  #act(effect: SendEffect): void {
    const { network } = this.#chain;
    switch (effect.kind) {
      case "read":
        return network.read(effect.link, effect.into);
      case "write":
        return network.write(effect.link, effect.bytes);
      case "close":
        return network.close(effect.link);
      case "dial":
        return this.#chain.dialSender(this, {
          to: this.#targets[effect.target],
          attempt: effect.attempt,
        });
      case "want-text":
        return this.machine.later(
          this.#chain.random.int(300),
          () => this.#type(),
        );
      case "done":
        this.isDone = true;
        if (effect.problem !== undefined) {
          this.#chain.checker.fail(`sender gave up: ${effect.problem.text}`);
        }
        return;
      case "progress":
      case "route":
      case "trouble":
        return;
    }
  }

  #type(): void {
    if (this.#left === 0) return this.input({ kind: "end" });
    const messages = Math.min(this.#left, 1 + this.#chain.random.int(12));
    this.#left -= messages;
    const text = this.#chain.checker.write(this.client, messages);
    this.input({ kind: "text", text, messages });
  }
}

/** `nc`: writes lines to one node, reads answers, and knows nothing more. */
export class SimulatedTyper {
  readonly machine: Machine;
  readonly client: ClientId;
  readonly #chain: Surroundings;
  readonly target: number;
  #link: LinkId | undefined;
  #left: number;
  #answers = "";
  readonly #into = new Uint8Array(512);

  constructor(chain: Surroundings, index: number, target: number) {
    this.#chain = chain;
    this.target = target;
    this.client = BigInt(2_000 + index);
    this.machine = new Machine(chain.world, `t${index}`);
    this.#left = 5 + chain.random.int(60);
  }

  start(): void {
    this.machine.later(this.#chain.random.int(3_000), () => {
      const link = this.#chain.connectTyper(this);
      if (link === undefined) return;
      this.#link = link;
      this.#chain.checker.connected(this.client, this.target);
      this.#chain.network.read(link, this.#into);
      this.#type();
    });
  }

  input(input: LinkInput): void {
    const { network, checker, random } = this.#chain;
    switch (input.kind) {
      case "written":
        if (this.#left === 0) network.closeWrite(input.link);
        else this.machine.later(random.int(200), () => this.#type());
        return;
      case "read":
        this.#answers += new TextDecoder().decode(
          this.#into.subarray(0, input.length),
        );
        for (const match of this.#answers.matchAll(/^ok (\d+)\n/gm)) {
          checker.acknowledged(this.client, Number(match[1]));
        }
        this.#answers = this.#answers.slice(
          this.#answers.lastIndexOf("\n") + 1,
        );
        return network.read(input.link, this.#into);
      case "ended":
        // A clean end before we stopped typing says nothing was lost so far.
        if (this.#left === 0) {
          checker.closed(this.client);
          this.#chain.crashAfterPromise(this.target);
        }
        network.close(input.link);
        this.#link = undefined;
        return;
      case "link-down":
        // TCP gives a prefix at failure, and plain text cannot be sent again.
        checker.broke(this.client);
        this.#link = undefined;
        return;
    }
  }

  #type(): void {
    if (this.#link === undefined || this.#left === 0) return;
    const messages = Math.min(this.#left, 1 + this.#chain.random.int(8));
    this.#left -= messages;
    const text = this.#chain.checker.write(this.client, messages);
    this.#chain.network.write(this.#link, text);
  }
}

function summary(input: object): string {
  return Object.entries(input).map(([key, value]: [string, unknown]) => {
    if (value instanceof Uint8Array) return `${key}=${value.length}B`;
    return typeof value === "object" ? `${key}=…` : `${key}=${value}`;
  }).join(" ");
}
