/** Contract of a Skein client's connection. */

import { assertEquals, assertRejects } from "@std/assert";
import { EventLog, FakeServer } from "./fake_server.ts";
import { SkeinLink } from "./skein_link.ts";
import { VALUE } from "./write_link.ts";

const session = { session: "0123456789abcdef", secret: "00".repeat(16) };

async function connect(
  server: FakeServer,
  log: EventLog,
): Promise<SkeinLink> {
  const opening = SkeinLink.connect(server.port, { session, events: log });
  assertEquals(JSON.parse(await server.until("\n")), {
    type: "resume",
    ...session,
  });
  await server.writeSlowly(
    '{"type":"notice","code":"x","text":"y"}\n{"type":"ok","lastSeq":41}\n',
  );
  return await opening;
}

Deno.test("skein link: writes go on from where the session was left", async () => {
  await using server = new FakeServer();
  const log = new EventLog();
  const link = await connect(server, log);
  link.write(3);
  link.write(10);
  link.flush();
  const text = new TextDecoder().decode(VALUE);
  const send = { type: "send", to: "sink", text };
  const lines = [await server.until("\n"), await server.until("\n")];
  assertEquals(lines.map((line) => JSON.parse(line)), [
    { ...send, id: 3, seq: 42 },
    { ...send, id: 10, seq: 43 },
  ]);
  await server.writeSlowly(
    '{"type":"ok","id":3,"seq":42,"n":9}\n{"type":"message","n":8}\n' +
      '{"type":"ok","id":10}\n',
  );
  assertEquals(await log.next(2), ["acked 3", "acked 10"]);
  link.close();
});

Deno.test("skein link: an error ends it, for its session has a hole", async () => {
  await using server = new FakeServer();
  const log = new EventLog();
  const link = await connect(server, log);
  link.write(3);
  link.flush();
  await server.until("\n");
  const error = '{"type":"error","id":3,"code":"busy","text":"Busy"}';
  await server.write(`${error}\n`);
  assertEquals(await log.next(2), [`refused 3 ${error}`, `lost ${error}`]);
});

Deno.test("skein link: a session that is not there is told", async () => {
  await using server = new FakeServer();
  const events = new EventLog();
  const opening = SkeinLink.connect(server.port, { session, events });
  await server.until("\n");
  await server.write('{"type":"error","code":"session-unknown"}\n');
  await assertRejects(() => opening, Error, "session-unknown");
});
