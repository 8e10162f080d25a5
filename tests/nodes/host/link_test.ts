import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import fc from "fast-check";
import {
  backoffMs,
  drawIncarnation,
  type Greeting,
  Link,
  type OpenLink,
  SEND_QUEUE_BYTES_MAX,
  shakeHands,
} from "../../../nodes/host/link.ts";
import { type WireCode, WireError } from "../../../protocol/errors.ts";
import { encodeFrame, FRAME, PREFACE } from "../../../protocol/frame.ts";
import { encodeError, PeerError } from "../../../protocol/handshake.ts";
import { bytesOf, textOf } from "../../protocol/splits.ts";
import {
  closeOnce,
  connectEnds,
  framesOf,
  greeting,
  readBeats,
  readToEnd,
  readUntil,
  roundTrips,
} from "./loopback.ts";

/** Short, so that several of it fit into a test. */
const SILENT_MS_MAX = 80;

/** So many beats take more than three times {@linkcode SILENT_MS_MAX}. */
const BEATS = 13;

const NO_BYTES = new Uint8Array(0);

/** Shakes hands at both ends of a connection. */
function meet(
  ends: { dialed: Deno.Conn; accepted: Deno.Conn },
  greetings: { dialer: Greeting; acceptor: Greeting },
  silentMsMax = 60_000,
): Promise<[PromiseSettledResult<OpenLink>, PromiseSettledResult<OpenLink>]> {
  const common = { first: NO_BYTES, silentMsMax };
  return Promise.allSettled([
    shakeHands(ends.dialed, {
      ...common,
      side: "dial",
      greeting: greetings.dialer,
    }),
    shakeHands(ends.accepted, {
      ...common,
      side: "accept",
      greeting: greetings.acceptor,
    }),
  ]);
}

function opened(result: PromiseSettledResult<OpenLink>): OpenLink {
  if (result.status === "rejected") throw result.reason;
  return result.value;
}

function refused(
  result: PromiseSettledResult<OpenLink>,
  code: WireCode,
): WireError {
  assertEquals(result.status, "rejected");
  const reason = result.status === "rejected" ? result.reason : undefined;
  assertInstanceOf(reason, WireError);
  assertEquals(reason.code, code, reason.message);
  return reason;
}

/** Two links that have met. */
async function twoLinks(
  ends: { dialed: Deno.Conn; accepted: Deno.Conn },
  silentMsMax?: number,
): Promise<{ dialer: Link; acceptor: Link }> {
  const both = { dialer: greeting(), acceptor: greeting() };
  const [dialer, acceptor] = await meet(ends, both, silentMsMax);
  return { dialer: opened(dialer).link, acceptor: opened(acceptor).link };
}

function abort(links: { dialer: Link; acceptor: Link }): void {
  links.dialer.abort();
  links.acceptor.abort();
}

/** How long something took, in ms. */
async function timed(act: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await act();
  return performance.now() - startMs;
}

// Handshake

Deno.test("link: both ends learn who the other is, and what follows is the link's", async () => {
  using ends = await connectEnds();
  const [dialer, acceptor] = await meet(ends, {
    dialer: greeting({ id: "c7", role: "client" }),
    acceptor: greeting({ id: "n1" }),
  });
  assertEquals(opened(acceptor).peer, {
    cluster: "skein",
    role: "client",
    id: "c7",
    incarnation: "0123456789abcdef",
  });
  assertEquals(opened(dialer).peer.id, "n1");
  assertMatch(opened(dialer).link.label, /^127\.0\.0\.1:\d+$/);
  const [one, two] = [opened(dialer), opened(acceptor)];
  await one.link.send(bytesOf("hello"));
  await two.link.send(bytesOf("welcome"));
  const isLong = (wanted: number) => (bytes: Uint8Array) =>
    bytes.length >= wanted;
  assertEquals(textOf(await readUntil(two.link, isLong(5))), "hello");
  assertEquals(textOf(await readUntil(one.link, isLong(7))), "welcome");
  abort({ dialer: one.link, acceptor: two.link });
});

Deno.test("link: bytes behind the handshake are handed over with it", async () => {
  using ends = await connectEnds();
  const acceptance = shakeHands(ends.accepted, {
    side: "accept",
    greeting: greeting(),
    first: NO_BYTES,
    silentMsMax: 60_000,
  });
  const hello = encodeFrame(
    FRAME.hello,
    bytesOf(JSON.stringify({
      versions: [1],
      ...greeting().self,
      nonce: "0".repeat(32),
      keyed: false,
    })),
  );
  const proof = encodeFrame(FRAME.proof, bytesOf("{}"));
  const all = [PREFACE, hello, proof, bytesOf("and on")];
  await ends.dialed.write(
    Uint8Array.from(all.flatMap((bytes) => Array.from(bytes))),
  );
  const { link, rest } = await acceptance;
  assertEquals(textOf(rest), "and on");
  link.abort();
});

