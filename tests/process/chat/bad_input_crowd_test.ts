import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
} from "@std/assert";
import { ChatConnection } from "../../../clients/chat_connection.ts";
import { parseAddress } from "../../../protocol/address.ts";
import { ChatBystander, PASSWORD } from "./chat_bystander.ts";
import type { ChatNode } from "./chat_node.ts";
import { RawClient, type Said } from "./raw_client.ts";

const CROWD = 1_000;

/** Connections that a server takes: `CLIENTS_MAX`. */
const CONNECTIONS_MAX = 10_000;

/** Files that this process may need beside those connections, and as many in the server. */
const FILES_MAX = CONNECTIONS_MAX + 500;

/** What a sloth is sent until it is cut off, at most; buffers of the system included. */
const SLOTH_MESSAGES_MAX = 20_000;

const LISTS = 2_500;
const LIST_LIMIT = 15;

function assertOk(said: Said): Said {
  assertEquals(said.type, "ok", JSON.stringify(said).slice(0, 1_000));
  return said;
}

/** Several connections at once, not all of them in one go: a queue of the system is short. */
async function connectMany(address: string, count: number) {
  const clients: RawClient[] = [];
  while (clients.length < count) {
    const next = Math.min(100, count - clients.length);
    clients.push(
      ...await Promise.all(
        Array.from({ length: next }, () => RawClient.connect(address)),
      ),
    );
  }
  return clients;
}

async function clientsOf(node: ChatNode): Promise<number> {
  return (await node.status())?.clients ?? 0;
}

Deno.test("chat bad input: crowds, and clients that do not read", async (t) => {
  await using chat = await ChatBystander.start({
    witnesses: 0,
    flags: ["--password-cost", "14"],
  });
  const { fleet } = chat;
  const [a, b, c] = fleet.servers;
  const calm = await Promise.all(fleet.servers.map(clientsOf));

  await using dreamer = await RawClient.connect(c.clients);
  await t.step("who has seen what is to come has to wait", async () => {
    const account = { user: "dreamer", password: PASSWORD };
    assertOk(await dreamer.ask({ type: "register", ...account }));
    assertOk(await dreamer.ask({ type: "login", ...account }));
    const request = { type: "list", seen: 2 ** 53 - 1 };
    await dreamer.write(`${JSON.stringify({ ...request, id: 1_000 })}\n`);
    assertOk(await dreamer.ask({ type: "list" }));
  });

  await t.step("a thousand logins at once", async () => {
    const account = { user: "crowd", password: PASSWORD };
    await using first = await RawClient.connect(a.clients);
    assertOk(await first.ask({ type: "register", ...account }));
    const clients = await connectMany(a.clients, CROWD);
    let isOver = false;
    const watch = async () => {
      while (!isOver) {
        const page = await a.page("/readyz");
        assertEquals(page?.status, 200, page?.text);
        await chat.more(4);
      }
    };
    const ask = (one: RawClient) =>
      one.ask({ type: "login", user: "crowd", password: `${PASSWORD}?` });
    const [said] = await Promise.all([
      Promise.all(clients.map(ask)).finally(() => isOver = true),
      watch(),
    ]);
    const busy = said.filter(({ code }) => code === "busy");
    const checked = said.filter(({ code }) => code === "wrong-password");
    assertEquals(busy.length + checked.length, CROWD);
    assertGreater(busy.length, CROWD / 2);
    assertGreater(checked.length, 60);
    for (const { text, outcome, retryMs } of busy) {
      assertMatch(String(text), /wait already, try again in \d+ ms$/);
      assertEquals(outcome, "definite");
      assertGreater(Number(retryMs), 0);
    }
    // Whoever comes again is served.
    assertOk(await clients[0].ask({ type: "login", ...account }));
    for (const client of clients) client.close();
  });

  await t.step("a thousand connections that say nothing", async () => {
    const clients = await connectMany(b.clients, CROWD);
    await using client = await RawClient.connect(b.clients);
    assertOk(await client.ask({ type: "ping" }));
    await chat.more();
    for (const one of clients) one.close();
  });

  const files = openFilesMax();
  await t.step({
    name: `more connections than a server takes${
      files < FILES_MAX ? ` (skipped: ${files} files may be open here)` : ""
    }`,
    ignore: files < FILES_MAX,
    fn: async () => {
      const clients = await connectMany(a.clients, CONNECTIONS_MAX);
      const last = clients.slice(-20);
      const said = await Promise.all(
        last.map(async (one) => {
          await one.write('{"type":"ping","id":1}\n');
          return (await one.toFirst()) ?? { type: "closed" };
        }),
      );
      const refused = said.filter(({ code }) => code === "busy");
      // The bystander has one, and whoever asks for the status another one.
      assertGreater(refused.length, 0);
      for (const { text, outcome } of refused) {
        assertMatch(
          String(text),
          /This node has 10000 connections, which is its limit/,
        );
        assertEquals(outcome, "definite");
      }
      await chat.more();
      for (const one of clients) one.close();
      await fleet.until("there is room again", async () => {
        await using client = await RawClient.connect(a.clients);
        await client.write('{"type":"ping","id":1}\n');
        return (await client.toFirst())?.type === "ok";
      });
    },
  });

  await t.step(
    "a client that reads nothing of what is pushed to it",
    async () => {
      await using sloth = await RawClient.connect(b.clients);
      const account = { user: "sloth", password: PASSWORD };
      assertOk(await sloth.ask({ type: "register", ...account }));
      const { session, secret } = assertOk(
        await sloth.ask({ type: "login", ...account }),
      );
      const sender = await ChatConnection.connect(parseAddress(a.clients));
      const other = { user: "chatterbox", password: PASSWORD };
      await sender.request({ type: "register", ...other });
      await sender.request({ type: "login", ...other });
      const before = await clientsOf(b);
      const sent: string[] = [];
      while (await clientsOf(b) === before) {
        assertLess(sent.length, SLOTH_MESSAGES_MAX);
        const texts = Array.from(
          { length: 128 },
          (_, at) => `${sent.length + at}`.padEnd(2_000, "."),
        );
        await Promise.all(texts.map((text) => sender.send("sloth", text)));
        sent.push(...texts);
      }
      const lines = await sloth.toEnd();
      const word = lines.pop();
      assertEquals([word?.code, word?.outcome], [
        "slow-consumer",
        "indefinite",
      ]);
      assertMatch(String(word?.text), /\d+ bytes wait, limit is 1048576/);
      assertLess(lines.length, sent.length);
      assertEquals(lines.map(({ text }) => text), sent.slice(0, lines.length));
      // At another server: the session goes on, and what is missing is listed.
      await using awake = await RawClient.connect(c.clients);
      const seen = lines.at(-1)?.n ?? 0;
      assertOk(await awake.ask({ type: "resume", session, secret, seen }));
      const listed = await listAfter(awake, seen);
      assertEquals([...lines, ...listed].map(({ text }) => text), sent);
      await sender.send("sloth", "awake?");
      assertEquals((await awake.line())?.text, "awake?");
      sender.close();
    },
  );

  await t.step("a client that asks and asks and reads no answer", async () => {
    await using client = await RawClient.connect(c.clients);
    const account = { user: "asker", password: PASSWORD };
    assertOk(await client.ask({ type: "register", ...account }));
    assertOk(await client.ask({ type: "login", ...account }));
    for (let count = 0; count < LIST_LIMIT; count += 1) {
      const text = "x".repeat(1_000);
      assertOk(await client.ask({ type: "send", to: "asker", text }));
    }
    const bytesBefore = c.process.residentBytes();
    const lines = Array.from({ length: LISTS }, (_, at) => {
      const request = { type: "list", limit: LIST_LIMIT, id: 1_000 + at };
      return `${JSON.stringify({ ...request, padding: "x".repeat(8_000) })}\n`;
    });
    let isWritten = false;
    const written = client.write(...lines).then(() => isWritten = true);
    await chat.more(60);
    assert(!isWritten, "a server must not take all of it");
    assertLess(c.process.residentBytes() - bytesBefore, 100_000_000);
    for (let at = 0; at < LISTS; at += 1) {
      const { messages } = assertOk(await client.answer(1_000 + at));
      assert(Array.isArray(messages));
      assertEquals(messages.length, LIST_LIMIT);
    }
    await written;
  });

  await t.step(
    "who has seen what is to come has waited long enough",
    async () => {
      const said = await dreamer.answer(1_000);
      assertEquals([said.code, said.outcome], ["timeout", "indefinite"]);
      assertMatch(String(said.text), /behind/);
      assertGreater(Number(said.retryMs), 0);
      dreamer.close();
    },
  );

  await t.step(
    "nobody is left behind, and who was there noticed nothing",
    async () => {
      let now: readonly number[] = [];
      await fleet.until("all of them are gone", async () => {
        now = await Promise.all(fleet.servers.map(clientsOf));
        return now.every((count, at) => count <= calm[at]);
      }, () => `${now.join()} clients, at first ${calm.join()}\n`);
      await chat.assertUnharmed();
    },
  );
});

