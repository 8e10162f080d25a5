import { assertEquals, assertGreaterOrEqual, assertMatch } from "@std/assert";
import { ChainFleet } from "./chain_fleet.ts";
import { Network, networkMissing } from "./network.ts";
import { numberedText } from "./numbered_text.ts";
import { RunningProcess } from "./running_process.ts";
import { assertSameText } from "./same_text.ts";

const KEY = { SKEIN_KEY: "the key of this network" };
const LINK_MS = 1_000;
const QUICK = ["--link-timeout", `${LINK_MS}ms`, "--next-timeout", "300ms"];

const encode = (text: string) => new TextEncoder().encode(text);

const reason = networkMissing();

/** A test that needs network namespaces; else it says why it is left out. */
function networkTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: reason === undefined ? name : `${name} (skipped: ${reason})`,
    ignore: reason !== undefined,
    fn,
  });
}

networkTest(
  "network: traffic goes round a node that is cut off, and back",
  async () => {
    using network = new Network();
    await using fleet = new ChainFleet();
    const [a, b, c] = ["a", "b", "c"].map((name, at) =>
      network.machine(name, `10.211.0.${at + 1}/24`)
    );
    const output = ["--output", fleet.path("output")];
    const head = fleet.node("a", { ...a, next: ["b", "c"], flags: QUICK });
    const middle = fleet.node("b", { ...b, next: ["c"], flags: QUICK });
    const tail = fleet.node("c", { ...c, flags: [...QUICK, ...output] });
    await fleet.start([tail, middle]);
    await middle.process.line(/"path":"b -> c"/);
    await head.start();
    await fleet.sendingTo(head, "b");

    const text = numberedText({ bytesMin: 24_000_000, seed: 17 });
    const send = fleet.send({ to: ["a"], under: a.under, input: "piped" });
    const third = Math.floor(text.bytes.length / 3);
    await send.feed(text.bytes.subarray(0, third));
    network.cut("b");
    const cutMs = performance.now();
    const feeding = send.feed(text.bytes.subarray(third, 2 * third));
    await fleet.sendingTo(head, "c");
    assertGreaterOrEqual(performance.now() - cutMs, LINK_MS / 2);
    await feeding;
    await fleet.until(
      "what was sent round B arrives",
      () => fleet.fileSize("output") >= 2 * third - 65_537,
    );
    network.mend("b");
    await fleet.sendingTo(head, "b");
    await send.feed(text.bytes.subarray(2 * third));
    await send.endInput();
    const { code, delivered } = await send.outcome();
    assertEquals([code, delivered], [0, text.lineCount], fleet.describe());
    assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
  },
);

networkTest(
  "network: a single path that is cut for a while goes on by itself",
  async () => {
    using network = new Network();
    await using fleet = new ChainFleet();
    const [a, b] = ["a", "b"].map((name, at) =>
      network.machine(name, `10.211.0.${at + 1}/24`)
    );
    const output = ["--output", fleet.path("output")];
    const head = fleet.node("a", { ...a, next: ["b"], flags: QUICK });
    fleet.node("b", { ...b, flags: [...QUICK, ...output] });
    await fleet.start();
    await head.process.line(/"path":"a -> b"/);
    const text = numberedText({ bytesMin: 12_000_000, seed: 18 });
    const send = fleet.send({ to: ["a"], under: a.under, input: "piped" });
    const half = Math.floor(text.bytes.length / 2);
    await send.feed(text.bytes.subarray(0, half));
    const seen = head.process.lines.length;
    network.cut("b");
    await head.process.line(
      new RegExp(`"Lost .*silent for ${LINK_MS} ms`),
      seen,
    );
    const feeding = send.feed(text.bytes.subarray(half));
    network.mend("b");
    await feeding;
    await send.endInput();
    const { code, delivered } = await send.outcome();
    assertEquals([code, delivered], [0, text.lineCount], fleet.describe());
    assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
  },
);

