import {
  assertEquals,
  assertLess,
  assertMatch,
  assertRejects,
} from "@std/assert";
import { WireError } from "../../protocol/errors.ts";
import { encodeFrame, FRAME, PREFACE } from "../../protocol/frame.ts";
import { ChainFleet } from "./chain_fleet.ts";
import { LinesClient } from "./lines_client.ts";
import { RawLink, STRANGER } from "./raw_link.ts";
import { bounded } from "./until.ts";

const RIGHT = "the right key of this chain";
const WRONG = "another key, as long as that";

/** A definite refusal must not wait for the minute of `--timeout`. */
const QUICK_MS = 5_000;

const encode = (text: string) => new TextEncoder().encode(text);

/** Two nodes with a key, and somebody who has it too. */
async function keyed(fleet: ChainFleet) {
  const keyFile = fleet.file("key", `${RIGHT}\n`);
  Deno.chmodSync(keyFile, 0o600);
  const flags = ["--key-file", keyFile];
  const head = fleet.node("head", { next: ["tail"], flags });
  const tail = fleet.node("tail", { flags });
  await fleet.startReady();
  const send = fleet.send({ to: ["head"], flags, input: "piped" });
  await send.feed(encode("before\n"));
  return { head, tail, send };
}

const REFUSED: readonly {
  readonly what: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly flags: readonly string[];
  readonly code: string;
  readonly text: RegExp;
}[] = [
  {
    what: "without the key",
    environment: {},
    flags: [],
    code: "key-required",
    text:
      /^Cannot send to 127\.0\.0\.1:\d+: This node has a cluster key, peer has none$/,
  },
  {
    what: "with a wrong key",
    environment: { SKEIN_KEY: WRONG },
    flags: [],
    code: "wrong-key",
    text:
      /^Cannot send to 127\.0\.0\.1:\d+: Peer does not have this cluster's key$/,
  },
  {
    what: "of another cluster",
    environment: { SKEIN_KEY: RIGHT },
    flags: ["--cluster", "other"],
    code: "cluster-mismatch",
    text: /: Peer belongs to cluster "other", this node to "skein"$/,
  },
];

Deno.test("key: a sender that has no right to send exits with 1 at once and says why", async (t) => {
  await using fleet = new ChainFleet();
  const { send, tail } = await keyed(fleet);
  for (const { what, environment, flags, code, text } of REFUSED) {
    await t.step(what, async () => {
      const startMs = performance.now();
      const refused = fleet.send({
        to: ["head"],
        flags,
        environment,
        input: "piped",
      });
      await refused.feed(encode("forged\n"));
      const outcome = await refused.outcome();
      assertLess(performance.now() - startMs, QUICK_MS);
      assertEquals([outcome.code, outcome.delivered], [1, 0]);
      const said = refused.logLines().at(-1);
      assertMatch(said?.message ?? "", text);
      assertEquals([said?.level, said?.code], ["error", code]);
    });
  }
  await t.step("one that has the key is not disturbed", async () => {
    await send.feed(encode("after\n"));
    await send.endInput();
    const { code, delivered, resent } = await send.outcome();
    assertEquals([code, delivered, resent], [0, 2, 0], fleet.describe());
    assertEquals(tail.process.outputText(), "before\nafter\n");
  });
});

Deno.test("key: a sender with a key does not talk to a node without one", async () => {
  await using fleet = new ChainFleet();
  await fleet.node("tail").start();
  const startMs = performance.now();
  const send = fleet.send({
    to: ["tail"],
    environment: { SKEIN_KEY: RIGHT },
    input: "piped",
  });
  await send.feed(encode("for those with the key only\n"));
  const { code, delivered } = await send.outcome();
  assertLess(performance.now() - startMs, QUICK_MS);
  assertEquals([code, delivered], [1, 0]);
  assertMatch(
    send.logLines().at(-1)?.message ?? "",
    /: Peer has a cluster key, this node has none$/,
  );
});

