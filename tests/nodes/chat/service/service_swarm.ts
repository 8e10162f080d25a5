/** Chat services and clients under every fault of a log and of connections, from a seed. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ChatCore } from "../../../../clients/chat_core.ts";
import type {
  ChatEffect,
  ChatInput,
} from "../../../../clients/chat_contract.ts";
import type {
  ClientSide,
  ClientTransport,
} from "../../../../nodes/chat/service/client.ts";
import { formatAddress } from "../../../../protocol/address.ts";
import type { ChatAnswer } from "../../../../protocol/chat.ts";
import { readAnswer } from "../../../../protocol/chat_answers.ts";
import type { NodeStatus } from "../../../../protocol/status.ts";
import { Random } from "../../../sim/random.ts";
import {
  MemoryNode,
  MemoryWorld,
  PASSWORD,
  unwritable,
  writable,
} from "./service_fixture.ts";

const STEPS = 250;
const SERVERS = 3;

/** Where clients reach each server. */
const ADDRESSES = Array.from({ length: SERVERS }, (_, at) => ({
  host: `s${at}`,
  port: 8091,
}));

/** A connection whose bytes take their time, in both directions. */
class Wire implements ClientTransport {
  readonly label = "wire";
  readonly isLocal = true;
  readonly side: ClientSide;
  toServer = "";
  toClient = "";
  isBroken = false;
  /** The server has closed: what is on its way still comes. */
  isClosing = false;
  mayWrite = true;

  constructor(node: MemoryNode) {
    this.side = node.service.connect(this);
  }

  get queuedBytes(): number {
    return this.toClient.length;
  }
  write(lines: string): void {
    this.toClient += lines;
  }
  readOn(): void {
    this.mayWrite = true;
  }
  close(lastWord = ""): void {
    this.toClient += lastWord;
    this.isClosing = true;
  }
  cutOff(lastWord: string): void {
    this.toClient = "";
    this.close(lastWord);
  }
  check() {
    return undefined;
  }

  /** The connection is gone, with what was on its way. */
  break(): void {
    if (this.isBroken) return;
    this.isBroken = true;
    this.side.closed();
  }
}

/** `skein chat` without a terminal. */
class SwarmClient {
  readonly name: string;
  readonly core: ChatCore;
  readonly sent: string[] = [];
  readonly acknowledged: string[] = [];
  readonly shown: number[] = [];
  readonly troubles: string[] = [];
  wire: Wire | undefined;
  readonly #world: MemoryWorld;
  #told = 0;
  #wakes: number[] = [];
  #dial: { target: number; atMs: number } | undefined;

  constructor(world: MemoryWorld, name: string) {
    this.#world = world;
    this.name = name;
    // It is told of the other servers by the one that it reaches.
    const targets = ADDRESSES.slice(0, 1);
    this.core = new ChatCore({ targets, shows: true });
    const credentials = { user: name, password: PASSWORD, isNew: true };
    this.step({ kind: "login", credentials });
  }

  step(input: ChatInput): void {
    for (const effect of this.core.step(input, this.#world.nowMs)) {
      this.#act(effect);
    }
  }

  say(to: string): void {
    const text = `${this.name} ${this.sent.length}`;
    this.sent.push(text);
    const command = { kind: "send", to, text, line: this.sent.length } as const;
    this.step({ kind: "command", command });
  }

  /** Time has passed. */
  wake(): void {
    const { nowMs } = this.#world;
    const due = this.#wakes.filter((atMs) => atMs <= nowMs);
    this.#wakes = this.#wakes.filter((atMs) => atMs > nowMs);
    if (due.length > 0) this.step({ kind: "wake" });
    const dial = this.#dial;
    if (dial === undefined || dial.atMs > nowMs) return;
    this.#dial = undefined;
    this.wire = new Wire(this.#world.nodes[dial.target]);
    this.step({ kind: "connected" });
  }

  /** Moves bytes, some or all. */
  move(random: Random): void {
    const { wire } = this;
    if (wire === undefined) return;
    const part = (text: string) =>
      random.chance(0.7) ? text.length : random.int(text.length + 1);
    if (wire.mayWrite && !wire.isClosing) {
      const end = wire.toServer.lastIndexOf("\n", part(wire.toServer)) + 1;
      const lines = wire.toServer.slice(0, end);
      wire.toServer = wire.toServer.slice(end);
      if (lines !== "") wire.mayWrite = wire.side.take(lines);
    }
    const count = part(wire.toClient);
    const end = wire.toClient.lastIndexOf("\n", count) + 1;
    const lines = wire.toClient.slice(0, end);
    wire.toClient = wire.toClient.slice(end);
    for (const line of lines.split("\n").slice(0, -1)) {
      const answer = readAnswer(line);
      if (answer === undefined || this.wire !== wire) continue;
      this.#check(answer);
      this.step({ kind: "answer", answer });
    }
    if (wire.toClient === "" && !wire.isBroken) wire.side.drained();
    if (wire.isClosing && wire.toClient === "") this.lose();
  }

  /** No answer is older than what the client was told before, by any server. */
  #check(answer: ChatAnswer): void {
    if (answer.type === "message") this.#told = Math.max(this.#told, answer.n);
    if (answer.type !== "ok") return;
    const { n, index } = answer.fields;
    if (typeof n === "number") this.#told = Math.max(this.#told, n);
    if (typeof index !== "number") return;
    if (index < this.#told) this.troubles.push(`${index} < ${this.#told}`);
    this.#told = index;
  }

  /** The connection breaks. */
  lose(): void {
    const { wire } = this;
    this.wire = undefined;
    wire?.break();
    if (wire === undefined) return;
    const problem = { code: "link-lost", text: "broken" } as const;
    this.step({ kind: "link-down", problem });
  }

  #act(effect: ChatEffect): void {
    const { nowMs } = this.#world;
    switch (effect.kind) {
      case "dial":
        this.#dial = {
          target: ADDRESSES.findIndex(({ host }) =>
            host === effect.address.host
          ),
          atMs: nowMs + effect.attempt * 20,
        };
        return;
      case "write":
        if (this.wire !== undefined) this.wire.toServer += effect.lines;
        return;
      case "close": {
        const { wire } = this;
        this.wire = undefined;
        return wire?.break();
      }
      case "wake":
        this.#wakes.push(nowMs + effect.afterMs);
        return;
      case "show":
        this.shown.push(effect.message.n);
        return;
      case "result": {
        const { command, result } = effect;
        if (command.kind !== "send") return;
        if (result.kind === "ok") this.acknowledged.push(command.text);
        else this.troubles.push(`${command.text}: ${JSON.stringify(result)}`);
        return;
      }
      case "refused":
      case "done":
        this.troubles.push(JSON.stringify(effect));
        return;
      case "ready":
      case "listed":
      case "list-failed":
      case "trouble":
      case "view":
      case "want-input":
        return;
    }
  }
}

