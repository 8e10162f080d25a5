import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { ChainFleet, type FourNodes } from "./chain_fleet.ts";
import { numberedText } from "./numbered_text.ts";
import { assertSameText } from "./same_text.ts";

const TEXT_BYTES = 20_000_000;

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("transfer: a file of 20 MB goes through four nodes unharmed", async () => {
  await using fleet = new ChainFleet();
  const output = fleet.path("output");
  const { head, second, third, tail } = fleet.fourNodes({
    tail: ["--output", output],
  });
  await fleet.start([third, head, tail, second]);
  await fleet.ready();
  const text = numberedText({ bytesMin: TEXT_BYTES, seed: 1 });
  const file = fleet.file("input", text.bytes);

  const startMs = performance.now();
  const send = fleet.send({ to: ["head"], flags: ["--file", file] });
  const { seconds, ...counts } = await send.outcome();
  const wallSeconds = (performance.now() - startMs) / 1_000;

  assertEquals(counts, {
    code: 0,
    sent: text.lineCount,
    delivered: text.lineCount,
    resent: 0,
    leftOut: 0,
  });
  assert(seconds > 0 && seconds <= wallSeconds + 0.01, `${seconds} s`);
  assertEquals(send.lines.length, 1, send.describe());
  assertSameText(Deno.readFileSync(output), text.bytes);
  assertEquals(tail.process.outputBytes, 0);
});

Deno.test("transfer: the tail's standard output is the text and nothing else", async () => {
  await using fleet = new ChainFleet();
  const { tail } = fleet.fourNodes();
  await fleet.startReady();
  const text = numberedText({ bytesMin: TEXT_BYTES, seed: 2 });
  const send = fleet.send({ to: ["head"], input: "piped" });
  await send.feed(text.bytes);
  await send.endInput();
  const { seconds: _, ...counts } = await send.outcome();
  assertEquals(counts, {
    code: 0,
    sent: text.lineCount,
    delivered: text.lineCount,
    resent: 0,
    leftOut: 0,
  });
  // Acknowledged is what the pipe has; its reader may be behind.
  await tail.stop("SIGTERM");
  assertSameText(tail.process.output(), text.bytes);
});

const ORDERS: readonly (readonly (keyof FourNodes)[])[] = [
  ["head", "second", "third", "tail"],
  ["tail", "third", "second", "head"],
  ["second", "tail", "head", "third"],
];
for (const order of ORDERS) {
  Deno.test(`transfer: nodes may start in the order ${order.join(", ")}`, async () => {
    await using fleet = new ChainFleet();
    const nodes = fleet.fourNodes({ tail: ["--output", fleet.path("output")] });
    const [first, ...rest] = order;
    const send = fleet.send({ to: ["head"], input: "piped" });
    await send.feed(encode("sent before anybody listens\n"));
    await nodes[first].start();
    await send.feed(encode("sent to a part of the chain\n"));
    for (const name of rest) await nodes[name].start();
    await fleet.ready();
    await send.feed(encode("sent to all of it\nwithout a newline at the end"));
    await send.endInput();
    const { code, delivered } = await send.outcome();
    assertEquals([code, delivered], [0, 4], send.describe());
    assertEquals(
      Deno.readTextFileSync(fleet.path("output")),
      "sent before anybody listens\nsent to a part of the chain\n" +
        "sent to all of it\nwithout a newline at the end\n",
    );
  });
}

Deno.test("transfer: what one types arrives line by line, and SIGINT ends it", async () => {
  await using fleet = new ChainFleet();
  const { tail } = fleet.fourNodes();
  await fleet.startReady();
  const send = fleet.send({ to: ["head"], input: "piped" });
  let typed = "";
  for (const line of ["good morning", "", "grüße 👋", "x".repeat(60_000)]) {
    await send.feed(encode(`${line}\n`));
    typed += `${line}\n`;
    await fleet.until(
      `the tail prints ${JSON.stringify(line.slice(0, 20))}`,
      () => tail.process.outputText() === typed,
    );
  }
  // Half a line is not sent: nobody can tell whether its rest will come.
  await send.feed(encode("half a li"));
  send.signal("SIGINT");
  const { seconds: _, ...counts } = await send.outcome();
  assertEquals(counts, {
    code: 0,
    sent: 4,
    delivered: 4,
    resent: 0,
    leftOut: 0,
  }, send.describe());
  assertEquals(tail.process.outputText(), typed);
});

