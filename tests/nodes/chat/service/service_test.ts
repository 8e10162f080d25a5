import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  decodeCommand,
  encodeCommand,
} from "../../../../nodes/chat/state/commands.ts";
import { checkText, readUserName } from "../../../../protocol/chat.ts";
import { WireError } from "../../../../protocol/errors.ts";
import { MemoryWorld, PASSWORD } from "./service_fixture.ts";

Deno.test("service: a message is answered with its number and pushed to its recipient", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  const bob = await world.client("bob");
  const { n, seq } = await ann.ask({ type: "send", to: "bob", text: "hi" });
  assertEquals(seq, 1);
  assertEquals(bob.answers.at(-1), {
    type: "message",
    n,
    from: "ann",
    to: "bob",
    text: "hi",
    time: world.wallMs,
  });
  assertEquals(ann.pushed, []);
});

Deno.test("service: register, login, logout and deletion, and what is refused", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  const register = { type: "register", user: "ann", password: PASSWORD };
  const login = { type: "login", user: "ann", password: PASSWORD };
  const refused = async (request: Record<string, unknown>, code: string) => {
    const answer = await ann.ask(request);
    assertEquals([answer.type, answer.code], ["error", code]);
  };
  await refused(login, "wrong-password");
  await refused({ type: "send", to: "ann", text: "x" }, "not-logged-in");
  await refused({ ...register, password: "short" }, "invalid-password");
  await refused({ ...register, user: "a b" }, "invalid-name");
  assertEquals((await ann.ask(register)).user, "ann");
  await refused(register, "name-taken");
  await refused({ ...login, password: "another one" }, "wrong-password");
  const { session, secret } = await ann.ask(login);
  assert(/^[0-9a-f]{16}$/.test(String(session)));
  assert(/^[0-9a-f]{32}$/.test(String(secret)));
  await refused(login, "logged-in");
  await refused({ type: "send", to: "nobody", text: "x" }, "no-such-user");
  assertEquals((await ann.ask({ type: "logout" })).type, "ok");
  await refused({ type: "list" }, "not-logged-in");
  await refused({ type: "resume", session, secret }, "session-unknown");
  await ann.ask(login);
  await refused(
    { type: "delete_account", password: "wrong one" },
    "wrong-password",
  );
  const deletion = { type: "delete_account", password: PASSWORD };
  assertEquals((await ann.ask(deletion)).type, "ok");
  await refused(login, "wrong-password");
  assertEquals(world.node.state.users.size, 0);
});

Deno.test("service: a state that has failed answers nobody, and ends the server", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  const { answers } = ann;
  const before = answers.length;
  const failure = new Error("No space left");
  world.node.state.list = () => {
    throw failure;
  };
  ann.send({ type: "list" });
  await world.settle();
  assertEquals(answers.length, before);
  assertEquals(world.node.fatal, [failure]);
});

Deno.test("service: of a group that has ended nobody is told anything", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  const into = "00000000000000ee";
  world.node.propose([encodeCommand({ kind: "dissolve", into, time: 1 })]);
  await world.settle();
  assertEquals(world.node.dissolvedInto, into);
  const before = ann.answers.length;
  ann.send({ type: "register", user: "ann", password: PASSWORD });
  await world.settle();
  assertEquals(ann.answers.length, before);
  // It closes, and then whoever waits hears that it may or may not be done.
  const stopped = world.node.service.stop(0);
  await world.settle();
  await stopped;
  assertEquals(ann.answers.at(-1)?.outcome, "indefinite");
});

Deno.test("service: neither answers nor commands hold a password", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  await ann.ask({ type: "delete_account", password: PASSWORD });
  const committed = world.entries.map(({ command }) =>
    new TextDecoder().decode(command)
  );
  assert(!committed.join().includes(PASSWORD));
  assert(!ann.received.join().includes(PASSWORD));
});

