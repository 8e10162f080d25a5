import { assert, assertEquals } from "@std/assert";
import { DiscoveryCore } from "../../election/discovery.ts";
import type {
  DiscoveryEffect,
  DiscoveryInput,
  OwnGroup,
} from "../../election/discovery_contract.ts";
import type { Advert, AdvertGroup } from "../../protocol/discovery.ts";
import { type NodeInfo, NODES_MAX } from "../../protocol/view.ts";

const TIMING = { askMs: 100, calmMs: 2_000, foundMs: 500 };
const LATELY_MS = 5 * TIMING.askMs;
const KEPT_MS = 4 * TIMING.calmMs;
/** Longer than any wait to found, and than two more of them. */
const FOUND_MS_MAX = 2 * TIMING.foundMs + 1;

function store(letter: string): string {
  return letter.repeat(16);
}

function node(id: string, change: Partial<NodeInfo> = {}): NodeInfo {
  return { id, kind: "server", priority: 0, ...change };
}

/** Told by a group that is named by a letter, and led by the node of that letter and 1. */
function groupAdvert(
  letter: string,
  change: Partial<AdvertGroup> = {},
): AdvertGroup {
  return {
    id: store(letter),
    isVoid: true,
    epoch: { counter: 1, store: store(letter) },
    leader: { id: `${letter}1`, priority: 0 },
    members: 1,
    voters: 1,
    ...change,
  };
}

function advert(id: string, change: Partial<Advert> = {}): Advert {
  return {
    service: "chat",
    cluster: "test",
    id,
    kind: "server",
    priority: 0,
    store: `${id}${"0".repeat(16)}`.slice(0, 16),
    incarnation: store("9"),
    peers: { port: 8_081 },
    dissolved: [],
    isOpen: true,
    ...change,
  };
}

function ownGroup(letter: string, change: Partial<OwnGroup> = {}): OwnGroup {
  return {
    id: store(letter),
    isVoid: true,
    isActive: true,
    isLeader: true,
    epoch: { counter: 1, store: store(letter) },
    leader: node("m1"),
    hasWitness: false,
    ...change,
  };
}

type Kind = DiscoveryEffect["kind"];

/** A core and its clock; all effects are kept until they are taken. */
class Scene {
  nowMs = 1_000;
  readonly core: DiscoveryCore;
  #effects: DiscoveryEffect[] = [];

  constructor(
    options: {
      self?: NodeInfo;
      group?: OwnGroup;
      dissolved?: readonly string[];
      seed?: number;
    } = {},
  ) {
    this.core = new DiscoveryCore({
      self: options.self ?? node("m1"),
      store: store("e"),
      timing: TIMING,
      dissolved: options.dissolved ?? [],
      seed: options.seed ?? 1,
    });
    this.step({ kind: "start", group: options.group });
  }

  step(input: DiscoveryInput): void {
    this.#effects.push(...this.core.step(input, this.nowMs));
  }

  hear(said: Advert, host = "10.0.0.2"): void {
    const address = { host, port: said.peers.port };
    this.step({ kind: "heard", advert: said, peers: address });
  }

  /** Time passes, and the host wakes the core when it wants to. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (this.core.wakeAtMs <= untilMs) {
      this.nowMs = this.core.wakeAtMs;
      this.step({ kind: "wake" });
    }
    this.nowMs = untilMs;
  }

  /** Time passes, and all these are heard again each 50 ms. */
  passHearing(ms: number, said: readonly Advert[]): void {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs;) {
      for (const each of said) this.hear(each);
      this.pass(50);
    }
  }

  /** All effects of one kind since they were last taken; those of other kinds stay. */
  take<Wanted extends Kind>(
    kind: Wanted,
  ): Extract<DiscoveryEffect, { kind: Wanted }>[] {
    type Effect = Extract<DiscoveryEffect, { kind: Wanted }>;
    const isWanted = (effect: DiscoveryEffect): effect is Effect =>
      effect.kind === kind;
    const taken = this.#effects.filter(isWanted);
    this.#effects = this.#effects.filter((effect) => !isWanted(effect));
    return taken;
  }

  met(): string[] {
    return this.take("meet").map(({ id }) => id);
  }

  warnings(): string[] {
    return this.take("note").filter(({ level }) => level === "warn")
      .map(({ text }) => text);
  }
}

