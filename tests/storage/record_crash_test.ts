/** Any story of appends, syncs and crashes; and bugs, each of which is caught. */

import { assert } from "@std/assert";
import fc from "fast-check";
import type { RecordFile } from "../../storage/record_file.ts";
import { play, type Step, steps } from "./crash_world.ts";
import { plant, type Planted } from "./planted.ts";

/** Stories played to the end for the real thing. */
const STORIES = 1500;

/** Stories after which a planted bug should have been caught. */
const STORIES_WITH_BUG_MAX = 5000;

Deno.test("record file: what was synced survives any crash, in order, and the rest is a prefix", async () => {
  const given = Deno.env.get("SKEIN_SEED");
  const seed = given === undefined ? undefined : Number(given);
  const details = await fc.check(property(), { numRuns: STORIES, seed });
  assert(
    !details.failed,
    `${
      fc.defaultReportMessage(details)
    }\nRepeat it with SKEIN_SEED=${details.seed} ` +
      "deno test -A tests/storage/record_crash_test.ts",
  );
});

const BUGS: Record<string, Planted> = {
  "checksums are not looked at": {
    file: "record_replay.ts",
    find: "crc32c(window.bytes.subarray(offset + 8, end)) !== checksum",
    replace: "false",
  },
  "a torn tail is taken for damage": {
    file: "record_replay.ts",
    find: "if (synced <= rules.bad || synced > position) continue;",
    replace: "if (synced < 16 || synced > position) continue;",
  },
  "a record claims that all before it is synced": {
    file: "record_file.ts",
    find: "const [synced, mask] = [this.#syncedSize, this.#mask];",
    replace: "const [synced, mask] = [this.#size, this.#mask];",
  },
  "a sync that came too early counts": {
    file: "record_file.ts",
    find: "this.#syncedSize = size;",
    replace: "this.#syncedSize = this.#size;",
  },
  "a waiting sync does not look whether it was covered": {
    file: "record_file.ts",
    find: "while (this.#syncedSize < wanted) {",
    replace: "if (this.#syncedSize < wanted) {",
  },
  "a failed sync counts": {
    file: "record_file.ts",
    find: "throw this.#fail(cause);\n    } finally",
    replace: "} finally",
  },
  "the tail is not cut": {
    file: "record_file.ts",
    find: "this.#attempt(() => this.#handle.truncate(end))",
    replace: "void 0",
  },
  "what a dead process left is not synced": {
    file: "record_file.ts",
    find: "    await this.#syncOnce();\n    try {",
    replace: "    this.#syncedSize = this.#size;\n    try {",
  },
  "what a failed sync left is not written anew": {
    file: "record_file.ts",
    find: "handle.write(chunk.subarray(0, count), position);",
    replace: "",
  },
  "the name of the file is not synced": {
    file: "record_file.ts",
    find: "await disk.syncDirectory(dirname(this.path));",
    replace: "await null;",
  },
  "the file is made in place": {
    file: "record_file.ts",
    find: 'UNFINISHED_SUFFIX = ".new"',
    replace: 'UNFINISHED_SUFFIX = ""',
  },
  "the header of a new file is not synced": {
    file: "record_file.ts",
    find: "await handle.sync();",
    replace: "",
  },
  "the close does not sync": {
    file: "record_file.ts",
    find:
      "    try {\n      await this.#syncAll();\n      if (!this.#isMarked) this.#writeSome([NO_PAYLOAD], 0);\n      await this.#syncAll();",
    replace:
      "    try {\n      await null; if (!this.#isMarked) this.#writeSome([NO_PAYLOAD], 0);",
  },
};

for (const [name, bug] of Object.entries(BUGS)) {
  Deno.test(`record file: the stories catch it if ${name}`, async () => {
    const directory = plant(bug);
    try {
      const module: { RecordFile: typeof RecordFile } = await import(
        `file://${directory}/record_file.ts`
      );
      const details = await fc.check(property(module.RecordFile), {
        numRuns: STORIES_WITH_BUG_MAX,
        seed: 1,
        endOnFailure: true,
      });
      assert(details.failed, `Not caught in ${details.numRuns} stories`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

function property(
  recordFileClass?: typeof RecordFile,
): fc.IAsyncProperty<[number, Step[]]> {
  return fc.asyncProperty(
    fc.integer(),
    steps,
    (seed, story) => play(seed, story, recordFileClass),
  );
}
