import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  CLIENTS_REMEMBERED_MAX,
  Delivery,
} from "../../../nodes/chain/delivery.ts";
import { bytesOf, textOf } from "../../protocol/splits.ts";

/** Takes a text of client 1 and says what of it is new. */
function take(
  delivery: Delivery,
  offset: number,
  text: string,
  from: { client?: bigint; base?: boolean; link?: number; nowMs?: number } = {},
): string {
  const { client = 1n, base = false, link = 1, nowMs = 0 } = from;
  const head = { client, offset, messages: 1, base, pipelined: false };
  return textOf(delivery.take(head, bytesOf(text), { link, nowMs }));
}

Deno.test("delivery: what follows is new, what was there is a repeat", () => {
  const delivery = new Delivery();
  assertEquals(take(delivery, 0, "a\nb\n"), "a\nb\n");
  assertEquals(take(delivery, 4, "c\n"), "c\n");
  assertEquals(take(delivery, 0, "a\nb\n"), "");
  assertEquals(take(delivery, 4, "c\n"), "");
  assertEquals([delivery.repeatedBytes, delivery.gaps], [6, 0]);
  assertEquals(delivery.endOf(1n), 6);
});

Deno.test("delivery: of what is partly known only the rest is new", () => {
  const delivery = new Delivery();
  take(delivery, 0, "a\nb\n");
  assertEquals(take(delivery, 2, "b\nc\n"), "c\n");
  assertEquals(take(delivery, 0, "a\nb\nc\nd\n"), "d\n");
  assertEquals(delivery.repeatedBytes, 8);
  assertEquals(delivery.endOf(1n), 8);
});

Deno.test("delivery: clients are told apart", () => {
  const delivery = new Delivery();
  assertEquals(take(delivery, 0, "a\n"), "a\n");
  assertEquals(take(delivery, 0, "a\n", { client: 2n }), "a\n");
  assertEquals(delivery.entries(), [[1n, 2], [2n, 2]]);
  assertEquals(delivery.endOf(3n), 0);
});

Deno.test("delivery: a client may begin anywhere", () => {
  const delivery = new Delivery();
  assertEquals(take(delivery, 900, "a\n"), "a\n");
  assertEquals([delivery.gaps, delivery.endOf(1n)], [0, 902]);
});

Deno.test("delivery: a gap within one link is counted, across links it is not", () => {
  const delivery = new Delivery();
  take(delivery, 0, "a\n");
  assertEquals(take(delivery, 3, "b\n"), "b\n");
  assertEquals(delivery.gaps, 1);
  // All before the base was acknowledged, to somebody.
  assertEquals(take(delivery, 100, "c\n", { base: true }), "c\n");
  assertEquals(take(delivery, 200, "d\n", { link: 2 }), "d\n");
  assertEquals(delivery.gaps, 1);
  take(delivery, 300, "e\n", { link: 2 });
  assertEquals(delivery.gaps, 2);
});

Deno.test("delivery: what was restored is a repeat", () => {
  const delivery = new Delivery();
  delivery.restore(1n, 4);
  assertEquals(take(delivery, 0, "a\nb\n"), "");
  assertEquals(take(delivery, 4, "c\n"), "c\n");
  assertEquals([delivery.size, delivery.gaps], [1, 0]);
});

Deno.test("delivery: at its bound it forgets who was silent for longest", () => {
  const delivery = new Delivery(3);
  for (const client of [1n, 2n, 3n]) take(delivery, 0, "a\n", { client });
  take(delivery, 2, "b\n", { client: 1n, nowMs: 5_000 });
  take(delivery, 0, "a\n", { client: 4n, nowMs: 6_000 });
  assertEquals(delivery.size, 3);
  assertEquals(delivery.entries().map(([client]) => client), [3n, 1n, 4n]);
  // The forgotten one begins anew; the others are known.
  assertEquals(take(delivery, 0, "a\n", { client: 2n }), "a\n");
  assertEquals(take(delivery, 0, "a\nb\n", { client: 1n }), "");
});

Deno.test("delivery: restoring more than it remembers keeps the newest", () => {
  const delivery = new Delivery(2);
  for (const client of [1n, 2n, 3n]) delivery.restore(client, 10);
  assertEquals(delivery.entries(), [[2n, 10], [3n, 10]]);
  assertEquals(CLIENTS_REMEMBERED_MAX, 100_000);
});

Deno.test("delivery: whatever is repeated, each byte is new once, in order", () => {
  const piece = fc.record({
    from: fc.nat(30),
    length: fc.integer({ min: 1, max: 10 }),
    link: fc.nat(3),
  });
  fc.assert(fc.property(fc.array(piece), (pieces) => {
    const delivery = new Delivery();
    const stream = Array.from({ length: 50 }, (_, i) => `${i}\n`);
    const starts = stream.map((_, i) => stream.slice(0, i).join("").length);
    let next = 0;
    let out = "";
    let repeated = 0;
    for (const { from, length, link } of pieces) {
      // An honest sender leaves no gap: it repeats from what is unacknowledged.
      const first = Math.min(from, next);
      const lines = stream.slice(first, first + length);
      const fresh = take(delivery, starts[first], lines.join(""), { link });
      out += fresh;
      repeated += lines.join("").length - fresh.length;
      next = Math.max(next, first + lines.length);
    }
    assertEquals(out, stream.slice(0, next).join(""));
    assertEquals([delivery.repeatedBytes, delivery.gaps], [repeated, 0]);
    assert(delivery.size <= 1);
  }));
});
