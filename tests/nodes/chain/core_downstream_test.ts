import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertLessOrEqual,
  assertStringIncludes,
} from "@std/assert";
import { encodeAck, encodeRoute, type Route } from "../../../protocol/chain.ts";
import { WireError } from "../../../protocol/errors.ts";
import { encodeFrame, FRAME } from "../../../protocol/frame.ts";
import { encodeError } from "../../../protocol/handshake.ts";
import { joined, sameBytes } from "../../protocol/splits.ts";
import { data, DrivenCore, routeNode, toTail } from "./driven_core.ts";

const TARGETS = ["b:1"];

/** A head with one successor that leads to the tail. */
function head(options: ConstructorParameters<typeof DrivenCore>[0] = {}) {
  const driven = DrivenCore.started({ targets: TARGETS, ...options });
  const down = driven.connect(0, toTail("b", "t"));
  return { driven, down };
}

/** The route that sources were told last. */
function lastRoute(driven: DrivenCore, link: number): Route | undefined {
  return driven.takeAnswers(link).routes.at(-1);
}

// Sending on

Deno.test("chain core: lines go on as frames, acknowledgements come back", () => {
  const { driven, down } = head();
  const link = driven.accept("lines", { client: 5n });
  driven.arriveAll(link, "one\n");
  driven.arriveAll(link, "two\n");
  const first = data("one\n", { client: 5n, base: true });
  const second = data("two\n", { client: 5n, offset: 4, pipelined: true });
  assert(sameBytes(driven.takeWrites(down), joined([first, second])));
  assertEquals(driven.takeText(link), "");
  driven.acknowledge(down, first.length);
  assertEquals(driven.takeText(link), "ok 1\n");
  driven.acknowledge(down, first.length + second.length);
  assertEquals(driven.takeText(link), "ok 2\n");
  assertEquals(driven.core.queuedBytes, 0);
  assertEquals(driven.core.counters.bytesAcknowledged, 60);
});

Deno.test("chain core: frames go on as they came, and each peer gets its own count", () => {
  const { driven, down } = head();
  const [one, two] = [driven.accept("node"), driven.accept("node")];
  driven.takeWrites(one);
  driven.takeWrites(two);
  const a = data("a\n", { client: 1n, offset: 50 });
  const b = data("bb\n", { client: 2n, base: true });
  driven.arriveAll(one, joined([a, a]));
  driven.arriveAll(two, b);
  driven.arriveAll(one, a);
  assert(sameBytes(driven.takeWrites(down), joined([a, a, b, a])));
  driven.acknowledge(down, 2 * a.length + b.length);
  assertEquals(driven.takeAnswers(one).acks, [2 * a.length]);
  assertEquals(driven.takeAnswers(two).acks, [b.length]);
  driven.acknowledge(down, 3 * a.length + b.length);
  assertEquals(driven.takeAnswers(one).acks, [3 * a.length]);
  assertEquals(driven.takeAnswers(two).acks, []);
});

Deno.test("chain core: nothing is sent before the successor has told its route", () => {
  const driven = DrivenCore.started({ targets: TARGETS });
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  const down = driven.connect(0);
  assertEquals(driven.writing(down), undefined);
  driven.arriveAll(down, encodeRoute(toTail("b")));
  assertEquals(driven.takeWrites(down).length, 30);
});

Deno.test("chain core: a new link gets all that was not acknowledged, from its beginning", () => {
  const { driven, down } = head();
  const link = driven.accept("node");
  const frames = ["a\n", "b\n", "c\n"].map((text, i) =>
    data(text, { client: 1n, offset: 2 * i, base: i === 0 })
  );
  for (const frame of frames) driven.arriveAll(link, frame);
  driven.takeWrites(down);
  driven.acknowledge(down, frames[0].length);
  driven.breakLink(down);
  assertEquals(driven.dials.at(-1)?.target, 0);
  const again = driven.connect(0, toTail("b"));
  assert(sameBytes(driven.takeWrites(again), joined(frames.slice(1))));
  // Positions count from where the new link began.
  driven.acknowledge(again, frames[1].length + frames[2].length);
  assertEquals(driven.takeAnswers(link).acks.at(-1), joined(frames).length);
});

Deno.test("chain core: an ack of more than was sent is refused, and acknowledges nothing", () => {
  const { driven, down } = head();
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  driven.takeWrites(down);
  driven.arrive(down, encodeAck(31));
  assertEquals(driven.closed.get(down)?.code, "invalid-message");
  assertEquals(driven.takeText(link), "");
  assertEquals(driven.core.queuedBytes, 30);
  const again = driven.connect(0, toTail("b"));
  assertEquals(driven.takeWrites(again).length, 30);
});

