import { assert, assertEquals } from "@std/assert";
import {
  MemoryWorld,
  PASSWORD,
  SILENT,
  unwritable,
  writable,
} from "./service_fixture.ts";

const SEND = { type: "send", to: "ann", text: "x" };

Deno.test("service: a lost command is proposed again after a second, and done once", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.isDropping = true;
  const id = ann.send(SEND);
  await world.settle();
  world.node.isDropping = false;
  await world.pass(900);
  assertEquals(ann.pushed, []);
  await world.pass(200);
  assertEquals(ann.answer(id).type, "ok");
  await world.pass(2_000);
  assertEquals(ann.pushed, ["x"]);
});

Deno.test("service: what is committed twice is done once and answered once", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.isHolding = true;
  const id = ann.send(SEND);
  await world.settle();
  const [command] = world.node.proposed;
  world.node.commit([command, command]);
  await world.settle();
  assertEquals(ann.answer(id).type, "ok");
  assertEquals(ann.pushed, ["x"]);
});

Deno.test("service: after a change of the group all that is open goes again, oldest first", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.change(unwritable("a majority"));
  world.node.isDropping = true;
  const ids = ["1", "2", "3"].map((text) => ann.send({ ...SEND, text }));
  await world.settle();
  world.node.isDropping = false;
  world.node.change(writable());
  await world.settle();
  assertEquals(ann.pushed, ["1", "2", "3"]);
  assertEquals(ids.map((id) => ann.answer(id).seq), [1, 2, 3]);
});

Deno.test("service: a command that overtook a lost one waits for it", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.isHolding = true;
  for (const text of ["1", "2", "3"]) ann.send({ ...SEND, text });
  await world.settle();
  const [, ...rest] = world.node.proposed.splice(0);
  const before = world.node.service.counters.proposals;
  world.node.commit(rest);
  await world.settle();
  // Both met the same gap: that is proposed again once, with what follows.
  assertEquals(world.node.service.counters.proposals - before, 3);
  world.node.commit();
  await world.settle();
  assertEquals(ann.pushed, ["1", "2", "3"]);
});

Deno.test("service: a request that takes too long is told so, and its retry is the same one", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.isDropping = true;
  const id = ann.send({ ...SEND, seq: 1 });
  await world.settle();
  await world.pass(10_000);
  const late = ann.answer(id);
  assertEquals([late.code, late.outcome], ["timeout", "indefinite"]);
  const again = ann.send({ ...SEND, seq: 1 });
  world.node.isDropping = false;
  await world.pass(1_000);
  assertEquals(ann.answer(again).type, "ok");
  assertEquals(ann.pushed, ["x"]);
});

Deno.test("service: a group without a primary refuses writes after a while, not before", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.isDropping = true;
  world.node.change(unwritable("server-2 is missing"));
  await world.pass(2_900);
  const held = ann.send(SEND);
  await world.pass(200);
  const refused = await ann.ask(SEND);
  assertEquals([refused.code, refused.outcome], ["no-primary", "definite"]);
  assert(String(refused.text).includes("server-2 is missing"));
  world.node.isDropping = false;
  world.node.change(writable());
  await world.settle();
  assertEquals(ann.answer(held).seq, 1);
  assertEquals((await ann.ask(SEND)).seq, 2);
});

Deno.test("service: a session goes on at another server, and its retries are exactly once", async () => {
  const world = new MemoryWorld({ nodes: 2 });
  const [one, two] = world.nodes;
  const ann = await world.client("ann", one);
  const { session, secret } = ann.answers[1];
  one.isHolding = true;
  ann.send({ ...SEND, text: "1", seq: 1 });
  ann.send({ ...SEND, text: "2", seq: 2 });
  await world.settle();
  const commands = one.proposed.splice(0);
  ann.drop();
  two.commit(commands.slice(0, 1));
  const again = world.connect(two);
  const resumed = await again.ask({ type: "resume", session, secret });
  assertEquals([resumed.user, resumed.lastSeq], ["ann", 1]);
  const first = await again.ask({ ...SEND, text: "1", seq: 1 });
  assertEquals(
    first.n,
    world.node.state.core.sessions.get(String(session)) && 3,
  );
  await again.ask({ ...SEND, text: "2", seq: 2 });
  // What the first server proposed comes late: it is known already.
  two.commit(commands.slice(1));
  await world.settle();
  const { messages } = await again.ask({ type: "list", after: 0 });
  assert(Array.isArray(messages));
  assertEquals(messages.map(({ text }) => text), ["1", "2"]);
});

