import { assert, assertEquals, assertMatch } from "@std/assert";
import type { HistoryQuestion } from "../../../../nodes/mesh/clients/history.ts";
import {
  HISTORY_LIMIT_DEFAULT,
  type HistoryLine,
  MESH_REQUEST_BYTES_MAX,
} from "../../../../protocol/mesh.ts";
import { TRACES_MAX } from "../../../../nodes/mesh/traces.ts";
import type { PeerMessage } from "../../../../protocol/mesh_peer.ts";
import { until } from "../../../process/until.ts";
import { Served } from "./served.ts";

const ENCODER = new TextEncoder();

Deno.test("mesh clients: the seed's messages, byte for byte", async () => {
  await using served = new Served();
  using dana = await served.connect();
  await dana.send('{"type":"login","username":"Dana"}\n');
  assertEquals(
    await dana.line(),
    '{"type":"system","text":"Welcome Dana to Server A"}',
  );
  using other = await served.connect();
  await other.send('{"type":"login","username":"Dana"}\n');
  assertEquals(await other.line(), '{"type":"error","text":"username taken"}');
  await other.send('{"type":"login","username":"Ahmad"}\n');
  assertEquals(
    await other.line(),
    '{"type":"system","text":"Welcome Ahmad to Server A"}',
  );
  await dana.send('{"type":"msg","text":"Hello everyone!"}\n');
  const said =
    '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!"}';
  assertEquals(await dana.line(), said);
  assertEquals(await other.line(), said);
  await other.send('{"type":"quit"}\n');
  assertEquals(await other.rest(), "");
  await dana.send('{"type":"quit"}\n');
  assertEquals(await dana.rest(), "");
  assertEquals(
    served.logged.map(({ type, from }) => `${type} ${from ?? ""}`),
    [
      "start ",
      ...["login Dana", "login Ahmad", "msg Dana"],
      ...["logout Ahmad", "logout Dana"],
    ],
  );
});

Deno.test("mesh clients: with more, everything has its fields, and ids are answered", async () => {
  await using served = new Served();
  using dana = await served.login("Dana", { more: true, id: 1 });
  using plain = await served.login("Plain");
  assertEquals(JSON.parse(await dana.line()), {
    ...{ type: "presence", event: "login", name: "Plain", server: "A" },
  });
  await dana.send({ type: "msg", text: "Hi", id: "m1" });
  const [first, second] = (await dana.lines(2)).map((line) => JSON.parse(line));
  assertEquals(first.type, "msg");
  assert(first.n > 0 && first.time > 0);
  assertEquals(second, { type: "ok", id: "m1", n: first.n });
  assertEquals(
    await plain.line(),
    '{"type":"msg","from":"Dana","server":"A","text":"Hi"}',
  );
  await dana.send({ type: "msg", text: "x\u0007", id: "m2" });
  const refused = JSON.parse(await dana.line());
  assertEquals([refused.type, refused.code, refused.id], [
    ...["error", "control-character", "m2"],
  ]);
});

Deno.test("mesh clients: rooms and direct messages reach those alone, in order", async () => {
  await using served = new Served();
  using dana = await served.login("Dana");
  using ahmad = await served.login("Ahmad");
  using lina = await served.login("Lina");
  await dana.send({ type: "join", room: "tea" });
  assertMatch(await dana.line(), /tea/);
  await ahmad.send({ type: "join", room: "tea" });
  assertMatch(await ahmad.line(), /tea/);
  await dana.send({ type: "msg", text: "one" });
  await dana.send({ type: "msg", text: "two", room: "tea" });
  await dana.send({ type: "dm", to: "Ahmad", text: "three" });
  await dana.send({ type: "msg", text: "four" });
  const texts = (lines: string[]) => lines.map((line) => JSON.parse(line).text);
  assertEquals(texts(await ahmad.lines(4)), ["one", "two", "three", "four"]);
  assertEquals(texts(await dana.lines(4)), ["one", "two", "three", "four"]);
  assertEquals(texts(await lina.lines(2)), ["one", "four"]);
});

