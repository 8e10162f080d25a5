/**
 * One simulated machine with a mesh server on it: keeps the promises of
 * `nodes/mesh/contract.ts` to the production core, and no others.
 */

import type { LinkId } from "../../protocol/core.ts";
import type { ToClient } from "../../protocol/mesh.ts";
import type { PeerMessage } from "../../protocol/mesh_peer.ts";
import {
  type ClientAsk,
  type ClientNumber,
  DEFAULT_MESH_TIMING,
  type MeshEffect,
  type MeshInput,
  type MeshOptions,
} from "../../nodes/mesh/contract.ts";
import { MeshCore } from "../../nodes/mesh/core.ts";
import type { MeshChecker } from "./mesh_checker.ts";
import type { MeshEnd, MeshLinks, MeshSide } from "./mesh_links.ts";
import { Machine, type World } from "./world.ts";

/** Steps at one moment: more than these, and the core asks to be woken without end. */
const TICKS_AT_ONCE_MAX = 50;

/** When the simulated world begins, in ms since 1970. */
const EPOCH_MS = 1_700_000_000_000;

const DIAL_EVERY_MS = 200;

/** What is around a server. */
export interface MeshSurroundings {
  readonly world: World;
  readonly links: MeshLinks;
  readonly checker: MeshChecker;
  readonly servers: readonly SimulatedMeshServer[];
  readonly options: Pick<MeshOptions, "cluster" | "recent" | "clientsMax">;
}

export class SimulatedMeshServer implements MeshEnd {
  readonly name: string;
  readonly machine: Machine;
  core: MeshCore | undefined;
  /** Grows with each start. */
  life = 0;
  /** Its clock is ahead of the world's by so much. */
  offsetMs: number;
  /** As it was last started with. */
  topology: MeshOptions["topology"];
  /** Hears what clients are told. */
  onTold: ((message: ToClient) => void) | undefined;
  readonly #around: MeshSurroundings;
  readonly #sides = new Map<LinkId, MeshSide>();
  #generation = 0;
  #timer = 0;
  #tickedMs = -1;
  #ticks = 0;
  #nextClient = 1;

  constructor(
    around: MeshSurroundings,
    of: { name: string; topology: MeshOptions["topology"]; offsetMs: number },
  ) {
    this.name = of.name;
    this.topology = of.topology;
    this.offsetMs = of.offsetMs;
    this.#around = around;
    this.machine = new Machine(around.world, of.name);
    this.machine.isUp = false;
  }

  get isAwake(): boolean {
    return this.machine.isUp && !this.machine.isFrozen;
  }