Deno.test("chat bad input: more connections than files may be open do not take those of the disk", async () => {
  const under = ["sh", "-c", 'ulimit -n 400 && exec "$@"', "sh"];
  await using chat = await ChatBystander.start({
    servers: 1,
    witnesses: 0,
    flags: ["--segment", "65536"],
    nodes: { a: { under } },
  });
  const [a] = chat.fleet.servers;
  const clients = await connectMany(a.clients, 600);
  const [first] = clients;
  const said = await first.ask({ type: "ping" });
  assertEquals(said.type, "ok");
  const last = clients[599];
  await last.write('{"type":"ping","id":1}\n');
  const word = await last.toFirst();
  if (word !== undefined) {
    assertEquals(word.code, "busy");
    assertMatch(String(word.text), /may open no more files$/);
  }
  await a.process.line(/has \d+ connections, and may open no more files/);
  // The log goes on in new files, again and again.
  const account = { user: "writer", password: PASSWORD };
  assertOk(await first.ask({ type: "register", ...account }));
  assertOk(await first.ask({ type: "login", ...account }));
  const text = "x".repeat(60_000);
  for (let count = 0; count < 12; count += 1) {
    assertOk(await first.ask({ type: "send", to: "writer", text }));
  }
  for (const one of clients) one.close();
  await chat.fleet.until("there is room again", async () => {
    await using client = await RawClient.connect(a.clients);
    await client.write('{"type":"ping","id":1}\n');
    return (await client.toFirst())?.type === "ok";
  });
  await chat.assertUnharmed();
});

/** All messages after a number. */
async function listAfter(client: RawClient, after: unknown): Promise<Said[]> {
  const all: Said[] = [];
  for (let from = after;;) {
    const { messages, next } = assertOk(
      await client.ask({ type: "list", after: from, limit: 200 }),
    );
    assert(Array.isArray(messages));
    all.push(...messages);
    if (next === undefined) return all;
    from = next;
  }
}

/** Files that this process, and those that it starts, may have open. */
function openFilesMax(): number {
  if (Deno.build.os !== "linux") return 0;
  const limits = Deno.readTextFileSync("/proc/self/limits");
  const [, , hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(limits) ?? [];
  return hard === "unlimited" ? Infinity : Number(hard ?? 0);
}
