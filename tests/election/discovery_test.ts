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
    isAppliedVoid: true,
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

Deno.test("discovery: of two groups it meets one, and stays with it while it is heard", () => {
  const scene = new Scene();
  const first = advert("a1", { group: groupAdvert("a") });
  const higher = advert("b1", { group: groupAdvert("b") });
  scene.passHearing(2_000, [first, higher]);
  assertEquals(scene.met(), ["a1"]);
  scene.passHearing(LATELY_MS + 50, [higher]);
  assertEquals(scene.met(), ["b1"]);
});

Deno.test("discovery: a group with data is joined rather than an empty one", () => {
  const scene = new Scene();
  const empty = advert("b1", { group: groupAdvert("b") });
  const full = advert("a1", { group: groupAdvert("a", { isVoid: false }) });
  scene.passHearing(1_000, [empty, full]);
  assertEquals(scene.met(), ["b1", "a1"]);
  scene.passHearing(1_000, [empty, full]);
  assertEquals(scene.met(), []);
});

Deno.test("discovery: a witness lets empty groups settle, and joins one that holds data", () => {
  const scene = new Scene({ self: node("w", { kind: "witness" }) });
  const first = advert("a1", { group: groupAdvert("a") });
  const second = advert("b1", { group: groupAdvert("b") });
  scene.hear(second);
  scene.hear(first);
  assertEquals(scene.met(), ["b1"]);
  const late = new Scene({ self: node("w", { kind: "witness" }) });
  late.hear(advert("b1", { dissolved: [store("b")] }));
  late.passHearing(2_000, [first, second]);
  assertEquals(late.met(), ["b1", "a1"]);
});

Deno.test("discovery: a group that has ended is not joined", () => {
  const ended = advert("a1", { group: groupAdvert("a") });
  const knows = new Scene({ dissolved: [store("a")] });
  knows.hear(ended);
  assertEquals(knows.met(), []);
  const hears = new Scene();
  hears.hear(advert("b", { dissolved: [store("a")] }));
  hears.passHearing(FOUND_MS_MAX, [ended]);
  assertEquals(hears.met(), ["b"]);
  assertEquals(hears.take("found").length, 1);
});

// In a group.

Deno.test("discovery: in a group it meets its own, and nodes without a group", () => {
  const scene = new Scene({ group: ownGroup("m") });
  scene.hear(advert("m2", { group: groupAdvert("m") }));
  scene.hear(advert("x"));
  scene.hear(advert("w", { kind: "witness" }));
  scene.hear(advert("a1", { group: groupAdvert("a") }));
  assertEquals(scene.met(), ["m2", "x", "w"]);
});

Deno.test("discovery: a node without a group is left to the group that remains", () => {
  const scene = new Scene({ group: ownGroup("m") });
  scene.hear(advert("z1", { group: groupAdvert("z") }));
  scene.hear(advert("x"));
  assertEquals(scene.met(), []);
  const other = new Scene({ group: ownGroup("m") });
  other.hear(advert("a1", { group: groupAdvert("a") }));
  other.hear(advert("x"));
  other.hear(advert("w", { kind: "witness" }));
  assertEquals(other.met(), ["x"]);
});

Deno.test("discovery: whoever is met without a group is met by the group that it founds", () => {
  const scene = new Scene();
  scene.hear(advert("a"));
  assertEquals(scene.met(), ["a"]);
  scene.step({ kind: "group", group: ownGroup("m") });
  scene.hear(advert("a", { group: groupAdvert("m") }));
  assertEquals(scene.met(), ["a"]);
});

// Two groups.

/** What a node of group m decides when it hears this. */
function hearing(mine: Partial<OwnGroup>, said: Advert): Scene {
  const scene = new Scene({ group: ownGroup("m", mine) });
  scene.hear(said);
  return scene;
}

const EMPTY_HIGHER = advert("z1", { group: groupAdvert("z") });
const FULL_LOWER = advert("a1", {
  group: groupAdvert("a", { isVoid: false }),
});

Deno.test("discovery: of two empty groups that of the lower leader ends", () => {
  const [ended] = hearing({}, EMPTY_HIGHER).take("dissolve");
  assertEquals(ended, { kind: "dissolve", into: store("z") });
  const lower = advert("a1", { group: groupAdvert("a") });
  assertEquals(hearing({}, lower).take("dissolve"), []);
  const scene = hearing({ leader: node("m1", { priority: 1 }) }, EMPTY_HIGHER);
  assertEquals(scene.take("dissolve"), []);
});

