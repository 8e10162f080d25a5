import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";
import { until } from "../process/until.ts";
import { ScriptedMesh } from "./scripted_mesh.ts";
import { StallingServer } from "./stalling_server.ts";
import { Terminal, terminalTest } from "./terminal.ts";

const CTRL_D = "\x04";

const encode = (text: string) => new TextEncoder().encode(text);

function command(...args: string[]): readonly string[] {
  return [...program("skein"), ...args];
}

/** `skein` without a terminal; it runs on. */
function running(...args: string[]): RunningProcess {
  return new RunningProcess({
    ...{ name: "skein", command: command(...args), folder: "/" },
  });
}

/** `skein` with this input, to its end. */
async function skein(input: string, ...args: string[]) {
  await using process = running(...args);
  if (input !== "") await process.feed(encode(input));
  await process.endInput();
  const { code } = await process.ended();
  const log = process.lines.map((line) =>
    line.startsWith("{") ? JSON.parse(line).message as string : line
  );
  return { code, output: process.outputText(), log };
}

function seedForm({ address: { host, port } }: ScriptedMesh): string[] {
  return ["chat", host, String(port), "Dana"];
}

Deno.test("skein chat at a mesh: what is piped is sent in order, without a password, and 0 says that all arrived", async () => {
  using server = new ScriptedMesh();
  const lines = Array.from({ length: 9_000 }, (_, i) => `${i}`);
  const input = lines.join("\n");
  for (
    const args of [seedForm(server), ["chat", "-c", server.where, "-u", "Dana"]]
  ) {
    server.requests.length = 0;
    const { code, output, log } = await skein(input, ...args);
    assertEquals([code, output, log], [0, "", []]);
    assertEquals(server.texts, lines);
  }
});

Deno.test("skein chat at a mesh: what is refused is told with its line, and the exit says so", async () => {
  using server = new ScriptedMesh();
  const input = "one\n@nobody hi\n/join a b\n/fly\n@nobody\ntwo\n";
  const { code, log } = await skein(input, ...seedForm(server));
  assertEquals(code, 1);
  assertEquals(server.texts, ["one", "two"]);
  assertEquals(log.length, 4, JSON.stringify(log));
  assertStringIncludes(
    log.join("\n"),
    'to nobody of line 2 was not done: No user "nobody"',
  );
  assertStringIncludes(log.join("\n"), "Line 4 is left out");
});

Deno.test("skein chat at a mesh: a taken name ends a pipe with 1", async () => {
  using server = new ScriptedMesh({ taken: new Set(["Dana"]) });
  const { code, log } = await skein("hi\n", ...seedForm(server));
  assertEquals([code, log], [1, ["Somebody is here as Dana: username taken"]]);
  assertEquals(server.texts, []);
});

Deno.test("skein chat at a mesh: --json shows what comes, whole and harmless", async () => {
  using server = new ScriptedMesh();
  await using process = running(...seedForm(server), "--json");
  await until("it is there", () => server.names.length === 1);
  const said = { from: "Eve", server: "B", time: 1, n: 7 };
  await server.push({ type: "msg", ...said, text: "\u202e\n\x1b[2J" });
  await process.until("it is shown", () => process.outputBytes > 0);
  const output = process.outputText();
  assertEquals(JSON.parse(output).text, "\u202e\n\x1b[2J");
  assert(!output.includes("\u202e") && !output.includes("\x1b"));
  await process.endInput();
  assertEquals((await process.ended()).code, 0);
});

Deno.test("skein chat at a mesh: of several servers the least loaded that takes clients is taken", async () => {
  using a = new ScriptedMesh({ id: "A", clients: 5 });
  using b = new ScriptedMesh({ id: "B", clients: 3 });
  using c = new ScriptedMesh({ id: "C", clients: 1, isDraining: true });
  const where = [a, b, c].map((one) => one.where).join(",");
  const { code } = await skein("hi\n", "chat", "-c", where, "-u", "Dana");
  assertEquals([code, a.texts, b.texts, c.texts], [0, [], ["hi"], []]);
});

