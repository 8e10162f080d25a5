import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  ChatConnection,
  type ChatPush,
  ChatRefusal,
} from "../../clients/chat_connection.ts";
import { WireError } from "../../protocol/errors.ts";
import { LiveServer } from "../nodes/chat/service/live_service.ts";
import { freePort } from "../nodes/host/loopback.ts";
import { bounded } from "../process/until.ts";

const PASSWORD = "correct horse";

async function loggedIn(
  server: LiveServer,
  user: string,
  onPush: (push: ChatPush) => void = () => {},
): Promise<ChatConnection> {
  const connection = await ChatConnection.connect(server.address, { onPush });
  await connection.request({ type: "register", user, password: PASSWORD });
  await connection.request({ type: "login", user, password: PASSWORD });
  return connection;
}

Deno.test("chat connection: a thousand pipelined messages are answered and pushed in order", async () => {
  await using server = new LiveServer();
  const pushed: string[] = [];
  const all = Promise.withResolvers<void>();
  const bob = await loggedIn(server, "bob", (push) => {
    if (push.type !== "message") return;
    pushed.push(push.text);
    if (pushed.length === 1_000) all.resolve();
  });
  const ann = await loggedIn(server, "ann");
  const texts = Array.from({ length: 1_000 }, (_, i) => `zwölf ${i}`);
  const answers = await bounded(
    "all answers",
    Promise.all(texts.map((text) => ann.send("bob", text))),
  );
  assertEquals(answers.map(({ seq }) => seq), texts.map((_, i) => i + 1));
  await bounded("all pushes", all.promise);
  assertEquals(pushed, texts);
  ann.close();
  bob.close();
});

Deno.test("chat connection: a refusal says what, and whether it may have happened", async () => {
  await using server = new LiveServer();
  const ann = await loggedIn(server, "ann");
  const error = await assertRejects(() => ann.send("nobody", "x"), ChatRefusal);
  assertEquals([error.code, error.outcome], ["no-such-user", "definite"]);
  const gap = await assertRejects(() => ann.send("ann", "x", 9), ChatRefusal);
  assertEquals(gap.code, "sequence-gap");
  ann.close();
  await assertRejects(() => ann.send("ann", "x"), WireError);
});

Deno.test("chat connection: what waits when it ends is rejected, and its end is told once", async () => {
  await using server = new LiveServer();
  const reasons: string[] = [];
  const connection = await ChatConnection.connect(server.address, {
    onClosed: ({ code }) => reasons.push(code),
  });
  const waiting = connection.request({ type: "ping" });
  connection.close();
  await assertRejects(() => waiting, WireError);
  await connection.over;
  connection.close();
  assertEquals(reasons, ["link-lost"]);
  await assertRejects(
    () => ChatConnection.connect({ host: "127.0.0.1", port: freePort() }),
    WireError,
    "connection refused",
  );
});

Deno.test("chat connection: a server that stops says so", async () => {
  const server = new LiveServer();
  const words: string[] = [];
  const connection = await ChatConnection.connect(server.address, {
    onPush: (push) => push.type === "error" && words.push(push.code),
  });
  await connection.request({ type: "ping" });
  await server.stop();
  await bounded("the end", connection.over);
  assertEquals(words, ["shutting-down"]);
});

Deno.test("client port: who is one too many, and who comes with frames, is told", async () => {
  await using server = new LiveServer(undefined, { connectionsMax: 1 });
  const one = await ChatConnection.connect(server.address);
  await one.request({ type: "ping" });
  const words: string[] = [];
  const two = await ChatConnection.connect(server.address, {
    onPush: (push) => push.type === "error" && words.push(push.code),
  });
  await assertRejects(() => two.request({ type: "ping" }), WireError);
  assertEquals(words, ["busy"]);
  one.close();
  await using closed = new LiveServer(undefined, { clientsFrom: "none" });
  const three = await ChatConnection.connect(closed.address, {
    onPush: (push) => push.type === "error" && words.push(push.code),
  });
  await assertRejects(() => three.request({ type: "ping" }), WireError);
  assertEquals(words, ["busy", "lines-refused"]);
  const { host, port } = closed.address;
  const conn = await Deno.connect({ hostname: host, port });
  await conn.write(new Uint8Array([0xfe, 1, 2, 3]));
  const into = new Uint8Array(4_096);
  const count = await bounded("an error frame", conn.read(into));
  assert(count !== null && into[0] === 0xfe);
  conn.close();
});
