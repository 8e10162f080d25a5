import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import {
  GroupDiscovery,
  type GroupDiscoveryOptions,
} from "../../../../nodes/chat/group/group_discovery.ts";
import type { Address } from "../../../../protocol/address.ts";
import {
  DISCOVERY_TIMING,
  type OwnGroup,
} from "../../../../election/discovery_contract.ts";
import { until } from "../../../process/until.ts";
import { advertOf } from "../../../protocol/discovery_messages.ts";
import { AnsweringDoor } from "../../host/discovery/answering_door.ts";
import { KeptLog } from "../../host/discovery/lan.ts";
import { freePort } from "../../host/loopback.ts";

const STORE = "00000000000000c2";

/** Discovery of "server-2", of a group or of none, and what it has done. */
class LiveDiscovery implements Disposable {
  readonly log = new KeptLog();
  /** Nodes that it wanted to meet, each time. */
  readonly wanted: string[] = [];
  readonly met: string[] = [];
  founded = 0;
  hasRoom = true;
  readonly discovery: GroupDiscovery;

  constructor(
    changes:
      & Pick<GroupDiscoveryOptions, "where">
      & Partial<GroupDiscoveryOptions>,
  ) {
    const self = {
      ...{ id: "server-2", kind: "server", priority: 0, store: STORE } as const,
      incarnation: "00000000000000b2",
    };
    this.discovery = new GroupDiscovery({
      ...{ self, cluster: "skein", key: undefined, dissolved: [] },
      peers: {
        meet: ({ id }) => {
          this.wanted.push(id);
          if (this.hasRoom) this.met.push(id);
          return this.hasRoom;
        },
        ...{ forget: () => {}, regroup: () => {}, states: [] },
      },
      advert: () => advertOf(self),
      ownGroup: () => undefined,
      namesInView: () => new Set(),
      log: this.log,
      onFound: () => this.founded += 1,
      onDissolve: () => {},
      onGiveUp: () => {},
      ...changes,
    });
    this.discovery.start();
  }

  [Symbol.dispose](): void {
    this.discovery.close();
  }
}

Deno.test("group discovery: a node that there was no room for is met once there is", async () => {
  using door = new AnsweringDoor();
  const where = { kind: "static", addresses: [door.address] } as const;
  using live = new LiveDiscovery({ where });
  live.hasRoom = false;
  await until("it is wanted", () => live.wanted.length > 0);
  live.hasRoom = true;
  await until("it is met", () => live.met.length > 0);
  assertEquals(live.met, ["server-1"]);
  // And left alone from then on.
  const { sighted } = live.discovery.counters.finder;
  await until(
    "it is heard again",
    () => live.discovery.counters.finder.sighted > sighted + 2,
  );
  assertEquals(live.met, ["server-1"]);
});

Deno.test("group discovery: while there is nobody to be asked no group is founded, and that is said", async () => {
  const nobody = { host: "127.0.0.1", port: freePort() };
  const addresses: Address[] = [];
  using waiting = new LiveDiscovery({ where: { kind: "static", addresses } });
  using asking = new LiveDiscovery({
    where: { kind: "static", addresses: [nobody] },
  });
  // So long that one that did not wait would have founded by now.
  await until("the other founds twice", () => asking.founded === 2);
  assertEquals(waiting.founded, 0);
  assertEquals(waiting.log.lines.length, 1);
  assertMatch(waiting.log.lines[0].message, /has no address to ask at/);
  addresses.push(nobody);
  const startMs = performance.now();
  await until("it founds", () => waiting.founded === 1);
  assertGreater(performance.now() - startMs, DISCOVERY_TIMING.foundMs);
});

Deno.test("group discovery: who waits for an address belongs to the group that takes it in", async () => {
  const groups: OwnGroup[] = [];
  const regrouped: string[] = [];
  using waiting = new LiveDiscovery({
    where: { kind: "static", addresses: [] },
    ownGroup: () => groups.at(0),
    peers: {
      ...{ meet: () => true, forget: () => {}, states: [] },
      regroup: (id) => regrouped.push(id),
    },
  });
  groups.push({
    ...{ id: "00000000000000d1", isVoid: true, isAppliedVoid: true },
    ...{ isActive: true, isLeader: false, hasWitness: false },
    isIndispensable: false,
    epoch: { counter: 1, store: "00000000000000d1" },
    leader: { id: "server-1", kind: "server", priority: 0 },
  });
  waiting.discovery.groupChanged();
  assertEquals(regrouped, [groups[0].id]);
  using asking = new LiveDiscovery({
    where: {
      kind: "static",
      addresses: [{ host: "127.0.0.1", port: freePort() }],
    },
  });
  await until("the other founds twice", () => asking.founded === 2);
  assertEquals([waiting.founded, waiting.log.lines], [0, []]);
});

Deno.test("group discovery: who is in the view no more is forgotten at once", () => {
  const forgotten: string[] = [];
  const names = new Set(["server-1", "server-2"]);
  const store = "00000000000000d1";
  const group: OwnGroup = {
    ...{ id: store, isVoid: true, isAppliedVoid: true, isIndispensable: false },
    ...{ isActive: true, isLeader: false, hasWitness: false },
    epoch: { counter: 1, store },
    leader: { id: "server-2", kind: "server", priority: 0 },
  };
  using live = new LiveDiscovery({
    where: { kind: "static", addresses: [] },
    ownGroup: () => group,
    namesInView: () => names,
    peers: {
      ...{ meet: () => true, regroup: () => {} },
      forget: (id) => forgotten.push(id),
      states: [{
        ...{ id: "server-1", kind: "server", store, isLinked: true } as const,
        ...{ address: "127.0.0.1:8081", problem: undefined },
      }],
    },
  });
  live.discovery.groupChanged();
  assertEquals(forgotten, []);
  names.delete("server-1");
  live.discovery.groupChanged();
  live.discovery.groupChanged();
  assertEquals(forgotten, ["server-1"]);
});
