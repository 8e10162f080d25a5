/** Every message of the seed's page, byte for byte. */

import { assert, assertEquals } from "@std/assert";
import { MeshFleet } from "./mesh_fleet.ts";
import { RawMesh } from "./raw_mesh.ts";

Deno.test("mesh transcripts: what a client written by the seed's page says and gets", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A"] });
  const a = fleet.server("A");
  const dana = await a.connect();
  await dana.write('{"type":"login","username":"Dana"}\n');
  await dana.line(/Welcome/);
  await dana.write('{"type":"msg","text":"Hello everyone!"}\n');
  await dana.line(/Hello/);
  assertEquals(dana.lines, [
    '{"type":"system","text":"Welcome Dana to Server A"}',
    '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!"}',
  ]);

  const other = await a.connect();
  await other.write('{"type":"login","username":"Dana"}\n');
  await other.line(/taken/);
  assertEquals(other.lines, ['{"type":"error","text":"username taken"}']);
  // It may try again, and pack lines as it likes.
  await other.write('{"type":"login","username":"Ahmad"}\r\n{"type":"msg","te');
  await other.line(/Welcome/);
  await other.write('xt":"from Ahmad"}\n');
  await dana.heard("from Ahmad");

  await dana.write('{"type":"quit"}\n');
  await dana.closed();
  assertEquals(dana.lines, [
    '{"type":"system","text":"Welcome Dana to Server A"}',
    '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!"}',
    '{"type":"msg","from":"Ahmad","server":"A","text":"from Ahmad"}',
  ]);
  // The name is free at once.
  const again = await a.login("Dana");
  assertEquals(again.lines, [
    '{"type":"system","text":"Welcome Dana to Server A"}',
  ]);
});

Deno.test("mesh transcripts: relay_msg, as one server sends it to another", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A"] });
  const a = fleet.server("A");
  await using x = await RawMesh.join(a.address, { id: "X" });
  await fleet.until("A sees X", async () => (await a.up()).includes("X"));
  const dana = await a.login("Dana");
  const beforeMs = Date.now();
  await dana.say("Hello from A");
  const relayed = await x.until(
    "the message comes",
    () => x.events.find(({ event }) => event.body.kind === "msg"),
  );
  const { timestamp, ...more } = JSON.parse(relayed.json);
  assert(
    relayed.json.startsWith(
      `{"type":"relay_msg","from":"Dana","origin_server":"A","text":"Hello from A","timestamp":${timestamp}`,
    ),
    relayed.json,
  );
  assert(Math.abs(timestamp - beforeMs / 1_000) < 60, `${timestamp}`);
  assert(Number.isInteger(timestamp));
  assertEquals(Object.keys(more).sort(), [
    ...["from", "generation", "messages", "n", "origin_server"],
    ...["text", "time", "type"],
  ]);
  assertEquals(relayed.via, ["A"]);
});

Deno.test("mesh transcripts: relay_msg, from a server that speaks nothing but lines", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B"] });
  const [a, b] = fleet.servers;
  const dana = await a.login("Dana");
  const ahmad = await b.login("Ahmad");
  const seed = await a.connect();
  await seed.write(
    '{\n  "type":"relay_msg"'.replaceAll("\n", "") +
      ',"from":"Lina","origin_server":"C","text":"Hello from C","timestamp": 1732199912}\n',
  );
  await dana.heard("Hello from C");
  assertEquals(
    dana.lines.at(-1),
    '{"type":"msg","from":"Lina","server":"C","text":"Hello from C"}',
  );
  // Its origin has sent it to the others, and logs it.
  await dana.say("after it");
  await ahmad.heard("after it");
  assertEquals(ahmad.texts, ["after it"]);
  await fleet.logged("what Dana said", ({ text }) => text === "after it");
  assertEquals(fleet.log().filter(({ text }) => text === "Hello from C"), []);
  // Nobody speaks for a server that is known.
  for (const origin of ["A", "B"]) {
    const liar = await a.connect();
    await liar.send({
      ...{ type: "relay_msg", from: "Eve", origin_server: origin },
      ...{ text: "not so", timestamp: 1 },
    });
    const line = await liar.line(/"type":"error"/);
    assert(line.includes(origin), line);
  }
  assertEquals(dana.texts, ["Hello from C", "after it"]);
});
