import { assert, assertEquals } from "@std/assert";
import { TOPOLOGIES } from "../../../protocol/mesh.ts";
import { MeshFleet } from "./mesh_fleet.ts";
import type { Person } from "./person.ts";
import { assertAllHeard, Talker } from "./talk.ts";

Deno.test("mesh faults: a stopped server is gone to the others, and hears all it missed when it goes on", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  const dana = await a.login("Dana");
  const ahmad = await b.login("Ahmad");
  const lina = await c.login("Lina");
  const talker = new Talker("Dana", dana, { everyMs: 5 });
  await talker.more(20);
  await b.process.freeze();
  await fleet.whole([a, c]);
  await talker.more(50);
  b.process.thaw();
  await fleet.whole();
  await talker.more(20);
  await talker.stop();
  await assertAllHeard([ahmad, lina, dana], [talker]);
  await fleet.logged(
    "that B was gone",
    ({ type, server, from }) =>
      type === "peer_down" && server === "A" && from === "B",
  );
  fleet.checkSequence();
});

Deno.test("mesh faults: servers are killed in turn, and nobody else notices", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  const dana = await a.login("Dana");
  const noor = await a.login("Noor");
  const talker = new Talker("Dana", dana, { everyMs: 2 });
  for (const victim of [b, c, b]) {
    await talker.more(20);
    await victim.kill();
    await talker.more(20);
    await victim.start();
    await fleet.whole();
  }
  const lina = await c.login("Lina");
  const first = talker.count;
  await talker.more(20);
  await talker.stop();
  await assertAllHeard([dana, noor], [talker]);
  await lina.heard(`Dana ${talker.count}`);
  // From when it was there on: without a gap, without what was before.
  const numbers = lina.texts.map((text) => Number(text.split(" ")[1]));
  assert(numbers[0] <= first + 1, `${numbers[0]} of ${first}`);
  for (const [at, number] of numbers.entries()) {
    assertEquals(number, numbers[0] + at);
  }
  await fleet.logged("the last", ({ text }) => text === `Dana ${talker.count}`);
  fleet.checkSequence();
  const logged = fleet.log().filter(({ type }) => type === "msg")
    .map(({ text }) => text);
  assertEquals(logged.length, talker.count, "each once");
});

Deno.test("mesh faults: the topology changes under load, and nothing is lost, repeated or reordered", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B", "C", "D"] });
  const listeners: Person[] = [];
  const speakers: Person[] = [];
  for (const server of fleet.servers) {
    listeners.push(await server.login(`at${server.id}-hears`));
    speakers.push(await server.login(`at${server.id}`));
  }
  const talkers = speakers.map((person, at) =>
    new Talker(`at${fleet.servers[at].id}`, person)
  );
  const operator = await fleet.server("B").login("Operator");
  await fleet.linked();
  for (const topology of [...TOPOLOGIES.slice(1), "mesh", "bus"]) {
    for (const talker of talkers) await talker.more(15);
    // So many switches a second, and no more: "busy" until then.
    await fleet.until(`B takes ${topology}`, async () => {
      const answer = await operator.ask({ type: "topology", topology });
      return answer.type === "topology";
    });
    await fleet.until(`all have ${topology}`, async () => {
      const all = await Promise.all(
        fleet.servers.map((server) => server.status()),
      );
      return all.every((status) => status?.topology === topology);
    });
  }
  for (const talker of talkers) await talker.more(15);
  for (const talker of talkers) await talker.stop();
  await assertAllHeard([...listeners, ...speakers], talkers);
  await fleet.logged(
    "the change",
    ({ type, server, text }) =>
      type === "topology" && server === "B" && text?.includes("ring") === true,
  );
});

Deno.test("mesh faults: the hub of a star is killed, and the others lose, repeat and reorder nothing", async () => {
  await using fleet = await MeshFleet.start({
    ids: ["A", "B", "C", "D"],
    flags: ["--topology", "star"],
  });
  await fleet.linked();
  const [a, ...others] = fleet.servers;
  const people: Person[] = [];
  for (const server of others) {
    people.push(await server.login(`at${server.id}`));
  }
  const talkers = people.map((person, at) =>
    new Talker(`at${others[at].id}`, person, { everyMs: 2 })
  );
  for (const talker of talkers) await talker.more(20);
  await a.kill();
  for (const talker of talkers) await talker.more(50);
  await fleet.whole(others);
  await a.start();
  await fleet.whole();
  for (const talker of talkers) await talker.more(20);
  for (const talker of talkers) await talker.stop();
  await assertAllHeard(people, talkers);
});

