import { assert, assertEquals, assertLess } from "@std/assert";
import { STRANGER_LINE_BYTES_MAX } from "../../../../nodes/chat/service/client.ts";
import { WireError } from "../../../../protocol/errors.ts";
import { MemoryWorld, PASSWORD } from "./service_fixture.ts";

const NO_TEXT = new WireError("invalid-utf8", "Cannot read it");

Deno.test("client lines: what is no line has its number among those that still wait", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  const account = { user: "ann", password: PASSWORD };
  ann.send({ type: "register", ...account });
  ann.send({ type: "login", ...account });
  ann.say('{"type":"ping"}\nthird\n\n');
  ann.side.refuse(NO_TEXT);
  ann.say("seventh\n");
  ann.side.refuse(NO_TEXT);
  assertEquals(ann.received, []);
  await world.settle();
  assertEquals(
    ann.answers.map(({ type, code, line }) => [type, code, line]),
    [
      ["ok", undefined, undefined],
      ["ok", undefined, undefined],
      ["ok", undefined, undefined],
      ["error", "invalid-message", 4],
      ["error", "invalid-utf8", 6],
      ["error", "invalid-message", 7],
      ["error", "invalid-utf8", 8],
    ],
  );
  assert(ann.isReading);
});

Deno.test("client lines: many that are none wait for room like others", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  ann.isStuck = true;
  for (let i = 0; i < 30_000; i++) ann.side.refuse(NO_TEXT);
  await world.settle();
  assert(!ann.isClosed);
  assertLess(ann.queuedBytes, 200_000);
  while (ann.queuedBytes > 0) {
    ann.unstick();
    ann.isStuck = true;
    await world.settle();
  }
  assertEquals(ann.answers.length, 30_000);
  assertEquals(ann.answers.at(-1)?.line, 30_000);
  assert(ann.isReading);
});

Deno.test("client lines: a stranger's may have so many bytes, however they come, and a friend's more", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  const ping = (bytes: number) =>
    `{"type":"ping","x":"${"é".repeat((bytes - 22) / 2)}"}\n`;
  ann.say(ping(STRANGER_LINE_BYTES_MAX));
  ann.say(ping(STRANGER_LINE_BYTES_MAX + 2));
  await world.settle();
  assertEquals(ann.answers.map(({ code, text }) => [code, text]), [
    [undefined, undefined],
    [
      "too-large",
      "Cannot read request: its length is 16386 bytes, limit is 16384",
    ],
  ]);
  const account = { user: "ann", password: PASSWORD };
  const id = ann.send({ type: "register", ...account });
  ann.send({ type: "login", ...account });
  ann.say(ping(100_000));
  await world.settle();
  assertEquals(ann.answer(id).type, "ok");
  assertEquals(ann.answers.at(-1)?.type, "ok");
});
