import { assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { until } from "../../../process/until.ts";
import { readToEnd, readUntil } from "../../host/loopback.ts";
import { Served } from "./served.ts";
import { frame, upgrade } from "./socket_bytes.ts";

/** A ping of the server, and its close frame with 1008. */
const PING = "\x89\x00";
const CLOSED = "\x88\x02\x03\xf0";

/** Looks at all connections as if so many seconds had passed. */
function checkIn(served: Served, seconds: number): void {
  served.clients.check(performance.now() + seconds * 1_000);
}

Deno.test("mesh clients: who never logs in is ended, whoever did or relays may be silent", async () => {
  await using served = new Served();
  using dana = await served.login("Dana");
  using peer = await served.connect();
  await peer.send(
    '{"type":"relay_msg","from":"Zoe","origin_server":"Z","text":"x","timestamp":1}\n',
  );
  assertMatch(await dana.line(), /Zoe/);
  using stranger = await served.connect();
  await stranger.send({ type: "ping" });
  assertMatch(await stranger.line(), /pong/);
  checkIn(served, 50);
  assertEquals(served.clients.counters.timeouts, 0);
  checkIn(served, 61);
  assertEquals(served.clients.counters.timeouts, 1);
  assertEquals(JSON.parse(await stranger.rest()).code, "timeout");
  checkIn(served, 3_600);
  for (const client of [dana, peer]) {
    await client.send({ type: "ping" });
    assertMatch(await client.line(), /pong/);
  }
});

Deno.test("mesh clients: a line that is begun must end", async () => {
  await using served = new Served();
  using dana = await served.login("Dana");
  await dana.send('{"type":"ping"}\n{"type":');
  assertMatch(await dana.line(), /pong/);
  checkIn(served, 0);
  checkIn(served, 59);
  assertEquals(served.clients.counters.timeouts, 0);
  checkIn(served, 61);
  assertMatch(await dana.rest(), /did not end its line within 60 s/);
  await until("it is logged out", () => served.core.status.clients === 0);
});

Deno.test("mesh clients: who reads nothing for 30 s is ended", async () => {
  await using served = new Served();
  using frozen = await served.login("Frozen");
  using dana = await served.login("Dana");
  const text = "x".repeat(16_000);
  await until("a write waits", async () => {
    for (let i = 0; i < 16; i++) await dana.send({ type: "msg", text });
    await dana.lines(16);
    checkIn(served, 31);
    return served.clients.counters.timeouts === 1;
  });
  const rest = await frozen.rest();
  assertMatch(rest, /Client read nothing for 30 s"\}\n$/);
});

Deno.test("mesh websocket: in silence it is asked whether it lives", async () => {
  await using served = new Served();
  using client = await served.connect();
  const say = (what: object) =>
    client.send(frame(0x81, Buffer.from(JSON.stringify(what))));
  const has = (bytes: string) =>
    readUntil(
      client.conn,
      (all) => Buffer.from(all).includes(bytes, 0, "latin1"),
    );
  await client.send(upgrade());
  await say({ type: "login", username: "Web" });
  await has("Welcome Web");
  checkIn(served, 31);
  await has(PING);
  await client.send(frame(0x8a, new Uint8Array(0)));
  await say({ type: "ping" });
  await has("pong");
  // It has answered: only when it is asked again, its time runs again.
  checkIn(served, 90);
  assertEquals(served.clients.counters.timeouts, 0);
  await has(PING);
  checkIn(served, 121);
  assertEquals(served.clients.counters.timeouts, 1);
  const last = Buffer.from(await readToEnd(client.conn)).toString("latin1");
  assertMatch(last, /answered no ping within 30 s/);
  assertEquals(last.slice(-4), CLOSED);
});