Deno.test("service: a number taken by what another server still had makes the next one free", async () => {
  const world = new MemoryWorld({ nodes: 2 });
  const [one, two] = world.nodes;
  const ann = await world.client("ann", one);
  const { session, secret } = ann.answers[1];
  one.isHolding = true;
  ann.send({ ...SEND, text: "from one" });
  await world.settle();
  ann.drop();
  const again = world.connect(two);
  await again.ask({ type: "resume", session, secret });
  two.isHolding = true;
  const ids = ["a", "b"].map((text) => again.send({ ...SEND, text }));
  await world.settle();
  one.commit();
  two.isHolding = false;
  two.commit();
  await world.settle();
  assertEquals(ids.map((id) => again.answer(id).type), ["ok", "ok"]);
  // "a" lost its number and got one behind "b", which was on its way.
  assertEquals(again.pushed, ["from one", "b", "a"]);
});

Deno.test("service: a second connection takes the session over", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  const { session, secret } = ann.answers[1];
  const again = world.connect();
  await again.ask({ type: "resume", session, secret });
  assertEquals(ann.answers.at(-1)?.code, "session-moved");
  assert(ann.isClosed);
  assertEquals((await again.ask(SEND)).type, "ok");
});

Deno.test("service: a session needs its secret", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  const { session } = ann.answers[1];
  const secret = "0".repeat(32);
  const thief = world.connect();
  const refused = await thief.ask({ type: "resume", session, secret });
  assertEquals(refused.code, "session-unknown");
  assertEquals((await ann.ask(SEND)).type, "ok");
});

Deno.test("service: a server that is behind waits for what the client has seen", async () => {
  const world = new MemoryWorld({ nodes: 2 });
  const [one, two] = world.nodes;
  two.isBehind = true;
  const ann = await world.client("ann", one);
  const { session, secret } = ann.answers[1];
  const { n } = await ann.ask(SEND);
  const again = world.connect(two);
  const resume = again.send({ type: "resume", session, secret, seen: n });
  await world.settle();
  assertEquals(again.answers, []);
  two.isBehind = false;
  world.deliver();
  await world.settle();
  assertEquals(again.answer(resume).user, "ann");
  two.isBehind = true;
  const { n: next } = await again.ask({ ...SEND, seq: 2 }).catch(() => ({
    n: 0,
  }));
  assertEquals(next, 0);
  const late = again.send({ type: "list", seen: world.entries.length });
  await world.pass(10_000);
  assertEquals(again.answer(late).code, "timeout");
});

Deno.test("service: a linearizable list sees what was acknowledged elsewhere", async () => {
  const world = new MemoryWorld({ nodes: 2 });
  const [one, two] = world.nodes;
  const ann = await world.client("ann", one);
  const bob = await world.client("bob", two);
  two.isBehind = true;
  await ann.ask({ type: "send", to: "bob", text: "new" });
  const texts = (answer: Record<string, unknown>) => {
    const { messages } = answer;
    assert(Array.isArray(messages));
    return messages.map(({ text }) => text);
  };
  assertEquals(texts(await bob.ask({ type: "list" })), []);
  const id = bob.send({ type: "list", linearizable: true });
  await world.settle();
  two.isBehind = false;
  world.deliver();
  await world.settle();
  assertEquals(texts(bob.answer(id)), ["new"]);
  two.isReadable = false;
  const unknown = bob.send({ type: "list", linearizable: true });
  await world.pass(5_000);
  two.isReadable = true;
  await world.pass(100);
  assertEquals(texts(bob.answer(unknown)), ["new"]);
});

Deno.test("service: who is logged out elsewhere is told, and loses nothing but the session", async () => {
  const world = new MemoryWorld({ nodes: 2 });
  const [one, two] = world.nodes;
  const ann = await world.client("ann", one);
  const other = await world.client("ann", two);
  await other.ask({ type: "delete_account", password: PASSWORD });
  assertEquals(ann.answers.at(-1)?.code, "session-unknown");
  assert(!ann.isClosed);
  assertEquals((await ann.ask(SEND)).code, "not-logged-in");
});

Deno.test("service: a register that was lost is proposed again, and made once", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  world.node.isDropping = true;
  const id = ann.send({ type: "register", user: "ann", password: PASSWORD });
  await world.settle();
  world.node.isDropping = false;
  await world.pass(1_000);
  assertEquals(ann.answer(id).type, "ok");
});

Deno.test("service: a login that cannot be checked now says when to try again", async () => {
  const world = new MemoryWorld();
  await world.client("ann");
  world.node.passwords.isBusy = true;
  const other = world.connect();
  const login = { type: "login", user: "ann", password: PASSWORD };
  const busy = await other.ask(login);
  assertEquals([busy.code, typeof busy.retryMs], ["busy", "number"]);
  world.node.passwords.isBusy = false;
  assertEquals((await other.ask(login)).type, "ok");
});

