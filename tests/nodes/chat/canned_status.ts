/** A node's status as a working group of three servers and two witnesses has it. */

import type { NodeStatus } from "../../../protocol/status.ts";

/** Server 3 by default, which leads. */
export function canned(changes: Partial<NodeStatus> = {}): NodeStatus {
  return {
    version: "0.1.0",
    cluster: "skein",
    node: "server-3",
    store: "3333333333333333",
    kind: "server",
    role: "primary",
    view: {
      epoch: { counter: 7, store: "3333333333333333" },
      primary: "server-3",
      members: ["server-1", "server-2", "server-3"],
      voters: ["server-1", "server-2", "server-3", "witness-1", "witness-2"],
      reason: "server-2 joins",
      ageMs: 65_000,
    },
    isWritable: true,
    waitsFor: [],
    lastIndex: 102,
    committedIndex: 101,
    appliedIndex: 100,
    hash: "00c0ffee00c0ffee",
    diskUsedBytes: 5 * 1024 * 1024,
    diskFreeBytes: 20 * 1024 ** 3,
    clients: 4,
    openTo: "no key: open to private networks",
    peers: [
      {
        id: "server-1",
        kind: "server",
        role: "member",
        address: "127.0.0.1:8081",
        isLinked: true,
        acknowledgedIndex: 99,
      },
      {
        id: "server-2",
        kind: "server",
        role: "member",
        address: "127.0.0.1:8082",
        isLinked: true,
        acknowledgedIndex: 102,
      },
      {
        id: "witness-1",
        kind: "witness",
        role: "witness",
        address: "127.0.0.1:8084",
        isLinked: true,
      },
      {
        id: "witness-2",
        kind: "witness",
        role: "witness",
        address: "127.0.0.1:8085",
        isLinked: true,
      },
    ],
    ...changes,
  };
}