Deno.test("key: a proof is checked, by the node and by the sender", async (t) => {
  await using fleet = new ChainFleet();
  await t.step("the node takes the right one only", async () => {
    await keyed(fleet);
    const key = encode(RIGHT);
    await using link = await RawLink.greet(fleet, { to: "head", key });
    await link.write(Uint8Array.of(0, 0, 0, 1, 99));
    assertEquals((await link.farewell())?.code, "invalid-message");
    await assertRejects(
      () => RawLink.greet(fleet, { to: "head", key: encode(WRONG) }),
      WireError,
      "Peer does not have this cluster's key",
    );
  });
  await t.step(
    "the sender does not tell its lines to an impostor",
    async () => {
      using listener = Deno.listen({
        hostname: "127.0.0.1",
        port: fleet.port("impostor"),
      });
      const listening = listener.accept().then(pretend);
      const send = fleet.send({
        to: ["impostor"],
        environment: { SKEIN_KEY: RIGHT },
        input: "piped",
      });
      await send.feed(encode("a secret\n"));
      const { code, delivered } = await send.outcome();
      assertEquals([code, delivered], [1, 0], send.describe());
      assertMatch(
        send.logLines().at(-1)?.message ?? "",
        /Peer does not have this cluster's key$/,
      );
      const heard = await bounded("the sender hangs up", listening);
      assertMatch(heard, /"role":"client"/);
      assertEquals(heard.includes("a secret"), false);
    },
  );
});

/** Shakes hands like a node that has the key, with a proof out of thin air. */
async function pretend(conn: Deno.Conn): Promise<string> {
  const challenge = {
    versions: [1],
    ...STRANGER,
    role: "chain",
    nonce: "1".repeat(32),
    keyed: true,
  };
  const frame = (kind: number, value: unknown) =>
    encodeFrame(kind, encode(JSON.stringify(value)));
  let heard = "";
  const buffer = new Uint8Array(4_096);
  await conn.write(PREFACE);
  await conn.write(frame(FRAME.challenge, challenge));
  await conn.write(frame(FRAME.welcome, { proof: "2".repeat(64) }));
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    heard += new TextDecoder().decode(buffer.subarray(0, count));
  }
  conn.close();
  return heard;
}

Deno.test("key: nodes with different keys do not pass messages on, and say so", async () => {
  await using fleet = new ChainFleet();
  const head = fleet.node("head", {
    next: ["tail"],
    environment: { SKEIN_KEY: RIGHT },
  });
  const tail = fleet.node("tail", { environment: { SKEIN_KEY: WRONG } });
  await fleet.start();
  await fleet.until("the head says why it is not ready", async () => {
    const page = await head.page("/readyz");
    return page?.status === 503 && page.text.includes("cluster's key");
  });
  await tail.process.line(/Refused a connection: .*cluster's key/);
  const send = fleet.send({
    to: ["head"],
    flags: ["--timeout", "500ms"],
    environment: { SKEIN_KEY: RIGHT },
    input: "piped",
  });
  await send.feed(encode("stays at the head\n"));
  await send.endInput();
  const { code, delivered } = await send.outcome();
  assertEquals([code, delivered], [1, 0]);
  assertMatch(send.lines.join("\n"), /head cannot reach .*cluster's key/);
  assertEquals(tail.process.outputBytes, 0);
});

Deno.test("key: plain text needs no key from this machine, unless --lines none", async () => {
  await using fleet = new ChainFleet();
  const environment = { SKEIN_KEY: RIGHT };
  const open = fleet.node("open", { environment });
  await open.start();
  await fleet.node("closed", { environment, flags: ["--lines", "none"] })
    .start();
  await using first = await LinesClient.connect(fleet, { to: "open" });
  await first.write("hello\n");
  await first.closeWrite();
  await bounded("the node closes", first.closed());
  assertEquals([first.answers, open.process.outputText()], ["", "hello\n"]);
  await using second = await LinesClient.connect(fleet, { to: "closed" });
  await second.write("hello\n");
  await bounded("the node closes", second.closed());
  assertEquals(
    second.answers,
    "error 0 lines-refused This node takes plain text from nobody\n",
  );
});

Deno.test("key: one that can be guessed is refused at the start", async () => {
  await using fleet = new ChainFleet();
  const node = fleet.node("node", { environment: { SKEIN_KEY: "short" } });
  const process = node.launch();
  node.expectEnd();
  assertEquals((await process.ended()).code, 2);
  assertEquals(process.lines.length, 1);
  assertMatch(process.lines[0], /it has 5 bytes, wanted 16 to 1024/);
});
