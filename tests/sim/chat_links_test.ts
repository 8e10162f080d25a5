import { assert, assertEquals } from "@std/assert";
import type { ReplicaMessage } from "../../protocol/replica.ts";
import type { Peer } from "../../nodes/chat/replica/contract.ts";
import { type Endpoint, type LinkEnd, Links } from "./chat_links.ts";
import { Random } from "./random.ts";
import { Machine, World } from "./world.ts";

/** A process that keeps what it is told. */
class Listener implements Endpoint {
  readonly name: string;
  readonly machine: Machine;
  isPowered = true;
  readonly heard: string[] = [];
  end: LinkEnd | undefined;

  constructor(world: World, name: string) {
    this.name = name;
    this.machine = new Machine(world, name);
  }

  hello(): Peer {
    return {
      id: this.name,
      kind: "server",
      priority: 0,
      store: this.name.repeat(16),
      incarnation: this.name.repeat(16),
      group: undefined,
    };
  }

  up(end: LinkEnd, peer: Peer): void {
    this.end = end;
    this.heard.push(`up ${peer.id}`);
  }

  message(_end: LinkEnd, message: ReplicaMessage): void {
    this.heard.push("round" in message ? `${message.round}` : message.kind);
  }

  down(_end: LinkEnd, reason: string): void {
    this.heard.push(`down ${reason}`);
  }
}

function pair(seed: number) {
  const world = new World(new Random(seed), { transcript: false });
  const links = new Links(world, {
    delayMsMax: 50,
    slowChance: 0.5,
    silentMsMax: 1_000,
  });
  const a = new Listener(world, "a");
  const b = new Listener(world, "b");
  return { world, links, a, b };
}

function connected(seed: number) {
  const found = pair(seed);
  found.links.dial(found.a, found.b);
  found.world.run(500);
  assertEquals([...found.a.heard, ...found.b.heard], ["up b", "up a"]);
  return found;
}

function say(links: Links, from: Listener, rounds: readonly number[]): void {
  assert(from.end !== undefined);
  for (const round of rounds) links.send(from.end, { kind: "pre-vote", round });
}

Deno.test("simulated links: messages keep their order, both ways", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { world, links, a, b } = connected(seed);
    say(links, a, [1, 2, 3, 4]);
    say(links, b, [5, 6, 7]);
    world.run(1_000);
    assertEquals(b.heard.slice(1), ["1", "2", "3", "4"]);
    assertEquals(a.heard.slice(1), ["5", "6", "7"]);
  }
});

Deno.test("simulated links: a crash leaves a first part, and then the end", () => {
  const lengths = new Set<number>();
  for (let seed = 1; seed <= 200; seed++) {
    const { world, links, a, b } = connected(seed);
    say(links, a, [1, 2, 3]);
    a.machine.crash();
    links.crashed(a);
    world.run(2_000);
    const heard = b.heard.slice(1);
    assertEquals(heard.pop(), "down reset");
    assertEquals(heard, ["1", "2", "3"].slice(0, heard.length));
    lengths.add(heard.length);
    assertEquals(links.dial(b, a), "refused");
  }
  assertEquals([...lengths].sort(), [0, 1, 2, 3]);
});

Deno.test("simulated links: a machine without power is only silent", () => {
  const { world, links, a, b } = connected(3);
  a.isPowered = false;
  a.machine.crash();
  links.crashed(a);
  world.run(700);
  assertEquals(b.heard, ["up a"]);
  assertEquals(links.dial(b, a), "silence");
  world.run(2_000);
  assertEquals(b.heard, ["up a", "down silence"]);
});

Deno.test("simulated links: what is held back in one direction comes when it heals", () => {
  const { world, links, a, b } = connected(4);
  links.silence("a", "b");
  say(links, a, [1, 2]);
  say(links, b, [3]);
  world.run(900);
  assertEquals([b.heard.slice(1), a.heard.slice(1)], [[], ["3"]]);
  assertEquals(links.dial(a, b), "silence");
  links.heal("a", "b");
  world.run(1_500);
  assertEquals(b.heard.slice(1), ["1", "2"]);
});

Deno.test("simulated links: a silence that lasts ends the link on both sides", () => {
  const { world, links, a, b } = connected(5);
  links.silence("a", "b");
  world.run(5_000);
  assertEquals(b.heard.slice(1), ["down silence"]);
  assertEquals(a.heard.slice(1), ["down silence"]);
});

Deno.test("simulated links: a stopped process hears all later, in order", () => {
  const { world, links, a, b } = connected(6);
  b.machine.freeze();
  say(links, a, [1, 2, 3]);
  world.run(900);
  assertEquals(b.heard.slice(1), []);
  b.machine.thaw();
  world.run(1_500);
  assertEquals(b.heard.slice(1), ["1", "2", "3"]);
});
