import { assert, assertEquals } from "@std/assert";
import type { ClientAsk } from "../../../nodes/mesh/contract.ts";
import { SWITCHES_MAX } from "../../../nodes/mesh/core.ts";
import { TRACES_MAX } from "../../../nodes/mesh/traces.ts";
import { ROOMS_PER_CLIENT_MAX, TOPOLOGIES } from "../../../protocol/mesh.ts";
import { DrivenCore, DrivenMesh, told } from "./driven_mesh.ts";

const SAY: ClientAsk = { kind: "say", text: "Hello", isLocal: false };

function login(name: string): ClientAsk {
  return { kind: "login", name, more: true };
}

function alone(options = {}): DrivenCore {
  const server = new DrivenCore({ id: "A", ...options });
  server.ask(1, login("Dana"));
  return server;
}

function codeOf(server: DrivenCore, client: number, ask: ClientAsk): unknown {
  const [answer, ...more] = server.ask(client, ask);
  assertEquals(more, []);
  return answer.type === "error" ? answer.code : answer.type;
}

Deno.test("mesh core: who logs in is welcomed, in the seed's words", () => {
  const [welcome] = new DrivenCore({ id: "A" }).ask(1, login("Dana")).slice(-1);
  assertEquals(welcome, {
    type: "system",
    text: "Welcome Dana to Server A",
    notice: { code: "welcome", name: "Dana", server: "A" },
    id: 1,
  });
});

Deno.test("mesh core: a name of another server is refused, and free when that is gone", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }]);
  const [a, b] = mesh.servers;
  a.ask(1, login("Dana"));
  mesh.run();
  assertEquals(b.ask(1, login("Dana")), [{
    ...{ type: "error", text: "username taken", code: "name-taken", id: 1 },
  }]);
  b.step({ kind: "link-down", link: 0, reason: "reset" });
  assertEquals(codeOf(b, 1, { kind: "who" }), "not-logged-in");
  assertEquals(b.ask(1, login("Dana")).at(-1)?.type, "system");
});

Deno.test("mesh core: what cannot be is refused with its code", () => {
  const server = alone({ clientsMax: 1 });
  const cases: readonly (readonly [number, ClientAsk, string])[] = [
    [1, login("Lina"), "logged-in"],
    [2, login("Lina"), "busy"],
    [2, SAY, "not-logged-in"],
    [2, { kind: "dm", to: "Dana", text: "psst" }, "not-logged-in"],
    [2, { kind: "join", room: "tea" }, "not-logged-in"],
    [2, { kind: "leave", room: "tea" }, "not-logged-in"],
    [2, { kind: "who" }, "not-logged-in"],
    [2, { kind: "rooms" }, "not-logged-in"],
    [1, { ...SAY, room: "tea" }, "not-allowed"],
    [1, { kind: "leave", room: "tea" }, "not-allowed"],
    [1, { kind: "dm", to: "Lina", text: "psst" }, "no-such-user"],
  ];
  for (const [client, ask, code] of cases) {
    assertEquals(codeOf(server, client, ask), code, JSON.stringify(ask));
  }
});

Deno.test("mesh core: a client is in so many rooms, and no more", () => {
  const server = alone();
  for (let room = 0; room < ROOMS_PER_CLIENT_MAX; room++) {
    assertEquals(
      codeOf(server, 1, { kind: "join", room: `r${room}` }),
      "system",
    );
  }
  assertEquals(codeOf(server, 1, { kind: "join", room: "tea" }), "too-large");
  assertEquals(codeOf(server, 1, { kind: "join", room: "r0" }), "system");
});

Deno.test("mesh core: so many traces are under way, and no more", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }]);
  const [a] = mesh.servers;
  for (let trace = 0; trace < TRACES_MAX; trace++) {
    assertEquals(a.ask(1, { kind: "trace" }), []);
  }
  assertEquals(codeOf(a, 1, { kind: "trace" }), "busy");
  // Nobody reports: when their time is over they say who is missing.
  const answers = told(a.wait(1_000), 1);
  assertEquals(answers.length, TRACES_MAX);
  for (const answer of answers) {
    assert(answer.type === "trace");
    assertEquals(answer.missing, ["B"]);
  }
});

