/** The flags of `skein trace`. */

import { duration } from "../nodes/host/flag_values.ts";
import {
  defaultFlag,
  type FlagTable,
  switchFlag,
} from "../nodes/host/flag_table.ts";
import { type Environment, parseFlags } from "../nodes/host/flags.ts";
import { readWhere, whereFlags, type WhereSettings } from "./where_flags.ts";

/** What `skein trace` is told to do. */
export interface TraceFlags extends WhereSettings {
  readonly json: boolean;
  /** How long a server may take. */
  readonly timeoutMs: number;
}

/** What `skein trace` is, in a sentence. */
export const TRACE_ABOUT =
  "Sends a message that nobody sees through a mesh, and shows which way it took to each server, and how long; ends with 0 if it came to all that are up, else with 1.";

/** For the completion of the whole `skein`. */
export const traceFlagTable = {
  ...whereFlags,
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
 * Reads what `skein trace` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseTraceFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): TraceFlags {
  const flags = parseFlags(traceFlagTable, {
    program: "skein trace",
    about: TRACE_ABOUT,
    examples: [["skein trace -c HOST:5001", "from that server to all others"]],
    args,
    env,
    envFile,
  });
  const { json, timeout } = flags.values;
  return { ...readWhere(flags), json, timeoutMs: timeout };
}