/** Commits some of what is proposed at a server: late, twice, in another order, or never. */
function commitSome(node: MemoryNode, random: Random): void {
  const proposed = node.proposed.splice(0);
  const commands: Uint8Array[] = [];
  for (const command of proposed) {
    const dice = random.int(20);
    if (dice === 0) continue;
    if (dice === 1) commands.push(command);
    if (dice === 2) node.proposed.push(command);
    else commands.push(command);
  }
  if (commands.length > 1 && random.chance(0.05)) {
    const [first] = commands.splice(random.int(commands.length), 1);
    commands.push(first);
  }
  node.commit(commands);
}

/**
 * Runs three servers and three clients through faults, then lets all be well.
 *
 * @throws {Error} A message was lost, done twice, shown twice or never shown.
 */
export async function runSwarm(seed: number): Promise<void> {
  const random = new Random(seed);
  const world = new MemoryWorld({ nodes: SERVERS });
  for (const [at, node] of world.nodes.entries()) {
    node.isHolding = true;
    node.shown = { node: `s${at}`, peers: peersOf(at) };
  }
  const clients = ["ann", "bob", "eve"].map((name) =>
    new SwarmClient(world, name)
  );
  const pass = async () => {
    world.nowMs += 50;
    for (const node of world.nodes) node.service.tick();
    for (const client of clients) client.wake();
    await world.settle();
  };
  const quietly = async (steps: number) => {
    for (let step = 0; step < steps; step++) {
      for (const node of world.nodes) node.commit();
      for (const client of clients) client.move(random);
      await pass();
    }
  };
  // Whom one writes to must have an account.
  await quietly(20);
  assert(clients.every(({ core }) => core.isReady));
  for (let step = 0; step < STEPS; step++) {
    const node = random.pick(world.nodes);
    const client = random.pick(clients);
    switch (random.int(12)) {
      case 0:
        node.isBehind = !node.isBehind;
        node.deliver();
        break;
      case 1:
        if (random.chance(0.3)) client.lose();
        break;
      case 2:
        node.change(random.chance(0.7) ? writable() : unwritable("others"));
        break;
      case 3:
        // A crash: what it has proposed may still be on its way to the others.
        if (random.chance(0.8)) break;
        for (const one of clients) {
          if (one.wire !== undefined && random.chance(0.4)) one.lose();
        }
        break;
      case 4:
        node.isReadable = random.chance(0.8);
        break;
      case 5:
      case 6:
        client.say(random.pick(clients).name);
        break;
      default:
        commitSome(node, random);
    }
    for (const one of clients) one.move(random);
    await pass();
  }
  // All is well again: everything must come to its end.
  for (const node of world.nodes) {
    node.isBehind = false;
    node.isReadable = true;
    node.change(writable());
    node.deliver();
  }
  await quietly(600);
  check(world, clients);
}

/** The other servers, as one of them tells of them. */
function peersOf(at: number): NodeStatus["peers"] {
  return ADDRESSES.map((address, index) => ({
    id: `s${index}`,
    kind: "server" as const,
    role: "member" as const,
    clientAddress: formatAddress(address),
    isLinked: true,
  })).filter((_, index) => index !== at);
}

function check(world: MemoryWorld, clients: readonly SwarmClient[]): void {
  const [{ state }] = world.nodes;
  const stored = new Map<string, number[]>();
  for (const client of clients) {
    const user = state.users.byName(client.name);
    assert(user !== undefined, `${client.name} has no account`);
    const all = state.list(user.id, { after: 0, limit: 10_000 }).messages;
    assertEquals(client.shown, all.map(({ id }) => id), client.core.describe());
    for (const { text, id } of all) {
      stored.set(text, [...stored.get(text) ?? [], id]);
    }
  }
  for (const client of clients) {
    assertEquals(client.troubles, []);
    assertStringIncludes(client.core.describe(), `targets ${SERVERS} `);
    // Repetitions are answered as they come, not in order.
    assertEquals(client.acknowledged.toSorted(), client.sent.toSorted());
    const ids = client.sent.flatMap((text) => stored.get(text) ?? []);
    assertEquals(ids.length, client.sent.length, "each is there once");
    assertEquals(ids, ids.toSorted((a, b) => a - b), "in order");
  }
  for (const node of world.nodes) {
    assertEquals(node.state.core.hash, state.core.hash);
    assertEquals(node.service.openCount, 0);
  }
}