// Questions.

Deno.test("discovery: it asks at once, and often while there is no group", () => {
  const scene = new Scene({ self: node("w", { kind: "witness" }) });
  assertEquals(scene.take("ask").length, 1);
  scene.pass(1_500);
  const { length } = scene.take("ask");
  assert(length >= 10 && length <= 30, `${length} questions`);
});

Deno.test("discovery: it asks seldom in a group that works, and often again when it does not", () => {
  const scene = new Scene({ group: ownGroup("m") });
  scene.pass(20_000);
  const calm = scene.take("ask").length;
  assert(calm >= 7 && calm <= 21, `${calm} questions`);
  scene.step({ kind: "group", group: ownGroup("m", { isActive: false }) });
  scene.pass(1_500);
  assert(scene.take("ask").length >= 10);
});

Deno.test("discovery: it asks soon after it got a group: another may have begun as well", () => {
  const scene = new Scene({ self: node("w", { kind: "witness" }) });
  scene.pass(1_000);
  scene.take("ask");
  scene.step({ kind: "group", group: ownGroup("m") });
  scene.pass(1.5 * TIMING.askMs);
  assertEquals(scene.take("ask").length, 1);
});

Deno.test("discovery: two nodes do not ask in step", () => {
  const times = [1, 2].map((seed) => new Scene({ seed }).core.wakeAtMs);
  assert(times[0] !== times[1]);
});

// Beginning a group.

Deno.test("discovery: a server that hears nobody founds a group, after its wait", () => {
  const scene = new Scene();
  scene.pass(TIMING.foundMs - 1);
  assertEquals(scene.take("found"), []);
  scene.pass(TIMING.foundMs + 2);
  assertEquals(scene.take("found").length, 1);
});

Deno.test("discovery: what did not come to pass is begun again", () => {
  const scene = new Scene();
  scene.pass(3 * FOUND_MS_MAX);
  assert(scene.take("found").length > 1);
});

Deno.test("discovery: a witness never founds", () => {
  const scene = new Scene({ self: node("w", { kind: "witness" }) });
  scene.pass(60_000);
  assertEquals(scene.take("found"), []);
});

Deno.test("discovery: a node with a group never founds", () => {
  const scene = new Scene({ group: ownGroup("m", { isActive: false }) });
  scene.pass(60_000);
  assertEquals(scene.take("found"), []);
});

Deno.test("discovery: nobody founds where a group is heard", () => {
  const scene = new Scene();
  scene.passHearing(20_000, [advert("a1", { group: groupAdvert("a") })]);
  assertEquals(scene.take("found"), []);
  scene.pass(TIMING.foundMs - 51);
  assertEquals(scene.take("found"), []);
  scene.pass(LATELY_MS + FOUND_MS_MAX);
  assert(scene.take("found").length > 0);
});

Deno.test("discovery: a lower server leaves the founding to a higher one, twice", () => {
  const scene = new Scene();
  scene.passHearing(3 * TIMING.foundMs - 50, [advert("z")]);
  assertEquals(scene.take("found"), []);
  scene.passHearing(3 * TIMING.foundMs + 100, [advert("z")]);
  assertEquals(scene.take("found").length, 1);
});

Deno.test("discovery: a higher server that fell silent is not waited for", () => {
  const scene = new Scene();
  scene.hear(advert("z"));
  scene.pass(LATELY_MS + FOUND_MS_MAX);
  assertEquals(scene.take("found").length, 1);
});

