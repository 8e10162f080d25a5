/** Contract of a JetStream client's connection. */

import { assertEquals, assertRejects } from "@std/assert";
import { EventLog, FakeServer } from "./fake_server.ts";
import { NatsLink } from "./nats_link.ts";
import { VALUE_BYTES } from "./write_link.ts";

const ACK = '{"stream":"BENCH","seq":7}';

/** Answers the greeting, then hands each publish's reply subject on. */
async function serveNats(
  server: FakeServer,
  publishes: number,
): Promise<string[]> {
  await server.write("INFO {}\r\n");
  await server.until("PING\r\n");
  await server.write("PONG\r\n");
  const subjects: string[] = [];
  for (let index = 0; index < publishes; index++) {
    const text = await server.until(`${VALUE_BYTES}\r\n`);
    subjects.push(text.split(" ").at(-2) ?? "");
    await server.until("\r\n");
  }
  return subjects;
}

Deno.test("nats link: answers find their writes, also byte by byte", async () => {
  await using server = new FakeServer();
  const log = new EventLog();
  const opening = NatsLink.connect(server.port, log);
  const served = serveNats(server, 3);
  const link = await opening;
  for (const lane of [0, 12, 3]) link.write(lane);
  link.flush();
  const [first, second, third] = await served;
  await server.writeSlowly(
    `MSG ${second} 1 ${ACK.length}\r\n${ACK}\r\nPING\r\n` +
      `MSG ${first} 1 ${ACK.length}\r\n${ACK}\r\n`,
  );
  const error = '{"error":{"code":503},"seq":0}';
  await server.write(`MSG ${third} 1 ${error.length}\r\n${error}\r\n`);
  assertEquals(await log.next(3), [
    "acked 12",
    "acked 0",
    `refused 3 ${error}`,
  ]);
  assertEquals(await server.until("PONG\r\n"), "PONG\r\n");
  link.close();
});

Deno.test("nats link: a stream that nobody answers for refuses", async () => {
  await using server = new FakeServer();
  const log = new EventLog();
  const opening = NatsLink.connect(server.port, log);
  const served = serveNats(server, 1);
  const link = await opening;
  link.write(5);
  link.flush();
  const [subject] = await served;
  const head = "NATS/1.0 503\r\n\r\n";
  await server.write(
    `HMSG ${subject} 1 ${head.length} ${head.length}\r\n${head}\r\n`,
  );
  assertEquals(await log.next(1), ["refused 5 NATS/1.0 503"]);
  link.close();
});

Deno.test("nats link: an error in place of a greeting is told", async () => {
  await using server = new FakeServer();
  const opening = NatsLink.connect(server.port, new EventLog());
  await server.until("PING\r\n");
  await server.write("-ERR 'Authorization Violation'\r\n");
  await assertRejects(() => opening, Error, "Authorization");
});
