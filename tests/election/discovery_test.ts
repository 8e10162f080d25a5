import { assert, assertEquals } from "@std/assert";
import {
  advert,
  FOUND_MS_MAX,
  groupAdvert,
  LATELY_MS,
  node,
  ownGroup,
  Scene,
  store,
  TIMING,
} from "./discovery_scene.ts";

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
