import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  formatReport,
  RIVAL_ADVICE,
  type StatusAnswer,
  statusReport,
} from "../../clients/status_report.ts";
import { readNodeStatus } from "../../protocol/status.ts";
import type { NodeStatus } from "../../protocol/status.ts";
import { canned } from "../nodes/chat/canned_status.ts";

const MEMBER_PEERS: Partial<NodeStatus> = {
  peers: canned().peers.map(({ acknowledgedIndex: _, ...peer }) => ({
    ...peer,
  })),
};

/** Server `n` of the canned group, as its own answer has it. */
function server(n: number, changes: Partial<NodeStatus> = {}): NodeStatus {
  const all = [
    ...canned().peers,
    {
      ...{ id: "server-3", kind: "server" as const },
      ...{ role: "primary" as const, isLinked: true },
    },
  ];
  if (n === 3) return canned(changes);
  return canned({
    ...MEMBER_PEERS,
    node: `server-${n}`,
    store: String(n).repeat(16),
    role: "member",
    peers: all.filter(({ id }) => id !== `server-${n}`),
    ...changes,
  });
}

function answered(...all: NodeStatus[]): StatusAnswer[] {
  return all.map((status) => ({
    address: `127.0.0.1:809${status.node.at(-1)}`,
    status,
  }));
}

Deno.test("status: a working group is a table of servers, then witnesses", () => {
  const report = statusReport(answered(
    server(1, { appliedIndex: 99, committedIndex: 99, hash: "11".repeat(8) }),
    server(2, { diskUsedBytes: 1_023, clients: 0 }),
    server(3),
  ));
  assertEquals(
    formatReport(report).join("\n"),
    `\
Cluster skein: server-3 leads; takes writes, survives the loss of any 2

NODE       ROLE     EPOCH   COMMITTED  APPLIED  LAG  DISK                    CLIENTS  LAST CHANGE OF VIEW
server-1   member   7.3333         99       99    2  5.0 MiB, 20.0 GiB free        4  65 s ago: server-2 joins
server-2   member   7.3333        101      100    1  1.0 KiB, 20.0 GiB free        0  65 s ago: server-2 joins
server-3   primary  7.3333        101      100    1  5.0 MiB, 20.0 GiB free        4  65 s ago: server-2 joins
witness-1  witness  -               -        -    -  -                             -  linked to server-3
witness-2  witness  -               -        -    -  -                             -  linked to server-3

server-1, server-2, server-3: no key: open to private networks`,
  );
  assertEquals(report.isWritable, true);
  assertEquals(report.primary, "server-3");
});

Deno.test("status: who does not answer is shown with the reason, and what others know", () => {
  const view = { ...canned().view!, members: ["server-3"], reason: "" };
  const peers = canned().peers.map((peer) =>
    peer.id === "server-1"
      ? {
        ...{ id: peer.id, kind: peer.kind, role: "none" as const },
        ...{ isLinked: false, problem: "Connection refused" },
      }
      : peer.id === "server-2"
      ? { ...peer, role: "learner" as const, acknowledgedIndex: 40 }
      : peer
  );
  const report = statusReport([
    { address: "127.0.0.1:8091", problem: "Connection refused" },
    ...answered(canned({ view, peers })),
  ]);
  const lines = formatReport(report).map((line) => line.replaceAll(/ +/g, " "));
  const line = (start: string) => lines.find((one) => one.startsWith(start));
  assertEquals(
    line("server-1"),
    "server-1 (none) - - - - - - no link to server-3: Connection refused",
  );
  assertEquals(
    line("server-2"),
    "server-2 (learner) - - - 62 - - not asked; linked to server-3",
  );
  assertEquals(
    line("127"),
    "127.0.0.1:8091 (unknown) - - - - - - does not answer: Connection refused",
  );
  assertStringIncludes(line("server-3") ?? "", " 65 s ago");
  assertEquals(line("Not in sync"), "Not in sync: server-1, server-2");
});

Deno.test("status: how many more may be lost, by the primary's links", () => {
  const losses = (changes: Partial<NodeStatus>) =>
    statusReport(answered(canned(changes))).lossesLeft;
  const without = (...ids: string[]) => ({
    peers: canned().peers.map((peer) => ({
      ...peer,
      isLinked: !ids.includes(peer.id),
    })),
  });
  assertEquals(losses({}), 2);
  assertEquals(losses(without("witness-1")), 1);
  assertEquals(losses(without("server-1", "server-2")), 0);
  assertEquals(losses(without("server-1", "server-2", "witness-1")), 0);
  const view = { ...canned().view!, members: ["server-3"] };
  assertEquals(losses({ view }), 0);
  assertEquals(losses({ role: "member" }), undefined);
});

Deno.test("status: who is silent is called by its name, where others know it", () => {
  const peers = canned().peers.map((peer) => ({
    ...peer,
    ...peer.id === "server-2" && { clientAddress: "h2:8092" },
  }));
  const report = statusReport([
    { address: "h1:8091", problem: "No route", node: "server-1" },
    { address: "h2:8092", problem: "No answer" },
    ...answered(canned({ peers })),
  ]);
  const problems = report.rows.map(({ node, problem }) => `${node} ${problem}`);
  assertEquals(problems.slice(0, 2), [
    "server-1 h1:8091 does not answer: No route; linked to server-3",
    "server-2 h2:8092 does not answer: No answer; linked to server-3",
  ]);
  assertEquals(report.rows.length, 5);
});

