/** Runs many seeds on all cores. */

import type { SwarmPart, SwarmTask } from "./swarm_worker.ts";

/** What came of all seeds together. */
export interface Swarm {
  readonly seeds: number;
  readonly steps: number;
  readonly messages: number;
  readonly faults: number;
  readonly ms: number;
  /** Seeds in which something did not hold, in order. */
  readonly failed: readonly number[];
}

/** Seeds that one worker takes at a time. */
const PART_SEEDS = 100;

/** Runs `count` seeds from `first` on; says how far it is every few seconds. */
export async function runSwarm(
  options: {
    /** One of `SIMULATIONS`. */
    simulation: string;
    first: number;
    count: number;
    onProgress: (text: string) => void;
  },
): Promise<Swarm> {
  const { simulation, first, count } = options;
  const startMs = performance.now();
  const sum = { seeds: 0, steps: 0, messages: 0, faults: 0 };
  const failed: number[] = [];
  let next = first;
  let saidMs = startMs;
  const workers = Array.from(
    { length: Math.max(1, navigator.hardwareConcurrency) },
    () =>
      new Promise<void>((resolve, reject) => {
        const worker = new Worker(
          new URL("./swarm_worker.ts", import.meta.url),
          { type: "module" },
        );
        const give = () => {
          if (next >= first + count) {
            worker.terminate();
            return resolve();
          }
          const task: SwarmTask = {
            simulation,
            first: next,
            count: Math.min(PART_SEEDS, first + count - next),
          };
          next += task.count;
          worker.postMessage(task);
        };
        worker.onerror = (event) => {
          event.preventDefault();
          worker.terminate();
          reject(new Error(event.message));
        };
        worker.onmessage = ({ data }: MessageEvent<SwarmPart>) => {
          sum.seeds += data.seeds;
          sum.steps += data.steps;
          sum.messages += data.messages;
          sum.faults += data.faults;
          failed.push(...data.failed);
          const nowMs = performance.now();
          if (nowMs - saidMs > 5_000) {
            saidMs = nowMs;
            options.onProgress(
              `${sum.seeds} of ${count} seeds, ${failed.length} failed`,
            );
          }
          give();
        };
        give();
      }),
  );
  await Promise.all(workers);
  failed.sort((a, b) => a - b);
  return { ...sum, ms: performance.now() - startMs, failed };
}
