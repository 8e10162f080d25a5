import { assert, assertEquals } from "@std/assert";
import { EPOCH_NONE } from "../../protocol/epoch.ts";
import type { LogEntry } from "../../protocol/replica.ts";
import { SimulatedDisk, SimulatedLog } from "./chat_disk.ts";
import { CALM_TEMPER } from "./chat_faults.ts";
import { Random } from "./random.ts";

function entries(from: number, to: number, counter = 1): LogEntry[] {
  return Array.from({ length: to - from + 1 }, (_, at) => ({
    index: from + at,
    epoch: { counter, store: "a".repeat(16) },
    command: new Uint8Array(0),
  }));
}

function disk(seed: number): SimulatedDisk {
  return new SimulatedDisk("a".repeat(16), new Random(seed), CALM_TEMPER);
}

Deno.test("simulated disk: what was synced survives, of the rest a first part", () => {
  const ends = new Set<number>();
  for (let seed = 1; seed <= 200; seed++) {
    const tried = disk(seed);
    tried.writeLog({ kind: "append", write: 1, entries: entries(1, 3) });
    assertEquals(tried.syncedLog(tried.logWriteCount), 1);
    tried.writeLog({ kind: "append", write: 2, entries: entries(4, 6) });
    tried.writeLog({ kind: "append", write: 3, entries: entries(7, 9) });
    tried.crash();
    assertEquals(tried.log.entries, entries(1, tried.log.lastIndex));
    ends.add(tried.log.lastIndex);
    assert(!tried.hasLogWrites);
  }
  assertEquals([...ends].sort((a, b) => a - b), [3, 4, 5, 6, 7, 8, 9]);
});

Deno.test("simulated disk: a cut that was not synced may or may not have happened", () => {
  const found = new Set<string>();
  for (let seed = 1; seed <= 100; seed++) {
    const tried = disk(seed);
    tried.writeLog({ kind: "append", write: 1, entries: entries(1, 3) });
    tried.syncedLog(1);
    tried.writeLog({ kind: "cut", write: 2, after: 1 });
    tried.writeLog({ kind: "append", write: 3, entries: entries(2, 2, 2) });
    tried.crash();
    found.add(
      tried.log.entries.map(({ epoch }) => epoch.counter).join(),
    );
  }
  assertEquals([...found].sort(), ["1", "1,1,1", "1,2"]);
});

Deno.test("simulated disk: after a failed sync nothing more comes to the log", () => {
  const tried = disk(1);
  tried.writeLog({ kind: "append", write: 1, entries: entries(1, 1) });
  tried.syncFailed();
  assertEquals(tried.syncedLog(1), 1);
  tried.writeLog({ kind: "append", write: 2, entries: entries(2, 2) });
  tried.crash();
  assertEquals(tried.log.lastIndex, 0);
});

Deno.test("simulated disk: the last save that survives counts", () => {
  const found = new Set<number>();
  for (let seed = 1; seed <= 100; seed++) {
    const tried = disk(seed);
    for (const number of [1, 2, 3]) {
      const promised = { counter: number, store: "a".repeat(16) };
      tried.writeAcceptor(number, {
        promised,
        accepted: undefined,
        isDamaged: false,
      });
      if (number === 1) assertEquals(tried.syncedAcceptor(1), 1);
    }
    tried.crash();
    found.add(tried.acceptor.promised.counter);
  }
  assertEquals([...found].sort(), [1, 2, 3]);
});

Deno.test("simulated log: says its shape, and stands for what is compacted", () => {
  const log = new SimulatedLog();
  log.entries.push(...entries(1, 2), ...entries(3, 5, 2));
  log.compact(entries(2, 2)[0]);
  const { base, runs, lastIndex } = log.shape();
  assertEquals([base.index, lastIndex, runs.length], [2, 5, 1]);
  assertEquals(runs[0].index, 3);
  assert(log.has(1, EPOCH_NONE));
  assert(!log.has(4, EPOCH_NONE));
  log.cut(3);
  assertEquals(log.lastIndex, 3);
});
