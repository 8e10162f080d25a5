import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  discoverReport,
  discoveryObject,
  formatDiscovery,
} from "../../clients/discover_report.ts";
import { foundNodes } from "../../clients/found_groups.ts";
import { DISCOVER_UDP } from "../../nodes/host/discovery/discover_flags.ts";
import type { Sighting } from "../../nodes/host/discovery/finder.ts";
import { type GroupWords, sighting } from "./sightings.ts";

const ONE: GroupWords = { id: "1111111111111111", leader: "b", isVoid: false };
const TWO: GroupWords = { id: "2222222222222222", leader: "z" };
const SEARCH: Parameters<typeof discoverReport>[1] = {
  search: { where: DISCOVER_UDP, cluster: "skein", key: undefined },
  all: false,
  timeoutMs: 1_000,
  problems: [],
  counters: { asked: 3, failed: 0, sighted: 0, refused: {} },
};

function report(
  sightings: readonly Sighting[],
  changes: Partial<typeof SEARCH> = {},
) {
  return discoverReport(foundNodes(sightings), { ...SEARCH, ...changes });
}

Deno.test("discover: a table of nodes, group by group, the leader marked", () => {
  const nodes = [
    sighting("s", { host: "10.0.0.9" }),
    sighting("w", { group: ONE, kind: "witness", host: "10.0.0.3" }),
    sighting("b", { group: ONE, host: "10.0.0.2", isOpen: false }),
    sighting("a", { group: ONE, host: "10.0.0.1" }),
  ];
  assertEquals(formatDiscovery(report(nodes)), [
    "NODE  ROLE                       GROUP     EPOCH   SERVICE  CLUSTER  KEY   FOR NODES      FOR PEOPLE      MS  FOUND BY",
    "a     server                     11111111  1.1111  chat     skein    none  10.0.0.1:8081  10.0.0.1:8091  1.0  udp 10.0.0.1",
    "b     LEADER                     11111111  1.1111  chat     skein    yes   10.0.0.2:8081  10.0.0.2:8091  1.0  udp 10.0.0.2",
    "w     witness                    11111111  1.1111  chat     skein    none  10.0.0.3:8081  -              1.0  udp 10.0.0.3",
    "",
    "s     server, looks for a group  -         -       chat     skein    none  10.0.0.9:8081  10.0.0.9:8091  1.0  udp 10.0.0.9",
    "",
    "Without a cluster key, and so open to whoever is on their networks: a, s, w",
  ]);
});

Deno.test("discover: rivals are named with what an operator can do, an empty group with what comes of it", () => {
  const rival = { ...TWO, isVoid: false };
  const nodes = [
    sighting("b", { group: ONE, isOpen: false }),
    sighting("z", { group: rival, isOpen: false }),
  ];
  const [remark, ...others] = report(nodes).remarks;
  assertEquals(others, []);
  assert(
    remark.startsWith("RIVALS (chat skein): the groups of z and b hold data."),
    remark,
  );
  assertStringIncludes(remark, "--data");
  const empty = [nodes[0], sighting("z", { group: TWO, isOpen: false })];
  assertEquals(report(empty).remarks, [
    "2 groups (chat skein): of z, empty; they become one by themselves",
  ]);
  const apart = [
    nodes[0],
    sighting("z", { group: rival, cluster: "lab", isOpen: false }),
  ];
  assertEquals(report(apart).remarks, []);
});

Deno.test("discover: two stores under one id are named", () => {
  const one = sighting("a", { group: ONE, isOpen: false });
  const other = {
    ...one,
    advert: { ...one.advert, store: "ffffffffffffffff" },
  };
  const [remark] = report([one, other]).remarks;
  assert(remark.startsWith("Two nodes have the id a: stores "), remark);
});

Deno.test("discover: when nobody answers it says what may be wrong", () => {
  const without = formatDiscovery(report([]));
  assertEquals(
    without[0],
    'No node of the cluster "skein" answers by udp within 1 s',
  );
  for (const hint of ["--key-file", "--all", "8090/udp", "-c HOST:PORT"]) {
    assertStringIncludes(without.join("\n"), hint);
  }
  const key = new TextEncoder().encode("0123456789abcdef");
  const counters = { ...SEARCH.counters, refused: { mac: 2, long: 0 } };
  const search = { ...SEARCH.search, key };
  const keyed = formatDiscovery(report([], { search, counters, all: true }))
    .join("\n");
  assertStringIncludes(keyed, "Answers not taken: mac 2\n");
  assertStringIncludes(keyed, "another one than this command");
  assert(!keyed.includes("--all"));
});

Deno.test("discover: what somebody else wrote cannot draw on the terminal", () => {
  const one = sighting("a", { group: ONE });
  const lines = formatDiscovery(report([{ ...one, via: "udp \u001b[2J" }]));
  assertStringIncludes(lines[1], "udp \\x1b[2J");
});

Deno.test("discover: programs get all of it", () => {
  const nodes = [sighting("b", { group: ONE }), sighting("s")];
  const found = JSON.parse(JSON.stringify(discoveryObject(report(nodes))));
  const [group] = found.groups;
  assertEquals([group.id, group.leader.id, group.isVoid], [ONE.id, "b", false]);
  assertEquals(group.nodes[0].peers, "10.0.0.1:8081");
  assertEquals(found.seekers[0].id, "s");
  assertEquals(found.remarks.length, 1);
});
