import { assertEquals } from "@std/assert";
import {
  clientAddresses,
  describeGroup,
  foundNodes,
} from "../../clients/found_groups.ts";
import { chosenGroup } from "../../clients/chat_search.ts";
import { type GroupWords, sighting } from "./sightings.ts";

const ONE: GroupWords = { id: "1111111111111111", leader: "b" };
const TWO: GroupWords = { id: "2222222222222222", leader: "z" };

function names(sightings: Parameters<typeof foundNodes>[0]) {
  const { groups, seekers } = foundNodes(sightings);
  return {
    groups: groups.map(({ nodes }) => nodes.map(({ advert }) => advert.id)),
    seekers: seekers.map(({ advert }) => advert.id),
  };
}

Deno.test("found groups: each node is in its group, by id, or looks for one", () => {
  const all = [
    sighting("b", { group: ONE }),
    sighting("z", { group: TWO }),
    sighting("a", { group: ONE }),
    sighting("s"),
  ];
  assertEquals(names(all), { groups: [["z"], ["a", "b"]], seekers: ["s"] });
});

Deno.test("found groups: what holds data comes first, then the leader of higher rank, then the group's id", () => {
  const first = (one: GroupWords, other: GroupWords) => {
    const { groups } = foundNodes([
      sighting("x", { group: one }),
      sighting("y", { group: other }),
    ]);
    return groups[0].id;
  };
  assertEquals(first({ ...ONE, isVoid: false }, TWO), ONE.id);
  assertEquals(first(ONE, TWO), TWO.id);
  assertEquals(first({ ...ONE, priority: 1 }, TWO), ONE.id);
  assertEquals(first({ ...ONE, leader: "z" }, TWO), TWO.id);
});

Deno.test("found groups: the newest view that anybody knows counts, and data that anybody has", () => {
  const { groups: [group] } = foundNodes([
    sighting("a", { group: { ...ONE, counter: 7, leader: "c", members: 3 } }),
    sighting("b", { group: { ...ONE, counter: 6, isVoid: false } }),
  ]);
  assertEquals([group.leader.id, group.isVoid], ["c", false]);
  assertEquals(describeGroup(group), "the group of c (epoch 7, 3 servers)");
});

Deno.test("found groups: two clusters never are one group", () => {
  const all = [
    sighting("a", { group: ONE }),
    sighting("b", { group: ONE, cluster: "lab" }),
  ];
  assertEquals(names(all).groups.length, 2);
});

Deno.test("found groups: clients go to the leader first, and to each once", () => {
  const hosts = (sightings: Parameters<typeof foundNodes>[0]) =>
    clientAddresses(foundNodes(sightings).groups[0]).map(({ host }) => host);
  const all = [
    sighting("a", { group: ONE, host: "10.0.0.1" }),
    sighting("b", { group: ONE, host: "10.0.0.2" }),
    sighting("w", { group: ONE, host: "10.0.0.3", kind: "witness" }),
  ];
  assertEquals(hosts(all), ["10.0.0.2", "10.0.0.1"]);
  // The leader did not answer: others know where it is.
  const leaderClients = { host: "10.0.0.9", port: 8091 };
  const told = sighting("a", {
    group: { ...ONE, leaderClients },
    host: "10.0.0.1",
  });
  assertEquals(hosts([told]), ["10.0.0.9", "10.0.0.1"]);
  // Its loopback address is of another machine.
  const own = { host: "127.0.0.1", port: 8091 };
  const elsewhere = { group: { ...ONE, leaderClients: own } };
  assertEquals(hosts([sighting("a", { ...elsewhere, host: "10.0.0.1" })]), [
    "10.0.0.1",
  ]);
  const here = sighting("a", { ...elsewhere, host: "127.0.0.1", port: 8092 });
  assertEquals(hosts([here]), ["127.0.0.1", "127.0.0.1"]);
});

Deno.test("found groups: of several a client takes the best that lets people in, and names the others", () => {
  const witness = sighting("w", { group: TWO, kind: "witness" });
  assertEquals(chosenGroup(foundNodes([witness])), undefined);
  const one = sighting("b", { group: { ...ONE, isVoid: false } });
  const only = chosenGroup(foundNodes([witness, one]));
  assertEquals(only?.id, ONE.id);
  const both = chosenGroup(foundNodes([sighting("z", { group: TWO }), one]));
  assertEquals(both?.id, ONE.id);
  assertEquals(
    both?.text,
    "2 groups answer: taking the group of b (epoch 1, 1 server) before the group of z (epoch 1, 1 server, empty); it has no key: whoever is on this network may join it",
  );
});
