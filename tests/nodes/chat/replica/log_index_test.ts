import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  LOG_START,
  LogIndex,
} from "../../../../nodes/chat/replica/log_index.ts";
import type { Epoch } from "../../../../protocol/epoch.ts";
import type { LogEntry } from "../../../../protocol/replica.ts";

const NOTHING = new Uint8Array(0);

function epoch(counter: number): Epoch {
  return { counter, store: "a".repeat(16) };
}

function entries(first: number, ...counters: number[]): LogEntry[] {
  return counters.map((counter, i) => ({
    index: first + i,
    epoch: epoch(counter),
    command: NOTHING,
  }));
}

function log(...counters: number[]): LogIndex {
  const made = new LogIndex();
  made.append(entries(1, ...counters), 0);
  return made;
}

Deno.test("log index: knows the epoch of each place, and of no other", () => {
  const made = log(1, 1, 3, 3, 4);
  assertEquals([0, 1, 2, 3, 4, 5, 6].map((at) => made.epochAt(at)?.counter), [
    0,
    1,
    1,
    3,
    3,
    4,
    undefined,
  ]);
  assert(made.has({ index: 4, epoch: epoch(3) }));
  assert(!made.has({ index: 4, epoch: epoch(4) }));
});

Deno.test("log index: the last place up to an index and an epoch", () => {
  const made = log(1, 1, 3, 3, 5);
  const lastUpTo = (index: number, counter: number) =>
    made.lastUpTo(index, epoch(counter)).index;
  assertEquals(lastUpTo(9, 9), 5);
  assertEquals(lastUpTo(9, 4), 4);
  assertEquals(lastUpTo(3, 4), 3);
  assertEquals(lastUpTo(9, 2), 2);
  assertEquals(made.lastUpTo(9, epoch(0)), LOG_START);
});

Deno.test("log index: entries follow without a gap", () => {
  assertThrows(() => log(1).append(entries(3, 1), 0), Error, "does not follow");
});

Deno.test("log index: a write under way brings nothing back of what was cut", () => {
  const made = log(1, 1, 1, 1);
  const cut = made.cut(2, 0);
  const last = made.append(entries(3, 2), 0);
  made.durable(1);
  assertEquals(made.durableIndex, 2);
  made.durable(cut);
  assertEquals(made.durableIndex, 2);
  made.durable(last);
  assertEquals(made.durableIndex, 3);
  assertEquals(made.last, { index: 3, epoch: epoch(2) });
});

Deno.test("log index: a cut takes durability along", () => {
  const made = log(1, 1, 1);
  made.durable(1);
  made.cut(1, 0);
  assertEquals(made.durableIndex, 1);
  assertThrows(() => {
    made.compact({ index: 1, epoch: epoch(1) });
    made.cut(0, 0);
  });
});

Deno.test("log index: compaction keeps the epochs above the base", () => {
  const made = log(1, 1, 3, 3, 5);
  made.compact({ index: 3, epoch: epoch(3) });
  assertEquals([2, 3, 4, 5].map((at) => made.epochAt(at)?.counter), [
    undefined,
    3,
    3,
    5,
  ]);
  made.compact({ index: 2, epoch: epoch(1) });
  assertEquals(made.base.index, 3);
});

Deno.test("log index: a snapshot replaces everything", () => {
  const made = log(1, 1);
  made.reset({ index: 9, epoch: epoch(4) });
  assertEquals(made.last, { index: 9, epoch: epoch(4) });
  assertEquals(made.durableIndex, 9);
  made.durable(1);
  assertEquals(made.durableIndex, 9);
  made.append(entries(10, 4), 0);
  assertEquals(made.epochAt(10)?.counter, 4);
});

Deno.test("log index: tells since when the disk is waited for", () => {
  const made = new LogIndex();
  assertEquals(made.pendingSinceMs, undefined);
  const write = made.append(entries(1, 1), 5);
  assertEquals(made.pendingSinceMs, 5);
  made.forgiveStall(8);
  assertEquals(made.pendingSinceMs, 8);
  made.durable(write);
  assertEquals(made.pendingSinceMs, undefined);
});