Deno.test("chain core: a successor that sends anything but answers is left", () => {
  const { driven, down } = head();
  driven.arrive(down, encodeFrame(FRAME.chainData, new Uint8Array(30)));
  assertEquals(driven.closed.get(down)?.code, "invalid-message");
  assertEquals(driven.dials.length, 2);
});

// Routes

Deno.test("chain core: those before are told the way, and each change of it", () => {
  const driven = DrivenCore.started({ targets: TARGETS });
  const link = driven.accept("node");
  assertEquals(lastRoute(driven, link), {
    nodes: [routeNode("a")],
    complete: false,
    problem: { code: "link-lost", text: "a is connecting to b:1" },
  });
  const refused = {
    code: "wrong-key",
    text: "a cannot reach b:1: key",
  } as const;
  driven.step({ kind: "unreachable", target: 0, error: refused });
  assertEquals(lastRoute(driven, link)?.problem, refused);
  const down = driven.connect(0, toTail("b", "t"));
  assertEquals(lastRoute(driven, link), toTail("a", "b", "t"));
  driven.arriveAll(down, encodeRoute(toTail("b", "t")));
  assertEquals(lastRoute(driven, link), undefined);
  driven.breakLink(down);
  assertEquals(lastRoute(driven, link), {
    nodes: [routeNode("a")],
    complete: false,
    problem: { code: "link-lost", text: "a lost b:1: connection reset" },
  });
});

Deno.test("chain core: a successor's farewell is the reason that is told", () => {
  const { driven, down } = head();
  const link = driven.accept("client");
  driven.takeAnswers(link);
  driven.arrive(down, encodeError(new WireError("busy", "b is full")));
  assertEquals(driven.closed.has(down), true);
  assertEquals(driven.closed.get(down), undefined);
  assertEquals(lastRoute(driven, link)?.problem, {
    code: "busy",
    text: "a lost b:1: b is full",
  });
});

Deno.test("chain core: attempts to reach a successor are counted, so that the waits can grow", () => {
  const driven = DrivenCore.started({ targets: TARGETS });
  const refused = { code: "link-lost", text: "connection refused" } as const;
  for (let i = 0; i < 3; i++) {
    driven.step({ kind: "unreachable", target: 0, error: refused });
  }
  assertEquals(driven.dials.map(({ attempt }) => attempt), [0, 1, 2, 3]);
  // A node that is full tells its route as well, before it says so.
  driven.breakLink(driven.connect(0, toTail("b")));
  assertEquals(driven.dials.at(-1)?.attempt, 4);
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  const down = driven.connect(0, toTail("b"));
  driven.takeWrites(down);
  driven.acknowledge(down, 30);
  driven.breakLink(down);
  assertEquals(driven.dials.at(-1)?.attempt, 0);
});

// Cycles

Deno.test("chain core: a cycle is named, and nothing is sent into it", () => {
  const driven = DrivenCore.started({ targets: TARGETS });
  const link = driven.accept("client", { client: 5n });
  driven.arriveAll(link, data("one\n", { client: 5n, base: true }));
  const down = driven.connect(0, {
    nodes: [routeNode("b"), routeNode("a")],
    complete: false,
  });
  assertEquals(driven.writing(down), undefined);
  assertEquals(lastRoute(driven, link), {
    nodes: [routeNode("a")],
    complete: false,
    problem: { code: "cycle", text: "The chain is a cycle: a -> b -> a" },
  });
  assert(driven.logged.includes("The chain is not complete"));
  driven.pass(10_000);
  assertEquals(driven.writing(down), undefined);
});

/** A head whose successor has turned out to lead back to it. */
function inCycle(behind: Uint8Array = new Uint8Array(0)) {
  const driven = DrivenCore.started({ targets: TARGETS });
  const link = driven.accept("client", { client: 5n });
  const frame = data("one\n", { client: 5n, base: true });
  driven.arriveAll(link, frame);
  const down = driven.connect(0, { nodes: [routeNode("b")], complete: false });
  assertEquals(driven.takeWrites(down).length, frame.length);
  driven.takeAnswers(link);
  const cycle = { nodes: [routeNode("b"), routeNode("a")], complete: false };
  driven.arrive(down, joined([encodeRoute(cycle), behind]));
  return { driven, link, frame, down, cycle };
}

