import { connect } from "node:net";
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLess,
  assertMatch,
} from "@std/assert";
import { ChainFleet, type FourNodes } from "./chain_fleet.ts";
import type { ChainNode } from "./chain_node.ts";
import { LinesClient } from "./lines_client.ts";
import { numberedText } from "./numbered_text.ts";
import { assertSameText } from "./same_text.ts";
import { bounded } from "./until.ts";

const STOP_MS_MAX = 5_000;
const MIB = 1024 * 1024;

const encode = (text: string) => new TextEncoder().encode(text);

/** Stops a node in order: it exits with 0 in time. */
async function stop(node: ChainNode, signal: Deno.Signal): Promise<number> {
  const startMs = performance.now();
  const exit = await node.stop(signal);
  const tookMs = performance.now() - startMs;
  assertEquals(exit, { code: 0, signal: null }, node.describe());
  assertLess(tookMs, STOP_MS_MAX, node.describe());
  assertMatch(node.process.lines.at(-1) ?? "", /"message":"Stopped"/);
  return tookMs;
}

const STOPPED: readonly (readonly [keyof FourNodes, Deno.Signal])[] = [
  ["head", "SIGTERM"],
  ["third", "SIGINT"],
  ["tail", "SIGTERM"],
];
for (const [name, signal] of STOPPED) {
  Deno.test(`stop: ${signal} to the ${name} under traffic exits 0 in time, and nothing is lost`, async () => {
    await using fleet = new ChainFleet();
    const nodes = fleet.fourNodes({
      head: ["--ack-lines"],
      tail: ["--output", fleet.path("output"), "--spool", fleet.path("spool")],
    });
    await fleet.startReady();
    const node = nodes[name];
    // Somebody who does nothing, somebody who asks, and somebody who sends.
    await using idle = await LinesClient.connect(fleet, { to: name });
    const curl = connect(Number(node.admin?.split(":")[1]), "127.0.0.1");
    curl.on("error", () => {/* The node is free to reset it. */});
    const curlClosed = new Promise((resolve) => curl.once("close", resolve));
    curl.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await new Promise((resolve) => curl.once("data", resolve));
    const text = numberedText({ bytesMin: 24_000_000, seed: 13 });
    const file = fleet.file("input", text.bytes);
    const send = fleet.send({ to: ["head"], flags: ["--file", file] });
    await fleet.grown("output", 1_000_000);
    await stop(node, signal);
    assertLess(fleet.fileSize("output"), text.bytes.length, "in the middle");
    await bounded("the node closes", idle.closed());
    await bounded("the node closes", curlClosed);
    await node.start();
    const { code, delivered } = await send.outcome();
    assertEquals([code, delivered], [0, text.lineCount], fleet.describe());
    assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
  });
}

Deno.test("stop: what was acknowledged to a plain-text client is delivered", async () => {
  await using fleet = new ChainFleet();
  const { head, tail } = fleet.fourNodes({ head: ["--ack-lines"] });
  await fleet.startReady();
  await using client = await LinesClient.connect(fleet, { to: "head" });
  let written = 0;
  const writing = (async () => {
    for (; written < 2_000_000; written += 1_000) {
      const lines = Array.from({ length: 1_000 }, (_, at) => written + at + 1);
      await client.write(`${lines.join("\n")}\n`);
    }
  })().catch(() => {/* The head is gone: that is what is tested. */});
  await fleet.until(
    "some lines are acknowledged",
    () => client.answers.length > 10_000,
  );
  await stop(head, "SIGTERM");
  await writing;
  await bounded("the head is gone", client.closed());
  const count = client.answers.split("\n").length - 1;
  const numbers = (length: number) => Array.from({ length }, (_, at) => at + 1);
  const wanted = numbers(count).map((number) => `ok ${number}\n`).join("");
  assert(client.answers === wanted, "answers come in order");
  await tail.stop("SIGTERM");
  const delivered = tail.process.outputText();
  const deliveredCount = delivered.split("\n").length - 1;
  assertGreaterOrEqual(deliveredCount, count);
  assert(delivered === `${numbers(deliveredCount).join("\n")}\n`, "in order");
});

Deno.test("stop: a head whose successor is stuck and whose clients wait exits 0 in time", async () => {
  await using fleet = new ChainFleet();
  const { head, second } = fleet.fourNodes({ head: ["--queue", "1MiB"] });
  await fleet.startReady();
  await second.freeze();
  const text = numberedText({ bytesMin: 12_000_000, seed: 14 });
  const send = fleet.send({ to: ["head"], input: "piped" });
  const feeding = send.feed(text.bytes).catch(() => {/* Killed in the end. */});
  await using _feeding = {
    async [Symbol.asyncDispose]() {
      await send[Symbol.asyncDispose]();
      await feeding;
    },
  };
  await using stuck = await LinesClient.connect(fleet, {
    to: "head",
    reads: false,
  });
  await stuck.write("half a li");
  await fleet.until(
    "the head's queue is full",
    async () => (await head.metric("skein_chain_queued_bytes") ?? 0) >= MIB,
  );
  await send.freeze();
  await stop(head, "SIGTERM");
});

