/** The flags of `skein leave`. */

import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
} from "../nodes/host/flag_table.ts";
import { addressList, duration } from "../nodes/host/flag_values.ts";
import { type Environment, parseFlags } from "../nodes/host/flags.ts";
import { readWhere, whereFlags, type WhereSettings } from "./where_flags.ts";

/** What `skein leave` is told to do; `connect` has one address or none. */
export interface LeaveFlags extends WhereSettings {
  /** How long leaving may take. */
  readonly timeoutMs: number;
}

/** What `skein leave` is, in a sentence. */
export const LEAVE_ABOUT =
  "Sends a server out of its group for good: it hands over, gives its vote up, and ends; ends with 0 once that is done. A server that only restarts is stopped instead.";

/** For the completion of the whole `skein`. */
export const leaveFlagTable = {
  ...whereFlags,
  // Not from a variable, which says where to chat: nobody is sent away by mistake.
  connect: optionalFlag({
    names: ["-c", "--connect"],
    value: addressList(),
    about: "The client port of the server that is to leave.",
    defaultText: "the one server of this machine",
  }),
  timeout: defaultFlag({
    names: ["--timeout"],
    value: duration({ msMin: 1_000, msMax: 3_600_000 }),
    default: 30_000,
    about: "How long to wait until it has left.",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein leave` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseLeaveFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): LeaveFlags {
  const flags = parseFlags(leaveFlagTable, {
    program: "skein leave",
    about: LEAVE_ABOUT,
    examples: [
      ["skein leave", "this machine's only server"],
      ["skein leave -c HOST:8092 --key-file key", "that server"],
    ],
    args,
    env,
    envFile,
  });
  const where = readWhere(flags);
  // A list of servers to try would send away whichever answers.
  if (where.connect.length > 1) {
    throw flags.refusal(
      `${
        flags.said("connect")
      } names ${where.connect.length} servers: say "-c HOST:PORT" of the one that is to leave`,
    );
  }
  return { ...where, timeoutMs: flags.values.timeout };
}