Deno.test("mesh clients: what is wrong is told to its sender, who goes on", async () => {
  await using served = new Served();
  using other = await served.login("Other");
  using dana = await served.login("Dana");
  const bad: readonly (readonly [string | Uint8Array, RegExp])[] = [
    ["hello\n", /not JSON/],
    ['{"type":"shout"}\n', /"type" is "shout"/],
    [new Uint8Array([0x7b, 0xff, 0xfe, 0x7d, 10]), /not UTF-8/],
    [ENCODER.encode('{"type":"msg","text":"\\u0000"}\n'), /NUL/],
    [`${"x".repeat(MESH_REQUEST_BYTES_MAX + 100)}\n`, /limit is 65536/],
    [`{"type":"msg","text":"${"x".repeat(20_000)}"}\n`, /limit is 16384/],
    ['{"type":"login","username":"Dana"}\n', /logged in already/],
    [
      '{"type":"relay_msg","from":"E","origin_server":"Z","text":"x","timestamp":1}\n',
      /speaks for a user/,
    ],
  ];
  for (const [request, why] of bad) {
    await dana.send(request);
    const line = await dana.line();
    const { type, text, ...rest } = JSON.parse(line);
    assertEquals([type, rest], ["error", {}]);
    assertMatch(text, why);
  }
  await dana.send({ type: "msg", text: "still here" });
  assertMatch(await dana.line(), /still here/);
  assertMatch(await other.line(), /still here/);
});

Deno.test("mesh clients: a name that cannot be one is refused as bare as it was asked", async () => {
  await using served = new Served();
  using dana = await served.connect();
  for (const username of ["", "a\u0007", "n".repeat(10_000), "a b"]) {
    await dana.send({ type: "login", username });
    const { type, text, ...rest } = JSON.parse(await dana.line());
    assertEquals([type, rest], ["error", {}]);
    assertMatch(text, /Cannot take a name/);
    await dana.send({ type: "login", username, more: true });
    assertEquals(JSON.parse(await dana.line()).code, "invalid-name");
  }
  await dana.send({ type: "login", username: "Dana" });
  assertMatch(await dana.line(), /Welcome Dana/);
});

Deno.test("mesh clients: what needs a login and what does not", async () => {
  await using served = new Served();
  using stranger = await served.connect();
  const text = "x";
  for (
    const request of [
      { type: "msg", text },
      { type: "dm", to: "Dana", text },
      { type: "join", room: "r" },
      { type: "leave", room: "r" },
      ...[{ type: "who" }, { type: "rooms" }, { type: "history" }],
    ]
  ) {
    await stranger.send({ ...request, id: 4 });
    const answer = JSON.parse(await stranger.line());
    assertEquals([answer.code, answer.id], ["not-logged-in", 4]);
  }
  const answers = [
    ["ping", "pong"],
    ["help", "help"],
    ["status", "status"],
    ["topology", "topology"],
    ["trace", "trace"],
  ];
  for (const [type, answered] of answers) {
    await stranger.send({ type, id: 5 });
    const answer = JSON.parse(await stranger.line());
    assertEquals([answer.type, answer.id], [answered, 5]);
  }
  await stranger.send({ type: "quit" });
  assertEquals(await stranger.rest(), "");
});

Deno.test("mesh clients: strangers hear nothing of what is said, and get little memory", async () => {
  await using served = new Served();
  using stranger = await served.connect();
  await stranger.send({ type: "ping" });
  assertEquals(await stranger.line(), '{"type":"pong"}');
  using dana = await served.login("Dana");
  await dana.send({ type: "msg", text: "secret" });
  await dana.line();
  await stranger.send(`${" ".repeat(20_000)}{"type":"ping"}\n`);
  assertMatch(await stranger.line(), /limit is 16384/);
  await stranger.send({ type: "ping" });
  assertEquals(await stranger.line(), '{"type":"pong"}');
});