Deno.test("mesh core: so many traces begin in their time, also if they are over at once", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }]);
  const [a] = mesh.servers;
  for (let trace = 0; trace < TRACES_MAX; trace++) {
    assertEquals(a.ask(1, { kind: "trace" }), []);
    mesh.run();
  }
  const answers = () =>
    told(a.effects, 1).filter(({ type }) => type === "trace").length;
  assertEquals(answers(), TRACES_MAX);
  a.step({ kind: "client-gone", client: 1 });
  a.nowMs += 999;
  assertEquals(codeOf(a, 2, { kind: "trace" }), "busy");
  a.nowMs += 1;
  assertEquals(a.ask(1, { kind: "trace" }), []);
  mesh.run();
  assertEquals(answers(), TRACES_MAX + 1);
});

Deno.test("mesh core: the topology that is in force changes nothing, and switches are so many a second", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }]);
  const [a] = mesh.servers;
  const [same, ...more] = a.step({
    ...{ kind: "topology", client: 1, id: 1, topology: "mesh" },
  });
  assert(same.kind === "tell" && same.message.type === "topology");
  assertEquals([same.message.by, more], [undefined, []]);
  for (let at = 0; at < SWITCHES_MAX; at++) {
    const topology = at % 2 === 0 ? "ring" : "bus";
    assertEquals(codeOf(a, 1, { kind: "topology", topology }), "topology");
  }
  const switched = a.effects.filter((effect) =>
    effect.kind === "log" && effect.entry.type === "topology"
  );
  assertEquals(switched.length, SWITCHES_MAX);
  const star = { kind: "topology", topology: "star" } as const;
  a.nowMs += 999;
  assertEquals(codeOf(a, 2, star), "busy");
  assertEquals(codeOf(a, 2, { kind: "topology" }), "topology");
  assertEquals(a.core.status.topology, "bus");
  a.nowMs += 1;
  assertEquals(codeOf(a, 2, star), "topology");
  assertEquals(a.core.status.topology, "star");
});

Deno.test("mesh core: who comes into a room twice is there once", () => {
  const server = alone();
  const kinds = () =>
    server.step({ kind: "join", client: 1, room: "tea" }).map((effect) =>
      effect.kind === "log" ? effect.entry.type : effect.kind
    );
  const before = () => server.core.streams[0].n;
  const n = before();
  assertEquals(kinds(), ["join", "tell"]);
  assertEquals(before(), n + 1);
  assertEquals(kinds(), ["tell"]);
  assertEquals(
    codeOf(server, 1, { kind: "leave", room: "coffee" }),
    "not-allowed",
  );
  assertEquals(before(), n + 1);
});

Deno.test("mesh core: a local message stays here", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }]);
  const [a] = mesh.servers;
  a.ask(1, login("Dana"));
  mesh.run();
  const before = mesh.events;
  const effects = a.step({
    ...{ kind: "say", client: 1, text: "psst", isLocal: true },
  });
  mesh.run();
  assertEquals(mesh.events, before);
  assert(effects.some(({ kind }) => kind === "deliver"));
});

Deno.test("mesh core: in a full mesh each server gets each event once", () => {
  const ids = ["A", "B", "C", "D", "E"];
  const mesh = new DrivenMesh(ids.map((id) => ({ id })));
  const [a] = mesh.servers;
  a.ask(1, login("Dana"));
  a.ask(1, SAY);
  mesh.run();
  assertEquals(mesh.events, 2 * 4);
  for (const { core } of mesh.servers) {
    assertEquals(core.counters.duplicates, 0);
    assertEquals(core.counters.delivered, 1);
  }
});

for (const topology of TOPOLOGIES) {
  Deno.test(`mesh core: a trace shows the way in a ${topology}`, () => {
    const ids = ["A", "B", "C", "D"];
    const mesh = new DrivenMesh(ids.map((id) => ({ id, topology })));
    const [a, b] = mesh.servers;
    b.step({ kind: "trace", client: 1, id: 7 });
    mesh.run();
    const trace = told(b.effects, 1).find(({ type }) => type === "trace");
    assert(trace?.type === "trace");
    assertEquals(trace.missing, []);
    const paths = trace.reports.map(({ path }) => path.join(""));
    assertEquals(
      paths,
      {
        mesh: ["BA", "BC", "BD"],
        ring: ["BA", "BC", "BAD"],
        bus: ["BA", "BC", "BCD"],
        star: ["BA", "BAC", "BAD"],
      }[topology],
    );
    const [shown] = a.ask(2, { kind: "topology" });
    assert(shown.type === "topology");
    assertEquals(
      shown.edges.map(([x, y]) => x + y),
      {
        mesh: ["AB", "AC", "AD", "BC", "BD", "CD"],
        ring: ["AB", "AD", "BC", "CD"],
        bus: ["AB", "BC", "CD"],
        star: ["AB", "AC", "AD"],
      }[topology],
    );
    assertEquals(shown.by, undefined);
  });
}

