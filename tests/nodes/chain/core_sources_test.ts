import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertStringIncludes,
} from "@std/assert";
import {
  HALF_MESSAGE_WAIT_MS,
  INPUT_BYTES_MAX,
  PREDECESSORS_MAX,
  SOURCES_MAX,
  STALLED_WRITE_WAIT_MS,
} from "../../../nodes/chain/core.ts";
import type { LinkId } from "../../../protocol/core.ts";
import { type WireCode, WireError } from "../../../protocol/errors.ts";
import { encodeError } from "../../../protocol/handshake.ts";
import { bytesOf, joined } from "../../protocol/splits.ts";
import { data, DrivenCore, routeNode } from "./driven_core.ts";

function assertClosed(
  driven: DrivenCore,
  link: LinkId,
  code: WireCode,
  words = "",
): void {
  assert(driven.closed.has(link), `link ${link} is open`);
  const error = driven.closed.get(link);
  assertEquals(error?.code, code);
  assertStringIncludes(`${error?.message}`, words);
}

// Time

for (const from of ["lines", "client", "node"] as const) {
  Deno.test(`chain core: half a message of ${from}, then silence, ends that link`, () => {
    const driven = DrivenCore.started();
    const link = driven.accept(from, { client: 5n });
    driven.takeWrites(link);
    const other = driven.accept("lines");
    const half = from === "lines"
      ? bytesOf("hel")
      : data("hello\n", { client: 5n, base: true }).subarray(0, 30);
    driven.arriveAll(link, half);
    driven.pass(HALF_MESSAGE_WAIT_MS - 1);
    assertEquals(driven.closed.size, 0);
    driven.pass(1);
    assertClosed(driven, link, "timeout", `${HALF_MESSAGE_WAIT_MS} ms`);
    assertEquals(driven.closed.has(other), false);
    assertEquals(driven.core.counters.linksRefused, 1);
    assertEquals(driven.isDelivering, false);
  });
}

Deno.test("chain core: half a message is not timed from where the one before began", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("lines");
  driven.arriveAll(link, "on");
  driven.pass(HALF_MESSAGE_WAIT_MS - 1_000);
  driven.arriveAll(link, "e\ntw");
  driven.pass(HALF_MESSAGE_WAIT_MS - 1);
  driven.arriveAll(link, "o\n");
  driven.pass(10 * HALF_MESSAGE_WAIT_MS);
  assertEquals(driven.closed.size, 0);
});

Deno.test("chain core: half a message may wait while we are the ones who do not read", () => {
  const driven = DrivenCore.started({ queueBytesMax: 10, ackLines: false });
  const slow = driven.accept("lines");
  driven.arriveAll(slow, "0123456789\nhalf a mess");
  assertEquals(driven.isReading(slow), false);
  driven.pass(3 * HALF_MESSAGE_WAIT_MS);
  assertEquals(driven.closed.size, 0);
  // As soon as it is read again it has as long as anybody.
  driven.deliver();
  assertEquals(driven.isReading(slow), true);
  driven.pass(HALF_MESSAGE_WAIT_MS - 1_000);
  assertEquals(driven.closed.size, 0);
  driven.pass(1_000);
  assertClosed(driven, slow, "timeout");
});

Deno.test("chain core: answers that stay unread end the link", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  driven.deliver();
  assert(driven.writing(link) !== undefined);
  driven.pass(STALLED_WRITE_WAIT_MS - 1);
  assertEquals(driven.closed.size, 0);
  driven.pass(1);
  assertClosed(driven, link, "timeout", `${STALLED_WRITE_WAIT_MS} ms`);
});

Deno.test("chain core: answers that are read in time do not", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("lines");
  for (let round = 0; round < 5; round++) {
    driven.arriveAll(link, "one\n");
    driven.deliver();
    driven.pass(STALLED_WRITE_WAIT_MS - 1);
    driven.written(link);
  }
  driven.pass(5 * STALLED_WRITE_WAIT_MS);
  assertEquals(driven.closed.size, 0);
});

// Bounds

Deno.test("chain core: one connection more than its bound is refused as busy", () => {
  const driven = DrivenCore.started();
  const links = Array.from(
    { length: SOURCES_MAX },
    () => driven.accept("lines"),
  );
  assertEquals([driven.closed.size, driven.core.sourceCount], [0, SOURCES_MAX]);
  const refused = driven.accept("lines");
  assertClosed(driven, refused, "busy", `limit is ${SOURCES_MAX}`);
  assertEquals(driven.core.sourceCount, SOURCES_MAX);
  driven.arriveAll(links[0], "still here\n");
  assertEquals(driven.deliver().text, "still here\n");
  driven.breakLink(links[1]);
  const next = driven.accept("lines");
  assertEquals(driven.closed.has(next), false);
});

Deno.test("chain core: nodes before it are bounded by themselves", () => {
  const driven = DrivenCore.started();
  const links = Array.from(
    { length: PREDECESSORS_MAX },
    () => driven.accept("node"),
  );
  const refused = driven.accept("node");
  assertClosed(driven, refused, "busy", `limit is ${PREDECESSORS_MAX}`);
  assertEquals(driven.closed.has(driven.accept("client")), false);
  driven.breakLink(links[0]);
  assertEquals(driven.closed.has(driven.accept("node")), false);
});

