/** What a server of Skein needs when much is stored. */

import type { Workbench } from "../workbench.ts";
import { CASES } from "./cases.ts";
import type { History } from "./figures.ts";
import { runLoad } from "./load.ts";
import { SkeinFleet } from "./skein_fleet.ts";
import type { SkeinSeed } from "./skein_seed.ts";

/** The load goes on in pieces until enough is stored. */
const PIECE_MS = 5_000;
/** So that a server that is too slow does not hold up the rest. */
const FILL_MS_MAX = 90_000;
/** For so long nobody writes before memory is looked at. */
const REST_MS = 1_000;

/**
 * Stores `messages` messages, then looks at memory and starts servers again.
 *
 * @returns Undefined where memory cannot be looked at.
 */
export async function measureHistory(
  bench: Workbench,
  options: { readonly seed: SkeinSeed; readonly messages: number },
): Promise<History | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  const fleet = await SkeinFleet.start(bench, options.seed.folder);
  try {
    const messages = await fill(bench, { ...options, fleet });
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    const memory = fleet.ports.map((_, index) =>
      readMemory(fleet.pidOf(index))
    );
    const victim = (await fleet.leader() + 1) % fleet.ports.length;
    const serverStartMs = await took(async () => {
      await fleet.restart(victim);
      await fleet.ready(victim);
    });
    await fleet.whole();
    await fleet.stop();
    const groupStartMs = await took(async () => {
      fleet.startAll();
      await Promise.all(fleet.ports.map((_, index) => fleet.ready(index)));
    });
    return {
      messages,
      residentBytes: Math.max(...memory.map((one) => one.residentBytes)),
      peakBytes: Math.max(...memory.map((one) => one.peakBytes)),
      serverStartMs,
      groupStartMs,
    };
  } finally {
    await fleet.end();
  }
}

async function fill(
  bench: Workbench,
  { fleet, seed, messages }: {
    readonly fleet: SkeinFleet;
    readonly seed: SkeinSeed;
    readonly messages: number;
  },
): Promise<number> {
  const fullest = CASES[CASES.length - 1];
  const from = await fleet.appliedIndex(0);
  const deadlineMs = performance.now() + FILL_MS_MAX;
  for (;;) {
    const stored = await fleet.appliedIndex(0) - from;
    if (stored >= messages || performance.now() > deadlineMs) return stored;
    await runLoad(bench, {
      kind: "load",
      protocol: "skein",
      ports: [...fleet.ports],
      ...fullest.shapes.skein,
      warmUpMs: 0,
      measureMs: PIECE_MS,
      pids: [],
      sessions: seed.sessions,
    });
  }
}

function readMemory(
  pid: number,
): { residentBytes: number; peakBytes: number } {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const field = (name: string) => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status);
    if (match === null) throw new Error(`Found no ${name} of process ${pid}`);
    return Number(match[1]) * 1_024;
  };
  return { residentBytes: field("VmRSS"), peakBytes: field("VmHWM") };
}

async function took(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}
