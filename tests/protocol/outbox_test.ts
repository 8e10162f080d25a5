import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { BLOCK_BYTES } from "../../protocol/byte_queue.ts";
import { Outbox } from "../../protocol/outbox.ts";
import { Random } from "../sim/random.ts";
import { joined, sameBytes } from "./splits.ts";

const NOISE = new Random(2).bytes(4 * BLOCK_BYTES);

/** Segments of one source grow up to this while they are unsent. */
const SEGMENT_BYTES = 65_536;

type Command =
  /** So many bytes of a source come in, and are sealed. */
  | { readonly kind: "take"; readonly source: number; readonly length: number }
  | { readonly kind: "link-up" }
  | { readonly kind: "write" }
  | { readonly kind: "written" }
  | { readonly kind: "link-down" }
  /** The peer acknowledges this part of what it was given, in thousandths. */
  | { readonly kind: "acknowledge"; readonly part: number };

const length = fc.oneof(
  fc.integer({ min: 1, max: 50 }),
  fc.integer({ min: 1, max: 20_000 }),
  fc.constantFrom(SEGMENT_BYTES, BLOCK_BYTES, BLOCK_BYTES + 1),
);
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("take" as const),
        source: fc.nat(2),
        length,
      }),
    },
    { weight: 1, arbitrary: only("link-up") },
    { weight: 5, arbitrary: only("write") },
    { weight: 5, arbitrary: only("written") },
    { weight: 1, arbitrary: only("link-down") },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("acknowledge" as const),
        part: fc.oneof(fc.nat(1_000), fc.constant(1_000)),
      }),
    },
  ),
  { maxLength: 80, size: "max" },
);

function only<Kind extends string>(kind: Kind): fc.Arbitrary<{ kind: Kind }> {
  return fc.record({ kind: fc.constant(kind) });
}

/** Where something was sealed. */
interface Seal {
  readonly end: number;
  readonly source: number;
  readonly sourceEnd: number;
  /** Whether the next seal may have been joined to it. */
  mayJoin: boolean;
}

/** An outbox beside a plain array of bytes and a list of all seals. */
class Pair {
  readonly outbox = new Outbox<number>(1_000_000);
  #all: Uint8Array<ArrayBufferLike> = new Uint8Array(0);
  readonly #seals: Seal[] = [];
  readonly #taken = [0, 0, 0];
  readonly #acknowledged = [0, 0, 0];
  #start = 0;
  /** Positions of this link: where it began, what is written, what is in writing. */
  #link: { base: number; sent: number } | undefined;
  #writing: Uint8Array | undefined;
  readonly #held: { readonly view: Uint8Array; readonly copy: Uint8Array }[] =
    [];

  take(command: Command): void {
    switch (command.kind) {
      case "take":
        this.#take(command.source, command.length);
        break;
      case "link-up":
        if (this.#link !== undefined) this.#linkDown();
        this.outbox.linkUp();
        this.#link = { base: this.#start, sent: this.#start };
        break;
      case "write":
        this.#write();
        break;
      case "written":
        this.#written();
        break;
      case "link-down":
        this.#linkDown();
        break;
      case "acknowledge":
        this.#acknowledge(command.part);
        break;
    }
    this.#check();
  }

  #take(source: number, length: number): void {
    const from = this.#all.length % (NOISE.length - BLOCK_BYTES - 1);
    const bytes = NOISE.subarray(from, from + length);
    this.#all = joined([this.#all, bytes]);
    this.outbox.queue.append(bytes);
    this.#taken[source] += length;
    const last = this.#seals.at(-1);
    if (last !== undefined) {
      // Only unsent neighbours of one source may grow together.
      const start = this.#seals.at(-2)?.end ?? 0;
      last.mayJoin = last.source === source && start >= this.#given;
    }
    const end = this.#all.length;
    const sourceEnd = this.#taken[source];
    this.#seals.push({ end, source, sourceEnd, mayJoin: false });
    this.outbox.seal(source, sourceEnd);
  }

