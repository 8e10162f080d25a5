import { assert, assertEquals, assertMatch } from "@std/assert";
import { encodeFrame, FRAME, PREFACE } from "../../protocol/frame.ts";
import { ChainFleet } from "./chain_fleet.ts";
import type { ChainNode } from "./chain_node.ts";
import { LinesClient } from "./lines_client.ts";
import { numberedText } from "./numbered_text.ts";
import { bounded } from "./until.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** What could end a line, move a cursor, or turn the reading direction. */
const HOSTILE = "a\rb\x1b[2Jc\x07d\x7fe\u0085f\u2028g\u2029h\u202ei\x0bj\x0ck";
// deno-lint-ignore no-control-regex -- they are what must not come through
const UNSAFE = /[\0-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/;

/** Sends lines to the head as `nc` would, until they are delivered. */
async function say(fleet: ChainFleet, text: string): Promise<void> {
  await using client = await LinesClient.connect(fleet, { to: "head" });
  await client.write(text);
  await client.closeWrite();
  await bounded("the node closes", client.closed());
}

/** Waits for a line of standard output. */
async function printed(node: ChainNode, pattern: RegExp): Promise<void> {
  await node.process.until(
    `${node.name} prints ${pattern}`,
    () => pattern.test(node.process.outputText()),
  );
}

Deno.test("print: full tells each message and where it went", async () => {
  await using fleet = new ChainFleet();
  const flags = ["--print", "full"];
  const { head, second, third, tail } = fleet.fourNodes({
    head: flags,
    second: flags,
    third: flags,
    tail: [...flags, "--output", fleet.path("output")],
  });
  await fleet.startReady();
  await say(fleet, "hello\nwörld\n");
  for (const [node, next] of [[head, second], [second, third], [third, tail]]) {
    await printed(node, new RegExp(`\nforwarded .* to ${next.address}\n$`));
    const lines = node.process.outputText().split("\n");
    const from = node === head
      ? "127\\.0\\.0\\.1:\\d+"
      : `\\w+ \\(127\\.0\\.0\\.1:\\d+\\)`;
    const received = lines.filter((line) => line.startsWith("received"));
    assertEquals(received.length, 2, node.process.outputText());
    assertMatch(received[0], new RegExp(`^received from ${from}: hello$`));
    assertMatch(received[1], new RegExp(`^received from ${from}: wörld$`));
  }
  await printed(tail, /^received from third \(127\.0\.0\.1:\d+\): wörld$/m);
  assertEquals(tail.process.outputText().split("\n").length, 3);
});

Deno.test("print: summary counts, none is silent, and without a terminal none is the default", async () => {
  await using fleet = new ChainFleet();
  const { head, second, third, tail } = fleet.fourNodes({
    head: ["--print", "summary"],
    second: ["--print", "none"],
    tail: ["--print", "summary", "--output", fleet.path("output")],
  });
  await fleet.startReady();
  const lines = Array.from({ length: 3_000 }, (_, at) => `${at}\n`).join("");
  await say(fleet, lines);
  await printed(head, /forwarded .*\n$/);
  await printed(tail, /received .*\n$/);
  for (const node of [head, second, third, tail]) await node.stop("SIGTERM");
  const count = (node: ChainNode, pattern: RegExp) =>
    Array.from(node.process.outputText().matchAll(pattern))
      .reduce((sum, [, number]) => sum + Number(number), 0);
  for (const node of [head, tail]) {
    assertEquals(count(node, /received (\d+) messages?/g), 3_000);
    assert(node.process.outputText().split("\n").length < 10, "not one each");
  }
  assertEquals(count(head, /forwarded (\d+) messages?/g), 3_000);
  assertMatch(
    head.process.outputText(),
    new RegExp(
      `^received .* bytes\\), forwarded .* to ${second.address}$`,
      "m",
    ),
  );
  assertEquals([second.process.outputBytes, third.process.outputBytes], [0, 0]);
});

Deno.test("print: a message cannot forge a line or move the cursor", async () => {
  await using fleet = new ChainFleet();
  const flags = ["--print", "full"];
  const head = fleet.node("head", { next: ["tail"], flags });
  const tail = fleet.node("tail", {
    flags: [...flags, "--output", fleet.path("output")],
  });
  await fleet.startReady();
  const messages = [HOSTILE, `{"level":"error"}`, "received from me: x"];
  await say(fleet, `${messages.join("\n")}\n`);
  await printed(head, /forwarded .*\n$/);
  await printed(tail, /from me: x\n$/);
  for (const node of [head, tail]) {
    const text = node.process.outputText();
    const received = text.split("\n").filter((line) =>
      line.startsWith("received")
    );
    assertEquals(received.length, messages.length, text);
    assert(!UNSAFE.test(text.replaceAll("\n", "")), JSON.stringify(text));
    assertMatch(
      text,
      /: a\\rb\\x1b\[2Jc\\x07d\\x7fe\\x85f\\u2028g\\u2029h\\u202ei/,
    );
  }
  // What is delivered is what was sent.
  assertEquals(
    Deno.readTextFileSync(fleet.path("output")),
    `${messages.join("\n")}\n`,
  );
});

Deno.test("print: a reader who does not read holds up nobody", async () => {
  await using fleet = new ChainFleet();
  fleet.node("head", {
    next: ["tail"],
    flags: ["--print", "full"],
    output: "unread",
  });
  fleet.node("tail", { flags: ["--output", fleet.path("output")] });
  await fleet.startReady();
  const text = numberedText({ bytesMin: 4_000_000, seed: 16 });
  const file = fleet.file("input", text.bytes);
  const send = fleet.send({ to: ["head"], flags: ["--file", file] });
  const { code, delivered } = await send.outcome();
  assertEquals([code, delivered], [0, text.lineCount], fleet.describe());
});

/** A successor that refuses everybody, in words of its own. */
function refuser(
  port: number,
  text: string,
): AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port });
  const farewell = encodeFrame(
    FRAME.error,
    encode(JSON.stringify({ code: "busy", text })),
  );
  const over = (async () => {
    for await (const conn of listener) {
      await conn.write(PREFACE);
      await conn.write(farewell).catch(() => {/* It has hung up. */});
      conn.close();
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await over;
    },
  };
}