Deno.test("chain core: a thousand idle connections cost little, and are given back", () => {
  const driven = DrivenCore.started();
  const links = Array.from({ length: 1_000 }, () => driven.accept("lines"));
  assertLessOrEqual(driven.core.inputBytes, 1_000 * 4_096);
  for (const link of links) driven.breakLink(link);
  assertEquals([driven.core.inputBytes, driven.core.sourceCount], [0, 0]);
});

Deno.test("chain core: long lines of everybody do not take more memory than there is", () => {
  const driven = DrivenCore.started();
  const long = new Uint8Array(60_000).fill(97);
  const links = Array.from({ length: 600 }, () => driven.accept("lines"));
  for (const link of links) {
    driven.arrive(link, long);
    assertLessOrEqual(driven.core.inputBytes, INPUT_BYTES_MAX);
  }
  const refused = [...driven.closed.values()].map((error) => error?.code);
  assert(refused.every((code) => code === "busy"), `${refused}`);
  // Many are served; whoever has kept half a line for longest makes room.
  assertLessOrEqual(refused.length, 450);
  assertEquals(driven.closed.has(links[0]), true);
  assertEquals(driven.closed.has(links[599]), false);
});

Deno.test("chain core: who never reads is read no more, and costs nobody else", () => {
  const driven = DrivenCore.started();
  const stubborn = driven.accept("lines");
  const other = driven.accept("lines");
  let taken = 0;
  for (let round = 0; round < 5_000; round++) {
    taken += driven.arrive(stubborn, "x\n");
    if (driven.isDelivering) driven.deliver();
  }
  assertEquals(driven.isReading(stubborn), false);
  assertLessOrEqual(taken, 10_000 - 2);
  driven.arriveAll(other, "hello\n");
  assertEquals(driven.deliver().text, "hello\n");
  assertEquals(driven.takeText(other), "ok 1\n");
  // Once it reads after all, it has every answer and is read again.
  const answers = driven.takeText(stubborn).trimEnd().split("\n");
  assertEquals(answers.length, taken / 2);
  assertEquals(driven.isReading(stubborn), true);
});

// Mistakes

Deno.test("chain core: a peer's mistake ends its own link only, and says why", () => {
  const driven = DrivenCore.started();
  const good = driven.accept("client", { client: 7n });
  const bad = driven.accept("client", { client: 8n });
  driven.arriveAll(good, data("one\n", { client: 7n, base: true }));
  driven.arrive(bad, data("two\n", { client: 9n, base: true }));
  assertClosed(driven, bad, "invalid-message", "id of another client");
  driven.arriveAll(good, data("three\n", { client: 7n, offset: 4 }));
  assertEquals(driven.deliver().text, "one\n");
  assertEquals(driven.deliver().text, "three\n");
  assert(driven.logged.some((text) => text.includes("Closing peer 2")));
});

Deno.test("chain core: a peer that says farewell is closed without an answer", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("node");
  const bye = encodeError(new WireError("shutting-down", "n0 is stopping"));
  driven.arrive(link, bye);
  assertEquals(driven.closed.has(link), true);
  assertEquals(driven.closed.get(link), undefined);
});

Deno.test("chain core: refused lines are counted and answered, their neighbours delivered", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("lines");
  driven.arriveAll(
    link,
    joined([bytesOf("one\n"), Uint8Array.of(0xff, 10), bytesOf("two\n")]),
  );
  let text = "";
  while (driven.isDelivering) text += driven.deliver().text;
  assertEquals(text, "one\ntwo\n");
  assertEquals(
    driven.takeText(link),
    "error 2 invalid-utf8 Cannot take text: it is not UTF-8\nok 1\nok 3\n",
  );
  assertEquals(driven.core.counters.linesRefused, 1);
});

// The tail

Deno.test("chain core: the tail acknowledges what it has put out, and nothing before", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("node");
  assertEquals(driven.takeAnswers(link).routes, [
    { nodes: [routeNode("a")], complete: true },
  ]);
  const first = data("one\n", { client: 1n, base: true });
  const second = data("two\n", { client: 1n, offset: 4 });
  driven.arriveAll(link, first);
  driven.arriveAll(link, second);
  assertEquals(driven.takeAnswers(link).acks, []);
  assertEquals(driven.deliver().text, "one\n");
  assertEquals(driven.takeAnswers(link).acks, [first.length]);
  assertEquals(driven.deliver().text, "two\n");
  assertEquals(driven.takeAnswers(link).acks, [first.length + second.length]);
  assertEquals(driven.core.queuedBytes, 0);
});

