/** Whole meshes in simulated time, from one seed, with everything that can break. */

import type { ToClient, Topology } from "../../protocol/mesh.ts";
import { TOPOLOGIES } from "../../protocol/mesh.ts";
import { DEFAULT_RECENT } from "../../nodes/mesh/contract.ts";
import { LACK_WAIT_MS } from "../../nodes/mesh/repairs.ts";
import { MeshChecker } from "./mesh_checker.ts";
import { MeshLinks } from "./mesh_links.ts";
import { type MeshSurroundings, SimulatedMeshServer } from "./mesh_server.ts";
import { Random } from "./random.ts";
import type { SimulationRun } from "./simulations.ts";
import { World } from "./world.ts";

const FAULTS_UNTIL_MS = 20_000;
/** Within this all is whole again: silence, dialling, beats, questions. */
const HEALED_MS = 10_000;
/** Within this what was said then has reached everybody. */
const SAID_MS = 3_000;
/** Within this all have given up what nobody has kept. */
const LACKED_MS = LACK_WAIT_MS + SAID_MS;

const NAMES = ["Dana", "Ahmad", "Lina", "Omar", "Sami", "Noor"];
const ROOMS = ["tea", "work"];

/** Runs one mesh from one seed. */
export function runMesh(
  seed: number,
  options: { transcript: boolean } = { transcript: false },
): SimulationRun {
  const world = new World(new Random(seed), options);
  const mesh = new SimulatedMesh(world);
  try {
    mesh.run();
  } catch (error) {
    mesh.checker.fail(
      `a core threw: ${error instanceof Error ? error.stack : error}`,
    );
  }
  return {
    ...{ seed, steps: world.steps, messages: mesh.checker.messages },
    ...{ faults: mesh.faults, failures: mesh.checker.failures },
    transcript: world.transcript,
  };
}

class SimulatedMesh implements MeshSurroundings {
  readonly world: World;
  readonly random: Random;
  readonly links: MeshLinks;
  readonly checker: MeshChecker;
  readonly servers: SimulatedMeshServer[] = [];
  readonly options: MeshSurroundings["options"];
  readonly #dropChance: number;
  readonly #sayEveryMs: number;
  /** Whether a trace may take longer than is waited for it. */
  readonly #isFar: boolean;
  /** Whether a link is wanting even in the end. */
  #isApart = false;
  faults = 0;

  constructor(world: World) {
    this.world = world;
    const { random } = world;
    this.random = random;
    this.checker = new MeshChecker(world);
    const delayMsMax = 1 + random.int(random.chance(0.2) ? 400 : 20);
    this.#isFar = delayMsMax > 20;
    this.links = new MeshLinks(world, {
      delayMsMax,
      isEncoded: random.chance(0.1),
    });
    const isSmall = random.chance(0.3);
    this.checker.mayMiss = isSmall;
    this.options = {
      cluster: "skein",
      clientsMax: 8,
      recent: isSmall
        ? {
          eventsMax: 1 + random.int(20),
          bytesMax: random.chance(0.3) ? 2_000 : 1_000_000,
          ageMsMax: random.chance(0.3) ? 1_000 : 600_000,
        }
        : DEFAULT_RECENT,
    };
    this.#dropChance = random.chance(0.4) ? random.next() * 0.4 : 0;
    this.#sayEveryMs = 5 + random.int(300);
    const topology = random.pick(TOPOLOGIES);
    const count = 2 + random.int(random.chance(0.3) ? 8 : 4);
    for (let index = 0; index < count; index++) {
      this.servers.push(
        new SimulatedMeshServer(this, {
          name: "ABCDEFGHI"[index],
          topology: random.chance(0.9) ? topology : random.pick(TOPOLOGIES),
          offsetMs: random.chance(0.5) ? 0 : random.int(20_000) - 10_000,
        }),
      );
    }
  }