Deno.test("skein chat at a mesh: when its server goes it is at another at once, with its rooms, and sends nothing twice", async () => {
  using b = new ScriptedMesh({ id: "B" });
  const known = { id: "B", up: true, clients: 0, draining: false };
  using a = new ScriptedMesh({
    ...{ id: "A", others: [{ ...known, address: b.where }] },
  });
  await using process = running(...seedForm(a));
  await process.feed(encode("/join lab\none\n"));
  await until("the first message", () => a.texts.length === 1);
  a.script.isSilent = true;
  await process.feed(encode("two\n"));
  await until("the second message", () => a.texts.length === 2);
  a[Symbol.dispose]();
  // Before it has seen that, it would not be known of this one either.
  await process.line(/not known whether/);
  await process.feed(encode("three\n"));
  await until("the third message", () => b.texts.length === 1);
  assertEquals(b.texts, ["three"]);
  assert(b.requests.some((one) => one.type === "join" && one.room === "lab"));
  await process.endInput();
  assertEquals((await process.ended()).code, 1);
  assertStringIncludes(
    process.lines.join("\n"),
    '? not known whether \\"two\\" of line 3 arrived',
  );
});

Deno.test("skein chat at a mesh: its own name that a lost session still holds is waited for", async () => {
  const taken = new Set<string>();
  using server = new ScriptedMesh({ taken });
  await using process = running(...seedForm(server));
  await until("it is there", () => server.names.length === 1);
  taken.add("Dana");
  server.drop();
  await process.until("it is told", () => process.lines.length > 1);
  taken.delete("Dana");
  await process.feed(encode("again\n"));
  await process.endInput();
  assertEquals((await process.ended()).code, 0);
  assertEquals(server.texts, ["again"]);
});

Deno.test("skein chat at a mesh: it goes where a server that is emptied tells it to, and says goodbye first", async () => {
  using a = new ScriptedMesh({ id: "A" });
  using b = new ScriptedMesh({ id: "B" });
  await using process = running(...seedForm(a));
  await until("it is there", () => a.names.length === 1);
  a.script.isDraining = true;
  await a.push({
    ...{ type: "system", text: "Please move", code: "move", to: [b.where] },
  });
  await until("it has moved", () => b.names.length === 1);
  assertEquals([a.names, a.requests.at(-2)?.type], [[], "quit"]);
  await process.feed(encode("hi\n"));
  await process.endInput();
  assertEquals((await process.ended()).code, 0);
  assertEquals(b.texts, ["hi"]);
});

Deno.test("skein chat at a mesh: Ctrl-C ends one that waits for nothing with 0, and one that waits after it was told", async () => {
  using server = new ScriptedMesh();
  await using idle = running(...seedForm(server));
  await idle.feed(encode("/who\n"));
  await idle.until("it is there", () => idle.outputBytes > 0);
  idle.signal("SIGINT");
  assertEquals((await idle.ended()).code, 0);
  server.script.isSilent = true;
  await using waiting = running(...seedForm(server));
  await waiting.feed(encode("hi\n"));
  await until("it is sent", () => server.texts.length === 1);
  waiting.signal("SIGINT");
  await waiting.line(/Waiting for 1 request under way/);
  await server.push({ type: "ok", id: 3, n: 1 });
  assertEquals((await waiting.ended()).code, 0);
});

Deno.test("skein chat at a mesh: it gives up after --timeout, whether nobody answers or nothing is acknowledged", async () => {
  const late = ["--timeout", "600ms"];
  using silent = new ScriptedMesh({ isSilent: true });
  const sent = await skein("hi\n", ...seedForm(silent), ...late);
  assertEquals(sent.code, 1);
  assertStringIncludes(sent.log.join(), "Giving up: nothing was acknowledged");
  using gone = new ScriptedMesh();
  gone[Symbol.dispose]();
  for (const args of [seedForm(gone), ["chat", "-c", gone.where, "-u", "D"]]) {
    const none = await skein("hi\n", ...args, ...late);
    assertEquals(none.code, 1);
    assertStringIncludes(none.log.join(), "connection refused; still trying");
  }
});

