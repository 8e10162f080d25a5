/** Which groups end, which stay two, and which are given up. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { OwnGroup } from "../../election/discovery_contract.ts";
import type { Advert } from "../../protocol/discovery.ts";
import { NODES_MAX } from "../../protocol/view.ts";
import {
  advert,
  FOUND_MS_MAX,
  groupAdvert,
  KEPT_MS,
  node,
  ownGroup,
  Scene,
  store,
  TIMING,
} from "./discovery_scene.ts";

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

Deno.test("discovery: an empty group does not end for one that does not work", () => {
  const group = groupAdvert("z", { isWorking: false });
  const scene = hearing({}, advert("z1", { group }));
  assertEquals(scene.take("dissolve"), []);
  scene.hear(advert("z1", { group: groupAdvert("z") }));
  assertEquals(scene.take("dissolve").length, 1);
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

// Empty groups that do not work.

const DEAD = { isWorking: false, leader: { id: "z9", priority: 0 } };

Deno.test("discovery: an empty group that does not work keeps nobody", () => {
  const scene = new Scene();
  const said = advert("a1", { group: groupAdvert("a", DEAD) });
  scene.passHearing(KEPT_MS, [said]);
  assertEquals(scene.met(), ["a1"], "it may work again soon");
  assertEquals(scene.take("found"), []);
  scene.passHearing(FOUND_MS_MAX, [said]);
  assert(scene.take("found").length > 0);
});

Deno.test("discovery: an empty group that works is waited for, whoever tells of it", () => {
  const scene = new Scene();
  const said = advert("a1", {
    group: groupAdvert("a", { ...DEAD, isWorking: true }),
  });
  scene.passHearing(KEPT_MS + FOUND_MS_MAX, [said]);
  assertEquals(scene.take("found"), []);
});

Deno.test("discovery: a group with data is waited for though it does not work, and that is said", () => {
  const scene = new Scene();
  const said = advert("a1", {
    group: groupAdvert("a", { ...DEAD, isVoid: false }),
  });
  scene.passHearing(29_000, [said]);
  assertEquals(scene.warnings(), []);
  scene.passHearing(2_000, [said]);
  const [warning, ...others] = scene.warnings();
  assertMatch(warning, /group of "z9" has not taken this node in for 30 s/);
  assertEquals(others, []);
  scene.passHearing(60_000, [said]);
  assertEquals([scene.warnings(), scene.take("found")], [[], []]);
});

Deno.test("discovery: nodes without a group are met though a dead group ranks higher", () => {
  const scene = new Scene({ group: ownGroup("m") });
  const dead = advert("z1", { group: groupAdvert("z", DEAD) });
  scene.passHearing(KEPT_MS + 100, [dead]);
  scene.hear(advert("b1"));
  assertEquals(scene.met(), ["b1"]);
});

const STUCK = { isActive: false, isLeader: false, isIndispensable: true };

Deno.test("discovery: whoever is stuck in an empty group gives it up for one that works", () => {
  const scene = new Scene({ group: ownGroup("m", STUCK) });
  const said = advert("a1", { group: groupAdvert("a") });
  scene.passHearing(KEPT_MS - 100, [said]);
  assertEquals(scene.take("give-up"), [], "its leader may be back soon");
  scene.passHearing(300, [said]);
  assertEquals(scene.take("give-up").length, 1);
});

for (
  const [why, change] of [
    ["others can have kept something without it", { isIndispensable: false }],
    ["it holds data", { isVoid: false }],
    ["a witness votes in it", { hasWitness: true }],
    ["it works", { isActive: true }],
  ] as const
) {
  Deno.test(`discovery: a group is not given up where ${why}`, () => {
    const group = ownGroup("m", { ...STUCK, ...change });
    const scene = new Scene({ group });
    const said = advert("a1", { group: groupAdvert("a") });
    scene.passHearing(2 * KEPT_MS, [said]);
    assertEquals(scene.take("give-up"), []);
  });
}

Deno.test("discovery: no group is given up for another that does not work", () => {
  const scene = new Scene({ group: ownGroup("m", STUCK) });
  const said = advert("a1", {
    group: groupAdvert("a", { isWorking: false, isVoid: false }),
  });
  scene.passHearing(2 * KEPT_MS, [said]);
  assertEquals(scene.take("give-up"), []);
});
