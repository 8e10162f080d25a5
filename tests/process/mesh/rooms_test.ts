/** Rooms, private messages, history and traces, between real servers. */

import { assert, assertEquals } from "@std/assert";
import { TOPOLOGIES } from "../../../protocol/mesh.ts";
import { MeshFleet } from "./mesh_fleet.ts";

Deno.test("mesh rooms: who is in a room hears it at any server, and nobody else does", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  const dana = await a.login("Dana");
  const ahmad = await b.login("Ahmad");
  const lina = await c.login("Lina");
  for (const person of [dana, ahmad]) {
    const { code, room } = await person.ask({ type: "join", room: "lab" });
    assertEquals([code, room], ["joined", "lab"]);
  }
  await fleet.until("A knows who is there", async () => {
    const { total } = await dana.ask({ type: "who", room: "lab" });
    return total === 2;
  });
  await dana.say("in the lab", { room: "lab" });
  await ahmad.heard("in the lab");
  assertEquals(
    ahmad.lines.at(-1),
    '{"type":"msg","from":"Dana","server":"A","text":"in the lab","room":"lab"}',
  );
  await dana.say("to all");
  await lina.heard("to all");
  assertEquals(lina.texts, ["to all"]);
  const { rooms } = await lina.ask({ type: "rooms" });
  assertEquals(rooms, [{ room: "lab", users: 2 }]);
  await fleet.logged(
    "it",
    ({ room, text }) => room === "lab" && text === "in the lab",
  );
});

Deno.test("mesh rooms: a private message comes to one person, and to nobody else", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  const dana = await a.login("Dana");
  const ahmad = await b.login("Ahmad");
  const lina = await c.login("Lina");
  await fleet.until("A knows of Ahmad", async () => {
    return (await dana.ask({ type: "who" })).total === 3;
  });
  const answer = await dana.ask({ type: "dm", to: "Ahmad", text: "psst" });
  assertEquals(answer.type, "ok");
  await ahmad.line(/"type":"dm".*psst/);
  await dana.say("aloud");
  await lina.heard("aloud");
  assertEquals(lina.lines.filter((line) => line.includes("psst")), []);
  const nobody = await dana.ask({ type: "dm", to: "Nobody", text: "psst" });
  assertEquals(nobody.code, "no-such-user");
});

Deno.test("mesh history: any server tells what was said at all of them, page by page", async () => {
  await using fleet = await MeshFleet.start();
  const dana = await fleet.server("A").login("Dana");
  const lina = await fleet.server("C").login("Lina");
  for (let n = 1; n <= 30; n++) await (n % 2 ? dana : lina).say(`line ${n}`);
  await fleet.until(
    "all is in the log",
    () => fleet.log().filter(({ type }) => type === "msg").length === 30,
  );
  const late = await fleet.server("B").login("Noor");
  const texts: string[] = [];
  let before: unknown;
  for (;;) {
    const page = await late.ask({
      ...{ type: "history", limit: 12 },
      ...before !== undefined && { before },
    });
    const { messages, more } = page;
    assert(Array.isArray(messages));
    texts.unshift(...messages.map(({ text }) => String(text)));
    before = messages[0]?.seq;
    if (more !== true) break;
  }
  // All servers of a machine write to one log, in one order.
  const logged = fleet.log().filter(({ type }) => type === "msg")
    .map(({ text }) => text);
  assertEquals(texts, logged);
});

Deno.test("mesh trace: shows the way that a message takes in each topology", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B", "C", "D"] });
  await fleet.linked();
  const dana = await fleet.server("B").login("Dana");
  const ways: Record<string, string[]> = {};
  for (const topology of TOPOLOGIES) {
    await dana.ask({ type: "topology", topology });
    await fleet.until(`all have ${topology}`, async () => {
      const all = await Promise.all(
        fleet.servers.map((server) => server.status()),
      );
      return all.every((status) => status?.topology === topology);
    });
    const { reports, missing } = await dana.ask({ type: "trace" });
    assertEquals(missing, [], topology);
    assert(Array.isArray(reports));
    ways[topology] = reports.map(({ path }) => path.join("")).sort();
  }
  assertEquals(ways, {
    mesh: ["BA", "BC", "BD"],
    // There are two ways round, and a busy server may be late with its own.
    ring: ways.ring,
    bus: ["BA", "BC", "BCD"],
    star: ["BA", "BAC", "BAD"],
  });
  assertEquals(ways.ring.map((way) => way.at(-1)).sort(), ["A", "C", "D"]);
  for (const way of ways.ring) {
    assert("BCDA".startsWith(way) || "BADC".startsWith(way), way);
  }
});
