import { assertEquals, assertNotEquals } from "@std/assert";
import { ChatFleet } from "./chat_fleet.ts";
import { Load } from "./load.ts";

/** So long waits a client that does not turn to another server. */
const PATIENCE_MS = 60_000;

Deno.test("chat frozen: a primary that wakes up after another one took over says nothing stale", async () => {
  await using fleet = new ChatFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet);
  const old = await fleet.primary();
  // These speak with the old primary alone, and wait for it.
  const only = { servers: [old.clients], answerWaitMs: PATIENCE_MS };
  const reader = await load.join("reader", only);
  const writer = await load.join("writer", only);
  await old.freeze();
  const next = await fleet.primary();
  assertNotEquals(next.name, old.name);
  await load.more(60);
  // Asked now, answered when the old primary runs again: the history that is
  // verified in the end has no place for a read of what was there before.
  const read = load.read(reader);
  const written = load.send(writer);
  await load.more(20);
  old.thaw();
  const [inbox] = await Promise.all([read, written]);
  assertNotEquals(inbox.length, 0);
  await fleet.complete();
  const leader = await fleet.primary();
  assertEquals(leader.name, old.name, "the highest one leads again");
  await load.more();
  await load.verify();
});

Deno.test("chat frozen: the others go on without a member that stops", async () => {
  await using fleet = new ChatFleet();
  const [, b] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet);
  await b.freeze();
  await load.more(60);
  b.thaw();
  await fleet.complete();
  await load.more();
  await load.verify();
});

Deno.test("chat frozen: all but a server and two witnesses stop, one after the other", async () => {
  await using fleet = new ChatFleet();
  const [a, b, c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet);
  await c.freeze();
  await load.more(10);
  await b.freeze();
  await load.more(10);
  c.thaw();
  b.thaw();
  await fleet.complete();
  await a.freeze();
  await load.more();
  a.thaw();
  await load.verify();
});