  run(): void {
    const { world, random, checker } = this;
    for (const server of this.servers) {
      world.schedule(random.int(2_000), () => server.start());
    }
    this.links.dropChance = this.#dropChance;
    const faultEveryMs = 100 + random.int(3_000);
    this.#repeat(this.#sayEveryMs, FAULTS_UNTIL_MS, () => this.#act());
    if (random.chance(0.9)) {
      this.#repeat(faultEveryMs, FAULTS_UNTIL_MS, () => this.#fault());
    }
    const failed = () => checker.failures.length > 0;
    world.run(FAULTS_UNTIL_MS, failed);
    if (failed()) return;
    this.#healAll();
    world.run(world.nowMs + HEALED_MS, failed);
    if (!failed()) this.#checkWhole(failed);
    for (const server of this.servers) {
      world.note(() => `${server.name} ${server.core?.describe()}`);
    }
  }

  #repeat(everyMs: number, untilMs: number, act: () => void): void {
    const next = () => {
      if (this.world.nowMs >= untilMs) return;
      act();
      this.world.schedule(this.random.next() * everyMs * 2, next);
    };
    this.world.schedule(this.random.next() * everyMs, next);
  }

  // What clients do

  #act(): void {
    const { random, checker } = this;
    const server = random.pick(this.servers);
    if (!server.isAwake) return;
    const clients = [...checker.clientsOf(server)];
    if (clients.length === 0 || random.chance(0.05)) {
      const name = random.pick(NAMES);
      const client = server.newClient();
      checker.clientsOf(server).set(client, {
        name: undefined,
        rooms: new Set(),
      });
      return this.#login(server, client, { name, more: random.chance(0.5) });
    }
    const [client] = random.pick(clients);
    const dice = random.int(100);
    const room = random.pick(ROOMS);
    const text = checker.newText();
    if (dice < 55) {
      return server.ask(client, { kind: "say", text, isLocal: false });
    }
    if (dice < 70) {
      return server.ask(client, { kind: "say", text, room, isLocal: false });
    }
    if (dice < 73) {
      return server.ask(client, { kind: "say", text, isLocal: true });
    }
    if (dice < 80) {
      return server.ask(client, { kind: "dm", to: random.pick(NAMES), text });
    }
    if (dice < 86) return server.ask(client, { kind: "join", room });
    if (dice < 89) return server.ask(client, { kind: "leave", room });
    if (dice < 91) return server.ask(client, { kind: "trace" });
    if (dice < 93) return server.ask(client, { kind: "who" });
    if (dice < 94) return server.ask(client, { kind: "rooms" });
    if (dice < 96) return this.#clientGoes(server, client);
    if (dice < 97) {
      return server.ask(client, {
        ...{ kind: "topology", topology: random.pick(TOPOLOGIES) },
      });
    }
    if (dice < 98) {
      return server.ask(client, {
        ...{ kind: "drain", isUndone: random.chance(0.6) },
      });
    }
    return server.ask(client, { kind: "login", name: "Rami", more: true });
  }

  /** A name that is taken is that of somebody who is present. */
  #login(
    server: SimulatedMeshServer,
    client: number,
    as: { name: string; more: boolean },
  ): void {
    let isTaken = false;
    server.onTold = (message) => {
      isTaken ||= message.type === "error" && message.code === "name-taken";
    };
    server.ask(client, { kind: "login", ...as });
    server.onTold = undefined;
    if (!isTaken) return;
    for (const [asker, { name }] of this.checker.clientsOf(server)) {
      if (name === undefined) continue;
      const present = this.#whoIs(server, asker);
      if (present.includes(as.name)) return;
      return this.checker.fail(
        `${server.name} refuses ${as.name}, present are ${present}`,
      );
    }
  }

  #clientGoes(server: SimulatedMeshServer, client: number): void {
    if (this.random.chance(0.5)) {
      return server.ask(client, { kind: "quit" });
    }
    this.checker.clientGone(server, client);
    server.input({ kind: "client-gone", client, timeMs: server.timeMs });
  }

  // What breaks

  #fault(): void {
    const { random, links, world } = this;
    this.faults += 1;
    const server = random.pick(this.servers);
    const other = random.pick(this.servers);
    const dice = random.int(8);
    if (dice === 0) {
      server.crash();
      world.schedule(random.int(4_000), () => this.#restart(server));
    } else if (dice === 1 && server !== other) links.cut(server, other);
    else if (dice <= 3 && server !== other) {
      links.silence(server, other);
      world.schedule(random.int(8_000), () => links.heal(server, other));
    } else if (dice <= 5) this.#partition();
    else if (dice === 6) {
      if (!server.isAwake) return;
      server.machine.freeze();
      links.froze(server);
      world.schedule(random.int(5_000), () => {
        if (server.machine.isFrozen) server.machine.thaw();
      });
    } else this.links.dropChance = random.chance(0.5) ? 0 : this.#dropChance;
  }

  /** Two sides that do not hear each other. */
  #partition(): void {
    const { random, links, world } = this;
    const side = new Set(this.servers.filter(() => random.chance(0.5)));
    const cut = this.servers.flatMap((a) =>
      this.servers.filter((b) => side.has(a) && !side.has(b))
        .map((b) => [a, b] as const)
    );
    for (const [a, b] of cut) links.silence(a, b);
    world.schedule(2_000 + random.int(6_000), () => {
      for (const [a, b] of cut) links.heal(a, b);
    });
  }

  /** A clock may have been set back meanwhile. */
  #restart(server: SimulatedMeshServer): void {
    if (this.random.chance(0.3)) server.offsetMs -= this.random.int(10_000);
    server.start();
  }

  #healAll(): void {
    this.links.dropChance = 0;
    for (const server of this.servers) {
      if (server.machine.isFrozen) server.machine.thaw();
      this.#restart(server);
      for (const other of this.servers) this.links.heal(server, other);
    }
    // Two may never hear each other again, where others are between them.
    if (this.servers.length < 3 || this.random.chance(0.7)) return;
    this.#isApart = true;
    const first = this.random.int(this.servers.length);
    const second = (first + 1) % this.servers.length;
    this.links.silence(this.servers[first], this.servers[second]);
  }

  // What must hold in the end

  #checkWhole(failed: () => boolean): void {
    const { world, checker, links, servers } = this;
    for (const server of servers) {
      server.ask(server.newClient(), { kind: "drain", isUndone: true });
    }
    world.run(world.nowMs + SAID_MS, failed);
    const { missed } = checker;
    const probes = servers.map((server, index) => this.#probe(server, index));
    world.run(world.nowMs + SAID_MS, failed);
    const asked = servers.map((server, index) => ({
      server,
      who: this.#whoIs(server, probes[index].client),
      inRooms: ROOMS.map((room) =>
        this.#whoIs(server, probes[index].client, room)
      ),
      trace: this.#answerLater(server, probes[index].client),
    }));
    world.run(world.nowMs + (checker.mayMiss ? LACKED_MS : SAID_MS), failed);
    const sent = links.sent;
    world.run(world.nowMs + SAID_MS, failed);
    if (failed()) return;
    if (links.sent !== sent) {
      checker.fail(`${links.sent - sent} messages in a quiet mesh`);
    }
    const names = servers.flatMap((server) => checker.names(server)).sort();
    for (const { server, who, inRooms, trace } of asked) {
      ROOMS.forEach((room, at) => {
        const wanted = servers.flatMap((other) => checker.names(other, room));
        if (inRooms[at].join() === wanted.sort().join()) return;
        checker.fail(
          `${server.name} knows ${inRooms[at]} in ${room}, wanted ${wanted}`,
        );
      });
      checker.checkAnswers(server);
      checker.checkArrived(server);
      this.#checkView(server, { who, trace: trace(), names });
      for (const { text } of probes) {
        if (checker.has(server, text)) continue;
        // A second is kept, and the way there takes longer: that was told.
        const isTold = checker.missed > missed;
        if (checker.mayMiss && this.#isFar && isTold) continue;
        checker.fail(`${server.name} has not got ${text}`);
      }
    }
    this.#checkStreams();
    if (new Set(names).size < names.length) {
      checker.fail(`names are not unique: ${names}`);
    }
  }

  /** Somebody logs in and says something. */
  #probe(server: SimulatedMeshServer, index: number) {
    const { checker } = this;
    // Its clients have filled it, maybe.
    for (const [client, { name }] of [...checker.clientsOf(server)].slice(6)) {
      if (name !== undefined) server.ask(client, { kind: "quit" });
    }
    const client = server.newClient();
    const text = checker.newText();
    server.ask(client, { kind: "login", name: `Probe${index}`, more: true });
    server.ask(client, { kind: "say", text, isLocal: false });
    return { client, text };
  }

  /** Names that a server tells, sorted. */
  #whoIs(
    server: SimulatedMeshServer,
    client: number,
    room?: string,
  ): string[] {
    let names: string[] = [];
    server.onTold = (message) => {
      if (message.type !== "who") return;
      names = message.users.map(({ name }) => name).sort();
    };
    server.ask(client, { kind: "who", room });
    server.onTold = undefined;
    return names;
  }

  /** A trace; its answer comes later. */
  #answerLater(
    server: SimulatedMeshServer,
    client: number,
  ): () => ToClient | undefined {
    let answer: ToClient | undefined;
    server.ask(client, { kind: "trace" });
    server.onTold = (message) => {
      if (message.type === "trace") answer = message;
    };
    return () => answer;
  }

  #checkView(
    server: SimulatedMeshServer,
    { who, trace, names }: {
      who: readonly string[];
      trace: ToClient | undefined;
      names: readonly string[];
    },
  ): void {
    const { checker } = this;
    if (who.join() !== names.join()) {
      checker.fail(`${server.name} knows ${who}, wanted ${names}`);
    }
    if (trace?.type !== "trace") {
      return checker.fail(`${server.name} has no trace`);
    }
    if (trace.missing.length > 0 && !this.#isFar) {
      checker.fail(`${server.name} traced all but ${trace.missing}`);
    }
    // Over a slow way a repair may be there first.
    if (this.#isFar || this.#isApart) return;
    const ids = this.servers.map(({ name }) => name).sort();
    for (const { path } of trace.reports) {
      for (let at = 1; at < path.length; at++) {
        if (isEdge(trace.topology, ids, [path[at - 1], path[at]])) continue;
        checker.fail(`${trace.topology}: ${path.join(" -> ")}`);
      }
    }
  }

  /** All have got as far, and agree on the topology. */
  #checkStreams(): void {
    const views = this.servers.map(({ core }) =>
      core === undefined
        ? ""
        : `${core.status.topology} ${
          core.streams.map(({ id, generation, isUp, isMet, n, users }) =>
            `${id}.${generation}.${isUp}.${isMet}.${n}.${users}`
          ).join(" ")
        } ${core.status.servers.map(({ id, clients }) => `${id}${clients}`)}`
    );
    for (const view of views) {
      if (view !== views[0]) {
        return this.checker.fail(`Not the same: ${views.join(" | ")}`);
      }
    }
    const { recent } = this.options;
    for (const { core, name } of this.servers) {
      for (const stream of core?.streams ?? []) {
        if (stream.recent <= recent.eventsMax && stream.early === 0) continue;
        this.checker.fail(`${name} keeps ${JSON.stringify(stream)}`);
      }
    }
  }
}

function isEdge(
  topology: Topology,
  ids: readonly string[],
  [a, b]: readonly [string, string],
): boolean {
  const distance = Math.abs(ids.indexOf(a) - ids.indexOf(b));
  switch (topology) {
    case "mesh":
      return true;
    case "star":
      return a === ids[0] || b === ids[0];
    case "bus":
      return distance === 1;
    case "ring":
      return distance === 1 || distance === ids.length - 1;
  }
}
