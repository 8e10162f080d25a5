import { assert, assertEquals } from "@std/assert";
import { MeshFleet } from "./mesh_fleet.ts";

Deno.test("mesh names: taken at one server is taken at all, and free when its owner goes", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  const dana = await a.login("Dana");
  const watcher = await b.login("Ahmad");
  const isThere = async (name: string) => {
    const { users } = await watcher.ask({ type: "who" });
    return JSON.stringify(users).includes(`"${name}"`);
  };
  await fleet.until("B has heard of Dana", () => isThere("Dana"));
  const second = await b.connect();
  await second.send({ type: "login", username: "Dana" });
  await second.line(/^\{"type":"error","text":"username taken"\}$/);
  await dana.send({ type: "quit" });
  await dana.closed();
  await fleet.until(
    "B has heard that she is gone",
    async () => !await isThere("Dana"),
  );
  await second.send({ type: "login", username: "Dana" });
  await second.line(/Welcome Dana to Server B/);
  const noor = await c.login("Noor");
  await second.say("it is me");
  await noor.heard("it is me");
});

Deno.test("mesh names: names of a server that was killed are free", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  await b.login("Ahmad");
  const dana = await a.login("Dana");
  await fleet.until("A has heard of Ahmad", async () => {
    const { total } = await dana.ask({ type: "who" });
    return total === 2;
  });
  await b.kill();
  await fleet.whole([a, c]);
  const ahmad = await c.login("Ahmad");
  assertEquals(
    ahmad.lines[0],
    '{"type":"system","text":"Welcome Ahmad to Server C"}',
  );
});

Deno.test("mesh names: two logins in one moment leave one of that name", async () => {
  await using fleet = await MeshFleet.start();
  const people = await Promise.all(
    fleet.servers.map((server) => server.connect()),
  );
  for (const person of people) {
    await person.send({ type: "login", username: "Dana" });
  }
  const judge = await fleet.server("A").login("Judge");
  const names = await fleet.until("the names are settled", async () => {
    const { users } = await judge.ask({ type: "who" });
    if (!Array.isArray(users)) return undefined;
    const all = users.map(({ name }) => String(name))
      .filter((name) => name !== "Judge");
    const expected = people.filter(({ lines }) =>
      lines.some((line) =>
        line.includes("Welcome")
      )
    ).length;
    const isSettled = all.length === expected &&
      new Set(all).size === all.length;
    return isSettled ? all : undefined;
  });
  assertEquals(names.filter((name) => name === "Dana").length, 1);
  for (const person of people) {
    const text = person.lines.join("\n");
    const isRefused = text.includes("username taken");
    const isRenamed = text.includes("Another Dana logged in earlier");
    const keeps = !isRefused && !isRenamed;
    assert(keeps || !(isRefused && isRenamed), text);
  }
});