Deno.test("status: a group that takes no writes says what it waits for", () => {
  const waitsFor = [
    "a majority of the voters; missing: server-1",
    "a server in sync: server-2",
  ];
  const report = statusReport(
    answered(server(1, { isWritable: false, waitsFor, role: "none" })),
  );
  assertEquals(report.isWritable, false);
  const lines = formatReport(report);
  assertEquals(lines[0], "Cluster skein: server-3 leads; takes NO writes");
  for (const what of waitsFor) {
    assertEquals(lines.includes(`Waits for ${what}`), true, what);
  }
});

Deno.test("status: whether a group takes writes is for its primary to say", () => {
  const waitsFor = ["a majority of the voters; missing: server-1"];
  const report = statusReport([
    ...answered(server(2, { role: "learner" })),
    ...answered(canned({ isWritable: false, waitsFor })),
  ]);
  assertEquals(report.isWritable, false);
  assertEquals(report.remarks.includes(`Waits for ${waitsFor[0]}`), true);
});

Deno.test("status: nobody answers", () => {
  const report = statusReport([{ address: "h:1", problem: "No route" }]);
  assertEquals(report.isWritable, false);
  assertEquals(formatReport(report)[0], "No server answers");
  const [, , headings, row] = formatReport(report, 30);
  assertEquals([headings.length, row.length], [30, 30]);
  assertEquals(row.at(-1), "…");
  assertStringIncludes(formatReport(report)[3], "does not answer: No route");
});

Deno.test("status: where nobody was found there is no table, and what was noted is said", () => {
  const report = statusReport([], ["Nobody answers by udp"]);
  const lines = ["No server answers", "", "Nobody answers by udp"];
  assertEquals(formatReport(report), lines);
});

Deno.test("status: how a group is found, and its rivals once each, with what can be done", () => {
  const store = "abababababababab";
  const rival = {
    ...{ group: store, leader: "z", address: "10.0.0.9:8081" },
    epoch: { counter: 4, store },
  };
  const group = "1111111111111111";
  const discover = "udp 239.255.83.75:8090";
  const common = { group, discover, rivals: [rival] };
  const { remarks } = statusReport(
    answered(server(1, common), server(3, common)),
  );
  assertEquals(remarks.slice(-3), [
    "Servers and clients find it by udp 239.255.83.75:8090",
    "RIVAL: the group of z (epoch 4.abab, 10.0.0.9:8081, group abababababababab) holds data as well",
    RIVAL_ADVICE,
  ]);
  const two = statusReport(answered(
    server(1, { group: store }),
    server(3, { group }),
  ));
  assertEquals(
    two.remarks.at(-1),
    `These servers are of 2 groups, which share nothing: ${group}, ${store}`,
  );
  // What a server says of it, a client reads.
  const said = JSON.parse(JSON.stringify(server(1, common)));
  assertEquals(readNodeStatus(said).rivals, [rival]);
});

Deno.test("status: what must never be is said", () => {
  for (
    const [answers, remark] of [
      [
        [server(1), server(2, { hash: "ff".repeat(8) })],
        "server-1 and server-2 DIFFER at index 100: state 00c0ffee00c0ffee and ffffffffffffffff",
      ],
      [
        [server(1), server(1, { store: "abababababababab" })],
        "Two servers have the id server-1: stores 1111111111111111 and abababababababab",
      ],
      [
        [server(1, { role: "primary" }), server(3)],
        "server-1 (epoch 7.3333) and server-3 (epoch 7.3333) each say that they lead: only the one of the highest epoch can commit",
      ],
      [
        [server(1, { cluster: "other" }), server(3)],
        "These servers are of different clusters: other, skein",
      ],
      [
        [server(1, { version: "0.2.0" }), server(3)],
        "Different versions run: 0.1.0, 0.2.0",
      ],
    ] as const
  ) {
    const { remarks } = statusReport(answered(...answers));
    assertEquals(remarks.includes(remark), true, remarks.join("\n"));
  }
});

Deno.test("status: the newest view tells of the others, whoever knows it", () => {
  const old = {
    ...canned().view!,
    epoch: { counter: 6, store: "9".repeat(16) },
  };
  const report = statusReport(answered(
    server(1, { view: { ...old, primary: "server-1" }, role: "primary" }),
    server(2),
  ));
  assertEquals(report.primary, "server-3");
});

Deno.test("status: two addresses of one server are one line", () => {
  const [one] = answered(server(1));
  const report = statusReport([one, { ...one, address: "localhost:8091" }]);
  assertEquals(
    report.rows.filter(({ node }) => node === "server-1").length,
    1,
  );
});

Deno.test("status: text from elsewhere cannot write over the table", () => {
  const view = { ...canned().view!, reason: "\x1b[2J\nserver-9 primary" };
  const lines = formatReport(statusReport(answered(canned({ view }))));
  assertEquals(lines.filter((line) => /[^ -~…]/.test(line)), []);
});

Deno.test("status: an answer is checked field by field", () => {
  const whole = { ...canned(), later: "fields of another version stay" };
  assertEquals<unknown>(readNodeStatus(whole), whole);
  for (
    const [changes, reason] of [
      [{ node: "no name" }, '"node" '],
      [{ lastIndex: -1 }, '"lastIndex" '],
      [{ role: "king" }, '"role" '],
      [{ peers: [{}] }, '"peers.0'],
      [{ hash: "xyz" }, '"hash" '],
    ] as const
  ) {
    let said = "";
    try {
      readNodeStatus({ ...canned(), ...changes });
    } catch (error) {
      said = String(error);
    }
    assertStringIncludes(said, reason);
  }
});