Deno.test("discovery: two groups never both give way, nor neither", () => {
  const leaders = [node("m1"), node("z1"), node("m1", { priority: 2 })];
  for (const mine of leaders) {
    for (const theirs of leaders) {
      if (mine.id === theirs.id) continue;
      const sides = [[mine, "m", theirs, "z"], [
        theirs,
        "z",
        mine,
        "m",
      ]] as const;
      const ends = sides.map(([own, letter, other, otherLetter]) => {
        const scene = new Scene({
          self: own,
          group: ownGroup(letter, { leader: own }),
        });
        const group = groupAdvert(otherLetter, { leader: other });
        scene.hear(advert(other.id, { group }));
        return scene.take("dissolve").length;
      });
      assertEquals(ends.toSorted(), [0, 1]);
    }
  }
});

Deno.test("discovery: an empty group ends for one that holds data, whoever leads", () => {
  assertEquals(hearing({}, FULL_LOWER).take("dissolve").length, 1);
  const empty = advert("a1", { group: groupAdvert("a") });
  assertEquals(hearing({ isVoid: false }, empty).take("dissolve"), []);
});

Deno.test("discovery: only the leader of an active view ends its group", () => {
  for (const mine of [{ isLeader: false }, { isActive: false }]) {
    assertEquals(hearing(mine, FULL_LOWER).take("dissolve"), []);
  }
});

Deno.test("discovery: a group with a witness never ends, and is a rival", () => {
  const scene = hearing({ hasWitness: true }, FULL_LOWER);
  assertEquals(scene.take("dissolve"), []);
  assertEquals(scene.take("rivals").length, 1);
});

Deno.test("discovery: an empty group ends only at the word of the other's leader", () => {
  const group = groupAdvert("z");
  const scene = hearing({}, advert("z0", { group }));
  assertEquals(scene.take("dissolve"), []);
  scene.hear(advert("z1", { group }));
  assertEquals(scene.take("dissolve").length, 1);
});

Deno.test("discovery: what one node of a group holds, the group holds", () => {
  const scene = hearing({}, FULL_LOWER);
  scene.take("dissolve");
  scene.pass(TIMING.calmMs);
  scene.hear(advert("a2", { group: groupAdvert("a") }));
  assertEquals(scene.take("dissolve").length, 1);
});

Deno.test("discovery: an end that did not come to pass is tried again, not at once", () => {
  const scene = hearing({}, FULL_LOWER);
  scene.passHearing(TIMING.calmMs - 50, [FULL_LOWER]);
  assertEquals(scene.take("dissolve").length, 1);
  scene.passHearing(200, [FULL_LOWER]);
  assertEquals(scene.take("dissolve").length, 1);
});

Deno.test("discovery: no group ends for one that has ended itself", () => {
  const scene = new Scene({ group: ownGroup("m") });
  scene.hear(advert("a0", { dissolved: [store("a")] }));
  scene.hear(FULL_LOWER);
  assertEquals(scene.take("dissolve"), []);
});

Deno.test("discovery: the newest epoch says who leads a group", () => {
  const scene = new Scene({ group: ownGroup("m") });
  const epoch = { counter: 2, store: store("a") };
  const leader = { id: "a1", priority: 5 };
  scene.hear(advert("a1", { group: groupAdvert("a", { epoch, leader }) }));
  assertEquals(scene.take("dissolve").length, 1);
  const old = new Scene({ group: ownGroup("m") });
  const lower = { id: "a0", priority: 0 };
  const later = { counter: 3, store: store("a") };
  const group = groupAdvert("a", { epoch: later, leader: lower });
  old.hear(advert("a0", { group }));
  old.hear(advert("a1", { group: groupAdvert("a", { epoch, leader }) }));
  assertEquals(old.take("dissolve"), []);
});

Deno.test("discovery: a node whose group has ended gives it up, once, if nothing is in it", () => {
  const said = advert("x", { dissolved: [store("0"), store("m")] });
  const scene = hearing({ isLeader: false, isActive: false }, said);
  scene.hear(said);
  assertEquals(scene.take("give-up").length, 1);
  const witness = hearing({ isActive: false, hasWitness: true }, said);
  assertEquals(witness.take("give-up").length, 1);
});