Deno.test("mesh clients: all that was written at once is answered when a client closes its side", async () => {
  await using served = new Served();
  using client = await served.connect();
  await client.send(
    '{"type":"login","username":"Nc"}\n{"type":"msg","text":"one"}\n' +
      '{"type":"trace","id":1}\n{"type":"msg","text":"two"}',
  );
  await client.conn.closeWrite();
  const lines = (await client.rest()).trimEnd().split("\n");
  assertEquals(
    lines.map((line) => JSON.parse(line).text ?? "trace").toSorted(),
    [
      ...["Welcome Nc to Server A", "one", "trace", "two"],
    ],
  );
  await until("it is logged out", () => served.core.status.clients === 0);
});

Deno.test("mesh clients: a vanished client is logged out, and its name is free", async () => {
  await using served = new Served();
  const dana = await served.login("Dana");
  dana.conn.close();
  await until("it is logged out", () => served.core.status.clients === 0);
  using again = await served.login("Dana");
  assertEquals(served.clients.count, 1);
  await again.send({ type: "ping" });
  assertEquals(await again.line(), '{"type":"pong"}');
});

Deno.test("mesh clients: history is asked for in turn, and answered in bounds", async () => {
  const asked: HistoryQuestion[] = [];
  const manyFiles = new Error("Cannot read it", {
    cause: Object.assign(new Error("Too many open files"), { code: "EMFILE" }),
  });
  const message = (seq: number): HistoryLine => ({
    ...{ seq, time: "2026-11-21T00:00:00.000Z", server: "A", from: "Dana" },
    text: "\n".repeat(10_000),
  });
  await using served = new Served({
    history(question) {
      asked.push(question);
      if (question.before === 13) return Promise.reject(new Error("no disk"));
      if (question.before === 14) return Promise.reject(manyFiles);
      const count = question.limit;
      const messages = Array.from({ length: count }, (_, i) => message(i + 1));
      return Promise.resolve({ messages, more: false });
    },
  });
  using dana = await served.login("Dana");
  await dana.send(
    '{"type":"history","id":1,"limit":2,"room":"tea","before":9}\n' +
      '{"type":"ping","id":2}\n{"type":"history","id":3}\n',
  );
  const [first, second, third] = (await dana.lines(3)).map((line) =>
    JSON.parse(line)
  );
  assertEquals([first.type, first.id, first.room, first.more], [
    ...["history", 1, "tea", false],
  ]);
  assertEquals(first.messages.map(({ seq }: HistoryLine) => seq), [1, 2]);
  assertEquals(second, { type: "pong", id: 2 });
  // The newest that fit into 256 KiB, and the rest with `before`.
  assertEquals([third.id, third.more], [3, true]);
  assertEquals(third.messages.at(-1).seq, HISTORY_LIMIT_DEFAULT);
  assert(third.messages.length < HISTORY_LIMIT_DEFAULT);
  assertEquals(asked, [
    { limit: 2, room: "tea", before: 9 },
    { limit: HISTORY_LIMIT_DEFAULT },
  ]);
  const codeFor = async (before: number) => {
    await dana.send({ type: "history", before, id: 4 });
    const { type, code, id } = JSON.parse(await dana.line());
    assertEquals([type, id], ["error", 4]);
    return code;
  };
  // Nobody may make the operator read the same again and again.
  for (let i = 0; i < 20; i++) assertEquals(await codeFor(13), "unreadable");
  assertEquals(served.warnings, ["Cannot read the history: no disk"]);
  assertEquals(await codeFor(14), "busy");
});

Deno.test("mesh clients: many histories are read a few at a time, and each is answered", async () => {
  let open = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  await using served = new Served({
    async history() {
      most = Math.max(most, ++open);
      await new Promise<void>((resolve) => waiting.push(resolve));
      open -= 1;
      return { messages: [], more: false };
    },
  });
  const clients = await Promise.all(
    Array.from({ length: 10 }, (_, i) => served.login(`n${i}`)),
  );
  for (const client of clients) await client.send({ type: "history" });
  for (let i = 0; i < clients.length; i++) {
    await until("one is read", () => waiting.length > 0);
    waiting.shift()?.();
  }
  for (const client of clients) {
    assertEquals(JSON.parse(await client.line()).type, "history");
    client.conn.close();
  }
  assertEquals(most, 4);
});

