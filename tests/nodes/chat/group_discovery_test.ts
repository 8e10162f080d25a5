import { assertEquals } from "@std/assert";
import {
  GroupDiscovery,
  type GroupDiscoveryOptions,
} from "../../../nodes/chat/group_discovery.ts";
import { until } from "../../process/until.ts";
import { advertOf } from "../../protocol/discovery_messages.ts";
import { AnsweringDoor } from "../host/discovery/answering_door.ts";
import { KeptLog } from "../host/discovery/lan.ts";

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
