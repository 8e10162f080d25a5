import { connect } from "node:net";
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { encodeFrame, PREFACE, writeUint32 } from "../../protocol/frame.ts";
import { Random } from "../sim/random.ts";
import { Bystander } from "./bystander.ts";
import type { ChainFleet } from "./chain_fleet.ts";
import { LinesClient } from "./lines_client.ts";
import { dataFrame, helloOf, RawLink, STRANGER } from "./raw_link.ts";
import { bounded } from "./until.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** Sends lines as `nc` would, and returns all that is answered. */
async function answersTo(fleet: ChainFleet, bytes: Uint8Array) {
  await using client = await LinesClient.connect(fleet, { to: "head" });
  await client.write(bytes);
  await client.closeWrite();
  await bounded("the node closes", client.closed(), {
    context: () => fleet.describe(),
  });
  return client.answers.split("\n").filter((line) => line !== "").toSorted();
}

/** Writes lines, waits for the answer to the first, and resets the connection. */
async function writeAndReset(fleet: ChainFleet, text: string): Promise<void> {
  // Deno's own connections end in order, whatever one does.
  const socket = connect(fleet.port("head"), "127.0.0.1");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const answered = new Promise((resolve) => socket.once("data", resolve));
  socket.write(text);
  await bounded("the first line is answered", answered);
  socket.resetAndDestroy();
  await closed;
}

