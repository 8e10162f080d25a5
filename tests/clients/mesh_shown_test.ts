import { assert, assertEquals } from "@std/assert";
import { answerLines } from "../../clients/mesh_shown.ts";
import type { ToClient } from "../../protocol/mesh.ts";

const shown = (answer: ToClient) => answerLines(answer, (ms) => `t${ms}`);

function topology(
  name: "mesh" | "ring" | "bus" | "star",
  edges: string,
): string[] {
  const pairs = edges.split(" ").map((edge) => [edge[0], edge[1]] as const);
  return shown({ type: "topology", topology: name, edges: pairs })
    .slice(2).map((line) => line.slice(2));
}

Deno.test("mesh shown: messages, with room and whom they are for", () => {
  const said = { from: "Dana", server: "A", text: "Hello", time: 1, n: 1 };
  const table: readonly (readonly [ToClient, string])[] = [
    [{ type: "msg", ...said }, "[t1 A] Dana: Hello"],
    [{ type: "msg", ...said, room: "lab" }, "[t1 A] #lab Dana: Hello"],
    [
      { type: "msg", ...said, local: true },
      "[t1 A] Dana (to this server alone): Hello",
    ],
    [{ type: "dm", ...said, to: "Lina" }, "[t1 A] Dana -> Lina: Hello"],
    [{ type: "system", text: "Hi" }, "* Hi"],
    [
      { type: "presence", event: "login", name: "Dana", server: "A" },
      "* Dana is here (Server A)",
    ],
    [
      { type: "presence", event: "rename", name: "D-B", was: "D", server: "B" },
      "* D is D-B now (Server B)",
    ],
    [
      { type: "server", event: "down", server: "B" },
      "* Server B is not reached",
    ],
  ];
  for (const [answer, line] of table) assertEquals(shown(answer), [line]);
});

Deno.test("mesh shown: nothing that others wrote moves the cursor, or begins a line of its own", () => {
  const evil = "x\x1b[2J\u202e\r\u2028\n* Server B is up";
  const all: ToClient[] = [
    { type: "msg", from: evil, server: evil, text: evil, time: 0, n: 0 },
    {
      type: "msg",
      from: "a",
      server: "A",
      room: evil,
      text: evil,
      time: 0,
      n: 0,
    },
    {
      type: "dm",
      from: evil,
      to: evil,
      server: evil,
      text: evil,
      time: 0,
      n: 0,
    },
    { type: "system", text: evil },
    { type: "error", text: evil, code: "busy" },
    { type: "presence", event: "rename", name: evil, was: evil, server: evil },
    { type: "server", event: "up", server: evil },
    { type: "who", users: [{ name: evil, server: evil, since: 0 }], total: 1 },
    { type: "rooms", rooms: [{ room: evil, users: 1 }], total: 1 },
    {
      ...{ type: "history", more: true, room: evil },
      messages: [{ seq: 1, time: evil, server: evil, from: evil, text: evil }],
    },
    { type: "topology", topology: "ring", by: evil, edges: [[evil, "B"]] },
    {
      ...{ type: "trace", topology: "mesh", missing: [evil] },
      reports: [{ server: evil, path: [evil, "B"], ms: 1 }],
    },
    {
      ...{ type: "status", service: "mesh", server: "A", cluster: "c" },
      ...{ clients: 0, draining: false, topology: "mesh" },
      servers: [
        { id: evil, up: true, clients: 0, draining: false, address: evil },
      ],
    },
  ];
  for (const answer of all) {
    const lines = shown(answer).flatMap((line) => line.split("\n"));
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x09\x0b-\x1f\u202e\u2028]/.test(lines.join("\n")));
    assert(!lines.slice(1).some((line) => line.startsWith("* Server B")));
  }
});

Deno.test("mesh shown: a bus and a ring are one line, a star is a hub, a mesh a list", () => {
  assertEquals(topology("bus", "AB BC"), ["A ── B ── C"]);
  assertEquals(topology("ring", "AB BC AC"), ["A ── B ── C ── A"]);
  assertEquals(topology("ring", "AB"), ["A ── B"]);
  assertEquals(topology("star", "AB AC AD"), [
    ...["A ─┬─ B", "   ├─ C", "   └─ D"],
  ]);
  assertEquals(topology("star", "AB"), ["A ── B"]);
  assertEquals(topology("mesh", "AB AC BC"), [
    ...["A ── B, C", "B ── A, C", "C ── A, B"],
  ]);
});

Deno.test("mesh shown: where a wanted edge does not stand, what is there is listed", () => {
  assertEquals(topology("ring", "AB AC AD"), [
    ...["A ── B, C, D", "B ── A", "C ── A", "D ── A"],
  ]);
  assertEquals(topology("bus", "AB CD"), [
    ...["A ── B", "B ── A", "C ── D", "D ── C"],
  ]);
  assertEquals(topology("star", "AB BC CD"), [
    ...["A ── B", "B ── A, C", "C ── B, D", "D ── C"],
  ]);
  const alone = shown({ type: "topology", topology: "ring", edges: [] });
  assertEquals(alone.at(-1), "  (no other server is reached)");
});

Deno.test("mesh shown: a trace is a table by time, and who is missing ends it", () => {
  const lines = shown({
    ...{ type: "trace", topology: "bus", missing: ["D"] },
    reports: [
      { server: "C", path: ["A", "B", "C"], ms: 12.34 },
      { server: "B", path: ["A", "B"], ms: 1.26 },
    ],
  });
  assertEquals(lines.slice(2), [
    "SERVER  PATH                 MS",
    "B       A -> B               1.3",
    "C       A -> B -> C          12",
    "D       NOT REACHED IN TIME  -",
  ]);
});

Deno.test("mesh shown: history says how to see what is before it", () => {
  const message = {
    ...{ seq: 41, time: "1970-01-01T00:00:00.005Z", server: "A" },
    ...{ from: "Dana", text: "a\nb" },
  };
  const history = { type: "history", messages: [message] } as const;
  assertEquals(shown({ ...history, more: false }), [
    "41 [t5 A] Dana: a\n                b",
  ]);
  assertEquals(
    shown({ ...history, more: true, room: "lab" })[0],
    "* There is more before these: /history #lab 1 41",
  );
  assertEquals(shown({ type: "history", messages: [], more: false }), [
    "* No messages",
  ]);
});
