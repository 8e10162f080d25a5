/** The testing checklist of the seed, point by point. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { MeshFleet } from "./mesh_fleet.ts";

Deno.test("mesh checklist: local message broadcast", async (t) => {
  await t.step("a server alone: its local users see it", async () => {
    await using fleet = await MeshFleet.start({ ids: ["A"] });
    const a = fleet.server("A");
    const dana = await a.login("Dana");
    const noor = await a.login("Noor");
    await dana.say("Hello everyone!");
    await noor.heard("Hello everyone!");
    await dana.heard("Hello everyone!");
    assertEquals(
      noor.lines.at(-1),
      '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!"}',
    );
  });
  await t.step(
    "a local message: A's local users, and nobody else",
    async () => {
      await using fleet = await MeshFleet.start();
      const dana = await fleet.server("A").login("Dana");
      const noor = await fleet.server("A").login("Noor");
      const ahmad = await fleet.server("B").login("Ahmad");
      const lina = await fleet.server("C").login("Lina");
      await dana.say("for A alone", { local: true });
      await noor.heard("for A alone");
      await dana.heard("for A alone");
      // What is said after it has come everywhere: so it will not come any more.
      await dana.say("for all");
      for (const person of [dana, noor, ahmad, lina]) {
        await person.heard("for all");
      }
      assertEquals(ahmad.texts, ["for all"]);
      assertEquals(lina.texts, ["for all"]);
    },
  );
});

Deno.test("mesh checklist: inter-server forwarding", async () => {
  await using fleet = await MeshFleet.start();
  const dana = await fleet.server("A").login("Dana");
  const ahmad = await fleet.server("B").login("Ahmad");
  const lina = await fleet.server("C").login("Lina");
  await dana.say("Hello from A");
  await ahmad.heard("Hello from A");
  await lina.heard("Hello from A");
  await lina.say("Hello from C");
  for (const person of [dana, ahmad, lina]) {
    await person.heard("Hello from C");
    assertEquals(person.texts, ["Hello from A", "Hello from C"]);
  }
  assertEquals(
    ahmad.lines.slice(1),
    [
      '{"type":"msg","from":"Dana","server":"A","text":"Hello from A"}',
      '{"type":"msg","from":"Lina","server":"C","text":"Hello from C"}',
    ],
  );
});

Deno.test("mesh checklist: shared logging", async () => {
  await using fleet = await MeshFleet.start();
  const people = [
    await fleet.server("A").login("Dana"),
    await fleet.server("B").login("Ahmad"),
    await fleet.server("C").login("Lina"),
  ];
  for (const person of people) await person.say(`I am at ${person.address}`);
  for (const server of fleet.servers) {
    await fleet.logged(
      `what was said at ${server.id}`,
      ({ type, server: at, text }) =>
        type === "msg" && at === server.id &&
        text === `I am at ${server.address}`,
    );
  }
  fleet.checkSequence();
  const messages = fleet.log().filter(({ type }) => type === "msg");
  assertEquals(messages.length, 3, "each once, by the server where it began");
  for (const line of fleet.logLines()) {
    const { time, server } = JSON.parse(line);
    assertMatch(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert(["A", "B", "C"].includes(server), line);
    assertEquals(Object.keys(JSON.parse(line)).slice(0, 4), [
      ...["seq", "time", "server", "type"],
    ]);
  }
  const types = new Set(fleet.log().map(({ type }) => type));
  for (const type of ["start", "peer_up", "login", "msg"]) {
    assert(types.has(type), `${type} is missing: ${[...types].join()}`);
  }
  await assertReadByJq(fleet.logPath());
});

Deno.test("mesh checklist: fault tolerance", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  const dana = await a.login("Dana");
  const ahmad = await b.login("Ahmad");
  const lina = await c.login("Lina");
  await dana.say("before");
  for (const person of [dana, ahmad, lina]) await person.heard("before");

  // 1. Kill server B.
  await b.kill();
  // 2. Servers A and C continue working.
  await dana.say("without B");
  await lina.heard("without B");
  await fleet.whole([a, c]);
  await lina.say("C as well");
  await dana.heard("C as well");
  // 3. Restart server B. 4. It reconnects automatically.
  await b.start();
  await fleet.whole();
  // 5. Inter-server messages resume.
  const again = await b.login("Ahmad");
  await dana.say("welcome back");
  await again.heard("welcome back");
  await again.say("thank you");
  await dana.heard("thank you");
  await lina.heard("thank you");
  assertEquals(
    [dana.texts, lina.texts].map((texts) => texts.join("; ")),
    Array(2).fill("before; without B; C as well; welcome back; thank you"),
  );
  assertEquals(again.texts, ["welcome back", "thank you"]);
  await fleet.logged("thank you", ({ text }) => text === "thank you");
  fleet.checkSequence();
});

/** `jq` reads every line, where there is one. */
async function assertReadByJq(path: string): Promise<void> {
  try {
    const { success, stdout } = await new Deno.Command("jq", {
      args: ["-c", 'select(.type=="msg") | .server', path],
      stdin: "null",
    }).output();
    assert(success);
    const servers = new TextDecoder().decode(stdout).trim().split("\n");
    assertEquals(servers.sort(), ['"A"', '"B"', '"C"']);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
