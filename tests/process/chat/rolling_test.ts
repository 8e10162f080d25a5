import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { ChatFleet } from "./chat_fleet.ts";
import { Load } from "./load.ts";

Deno.test("chat rolling: all nodes are restarted one by one, and no request is lost", async () => {
  await using fleet = new ChatFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet);
  for (const node of fleet.nodes) {
    const { code } = await node.stop("SIGTERM");
    assertEquals(code, 0, node.describe());
    await node.start();
    await node.ready();
  }
  await load.more();
  const { troubles, retriesMax } = await load.verify();
  // A server that stops says so, or has stopped when it is asked; the next one
  // does what was wanted.
  const { "shutting-down": _, "link-lost": __, ...others } = troubles;
  assertEquals(others, {});
  assertEquals(retriesMax, 1);
});

Deno.test("chat rolling: a server is ready when it has caught up, and not before", async () => {
  await using fleet = new ChatFleet();
  const [a, b, c] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet, { textBytes: 4_000 });
  for (const node of [a, c]) {
    await node.kill();
    await load.more(200);
    const status = await b.status();
    assert(status !== undefined);
    const wanted = status.committedIndex;
    const starting = node.start();
    await fleet.until(`${node.name} is ready`, async () => {
      const page = await node.page("/readyz");
      if (page?.status !== 200) return false;
      // Asked later than it was ready: it has at least what it had then.
      const now = await node.status();
      assertGreaterOrEqual(now?.appliedIndex ?? 0, wanted, page.text);
      assert(now?.view?.members.includes(node.name), page.text);
      return true;
    });
    await starting;
  }
  await load.verify();
});

Deno.test("chat rolling: a server that finds nobody is not ready, and says whom it waits for", async () => {
  await using fleet = new ChatFleet();
  const [a, b, c] = fleet.servers;
  await a.start();
  await fleet.until("A names all that it waits for", async () => {
    const page = await a.page("/readyz");
    assert(page?.status !== 200, page?.text);
    const names = [b, c, ...fleet.witnesses].map(({ name }) => name);
    return names.every((name) =>
      new RegExp(`\\b${name}\\b`).test(page?.text ?? "")
    );
  });
  await fleet.start([b, c, ...fleet.witnesses]);
  await a.ready();
});