Deno.test("mesh core: who chooses a topology last has it everywhere", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }, { id: "C" }]);
  const [a, b, c] = mesh.servers;
  a.ask(1, { kind: "topology", topology: "ring" });
  mesh.wait(30);
  c.ask(1, { kind: "topology", topology: "star" });
  mesh.wait(30);
  for (const { core } of [a, b, c]) assertEquals(core.status.topology, "star");
});

Deno.test("mesh core: a server that is emptied names the others, least loaded first", () => {
  const mesh = new DrivenMesh(
    ["A", "B", "C"].map((id) => ({ id, address: `${id}:5001` })),
  );
  const [a, b] = mesh.servers;
  a.ask(1, login("Dana"));
  b.ask(1, login("Ahmad"));
  mesh.wait(1_200);
  mesh.wait(1_200);
  mesh.wait(1_200);
  mesh.wait(1_200);
  const move = a.ask(1, { kind: "drain", isUndone: false });
  assertEquals(move[0], {
    type: "system",
    text: "Server A is being emptied: go on at C:5001 or B:5001",
    notice: { code: "move", to: ["C:5001", "B:5001"] },
  });
  assertEquals(codeOf(a, 2, login("Lina")), "draining");
  a.ask(2, { kind: "drain", isUndone: true });
  assertEquals(a.ask(2, login("Lina")).at(-1)?.type, "system");
});

Deno.test("mesh core: a dm goes to its receiver and its sender alone", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }, { id: "C" }]);
  mesh.servers.forEach((server, at) => {
    server.ask(1, login(["Dana", "Ahmad", "Lina"][at]));
  });
  mesh.run();
  const [a, b, c] = mesh.servers;
  a.ask(1, { kind: "dm", to: "Ahmad", text: "psst" });
  mesh.run();
  const direct = ({ effects }: DrivenCore) =>
    told(effects, 1).filter(({ type }) => type === "dm").length;
  assertEquals([direct(a), direct(b), direct(c)], [1, 1, 0]);
});

Deno.test("mesh core: a dm is for whom its sender knew by that name, and for no namesake behind a cut", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }]);
  const [a, b] = mesh.servers;
  a.step({ kind: "link-down", link: 1, reason: "cut" });
  b.step({ kind: "link-down", link: 0, reason: "cut" });
  a.ask(1, login("Dana"));
  b.nowMs += 1;
  b.ask(1, login("Dana"));
  b.ask(2, login("Ahmad"));
  b.ask(2, { kind: "dm", to: "Dana", text: "psst" });
  const link = { kind: "link-up", incarnation: "again" } as const;
  a.step({ ...link, link: 1, peer: "B", isDialed: true });
  b.step({ ...link, link: 0, peer: "A", isDialed: false });
  mesh.run();
  mesh.wait(30);
  const isRenamed = told(b.effects, 1).some((one) =>
    one.type === "system" && one.notice?.code === "renamed"
  );
  assert(isRenamed);
  const direct = ({ effects }: DrivenCore) =>
    told(effects, 1).filter(({ type }) => type === "dm").length;
  assertEquals([direct(a), direct(b)], [0, 1]);
});

Deno.test("mesh core: a plain relay_msg is for this server's clients alone", () => {
  const mesh = new DrivenMesh([{ id: "A" }, { id: "B" }]);
  const [a] = mesh.servers;
  const before = mesh.events;
  const relay = {
    kind: "plain-relay",
    client: 9,
    from: "Eve",
    text: "hi",
  } as const;
  const effects = a.step({ ...relay, server: "Z" });
  assertEquals(effects.map(({ kind }) => kind), ["deliver"]);
  for (const server of ["A", "B"]) {
    const [answer] = told(a.step({ ...relay, server }), 9);
    assert(answer.type === "error");
    assertEquals(answer.code, "not-allowed");
  }
  mesh.run();
  assertEquals(mesh.events, before);
});

Deno.test("mesh core: an alone and idle server says nothing, and ticks on", () => {
  const server = new DrivenCore({ id: "A" });
  const kinds = Array.from({ length: 8 }, () => server.wait(250))
    .flatMap((effects) => effects.map(({ kind }) => kind));
  assertEquals(new Set(kinds), new Set(["timer"]));
});