Deno.test("link: with another key both ends are told so, and nothing is left open", async () => {
  using ends = await connectEnds();
  const [dialer, acceptor] = await meet(ends, {
    dialer: greeting({ key: bytesOf("a key of sixteen bytes") }),
    acceptor: greeting({ key: bytesOf("another key altogether") }),
  });
  const own = refused(acceptor, "wrong-key");
  const told = refused(dialer, "wrong-key");
  assert(!(own instanceof PeerError));
  assertInstanceOf(told, PeerError);
  assertEquals(told.message, own.message);
  await roundTrips();
});

Deno.test("link: a peer that speaks something else is refused, and told in our words", async () => {
  for (const side of ["dial", "accept"] as const) {
    using ends = await connectEnds();
    await ends.dialed.write(bytesOf("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const error = await assertRejects(
      () =>
        shakeHands(ends.accepted, {
          side,
          greeting: greeting(),
          first: NO_BYTES,
          silentMsMax: 60_000,
        }),
      WireError,
      "does not speak Skein",
    );
    assertEquals(error.code, "not-skein");
    const bytes = await readToEnd(ends.dialed);
    assertEquals(bytes.slice(0, 8), PREFACE.slice());
    const last = framesOf(bytes.subarray(8)).at(-1);
    assertEquals(last?.kind, FRAME.error);
    assertStringIncludes(textOf(last?.payload ?? NO_BYTES), "not-skein");
    closeOnce(ends.dialed);
    await roundTrips();
  }
});

Deno.test("link: a peer that never answers the handshake is given up in time", async () => {
  for (const side of ["dial", "accept"] as const) {
    using ends = await connectEnds();
    const ms = await timed(async () => {
      const error = await assertRejects(
        () =>
          shakeHands(ends.accepted, {
            side,
            greeting: greeting(),
            first: NO_BYTES,
            silentMsMax: 60_000,
            waitMs: 60,
          }),
        WireError,
        "Handshake took longer than 60 ms",
      );
      assertEquals([error.code, error.outcome], ["timeout", "indefinite"]);
    });
    assertGreaterOrEqual(ms, 50);
    assertLess(ms, 3_000);
    // The connection is closed: nobody is kept waiting at the other end.
    await readToEnd(ends.dialed);
  }
});

Deno.test("link: a handshake that drips is given up as well", async () => {
  using ends = await connectEnds();
  const refusal = assertRejects(
    () =>
      shakeHands(ends.accepted, {
        side: "accept",
        greeting: greeting(),
        first: NO_BYTES,
        silentMsMax: 60_000,
        waitMs: 60,
      }),
    WireError,
    "60 ms",
  );
  let isOver = false;
  const over = refusal.then(() => isOver = true);
  // A preface, byte by byte, as often as it is taken.
  for (let i = 0; !isOver && i < PREFACE.length - 1; i++) {
    await ends.dialed.write(PREFACE.subarray(i, i + 1));
    await roundTrips(1);
  }
  await over;
});

Deno.test("link: a peer that closes during the handshake is lost", async () => {
  using ends = await connectEnds();
  ends.dialed.close();
  const error = await assertRejects(
    () =>
      shakeHands(ends.accepted, {
        side: "accept",
        greeting: greeting(),
        first: NO_BYTES,
        silentMsMax: 60_000,
      }),
    WireError,
  );
  assertEquals(error.code, "link-lost");
  await roundTrips();
});

// Signs of life

Deno.test("link: beats keep an idle link alive for many times the silence", async () => {
  using ends = await connectEnds();
  const links = await twoLinks(ends, SILENT_MS_MAX);
  const ms = await timed(() =>
    Promise.all([
      readBeats(links.dialer, BEATS),
      readBeats(links.acceptor, BEATS),
    ])
  );
  assertGreaterOrEqual(ms, 3 * SILENT_MS_MAX);
  abort(links);
});

Deno.test("link: both beat for the more impatient of the two", async () => {
  using ends = await connectEnds();
  const common = { greeting: greeting(), first: NO_BYTES };
  const [dialer, acceptor] = await Promise.all([
    shakeHands(ends.dialed, {
      ...common,
      side: "dial",
      silentMsMax: SILENT_MS_MAX,
    }),
    shakeHands(ends.accepted, {
      ...common,
      side: "accept",
      silentMsMax: 600_000,
    }),
  ]);
  const links = { dialer: dialer.link, acceptor: acceptor.link };
  await Promise.all([
    readBeats(links.dialer, BEATS),
    readBeats(links.acceptor, BEATS),
  ]);
  abort(links);
});

Deno.test("link: a peer that stops beating is given up after the silence", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.accepted, { silentMsMax: SILENT_MS_MAX });
  const ms = await timed(async () => {
    const error = await assertRejects(
      () => link.read(new Uint8Array(10)),
      WireError,
      `Peer was silent for ${SILENT_MS_MAX} ms`,
    );
    assertEquals(error.code, "timeout");
  });
  assertGreaterOrEqual(ms, SILENT_MS_MAX - 1);
  assertLess(ms, 3_000);
  // The other end sees that it is over, after the beats that were sent.
  await readToEnd(ends.dialed);
});