Deno.test("service: lines that came together are taken one after the other around a login", async () => {
  const world = new MemoryWorld();
  const script = [
    { type: "register", user: "ann", password: PASSWORD },
    { type: "login", user: "ann", password: PASSWORD },
    { type: "send", to: "ann", text: "one" },
    { type: "send", to: "ann", text: "two" },
    { type: "list" },
    { type: "logout" },
    { type: "list" },
  ];
  const ann = world.connect();
  ann.say(script.map((request) => `${JSON.stringify(request)}\n`).join(""));
  ann.side.ended();
  await world.settle();
  const kinds = ann.answers.map(({ type, code }) => code ?? type);
  assertEquals(kinds, [
    ...["ok", "ok", "ok", "message", "ok", "message", "ok"],
    ...["ok", "not-logged-in"],
  ]);
  const { messages } = ann.answers[6];
  assert(Array.isArray(messages));
  assertEquals(messages.map(({ text }) => text), ["one", "two"]);
  assert(ann.isClosed);
});

Deno.test("service: answers and pushes of one turn are one write", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  const { writes } = ann;
  const line = `${JSON.stringify({ type: "send", to: "ann", text: "x" })}\n`;
  ann.say(line.repeat(50));
  await world.settle();
  assertEquals(ann.pushed.length, 50);
  assertEquals(ann.writes - writes, 1);
});

Deno.test("service: a connection has 64 requests open and is read no further", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.isHolding = true;
  const line = `${JSON.stringify({ type: "send", to: "ann", text: "x" })}\n`;
  ann.say(line.repeat(100));
  await world.settle();
  assertEquals(world.node.proposed.length, 64);
  assert(!ann.isReading);
  world.node.commit(world.node.proposed.splice(0, 1));
  await world.settle();
  assertEquals(world.node.proposed.length, 64);
  world.node.isHolding = false;
  world.node.commit();
  await world.settle();
  assertEquals(ann.pushed.length, 100);
  assert(ann.isReading);
});

Deno.test("service: too many waiting requests of all clients are refused as busy", async () => {
  const world = new MemoryWorld({ limits: { waitingRequestsMax: 3 } });
  const ann = await world.client("ann");
  world.node.isHolding = true;
  for (let i = 0; i < 3; i++) ann.send({ type: "send", to: "ann", text: "x" });
  const refused = await ann.ask({ type: "send", to: "ann", text: "x" });
  assertEquals([refused.code, refused.outcome], ["busy", "definite"]);
  assert(Number(refused.retryMs) > 0);
  world.node.commit();
  world.node.isHolding = false;
  const sent = await ann.ask({ type: "send", to: "ann", text: "x" });
  assertEquals([sent.type, sent.seq], ["ok", 4]);
});

Deno.test("service: a client that does not read is cut off with a last word, and nobody else", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  const bob = await world.client("bob");
  const eve = await world.client("eve");
  bob.isStuck = true;
  const text = "x".repeat(60_000);
  for (let i = 0; i < 20; i++) {
    await ann.ask({ type: "send", to: "bob", text });
    await ann.ask({ type: "send", to: "eve", text });
  }
  assertEquals(bob.answers.at(-1)?.code, "slow-consumer");
  assert(bob.isClosed);
  assertEquals(eve.pushed.length, 20);
  assertEquals(world.node.service.counters.slowConsumers, 1);
  const { session, secret } = bob.answers[1];
  const again = world.connect();
  const resumed = await again.ask({ type: "resume", session, secret });
  assertEquals(resumed.user, "bob");
  const { messages } = await again.ask({ type: "list", after: 0, limit: 200 });
  assert(Array.isArray(messages));
});

Deno.test("service: a client whose answers wait is not read", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  for (let i = 0; i < 10; i++) {
    await ann.ask({ type: "send", to: "ann", text: "x".repeat(20_000) });
  }
  ann.isStuck = true;
  const line = `${JSON.stringify({ type: "list" })}\n`;
  ann.say(line.repeat(10));
  await world.settle();
  assert(!ann.isReading);
  assertEquals(ann.isClosed, false);
  const before = ann.received.length;
  for (let i = 0; i < 10; i++) {
    ann.unstick();
    ann.isStuck = true;
    await world.settle();
  }
  ann.unstick();
  assertEquals(ann.received.length - before, 10);
  assert(ann.isReading);
});

