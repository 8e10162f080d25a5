/** One core's share of a swarm. */

/// <reference lib="deno.worker" />

import { loadSimulation } from "./simulations.ts";

/** Seeds to run. */
export interface SwarmTask {
  readonly simulation: string;
  readonly first: number;
  readonly count: number;
}

/** What came of them. */
export interface SwarmPart {
  seeds: number;
  steps: number;
  messages: number;
  faults: number;
  failed: number[];
}

const scope = self as DedicatedWorkerGlobalScope & typeof globalThis;

scope.onmessage = async ({ data }: MessageEvent<SwarmTask>) => {
  const simulate = await loadSimulation(data.simulation);
  if (simulate === undefined) throw new Error(`No "${data.simulation}"`);
  const part: SwarmPart = {
    seeds: 0,
    steps: 0,
    messages: 0,
    faults: 0,
    failed: [],
  };
  for (let seed = data.first; seed < data.first + data.count; seed++) {
    const run = simulate(seed);
    part.seeds += 1;
    part.steps += run.steps;
    part.messages += run.messages;
    part.faults += run.faults;
    if (run.failures.length > 0) part.failed.push(seed);
  }
  scope.postMessage(part);
};