Deno.test("chain core: a link on which traffic ran into a cycle is not used again", () => {
  const { driven, link, frame, down, cycle } = inCycle();
  assertEquals(driven.closed.has(down), true);
  assertEquals(driven.core.queuedBytes, frame.length);
  assertStringIncludes(`${lastRoute(driven, link)?.problem?.text}`, "cycle");
  assertEquals(driven.dials.length, 2);
  const again = driven.connect(0, cycle);
  assertEquals(driven.writing(again), undefined);
  driven.arriveAll(again, encodeRoute(toTail("b")));
  assert(sameBytes(driven.takeWrites(again), frame));
  driven.acknowledge(again, frame.length);
  assertEquals(driven.takeAnswers(link).acks, [frame.length]);
});

Deno.test("chain core: an ack behind the route that shows a cycle comes too late", () => {
  const { driven, link, frame, down } = inCycle(encodeAck(30));
  assertEquals(driven.closed.has(down), true);
  assertEquals(driven.core.queuedBytes, frame.length);
  assertStringIncludes(`${lastRoute(driven, link)?.problem?.text}`, "cycle");
});

Deno.test("chain core: an ack from a link that carries no traffic is refused", () => {
  const { driven, down } = head({ targets: ["b:1", "c:1"] });
  const link = driven.accept("lines");
  const other = driven.connect(1, toTail("c"));
  driven.arriveAll(link, "one\n");
  driven.takeWrites(down);
  driven.arrive(other, encodeAck(30));
  assertEquals(driven.closed.get(other)?.code, "invalid-message");
  assertEquals(driven.closed.has(down), false);
  assertEquals(driven.core.queuedBytes, 30);
});

// Backpressure

Deno.test("chain core: when the successor does not acknowledge, nobody is read for long", () => {
  const { driven, down } = head({ queueBytesMax: 100_000 });
  const links = Array.from({ length: 20 }, () => driven.accept("lines"));
  const text = new TextEncoder().encode(`${"x".repeat(99)}\n`.repeat(40));
  let taken = 0;
  for (let round = 0; round < 100; round++) {
    for (const link of links) taken += driven.arrive(link, text);
    while (driven.writing(down) !== undefined) driven.written(down);
  }
  assert(links.every((link) => !driven.isReading(link)), "somebody is read");
  // One read of each may come on top.
  assertLess(driven.core.queuedBytes, 100_000 + 20 * 8_192);
  assertLess(taken, 100_000 + 20 * 8_192);
  // A part of it is acknowledged: some are read, the others wait on.
  const first = driven.core.queuedBytes;
  driven.acknowledge(down, first - 50_000);
  assertLess(driven.core.queuedBytes, 100_000);
  assertGreater(links.filter((link) => driven.isReading(link)).length, 0);
  for (const link of links) driven.arrive(link, text);
  assertLess(driven.core.queuedBytes, first + 20 * 8_192);
});

Deno.test("chain core: reading goes on after acknowledgements, for everybody in turn", () => {
  const { driven, down } = head({ queueBytesMax: 1_000 });
  const links = Array.from({ length: 5 }, () => driven.accept("lines"));
  const line = `${"x".repeat(998)}\n`;
  const served = new Map(links.map((link) => [link, 0]));
  let position = 0;
  for (let round = 0; round < 200; round++) {
    for (const link of links) {
      const count = driven.arrive(link, line);
      if (count > 0) served.set(link, (served.get(link) ?? 0) + 1);
      driven.takeWrites(link);
    }
    position += driven.takeWrites(down).length;
    driven.acknowledge(down, position);
  }
  const counts = [...served.values()];
  assertGreater(Math.min(...counts), 0);
  assertLessOrEqual(Math.max(...counts), 2 * Math.min(...counts) + 1);
  assertEquals(driven.core.queuedBytes, 0);
});

Deno.test("chain core: without any successor the queue fills and then nobody is read", () => {
  const driven = DrivenCore.started({ targets: TARGETS, queueBytesMax: 5_000 });
  const link = driven.accept("lines");
  const taken = driven.arrive(link, new Uint8Array(1_000_000).fill(10));
  assertLessOrEqual(taken, 5_000 + 4 * 4_096);
  assertEquals(driven.isReading(link), false);
  driven.pass(120_000);
  assertEquals(driven.closed.size, 0);
});

// Several successors

function two() {
  const driven = DrivenCore.started({
    targets: ["b:1", "c:1"],
    nextTimeoutMs: 1_000,
  });
  const link = driven.accept("client", { client: 5n });
  const frames = Array.from(
    { length: 6 },
    (_, i) => data(`${i}\n`, { client: 5n, offset: 2 * i, base: i === 0 }),
  );
  return { driven, link, frames, bytes: frames[0].length };
}

