/** The flags of `skein status`. */

import { duration } from "../nodes/host/flag_values.ts";
import {
  defaultFlag,
  type FlagTable,
  switchFlag,
} from "../nodes/host/flag_table.ts";
import { type Environment, parseFlags } from "../nodes/host/flags.ts";
import { readWhere, whereFlags, type WhereSettings } from "./where_flags.ts";

/** What `skein status` is told to do. */
export interface StatusFlags extends WhereSettings {
  /** Ask again and again, until it is stopped. */
  readonly watch: boolean;
  /** One JSON object a line in place of a table. */
  readonly json: boolean;
  /** How long a server may take to answer. */
  readonly timeoutMs: number;
}

/** What `skein status` is, in a sentence. */
export const STATUS_ABOUT =
  "Shows a chat group: who leads, who is in sync, how far each has come; or a mesh: its servers and how they are linked; ends with 0 if it takes writes, else with 1.";

/** For the completion of the whole `skein`. */
export const statusFlagTable = {
  ...whereFlags,
  connect: {
    ...whereFlags.connect,
    about:
      "Client ports of the servers to ask; whom they know of is shown as well.",
  },
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
    default: 2_000,
    about: "How long a server may take to answer.",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein status` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseStatusFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): StatusFlags {
  const flags = parseFlags(statusFlagTable, {
    program: "skein status",
    about: STATUS_ABOUT,
    examples: [
      ["skein status", "shows the group of this network"],
      ["skein status -c HOST1:8091,HOST2:8092", "shows the group of these"],
      ["skein status -c HOST:8091 --watch", "and again every second"],
      ["skein status -c HOST:8091 --json | jq", "for programs"],
    ],
    args,
    env,
    envFile,
  });
  const { watch, json, timeout } = flags.values;
  return { ...readWhere(flags), watch, json, timeoutMs: timeout };
}