Deno.test("link: what a link that was given up is told to send fails for the same reason", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.accepted, { silentMsMax: SILENT_MS_MAX });
  await assertRejects(() => link.read(new Uint8Array(10)), WireError, "silent");
  const error = await assertRejects(
    () => link.send(bytesOf("too late")),
    WireError,
  );
  assertEquals(error.code, "timeout");
});

Deno.test("link: who does not read is not waiting, and takes nobody for silent", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.accepted, { silentMsMax: SILENT_MS_MAX });
  // The peer counts our beats and says nothing for several silences.
  await readUntil(ends.dialed, (bytes) => framesOf(bytes).length >= BEATS);
  await ends.dialed.write(bytesOf("at last"));
  const into = new Uint8Array(10);
  assertEquals(await link.read(into), 7);
  link.abort();
});

Deno.test("link: a peer that holds us back still shows that it lives", async () => {
  using ends = await connectEnds();
  const links = await twoLinks(ends, SILENT_MS_MAX);
  // More than the system's buffers take: the acceptor does not read.
  const frame = encodeFrame(FRAME.chainData, new Uint8Array(1_000_000));
  const frames = 12;
  let isSent = false;
  const sending = (async () => {
    for (let i = 0; i < frames; i++) await links.dialer.send(frame);
    isSent = true;
  })();
  await readBeats(links.dialer, BEATS);
  assertEquals(isSent, false, "all of it went into the system's buffers");
  let received = 0;
  const into = new Uint8Array(262_144);
  const wanted = frames * frame.length;
  // The dialer goes on listening, or its peer could be dead by now.
  const listening = links.dialer.read(new Uint8Array(100)).then(
    async () => {
      while (!isSent) await links.dialer.read(new Uint8Array(100));
    },
  );
  while (received < wanted) {
    const count = await links.acceptor.read(into);
    assert(count !== null, `it ended after ${received} bytes`);
    received += count;
  }
  await Promise.all([sending, listening]);
  abort(links);
});

// Sending and closing

Deno.test("link: what is sent comes in its order, whoever waits for it or not", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.dialed, { silentMsMax: undefined });
  const texts = Array.from({ length: 200 }, (_, i) => `${i} `.repeat(i));
  const last = texts.map((text) => link.send(bytesOf(text))).at(-1);
  const all = texts.join("");
  const bytes = await readUntil(
    ends.accepted,
    (bytes) => bytes.length >= all.length,
  );
  assertEquals(textOf(bytes), all);
  await last;
  link.abort();
});

Deno.test("link: a write that tells by a call is whole, and what is sent behind it follows", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.dialed, { silentMsMax: undefined });
  // Near the bound of what may wait, and more than one call usually takes.
  const large = new Uint8Array(2_000_000).fill(7);
  let isDone = false;
  const done = new Promise<void>((resolve) =>
    link.write(large, (error) => {
      assertEquals(error, undefined);
      isDone = true;
      resolve();
    })
  );
  const sent = [link.send(bytesOf("one ")), link.send(bytesOf("two "))];
  const second = new Promise<void>((resolve) =>
    link.write(bytesOf("three "), () => resolve())
  );
  assertEquals(isDone, false);
  const closing = link.close(bytesOf("bye"));
  const bytes = await readToEnd(ends.accepted);
  ends.accepted.close();
  assertEquals(textOf(bytes.subarray(large.length)), "one two three bye");
  assert(bytes.subarray(0, large.length).every((byte) => byte === 7));
  await Promise.all([done, second, closing, ...sent]);
});

Deno.test("link: closing waits for a write that tells by a call", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.dialed, { silentMsMax: undefined });
  const large = new Uint8Array(2_000_000).fill(7);
  link.write(large, () => {});
  const closing = link.close();
  assertEquals((await readToEnd(ends.accepted)).length, large.length);
  ends.accepted.close();
  await closing;
});