Deno.test("mesh faults: somebody who never reads is dropped, and others do not notice", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B"] });
  const [a, b] = fleet.servers;
  const mute = await b.connect({ reads: false });
  await mute.send({ type: "login", username: "Mute" });
  const dana = await a.login("Dana");
  const ahmad = await b.login("Ahmad");
  const text = "x".repeat(15_000);
  let count = 0;
  await fleet.until("the silent one is dropped", async () => {
    for (let burst = 0; burst < 20; burst++) {
      count += 1;
      await dana.say(`${count} ${text}`);
    }
    await ahmad.heard(`${count} ${text}`);
    const { total } = await ahmad.ask({ type: "who" });
    return total === 2;
  });
  assertEquals(ahmad.texts.length, count, "others have all of it");
  assert(await b.metric("skein_mesh_clients_slow_consumers_total") > 0);
  assert(b.process.residentBytes() < 512 * 1_048_576);
});

Deno.test("mesh faults: a stop sends people elsewhere, says so to the servers, and leaves nothing unwritten", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b] = fleet.servers;
  const plain = await a.login("Dana");
  const more = await a.login("Noor", { more: true });
  const ahmad = await b.login("Ahmad", { more: true });
  for (let n = 1; n <= 200; n++) await plain.say(`last words ${n}`);
  const stopping = a.stop("SIGTERM");
  const move = JSON.parse(await more.line(/"code":"move"/));
  assertEquals(
    move.to.toSorted(),
    [
      fleet.server("B").address,
      fleet.server("C").address,
    ].sort(),
  );
  await plain.closed();
  await more.closed();
  assertEquals(await stopping, { code: 0, signal: null });
  await ahmad.line(/"type":"server","event":"down","server":"A"/);
  const types = fleet.log().filter(({ server }) => server === "A")
    .map(({ type }) => type);
  assertEquals(types.at(-1), "stop");
  // What was taken is logged and was relayed: as many, in order.
  const said = fleet.log().filter(({ type }) => type === "msg")
    .map(({ text }) => text);
  await fleet.until(
    "Ahmad has them all",
    () => ahmad.texts.length === said.length,
  );
  assertEquals(ahmad.texts, said);
  fleet.checkSequence();
});

Deno.test("mesh faults: while somebody holds the log's lock the chat goes on, and a stop ends in time", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  const dana = await a.login("Dana");
  const mute = await a.connect({ reads: false });
  await mute.send({ type: "login", username: "Mute" });
  const lina = await c.login("Lina");
  await dana.say("before");
  await fleet.logged("it", ({ text }) => text === "before");
  using lock = Deno.openSync(fleet.logPath());
  lock.lockSync(true);
  await dana.say("meanwhile");
  await lina.heard("meanwhile");
  await fleet.until(
    "A says who holds it",
    () => a.complaints().some((line) => line.includes("lock")),
  );
  assertEquals((await a.page("/readyz"))?.status, 503);
  // A peer that hears nothing, and a client that reads nothing, as well.
  await b.process.freeze();
  const startMs = performance.now();
  const exit = await a.stop("SIGTERM");
  const tookMs = performance.now() - startMs;
  assertEquals(exit, { code: 0, signal: null }, a.describe());
  assert(tookMs < 5_500, `${tookMs} ms`);
  assert(a.complaints().includes("Entries could not be kept in the log"));
  lock.unlockSync();
  b.process.thaw();
  await fleet.logged(
    "that A is gone",
    ({ type, from, server }) =>
      type === "peer_down" && from === "A" && server === "C",
  );
  fleet.checkSequence();
});

Deno.test("mesh faults: a drained server takes nobody, and does again when that is undone", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B"] });
  const [a, b] = fleet.servers;
  const dana = await a.login("Dana", { more: true });
  const operator = await a.connect();
  assertEquals((await operator.ask({ type: "drain" })).type, "ok");
  const move = JSON.parse(await dana.line(/"code":"move"/));
  assertEquals(move.to, [b.address]);
  const late = await a.connect();
  await late.send({ type: "login", username: "Late" });
  await late.line(/"type":"error"/);
  await fleet.until("B knows", async () => {
    const status = await b.status();
    return status?.servers.find(({ id }) => id === "A")?.draining === true;
  });
  assertEquals((await a.page("/readyz"))?.status, 503);
  assertEquals(
    (await operator.ask({ type: "drain", undo: true })).type,
    "ok",
  );
  await a.ready();
  await late.send({ type: "login", username: "Late" });
  await late.line(/Welcome Late/);
});