Deno.test("service: the primary ends idle sessions, but none that somebody listens on", async () => {
  const hour = 3_600_000;
  const world = new MemoryWorld({ limits: { sessionIdleMs: 10 * hour } });
  world.node.change(writable("primary"));
  const ann = await world.client("ann");
  const gone = await world.client("ann");
  const { session } = gone.answers[0];
  gone.drop();
  for (let i = 0; i < 12; i++) await world.pass(hour);
  assertEquals(world.node.state.sessions.get(String(session)), undefined);
  assertEquals((await ann.ask(SEND)).type, "ok");
});

Deno.test("service: after a snapshot clients are told to list, and open commands go on", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.isHolding = true;
  const id = ann.send(SEND);
  await world.settle();
  // The entry came with the snapshot: nobody reported it here.
  const [command] = world.node.proposed.splice(0);
  const entry = { ...world.entries[0], index: 3, command };
  world.entries.push(entry);
  world.node.state.apply([entry]);
  world.node.service.stateReplaced();
  await world.settle();
  assertEquals(ann.answers.at(-1)?.code, "missed");
  world.node.commit();
  await world.settle();
  assertEquals(ann.answer(id).n, 3);
});

Deno.test("service: who registers or logs in while the group takes no writes is told so, not kept waiting", async () => {
  const world = new MemoryWorld();
  await world.client("ann");
  world.node.isDropping = true;
  world.node.change(unwritable("server-2 is missing"));
  const login = { type: "login", user: "ann", password: PASSWORD };
  const register = { type: "register", user: "bob", password: PASSWORD };
  const held = [login, register].map((request) => {
    const client = world.connect();
    return { client, id: client.send(request) };
  });
  await world.pass(2_900);
  for (const { client } of held) assertEquals(client.answers, []);
  await world.pass(100);
  const late = [login, register].map((request) => {
    const client = world.connect();
    return { client, id: client.send(request) };
  });
  await world.settle();
  for (const { client, id } of [...held, ...late]) {
    const { code, outcome, retryMs, text } = client.answer(id);
    assertEquals([code, outcome, retryMs], ["no-primary", "definite", 200]);
    assert(String(text).includes("server-2 is missing"));
    assertEquals((await client.ask({ type: "ping" })).type, "ok", "goes on");
  }
});

Deno.test("service: who registers or logs in while the group takes no writes goes on when it does", async () => {
  const world = new MemoryWorld();
  await world.client("ann");
  world.node.change(unwritable());
  const bob = world.connect();
  const ann = world.connect();
  const gone = world.connect();
  const ids = [
    bob.send({ type: "register", user: "bob", password: PASSWORD }),
    bob.send({ type: "login", user: "bob", password: PASSWORD }),
    ann.send({ type: "login", user: "ann", password: PASSWORD }),
  ];
  gone.send({ type: "register", user: "eve", password: PASSWORD });
  gone.drop();
  await world.pass(2_900);
  world.node.change(writable());
  await world.settle();
  assertEquals(
    [bob.answer(ids[0]), bob.answer(ids[1]), ann.answer(ids[2])]
      .map(({ type, user }) => [type, user]),
    [["ok", "bob"], ["ok", "bob"], ["ok", "ann"]],
  );
  assertEquals(world.node.state.users.byName("eve"), undefined);
});

Deno.test("service: a group that takes no writes for a second is a line in the log, and so is its end", async () => {
  const lines: string[] = [];
  const log = {
    ...SILENT,
    info: (text: string) => lines.push(`info ${text}`),
    warn: (text: string) => lines.push(`warn ${text}`),
  };
  const world = new MemoryWorld({ log });
  const missing = "a majority of the voters; missing: lab2, lab3";
  world.node.change(unwritable(missing));
  await world.pass(900);
  world.node.change(writable());
  await world.pass(5_000);
  assertEquals(lines, [], "a change of the view is none");
  world.node.change(unwritable(missing));
  await world.pass(1_000);
  const warning = `warn Takes no writes: waits for ${missing}`;
  assertEquals(lines, [warning]);
  await world.pass(60_000);
  world.node.change(unwritable("a majority of the voters; missing: lab3"));
  await world.pass(1_000);
  assertEquals(lines, [warning], "once");
  world.node.change(writable());
  await world.pass(1_000);
  assertEquals(lines, [warning, "info Takes writes again"]);
});