for (
  const [who, other] of Object.entries({
    "a lower server": advert("a"),
    "a higher witness": advert("z", { kind: "witness" }),
  })
) {
  Deno.test(`discovery: ${who} is not waited for`, () => {
    const scene = new Scene();
    scene.passHearing(FOUND_MS_MAX, [other]);
    assertEquals(scene.take("found").length, 1);
  });
}

Deno.test("discovery: the priority counts before the id", () => {
  const scene = new Scene({ self: node("z", { priority: 1 }) });
  scene.passHearing(FOUND_MS_MAX, [advert("a", { priority: 2 })]);
  assertEquals(scene.take("found"), []);
});

Deno.test("discovery: a process that was stopped listens anew before it founds", () => {
  const scene = new Scene();
  scene.nowMs += 60_000;
  scene.step({ kind: "wake" });
  assertEquals(scene.take("found"), []);
  assert(scene.take("ask").length > 0);
  scene.pass(TIMING.foundMs - 1);
  assertEquals(scene.take("found"), []);
  scene.pass(TIMING.foundMs + 2);
  assertEquals(scene.take("found").length, 1);
});

// Joining a group.

Deno.test("discovery: without a group it meets the group that it hears of, and nodes without one", () => {
  const scene = new Scene();
  const group = groupAdvert("a");
  for (const id of ["a1", "a2"]) scene.hear(advert(id, { group }));
  scene.hear(advert("w", { kind: "witness" }));
  assertEquals(scene.take("meet"), [
    {
      kind: "meet",
      id: "a1",
      nodeKind: "server",
      address: { host: "10.0.0.2", port: 8_081 },
    },
    {
      kind: "meet",
      id: "a2",
      nodeKind: "server",
      address: { host: "10.0.0.2", port: 8_081 },
    },
    {
      kind: "meet",
      id: "w",
      nodeKind: "witness",
      address: { host: "10.0.0.2", port: 8_081 },
    },
  ]);
});

Deno.test("discovery: a node is met once, and again when it has moved", () => {
  const scene = new Scene();
  scene.passHearing(1_000, [advert("a")]);
  assertEquals(scene.met(), ["a"]);
  scene.hear(advert("a"), "10.0.0.3");
  assertEquals(scene.take("meet").map(({ address }) => address.host), [
    "10.0.0.3",
  ]);
});

Deno.test("discovery: a node is met again when it has lost its data, or its group", () => {
  const scene = new Scene();
  const group = groupAdvert("a");
  scene.hear(advert("a1", { group }));
  scene.hear(advert("a1", { dissolved: [group.id] }));
  scene.hear(advert("a1", { store: store("7"), dissolved: [group.id] }));
  assertEquals(scene.met(), ["a1", "a1", "a1"]);
});

/** Hears both at once: the first only together with a third that says it has ended. */
function chooseOf(kind: NodeInfo["kind"], adverts: readonly Advert[]): string[] {
  const scene = new Scene({ self: node("m1", { kind }) });
  const ended = groupAdvert("0");
  scene.hear(advert("01", { group: ended }));
  for (const said of adverts) scene.hear(said);
  scene.met();
  scene.pass(LATELY_MS - 10);
  for (const said of adverts) scene.hear(said);
  scene.met();
  scene.pass(20);
  return scene.met();
}

Deno.test("discovery: the group that holds data is joined, then that of the higher leader", () => {
  const empty = advert("b1", { group: groupAdvert("b") });
  const full = advert("a1", { group: groupAdvert("a", { isVoid: false }) });
  const led = advert("a1", {
    group: groupAdvert("a", { leader: { id: "a1", priority: 1 } }),
  });
  const lower = advert("a1", { group: groupAdvert("a") });
  assertEquals(chooseOf("server", [empty, full]), []);
  assertEquals(chooseOf("server", [empty, led]), ["a1"]);
  assertEquals(chooseOf("server", [empty, lower]), ["b1"]);
});