  #write(): void {
    if (this.#link === undefined) return;
    const bytes = this.outbox.nextWrite();
    const { sent } = this.#link;
    if (this.#writing !== undefined || sent === this.#all.length) {
      assertEquals(bytes, undefined);
      return;
    }
    assert(bytes !== undefined && bytes.length > 0, "nothing to write");
    assert(
      sameBytes(bytes, this.#all.subarray(sent, sent + bytes.length)),
      "other bytes are sent than were appended",
    );
    this.#writing = bytes;
  }

  #written(): void {
    if (this.#link === undefined || this.#writing === undefined) return;
    this.outbox.written();
    this.#link.sent += this.#writing.length;
    this.#writing = undefined;
  }

  #linkDown(): void {
    if (this.#link === undefined) return;
    const view = this.#writing;
    if (view !== undefined && this.#given > this.#start) {
      this.#held.push({ view, copy: view.slice() });
    }
    this.outbox.linkDown();
    this.#writing = undefined;
    this.#link = undefined;
  }

  #acknowledge(part: number): void {
    if (this.#link === undefined) return;
    const { base } = this.#link;
    const position = Math.floor((this.#given - base) * part / 1_000);
    const done = this.outbox.acknowledge(position);
    for (const { source, end } of done) {
      assert(end > this.#acknowledged[source], "it went back");
      this.#acknowledged[source] = end;
    }
    const { start } = this.outbox.queue;
    assert(start <= Math.max(this.#start, base + position), "too much went");
    // No segment that must stand on its own is kept though it is covered.
    const covered = this.#seals.findLast((seal) =>
      !seal.mayJoin && seal.end <= base + position
    );
    assert(start >= (covered?.end ?? 0), "a covered segment was kept");
    this.#start = start;
  }

  /** Position after what this link was given, the write under way included. */
  get #given(): number {
    return (this.#link?.sent ?? this.#start) + (this.#writing?.length ?? 0);
  }

  #check(): void {
    const { outbox } = this;
    const { queue } = outbox;
    assertEquals([queue.start, queue.end], [this.#start, this.#all.length]);
    assertEquals(outbox.isEmpty, this.#start === this.#all.length);
    if (this.#link !== undefined) {
      assertEquals(outbox.sent, this.#link.sent);
      assertEquals(outbox.sessionBytes, this.#given - this.#link.base);
    }
    const last = this.#seals.findLast((seal) => seal.end === this.#start);
    assert(this.#start === 0 || last !== undefined, "part of a segment went");
    for (const [source, end] of this.#acknowledged.entries()) {
      const done = this.#seals.findLast((seal) =>
        seal.source === source && seal.end <= this.#start
      );
      assertEquals(end, done?.sourceEnd ?? 0, "progress of a source");
    }
    const kept = joined(queue.views(queue.start, queue.end));
    assert(sameBytes(kept, this.#all.subarray(this.#start)), "kept bytes");
    // What the peer has acknowledged it has: the write of it is over.
    if (this.#writing !== undefined && this.#given > this.#start) {
      const from = this.#given - this.#writing.length;
      const bytes = this.#all.subarray(from, this.#given);
      assert(sameBytes(this.#writing, bytes), "a write under way has changed");
    }
    for (const { view, copy } of this.#held) {
      assert(sameBytes(view, copy), "a write cut off has changed");
    }
  }
}

Deno.test("outbox: whatever happens to its links, nothing unacknowledged goes", () => {
  fc.assert(
    fc.property(commands, (list) => {
      const pair = new Pair();
      pair.take({ kind: "link-up" });
      for (const command of list) pair.take(command);
      // In the end a good link takes all that is left, and all is acknowledged.
      pair.take({ kind: "link-up" });
      while (pair.outbox.sent < pair.outbox.queue.end) {
        pair.take({ kind: "write" });
        pair.take({ kind: "written" });
      }
      pair.take({ kind: "acknowledge", part: 1_000 });
      assertEquals(pair.outbox.isEmpty, true);
    }),
    { numRuns: 150 },
  );
});

/** An outbox with a link, and these segments in it. */
function filled(segments: readonly [source: string, length: number][]) {
  const outbox = new Outbox<string>(100_000);
  const taken = new Map<string, number>();
  outbox.linkUp();
  for (const [source, length] of segments) {
    outbox.queue.append(new Uint8Array(length));
    const end = (taken.get(source) ?? 0) + length;
    taken.set(source, end);
    outbox.seal(source, end);
  }
  return outbox;
}

function write(outbox: Outbox<string>): number {
  const bytes = outbox.nextWrite();
  outbox.written();
  return bytes?.length ?? 0;
}

Deno.test("outbox: only whole segments are acknowledged, in order", () => {
  const outbox = filled([["a", 10], ["b", 5], ["a", 7]]);
  assertEquals(write(outbox), 22);
  assertEquals(outbox.acknowledge(9), []);
  assertEquals(outbox.acknowledge(14), [{ source: "a", end: 10 }]);
  assertEquals(outbox.queue.start, 10);
  assertEquals(outbox.acknowledge(14), []);
  assertEquals(outbox.acknowledge(3), []);
  assertEquals(outbox.acknowledge(22), [
    { source: "b", end: 5 },
    { source: "a", end: 17 },
  ]);
  assertEquals(outbox.isEmpty, true);
});

Deno.test("outbox: a new link begins with the oldest unacknowledged byte", () => {
  const outbox = filled([["a", 10], ["b", 5], ["a", 7]]);
  write(outbox);
  outbox.acknowledge(12);
  outbox.linkDown();
  outbox.linkUp();
  assertEquals([outbox.sent, outbox.sessionBytes], [10, 0]);
  assertEquals(write(outbox), 12);
  assertEquals([outbox.sent, outbox.sessionBytes], [22, 12]);
  // Positions count from where this link began.
  assertEquals(outbox.acknowledge(5), [{ source: "b", end: 5 }]);
  assertEquals(outbox.acknowledge(12), [{ source: "a", end: 17 }]);
});

Deno.test("outbox: one write at a time, and it counts for acknowledgements", () => {
  const outbox = filled([["a", 10]]);
  assertEquals(outbox.nextWrite()?.length, 10);
  assertEquals(outbox.nextWrite(), undefined);
  assertEquals([outbox.sent, outbox.sessionBytes], [0, 10]);
  // The peer may answer before the host reports that it has written.
  assertEquals(outbox.acknowledge(10), [{ source: "a", end: 10 }]);
  outbox.written();
  assertEquals([outbox.sent, outbox.isEmpty], [10, true]);
  assertEquals(outbox.nextWrite(), undefined);
});

Deno.test("outbox: a write may stop at the end of an earlier append", () => {
  const outbox = filled([["a", 10], ["b", 5]]);
  assertEquals(outbox.nextWrite(10)?.length, 10);
  outbox.written();
  assertEquals(outbox.nextWrite(10), undefined);
  assertEquals(outbox.nextWrite()?.length, 5);
});

Deno.test("outbox: what a source counts in is known of every place sent to", () => {
  const outbox = filled([["a", 10], ["b", 5], ["a", 7]]);
  assertEquals(
    [0, 9, 10, 14, 15, 21, 22, 99].map((at) => outbox.sourceEndAt(at)),
    [undefined, undefined, 10, 10, 5, 5, 17, 17],
  );
});

Deno.test("outbox: tiny unsent segments of one source are joined, others are not", () => {
  const tiny: [string, number][] = Array.from(
    { length: 5_000 },
    () => ["a", 30],
  );
  const outbox = filled(tiny);
  write(outbox);
  // Two segments and what fits into 64 KiB each after them.
  const reports = outbox.acknowledge(150_000);
  assertEquals(reports.at(-1), { source: "a", end: 150_000 });
  assert(reports.length < 10, `${reports.length} segments`);
  const mixed = filled([["a", 1], ["b", 1], ["a", 1], ["b", 1]]);
  write(mixed);
  assertEquals(mixed.acknowledge(4).length, 4);
});

Deno.test("outbox: what is sent already is not joined to what comes later", () => {
  const outbox = filled([["a", 10], ["a", 10]]);
  write(outbox);
  outbox.queue.append(new Uint8Array(10));
  outbox.seal("a", 30);
  assertEquals(outbox.acknowledge(20), [
    { source: "a", end: 10 },
    { source: "a", end: 20 },
  ]);
});

Deno.test("outbox: a write cut off keeps its bytes while others take the place", () => {
  const outbox = new Outbox<string>(3 * BLOCK_BYTES);
  outbox.linkUp();
  outbox.queue.append(NOISE.subarray(0, BLOCK_BYTES));
  outbox.seal("a", BLOCK_BYTES);
  const cut = outbox.nextWrite();
  assert(cut !== undefined);
  const copy = cut.slice();
  outbox.linkDown();
  outbox.linkUp();
  assertStrictEquals(outbox.nextWrite()?.buffer, cut.buffer);
  outbox.written();
  outbox.acknowledge(BLOCK_BYTES);
  for (let round = 0; round < 10; round++) {
    outbox.queue.append(new Uint8Array(BLOCK_BYTES).fill(round));
    outbox.seal("a", (round + 2) * BLOCK_BYTES);
    outbox.acknowledgeTo(outbox.queue.end);
    assert(sameBytes(cut, copy), `changed in round ${round}`);
  }
});

Deno.test("outbox: many thousand segments are acknowledged and forgotten", () => {
  const outbox = new Outbox<number>(10_000_000);
  outbox.linkUp();
  for (let i = 0; i < 20_000; i++) {
    outbox.queue.append(new Uint8Array(3));
    outbox.seal(i % 2, i);
    if (i % 7 !== 0) continue;
    outbox.nextWrite();
    outbox.written();
    const done = outbox.acknowledge(3 * (i - 10));
    if (i > 20) assertEquals(done.at(-1)?.end, i - 11);
  }
  assertEquals(outbox.acknowledgeTo(60_000).at(-1), { source: 1, end: 19_999 });
});
