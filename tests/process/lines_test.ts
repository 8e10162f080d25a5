import { assert, assertEquals } from "@std/assert";
import { ChainFleet } from "./chain_fleet.ts";
import { LinesClient } from "./lines_client.ts";
import { numberedText } from "./numbered_text.ts";
import { RunningProcess } from "./running_process.ts";
import { assertSameText } from "./same_text.ts";
import { bounded } from "./until.ts";

/** How this system's `nc` is told to close its side at the end of input. */
const NC = netcat();

/** What a node with `--ack-lines` answers to `count` lines. */
function okLines(count: number): string {
  return Array.from({ length: count }, (_, at) => `ok ${at + 1}\n`).join("");
}

Deno.test({
  name: NC === undefined
    ? "lines: nc is a client (skipped: nc is not installed)"
    : "lines: nc is a client, and ends when its lines are delivered",
  ignore: NC === undefined,
  async fn() {
    await using fleet = new ChainFleet();
    fleet.fourNodes({
      head: ["--ack-lines"],
      tail: ["--output", fleet.path("output")],
    });
    await fleet.startReady();
    const text = numberedText({ bytesMin: 1_000_000, seed: 9 });
    await using nc = new RunningProcess({
      name: "nc",
      command: [...NC ?? [], "127.0.0.1", String(fleet.port("head"))],
      folder: fleet.path(""),
    });
    await nc.feed(text.bytes.subarray(0, -1)); // The last newline is left out.
    await nc.endInput();
    assertEquals((await nc.ended()).code, 0, fleet.describe());
    assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
    assertEquals(nc.outputText(), okLines(text.lineCount));
  },
});

Deno.test("lines: --ack-lines answers each line once the tail has it, not before", async () => {
  await using fleet = new ChainFleet();
  const { third, tail } = fleet.fourNodes({ head: ["--ack-lines"] });
  await fleet.startReady();
  await using client = await LinesClient.connect(fleet, { to: "head" });
  for (const [index, line] of ["first", "", "grüße 👋"].entries()) {
    await client.write(`${line}\n`);
    await fleet.until(
      `line ${index + 1} is acknowledged`,
      () => client.answers === okLines(index + 1),
    );
  }
  await tail.freeze();
  await client.write("fourth\nfifth");
  await client.closeWrite();
  await fleet.until(
    "the node before the tail has all",
    async () =>
      (await third.metric("skein_chain_messages_received_total")) === 5,
  );
  assertEquals(client.answers, okLines(3), "the tail does not have more yet");
  assert(!client.isClosed, "the connection stays open until then");
  tail.thaw();
  await bounded("the node closes", client.closed());
  assertEquals(client.answers, okLines(5));
  assertEquals(tail.process.outputText(), "first\n\ngrüße 👋\nfourth\nfifth\n");
});

Deno.test("lines: a connection is closed only when the tail has all of it", async () => {
  await using fleet = new ChainFleet();
  const { third, tail } = fleet.fourNodes();
  await fleet.startReady();
  await tail.freeze();
  await using client = await LinesClient.connect(fleet, { to: "head" });
  await client.write("one\ntwo");
  await client.closeWrite();
  await fleet.until(
    "the node before the tail has all",
    async () =>
      (await third.metric("skein_chain_messages_received_total")) === 2,
  );
  assert(!client.isClosed, "the tail does not have it yet");
  tail.thaw();
  await bounded("the node closes", client.closed());
  assertEquals(tail.process.outputText(), "one\ntwo\n");
  assertEquals(client.answers, "", "nothing is said without --ack-lines");
});

Deno.test("lines: what the head took into its spool survives its SIGKILL while its successor is down", async () => {
  await using fleet = new ChainFleet();
  const { head, second, third, tail } = fleet.fourNodes({
    head: ["--spool", fleet.path("spool")],
    tail: ["--output", fleet.path("output")],
  });
  await fleet.start([head, third, tail]);
  const text = numberedText({ bytesMin: 3_000_000, seed: 10 });
  const more = new TextEncoder().encode("a second client's\nlast line\n");
  for (const bytes of [text.bytes, more]) {
    await using client = await LinesClient.connect(fleet, { to: "head" });
    await client.write(bytes);
    await client.closeWrite();
    await bounded("the node closes", client.closed(), {
      context: () => fleet.describe(),
    });
    assertEquals(client.answers, "");
  }
  await head.kill();
  assertEquals(fleet.fileSize("output"), 0);
  await fleet.start([second, head]);
  await fleet.grown("output", text.bytes.length + more.length);
  await fleet.until(
    "the head has nothing left",
    async () => (await head.metric("skein_chain_queued_bytes")) === 0,
  );
  // Started once more, it has nothing to send again.
  await head.restart();
  await head.ready();
  const output = Deno.readFileSync(fleet.path("output"));
  assertSameText(output.subarray(0, text.bytes.length), text.bytes);
  assertSameText(output.subarray(text.bytes.length), more);
});

Deno.test("lines: a head whose spool is full stops reading, and loses nothing", async () => {
  await using fleet = new ChainFleet();
  const { head, second, third, tail } = fleet.fourNodes({
    head: ["--spool", fleet.path("spool"), "--queue", "1MiB"],
    tail: ["--output", fleet.path("output")],
  });
  await fleet.start([head, third, tail]);
  const text = numberedText({ bytesMin: 12_000_000, seed: 11 });
  await using client = await LinesClient.connect(fleet, { to: "head" });
  const writing = client.write(text.bytes).then(() => client.closeWrite());
  await fleet.until(
    "the head's queue is full",
    async () =>
      (await head.metric("skein_chain_queued_bytes") ?? 0) >= 1024 * 1024,
  );
  assert(!client.isClosed);
  await second.start();
  await bounded("all is written", writing);
  await bounded("the node closes", client.closed());
  await fleet.grown("output", text.bytes.length);
  assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
});

function netcat(): readonly string[] | undefined {
  try {
    const { stdout, stderr } = new Deno.Command("nc", { args: ["-h"] })
      .outputSync();
    const help = new TextDecoder().decode(stdout) +
      new TextDecoder().decode(stderr);
    if (/^\s+-N\s/m.test(help) || /-[46A-Za-z]*N/.test(help)) {
      return ["nc", "-N"];
    }
    return ["nc"];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
