import {
  assert,
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertMatch,
} from "@std/assert";
import { ChainFleet } from "./chain_fleet.ts";
import { numberedText } from "./numbered_text.ts";
import { assertSameText } from "./same_text.ts";

const MIB = 1024 * 1024;
const LINK_MS = 1_000;
const QUICK = ["--link-timeout", `${LINK_MS}ms`, "--next-timeout", "300ms"];

/**
 * What a node may use with its queue full. Before Deno 2.9 the runtime alone
 * needs more: its V8 lets the young generation grow further.
 */
const RESIDENT_BYTES_MAX = (/^2\.[0-8]\./.test(Deno.version.deno) ? 220 : 120) *
  MIB;

/** What each sender takes by itself, before any of it is delivered. */
const TAKEN_BYTES_MIN = 7 * MIB;

/** Twice the same this long apart is taken for standing still. */
const STILL_MS = 400;

Deno.test("frozen: a single path waits for its middle node and goes on", async () => {
  await using fleet = new ChainFleet();
  const { head, second } = fleet.fourNodes({
    head: QUICK,
    second: QUICK,
    third: QUICK,
    tail: [...QUICK, "--output", fleet.path("output")],
  });
  await fleet.startReady();
  const text = numberedText({ bytesMin: 24_000_000, seed: 5 });
  const file = fleet.file("input", text.bytes);
  const send = fleet.send({ to: ["head"], flags: ["--file", file] });
  await fleet.grown("output", 1_000_000);
  const seen = head.process.lines.length;
  await second.freeze();
  // The link is given up, for a frozen node answers nothing.
  await head.process.line(
    new RegExp(`"Lost .*"Peer was silent for ${LINK_MS} ms"`),
    seen,
  );
  const page = await head.page("/readyz");
  assertEquals(page?.status, 503);
  assertLess(fleet.fileSize("output"), text.bytes.length);
  second.thaw();
  const { code, delivered } = await send.outcome();
  assertEquals([code, delivered], [0, text.lineCount], fleet.describe());
  assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
  await head.ready();
});

/** A that sends to B, and to C while B is away; B and C stand when A starts. */
async function bypass(fleet: ChainFleet) {
  const output = ["--output", fleet.path("output")];
  const head = fleet.node("a", { next: ["b", "c"], flags: QUICK });
  const middle = fleet.node("b", { next: ["c"], flags: QUICK });
  const tail = fleet.node("c", { flags: [...QUICK, ...output] });
  await fleet.start([tail, middle]);
  await middle.ready();
  await head.start();
  await fleet.sendingTo(head, "b");
  return { head, middle };
}

Deno.test("frozen: with -n B,C the traffic goes round a frozen B, and back when it returns", async () => {
  await using fleet = new ChainFleet();
  const { head, middle } = await bypass(fleet);
  const switches = async () =>
    await head.metric("skein_chain_switches_total") ?? 0;
  const before = await switches();

  const text = numberedText({ bytesMin: 24_000_000, seed: 6 });
  const send = fleet.send({ to: ["a"], input: "piped" });
  const third = Math.floor(text.bytes.length / 3);
  await send.feed(text.bytes.subarray(0, third));
  await middle.freeze();
  const frozenMs = performance.now();
  await send.feed(text.bytes.subarray(third, 2 * third));
  await fleet.sendingTo(head, "c");
  assertGreaterOrEqual(performance.now() - frozenMs, LINK_MS / 2);
  await fleet.until(
    "what was sent round B arrives",
    () => fleet.fileSize("output") >= 2 * third - 65_537,
  );

  middle.thaw();
  await fleet.sendingTo(head, "b");
  assertGreaterOrEqual(await switches(), before + 2);
  const passed = async () =>
    await middle.metric("skein_chain_messages_received_total") ?? 0;
  const passedBefore = await passed();
  await send.feed(text.bytes.subarray(2 * third));
  await send.endInput();
  const { code, delivered } = await send.outcome();
  assertEquals([code, delivered], [0, text.lineCount], fleet.describe());
  assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
  assertGreater(await passed(), passedBefore, "B passes on again");
});

Deno.test("frozen: a B that comes and goes during a transfer costs nothing", async () => {
  await using fleet = new ChainFleet();
  const { head, middle } = await bypass(fleet);
  const text = numberedText({ bytesMin: 30_000_000, seed: 7 });
  const send = fleet.send({ to: ["a"], input: "piped" });
  let fed = 0;
  const feedTo = async (end: number) => {
    await send.feed(text.bytes.subarray(fed, end));
    fed = end;
  };
  for (let round = 1; round <= 3; round += 1) {
    const feeding = feedTo(round * 9_000_000);
    await fleet.grown("output", fed - 8_000_000);
    if (round === 2) await middle.kill();
    else await middle.freeze();
    await fleet.sendingTo(head, "c");
    if (round === 2) await middle.start();
    else middle.thaw();
    await fleet.sendingTo(head, "b");
    await feeding;
  }
  await feedTo(text.bytes.length);
  await send.endInput();
  const { code, delivered } = await send.outcome();
  assertEquals([code, delivered], [0, text.lineCount], fleet.describe());
  assertSameText(Deno.readFileSync(fleet.path("output")), text.bytes);
});

Deno.test("frozen: a stuck successor stops the senders, not the head, whose memory stays bounded", async () => {
  await using fleet = new ChainFleet();
  const { head, second } = fleet.fourNodes({
    tail: ["--output", fleet.path("output")],
  });
  await fleet.startReady();
  await second.freeze();
  const text = numberedText({ bytesMin: 40_000_000, seed: 8 });
  // Several, since each has memory of its own at the head.
  const sends = [1, 2, 3].map(() =>
    fleet.send({ to: ["head"], input: "piped" })
  );
  const feeds = sends.map(async (send) => {
    await send.feed(text.bytes);
    await send.endInput();
  });
  await using _end = {
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(feeds);
    },
  };
  const fed = () => sends.reduce((sum, { fedBytes }) => sum + fedBytes, 0);
  let last = { bytes: 0, sinceMs: performance.now() };
  let residentBytesMax = 0;
  // Not by asking the head: that would take memory as well.
  await fleet.until("the senders are stopped", () => {
    residentBytesMax = Math.max(
      residentBytesMax,
      head.process.residentBytes(),
    );
    if (fed() !== last.bytes) {
      last = { bytes: fed(), sinceMs: performance.now() };
    }
    return fed() > 3 * TAKEN_BYTES_MIN &&
      performance.now() - last.sinceMs > STILL_MS;
  });
  assertLess(fed(), 3 * text.bytes.length);
  const queued = await head.metric("skein_chain_queued_bytes") ?? 0;
  assertGreaterOrEqual(queued, 16 * MIB, "the default of --queue");
  assertLess(queued, 17 * MIB);
  assertLess(residentBytesMax, RESIDENT_BYTES_MAX);
  const page = await head.page("/healthz");
  assertEquals(page?.status, 200, "a head that waits still answers");

  second.thaw();
  for (const send of sends) {
    const { code, delivered } = await send.outcome();
    assertEquals([code, delivered], [0, text.lineCount], fleet.describe());
  }
  assertEquals(fleet.fileSize("output"), 3 * text.bytes.length);
  const { code } = await head.stop("SIGTERM");
  assertEquals(code, 0);
  assert(head.process.lines.every((line) => !line.includes('"error"')));
  assertMatch(head.process.lines.at(-1) ?? "", /"Stopped"/);
});
