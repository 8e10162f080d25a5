import { setImmediate } from "node:timers";
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { TURN_REQUESTS_MAX } from "../../../../nodes/mesh/clients/client.ts";
import { BLOCK_BYTES } from "../../../../nodes/mesh/clients/ring.ts";
import { until } from "../../../process/until.ts";
import { type Client, Served } from "./served.ts";

const RING_BYTES = 4 * BLOCK_BYTES;

/** Reads so many messages, and says their texts. */
async function textsOf(client: Client, count: number): Promise<string[]> {
  const lines = await client.lines(count);
  return lines.map((line) => JSON.parse(line).text);
}

/** Says many messages, and hears each again: as fast as it goes, but no faster. */
async function sayAll(
  client: Client,
  { count, padding }: { count: number; padding: string },
): Promise<void> {
  const atOnce = 16;
  for (let i = 0; i < count; i += atOnce) {
    let lines = "";
    for (let n = i; n < i + atOnce; n++) {
      lines += `{"type":"msg","text":"${n} ${padding}"}\n`;
    }
    await client.send(lines);
    await client.lines(atOnce);
  }
}

Deno.test("mesh fan-out: one frozen reader among fifty is dropped, and nobody else notices", async () => {
  await using served = new Served({ ringBytesMax: RING_BYTES });
  using speaker = await served.login("Speaker");
  const readers = await Promise.all(
    Array.from({ length: 50 }, (_, i) => served.login(`reader${i}`)),
  );
  const frozen = await served.login("Frozen");
  const count = 1_024;
  const padding = "x".repeat(16_000);
  const lastOfFrozen = async () => {
    await until(
      "the frozen one is dropped",
      () => served.clients.counters.slowConsumers === 1,
    );
    // It wakes up in time for its last word.
    return await frozen.rest();
  };
  const [last, , ...heard] = await Promise.all([
    lastOfFrozen(),
    sayAll(speaker, { count, padding }),
    ...readers.map((reader) => textsOf(reader, count)),
  ]);
  for (const texts of heard) {
    assert(texts.every((text, i) => text === `${i} ${padding}`));
  }
  assert(served.clients.ringBytes <= RING_BYTES + 4 * BLOCK_BYTES);
  await until("it is logged out", () => served.core.status.clients === 51);
  const lines = last.split("\n");
  assertEquals(lines.pop(), "");
  for (const [i, line] of lines.slice(0, -1).entries()) {
    assertEquals(JSON.parse(line).text, `${i} ${padding}`);
  }
  assertMatch(lines.at(-1) ?? "", /^\{"type":"error","text":"Client reads too/);
  for (const client of [...readers, frozen]) client.conn.close();
});

Deno.test("mesh fan-out: who asks much and reads nothing is not read from; memory stays bounded", async () => {
  await using served = new Served();
  using greedy = await served.login("Greedy");
  const { counters } = served.clients;
  const before = counters.requests;
  const atOnce = 2_000;
  const lines = '{"type":"status"}\n'.repeat(atOnce);
  let sent = 0;
  let isEnough = false;
  const sending = (async () => {
    while (!isEnough) {
      await greedy.send(lines);
      sent += atOnce;
    }
    await greedy.conn.closeWrite();
  })();
  let seen = -1;
  await until("it is not read from any more", () => {
    const isStuck = counters.requests === seen && sent > 0;
    seen = counters.requests;
    return isStuck;
  });
  using other = await served.login("Other");
  await other.send({ type: "ping" });
  assertEquals(await other.line(), '{"type":"pong"}');
  // As soon as it reads, it is answered all that it asked.
  isEnough = true;
  const [answers] = await Promise.all([greedy.rest(), sending]);
  assertEquals(answers.split("\n").length - 1, sent);
  assertEquals(counters.requests - before, sent + 2);
  assertEquals(counters.slowConsumers, 0);
});

Deno.test("mesh fan-out: direct messages to one who does not read are bounded too", async () => {
  await using served = new Served();
  using speaker = await served.login("Speaker");
  using frozen = await served.login("Frozen");
  const text = "x".repeat(16_000);
  const line = `{"type":"dm","to":"Frozen","text":"${text}"}\n`;
  let said = 0;
  while (served.clients.counters.slowConsumers === 0) {
    await speaker.send(line);
    const answer = JSON.parse(await speaker.line());
    if (answer.type === "error") break;
    said += 1;
    assertLess(said, 10_000);
  }
  await until(
    "it is dropped",
    () => served.clients.counters.slowConsumers === 1,
  );
  const rest = (await frozen.rest()).trimEnd().split("\n");
  assertMatch(rest.at(-1) ?? "", /reads too slowly/);
});

Deno.test("mesh fan-out: own answers and what all get keep their order, however slowly one reads", async () => {
  await using served = new Served();
  using dana = await served.login("Dana", { more: true });
  using ahmad = await served.login("Ahmad");
  assertMatch(await dana.line(), /presence/);
  const count = 3_000;
  const padding = "y".repeat(700);
  let lines = "";
  for (let i = 0; i < count; i++) {
    lines += `{"type":"msg","text":"${i} ${padding}","id":${i}}\n`;
    if (i % 10 === 0) lines += '{"type":"ping"}\n';
  }
  const sending = dana.send(lines);
  const wanted: string[] = [];
  for (let i = 0; i < count; i++) {
    wanted.push(`msg ${i}`, `ok ${i}`);
    if (i % 10 === 0) wanted.push("pong");
  }
  const got = (await dana.lines(wanted.length)).map((line) => {
    const { type, id, text } = JSON.parse(line);
    return [type, id ?? text?.split(" ")[0]].filter(Boolean).join(" ");
  });
  // 0 is falsy, and the first of both.
  assertEquals(got.slice(3), wanted.slice(3));
  await sending;
  const heard = await textsOf(ahmad, count);
  heard.forEach((text, i) => assertEquals(text, `${i} ${padding}`));
});

Deno.test("mesh fan-out: a format that nobody uses takes no memory", async () => {
  await using served = new Served();
  assertEquals(served.clients.ringBytes, 0);
  using dana = await served.login("Dana");
  await dana.send({ type: "msg", text: "x" });
  await dana.line();
  assertEquals(served.clients.ringBytes, BLOCK_BYTES);
  await dana.send({ type: "quit" });
  await dana.rest();
  await until("it is over", () => served.clients.count === 0);
  assertEquals(served.clients.ringBytes, 0);
});

Deno.test("mesh fan-out: who closes and does not read is let go as soon as its place in the ring is gone", async () => {
  await using served = new Served({ ringBytesMax: RING_BYTES });
  using speaker = await served.login("Speaker");
  const padding = "x".repeat(16_000);
  // What is for it alone lies between the messages: it is never far ahead.
  const sayAndPing = async (client: Client) => {
    await sayAll(speaker, { count: 16, padding });
    await client.send('{"type":"ping"}\n'.repeat(16));
  };
  // How many rounds the system takes, and the ring behind it.
  using first = await served.login("first");
  let rounds = 0;
  while (served.clients.counters.slowConsumers === 0) {
    await sayAndPing(first);
    rounds += 1;
  }
  await first.rest();
  using closing = await served.login("closing");
  for (let i = 0; i < rounds - 2; i++) await sayAndPing(closing);
  await closing.send({ type: "quit" });
  await until("it has quit", () => served.core.status.clients === 1);
  assertEquals(served.clients.counters.slowConsumers, 1);
  const quitMs = performance.now();
  await sayAll(speaker, { count: 160, padding });
  await until("it is let go", () => served.clients.count === 1);
  // A connection that closes would have had five seconds for its last words.
  assertLess(performance.now() - quitMs, 4_000);
});

/** What a flood is made of: so many messages are far more than a connection and a ring hold. */
const FLOOD_TEXT = "x".repeat(4_000);
const FLOOD_COUNT = 3_000;
const FLOOD_TEXTS = Array.from(
  { length: FLOOD_COUNT },
  (_, i) => `${i} ${FLOOD_TEXT}`,
);

/** Says all that as fast as the server takes it, and never waits for an answer. */
async function flood(client: Client, fields: object): Promise<void> {
  const atOnce = 100;
  for (let i = 0; i < FLOOD_COUNT; i += atOnce) {
    const lines = FLOOD_TEXTS.slice(i, i + atOnce)
      .map((text) => `${JSON.stringify({ text, ...fields })}\n`);
    await client.send(lines.join(""));
  }
}

/** Takes what comes at a pace: `bytesMax` every `everyMs`, as from a narrow line. */
async function textsAtPace(
  client: Client,
  { everyMs, bytesMax }: { everyMs: number; bytesMax: number },
): Promise<string[]> {
  const buffer = new Uint8Array(bytesMax);
  const decoder = new TextDecoder();
  let text = "";
  let count = 0;
  while (count < FLOOD_COUNT) {
    const nextMs = performance.now() + everyMs;
    const read = await client.conn.read(buffer) ?? 0;
    assert(read > 0, "it was dropped");
    const bytes = buffer.subarray(0, read);
    for (const byte of bytes) if (byte === 10) count += 1;
    text += decoder.decode(bytes, { stream: true });
    const waitMs = nextMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
  return text.trimEnd().split("\n").map((line) => JSON.parse(line).text);
}

for (const type of ["msg", "dm"]) {
  Deno.test(`mesh fan-out: whoever floods (${type}) waits for a reader at 2 MB/s, who misses nothing`, async () => {
    await using served = new Served({ ringBytesMax: RING_BYTES });
    using flooder = await served.login("Flooder");
    using slow = await served.login("Slow");
    const fields = type === "dm" ? { type, to: "Slow" } : { type };
    const [own, texts] = await Promise.all([
      textsOf(flooder, FLOOD_COUNT),
      textsAtPace(slow, { everyMs: 10, bytesMax: 20_000 }),
      flood(flooder, fields),
    ]);
    assertEquals(own.length, FLOOD_COUNT);
    assert(texts.every((text, i) => text === FLOOD_TEXTS[i]));
    const { slowConsumers, slowedDown } = served.clients.counters;
    assertEquals(slowConsumers, 0);
    assert(slowedDown > 0, "nobody had to wait: the test shows nothing");
  });
}

Deno.test("mesh fan-out: a frozen reader holds up a flood for some 2 s, and those who say little not at all", async () => {
  await using served = new Served({ ringBytesMax: RING_BYTES });
  using flooder = await served.login("Flooder");
  using dana = await served.login("Dana");
  using frozen = await served.login("Frozen");
  const { counters } = served.clients;
  const heard = textsOf(flooder, FLOOD_COUNT + 1);
  const danaHeard = textsOf(dana, FLOOD_COUNT + 1);
  const flooding = flood(flooder, { type: "msg" });
  await until("it has to wait", () => counters.slowedDown > 0);
  const sinceMs = performance.now();
  const before = served.core.counters.delivered;
  await dana.send({ type: "msg", text: "in between" });
  await until(
    "it is delivered",
    () => served.core.counters.delivered > before,
  );
  assertEquals(counters.slowConsumers, 0);
  await until("the frozen one is dropped", () => counters.slowConsumers === 1);
  assertLess(performance.now() - sinceMs, 6_000);
  assertMatch(await frozen.rest(), /Client reads too slowly[^\n]+\n$/);
  await flooding;
  for (const texts of await Promise.all([heard, danaHeard])) {
    assert(texts.includes("in between"));
    assertEquals(
      texts.filter((text) => text !== "in between").length,
      FLOOD_COUNT,
    );
  }
});

Deno.test("mesh fan-out: of one client's many requests some are taken, then others have their turn", async () => {
  await using served = new Served();
  using greedy = await served.login("Greedy");
  const { counters } = served.clients;
  const count = 40 * TURN_REQUESTS_MAX;
  const all = counters.requests + count;
  let seen = counters.requests;
  let most = 0;
  const sending = greedy.send('{"type":"msg","text":"x"}\n'.repeat(count));
  const reading = greedy.lines(count);
  while (counters.requests < all) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    most = Math.max(most, counters.requests - seen);
    seen = counters.requests;
  }
  // What a read brought, and a turn, may come between two looks.
  assert(most <= 2 * TURN_REQUESTS_MAX, `${most} requests in one go`);
  await sending;
  assertEquals((await reading).length, count);
});