Deno.test("mesh clients: while the log is full nothing is taken that is logged, and nothing is lost", async () => {
  await using served = new Served();
  using dana = await served.login("Dana", { more: true });
  using ahmad = await served.login("Ahmad");
  assertMatch(await dana.line(), /presence/);
  served.fillLog();
  await dana.send({ type: "msg", text: "one" });
  const waiting = JSON.parse(await dana.line());
  assertEquals([waiting.type, waiting.code], ["system", "waiting"]);
  await dana.send({ type: "msg", text: "two" });
  await ahmad.send({ type: "msg", text: "three" });
  assertMatch(await ahmad.line(), /^\{"type":"system","text":"[^"]+"\}$/);
  assertEquals(served.logged.filter(({ type }) => type === "msg"), []);
  served.emptyLog();
  const lines = (await dana.lines(4)).map((line) => JSON.parse(line));
  assertEquals(lines[0].code, "going-on");
  assertEquals(
    lines.slice(1).map(({ text }) => text).toSorted(),
    ["one", "three", "two"],
  );
  assertEquals(served.logged.filter(({ type }) => type === "msg").length, 3);
});

Deno.test("mesh clients: while the log is full, what is not logged goes on", async () => {
  await using served = new Served();
  using dana = await served.login("Dana", { more: true });
  using talker = await served.login("Talker");
  assertMatch(await dana.line(), /presence/);
  served.fillLog();
  using stranger = await served.connect();
  const anybodys = ["ping", "help", "status", "topology", "trace"];
  for (const type of anybodys) {
    await stranger.send({ type, id: 1 });
    assertMatch(await stranger.line(), new RegExp(`"type":"(${type}|pong)"`));
  }
  for (const type of [...anybodys, "who", "rooms", "history"]) {
    await dana.send({ type, id: 1 });
    assertMatch(await dana.line(), new RegExp(`"type":"(${type}|pong)"`));
  }
  // Each of these would be logged; what is written behind it keeps its place.
  await stranger.send({ type: "login", username: "Late", more: true });
  await stranger.send({ type: "ping", id: 2 });
  await talker.send({ type: "topology", topology: "ring", id: 3 });
  await dana.send({ type: "join", room: "tea" });
  for (const client of [stranger, talker, dana]) {
    assertMatch(await client.line(), /The log is behind/);
  }
  assertEquals(served.logged.map(({ type }) => type), [
    ...["start", "login", "login"],
  ]);
  served.clients.check(performance.now() + 3_600_000);
  assertEquals(served.clients.counters.timeouts, 0);
  served.emptyLog();
  const codes = (await stranger.lines(3)).map((line) => {
    const { code, type } = JSON.parse(line);
    return code ?? type;
  });
  assertEquals(codes, ["going-on", "welcome", "pong"]);
  assertMatch(await talker.line(), /has caught up/);
  assertMatch(await talker.line(), /"topology":"ring"/);
  await until(
    "the room is joined",
    () => served.logged.some(({ type }) => type === "join"),
  );
});

Deno.test("mesh clients: a plain line of another server reaches local clients alone", async () => {
  await using served = new Served();
  using dana = await served.login("Dana");
  using peer = await served.connect();
  const line = (origin_server: string) =>
    `{"type":"relay_msg","from":"Zoe","origin_server":"${origin_server}","text":"Hello from Z","timestamp":1732199912}\n`;
  await peer.send(line("Z"));
  assertEquals(
    await dana.line(),
    '{"type":"msg","from":"Zoe","server":"Z","text":"Hello from Z"}',
  );
  // It counts as a server's, which may have longer lines than a stranger's.
  const long = " ".repeat(20_000);
  await peer.send(`${long}{"type":"ping"}\n`);
  assertMatch(await peer.line(), /pong/);
  await peer.send(line("A"));
  assertEquals(JSON.parse(await peer.line()).code, "not-allowed");
  assertEquals(served.logged.some(({ type }) => type === "msg"), false);
  // One that was refused is a stranger's.
  await peer.send(`${long}{"type":"ping"}\n`);
  assertMatch(await peer.line(), /limit is 16384/);
  served.clients.check(performance.now() + 61_000);
  assertEquals(JSON.parse(await peer.rest()).code, "timeout");

  await using keyed = new Served({ isKeyed: true });
  using stray = await keyed.connect();
  await stray.send(line("Z"));
  assertEquals(JSON.parse(await stray.line()).code, "key-required");
});

Deno.test("mesh clients: above the bound of connections one is told so", async () => {
  await using served = new Served({ connectionsMax: 2 });
  using _one = await served.login("One");
  const two = await served.login("Two");
  using three = await served.connect();
  await three.send({ type: "ping" });
  assertMatch(await three.rest(), /"code":"busy"/);
  two.conn.close();
  await until("there is room", () => served.clients.count === 1);
  using _again = await served.login("Three");
});

Deno.test("mesh clients: drained from here, people are sent away; a stop says so", async () => {
  const served = new Served();
  using dana = await served.login("Dana", { more: true });
  await dana.send({ type: "drain", id: 1 });
  const lines = (await dana.lines(2)).map((line) => JSON.parse(line));
  assert(lines.some(({ code }) => code === "move"), JSON.stringify(lines));
  using late = await served.connect();
  await late.send({ type: "login", username: "Late" });
  assertMatch(await late.line(), /^\{"type":"error","text":"/);
  await served[Symbol.asyncDispose]();
  assertEquals(JSON.parse(await dana.rest()).code, "shutting-down");
  assertEquals(served.closed, 2);
});

/** Another server, which is there and reports no trace. */
function meetSilent(served: Served): void {
  const link = { link: 1, timeMs: Date.now() };
  served.input({
    ...{ ...link, kind: "link-up", peer: "B", isDialed: false },
    incarnation: "0".repeat(32),
  });
  const say = (message: PeerMessage) =>
    served.input({ ...link, kind: "peer", message });
  say({ kind: "hello", generation: 1, known: 0 });
  say({
    ...{ kind: "beat", seen: [] },
    servers: [{
      ...{ id: "B", generation: 1, version: 1, neighbours: ["A"] },
      ...{ clients: 0, draining: false },
    }],
    topology: { topology: "mesh", version: 0, by: "B" },
  });
}

Deno.test("mesh clients: who ends its side is let go when its last trace is over, however many were refused", async () => {
  await using served = new Served();
  meetSilent(served);
  using client = await served.login("Nc");
  await client.send('{"type":"trace"}\n'.repeat(TRACES_MAX + 2));
  await client.conn.closeWrite();
  const types = (await client.rest()).trimEnd().split("\n")
    .map((line) => JSON.parse(line).type);
  assertEquals(types, [
    ...["error", "error"],
    ...new Array(TRACES_MAX).fill("trace"),
  ]);
});

Deno.test("mesh clients: a switch too many is no trace that is over", async () => {
  await using served = new Served();
  meetSilent(served);
  using client = await served.login("Nc");
  const switches = ["ring", "bus"].map((topology) =>
    `${JSON.stringify({ type: "topology", topology })}\n`
  ).join("").repeat(10);
  await client.send(`{"type":"trace"}\n${switches}`);
  await client.conn.closeWrite();
  const types = (await client.rest()).trimEnd().split("\n")
    .map((line) => JSON.parse(line).type);
  assertEquals(types.length, 21);
  assertEquals(types.at(-1), "trace");
});

Deno.test("mesh clients: TLS and other bytes that are no text are refused at once, with all that follows", async () => {
  await using served = new Served();
  const login = '\n{"type":"login","username":"Eve"}\n';
  for (const first of [0x16, 0x00, 0x1b]) {
    using client = await served.connect();
    await client.send(
      Uint8Array.from([first, 3, 1, 2, 0, ...ENCODER.encode(login)]),
    );
    const { type, code, text } = JSON.parse(await client.rest());
    assertEquals([type, code], ["error", "invalid-message"]);
    assertMatch(text, /TLS/);
  }
  assertEquals(served.logged.map(({ type }) => type), ["start"]);
  for (const first of ["\n", "\r\n", "\t", " "]) {
    using client = await served.connect();
    await client.send(`${first}{"type":"ping"}\n`);
    assertEquals(await client.line(), '{"type":"pong"}');
  }
});
