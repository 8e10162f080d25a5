import { assert, assertEquals } from "@std/assert";
import { isAlive } from "../../deploy/process_id.ts";
import { Person } from "../process/mesh/person.ts";
import { until } from "../process/until.ts";
import { ClusterSite } from "./cluster_process.ts";

Deno.test("cluster: the mesh's servers talk, and write one log that outlives them", async () => {
  await using site = new ClusterSite();
  const { base } = site.ports;
  const log = `${site.folder}/data/mesh-${base}/chat.log`;
  const run = async (text: string, ...flags: string[]) => {
    const cluster = site.start("mesh", ...flags);
    await cluster.ready();
    const people = await Promise.all(
      ["Dana", "Ahmad", "Lina"].map((name, at) =>
        Person.login(`127.0.0.1:${base + at}`, name)
      ),
    );
    // The links may be there a moment after the servers are.
    await until("all are there", async () => {
      const all = await Promise.all(
        people.map((person) => person.ask({ type: "who" })),
      );
      return all.every(({ total }) => total === 3);
    });
    for (const [at, person] of people.entries()) {
      await person.say(`${text} ${at}`);
    }
    for (const person of people) {
      for (const at of people.keys()) await person.heard(`${text} ${at}`);
    }
    const { nodes } = site.state();
    cluster.kill("SIGINT");
    assertEquals((await cluster.ended()).code, 0, cluster.lines.join("\n"));
    for (const person of people) await person[Symbol.asyncDispose]();
    assertEquals(nodes.map(({ name }) => name), ["A", "B", "C"]);
    assertEquals(nodes.filter(isAlive), []);
    return cluster.lines.join("\n");
  };
  const said = () =>
    Deno.readTextFileSync(log).split("\n").filter((line) =>
      line.includes('"type":"msg"')
    ).map((line) => JSON.parse(line).text).toSorted();

  const lines = await run("first");
  assert(lines.includes(` task client chat 127.0.0.1 ${base} Dana\n`), lines);
  assert(lines.includes(` task client log ${log} -f\n`), lines);
  assert(lines.includes(`ws://127.0.0.1:${base}/ws`), lines);
  assertEquals(said(), ["first 0", "first 1", "first 2"]);

  await run("second");
  assertEquals(said(), [
    ...["first 0", "first 1", "first 2"],
    ...["second 0", "second 1", "second 2"],
  ]);

  await run("third", "--fresh");
  assertEquals(said(), ["third 0", "third 1", "third 2"]);
});