Deno.test("skein topology: shows and switches, with the word at either end", async () => {
  using server = new ScriptedMesh();
  const at = ["-c", server.where];
  const shown = await skein("", "topology", ...at);
  assertEquals(shown.code, 0);
  assertStringIncludes(shown.output, "Topology mesh");
  const bus = await skein("", "topology", "bus", ...at);
  assertStringIncludes(bus.output, "Topology bus\n\n  A ── B ── C\n");
  const last = await skein("", "topology", ...at, "--json", "ring");
  assertEquals(JSON.parse(last.output).topology, "ring");
  const wrong = await skein("", "topology", "cube", ...at);
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.log.join(), '"cube" is none of "mesh"');
});

Deno.test("skein trace: who is missing is in the table and in the exit", async () => {
  using all = new ScriptedMesh();
  const good = await skein("", "trace", "-c", all.where);
  assertEquals(good.code, 0);
  assertStringIncludes(good.output, "B       A -> B");
  using some = new ScriptedMesh({ missing: ["C"] });
  const bad = await skein("", "trace", "-c", some.where);
  assertEquals(bad.code, 1);
  assertStringIncludes(bad.output, "C       NOT REACHED IN TIME");
  using gone = new ScriptedMesh();
  gone[Symbol.dispose]();
  const none = await skein("", "trace", "-c", gone.where);
  assertEquals([none.code, none.output], [1, ""]);
  assertStringIncludes(none.log.join(), "connection refused");
});

Deno.test("skein drain: tells how many are left, waits for them, and takes it back", async () => {
  using server = new ScriptedMesh({ id: "A", clients: 2 });
  const at = ["-c", server.where];
  const one = await skein("", "drain", ...at);
  assertEquals(
    [one.code, one.output],
    [0, "Server A is being emptied: 2 clients left\n"],
  );
  const late = await skein("", "drain", ...at, "--wait", "--timeout", "300ms");
  assertEquals(late.code, 1);
  assertStringIncludes(late.log.join(), "not empty after 0.3 s");
  await using waiting = running("drain", ...at, "--wait");
  await waiting.until("it waits", () => waiting.outputBytes > 0);
  server.script.clients = 0;
  assertEquals((await waiting.ended()).code, 0);
  assert(waiting.outputText().endsWith("Server A is empty\n"));
  const undone = await skein("", "drain", ...at, "--undo");
  assertEquals(undone.output, "Server A takes clients; it has 0 clients\n");
});

Deno.test("skein status: a mesh as a table, and whether it takes clients", async () => {
  const down = { id: "B", up: false, clients: 0, draining: false };
  using server = new ScriptedMesh({ id: "A", clients: 2, others: [down] });
  const open = await skein("", "status", "-c", server.where);
  assertEquals(open.code, 0);
  assertStringIncludes(open.output, "1 of 2 servers up, 2 clients");
  assertStringIncludes(open.output, "NOT REACHED");
  server.script.isDraining = true;
  const closed = await skein("", "status", "-c", server.where, "--json");
  assertEquals(closed.code, 1);
  assertEquals(JSON.parse(closed.output).service, "mesh");
});

