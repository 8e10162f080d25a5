/** The flags of `skein discover`. */

import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  switchFlag,
} from "../nodes/host/flag_table.ts";
import { addressList, duration } from "../nodes/host/flag_values.ts";
import { type Environment, parseFlags } from "../nodes/host/flags.ts";
import { readWhere, whereFlags, type WhereSettings } from "./where_flags.ts";

/** What `skein discover` is told to do. */
export interface DiscoverFlags extends WhereSettings {
  /** Nodes of every cluster, not of one alone. */
  readonly all: boolean;
  /** Ask again and again, until it is stopped. */
  readonly watch: boolean;
  /** One JSON object a line in place of a table. */
  readonly json: boolean;
  /** How long to wait for answers. */
  readonly timeoutMs: number;
}

/** What `skein discover` is, in a sentence. */
export const DISCOVER_ABOUT =
  "Shows which nodes answer on this network, and in which groups they are; ends with 0 if any does, else with 1.";

/** For the completion of the whole `skein`. */
export const discoverFlagTable = {
  ...whereFlags,
  // Not from a variable, which says where to chat: this is for what else there is.
  connect: optionalFlag({
    names: ["-c", "--connect"],
    value: addressList(),
    about: "Ports of nodes to ask over TCP: those for people or for nodes.",
    defaultText: "whoever answers, see --discover",
  }),
  all: switchFlag({
    names: ["--all"],
    about: "Show nodes of every cluster whose key is the same.",
  }),
  watch: switchFlag({
    names: ["-w", "--watch"],
    about: "Ask again every second, until Ctrl-C.",
  }),
  json: switchFlag({
    names: ["--json"],
    about: "One JSON object a line in place of the table.",
  }),
  timeout: defaultFlag({
    names: ["--timeout"],
    value: duration({ msMin: 50, msMax: 60_000 }),
    default: 1_000,
    about: "How long to wait for answers.",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein discover` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseDiscoverFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): DiscoverFlags {
  const flags = parseFlags(discoverFlagTable, {
    program: "skein discover",
    about: DISCOVER_ABOUT,
    examples: [
      ["skein discover", "asks by UDP, on all networks"],
      ["skein discover --all --watch", "every cluster, again every second"],
      [
        "skein discover --discover dns:chat.lab",
        "asks those of that name",
      ],
      ["skein discover -c HOST:8091", "asks one node, over TCP"],
    ],
    args,
    env,
    envFile,
  });
  const { all, watch, json, timeout } = flags.values;
  if (all && flags.source("cluster") === "flag") {
    throw flags.refusal('"--all" and "--cluster" contradict each other');
  }
  const where = readWhere(flags);
  return { ...where, all, watch, json, timeoutMs: timeout };
}