Deno.test("chain core: the tail lets acknowledgements wait that nobody waits for", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("node");
  driven.takeAnswers(link);
  const send = (text: string, offset: number, pipelined: boolean) => {
    driven.arriveAll(link, data(text, { client: 1n, offset, pipelined }));
    driven.deliver();
    return driven.takeAnswers(link).acks;
  };
  assertEquals(send("a\n", 0, false), [28]);
  assertEquals(send("b\n", 2, true), []);
  assertEquals(send("c\n", 4, true), []);
  driven.step({ kind: "ack-tick" });
  assertEquals(driven.takeAnswers(link).acks, [3 * 28]);
  // Somebody who waits takes along what had to wait.
  assertEquals(send("d\n", 6, true), []);
  assertEquals(send("e\n", 8, false).at(-1), 5 * 28);
  // After a pause the next one goes at once.
  driven.pass(2);
  assertEquals(send("f\n", 10, true), [6 * 28]);
});

Deno.test("chain core: the tail acknowledges repeats, though it puts nothing out", () => {
  const driven = DrivenCore.started();
  const old = driven.accept("node");
  const frame = data("one\n", { client: 1n, base: true });
  driven.arriveAll(old, frame);
  driven.deliver();
  driven.breakLink(old);
  const link = driven.accept("node");
  driven.takeAnswers(link);
  driven.arriveAll(link, joined([frame, frame]));
  assertEquals(driven.isDelivering, false);
  assertEquals(driven.takeAnswers(link).acks, [2 * frame.length]);
  assertEquals(driven.core.delivery.repeatedBytes, 8);
});

Deno.test("chain core: repeats of what is still on its way out wait for it", () => {
  const driven = DrivenCore.started();
  const first = driven.accept("node");
  const second = driven.accept("node");
  driven.takeAnswers(second);
  const frame = data("one\n", { client: 1n, base: true });
  driven.arriveAll(first, frame);
  driven.arriveAll(second, frame);
  assertEquals(driven.takeAnswers(second).acks, []);
  assertEquals(driven.deliver().text, "one\n");
  assertEquals(driven.takeAnswers(second).acks, [frame.length]);
  assertEquals(driven.isDelivering, false);
});

Deno.test("chain core: what a lost connection has brought is delivered all the same", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("lines");
  const other = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  driven.arriveAll(link, "two\n");
  driven.breakLink(link);
  driven.arriveAll(other, "three\n");
  let text = "";
  while (driven.isDelivering) text += driven.deliver().text;
  assertEquals(text, "one\ntwo\nthree\n");
  assertEquals(driven.core.queuedBytes, 0);
});

Deno.test("chain core: a durable tail says how far each client has come", () => {
  const driven = DrivenCore.started({ spool: true });
  const link = driven.accept("node");
  driven.arriveAll(link, data("one\n", { client: 1n, base: true }));
  driven.arriveAll(
    link,
    joined([
      data("two\n", { client: 1n, offset: 4 }),
      data("zwei\n", { client: 2n, offset: 900, base: true }),
    ]),
  );
  assertEquals(driven.deliver(), { text: "one\n", clients: [[1n, 4]] });
  assertEquals(driven.deliver(), {
    text: "two\nzwei\n",
    clients: [[1n, 8], [2n, 905]],
  });
});

Deno.test("chain core: a restarted tail knows what it had delivered", () => {
  const driven = new DrivenCore({ spool: true });
  driven.step({ kind: "start", frames: [], clients: [[1n, 4]] });
  const link = driven.accept("node");
  driven.takeAnswers(link);
  driven.arriveAll(link, data("one\ntwo\n", { client: 1n, base: true }));
  assertEquals(driven.deliver(), { text: "two\n", clients: [[1n, 8]] });
});

// The end of plain text

Deno.test("chain core: plain text is closed once all of it is delivered and answered", () => {
  const driven = DrivenCore.started();
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\ntwo");
  driven.end(link);
  assertEquals(driven.closed.size, 0);
  driven.deliver();
  assertEquals(driven.closed.size, 0);
  driven.deliver();
  assertEquals(driven.takeText(link), "ok 1\nok 2\n");
  assertEquals(driven.closed.has(link), true);
  assertEquals(driven.closed.get(link), undefined);
});

Deno.test("chain core: plain text without answers is closed once it is delivered", () => {
  const driven = DrivenCore.started({ ackLines: false });
  const link = driven.accept("lines");
  driven.arriveAll(link, "one\n");
  driven.end(link);
  assertEquals(driven.closed.size, 0);
  driven.deliver();
  assertEquals(driven.closed.has(link), true);
});

Deno.test("chain core: a connection that brought nothing is closed at its end", () => {
  for (const from of ["lines", "client", "node"] as const) {
    const driven = DrivenCore.started();
    const link = driven.accept(from);
    driven.takeWrites(link);
    driven.end(link);
    assertEquals(driven.closed.has(link), true, from);
  }
});

// For `--print`

Deno.test("chain core: who wants to hear of it is told what came in, repeats left out", () => {
  const driven = DrivenCore.started({ narrate: true });
  const link = driven.accept("node");
  const frame = data("one\n", { client: 1n, base: true });
  driven.arriveAll(link, frame);
  driven.arriveAll(link, frame);
  assertEquals(driven.others.filter(({ kind }) => kind === "received"), [
    {
      kind: "received",
      label: "peer 1",
      messages: 1,
      text: bytesOf("one\n"),
    },
  ]);
});