Deno.test("stop: nodes whose standard output nobody reads exit 0 in time", async () => {
  await using fleet = new ChainFleet();
  const head = fleet.node("head", {
    next: ["tail"],
    flags: ["--print", "full"],
    output: "unread",
  });
  const tail = fleet.node("tail", { output: "unread" });
  await fleet.startReady();
  const text = numberedText({ bytesMin: 4_000_000, seed: 15 });
  const send = fleet.send({ to: ["head"], input: "piped" });
  const feeding = send.feed(text.bytes).catch(() => {/* Killed in the end. */});
  await using _feeding = {
    async [Symbol.asyncDispose]() {
      await send[Symbol.asyncDispose]();
      await feeding;
    },
  };
  await fleet.until(
    "the tail's pipe is full",
    async () =>
      (await tail.metric("skein_chain_queued_bytes") ?? 0) > 1_000_000,
  );
  await stop(tail, "SIGTERM");
  await stop(head, "SIGTERM");
});

Deno.test("stop: a stopping node refuses newcomers, and its admin port says so", async () => {
  await using fleet = new ChainFleet();
  const head = fleet.node("head", { next: ["tail"] });
  const tail = fleet.node("tail");
  await fleet.startReady();
  await tail.freeze();
  const send = fleet.send({ to: ["head"], input: "piped" });
  await send.feed(encode("under way\n"));
  await fleet.until(
    "the head has it",
    async () => (await head.metric("skein_chain_queued_bytes") ?? 0) > 0,
  );
  const stopping = stop(head, "SIGTERM");
  await fleet.until("the head says that it stops", async () => {
    const page = await head.page("/readyz");
    return page?.status === 503 && page.text.includes("is stopping");
  });
  const refused = await fleet.connect("head").then(
    (conn) => conn.close(),
    (error) => error instanceof Deno.errors.ConnectionRefused,
  );
  assertEquals(refused, true);
  tail.thaw();
  assertLess(await stopping, STOP_MS_MAX);
  await head.start();
  await send.endInput();
  const { code, delivered } = await send.outcome();
  assertEquals([code, delivered], [0, 1], fleet.describe());
  assertEquals(tail.process.outputText(), "under way\n");
});

Deno.test("stop: a second signal does not wait", async () => {
  await using fleet = new ChainFleet();
  const head = fleet.node("head", { next: ["tail"] });
  const tail = fleet.node("tail");
  await fleet.startReady();
  await tail.freeze();
  await using client = await LinesClient.connect(fleet, { to: "head" });
  await client.write("one\n");
  await fleet.until(
    "the head has it",
    async () => (await head.metric("skein_chain_queued_bytes") ?? 0) > 0,
  );
  head.expectEnd();
  head.process.signal("SIGINT");
  await head.process.line(/"Stopping"/);
  head.process.signal("SIGINT");
  assertEquals((await head.process.ended(1_000)).code, 130, head.describe());
});

Deno.test("stop: --exit-with-parent ends a node with its standard input", async () => {
  await using fleet = new ChainFleet();
  const node = fleet.node("node");
  await node.start();
  await node.process.feed(encode("whatever a launcher may write\n"));
  node.expectEnd();
  await node.process.endInput();
  assertEquals((await node.process.ended(STOP_MS_MAX)).code, 0);
  assert(
    node.process.logLines().some(({ reason }) =>
      reason === "standard input was closed"
    ),
    node.describe(),
  );
});

Deno.test("stop: lines in a spool outlive SIGTERM while the successor is down", async () => {
  await using fleet = new ChainFleet();
  const head = fleet.node("head", {
    next: ["tail"],
    flags: ["--spool", fleet.path("spool")],
  });
  await head.start();
  await using client = await LinesClient.connect(fleet, { to: "head" });
  await client.write("one\ntwo\n");
  await client.closeWrite();
  await bounded("the head takes them", client.closed());
  assertLess(await stop(head, "SIGTERM"), 2_000, "nothing is to be waited for");
  const tail = fleet.node("tail");
  await fleet.start([tail, head]);
  await fleet.until("they arrive", () => tail.process.outputBytes === 8);
  assertEquals(tail.process.outputText(), "one\ntwo\n");
});
