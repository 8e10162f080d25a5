/** `bench discovery`: how soon Skein's chat is a group, beside agents of serf. */

import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  switchFlag,
} from "../../nodes/host/flag_table.ts";
import { path, wholeNumber } from "../../nodes/host/flag_values.ts";
import { orExit, parseFlags } from "../../nodes/host/flags.ts";
import { DiscoveryBench } from "./discovery/discovery_bench.ts";
import { isInOwnNetwork, runInOwnNetwork } from "./discovery/own_network.ts";
import { untilStopped } from "./until_stopped.ts";

/** What `bench discovery` is, in a sentence. */
export const DISCOVERY_BENCH_ABOUT =
  "Three hosts without a flag: joining and failover, Skein beside serf.";

const RUNS_QUICK = 5;

const table = {
  runs: defaultFlag({
    names: ["--runs"],
    value: wholeNumber({ min: 1, max: 1_000 }),
    default: 20,
    about: "How many groups of each kind are started, 1 to 1000.",
  }),
  quick: switchFlag({
    names: ["--quick"],
    about: `A look in a minute: ${RUNS_QUICK} runs.`,
  }),
  json: optionalFlag({
    names: ["--json"],
    value: path("file"),
    about: "Where to write all figures, run by run.",
  }),
} as const satisfies FlagTable;

/**
 * Measures and prints.
 *
 * @returns The exit code: 0 whatever the figures are, 1 where no networks can
 *   be made, 130 when it was stopped.
 */
export async function benchDiscovery(args: readonly string[]): Promise<number> {
  const { values } = orExit(() =>
    parseFlags(table, {
      program: "bench discovery",
      about: `${DISCOVERY_BENCH_ABOUT} Takes some three minutes.`,
      examples: [
        ["deno task bench discovery", "all of it; as root, on Linux"],
        ["deno task bench discovery --quick", "a quick look"],
        ["SKEIN_BIN=dist deno task bench discovery", "with what was built"],
      ],
      args,
      env: Deno.env,
    })
  );
  if (!isInOwnNetwork()) return await runInOwnNetwork(["discovery", ...args]);
  const { quick, runs, json } = values;
  // Removed when all that runs in them has ended, also when that is in haste.
  using networks = new DisposableStack();
  const options = { runs: quick ? RUNS_QUICK : runs, json, networks };
  return await untilStopped((bench) =>
    new DiscoveryBench(bench, options).run()
  );
}
