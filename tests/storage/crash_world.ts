/** A record file that lives through crashes, and what must hold after each. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { RecordFile } from "../../storage/record_file.ts";
import { Random } from "../sim/random.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { open, RECORD_BYTES_MAX } from "./record_fixture.ts";

/** Turns of the microtask queue after which nothing moves without the disk. */
const TURNS = 30;

/** One thing that happens to the file. Whatever needs a process starts one. */
export type Step =
  /** Records of these sizes are appended in one batch. */
  | { readonly kind: "append"; readonly sizes: readonly number[] }
  /** A sync is asked for, and goes on while other things happen. */
  | { readonly kind: "sync" }
  /** The disk finishes the oldest of the syncs that run. */
  | { readonly kind: "disk-finishes" }
  | { readonly kind: "mark" }
  /** A clean stop. */
  | { readonly kind: "stop" }
  /** The process dies. */
  | { readonly kind: "kill" }
  /** The power fails. */
  | { readonly kind: "crash" }
  /** A sync fails, and the process exits. */
  | { readonly kind: "sync-fails" }
  /** An append fails half-way, and the process exits. */
  | { readonly kind: "write-fails" }
  /** The process dies, and so does the next while it starts, after so many syncs. */
  | { readonly kind: "dies-starting"; readonly after: number };

const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 100 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: RECORD_BYTES_MAX }) },
);

/** Any story. Appends and syncs come often enough that much is at stake. */
export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant("append" as const),
        sizes: fc.array(size, { minLength: 1, maxLength: 5 }),
      }),
    },
    { weight: 6, arbitrary: only("sync") },
    { weight: 6, arbitrary: only("disk-finishes") },
    { weight: 2, arbitrary: only("mark") },
    { weight: 2, arbitrary: only("stop") },
    { weight: 2, arbitrary: only("kill") },
    { weight: 3, arbitrary: only("crash") },
    { weight: 1, arbitrary: only("sync-fails") },
    { weight: 1, arbitrary: only("write-fails") },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("dies-starting" as const),
        after: fc.nat(3),
      }),
    },
  ),
  { maxLength: 40, size: "max" },
);

/**
 * Plays a story and throws as soon as one of these does not hold at a start:
 *
 * 1. it succeeds: no crash is taken for damage;
 * 2. every record is there that was appended before a sync that has resolved,
 *    and every one that an earlier start has passed on;
 * 3. what is there is what was appended, in order, from the first on;
 * 4. after a clean stop all of it is there, and nothing is cut off.
 */
export async function play(
  seed: number,
  story: readonly Step[],
  recordFileClass?: typeof RecordFile,
): Promise<void> {
  const world = new CrashWorld(seed, recordFileClass);
  for (const step of story) await world.take(step);
  await world.take({ kind: "crash" });
  await world.take({ kind: "stop" });
}

class CrashWorld {
  readonly #random: Random;
  readonly #disk: SimDisk;
  readonly #class: typeof RecordFile | undefined;
  readonly #aheadBytes: number;
  /** The disk's syncs that run, oldest first; cleared by a death. */
  #running: (() => void)[] = [];
  #file: RecordFile | undefined;
  #appended: Uint8Array[] = [];
  /** The first so many of `#appended` must never be lost again. */
  #promisedCount = 0;
  #wasStopped = false;
  #life = 0;
  readonly #syncErrors: unknown[] = [];