Deno.test("chain core: another successor gets the traffic when the first is away too long", () => {
  const { driven, link, frames } = two();
  const first = driven.connect(0, toTail("b"));
  const second = driven.connect(1, toTail("c"));
  driven.arriveAll(link, frames[0]);
  driven.takeWrites(first);
  driven.breakLink(first);
  driven.pass(999);
  assertEquals(driven.writing(second), undefined);
  driven.pass(1);
  assert(sameBytes(driven.takeWrites(second), frames[0]));
  assertEquals(driven.core.route, toTail("a", "c"));
  assertEquals(driven.core.switches, 2);
});

Deno.test("chain core: the wait for another successor is not rounded up to a tick", () => {
  const { driven } = two();
  driven.connect(1, toTail("c"));
  driven.nowMs += 900;
  const effects = driven.step({ kind: "tick" });
  const timer = effects.find((effect) => effect.kind === "timer");
  assertEquals(timer, { kind: "timer", afterMs: 100 });
});

Deno.test("chain core: it returns to the first choice once the other has delivered", () => {
  const { driven, link, frames, bytes } = two();
  const second = driven.connect(1, toTail("c"));
  driven.pass(1_000);
  driven.arriveAll(link, joined(frames.slice(0, 2)));
  driven.takeWrites(second);
  const first = driven.connect(0, toTail("b"));
  // What comes now belongs to the first choice already.
  driven.arriveAll(link, frames[2]);
  assertEquals(driven.writing(second), undefined);
  assertEquals(driven.writing(first), undefined);
  driven.acknowledge(second, bytes);
  assertEquals(driven.writing(first), undefined);
  driven.acknowledge(second, 2 * bytes);
  // Nothing is repeated.
  assert(sameBytes(driven.takeWrites(first), frames[2]));
  assertEquals(driven.closed.has(second), true);
  assertEquals(driven.dials.at(-1)?.target, 1);
  driven.acknowledge(first, bytes);
  assertEquals(driven.takeAnswers(link).acks.at(-1), 3 * bytes);
});

Deno.test("chain core: it does not wait for ever to return", () => {
  const { driven, link, frames } = two();
  const second = driven.connect(1, toTail("c"));
  driven.pass(1_000);
  driven.arriveAll(link, frames[0]);
  driven.takeWrites(second);
  const first = driven.connect(0, toTail("b"));
  driven.pass(999);
  assertEquals(driven.writing(first), undefined);
  driven.pass(1_000);
  // What the other has not acknowledged is sent again: the tail drops repeats.
  assert(sameBytes(driven.takeWrites(first), frames[0]));
});

Deno.test("chain core: it stays where it is if the first choice goes again meanwhile", () => {
  const { driven, link, frames, bytes } = two();
  const second = driven.connect(1, toTail("c"));
  driven.pass(1_000);
  driven.arriveAll(link, frames[0]);
  driven.takeWrites(second);
  const first = driven.connect(0, toTail("b"));
  driven.arriveAll(link, frames[1]);
  driven.breakLink(first);
  assert(sameBytes(driven.takeWrites(second), frames[1]));
  driven.acknowledge(second, 2 * bytes);
  assertEquals(driven.takeAnswers(link).acks.at(-1), 2 * bytes);
  assertEquals(driven.closed.has(second), false);
});

// Stopping

Deno.test("chain core: draining ends when all is acknowledged", () => {
  const { driven, down } = head();
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  driven.takeWrites(down);
  const isDrained = () => driven.others.some(({ kind }) => kind === "drained");
  driven.step({ kind: "drain" });
  assertEquals(isDrained(), false);
  const late = driven.accept("lines");
  assertEquals(driven.closed.get(late)?.code, "shutting-down");
  driven.acknowledge(down, 30);
  assertEquals(isDrained(), true);
  assertEquals(driven.takeText(link), "ok 1\n");
});

Deno.test("chain core: a draining node reads no more", () => {
  const { driven, down } = head();
  const link = driven.accept("lines");
  driven.step({ kind: "drain" });
  driven.arrive(link, "one\n"); // This read was under way.
  assertEquals(driven.isReading(link), false);
  assertEquals(driven.takeWrites(down).length, 30);
  assertEquals(driven.isReading(down), true);
});

Deno.test("chain core: draining ends at once with nothing to do, or nobody to do it with", () => {
  const idle = head().driven;
  assertEquals(idle.step({ kind: "drain" }).at(-1), { kind: "drained" });
  const alone = DrivenCore.started({ targets: TARGETS });
  alone.arriveAll(alone.accept("lines"), "one\n");
  assertEquals(alone.step({ kind: "drain" }).at(-1), { kind: "drained" });
});

