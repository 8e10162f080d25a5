import {
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
} from "@std/assert";
import { Bystander } from "./bystander.ts";
import { LinesClient } from "./lines_client.ts";
import { bounded } from "./until.ts";

const MIB = 1024 * 1024;
const RESIDENT_BYTES_MAX = 256 * MIB;

/** With 60 MB of half lines at the door: what they may take, garbage included. */
const BESIEGED_BYTES_MAX = 300 * MIB;
const CROWD = 1_000;

Deno.test("crowd: 1,000 connections at once each get their line through", async () => {
  await using chain = await Bystander.start(2);
  const { fleet, head, tail } = chain;
  const clients: LinesClient[] = [];
  await using _closing = {
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client[Symbol.asyncDispose]();
    },
  };
  await Promise.all(
    Array.from({ length: CROWD }, async () => {
      clients.push(await LinesClient.connect(fleet, { to: "head" }));
    }),
  );
  const lines = clients.map((_, at) => `one of a thousand: ${at}`);
  await Promise.all(
    clients.map((client, at) => client.write(lines[at].slice(0, 10))),
  );
  await fleet.until(
    "the head has them all at once",
    // The bystander's is one of them.
    async () => (await head.metric("skein_chain_connections")) === CROWD + 1,
  );
  await chain.feed();
  await Promise.all(clients.map(async (client, at) => {
    await client.write(lines[at].slice(10));
    await client.closeWrite();
    await bounded("the node closes", client.closed(), {
      context: () => fleet.describe(),
    });
  }));
  for (const client of clients) assertEquals(client.answers, "ok 1\n");
  assertLess(head.process.residentBytes(), RESIDENT_BYTES_MAX);
  assertLess(tail.process.residentBytes(), RESIDENT_BYTES_MAX);
  await fleet.until(
    "the head has forgotten them",
    async () => (await head.metric("skein_chain_connections")) === 1,
  );
  await chain.assertUnharmed(lines);
});

Deno.test("crowd: above the limit of connections the next ones are told so", async () => {
  const connectionsMax = 2_048;
  await using chain = await Bystander.start(1);
  const { fleet, head } = chain;
  const clients: LinesClient[] = [];
  await using _closing = {
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client[Symbol.asyncDispose]();
    },
  };
  await fleet.until(
    "the sender is in",
    async () => (await head.metric("skein_chain_connections")) === 1,
  );
  for (let at = 1; at < connectionsMax; at += 1) {
    clients.push(await LinesClient.connect(fleet, { to: "head" }));
  }
  await fleet.until("the head is full", async () => {
    await using late = await LinesClient.connect(fleet, { to: "head" });
    await late.write("too late\n");
    await fleet.until("an answer", () => late.answers !== "" || late.isClosed);
    if (late.answers.startsWith("ok")) return false;
    assertEquals(
      late.answers,
      `error 0 busy This node has ${connectionsMax} connections, which is its limit\n`,
    );
    return true;
  });
  assertGreater(
    await head.metric("skein_chain_connections_refused_total") ?? 0,
    0,
  );
  for (const client of clients.splice(0, 100)) {
    await client[Symbol.asyncDispose]();
  }
  await fleet.until("there is room again", async () => {
    await using next = await LinesClient.connect(fleet, { to: "head" });
    await next.write("too late\n");
    await fleet.until("an answer", () => next.answers !== "" || next.isClosed);
    return next.answers === "ok 1\n";
  });
  assertLess(head.process.residentBytes(), RESIDENT_BYTES_MAX);
  await chain.assertUnharmed([], ["too late"]);
});

Deno.test("crowd: half a long line from each of 1,000 cannot use up the memory", async () => {
  await using chain = await Bystander.start(2);
  const { fleet, head } = chain;
  const clients: LinesClient[] = [];
  await using _closing = {
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client[Symbol.asyncDispose]();
    },
  };
  const half = "h".repeat(60_000);
  await Promise.all(
    Array.from({ length: CROWD }, async () => {
      const client = await LinesClient.connect(fleet, { to: "head" });
      clients.push(client);
      await client.write(half).catch(() => {
        // Refused before it had said all of it.
      });
    }),
  );
  await fleet.until(
    "those for whom there is no memory are told so",
    () => clients.some(({ isClosed }) => isClosed),
  );
  await chain.feed();
  assertLess(head.process.residentBytes(), BESIEGED_BYTES_MAX);
  const refused = clients.filter(({ isClosed }) => isClosed);
  for (const { answers } of refused) {
    assertMatch(
      answers,
      /^error 0 busy Cannot read more: connections use \d+ bytes, limit is 16777216\n$/,
    );
  }
  assertGreater(clients.length - refused.length, 100, "the others stay");
  for (const client of clients) await client[Symbol.asyncDispose]();
  await fleet.until(
    "the head has forgotten them",
    async () => (await head.metric("skein_chain_connections")) === 1,
  );
  // Those whose connection ended in order had a last line.
  await chain.assertUnharmed([], [half]);
});
