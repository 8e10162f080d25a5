import { assertEquals } from "@std/assert";
import { ChatFleet } from "./chat_fleet.ts";
import type { ChatNode } from "./chat_node.ts";
import { Load } from "./load.ts";

/** Whether a node has said so in this life. */
function hasSaid(node: ChatNode, pattern: RegExp): boolean {
  return node.process.logLines().some(({ message }) => pattern.test(message));
}

Deno.test("chat group: three servers without witnesses survive one loss, and say so", async () => {
  await using fleet = new ChatFleet({ witnesses: 0 });
  const [a, b, c] = fleet.servers;
  await fleet.startReady();
  assertEquals(
    fleet.servers.map((node) => hasSaid(node, /survives 1 loss/)),
    [true, true, true],
    fleet.describe(),
  );
  await using load = await Load.start(fleet);
  await c.kill();
  await load.more();
  await b.kill();
  await fleet.until(
    "A takes no writes",
    async () => (await a.status())?.isWritable === false,
  );
  const before = load.acknowledged;
  const { retries } = load;
  await fleet.until("A was asked in vain", () => load.retries > retries + 40);
  assertEquals(load.acknowledged, before);
  await c.start();
  await load.more();
  await b.start();
  await load.verify();
});

Deno.test("chat group: one server alone keeps what it acknowledged", async () => {
  await using fleet = new ChatFleet({ servers: 1, witnesses: 0 });
  const [a] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet);
  await a.kill();
  await a.start();
  await load.more();
  const { code } = await a.stop("SIGTERM");
  assertEquals(code, 0, a.describe());
  await a.start();
  await load.more();
  await load.verify();
});

Deno.test("chat group: five servers survive two losses without witnesses", async () => {
  await using fleet = new ChatFleet({ servers: 5, witnesses: 0 });
  const [a, b, , d, e] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet);
  for (const gone of [[e, d], [a, b]]) {
    await Promise.all(gone.map((node) => node.kill()));
    await load.more();
    await fleet.start(gone);
    await fleet.complete();
  }
  await load.verify();
});

Deno.test("chat group: the server with the highest priority leads, and again when it is back", async () => {
  await using fleet = new ChatFleet({
    nodes: { a: { flags: ["--priority", "7"] } },
  });
  const [a] = fleet.servers;
  await fleet.startReady();
  await fleet.primary((node) => node === a);
  await using load = await Load.start(fleet);
  await a.kill();
  await fleet.primary((node) => node !== a);
  await load.more();
  await a.start();
  await fleet.primary((node) => node === a);
  await load.verify();
});

Deno.test("chat group: with --sticky a server that is back does not take over", async () => {
  await using fleet = new ChatFleet({ nodes: sticky() });
  const c = fleet.node("c");
  await fleet.startReady();
  await using load = await Load.start(fleet);
  await c.kill();
  const next = await fleet.primary((node) => node !== c);
  await c.start();
  await fleet.complete();
  await load.more(100);
  assertEquals((await next.status())?.role, "primary", next.describe());
  await load.verify();
});

function sticky(): Record<string, { flags: readonly string[] }> {
  const node = { flags: ["--sticky"] };
  return { a: node, b: node, c: node };
}