Deno.test("skein chat at a mesh: --json says that it has moved, and shows what was said meanwhile before what comes", async () => {
  using b = new ScriptedMesh({ id: "B" });
  const known = { id: "B", up: true, clients: 0, draining: false };
  using a = new ScriptedMesh({
    ...{ id: "A", others: [{ ...known, address: b.where }] },
  });
  await using process = running(...seedForm(a), "--json");
  await until("it is there", () => a.names.length === 1);
  const said = { type: "msg", from: "Eve", server: "C" };
  const at = Date.now();
  await a.push({ ...said, text: "one", time: at, n: 1 });
  await process.until("it has come", () => process.outputBytes > 0);
  const line = (seq: number, text: string) => ({
    ...{ seq, time: new Date(at + seq - 1).toISOString() },
    ...{ server: "C", from: "Eve", text },
  });
  b.script.messages = [line(1, "one"), line(2, "two"), line(3, "three")];
  a[Symbol.dispose]();
  await until("it has moved", () => b.names.length === 1);
  await b.push({ ...said, text: "three", time: at + 2, n: 3 });
  await process.until(
    "all is shown",
    () => process.outputText().includes("three"),
  );
  const objects = process.outputText().split("\n").slice(1, -1)
    .map((text) => JSON.parse(text));
  assert(objects[0].gapMs >= 0);
  delete objects[0].gapMs;
  assertEquals(objects, [
    {
      ...{ type: "system", code: "moved", server: "B", was: "A", late: 1 },
      ...{ whole: true },
      text: "At Server B now. What others said in between follows: 1",
    },
    { ...said, text: "two", time: at + 1, seq: 2, late: true },
    { ...said, text: "three", time: at + 2, n: 3 },
  ]);
  await process.endInput();
  assertEquals((await process.ended()).code, 0);
});

Deno.test("skein chat at a mesh: a pipe says why its server takes nothing", async () => {
  using server = new ScriptedMesh({ isSilent: true });
  await using process = running(...seedForm(server), "--timeout", "2s");
  await process.feed(encode("one\n"));
  await process.endInput();
  await until("it is sent", () => server.texts.length === 1);
  const text = "Server A cannot write its log: disk full";
  await server.push({ type: "system", text, code: "waiting" });
  assertEquals((await process.ended()).code, 1);
  assertStringIncludes(
    process.lines.join("\n"),
    `nothing was acknowledged for 2 s (${text})`,
  );
});

Deno.test("skein chat at a mesh: when no server is left it names those that were given, too", async () => {
  const names = ["A", "B", "C"].map((id) => new ScriptedMesh({ id }));
  using a = names[0];
  const others = names.slice(1).map((one) => ({
    ...{ id: one.script.id ?? "", up: true, clients: 0, draining: false },
    address: one.where,
  }));
  a.script.others = others;
  await using process = running(...seedForm(a));
  await until("it is there", () => a.names.length === 1);
  for (const one of names) one[Symbol.dispose]();
  const told = await process.line(/nor/);
  for (const one of names) assertStringIncludes(told, one.where);
});

Deno.test("skein: a command at a server of the other service says so", async () => {
  using mesh = new ScriptedMesh();
  using group = new StallingServer();
  const at = { mesh: ["-c", mesh.where], group: ["-c", group.address] };
  const [host, port] = group.address.split(":");
  const person = ["-u", "ann", "--timeout", "5s"];
  const secret = Deno.makeTempFileSync();
  await Deno.writeTextFile(secret, "a password\n");
  const table: readonly (readonly [readonly string[], string])[] = [
    [
      ["leave", ...at.mesh],
      `${mesh.where} is a mesh server: \\"skein drain\\" sends`,
    ],
    [
      [
        "chat",
        "--service",
        "chat",
        ...at.mesh,
        ...person,
        "--password-file",
        secret,
      ],
      `${mesh.where} is a mesh server, not one of a chat group`,
    ],
    [["chat", "--service", "mesh", ...at.group, ...person], "a chat group"],
    [["chat", host, port, "ann"], "a chat group"],
    [["topology", ...at.group], "is of a chat group; a mesh server is wanted"],
    [["trace", ...at.group], "is of a chat group; a mesh server is wanted"],
    [["drain", ...at.group], "is of a chat group; a mesh server is wanted"],
  ];
  for (const [args, wanted] of table) {
    const { code, log } = await skein("", ...args);
    const text = JSON.stringify(log.join("\n"));
    assertEquals(code, 1, `${args.join(" ")}: ${text}`);
    assertStringIncludes(text, wanted, args.join(" "));
  }
  Deno.removeSync(secret);
});

Deno.test("skein trace: what is no chat server at all is not taken for one", async () => {
  await using web = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response("no"),
  );
  const where = `127.0.0.1:${web.addr.port}`;
  const { code, log } = await skein("", "trace", "-c", where);
  assertEquals([code, log], [
    1,
    [`Cannot reach ${where}: It is no chat server`],
  ]);
});