  constructor(seed: number, recordFileClass: typeof RecordFile | undefined) {
    this.#random = new Random(seed);
    this.#class = recordFileClass;
    this.#aheadBytes = seed % 2 === 0 ? 0 : 1 + Math.abs(seed % 10_000);
    this.#disk = new SimDisk({
      random: this.#random,
      wait: () => new Promise((resolve) => this.#running.push(resolve)),
    });
    this.#disk.createDirectory("/data");
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case "append":
        return this.#append(await this.#process(), step.sizes);
      case "sync":
        return this.#sync(await this.#process());
      case "disk-finishes":
        return await this.#diskFinishes();
      case "mark":
        return (await this.#process()).mark();
      case "stop":
        return await this.#stop(await this.#process());
      case "kill":
        this.#die();
        return this.#disk.kill();
      case "crash":
        this.#die();
        return this.#disk.crash();
      case "sync-fails":
        return await this.#syncFails(await this.#process());
      case "write-fails":
        return await this.#writeFails(await this.#process());
      case "dies-starting":
        return await this.#diesStarting(step.after);
    }
  }

  #open() {
    return open(this.#disk, {
      class: this.#class,
      aheadBytes: this.#aheadBytes,
    });
  }

  /** The file of the process that runs; if none does, one is started and checked. */
  async #process(): Promise<RecordFile> {
    if (this.#file !== undefined) return this.#file;
    const opening = this.#open();
    const { file, payloads, cutBytes } = await this.#finish(opening);
    assert(
      payloads.length >= this.#promisedCount,
      `${payloads.length} records, ${this.#promisedCount} were promised`,
    );
    assert(payloads.length <= this.#appended.length, "More than was appended");
    for (const [i, payload] of payloads.entries()) {
      assert(equal(payload, this.#appended[i]), `Record ${i} has changed`);
    }
    if (this.#wasStopped) assertEquals(cutBytes, 0);
    this.#wasStopped = false;
    this.#appended = payloads;
    this.#promisedCount = payloads.length;
    this.#file = file;
    return file;
  }

  async #stop(file: RecordFile): Promise<void> {
    await this.#finish(file.close());
    this.#promisedCount = this.#appended.length;
    this.#wasStopped = true;
    this.#file = undefined;
  }

  #append(file: RecordFile, sizes: readonly number[]): void {
    const payloads = sizes.map((size) => this.#random.bytes(size));
    this.#appended.push(...payloads);
    file.append(payloads);
  }

  #sync(file: RecordFile): void {
    const life = this.#life;
    const count = this.#appended.length;
    file.sync().then(() => {
      // The dead hear nothing, also not what was said just before.
      if (life !== this.#life) return;
      this.#promisedCount = Math.max(this.#promisedCount, count);
    }, (error) => this.#syncErrors.push(error));
  }

  async #diskFinishes(): Promise<void> {
    this.#running.shift()?.();
    await turns();
  }

  async #syncFails(file: RecordFile): Promise<void> {
    this.#append(file, [10]);
    this.#sync(file);
    await turns();
    this.#disk.syncFailChance = 1;
    this.#syncErrors.length = 0;
    while (this.#running.length > 0) await this.#diskFinishes();
    assert(this.#syncErrors.length > 0, "A failed sync went unnoticed");
    this.#disk.syncFailChance = 0;
    await this.take({ kind: "kill" });
  }

  async #writeFails(file: RecordFile): Promise<void> {
    this.#disk.writeFailChance = 1;
    let error: unknown;
    try {
      this.#append(file, [10, 200, 3000]);
    } catch (thrown) {
      error = thrown;
    }
    this.#disk.writeFailChance = 0;
    assert(error !== undefined, "A failed write went unnoticed");
    await this.take({ kind: "kill" });
  }

  async #diesStarting(after: number): Promise<void> {
    await this.take({ kind: "kill" });
    const opening = this.#open();
    // If it fails, so will the next start, which is looked at.
    opening.catch(() => {});
    await turns();
    for (let i = 0; i < after; i++) await this.#diskFinishes();
    await this.take({ kind: "kill" });
  }

  #die(): void {
    this.#life += 1;
    this.#running = [];
    this.#file = undefined;
  }

  /** Waits for `promise`; the disk works meanwhile. */
  async #finish<Result>(promise: Promise<Result>): Promise<Result> {
    let isSettled = false;
    const settle = () => isSettled = true;
    promise.then(settle, settle);
    for (let round = 0; round < 100; round++) {
      await turns();
      if (isSettled) break;
      this.#running.shift()?.();
    }
    assert(isSettled, "It never ends");
    return await promise;
  }
}

function only<Kind extends string>(kind: Kind): fc.Arbitrary<{ kind: Kind }> {
  return fc.record({ kind: fc.constant(kind) });
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await null;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
