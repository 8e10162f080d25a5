/** `deno task sim`: whole clusters in simulated time, from seeds. */

import { parseArgs } from "@std/cli/parse-args";
import {
  loadSimulation,
  type SimulationRun,
  SIMULATIONS,
} from "./simulations.ts";
import { runSwarm } from "./swarm.ts";

const HELP = `Usage: deno task sim chain|chat|mesh|discovery [OPTIONS]

chain  Message chains: random sizes, clients, crashes, cuts, silences, freezes.
       What the tail puts out must be what was sent, in order, once.
chat   Replicated groups: servers, witnesses and clients; crashes that lose what
       was not synced, partitions, stops, slow, failing, rotten and lost disks,
       joins, leaves, handovers. No acknowledged write is lost or doubled, no
       two servers differ, all reads are as if there were one server; and when
       the faults end, all is whole again within a bounded time.
mesh   Servers of the mesh chat in every topology: kills, cuts, partial partitions,
       stops, clocks set back, dropped frames, switches and drains under load. Each
       message is delivered once, in its origin's order, to those it is for; every
       gap was told of; in the end all agree, and names are unique.
discovery
       Fleets without configuration: servers, witnesses and clients that begin at
       any time, find each other by datagrams that are lost, late and doubled,
       found groups, join, die, leave for good and come back. Nothing that a group
       acknowledged is lost because groups meet; in the end there is one, led by
       the highest, or each that holds data says so of the others.

Options:
  --seeds N   How many seeds to run (default 10000)
  --from S    The first seed (default 1)
  --seed S    Run one seed and print what happened in it
  --help      This text
`;

/** Lines of a failing seed's transcript that are shown. */
const TRANSCRIPT_LINES_SHOWN = 120;

const flags = parseArgs(Deno.args, {
  string: ["seeds", "from", "seed"],
  boolean: ["help"],
});
if (flags.help) {
  console.log(HELP.trimEnd());
  Deno.exit(0);
}
const name = String(flags._[0]);
const simulate = await loadSimulation(name);
if (flags._.length !== 1 || simulate === undefined) {
  refuse(`wanted the name of a simulation: ${SIMULATIONS.join(", ")}`);
}
const seed = number("seed", undefined);
if (seed !== undefined) {
  const run = simulate(seed, { transcript: true });
  for (const line of run.transcript) console.log(line);
  Deno.exit(show(run) ? 0 : 1);
}
const swarm = await runSwarm({
  simulation: name,
  first: number("from", 1) ?? 1,
  count: number("seeds", 10_000) ?? 0,
  onProgress: (text) => console.error(text),
});
console.log(
  `${swarm.seeds} seeds, ${swarm.steps} steps, ${swarm.messages} messages, ` +
    `${swarm.faults} faults in ${(swarm.ms / 1_000).toFixed(1)} s: ` +
    `${Math.round(swarm.seeds / swarm.ms * 60_000)} seeds a minute`,
);
for (const failed of swarm.failed.slice(0, 3)) {
  const run = simulate(failed, { transcript: true });
  for (const line of run.transcript.slice(-TRANSCRIPT_LINES_SHOWN)) {
    console.log(line);
  }
  show(run);
}
console.log(
  `${
    swarm.seeds - swarm.failed.length
  } seeds held, ${swarm.failed.length} did not`,
);
Deno.exit(swarm.failed.length === 0 ? 0 : 1);

/** Says how a run ended; true if all held. */
function show(run: SimulationRun): boolean {
  if (run.failures.length === 0) {
    console.log(
      `seed ${run.seed}: all held; ${run.messages} messages, ${run.faults} faults`,
    );
    return true;
  }
  for (const failure of run.failures.slice(0, 5)) {
    console.log(`FAILED: ${failure}`);
  }
  console.log(`Repeat it with: deno task sim ${name} --seed ${run.seed}`);
  return false;
}

function number(
  flag: "seeds" | "from" | "seed",
  otherwise: number | undefined,
): number | undefined {
  const text = flags[flag];
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    refuse(`--${flag} is "${text}", wanted a whole number`);
  }
  return value;
}

function refuse(text: string): never {
  console.error(`sim: ${text}. Try "deno task sim --help"`);
  Deno.exit(2);
}
