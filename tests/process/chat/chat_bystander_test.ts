import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CANARY, ChatBystander, PASSWORD } from "./chat_bystander.ts";
import { RawClient } from "./raw_client.ts";
import { assertHonestLogs, assertNowhere, FORGED } from "./traces.ts";

const ALONE = { servers: 1, witnesses: 0 };

async function say(address: string, to: string): Promise<void> {
  await using client = await RawClient.connect(address);
  const account = { user: "mallory", password: PASSWORD };
  await client.ask({ type: "register", ...account });
  await client.ask({ type: "login", ...account });
  await client.ask({ type: "send", to, text: "x" });
}

Deno.test("chat bystander: a server that ends is noticed", async () => {
  await using chat = await ChatBystander.start(ALONE);
  await chat.fleet.servers[0].kill();
  await assertRejects(() => chat.more(), Error);
});

Deno.test("chat bystander: a message of somebody else is noticed", async () => {
  await using chat = await ChatBystander.start(ALONE);
  await say(chat.fleet.servers[0].clients, "bystander-1");
  await assertRejects(() => chat.assertUnharmed(), Error, "'x'");
});

Deno.test("traces: lines that are no log's own are noticed", () => {
  const line = (fields: Readonly<Record<string, unknown>>) =>
    JSON.stringify({
      time: "2026-01-01T00:00:00.000Z",
      level: "info",
      node: "a",
      message: "Listening",
      ...fields,
    });
  const node = (text: string) => [{ name: "a", process: { lines: [text] } }];
  assertHonestLogs(node(line({ from: FORGED })));
  for (
    const text of [
      FORGED,
      "",
      line({ node: "b" }),
      line({ message: `${FORGED} line` }),
      `{"from":1,${line({}).slice(1)}`,
      line({ text: "\u202e" }),
      line({ text: "\x9b" }),
    ]
  ) assertThrows(() => assertHonestLogs(node(text)), Error);
});

Deno.test("traces: a text in a log, on a page or in a file is noticed", async () => {
  const data = Deno.makeTempDirSync({ prefix: "skein-traces-" });
  try {
    const node = (where: { lines?: string[]; page?: string }) => [{
      name: "a",
      process: { lines: where.lines ?? [] },
      place: { data },
      page: () => Promise.resolve({ status: 200, text: where.page ?? "" }),
    }];
    const look = (nodes: ReturnType<typeof node>) =>
      assertNowhere(nodes, [CANARY]);
    await look(node({}));
    const wrong = [node({ lines: [`x ${CANARY}`] }), node({ page: CANARY })];
    for (const one of wrong) await assertRejects(() => look(one), Error);
    Deno.mkdirSync(`${data}/in`);
    Deno.writeTextFileSync(`${data}/in/file`, `\0\xff${CANARY}\0`);
    await assertRejects(() => look(node({})), Error, "in/file");
  } finally {
    Deno.removeSync(data, { recursive: true });
  }
  assertEquals(CANARY.length > 4 && PASSWORD.includes(CANARY), true);
});