Deno.test("print: a peer's words cannot forge a line in the log, at /readyz, or at the sender", async () => {
  await using fleet = new ChainFleet();
  const forged = `no\n{"level":"error","message":"forged"}\r${HOSTILE}`;
  await using _refuser = refuser(fleet.port("refuser"), forged);
  const head = fleet.node("head", { next: ["second"] });
  const second = fleet.node("second", { next: ["refuser"] });
  await fleet.start();
  await second.process.line(/second cannot reach .*forged/);
  await head.process.line(/second cannot reach .*forged/);
  const send = fleet.send({
    to: ["head"],
    flags: ["--timeout", "500ms"],
    input: "piped",
  });
  await send.feed(encode("hello\n"));
  await send.line(/second cannot reach .*forged/);
  assertEquals((await send.outcome()).code, 1);
  const said = send.lines.filter((line) => !line.startsWith("sent "));
  for (
    const [name, lines, logged] of [
      ["head", head.process.lines, head.process.logLines()],
      ["second", second.process.lines, second.process.logLines()],
      ["send", said, send.logLines()],
    ] as const
  ) {
    assertEquals(logged.length, lines.length, `${name}: ${lines.join("\n")}`);
    assert(lines.every((line) => !UNSAFE.test(line)), name);
    assert(logged.every(({ message }) => message !== "forged"), name);
  }
  const page = await head.page("/readyz");
  assertEquals(page?.status, 503);
  const { ready } = JSON.parse(page?.text ?? "");
  assertEquals(ready, false);
});

Deno.test("print: a peer's long words do not break the link before it", async () => {
  await using fleet = new ChainFleet();
  await using _refuser = refuser(fleet.port("refuser"), "x".repeat(1_024));
  const head = fleet.node("head", { next: ["second"] });
  const second = fleet.node("second", { next: ["refuser"] });
  await fleet.start();
  await second.process.line(/second cannot reach .*xxx/);
  await fleet.until(
    "the head knows why",
    async () =>
      (await head.page("/readyz"))?.text.includes("second cannot reach"),
  );
  assertEquals(
    head.process.lines.filter((line) => line.includes("Cannot read route")),
    [],
  );
});
