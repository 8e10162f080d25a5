/** A simulated disk whose syncs end one by one, when a test says so. */

import { assert } from "@std/assert";
import fc from "fast-check";
import { Random } from "../sim/random.ts";
import { SimDisk } from "../sim/sim_disk.ts";

/** Turns of the microtask queue after which nothing moves without the disk. */
const TURNS = 40;

/** Where the tests keep what they write. */
export const DIRECTORY = "/data";

/** What ends the process that uses a disk. */
export type Death = "kill" | "crash";

/** Any {@linkcode Death}, with power lost more often. */
export const death: fc.Arbitrary<Death> = fc.constantFrom(
  "kill",
  "crash",
  "crash",
);

/** A {@linkcode SimDisk} that finishes its syncs in order and on demand. */
export class SteppedDisk {
  readonly disk: SimDisk;
  /** Lives so far: what belongs to an earlier one never happens. */
  life = 0;
  #running: (() => void)[] = [];

  constructor(seed: number) {
    this.disk = new SimDisk({
      random: new Random(seed),
      wait: () => new Promise((resolve) => this.#running.push(resolve)),
    });
    this.disk.createDirectory(DIRECTORY);
  }

  /** The disk finishes the oldest of the syncs that run. */
  async finishOne(): Promise<void> {
    this.#running.shift()?.();
    await turns();
  }

  /** The process dies, or the power fails. */
  die(how: Death): void {
    this.life += 1;
    this.#running = [];
    if (how === "kill") this.disk.kill();
    else this.disk.crash();
  }

  /** Waits for `promise`; the disk works meanwhile. */
  async finish<Result>(promise: Promise<Result>): Promise<Result> {
    let isSettled = false;
    const settle = () => isSettled = true;
    promise.then(settle, settle);
    for (let round = 0; round < 200; round++) {
      await turns();
      if (isSettled) break;
      this.#running.shift()?.();
    }
    assert(isSettled, "It never ends");
    return await promise;
  }

  /** Does `then` when `promise` resolves, unless the process has died by then. */
  whenDone(promise: Promise<unknown>, then: () => void): void {
    const { life } = this;
    promise.then(() => {
      if (life === this.life) then();
    }, (error) => {
      // The dead may fail as they like.
      if (life === this.life) throw error;
    });
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await null;
}
