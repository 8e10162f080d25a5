/** Any story of appends, cuts, syncs, compactions and crashes. */

import { assert } from "@std/assert";
import fc from "fast-check";
import { SegmentLog } from "../../storage/segment_log.ts";
import { plant, type Planted } from "../plant.ts";
import { type LogStep, logSteps, playLog } from "./log_world.ts";

/** Stories played to the end for the real thing. */
const STORIES = 600;

/** Stories after which a planted bug should have been caught. */
const STORIES_WITH_BUG_MAX = 5_000;

const append = (...sizes: number[]): LogStep => ({
  kind: "append",
  sizes,
  raises: false,
});
const grow = (times: number): LogStep => ({ kind: "grow", times });
const cutAll: LogStep = { kind: "cut", part: 1 };
const compactAll: LogStep = { kind: "compact", part: 1 };
const compactNone: LogStep = { kind: "compact", part: 0 };
const finish: LogStep = { kind: "disk-finishes" };

/** Seeds and stories that have shown a mistake once; played before any others. */
const EXAMPLES: [number, LogStep[]][] = [
  // A segment went although the beginning of the next one was not on disk.
  [0, [append(1034), grow(2), compactAll]],
  [-10337484, [
    append(493),
    append(86, 89, 16, 11, 83),
    { kind: "sync-fails" },
    grow(2),
    compactAll,
  ]],
  // Segments went for a cut that came after the sync that they waited for.
  [0, [grow(4), append(0), append(0), compactNone, cutAll, finish, finish]],
  [0, [
    append(0),
    append(17, 92, 60, 532, 449, 1112),
    { kind: "sync" },
    finish,
    finish,
    grow(1),
    finish,
    compactAll,
  ]],
  // The base of a log compacted up to a cut is not that of the next segment.
  [0, [grow(3), cutAll, compactNone, grow(1)]],
  // A read found zeros where a record had been written since.
  [-815292043, [grow(2), grow(2)]],
  // A crash between a new log and the removal of the old one.
  [0, [
    { kind: "reset", ahead: 0 },
    ...Array.from({ length: 5 }, () => finish),
  ]],
];

Deno.test("segment log: what was synced survives any crash, and the rest is a prefix of what was done", async () => {
  const given = Deno.env.get("SKEIN_SEED");
  const seed = given === undefined ? undefined : Number(given);
  const runs = Number(Deno.env.get("SKEIN_STORIES") ?? STORIES);
  const details = await fc.check(property(SegmentLog), {
    numRuns: runs,
    seed,
    examples: EXAMPLES,
  });
  assert(
    !details.failed,
    `${
      fc.defaultReportMessage(details)
    }\n${details.errorInstance}\nRepeat it with SKEIN_SEED=${details.seed} ` +
      "deno test -A tests/storage/segment_log_crash_test.ts",
  );
});

function property(
  logClass: typeof SegmentLog,
): fc.IAsyncProperty<[number, LogStep[]]> {
  return fc.asyncProperty(
    fc.integer(),
    logSteps,
    (seed, story) => playLog(seed, story, logClass),
  );
}

