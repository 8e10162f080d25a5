/** The flags of `skein topology`. */

import { choice, duration } from "../nodes/host/flag_values.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  switchFlag,
} from "../nodes/host/flag_table.ts";
import { type Environment, parseFlags } from "../nodes/host/flags.ts";
import { TOPOLOGIES, type Topology } from "../protocol/mesh.ts";
import { readWhere, whereFlags, type WhereSettings } from "./where_flags.ts";

/** What `skein topology` is told to do. */
export interface TopologyFlags extends WhereSettings {
  /** What to switch to; undefined: only show. */
  readonly topology: Topology | undefined;
  readonly json: boolean;
  /** How long a server may take. */
  readonly timeoutMs: number;
}

/** What `skein topology` is, in a sentence. */
export const TOPOLOGY_ABOUT =
  "Shows how messages go from server to server of a mesh, or switches it for all servers while they run; ends with 0 once the server that was asked says so.";

/** For the completion of the whole `skein`. */
export const topologyFlagTable = {
  ...whereFlags,
  topology: optionalFlag({
    names: ["--to"],
    value: choice(TOPOLOGIES),
    about: "What to switch to; the bare word does as well.",
  }),
  json: switchFlag({
    names: ["--json"],
    about: "A JSON object in place of text.",
  }),
  timeout: defaultFlag({
    names: ["--timeout"],
    value: duration({ msMin: 50, msMax: 60_000 }),
    default: 5_000,
    about: "How long the server may take.",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein topology` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseTopologyFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): TopologyFlags {
  const flags = parseFlags(topologyFlagTable, {
    program: "skein topology",
    about: TOPOLOGY_ABOUT,
    examples: [
      ["skein topology -c HOST:5001", "shows it"],
      ["skein topology ring -c HOST:5001", "switches to a ring"],
    ],
    args: withoutWord(args),
    env,
    envFile,
  });
  const { topology, json, timeout } = flags.values;
  return { ...readWhere(flags), topology, json, timeoutMs: timeout };
}

/** A word at either end as a flag: `ring`, and what was meant to be one. */
function withoutWord(args: readonly string[]): readonly string[] {
  const [first, ...rest] = args;
  if (first !== undefined && !first.startsWith("-")) {
    return ["--to", first, ...rest];
  }
  const last = args.at(-1);
  const isWord = TOPOLOGIES.some((one) => one === last);
  const before = args.at(-2) ?? "";
  // Behind a flag it may be that flag's value; those that take none are few.
  const isFree = !before.startsWith("-") || before === "--json";
  if (!isWord || last === undefined || !isFree) return args;
  return [...args.slice(0, -1), "--to", last];
}
