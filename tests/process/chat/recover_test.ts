import { assert, assertEquals, assertMatch } from "@std/assert";
import { readNodeStatus } from "../../../protocol/status.ts";
import { program } from "../program.ts";
import { type Exit, RunningProcess } from "../running_process.ts";
import { ChatFleet } from "./chat_fleet.ts";
import type { ChatNode } from "./chat_node.ts";
import { Load } from "./load.ts";
import { LoadClient } from "./load_client.ts";

/** Runs `skein-chat recover` for a node's directory. */
async function recover(
  node: ChatNode,
  ...args: readonly string[]
): Promise<{ exit: Exit; text: string; errors: string }> {
  await using process = new RunningProcess({
    name: `recover ${node.name}`,
    command: [
      ...program("skein-chat"),
      ...["recover", "--data", node.place.data, ...args],
    ],
    folder: node.place.folder,
    input: "null",
  });
  const exit = await process.ended();
  return {
    exit,
    text: process.outputText(),
    errors: process.lines.join("\n"),
  };
}

function lose(...nodes: readonly ChatNode[]): void {
  for (const { place } of nodes) {
    Deno.removeSync(place.data, { recursive: true });
  }
}

/**
 * Waits until a node says that it waits for all of these. Not by the fleet's
 * own question, which holds that there is one history.
 */
async function waitsFor(
  fleet: ChatFleet,
  node: ChatNode,
  names: readonly string[],
): Promise<void> {
  await fleet.until(`${node.name} waits for ${names.join()}`, async () => {
    const page = await node.page("/state");
    if (page === undefined) return false;
    const status = readNodeStatus(JSON.parse(page.text));
    assert(!status.isWritable, `${node.name} must not serve`);
    const text = status.waitsFor.join();
    return names.every((name) => new RegExp(`\\b${name}\\b`).test(text));
  });
}

Deno.test("chat recover: a majority is lost with its disks; a server in sync goes on by force", async () => {
  await using fleet = new ChatFleet();
  const [a, b, c] = fleet.servers;
  const [w1, w2] = fleet.witnesses;
  await fleet.startReady();
  await using load = await Load.start(fleet);
  const live = await recover(b);
  assertEquals(live.exit.code, 1);
  assertMatch(live.errors, new RegExp(`in use by process ${b.process.pid}`));
  // Under load: whatever was acknowledged is on the disk of every member.
  await Promise.all(fleet.nodes.map((node) => node.kill()));
  lose(a, c, w1);
  // Neither what is left nor new stores under the old names are a majority.
  await fleet.start();
  await waitsFor(fleet, b, ["a", "c", "w1"]);
  await waitsFor(fleet, w2, ["a", "c", "w1"]);
  await Promise.all(fleet.nodes.map((node) => node.kill()));
  lose(a, c, w1);
  const report = await recover(b);
  assertEquals(report.exit.code, 0, report.errors);
  assertMatch(report.text, /^Damage {5}none$/m);
  assertMatch(report.text, /b was in sync in that view/);
  assertMatch(report.text, /this one and any 2 of a, c, w1, w2\.$/m);
  const asked = await recover(b, "--force");
  assertEquals(asked.exit.code, 1);
  assertMatch(asked.errors, /Nothing was changed/);
  const forced = await recover(b, "--force", "--yes");
  assertEquals(forced.exit.code, 0, forced.errors);
  assertMatch(
    forced.text,
    /^Recovered: view \d+\.\w+, in which b is the only/m,
  );
  const before = load.acknowledged;
  await b.start();
  await fleet.primary((node) => node === b);
  await load.more();
  assert(load.acknowledged > before);
  // W2 comes with its old votes, all others with nothing.
  await fleet.start([a, c, w1, w2]);
  await fleet.complete();
  await fleet.until("all vote", async () => {
    return (await a.status())?.view?.voters.join() === "a,b,c,w1,w2";
  });
  await load.more();
  await Promise.all([b.kill(), w2.kill()]);
  await load.more();
  await fleet.start([b, w2]);
  await load.verify();
});

Deno.test("chat recover: the old primary comes back after a server that was behind went on by force", async () => {
  await using fleet = new ChatFleet();
  const [a, b, c] = fleet.servers;
  const [w1, w2] = fleet.witnesses;
  await fleet.startReady();
  const client = async (user: string, server: ChatNode) => {
    const one = new LoadClient(user, { servers: [server.clients] });
    clients.push(one);
    await one.begin();
    return one;
  };
  const clients: LoadClient[] = [];
  try {
    const ann = await client("ann", c);
    const bob = await client("bob", c);
    for (let n = 1; n <= 20; n += 1) await ann.send("bob", `kept ${n}`);
    await fleet.inSync();
    await Promise.all([a.kill(), b.kill()]);
    for (let n = 1; n <= 5; n += 1) await ann.send("bob", `alone ${n}`);
    assertEquals((await bob.list()).length, 25);
    await c.stop("SIGTERM");
    await Promise.all([w1, w2].map((node) => node.kill()));
    const behind = await recover(a);
    assertMatch(behind.text, /Others \(b, c, w1, w2\) may have made later/);
    const forced = await recover(a, "--force", "--yes");
    assertEquals(forced.exit.code, 0, forced.errors);
    // The old primary and a witness are two of the five of its view.
    await fleet.start([c, w1]);
    await waitsFor(fleet, c, ["a", "b", "w2"]);
    c.expectEnd();
    await a.start();
    const { code } = await c.process.ended();
    assertEquals(code, 1, c.describe());
    assertMatch(c.errors().join(), /applied entries up to \d+ that its group/);
    // B has nothing that A has not; the witnesses have only their votes.
    await fleet.start([b, w2]);
    await fleet.until("a leads b", async () => {
      const view = (await a.status())?.view;
      return view?.members.join() === "a,b" &&
        view.voters.join() === "a,b,w1,w2";
    });
    const again = await c.refusal();
    assertEquals(again.exit.code, 1);
    assertMatch(again.text, /recovered by force/);
    lose(c);
    await c.start();
    await fleet.complete();
    const newAnn = await client("ann", c);
    await newAnn.send("bob", "after");
    await fleet.inSync();
    for (const server of fleet.servers) {
      const reader = await client("bob", server);
      assertEquals(
        (await reader.list()).map(({ text }) => text),
        [...Array.from({ length: 20 }, (_, at) => `kept ${at + 1}`), "after"],
      );
    }
  } finally {
    for (const one of clients) one.close();
  }
});