function join(...parts: readonly (string | Uint8Array)[]): Uint8Array {
  const bytes = parts.map((part) =>
    typeof part === "string" ? encode(part) : part
  );
  const all = new Uint8Array(
    bytes.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of bytes) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const LINES: readonly {
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly answers: readonly string[];
  readonly arrives: readonly string[];
}[] = [
  {
    what: "a line of one byte too many",
    bytes: join("L1\n", "x".repeat(65_537), "\nL2\n"),
    answers: [
      "error 2 too-large Cannot take line: its length is 65537 bytes or more, limit is 65536",
      "ok 1",
      "ok 3",
    ],
    arrives: ["L1", "L2"],
  },
  {
    what: "a line that does not end for long",
    bytes: join("x".repeat(1_000_000), "\nM1\n"),
    answers: [
      "error 1 too-large Cannot take line: its length is N bytes or more, limit is 65536",
      "ok 2",
    ],
    arrives: ["M1"],
  },
  {
    what: "bytes that are not UTF-8",
    bytes: join("N1\n", Uint8Array.of(0xc3, 0x28, 10), "N2\n"),
    answers: [
      "error 2 invalid-utf8 Cannot take text: it is not UTF-8",
      "ok 1",
      "ok 3",
    ],
    arrives: ["N1", "N2"],
  },
  {
    what: "a surrogate and an overlong NUL in UTF-8's clothes",
    bytes: join(
      Uint8Array.of(0xed, 0xa0, 0x80, 10),
      Uint8Array.of(0xc0, 0x80, 10),
      "O1\n",
    ),
    answers: [
      "error 1 invalid-utf8 Cannot take text: it is not UTF-8",
      "error 2 invalid-utf8 Cannot take text: it is not UTF-8",
      "ok 3",
    ],
    arrives: ["O1"],
  },
  {
    what: "NUL bytes",
    bytes: join("P1\n", "a\0b\n", "\0\n", "P2\n"),
    answers: [
      "error 2 nul-byte Cannot take text: it holds a NUL byte",
      "error 3 nul-byte Cannot take text: it holds a NUL byte",
      "ok 1",
      "ok 4",
    ],
    arrives: ["P1", "P2"],
  },
  {
    what: "half a character, then the end",
    bytes: join("Q1\n", Uint8Array.of(0xe2, 0x82)),
    answers: ["error 2 invalid-utf8 Cannot take text: it is not UTF-8", "ok 1"],
    arrives: ["Q1"],
  },
  {
    what: "half a line, then the end: it is a last line",
    bytes: join("half a li"),
    answers: ["ok 1"],
    arrives: ["half a li"],
  },
  {
    what: "an HTTP request, which is text",
    bytes: join("GET /R HTTP/1.1\r\n", "Host: example\r\n", "Accept: R\r\n"),
    answers: ["ok 1", "ok 2", "ok 3"],
    arrives: ["GET /R HTTP/1.1\r", "Host: example\r", "Accept: R\r"],
  },
  { what: "nothing at all", bytes: join(), answers: [], arrives: [] },
];

Deno.test("bad input: lines that are refused, by name, harm nobody", async (t) => {
  await using chain = await Bystander.start(LINES.length + 1);
  const { fleet } = chain;
  for (const { what, bytes, answers } of LINES) {
    await t.step(what, async () => {
      await chain.feed();
      const found = await answersTo(fleet, bytes);
      const general = found.map((line) =>
        what.includes("for long")
          ? line.replace(/is \d+ bytes/, "is N bytes")
          : line
      );
      assertEquals(general, answers);
    });
  }
  await t.step("half a line, then a reset: it is dropped", async () => {
    await chain.feed();
    await writeAndReset(fleet, "whole line\nhalf a line that is dropped");
  });
  await t.step("the bystander's transfer is whole", async () => {
    const arrives = LINES.flatMap(({ arrives }) => arrives);
    await chain.assertUnharmed([...arrives, "whole line"]);
  });
});

const FRAMES: readonly {
  readonly what: string;
  /** Sent right after the connection is there. */
  readonly first?: readonly Uint8Array[];
  /** Sent after a handshake. */
  readonly then?: readonly Uint8Array[];
  readonly code: string;
  readonly text: RegExp;
}[] = [
  {
    what: "a frame above the bound",
    then: [headerOf(300_000)],
    code: "too-large",
    text: /length is 300004 bytes, limit is 262144$/,
  },
  {
    what: "a first frame above the bound for strangers",
    first: [PREFACE, headerOf(5_000)],
    code: "too-large",
    text: /length is 5004 bytes, limit is 4096$/,
  },
  {
    what: "an empty frame",
    then: [Uint8Array.of(0, 0, 0, 0)],
    code: "invalid-message",
    text: /length is 4 bytes, at least 5 are needed$/,
  },
  {
    what: "a wrong preface",
    first: [Uint8Array.of(PREFACE[0], 0x53, 0x4b, 0x00)],
    code: "not-skein",
    text: /preface/,
  },
  {
    what: "another protocol version",
    first: [PREFACE, helloOf({ versions: [2, 3] })],
    code: "version-mismatch",
    text: /speaks protocol version 2, 3, this node speaks 1$/,
  },
  {
    what: "another cluster",
    first: [PREFACE, helloOf({ cluster: "other" })],
    code: "cluster-mismatch",
    text: /cluster "other", this node to "skein"$/,
  },
  {
    what: "another role",
    first: [PREFACE, helloOf({ role: "queen" })],
    code: "role-mismatch",
    text: /role "queen", wanted chain or client$/,
  },
  {
    what: "a name that could forge a line",
    first: [PREFACE, helloOf({ id: "x\nforged" })],
    code: "invalid-message",
    text: /wrong fields$/,
  },
  {
    what: "a key that the node has not",
    first: [PREFACE, helloOf({ keyed: true })],
    code: "key-required",
    text: /Peer has a cluster key, this node has none$/,
  },
  {
    what: "a hello that is not JSON",
    first: [PREFACE, encodeFrame(1, encode("{"))],
    code: "invalid-message",
    text: /not JSON$/,
  },
  {
    what: "messages before the handshake",
    first: [PREFACE, dataFrame(encode("too early\n"))],
    code: "invalid-message",
    text: /kind 16, wanted 1$/,
  },
  {
    what: "a frame of no known kind",
    then: [encodeFrame(200, encode("?"))],
    code: "invalid-message",
    text: /kind 200 from a client$/,
  },
  {
    what: "a frame that only a node's successor may send",
    then: [encodeFrame(17, new Uint8Array(8))],
    code: "invalid-message",
    text: /kind 17 from a client$/,
  },
  {
    what: "messages without a head",
    then: [encodeFrame(16, new Uint8Array(10))],
    code: "invalid-message",
    text: /length is 15 bytes, at least 27 are needed$/,
  },
  {
    what: "messages without a last newline",
    then: [dataFrame(encode("no newline"))],
    code: "invalid-message",
    text: /does not end with a newline$/,
  },
  {
    what: "messages that are not UTF-8",
    then: [dataFrame(Uint8Array.of(0xff, 10))],
    code: "invalid-utf8",
    text: /not UTF-8$/,
  },
  {
    what: "messages with a NUL byte",
    then: [dataFrame(encode("\0\n"))],
    code: "nul-byte",
    text: /NUL byte$/,
  },
  {
    what: "a message above the bound in a frame below it",
    then: [dataFrame(encode(`${"x".repeat(65_537)}\n`))],
    code: "too-large",
    text: /length is 65537 bytes or more, limit is 65536$/,
  },
  {
    what: "a wrong count of messages",
    then: [dataFrame(encode("one\ntwo\n"), { messages: 3 })],
    code: "invalid-message",
    text: /holds 2 messages and says 3$/,
  },
  {
    what: "another client's messages",
    then: [dataFrame(encode("forged\n"), { client: 0xbbn })],
    code: "invalid-message",
    text: /id of another client$/,
  },
  {
    what: "a number above what a file can have",
    then: [dataFrame(encode("far\n"), { offset: 2 ** 53 })],
    code: "invalid-message",
    text: /upper half is 2097152, limit is 2097151$/,
  },
  {
    what: "a gap",
    then: [
      dataFrame(encode("S1\n")),
      dataFrame(encode("S2\n"), { offset: 9, base: false }),
    ],
    code: "invalid-message",
    text: /offset is 9, wanted 3$/,
  },
];

Deno.test("bad input: frames that are refused, with the reason, harm nobody", async (t) => {
  await using chain = await Bystander.start(FRAMES.length);
  const { fleet } = chain;
  for (const { what, first, then, code, text } of FRAMES) {
    await t.step(what, async () => {
      await chain.feed();
      await using link = first === undefined
        ? await RawLink.greet(fleet, { to: "head" })
        : await RawLink.connect(fleet, "head");
      await link.write(...first ?? then ?? []);
      const said = await link.farewell();
      assertEquals(said?.code, code, said?.text);
      assertMatch(said?.text ?? "", text);
    });
  }
  await t.step("the bystander's transfer is whole", async () => {
    // Whether the line before the gap is taken is a matter of timing.
    await chain.assertUnharmed([], ["S1"]);
  });
});

Deno.test("bad input: random bytes after the preface, or after the handshake, harm nobody", async () => {
  const rounds = 40;
  const seed = Number(
    Deno.env.get("SKEIN_SEED") ?? Math.floor(Math.random() * 1e6),
  );
  const random = new Random(seed);
  await using chain = await Bystander.start(rounds / 4);
  const { fleet, head } = chain;
  for (let round = 0; round < rounds; round += 1) {
    if (round % 4 === 0) await chain.feed();
    const junk = random.bytes(3 + random.int(2_000));
    // Where it would be taken for a length, one within the bounds.
    if (round % 2 === 0) junk.set([0, 0, 0], 0);
    const as = round % 3 === 0
      ? { ...STRANGER, role: "chain" as const }
      : STRANGER;
    await using link = round % 4 < 2
      ? await RawLink.connect(fleet, "head")
      : await RawLink.greet(fleet, { to: "head", as });
    if (round % 4 < 2) await link.write(PREFACE);
    await link.write(junk);
  }
  assertEquals(head.mishap, undefined, `SKEIN_SEED=${seed}`);
  await chain.assertUnharmed([]);
});

Deno.test("bad input: a handshake that stops halfway ends after its time", async () => {
  await using chain = await Bystander.start(1);
  const { fleet } = chain;
  const startMs = performance.now();
  await using silent = await RawLink.connect(fleet, "head");
  await silent.write(PREFACE.subarray(0, 3));
  await using half = await RawLink.connect(fleet, "head");
  await half.write(PREFACE, helloOf({}));
  await Promise.all([silent.farewell(), half.farewell()]);
  const tookMs = performance.now() - startMs;
  assert(tookMs > 4_000, `${tookMs} ms are too few for a slow network`);
  assertLess(tookMs, 15_000);
  await chain.head.process.line(/Handshake took longer than 5000 ms/);
  await chain.assertUnharmed([]);
});

function headerOf(length: number): Uint8Array {
  const header = new Uint8Array(5);
  writeUint32(header, 0, length);
  header[4] = 16;
  return header;
}