Deno.test("link: a write that tells by a call says why it failed, and so does what waits behind it", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.dialed, { silentMsMax: undefined });
  // More than the system takes from who does not read.
  const filling = ends.dialed.write(new Uint8Array(32_000_000)).catch(() => 0);
  const failed = new Promise<WireError | undefined>((resolve) =>
    link.write(bytesOf("first"), resolve)
  );
  const behind = assertRejects(() => link.send(bytesOf("behind")), WireError);
  ends.accepted.close();
  assertEquals((await failed)?.code, "link-lost");
  assertEquals((await behind).code, "link-lost");
  await filling;
});

Deno.test("link: more waiting bytes than its bound break it, reading included", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.dialed, { silentMsMax: undefined });
  const reading = assertRejects(
    () => link.read(new Uint8Array(10)),
    WireError,
    `limit is ${SEND_QUEUE_BYTES_MAX}`,
  );
  const chunk = new Uint8Array(262_144);
  let isBroken = false;
  void reading.then(() => isBroken = true);
  const sends: Promise<PromiseSettledResult<void>[]>[] = [];
  // The peer does not read; the system's buffers take some of it first.
  while (!isBroken && sends.length < 400) {
    sends.push(Promise.allSettled([link.send(chunk)]));
    if (sends.length % 4 === 0) await roundTrips(1);
  }
  assertEquals((await reading).code, "busy");
  // Deno before 2.9 tells a write that hangs only when the peer goes as well.
  ends.accepted.close();
  const [last] = await sends[sends.length - 1];
  assertEquals(last.status, "rejected");
  const reason = last.status === "rejected" ? last.reason : undefined;
  assertInstanceOf(reason, WireError);
  assertEquals([reason.code, reason.outcome], ["busy", "definite"]);
  await Promise.all(sends);
});

Deno.test("link: last words arrive though the peer's own were not read", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.accepted, { silentMsMax: undefined });
  await ends.dialed.write(new Uint8Array(200_000));
  const words = encodeError(new WireError("busy", "come back later"));
  const [bytes] = await Promise.all([
    readToEnd(ends.dialed).then((bytes) => {
      ends.dialed.close();
      return bytes;
    }),
    link.close(words),
  ]);
  assertEquals(bytes, words);
});

Deno.test("link: what waited before the last words goes before them", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.accepted, { silentMsMax: undefined });
  void link.send(bytesOf("one "));
  void link.send(bytesOf("two "));
  const closing = link.close(bytesOf("bye"));
  assertEquals(textOf(await readToEnd(ends.dialed)), "one two bye");
  ends.dialed.close();
  await closing;
});

Deno.test("link: closing does not wait for ever for a peer that does not close", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.accepted, { silentMsMax: undefined });
  const ms = await timed(() => link.close(bytesOf("bye")));
  assertLess(ms, 4_000);
  assertEquals(textOf(await readToEnd(ends.dialed)), "bye");
  // A second close has nothing to do.
  await link.close(bytesOf("again"));
});

Deno.test("link: aborting ends a read that waits", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.accepted, { silentMsMax: 60_000 });
  const reading = assertRejects(() => link.read(new Uint8Array(9)), WireError);
  link.abort();
  link.abort();
  assertEquals((await reading).code, "link-lost");
  const error = await assertRejects(() => link.send(bytesOf("x")), WireError);
  assertEquals(error.code, "link-lost");
});

Deno.test("link: a peer that closes its side is not a failure", async () => {
  using ends = await connectEnds();
  const link = new Link(ends.accepted, { silentMsMax: SILENT_MS_MAX });
  await ends.dialed.write(bytesOf("bye"));
  await ends.dialed.closeWrite();
  const into = new Uint8Array(10);
  assertEquals(await link.read(into), 3);
  assertEquals(await link.read(into), null);
  link.abort();
});

// Numbers

Deno.test("link: the wait before an attempt grows, has a bound, and is 0 for the first", () => {
  assertEquals(backoffMs(0, 0.99, 1_000), 0);
  assertEquals(backoffMs(1, 0.5, 1_000), 50);
  assertEquals(backoffMs(2, 0.5, 1_000), 100);
  assertEquals(backoffMs(9, 0.5, 1_000), 500);
  fc.assert(
    fc.property(
      fc.nat(100_000),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: 1, max: 60_000 }),
      (attempt, dice, waitMsMax) => {
        const waitMs = backoffMs(attempt, dice, waitMsMax);
        assertGreaterOrEqual(waitMs, 0);
        assertLessOrEqual(waitMs, waitMsMax);
      },
    ),
  );
});

Deno.test("link: incarnations are 16 hexadecimal digits, and differ", () => {
  const one = drawIncarnation();
  assertMatch(one, /^[0-9a-f]{16}$/);
  assertNotEquals(one, drawIncarnation());
});