const BUGS: Record<string, Planted> = {
  "a segment begins before the one before it is on disk": {
    file: "storage/segment_writer.ts",
    find: "    old.syncNow();\n",
    replace: "",
  },
  "what was appended while a sync ran counts as synced": {
    file: "storage/segment_writer.ts",
    find: "this.#syncedCount = count;",
    replace: "this.#syncedCount = this.#writtenCount;",
  },
  "a failed sync counts": {
    file: "storage/segment_writer.ts",
    find: "throw this.#fail(error);\n    } finally",
    replace: "} finally",
  },
  "a blocking sync does nothing": {
    file: "storage/segment_writer.ts",
    find: "this.#attempt(() => this.#active.syncNow());",
    replace: "",
  },
  "a new log is not synced before the old one goes": {
    file: "storage/segment_writer.ts",
    find: [
      "    await file.sync();",
      "    // Marked, so that rot in the only record is never taken for a torn end.",
      "    file.mark();",
      "    await file.sync();",
    ].join("\n"),
    replace: "",
  },
  "the old log goes first": {
    file: "storage/segment_log.ts",
    find: [
      "      await this.#begin(base);",
      "      for (const number of found) disk.remove(segmentPath(directory, number));",
    ].join("\n"),
    replace: [
      "      for (const number of found) disk.remove(segmentPath(directory, number));",
      "      await this.#begin(base);",
    ].join("\n"),
  },
  "a cut is not written": {
    file: "storage/segment_log.ts",
    find: 'writer.append([this.#coder.encode("cut", position)]);',
    replace: "void writer;",
  },
  "a cut leaves the memory as it was": {
    file: "storage/segment_log.ts",
    find: "    this.#tail.cut(after);\n",
    replace: "",
  },
  "a cut forgets the segments before the last": {
    file: "storage/log_map.ts",
    find: "if (isCut) break;",
    replace: "break;",
  },
  "a cut leaves the epochs": {
    file: "storage/log_map.ts",
    find:
      "while ((this.#runs.at(-1)?.index ?? 0) > position.index) this.#runs.pop();",
    replace: "",
  },
  "a compaction takes a segment too many": {
    file: "storage/segment_log.ts",
    find: "        first + count - 1 > toIndex\n",
    replace: "        first > toIndex && count >= 0\n",
  },
  "a compaction goes before the cuts that it rests on": {
    file: "storage/segment_log.ts",
    find: "      await writer.sync();\n      await writer.settle();\n",
    replace: "      await writer.settle();\n",
  },
  "a compaction counts on what came meanwhile": {
    file: "storage/segment_log.ts",
    find: [
      "      const segments = this.#map.segments.slice(0, -1);",
      "      const kept = segments.findIndex(({ first, count }) =>",
      "        first + count - 1 > toIndex",
      "      );",
      "      if (kept >= 0) segments.length = kept;",
      "      // That they may go rests on cuts, and on the beginning of a later segment:",
      "      // on those that are on disk after this sync, none that come meanwhile.",
      "      await writer.sync();",
      "      await writer.settle();",
    ].join("\n"),
    replace: [
      "      await writer.sync();",
      "      await writer.settle();",
      "      const segments = this.#map.segments.slice(0, -1);",
      "      const kept = segments.findIndex(({ first, count }) =>",
      "        first + count - 1 > toIndex",
      "      );",
      "      if (kept >= 0) segments.length = kept;",
    ].join("\n"),
  },
  "the beginning of a segment is not synced before a compaction": {
    file: "storage/segment_writer.ts",
    find:
      'next.append([this.#coder.encode("continues", base)]);\n    this.#writtenCount += 1;',
    replace: 'next.append([this.#coder.encode("continues", base)]);',
  },
  "a compaction takes the base that the next segment began with": {
    file: "storage/log_map.ts",
    find: "this.#base = this.positionAt(next.first - 1);",
    replace: "this.#base = next.base;",
  },
  "a segment that was never used counts": {
    file: "storage/segment_loader.ts",
    find:
      "while (found.length > 0 && this.#isUnused(found[found.length - 1])) {",
    replace: "while (false) {",
  },
  "the segments that a new log makes void count": {
    file: "storage/segment_loader.ts",
    find: "found.slice(this.#firstThatCounts(found))",
    replace: "found.slice()",
  },
  "a read takes what it gets": {
    file: "storage/log_tail.ts",
    find: "if (into.length > 0 && total > range.bytesMax) return;",
    replace: "",
  },
};

for (const [name, bug] of Object.entries(BUGS)) {
  Deno.test(`segment log: the stories catch it if ${name}`, async () => {
    const directory = plant(["storage", "protocol"], bug);
    try {
      const module: { SegmentLog: typeof SegmentLog } = await import(
        `file://${directory}/storage/segment_log.ts`
      );
      const details = await fc.check(property(module.SegmentLog), {
        numRuns: STORIES_WITH_BUG_MAX,
        seed: 3,
        examples: EXAMPLES,
        endOnFailure: true,
      });
      assert(details.failed, `Not caught in ${details.numRuns} stories`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}