Deno.test("transfer: a second SIGINT gives up what is under way", async () => {
  await using fleet = new ChainFleet();
  const head = fleet.node("head", { next: ["nobody"] });
  await head.start();
  const send = fleet.send({ to: ["head"], input: "piped" });
  await send.feed(encode("never delivered\n"));
  await send.line(/head cannot reach/);
  send.signal("SIGINT");
  await send.line(/Waiting for 1 messages? under way; Ctrl-C again/);
  await send.press("SIGINT", 3_000);
  const outcome = await send.outcome();
  assertEquals([outcome.code, outcome.sent, outcome.delivered], [130, 1, 0]);
});

Deno.test("transfer: a sender that gives up says why, then how far it came", async () => {
  await using fleet = new ChainFleet();
  const send = fleet.send({
    to: ["nobody"],
    flags: ["--timeout", "300ms"],
    input: "piped",
  });
  await send.feed(encode("one\n"));
  const outcome = await send.outcome();
  assertEquals([outcome.code, outcome.sent, outcome.delivered], [1, 1, 0]);
  assertEquals(
    send.lines.slice(-2).map((line) => line.replace(/.*"message":/, "")),
    [
      '"Giving up: nothing was delivered for 0.3 s"}',
      `sent 1, delivered 0, resent 0, ${outcome.seconds.toFixed(2)} s`,
    ],
  );
});

Deno.test("transfer: two senders at once keep their own orders", async () => {
  await using fleet = new ChainFleet();
  fleet.fourNodes({ tail: ["--output", fleet.path("output")] });
  await fleet.startReady();
  const counts = [20_000, 30_000];
  const sends = counts.map((count, sender) => {
    const lines = Array.from({ length: count }, (_, at) => `${sender} ${at}\n`);
    const file = fleet.file(`input${sender}`, lines.join(""));
    return fleet.send({ to: ["head"], flags: ["--file", file] });
  });
  for (const send of sends) assertEquals((await send.outcome()).code, 0);
  const output = Deno.readTextFileSync(fleet.path("output"));
  const next = [0, 0];
  for (const line of output.split("\n").slice(0, -1)) {
    const [sender, at] = line.split(" ").map(Number);
    assertEquals(at, next[sender], `order of sender ${sender}`);
    next[sender] += 1;
  }
  assertEquals(next, counts);
});

Deno.test("transfer: lines that cannot be sent are named and left out", async () => {
  await using fleet = new ChainFleet();
  fleet.fourNodes({ tail: ["--output", fleet.path("output")] });
  await fleet.startReady();
  const parts = [
    encode("first\n"),
    Uint8Array.of(0xff, 0xfe, 10),
    encode(`${"y".repeat(65_537)}\n`),
    encode("a\0b\n"),
    encode("last"),
  ];
  const file = fleet.file(
    "input",
    new Uint8Array(await new Blob(parts).bytes()),
  );
  const send = fleet.send({ to: ["head"], flags: ["--file", file] });
  const { seconds: _, ...counts } = await send.outcome();
  assertEquals(counts, {
    code: 1,
    sent: 2,
    delivered: 2,
    resent: 0,
    leftOut: 3,
  });
  const said = send.logLines().map(({ message }) => message);
  assertEquals(said, [
    "Line 2 is left out: Cannot take text: it is not UTF-8",
    "Line 3 is left out: Cannot take line: its length is 65537 bytes or more, limit is 65536",
    "Line 4 is left out: Cannot take text: it holds a NUL byte",
  ]);
  assertEquals(Deno.readTextFileSync(fleet.path("output")), "first\nlast\n");
});

Deno.test("transfer: the comparison notices one byte, one line less, one line twice", () => {
  const { bytes } = numberedText({ bytesMin: 200_000, seed: 3 });
  assertSameText(bytes.slice(), bytes);
  const changed = bytes.slice();
  changed[123_456] ^= 1;
  const text =
    assertThrows(() => assertSameText(changed, bytes), Error).message;
  assert(text.includes("they differ from byte 123456 on"), text);
  assertThrows(() => assertSameText(bytes.subarray(0, -1), bytes), Error);
  const end = bytes.indexOf(10) + 1;
  assertThrows(() => assertSameText(bytes.subarray(end), bytes), Error);
  const twice = new Uint8Array(bytes.length + end);
  twice.set(bytes.subarray(0, end));
  twice.set(bytes, end);
  assertThrows(() => assertSameText(twice, bytes), Error);
  assertLess(end, bytes.length);
});