Deno.test("service: a stop waits for what is open, then says goodbye", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  const bob = await world.client("bob");
  world.node.isHolding = true;
  const id = ann.send({ type: "send", to: "bob", text: "x" });
  await world.settle();
  const stopped = world.node.service.stop(1_000);
  await world.settle();
  assertEquals(bob.answers.at(-1)?.code, "shutting-down");
  const refused = await ann.ask({ type: "send", to: "bob", text: "y" });
  assertEquals([refused.code, refused.outcome], ["shutting-down", "definite"]);
  world.node.commit();
  await world.pass(100);
  assertEquals(ann.answer(id).type, "ok");
  assertEquals(ann.answers.at(-1)?.code, "shutting-down");
  await stopped;
});

Deno.test("service: what is open when a stop takes too long may yet be done", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.isHolding = true;
  const id = ann.send({ type: "send", to: "ann", text: "x" });
  await world.settle();
  const stopped = world.node.service.stop(1_000);
  await world.pass(1_000);
  await stopped;
  const { code, outcome } = ann.answer(id);
  assertEquals([code, outcome], ["shutting-down", "indefinite"]);
  assertEquals(world.node.service.openCount, 0);
});

Deno.test("service: where all slow readers together take too much, the slowest is cut off", async () => {
  const world = new MemoryWorld({ limits: { queuedBytesMax: 200_000 } });
  const ann = await world.client("ann");
  const bob = await world.client("bob");
  const eve = await world.client("eve");
  bob.isStuck = true;
  eve.isStuck = true;
  const send = (to: string) =>
    ann.ask({ type: "send", to, text: "x".repeat(50_000) });
  await send("bob");
  await send("bob");
  await send("eve");
  await world.pass(1_000);
  assert(bob.isClosed === false && eve.isClosed === false);
  await send("eve");
  await send("eve");
  await world.pass(1_000);
  assert(bob.isClosed === false);
  assertEquals(eve.answers.at(-1)?.code, "slow-consumer");
});

Deno.test("service: a stop is over when the last words are read, or after a while", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  // It says goodbye, and its connection stays.
  ann.close = () => {};
  let isOver = false;
  void world.node.service.stop(1_000).then(() => isOver = true);
  await world.pass(1_000);
  assertEquals(isOver, false);
  await world.pass(500);
  assertEquals(isOver, true);
});

Deno.test("service: a group that never says how far it is does not keep a read for ever", async () => {
  const world = new MemoryWorld();
  const ann = await world.client("ann");
  world.node.readIndex = () => new Promise(() => {});
  const id = ann.send({ type: "list", linearizable: true });
  await world.settle();
  await world.pass(10_000);
  const { code, outcome } = ann.answer(id);
  assertEquals([code, outcome], ["no-primary", "definite"]);
});

Deno.test("service: whatever name or text a client may give can be committed", () => {
  const accepted = (read: () => string): string | undefined => {
    try {
      return read();
    } catch (error) {
      assert(error instanceof WireError);
      return undefined;
    }
  };
  const commits = (to: string, text: string) => {
    const session = "0".repeat(16);
    const command = encodeCommand({
      kind: "send",
      session,
      sequence: 1,
      time: 0,
      to,
      text,
    });
    assert(decodeCommand(command) !== undefined, `${to} ${text}`);
  };
  const any = fc.string({ unit: "binary", maxLength: 80 });
  fc.assert(fc.property(any, (text) => {
    const name = accepted(() => readUserName(text));
    if (name !== undefined) commits(name, "x");
    const body = accepted(() => {
      checkText(text);
      return text;
    });
    if (body !== undefined) commits("ann", body);
  }));
  for (const name of ["a".repeat(64), "\u{20000}".repeat(64), "zoë", "7"]) {
    commits(readUserName(name), "x".repeat(65_536));
  }
});