Deno.test("chain core: a draining tail ends when all is out", () => {
  const driven = DrivenCore.started();
  driven.arriveAll(driven.accept("lines"), "one\n");
  driven.step({ kind: "drain" });
  assertEquals(driven.others, []);
  driven.deliver();
  assertEquals(driven.others[0], { kind: "drained" });
});

// Spool

Deno.test("chain core: with a spool, plain text is closed once it is on disk", () => {
  const { driven, down } = head({ spool: true, ackLines: false });
  const link = driven.accept("lines", { client: 5n });
  driven.arriveAll(link, "one\n");
  driven.arriveAll(link, "two\n");
  driven.end(link);
  assertEquals(driven.closed.size, 0);
  const first = data("one\n", { client: 5n, base: true });
  assertEquals(driven.spool(), { position: 0, frames: first });
  assertEquals(driven.closed.size, 0);
  const second = data("two\n", { client: 5n, offset: 4, pipelined: true });
  assertEquals(driven.spool(), { position: 30, frames: second });
  assertEquals(driven.closed.has(link), true);
  // It did not wait for the disk to send it on.
  assert(sameBytes(driven.takeWrites(down), joined([first, second])));
});

Deno.test("chain core: with a spool and answers, plain text waits for the tail", () => {
  const { driven, down } = head({ spool: true, ackLines: true });
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  driven.end(link);
  driven.spool();
  assertEquals(driven.closed.size, 0);
  driven.takeWrites(down);
  driven.acknowledge(down, 30);
  assertEquals(driven.takeText(link), "ok 1\n");
  assertEquals(driven.closed.has(link), true);
});

Deno.test("chain core: the spool is told what is acknowledged", () => {
  const { driven, down } = head({ spool: true });
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  driven.spool();
  driven.takeWrites(down);
  driven.acknowledge(down, 30);
  const trims = driven.others.filter(({ kind }) => kind === "spool-trim");
  assertEquals(trims, [{ kind: "spool-trim", position: 30 }]);
});

Deno.test("chain core: what is acknowledged before it is spooled is not spooled any more", () => {
  const { driven, down } = head({ spool: true });
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  driven.arriveAll(link, "two\n");
  driven.arriveAll(driven.accept("lines"), "three\n");
  driven.takeWrites(down);
  driven.acknowledge(down, 60);
  assertEquals(driven.core.spooled.position, 30);
  assertEquals(driven.spool().position, 0);
  const rest = driven.spool();
  assertEquals([rest.position, rest.frames.length], [60, 32]);
  assertEquals(driven.isSpooling, false);
});

Deno.test("chain core: what was in the spool is sent first", () => {
  const driven = new DrivenCore({ targets: TARGETS, spool: true });
  const frames = joined([
    data("one\n", { client: 1n, offset: 900 }),
    data("two\n", { client: 2n, base: true }),
  ]);
  driven.step({ kind: "start", frames: [frames], clients: [] });
  assertEquals(driven.isSpooling, false);
  const down = driven.connect(0, toTail("b"));
  const link = driven.accept("lines", { client: 5n });
  driven.arriveAll(link, "three\n");
  const fresh = data("three\n", { client: 5n, base: true });
  assertEquals(driven.spool(), { position: 60, frames: fresh });
  assert(sameBytes(driven.takeWrites(down), joined([frames, fresh])));
  driven.acknowledge(down, 92);
  assertEquals(driven.core.queuedBytes, 0);
});

Deno.test("chain core: with a spool, draining needs no successor but waits for the disk", () => {
  const driven = DrivenCore.started({ targets: TARGETS, spool: true });
  driven.arriveAll(driven.accept("lines"), "one\n");
  driven.step({ kind: "drain" });
  assertEquals(driven.others, []);
  driven.spool();
  assertEquals(driven.others.at(-1), { kind: "drained" });
});

// For `--print`

Deno.test("chain core: who wants to hear of it is told once what was handed on", () => {
  const { driven, down } = head({ narrate: true });
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\ntwo\n");
  driven.takeWrites(down);
  driven.breakLink(down);
  const again = driven.connect(0, toTail("b"));
  driven.takeWrites(again);
  driven.arriveAll(link, "three\n");
  driven.takeWrites(again);
  assertEquals(driven.others.filter(({ kind }) => kind === "forwarded"), [
    { kind: "forwarded", to: "b:1", messages: 2 },
    { kind: "forwarded", to: "b:1", messages: 1 },
  ]);
});