Deno.test("discovery: a group whose leader is there is not given up, whatever is said", () => {
  const said = advert("x", { dissolved: [store("m")] });
  const scene = hearing({ isLeader: false }, said);
  assertEquals(scene.take("give-up"), []);
  assertEquals(scene.warnings(), []);
});

Deno.test("discovery: what is not applied is given up when the group has not worked for long", () => {
  const said = advert("x", { dissolved: [store("m")] });
  const scene = hearing({ isVoid: false, isLeader: false }, said);
  scene.pass(KEPT_MS);
  const stuck = ownGroup("m", { isVoid: false, isActive: false });
  scene.step({ kind: "group", group: stuck });
  scene.passHearing(KEPT_MS - 50, [said]);
  assertEquals(scene.take("give-up"), []);
  scene.passHearing(100, [said]);
  assertEquals(scene.take("give-up").length, 1);
  assertEquals(scene.warnings(), []);
});

Deno.test("discovery: what holds data is never given up, and the operator is told once", () => {
  const said = advert("x", { dissolved: [store("m")] });
  const scene = hearing({
    isVoid: false,
    isAppliedVoid: false,
    isActive: false,
  }, said);
  scene.passHearing(2 * KEPT_MS, [said]);
  assertEquals(scene.take("give-up"), []);
  assertEquals(scene.warnings().length, 1);
});

// Rivals.

Deno.test("discovery: two groups with data are rivals until one is heard no more", () => {
  const scene = hearing({ isVoid: false }, FULL_LOWER);
  assertEquals(scene.take("rivals"), [{
    kind: "rivals",
    rivals: [{
      group: store("a"),
      leader: "a1",
      epoch: { counter: 1, store: store("a") },
      from: "a1",
      address: { host: "10.0.0.2", port: 8_081 },
    }],
  }]);
  assertEquals(scene.take("dissolve"), []);
  scene.passHearing(5_000, [FULL_LOWER]);
  assertEquals(scene.take("rivals"), []);
  scene.pass(KEPT_MS + 2 * TIMING.calmMs);
  assertEquals(scene.take("rivals"), [{ kind: "rivals", rivals: [] }]);
});

Deno.test("discovery: a group becomes a rival when the own one gets data", () => {
  const scene = hearing({ isLeader: false }, FULL_LOWER);
  assertEquals(scene.take("rivals"), []);
  scene.step({ kind: "group", group: ownGroup("m", { isVoid: false }) });
  assertEquals(scene.take("rivals").length, 1);
});

Deno.test("discovery: the operator is told of a rival, and again ten minutes later", () => {
  const scene = hearing({ isVoid: false }, FULL_LOWER);
  scene.passHearing(599_000, [FULL_LOWER]);
  const [text, ...more] = scene.warnings();
  assert(text.includes("--data") && text.includes("--cluster"), text);
  assert(text.includes('"a1"') && text.includes("10.0.0.2:8081"), text);
  assertEquals(more, []);
  scene.passHearing(2_000, [FULL_LOWER]);
  assertEquals(scene.warnings().length, 1);
});

// Bounds and doubles.

Deno.test("discovery: its own answer means nothing", () => {
  const scene = new Scene();
  scene.passHearing(FOUND_MS_MAX, [advert("m1", { store: store("e") })]);
  assertEquals(scene.met(), []);
  assertEquals(scene.warnings(), []);
});

Deno.test("discovery: another node with its id is named once, and not met", () => {
  const scene = new Scene();
  scene.passHearing(FOUND_MS_MAX, [advert("m1", { group: groupAdvert("a") })]);
  assertEquals(scene.met(), []);
  assertEquals(scene.warnings().length, 1);
  assertEquals(scene.take("found").length, 1);
});

Deno.test("discovery: strangers without number do not push out the own group", () => {
  const scene = new Scene({ group: ownGroup("m") });
  const own = advert("m2", { group: groupAdvert("m") });
  scene.hear(own);
  assertEquals(scene.met(), ["m2"]);
  for (let count = 0; count < 20 * NODES_MAX; count++) {
    const group = groupAdvert("a", { isVoid: false });
    scene.hear(advert(`x${count}`));
    scene.hear(advert(`y${count}`, { group }));
  }
  assert(scene.core.describe().length < 4_000, scene.core.describe());
  scene.met();
  scene.hear(own);
  assertEquals(scene.met(), []);
});