/** What a node answers to a line of plain text from another machine. */
async function plainAnswer(
  fleet: ChainFleet,
  options: { readonly to: string; readonly under: readonly string[] },
): Promise<string> {
  const [hostname, port] = fleet.address(options.to).split(":");
  const code = `const conn = await Deno.connect(${
    JSON.stringify({ hostname, port: Number(port) })
  });
    await conn.write(new TextEncoder().encode("hello\\n"));
    await conn.closeWrite();
    await conn.readable.pipeTo(Deno.stdout.writable);`;
  await using client = new RunningProcess({
    name: "plain text",
    command: [...options.under, Deno.execPath(), "eval", code],
    folder: fleet.path(""),
  });
  assertEquals((await client.ended()).code, 0, client.describe());
  return client.outputText();
}

networkTest(
  "network: without a key a node talks to private addresses only",
  async () => {
    using network = new Network();
    await using fleet = new ChainFleet();
    const inside = network.machine("node", "203.0.113.5/24"); // RFC 5737
    const { under } = network.machine("client", "203.0.113.6/24");
    const node = fleet.node("node", inside);
    await node.start();
    const send = fleet.send({ to: ["node"], under, input: "piped" });
    await send.feed(encode("hello\n"));
    const { code, delivered } = await send.outcome();
    assertEquals([code, delivered], [1, 0]);
    const said = send.logLines().at(-1);
    assertEquals(said?.code, "not-private");
    assertMatch(
      said?.message ?? "",
      /: This node has no cluster key and talks to private addresses only, not to 203\.0\.113\.6$/,
    );
    assertEquals(
      await plainAnswer(fleet, { to: "node", under }),
      "error 0 not-private This node has no cluster key and talks to private addresses only, not to 203.0.113.6\n",
    );
    assertEquals(node.process.outputBytes, 0);
    // On its own machine it is open.
    assertEquals(
      await plainAnswer(fleet, { to: "node", under: inside.under }),
      "error 0 not-private This node has no cluster key and talks to private addresses only, not to 203.0.113.5\n",
      "a public address is public even from the same machine",
    );
  },
);

networkTest(
  "network: with a key a node takes frames from anywhere, and plain text from itself",
  async () => {
    using network = new Network();
    await using fleet = new ChainFleet();
    const inside = network.machine("node", "203.0.113.5/24");
    const { under } = network.machine("client", "203.0.113.6/24");
    const node = fleet.node("node", { ...inside, environment: KEY });
    await node.start();
    const send = fleet.send({
      to: ["node"],
      under,
      environment: KEY,
      input: "piped",
    });
    await send.feed(encode("framed\n"));
    await send.endInput();
    assertEquals((await send.outcome()).code, 0, fleet.describe());
    assertEquals(
      await plainAnswer(fleet, { to: "node", under }),
      "error 0 lines-refused This node takes plain text from loopback addresses only, not from 203.0.113.6\n",
    );
    assertEquals(node.process.outputText(), "framed\n");
    await node.stop("SIGTERM");

    const open = fleet.node("open", {
      ...inside,
      environment: KEY,
      flags: ["--lines", "private"],
    });
    await open.start();
    assertEquals(
      await plainAnswer(fleet, { to: "open", under }),
      "error 0 lines-refused This node takes plain text from private addresses only, not from 203.0.113.6\n",
    );
    assertEquals(open.process.outputBytes, 0);
  },
);

networkTest(
  "network: without a key plain text from a private address is taken",
  async () => {
    using network = new Network();
    await using fleet = new ChainFleet();
    const inside = network.machine("node", "10.211.0.5/24");
    const { under } = network.machine("client", "10.211.0.6/24");
    const node = fleet.node("node", { ...inside, flags: ["--ack-lines"] });
    await node.start();
    assertEquals(await plainAnswer(fleet, { to: "node", under }), "ok 1\n");
    assertEquals(node.process.outputText(), "hello\n");
  },
);
