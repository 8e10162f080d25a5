import { assert, assertEquals } from "@std/assert";
import {
  compareGroups,
  type GroupRank,
  preferredGroup,
} from "../../election/sightings.ts";

/** From the one that remains to the one that gives way first. */
const ORDERED: readonly GroupRank[] = [
  rank("1", { holdsData: true, leader: { id: "a", priority: 1 } }),
  rank("2", { holdsData: true, leader: { id: "a", priority: 0 } }),
  rank("3", { leader: { id: "a", priority: 1 } }),
  rank("4", { leader: { id: "z", priority: 0 } }),
  rank("9", { leader: { id: "b", priority: 0 } }),
  rank("5", { leader: { id: "b", priority: 0 } }),
];

function rank(digit: string, change: Partial<GroupRank>): GroupRank {
  return {
    id: digit.repeat(16),
    holdsData: false,
    leader: { id: "a", priority: 0 },
    ...change,
  };
}

Deno.test("sightings: of two groups both sides say the same one remains", () => {
  for (const [at, a] of ORDERED.entries()) {
    for (const [other, b] of ORDERED.entries()) {
      assertEquals(Math.sign(compareGroups(a, b)), Math.sign(other - at));
    }
  }
});

Deno.test("sightings: a server takes the first of any groups", () => {
  for (let at = 0; at < ORDERED.length; at++) {
    const rest = ORDERED.slice(at);
    assertEquals(preferredGroup(rest.toReversed(), "server"), rest[0]);
  }
  assertEquals(preferredGroup([], "server"), undefined);
});

Deno.test("sightings: a witness takes a group with data, or the only one", () => {
  const empty = ORDERED.filter(({ holdsData }) => !holdsData);
  assertEquals(preferredGroup(ORDERED, "witness"), ORDERED[0]);
  assert(empty.length > 1);
  assertEquals(preferredGroup(empty, "witness"), undefined);
  assertEquals(preferredGroup(empty.slice(1, 2), "witness"), empty[1]);
});
