import { assertEquals, assertNotEquals } from "@std/assert";
import { Random } from "../../sim/random.ts";
import { ChatFleet } from "./chat_fleet.ts";
import { Load } from "./load.ts";

/** SKEIN_SEED repeats the choices of a run, though not its timing. */
const seed = Number(
  Deno.env.get("SKEIN_SEED") ?? Math.floor(Math.random() * 1e6),
);

const ROUNDS = 3;

Deno.test("chat kill: the primary under load, and the next one too", async () => {
  await using fleet = new ChatFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet);
  const first = await fleet.primary();
  assertEquals(first.name, "c", "the highest one leads");
  await first.kill();
  const second = await fleet.primary();
  assertNotEquals(second.name, first.name);
  await load.more();
  await first.start();
  await fleet.complete();
  await load.more();
  const third = await fleet.primary();
  await third.kill();
  await load.more();
  await third.start();
  await load.verify();
});

Deno.test("chat kill: of three servers two at once; the third one serves on", async () => {
  await using fleet = new ChatFleet();
  const [a, b, c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet);
  for (const gone of [[b, c], [a, c]]) {
    await Promise.all(gone.map((node) => node.kill()));
    await load.more();
    await fleet.start(gone);
    await fleet.complete();
    await load.more();
  }
  await load.verify();
});

Deno.test("chat kill: of five nodes any two, over and over", async () => {
  await using fleet = new ChatFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet, { seed });
  const random = new Random(seed);
  for (let round = 0; round < ROUNDS; round += 1) {
    const one = random.pick(fleet.nodes);
    const other = random.pick(fleet.nodes.filter((node) => node !== one));
    await one.kill();
    if (random.chance(0.5)) await load.more(5);
    await other.kill();
    await load.more();
    await fleet.start(random.chance(0.5) ? [one, other] : [other, one]);
    await fleet.complete();
  }
  await load.verify();
});

Deno.test("chat kill: all at once; they go on where they were", async () => {
  await using fleet = new ChatFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet);
  for (let round = 0; round < 2; round += 1) {
    await Promise.all(fleet.nodes.map((node) => node.kill()));
    await fleet.start();
    await load.more();
  }
  await load.verify();
});

Deno.test("chat kill: after a full stop a server that was not in sync serves nothing alone", async () => {
  await using fleet = new ChatFleet();
  const [a, b, c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet);
  await a.kill();
  await load.more();
  await Promise.all(fleet.nodes.map((node) => node.kill()));
  await fleet.start([a, ...fleet.witnesses]);
  let text = "";
  await fleet.until(
    "A says whom it waits for",
    async () => {
      const status = await a.status();
      assertNotEquals(status?.isWritable, true, "it must not serve");
      text = status?.waitsFor.join() ?? "";
      return /\bb\b/.test(text) && /\bc\b/.test(text);
    },
    () => `It waits for ${text}\n`,
  );
  assertEquals((await a.page("/readyz"))?.status, 503);
  const before = load.acknowledged;
  await fleet.until("A has been asked in vain", () => load.retries > 40);
  assertEquals(load.acknowledged, before);
  await b.start();
  await load.more();
  await c.start();
  await load.verify();
});
