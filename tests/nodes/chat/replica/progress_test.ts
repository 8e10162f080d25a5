import { assertEquals } from "@std/assert";
import { ReplicaContext } from "../../../../nodes/chat/replica/context.ts";
import {
  DEFAULT_TIMING,
  type ReplicaEffect,
} from "../../../../nodes/chat/replica/contract.ts";
import { LOG_START } from "../../../../nodes/chat/replica/log_index.ts";
import { Progress } from "../../../../nodes/chat/replica/progress.ts";
import type { Epoch } from "../../../../protocol/epoch.ts";
import type { LogEntry } from "../../../../protocol/replica.ts";

const SELF = "a".repeat(16);
const OTHER = "b".repeat(16);

function epoch(counter: number): Epoch {
  return { counter, store: SELF };
}

function entry(index: number, counter: number): LogEntry {
  return { index, epoch: epoch(counter), command: new Uint8Array(0) };
}

/** A primary of epoch 5 whose log has entries of epoch 1, then one of 4 and one of 5. */
function primary(): { context: ReplicaContext; progress: Progress } {
  const context = new ReplicaContext({
    self: {
      id: "a",
      kind: "server",
      priority: 0,
      store: SELF,
      incarnation: SELF,
      group: SELF,
    },
    founders: [],
    sticky: false,
    timing: DEFAULT_TIMING,
    seed: 1,
  });
  const runs = [1, 11, 12].map((index, at) => ({
    index,
    epoch: epoch([1, 4, 5][at]),
  }));
  context.log.load({ base: LOG_START, runs, lastIndex: 12 });
  const progress = new Progress(context, {
    store: OTHER,
    incarnation: OTHER,
    epoch: epoch(5),
  });
  progress.restart();
  context.take();
  return { context, progress };
}

function kinds(effects: readonly ReplicaEffect[]): string[] {
  return effects.map((effect) =>
    effect.kind === "send" ? effect.message.kind : effect.kind
  );
}

Deno.test("progress: older entries are read and sent once the logs match", () => {
  const { context, progress } = primary();
  progress.appended(10);
  assertEquals(kinds(context.take()), ["read-log"]);
  progress.read(11, [entry(11, 4), entry(12, 5)]);
  assertEquals(kinds(context.take()), ["append"]);
});

Deno.test("progress: a read of an earlier view, replaced since, is done again", () => {
  const { context, progress } = primary();
  progress.appended(10);
  context.take();
  progress.read(11, [entry(11, 3)]);
  assertEquals(kinds(context.take()), ["read-log"]);
  progress.read(11, [entry(11, 4), entry(12, 5)]);
  assertEquals(kinds(context.take()), ["append"]);
});
