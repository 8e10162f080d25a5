import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { BLOCK_BYTES, ByteQueue } from "../../protocol/byte_queue.ts";
import { Random } from "../sim/random.ts";
import { joined, sameBytes } from "./splits.ts";

const BYTES_MAX = 4 * BLOCK_BYTES;

/** Bytes to append, from any place on: no two blocks hold the same. */
const NOISE = new Random(1).bytes(8 * BLOCK_BYTES);

/** What is done to a queue; places are taken modulo what is there. */
type Command =
  | { readonly kind: "append"; readonly length: number }
  | { readonly kind: "view"; readonly place: number; readonly end: number }
  | { readonly kind: "release"; readonly place: number }
  | { readonly kind: "pin"; readonly place: number };

const place = fc.nat(10_000_000);
const length = fc.oneof(
  fc.nat(100),
  fc.nat(BLOCK_BYTES + 10),
  fc.constantFrom(BLOCK_BYTES, BLOCK_BYTES - 1, 2 * BLOCK_BYTES + 1),
);
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("append" as const), length }),
    fc.record({ kind: fc.constant("view" as const), place, end: place }),
    fc.record({ kind: fc.constant("release" as const), place }),
    fc.record({ kind: fc.constant("pin" as const), place }),
  ),
  { maxLength: 40, size: "max" },
);

/** A queue beside a plain array of bytes; throws as soon as they differ. */
class Pair {
  readonly #queue = new ByteQueue(BYTES_MAX);
  #all: Uint8Array<ArrayBufferLike> = new Uint8Array(0);
  #start = 0;
  /** Where in the noise the last append began. */
  #from = 0;
  /** Views that a write may still read, and what they held. */
  #held: { readonly view: Uint8Array; readonly copy: Uint8Array }[] = [];

  take(command: Command): void {
    switch (command.kind) {
      case "append":
        this.#append(command.length);
        break;
      case "view": {
        const from = this.#at(command.place);
        const rest = this.#all.length - from;
        this.#checkViews(from, from + command.end % (rest + 1));
        break;
      }
      case "release":
        this.#start = this.#at(command.place);
        this.#queue.release(this.#start);
        break;
      case "pin": {
        const at = this.#at(command.place);
        const view = this.#queue.view(at);
        this.#queue.pin(at);
        this.#held.push({ view, copy: view.slice() });
        break;
      }
    }
    this.#check();
  }

  #at(place: number): number {
    return this.#start + place % (this.#all.length - this.#start + 1);
  }

  #append(length: number): void {
    // Any step that does not bring the same bytes to the same place of a block.
    this.#from = (this.#from + 100_003) % (NOISE.length - 3 * BLOCK_BYTES);
    const from = this.#from;
    const bytes = NOISE.slice(from, from + length);
    this.#all = joined([this.#all, bytes]);
    this.#queue.append(bytes);
    bytes.fill(0); // The queue must have copied it.
  }

  #check(): void {
    const { start, end, length, space } = this.#queue;
    const kept = this.#all.length - this.#start;
    assertEquals(
      { start, end, length, space },
      {
        start: this.#start,
        end: this.#all.length,
        length: kept,
        space: BYTES_MAX - kept,
      },
    );
    this.#checkViews(start, end);
    for (const { view, copy } of this.#held) {
      assert(sameBytes(view, copy), "a pinned block was filled again");
    }
  }

  #checkViews(from: number, end: number): void {
    const views = this.#queue.views(from, end);
    assert(views.every((view) => view.length > 0), "a view is empty");
    assert(
      sameBytes(joined(views), this.#all.subarray(from, end)),
      `bytes ${from} to ${end} have changed`,
    );
    const { length } = this.#queue.view(from, end);
    assertEquals(length, views[0]?.length ?? 0);
  }
}

Deno.test("byte queue: whatever is appended and released, the rest is as it was", () => {
  fc.assert(
    fc.property(commands, (list) => {
      const pair = new Pair();
      for (const command of list) pair.take(command);
    }),
    { numRuns: 60 },
  );
});

Deno.test("byte queue: it may be overshot, and says by how much", () => {
  const queue = new ByteQueue(10);
  assertEquals(queue.space, 10);
  queue.append(new Uint8Array(25));
  assertEquals([queue.length, queue.space], [25, -15]);
  queue.release(20);
  assertEquals([queue.length, queue.space], [5, 5]);
});

Deno.test("byte queue: releasing twice, backwards or beyond the end is harmless", () => {
  const queue = new ByteQueue(100);
  queue.append(new Uint8Array(30));
  queue.release(20);
  queue.release(10);
  assertEquals([queue.start, queue.end], [20, 30]);
  queue.release(1_000);
  assertEquals([queue.start, queue.end, queue.length], [30, 30, 0]);
  queue.append(Uint8Array.of(7));
  assertEquals(Array.from(queue.view(30)), [7]);
});

Deno.test("byte queue: a view of what is not there is empty", () => {
  const queue = new ByteQueue(BYTES_MAX);
  assertEquals(queue.view(0).length, 0);
  assertEquals(queue.views(0, 0), []);
  queue.append(NOISE.subarray(0, BLOCK_BYTES));
  assertEquals(queue.view(BLOCK_BYTES).length, 0);
});

Deno.test("byte queue: a block let go is filled again", () => {
  const queue = new ByteQueue(BYTES_MAX);
  queue.append(NOISE.subarray(0, BLOCK_BYTES));
  const first = queue.view(0).buffer;
  queue.release(BLOCK_BYTES);
  queue.append(NOISE.subarray(0, BLOCK_BYTES));
  assertStrictEquals(queue.view(BLOCK_BYTES).buffer, first);
});

Deno.test("byte queue: a stream of any length takes a few blocks only", () => {
  const queue = new ByteQueue(BYTES_MAX);
  const blocks = new Set<ArrayBufferLike>();
  for (let round = 0; round < 200; round++) {
    queue.append(NOISE.subarray(0, BLOCK_BYTES / 2 + round));
    for (const view of queue.views(queue.start, queue.end)) {
      blocks.add(view.buffer);
    }
    if (queue.length > BLOCK_BYTES) queue.release(queue.end - 1_000);
  }
  assert(blocks.size <= 5, `${blocks.size} blocks were made`);
});

Deno.test("byte queue: a pinned block is never filled again", () => {
  const queue = new ByteQueue(BYTES_MAX);
  queue.append(NOISE.subarray(0, 3 * BLOCK_BYTES));
  const held = queue.view(BLOCK_BYTES + 5);
  const copy = held.slice();
  queue.pin(BLOCK_BYTES + 5);
  queue.release(queue.end);
  for (let round = 0; round < 12; round++) {
    queue.append(new Uint8Array(BLOCK_BYTES).fill(round));
    for (const view of queue.views(queue.start, queue.end)) {
      assert(view.buffer !== held.buffer, "it was filled again");
    }
    if (round % 3 === 2) queue.release(queue.end);
  }
  assert(sameBytes(held, copy));
});

Deno.test("byte queue: pinning what is not there is harmless", () => {
  const queue = new ByteQueue(BYTES_MAX);
  queue.pin(0);
  queue.append(NOISE.subarray(0, 2 * BLOCK_BYTES));
  queue.release(BLOCK_BYTES + 1);
  queue.pin(0);
  queue.pin(2 * BLOCK_BYTES);
  queue.append(NOISE.subarray(0, 10));
  assertEquals(queue.length, BLOCK_BYTES + 9);
});
