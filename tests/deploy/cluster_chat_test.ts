import { assert, assertEquals, assertMatch } from "@std/assert";
import { TextLineStream } from "@std/streams";
import { isAlive } from "../../deploy/process_id.ts";
import { ClusterSite } from "./cluster_process.ts";

/** Says one line to a client port, and returns the answer. */
async function ask(port: number, request: object): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
  const lines = conn.readable.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  // Leaving the loop closes the connection.
  for await (const line of lines) return line;
  throw new Error("The connection was closed without an answer");
}

const ANN = { user: "ann", password: "correct horse battery" };

Deno.test("cluster: the chat keeps what it is told from one run to the next, until --fresh", async () => {
  await using site = new ClusterSite();
  const { base } = site.ports;
  const run = async (
    request: { readonly type: string },
    ...flags: string[]
  ) => {
    const cluster = site.start("chat", ...flags);
    await cluster.ready();
    const answers = [];
    // Any of the three servers takes it.
    for (const port of [base + 5, base + 6, base + 7]) {
      answers.push(await ask(port, { ...ANN, ...request }));
    }
    return { cluster, answers };
  };
  const end = async ({ cluster }: Awaited<ReturnType<typeof run>>) => {
    const { nodes } = site.state();
    cluster.kill("SIGINT");
    assertEquals((await cluster.ended()).code, 0, cluster.lines.join("\n"));
    assertEquals(nodes.filter(isAlive), []);
    assertEquals(site.states.read(), []);
  };

  const first = await run({ type: "register" });
  assertMatch(first.answers[0], /^\{"type":"ok"/);
  assertMatch(first.answers[1], /"code":"name-taken"/);
  const text = first.cluster.lines.join("\n");
  const clients = [5, 6, 7].map((n) => `127.0.0.1:${base + n}`).join(",");
  assert(text.includes(` task client chat -c ${clients}\n`), text);
  assert(text.includes(` task client status -c ${clients} --watch\n`), text);
  assert(text.includes(`${site.folder}/data/chat-${base} (`), text);
  assertEquals(site.state().nodes.map(({ name }) => name), [
    ...["server-1", "server-2", "server-3", "witness-1", "witness-2"],
  ]);
  await end(first);

  const second = await run({ type: "login" });
  for (const answer of second.answers) assertMatch(answer, /^\{"type":"ok"/);
  await end(second);

  const fresh = await run({ type: "login" }, "--fresh");
  for (const answer of fresh.answers) {
    assertMatch(answer, /"code":"wrong-password"/);
  }
  await end(fresh);
});

Deno.test("cluster: --fresh deletes nothing of a fleet that runs", async () => {
  await using site = new ClusterSite();
  const cluster = site.start("chat");
  await cluster.ready();
  const data = `${site.folder}/data/chat-${site.ports.base}`;
  const refused = site.start("chat", "--fresh");
  assertEquals((await refused.ended()).code, 1);
  assertMatch(refused.lines[0], /^Cannot start server-1: .* is taken by /);
  assert(Deno.statSync(`${data}/server-1/lock`).isFile);
  cluster.kill("SIGINT");
  assertEquals((await cluster.ended()).code, 0, cluster.lines.join("\n"));
});
