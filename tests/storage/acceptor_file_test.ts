import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { EPOCH_NONE, isStoreId } from "../../protocol/epoch.ts";
import type { AcceptorState, View } from "../../protocol/view.ts";
import { AcceptorFile } from "../../storage/acceptor_file.ts";
import { StorageError } from "../../storage/errors.ts";
import { GenerationLog } from "../../storage/generation_log.ts";
import { plant, type Planted } from "../plant.ts";
import { bytesOf, simDisk } from "./record_fixture.ts";
import { type Death, death, DIRECTORY, SteppedDisk } from "./stepped_disk.ts";

const STORE = "00000000000000aa";
const STORIES = 400;
const STORIES_WITH_BUG_MAX = 3_000;

/** The state whose number is its promise. */
function stateOf(number: number): AcceptorState {
  return {
    promised: { counter: number, store: STORE },
    accepted: number % 2 === 0 ? undefined : viewOf(number),
    isDamaged: number % 3 === 0,
  };
}

function viewOf(counter: number): View {
  return {
    epoch: { counter, store: STORE },
    group: STORE,
    voters: [STORE],
    members: [STORE],
    primary: STORE,
    nodes: { [STORE]: { id: "server-1", kind: "server", priority: 0 } },
    reason: `The ${counter}th`,
  };
}

function open(disk = simDisk(), hasLog = false) {
  return AcceptorFile.open(disk, DIRECTORY, { hasLog });
}

Deno.test("acceptor file: a new one draws its store's id and has promised nothing", async () => {
  const disk = simDisk();
  const { file, origin, reason, cutBytes } = await open(disk);
  assertEquals([origin, reason, cutBytes], ["new", undefined, 0]);
  assert(isStoreId(file.store));
  assertEquals(file.state, {
    promised: EPOCH_NONE,
    accepted: undefined,
    isDamaged: false,
  });
  await file.close();
  const again = await open(disk, true);
  assertEquals([again.origin, again.file.store], [undefined, file.store]);
  assertEquals(again.file.state, file.state);
  await again.file.close();
  const { file: other } = await open(simDisk(2));
  assert(other.store !== file.store);
});

Deno.test("acceptor file: the last state counts, saved in either way", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  await file.save(stateOf(1));
  file.saveNow(stateOf(2));
  const saves = [file.save(stateOf(3)), file.save(stateOf(4))];
  assert(file.isSaving);
  assertThrows(() => file.saveNow(stateOf(5)), Error, "a save runs");
  await Promise.all(saves);
  file.saveNow(stateOf(5));
  assertEquals(file.state, stateOf(5));
  disk.crash();
  const again = await open(disk);
  assertEquals(again.file.state, stateOf(5));
  assertEquals(again.file.store, file.store);
  await again.file.close();
});

Deno.test("acceptor file: it does not grow for ever", async () => {
  const disk = simDisk();
  const { file } = await AcceptorFile.open(disk, DIRECTORY, {
    hasLog: false,
    recordsMax: 10,
  });
  for (let number = 1; number <= 100; number++) {
    if (number % 3 === 0) await file.save(stateOf(number));
    else file.saveNow(stateOf(number));
    for (let turn = 0; turn < 40; turn++) await null;
    assert(disk.list(DIRECTORY).length <= 3);
  }
  await file.close();
  const [name, ...others] = disk.list(DIRECTORY);
  assertEquals(others, []);
  assert(name > "acceptor-000008.log", name);
  const again = await open(disk);
  assertEquals(again.file.state, stateOf(100));
  await again.file.close();
});

Deno.test("acceptor file: without it a log is that of a new store, and damaged", async () => {
  const { file, origin, reason } = await open(simDisk(), true);
  assertEquals(origin, "lost");
  assert(reason?.includes("acceptor-N.log"), reason);
  assertEquals(file.state.isDamaged, true);
  await file.close();
});

Deno.test("acceptor file: rot makes a new store, wherever it is, or is harmless", async () => {
  const sizeOf = async () => {
    const disk = simDisk();
    const { file } = await open(disk);
    await file.save(stateOf(1));
    await file.close();
    return { disk, file };
  };
  const { disk } = await sizeOf();
  const size = disk.open(`${DIRECTORY}/acceptor-000001.log`)?.size() ?? 0;
  for (let position = 0; position < size; position++) {
    const { disk, file } = await sizeOf();
    disk.flip(`${DIRECTORY}/acceptor-000001.log`, position, 1 + position % 255);
    const { file: next, origin, reason } = await open(disk, true);
    if (position >= size - 16) {
      assertEquals([origin, next.state], [undefined, stateOf(1)]);
      continue;
    }
    assertEquals(origin, "lost", `byte ${position}`);
    assert(reason?.includes("acceptor-000001.log"), reason);
    assert(next.store !== file.store);
    assertEquals(next.state, {
      promised: EPOCH_NONE,
      accepted: undefined,
      isDamaged: true,
    });
    assertEquals(disk.list(DIRECTORY), [
      "acceptor-000001.log",
      "acceptor-000001.log.damaged",
    ]);
    await next.close();
    const again = await open(disk, true);
    assertEquals([again.origin, again.file.store], [undefined, next.store]);
    assertEquals(again.file.state.isDamaged, true);
  }
});

