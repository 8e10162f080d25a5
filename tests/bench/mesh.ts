/** `bench mesh`: Skein's mesh beside ngircd, mosquitto and NATS core, its log beside others. */

import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  switchFlag,
} from "../../nodes/host/flag_table.ts";
import { path, wholeNumber } from "../../nodes/host/flag_values.ts";
import { orExit, parseFlags } from "../../nodes/host/flags.ts";
import { MeshBench, type MeshBenchOptions } from "./mesh/mesh_bench.ts";
import { seconds } from "./seconds.ts";
import { untilStopped } from "./until_stopped.ts";

/** What `bench mesh` is, in a sentence. */
export const MESH_BENCH_ABOUT =
  "Messages to many clients beside ngircd, mosquitto and NATS; the shared log.";

/** A look, in less than a minute. */
const QUICK = { seconds: 0.5, rounds: 1 };

const table = {
  seconds: defaultFlag({
    names: ["--seconds"],
    value: seconds({ min: 0.05, max: 60 }),
    default: 1,
    about: "How long each run is measured, 0.05 to 60.",
  }),
  rounds: defaultFlag({
    names: ["--rounds"],
    value: wholeNumber({ min: 1, max: 100 }),
    default: 5,
    about: "How many times each system has its turn, 1 to 100.",
  }),
  quick: switchFlag({
    names: ["--quick"],
    about: "A look in a minute: one round, half a second each.",
  }),
  json: optionalFlag({
    names: ["--json"],
    value: path("file"),
    about: "Where to write all figures, round by round.",
  }),
} as const satisfies FlagTable;

/**
 * Measures and prints.
 *
 * @returns The exit code: 0 whatever the figures are, 130 when it was stopped.
 */
export async function benchMesh(args: readonly string[]): Promise<number> {
  const { values } = orExit(() =>
    parseFlags(table, {
      program: "bench mesh",
      about: `${MESH_BENCH_ABOUT} Takes some four minutes.`,
      examples: [
        ["deno task bench mesh", "all of it"],
        ["deno task bench mesh --quick", "a quick look"],
        ["deno task bench mesh --json FILE", "also round by round"],
        ["TMPDIR=/dev/shm deno task bench mesh", "the log in memory"],
      ],
      args,
      env: Deno.env,
    })
  );
  const { quick, ...options } = values;
  return await untilStopped((bench) => {
    const chosen: MeshBenchOptions = quick ? { ...options, ...QUICK } : options;
    return new MeshBench(bench, chosen).run();
  });
}
