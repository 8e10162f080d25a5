import { assert, assertEquals, assertMatch } from "@std/assert";
import { isAlive, processId, waitGone } from "../../deploy/process_id.ts";
import {
  CHECKOUT,
  ClusterProcess,
  ClusterSite,
  WAIT_MS,
} from "./cluster_process.ts";

Deno.test("cluster: starts the chain, says how to reach it, and SIGINT stops all", async () => {
  await using site = new ClusterSite();
  const cluster = site.start();
  await cluster.ready();
  const base = site.ports.base;
  const text = cluster.lines.join("\n");
  assertMatch(
    text,
    new RegExp(`task client send -c 127\\.0\\.0\\.1:${base}\n`),
  );
  assertMatch(text, new RegExp(`nc 127\\.0\\.0\\.1 ${base}\n`));
  const { launcher, nodes } = site.state();
  assertEquals(launcher.pid, cluster.pid);
  assertEquals(
    nodes.map(({ name }) => name),
    [0, 1, 2, 3].map((n) => `server${n}`),
  );
  for (let index = 4; index < 8; index += 1) {
    const url = `http://127.0.0.1:${base + index}/readyz`;
    assertMatch(text, new RegExp(`http://127\\.0\\.0\\.1:${base + index}/`));
    const answer = await fetch(url);
    await answer.body?.cancel();
    assertEquals(answer.status, 200, url);
  }

  cluster.kill("SIGINT");
  const { code } = await cluster.ended();
  assertEquals(code, 0, cluster.lines.join("\n"));
  assertEquals(nodes.filter(isAlive), []);
  assertEquals(site.states.read(), []);
});

Deno.test("cluster: what one types at the head comes out of the tail", async () => {
  await using site = new ClusterSite();
  const cluster = site.start();
  await cluster.ready();
  const { base } = site.ports;
  using link = await Deno.connect({ hostname: "127.0.0.1", port: base });
  await link.write(new TextEncoder().encode("good morning, tail\n"));
  const line = await cluster.line(/^server3 \| .*good morning, tail/);
  assertMatch(line, /^server3 \| /);

  cluster.kill("SIGTERM");
  assertEquals((await cluster.ended()).code, 0, cluster.lines.join("\n"));
});

Deno.test("cluster: no node outlives a launcher that is killed", async () => {
  await using site = new ClusterSite();
  const cluster = site.start();
  await cluster.ready();
  const { nodes } = site.state();
  assertEquals(nodes.filter(isAlive).length, 4);
  cluster.kill("SIGKILL");
  assertEquals(await waitGone(nodes, WAIT_MS), []);
});

Deno.test("cluster: a node that dies is reported, the others stay", async () => {
  await using site = new ClusterSite();
  const cluster = site.start();
  await cluster.ready();
  const [head, second, ...rest] = site.state().nodes;
  Deno.kill(second.pid, "SIGKILL");
  await cluster.line(/^server1 ended by SIGKILL/);
  assert([head, ...rest].every(isAlive));

  for (const { pid } of [head, ...rest]) Deno.kill(pid, "SIGKILL");
  assertEquals((await cluster.ended()).code, 1);
  await cluster.line(/^All nodes have ended$/);
});

Deno.test("cluster: a second fleet is refused, and stop ends the first", async () => {
  await using site = new ClusterSite();
  const cluster = site.start();
  await cluster.ready();
  const { nodes } = site.state();

  const second = await site.run("chain");
  assertEquals(second.code, 1);
  assertMatch(
    second.text,
    new RegExp(
      `^Cannot start server0: 127\\.0\\.0\\.1:${site.ports.base} is taken by ` +
        `process ${
          nodes[0].pid
        }: server0 of the fleet chain-${site.ports.base}\n`,
    ),
  );
  assertMatch(second.text, /\nTo end the fleet .+: deno task cluster stop$/);
  assert(nodes.every(isAlive), "the refused one left the first alone");

  const stop = await site.run("stop");
  assertEquals(stop.code, 0);
  assertMatch(
    stop.text,
    new RegExp(
      `^Stopped chain-\\d+: launcher ${cluster.pid}, server0 ${nodes[0].pid}, `,
    ),
  );
  assertEquals((await cluster.ended()).code, 0);
  assertEquals(nodes.filter(isAlive), []);
  assertEquals(await site.run("stop"), { code: 0, text: "Nothing to stop" });
});

Deno.test("cluster: stop ends a node that neither launcher nor signal reaches", async () => {
  await using site = new ClusterSite();
  const cluster = site.start();
  await cluster.ready();
  const { nodes } = site.state();
  Deno.kill(nodes[1].pid, "SIGSTOP");
  cluster.kill("SIGKILL");
  assertEquals(
    await waitGone(nodes.filter(({ name }) => name !== "server1"), WAIT_MS),
    [],
  );
  assert(isAlive(nodes[1]));

  const stop = await site.run("stop");
  assertEquals(stop.code, 0);
  assertMatch(stop.text, new RegExp(`: server1 ${nodes[1].pid} \\(killed\\)$`));
  assert(!isAlive(nodes[1]));
});

Deno.test("cluster: a second Ctrl-C kills what does not end", async () => {
  await using site = new ClusterSite();
  const cluster = site.start();
  await cluster.ready();
  const { nodes } = site.state();
  Deno.kill(nodes[2].pid, "SIGSTOP");
  const pressing = setInterval(() => cluster.kill("SIGINT"), 100);
  const { code } = await cluster.ended();
  clearInterval(pressing);
  assertEquals(code, 1);
  await cluster.line(/^server2 did not end, killing it$/);
  assertEquals(nodes.filter(isAlive), []);
});

Deno.test("cluster: a taken port is named with its holder before anything starts", async () => {
  await using site = new ClusterSite();
  const port = site.ports.base + 2;
  using _holder = Deno.listen({ hostname: "127.0.0.1", port });
  const { code, text } = await site.run("chain");
  assertEquals(code, 1);
  assertEquals(site.states.read(), []);
  const by = Deno.build.os === "linux" ? ` by process ${Deno.pid}: .+` : "";
  assertMatch(
    text,
    new RegExp(`^Cannot start server2: 127\\.0\\.0\\.1:${port} is taken${by}$`),
  );
});

Deno.test("cluster: stop leaves a process alone that only has an old number", async () => {
  await using site = new ClusterSite();
  const self = processId(Deno.pid);
  assert(self !== undefined);
  const earlier = { pid: self.pid, startedAt: "another boot:1" };
  site.states.write({
    fleet: "chain",
    launcher: earlier,
    nodes: [{ name: "server0", ...earlier }],
  });
  assertEquals(await site.run("stop"), { code: 0, text: "Nothing to stop" });
  assertEquals(site.states.read(), []);
});

Deno.test("cluster: help, and one line for what it does not know", async () => {
  const outcome = async (...args: string[]) => {
    const process = new ClusterProcess(args);
    const { code } = await process.ended();
    return { code, lines: process.lines };
  };
  const help = await outcome("--help");
  assertEquals(help.code, 0);
  assertMatch(help.lines.join("\n"), /deno task cluster stop/);
  assertEquals(await outcome("chian"), {
    code: 2,
    lines: [
      'cluster: There is no fleet "chian", wanted one of: chain, chat, mesh',
    ],
  });
  const flag = await outcome("--bse-port", "1");
  assertEquals([flag.code, flag.lines.length], [2, 1], CHECKOUT);
});
