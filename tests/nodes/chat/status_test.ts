import { assertEquals } from "@std/assert";
import type { GroupState } from "../../../nodes/chat/replica/contract.ts";
import {
  chatReadiness,
  nodeStatus,
  type StatusParts,
  witnessReadiness,
} from "../../../nodes/chat/status.ts";
import { readNodeStatus } from "../../../protocol/status.ts";
import type { View } from "../../../protocol/view.ts";
import { canned } from "./canned_status.ts";

const STORES = {
  a: "aaaaaaaaaaaaaaaa",
  b: "bbbbbbbbbbbbbbbb",
  w: "cccccccccccccccc",
  d: "dddddddddddddddd",
};
const VIEW: View = {
  epoch: { counter: 3, store: STORES.a },
  group: STORES.a,
  voters: [STORES.a, STORES.b, STORES.w],
  members: [STORES.a],
  primary: STORES.a,
  nodes: {
    [STORES.a]: { id: "a", kind: "server", priority: 0 },
    [STORES.b]: { id: "b", kind: "server", priority: 0 },
    [STORES.w]: { id: "w", kind: "witness", priority: 0 },
  },
  reason: "b is silent",
};

function parts(changes: Partial<StatusParts> = {}): StatusParts {
  const group: GroupState = {
    ...{ role: "primary", view: VIEW, isWritable: true, waitsFor: [] },
  };
  const address = (port: number) => ({ host: "h", port });
  return {
    settings: {
      ...{ id: "a", cluster: "skein", key: undefined, discover: undefined },
      group: [
        { id: "a", kind: "server", address: address(1) },
        {
          ...{ id: "b", kind: "server", address: address(2) },
          clients: address(8092),
        },
        { id: "w", kind: "witness", address: address(3) },
      ],
    },
    ...{ kind: "server", store: STORES.a, group, viewAgeMs: 12.6 },
    ...{ lastIndex: 9, committedIndex: 8, appliedIndex: 7 },
    ...{ hash: "0123456789abcdef", clients: 2 },
    ...{ diskUsedBytes: undefined, diskFreeBytes: undefined },
    links: [
      {
        ...{ id: "b", kind: "server", store: undefined, isLinked: false },
        ...{ address: "h:2", problem: "Connection refused" },
      },
      {
        ...{ id: "w", kind: "witness", store: STORES.w, isLinked: true },
        ...{ address: "h:3", problem: undefined },
      },
      {
        ...{ id: "d", kind: "server", store: STORES.d, isLinked: true },
        ...{ address: "10.0.0.4:50123", problem: undefined },
      },
    ],
    ...{ groupId: undefined, rivals: [] },
    clientAddressOf: (store) => store === STORES.d ? "h4:8091" : undefined,
    acknowledgedBy: () => 5,
    ...changes,
  };
}

Deno.test("node status: names, roles and links of the whole group", () => {
  const status = nodeStatus(parts());
  assertEquals(status.view, {
    epoch: VIEW.epoch,
    primary: "a",
    members: ["a"],
    voters: ["a", "b", "w"],
    reason: "b is silent",
    ageMs: 13,
  });
  assertEquals(status.openTo, "no key: open to private networks");
  assertEquals(status.peers, [
    {
      ...{ id: "b", kind: "server", role: "none", address: "h:2" },
      clientAddress: "h:8092",
      ...{ isLinked: false, problem: "Connection refused" },
    },
    {
      ...{ id: "d", kind: "server", role: "learner" },
      ...{ address: "10.0.0.4:50123", clientAddress: "h4:8091" },
      ...{ isLinked: true, acknowledgedIndex: 5 },
    },
    {
      ...{ id: "w", kind: "witness", role: "witness", address: "h:3" },
      isLinked: true,
    },
  ]);
  // What goes over the wire is what a client reads.
  assertEquals(readNodeStatus(JSON.parse(JSON.stringify(status))), status);
});

Deno.test("node status: how it is found, and who it must not be taken for", () => {
  const { settings } = parts();
  const discover = { kind: "dns", name: "chat.lab", port: 8081 } as const;
  const rival = {
    ...{ group: STORES.b, leader: "x", from: "y" },
    ...{ epoch: VIEW.epoch, address: { host: "h", port: 8081 } },
  };
  const status = nodeStatus(parts({
    settings: { ...settings, group: [], discover },
    groupId: STORES.a,
    rivals: Array(20).fill(rival),
  }));
  assertEquals(status.group, STORES.a);
  assertEquals(status.discover, "dns:chat.lab:8081");
  assertEquals(status.rivals?.length, 16);
  assertEquals(status.rivals?.[0], {
    ...{ group: STORES.b, leader: "x", epoch: VIEW.epoch, address: "h:8081" },
  });
  assertEquals(readNodeStatus(JSON.parse(JSON.stringify(status))), status);
});

Deno.test("node status: before there is a view, and with a key", () => {
  const { settings } = parts();
  const status = nodeStatus(parts({
    settings: { ...settings, key: new Uint8Array(16) },
    group: {
      ...{ role: "none", view: undefined, isWritable: false },
      waitsFor: ["b and w are missing"],
    },
  }));
  assertEquals([status.view, status.openTo], [undefined, undefined]);
  assertEquals(status.peers.map(({ role }) => role), [
    ...["none", "none", "witness"],
  ]);
  assertEquals(readNodeStatus(JSON.parse(JSON.stringify(status))), status);
});

Deno.test("readiness: a server in sync with a group that takes writes", () => {
  const runs = { isStopping: false };
  for (
    const [status, reasons] of [
      [canned(), []],
      [canned({ role: "member" }), []],
      [canned({ committedIndex: 1_100 }), []],
      [canned({ committedIndex: 1_101 }), [
        "This server has 1001 committed entries to apply",
      ]],
      [canned({ role: "learner" }), [
        "This server is not in sync: the members are server-1, server-2, server-3",
      ]],
      [canned({ isWritable: false, waitsFor: ["server-1 is missing"] }), [
        "server-1 is missing",
      ]],
      [canned({ isWritable: false }), ["The group takes no writes"]],
    ] as const
  ) {
    const ready = reasons.length === 0;
    assertEquals(chatReadiness(status, runs), { ready, reasons });
  }
  const { view: _, ...alone } = canned({ isWritable: false });
  assertEquals(chatReadiness(alone, runs).reasons, [
    "This server knows no active view of its group",
    "The group takes no writes",
  ]);
  assertEquals(chatReadiness(canned(), { isStopping: true }).reasons, [
    "This server is stopping",
  ]);
});

Deno.test("readiness: a witness that hears the primary", () => {
  const runs = { isStopping: false };
  const witness = canned({
    ...{ kind: "witness", role: "witness", node: "witness-1" },
    peers: [{
      ...{ id: "server-3", kind: "server", role: "primary", isLinked: true },
    }],
  });
  assertEquals(witnessReadiness(witness, runs), { ready: true, reasons: [] });
  assertEquals(
    witnessReadiness({
      ...witness,
      peers: [{ ...witness.peers[0], isLinked: false, problem: "Silent" }],
    }, runs).reasons,
    ["No link to the primary server-3: Silent"],
  );
  const { view: _, ...lost } = { ...witness, waitsFor: ["nobody is here"] };
  assertEquals(witnessReadiness(lost, runs).reasons, [
    "This witness knows no active view of its group",
    "nobody is here",
  ]);
});