Deno.test("acceptor file: a whole record that makes no sense is refused", async () => {
  const good = {
    store: STORE,
    promised: EPOCH_NONE,
    accepted: null,
    damaged: false,
  };
  const wrong = [
    "{",
    "[]",
    JSON.stringify({ ...good, store: "x" }),
    JSON.stringify({ ...good, promised: { counter: -1, store: STORE } }),
    JSON.stringify({ ...good, accepted: { ...viewOf(1), members: [] } }),
    JSON.stringify({ ...good, accepted: undefined }),
    JSON.stringify({ ...good, damaged: "no" }),
  ];
  for (const text of wrong) {
    const disk = simDisk();
    const { log } = await GenerationLog.open(disk, DIRECTORY, {
      name: "acceptor",
      kind: "CACC",
      recordBytesMax: 1000,
      first: bytesOf(text),
    });
    await log.close();
    const error = await assertRejects(() => open(disk), StorageError);
    assertEquals(error.code, "wrong-format", text);
    assertEquals(disk.list(DIRECTORY), ["acceptor-000001.log"]);
  }
});

Deno.test("acceptor file: a failed save is final", async () => {
  const disk = simDisk();
  const { file } = await open(disk);
  disk.syncFailChance = 1;
  await assertRejects(() => file.save(stateOf(1)), StorageError);
  disk.syncFailChance = 0;
  assertThrows(() => file.saveNow(stateOf(2)), StorageError);
  await assertRejects(() => file.save(stateOf(2)), StorageError);
});

// Any story

type Step =
  | { readonly kind: "save" }
  | { readonly kind: "save-now" }
  | { readonly kind: "disk-finishes" }
  | { readonly kind: "stop" }
  | { readonly kind: "die"; readonly how: Death };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.constant({ kind: "save" as const }) },
    { weight: 4, arbitrary: fc.constant({ kind: "save-now" as const }) },
    { weight: 8, arbitrary: fc.constant({ kind: "disk-finishes" as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: "stop" as const }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant("die" as const), how: death }),
    },
  ),
  { maxLength: 60, size: "max" },
);

/** Throws if a state that was saved is forgotten, or the store changes. */
class AcceptorWorld {
  readonly #disk: SteppedDisk;
  readonly #class: typeof AcceptorFile;
  #file: AcceptorFile | undefined;
  #store: string | undefined;
  #last = 0;
  #promised = 0;

  constructor(seed: number, fileClass: typeof AcceptorFile) {
    this.#disk = new SteppedDisk(seed);
    this.#class = fileClass;
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case "save": {
        const file = await this.#process();
        const number = this.#last += 1;
        return this.#disk.whenDone(file.save(stateOf(number)), () => {
          this.#promised = Math.max(this.#promised, number);
        });
      }
      case "save-now": {
        const file = await this.#process();
        if (file.isSaving) return;
        file.saveNow(stateOf(this.#last += 1));
        this.#promised = this.#last;
        return;
      }
      case "disk-finishes":
        return await this.#disk.finishOne();
      case "stop": {
        const file = await this.#process();
        await this.#disk.finish(file.close());
        this.#promised = this.#last;
        this.#file = undefined;
        return;
      }
      case "die":
        for (let turn = 0; turn < 60; turn++) await null;
        this.#disk.die(step.how);
        this.#file = undefined;
        return;
    }
  }

  async #process(): Promise<AcceptorFile> {
    if (this.#file !== undefined) return this.#file;
    const opening = this.#class.open(this.#disk.disk, DIRECTORY, {
      hasLog: this.#store !== undefined,
      recordsMax: 5,
    });
    const { file, origin } = await this.#disk.finish(opening);
    if (this.#store !== undefined) {
      assertEquals([origin, file.store], [undefined, this.#store]);
    }
    const { counter } = file.state.promised;
    assert(counter >= this.#promised, `${counter} of ${this.#promised}`);
    assert(counter <= this.#last);
    if (counter > 0) assertEquals(file.state, stateOf(counter));
    this.#store = file.store;
    this.#last = counter;
    this.#promised = counter;
    this.#file = file;
    return file;
  }
}

function property(fileClass: typeof AcceptorFile = AcceptorFile) {
  return fc.asyncProperty(fc.integer(), steps, async (seed, story) => {
    const world = new AcceptorWorld(seed, fileClass);
    for (const step of story) await world.take(step);
    await world.take({ kind: "die", how: "crash" });
    await world.take({ kind: "stop" });
  });
}

Deno.test("acceptor file: what was promised survives any crash", async () => {
  await fc.assert(property(), { numRuns: STORIES });
});

const BUGS: Record<string, Planted> = {
  "a save does not wait for the disk": {
    file: "storage/acceptor_file.ts",
    find: "if (!this.#append(state)) await this.#log.sync();",
    replace: "this.#append(state);",
  },
  "a blocking save does not sync": {
    file: "storage/acceptor_file.ts",
    find: "if (!this.#append(state)) this.#log.syncNow();",
    replace: "this.#append(state);",
  },
  "a new generation is not synced": {
    file: "storage/generation_log.ts",
    find: "    next.syncNow();\n",
    replace: "",
  },
  "the first state counts": {
    file: "storage/acceptor_file.ts",
    find: "records.at(-1)",
    replace: "records.at(0)",
  },
};

for (const [name, bug] of Object.entries(BUGS)) {
  Deno.test(`acceptor file: the stories catch it if ${name}`, async () => {
    const directory = plant(["storage", "protocol"], bug);
    try {
      const module: { AcceptorFile: typeof AcceptorFile } = await import(
        `file://${directory}/storage/acceptor_file.ts`
      );
      const details = await fc.check(property(module.AcceptorFile), {
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
