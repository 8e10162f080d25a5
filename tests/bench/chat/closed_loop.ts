/** Clients that write, wait for the answer, and write again. */

import { quantile } from "../statistics.ts";
import type { LoadPlan, LoadResult } from "./load_plan.ts";
import { processorSeconds } from "./processor_time.ts";
import type { OpenLink, WriteLink } from "./write_link.ts";

/** Connections that are opened at the same time. */
const OPENING_MAX = 20;

/** Keeps `lanes` writes under way on each of many connections. */
export class ClosedLoop {
  readonly #links: WriteLink[] = [];
  readonly #tookUs = new Samples();
  readonly #lost = Promise.withResolvers<never>();
  #isCounting = false;
  #isOver = false;
  #writes = 0;
  #refused = 0;
  #refusal: string | undefined;

  /** @throws {Error} When a connection cannot be made, or is lost. */
  async run(plan: LoadPlan, open: OpenLink): Promise<LoadResult> {
    this.#lost.promise.catch(() => {
      // Looked at below.
    });
    try {
      return await this.#run(plan, open);
    } finally {
      this.#isOver = true;
      for (const link of this.#links) link.close();
    }
  }

  async #run(plan: LoadPlan, open: OpenLink): Promise<LoadResult> {
    for (let from = 0; from < plan.connections; from += OPENING_MAX) {
      const count = Math.min(OPENING_MAX, plan.connections - from);
      const opening = Array.from(
        { length: count },
        (_, index) => this.#open(from + index, { plan, open }),
      );
      await Promise.all(opening);
    }
    for (const link of this.#links) {
      for (let lane = 0; lane < plan.lanes; lane++) link.write(lane);
      link.flush();
    }
    await this.#pass(plan.warmUpMs);
    const before = usage(plan.pids);
    this.#isCounting = true;
    await this.#pass(plan.measureMs);
    this.#isCounting = false;
    const after = usage(plan.pids);
    const seconds = (after.ms - before.ms) / 1_000;
    const sorted = this.#tookUs.sorted();
    if (sorted.length === 0) {
      throw new Error(
        `No write was acknowledged: ${this.#refusal ?? "silence"}`,
      );
    }
    return {
      writes: this.#writes,
      seconds,
      p50Us: quantile(sorted, 0.5),
      p99Us: quantile(sorted, 0.99),
      maxUs: sorted[sorted.length - 1],
      refused: this.#refused,
      ...this.#refusal !== undefined && { refusal: this.#refusal },
      loadCpus: (after.load - before.load) / seconds,
      serverCpus: (after.servers - before.servers) / seconds,
    };
  }

  async #open(
    index: number,
    { plan, open }: { readonly plan: LoadPlan; readonly open: OpenLink },
  ): Promise<void> {
    const beganMs = new Float64Array(plan.lanes);
    const again = (lane: number) => {
      if (this.#isOver) return;
      beganMs[lane] = performance.now();
      link.write(lane);
    };
    const link = await open({ client: index, attempt: 0 }, {
      acked: (lane) => {
        if (this.#isCounting) {
          this.#writes += 1;
          this.#tookUs.add((performance.now() - beganMs[lane]) * 1_000);
        }
        again(lane);
      },
      refused: (lane, reason) => {
        this.#refused += 1;
        this.#refusal ??= reason;
        again(lane);
      },
      lost: (reason) => this.#lost.reject(new Error(reason)),
    });
    this.#links.push(link);
    beganMs.fill(performance.now());
  }

  async #pass(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const passed = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    try {
      await Promise.race([passed, this.#lost.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Any number of figures. */
export class Samples {
  #values = new Float64Array(65_536);
  #count = 0;

  add(value: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Float64Array(2 * this.#values.length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#count++] = value;
  }

  /** Smallest first. */
  sorted(): Float64Array {
    return this.#values.slice(0, this.#count).sort();
  }
}

function usage(pids: readonly number[]) {
  return {
    ms: performance.now(),
    load: processorSeconds([Deno.pid]),
    servers: processorSeconds(pids),
  };
}