terminalTest(
  "skein chat at a mesh: a person is asked for a name, sees others above what is typed, and talks to a room",
  async () => {
    using server = new ScriptedMesh({ taken: new Set(["Ann"]) });
    await using terminal = new Terminal(command("chat", "-c", server.where));
    await terminal.types("Ann\r", /Name: /);
    await terminal.types("Dana\r", /username taken[^]*Name: /);
    await terminal.types("half a li", /Welcome Dana to Server A[^]*> /);
    await terminal.shows(/half a li/);
    const said = { from: "Eve", server: "B", time: Date.now(), n: 1 };
    const text = "hi\x1b[1A\n[12:00 A] Bob: forged";
    await server.push({ type: "msg", ...said, text });
    await terminal.shows(
      /\[\d\d:\d\d B\] Eve: hi\\x1b\[1A\r\n {15}\[12:00 A\] Bob: forged\r\n[^]*half a li/,
    );
    // Two of one name may have met only now.
    const other = { type: "msg", from: "Dana", time: Date.now(), n: 1 };
    await server.push({ ...other, server: "B", text: "another Dana" });
    await terminal.shows(/\d B\] Dana: another Dana\r\n[^]*half a li/);
    await terminal.feed(encode("ne\r/room lab\r"));
    await terminal.shows(/You are in #lab, and talk to it[^]*#lab> /);
    await terminal.feed(encode("to the lab\r/all\r"));
    await until("three lines", () => server.texts.length === 2);
    await terminal.shows(/You talk to all/);
    await terminal.feed(encode(CTRL_D));
    assertEquals((await terminal.ended()).code, 0);
    assertEquals(server.texts, ["half a line", "to the lab"]);
    // One's own words are where they were typed, and nowhere else.
    assert(!terminal.outputText().includes("Dana: half a line"));
  },
);

terminalTest(
  "skein chat at a mesh: a person hears that the server is gone, and what became of the last line",
  async () => {
    using server = new ScriptedMesh();
    await using terminal = new Terminal(command(...seedForm(server)));
    await terminal.shows(/Welcome Dana/);
    server.script.isSilent = true;
    await terminal.types("lost?\r", /> /);
    await until("it is sent", () => server.texts.length === 1);
    server.drop();
    await terminal.shows(/\? not known whether "lost\?" arrived/);
    await terminal.shows(/At Server A now/);
    await terminal.feed(encode(CTRL_D));
    assertEquals((await terminal.ended()).code, 0);
    assertEquals(server.texts, ["lost?"]);
  },
);

terminalTest(
  "skein chat at a mesh: a person who moved reads what was said meanwhile, or that it may be missing",
  async () => {
    using server = new ScriptedMesh({ id: "B" });
    await using terminal = new Terminal(command(...seedForm(server)));
    await terminal.shows(/Welcome Dana/);
    server.drop();
    await terminal.shows(
      /At Server B now[^]*others said in between \(\d\.\d s\) is not shown: \/history/,
    );
    const time = new Date(Date.now() + 1_000).toISOString();
    const said = { seq: 1, time, server: "C", from: "Eve", text: "meanwhile" };
    server.script.messages = [said];
    server.drop();
    await terminal.shows(/At Server B now[^]*\d C, late\] Eve: meanwhile\r\n/);
    await terminal.feed(encode(CTRL_D));
    assertEquals((await terminal.ended()).code, 0);
  },
);

terminalTest(
  "skein chat at a mesh: Ctrl-D says what is waited for, and Ctrl-C then leaves",
  async () => {
    using server = new ScriptedMesh({ isSilent: true });
    await using terminal = new Terminal(command(...seedForm(server)));
    await terminal.types("one\rtwo\r", /Welcome Dana[^]*> /);
    await until("both are sent", () => server.texts.length === 2);
    await terminal.feed(encode(CTRL_D));
    await terminal.shows(/Waits for the answer to 2 lines; Ctrl-C leaves/);
    await terminal.feed(encode("\x03"));
    assertEquals((await terminal.ended()).code, 130);
  },
);
