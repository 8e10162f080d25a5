/** `bench chain`: Skein's chain beside socat, HAProxy and a Python relay. */

import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
} from "../../nodes/host/flag_table.ts";
import { path, wholeNumber } from "../../nodes/host/flag_values.ts";
import { orExit, parseFlags } from "../../nodes/host/flags.ts";
import { ChainBench } from "./chain/chain_bench.ts";
import { seconds } from "./seconds.ts";
import { untilStopped } from "./until_stopped.ts";

/** What `bench chain` is, in a sentence. */
export const CHAIN_BENCH_ABOUT =
  "Four hops on loopback: Skein beside socat, HAProxy and a Python relay.";

const table = {
  seconds: defaultFlag({
    names: ["--seconds"],
    value: seconds({ min: 0.05, max: 10 }),
    default: 1,
    about: "How long each run keeps a chain full, 0.05 to 10.",
  }),
  runs: defaultFlag({
    names: ["--runs"],
    value: wholeNumber({ min: 1, max: 100 }),
    default: 5,
    about: "How many times each chain has its turn, 1 to 100.",
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
 * @returns The exit code: 0 whatever the figures are, 130 when it was stopped.
 */
export async function benchChain(args: readonly string[]): Promise<number> {
  const { values } = orExit(() =>
    parseFlags(table, {
      program: "bench chain",
      about: `${CHAIN_BENCH_ABOUT} Takes some three minutes.`,
      examples: [
        ["deno task bench chain", "all of it"],
        ["deno task bench chain --seconds 0.2 --runs 3", "a quick look"],
        ["deno task bench chain --json FILE", "also run by run"],
      ],
      args,
      env: Deno.env,
    })
  );
  return await untilStopped((bench) => new ChainBench(bench, values).run());
}