  get timeMs(): number {
    return Math.floor(EPOCH_MS + this.#around.world.nowMs + this.offsetMs);
  }

  start(): void {
    if (this.machine.isUp) return;
    this.machine.restart();
    const { options, checker, world } = this.#around;
    this.life += 1;
    // A clock that was set back to the very millisecond would be too much.
    this.#generation = this.timeMs === this.#generation
      ? this.timeMs + 1
      : this.timeMs;
    this.core = new MeshCore({
      ...options,
      ...{ id: this.name, topology: this.topology },
      ...{ timing: DEFAULT_MESH_TIMING, generation: this.#generation },
      address: `${this.name}.example:5001`,
    });
    checker.started(this);
    this.input({ kind: "start", timeMs: this.timeMs });
    this.#dialOthers();
    world.note(() => `${this.name} generation ${this.#generation}`);
  }

  crash(): void {
    if (!this.machine.isUp) return;
    this.machine.crash();
    this.#sides.clear();
    this.#around.links.crashed(this);
    this.#around.checker.crashed(this);
    this.core = undefined;
  }

  newClient(): ClientNumber {
    return this.#nextClient++;
  }

  /** A client asks something, under an id of its own. */
  ask(client: ClientNumber, ask: ClientAsk): void {
    const id = this.#around.checker.asked(this, client, ask);
    this.input({ ...ask, client, id, timeMs: this.timeMs });
  }

  input(input: MeshInput): void {
    const { core, life } = this;
    if (core === undefined) throw new Error(`${this.name} is not there`);
    const effects = core.step(input, this.#around.world.nowMs);
    this.#around.checker.stepped(this, effects);
    for (const effect of effects) {
      this.#act(effect);
      if (life !== this.life) return;
    }
  }

  #act(effect: MeshEffect): void {
    const { links, checker, world } = this.#around;
    switch (effect.kind) {
      case "send": {
        const side = this.#sides.get(effect.link);
        if (side === undefined) {
          return checker.fail(`${this.name} sends over a link that is gone`);
        }
        return links.send(side, effect.message);
      }
      case "close": {
        const side = this.#sides.get(effect.link);
        if (side === undefined) {
          return checker.fail(`${this.name} closes a link that is gone`);
        }
        const { error } = effect;
        world.note(() => `${this.name} closes ${side.link} ${error ?? ""}`);
        // Nothing that these servers say is a mistake, but what one that was
        // started anew says before the old link was missed.
        if (error !== undefined && error.code !== "id-taken") {
          checker.fail(`${this.name} closes a link: ${error.message}`);
        }
        this.#sides.delete(effect.link);
        return links.close(side);
      }
      case "timer":
        return this.#setTimer(effect.afterMs);
      case "report":
        return world.note(() => `${this.name}: ${effect.text}`);
      case "tell":
        return this.onTold?.(effect.message);
      case "deliver":
      case "end-client":
      case "log":
        return;
    }
  }

  #setTimer(afterMs: number): void {
    const timer = ++this.#timer;
    this.machine.later(afterMs + this.#around.world.random.next(), () => {
      if (timer !== this.#timer) return;
      this.#countTicks();
      this.input({ kind: "tick", timeMs: this.timeMs });
    });
  }

  #countTicks(): void {
    const nowMs = Math.floor(this.#around.world.nowMs);
    this.#ticks = nowMs === this.#tickedMs ? this.#ticks + 1 : 0;
    this.#tickedMs = nowMs;
    if (this.#ticks > TICKS_AT_ONCE_MAX) {
      this.#around.checker.fail(`${this.name} wants to be woken without end`);
    }
  }

  // Links

  up(side: MeshSide): void {
    const peer = side.other?.end;
    if (!(peer instanceof SimulatedMeshServer)) return;
    this.#sides.set(side.link, side);
    this.#around.world.note(() =>
      `${this.name} link ${side.link} to ${peer.name} is up${
        side.isDialed ? ", dialled" : ""
      }`
    );
    this.input({
      ...{ kind: "link-up", link: side.link, peer: peer.name },
      // As the handshake showed it: the peer may have ended since.
      incarnation: `${peer.name}${side.other?.life}`,
      ...{ isDialed: side.isDialed, timeMs: this.timeMs },
    });
  }

  message(side: MeshSide, message: PeerMessage): void {
    const { link } = side;
    if (!this.#sides.has(link)) return;
    this.#around.world.note(() =>
      `${this.name} < ${side.other?.end.name} ${describe(message)}`
    );
    if (message.kind === "events") {
      this.#around.checker.arrives(this, message.events);
    }
    this.input({ kind: "peer", link, message, timeMs: this.timeMs });
  }

  down(side: MeshSide, reason: string): void {
    const { link } = side;
    if (!this.#sides.delete(link)) return;
    this.#around.world.note(() =>
      `${this.name} link to ${side.other?.end.name} down: ${reason}`
    );
    this.input({ kind: "link-down", link, reason, timeMs: this.timeMs });
  }

  #dialOthers(): void {
    const { world, servers, links } = this.#around;
    const { random } = world;
    for (const other of servers) {
      if (other === this || this.core?.isLinked(other.name) === true) continue;
      // Once in a while not: so one side or the other dials, or both.
      if (random.chance(0.3) || !other.isAwake) continue;
      if (!links.reaches(this, other)) continue;
      links.connect(this, other, [this.life, other.life]);
    }
    const waitMs = DIAL_EVERY_MS * (0.5 + random.next());
    this.machine.later(waitMs, () => this.#dialOthers());
  }
}

function describe(message: PeerMessage): string {
  switch (message.kind) {
    case "events":
      return message.events.map(({ via, event: { origin, n, body } }) =>
        `${origin.id}/${n} ${body.kind} via ${via.join(",")}`
      ).join("; ");
    case "beat":
      return `beat ${
        message.servers.map(({ id, version, neighbours }) =>
          `${id}v${version}[${neighbours.join("")}]`
        ).join(" ")
      } seen ${message.seen.map(({ id, n }) => `${id}${n}`).join(" ")} ${
        message.topology.topology + message.topology.version
      }`;
    case "presence":
      return `presence ${message.origin.id}/${message.n} ${message.users.length} users`;
    case "ask":
      return `ask ${message.origin.id} after ${message.after}`;
    case "hello":
      return `hello ${message.generation} known ${message.known}`;
  }
}
