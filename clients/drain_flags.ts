/** The flags of `skein drain`. */

import type { Address } from "../protocol/address.ts";
import { address, duration } from "../nodes/host/flag_values.ts";
import {
  defaultFlag,
  type FlagTable,
  requiredFlag,
  switchFlag,
} from "../nodes/host/flag_table.ts";
import { type Environment, parseFlags } from "../nodes/host/flags.ts";

/** What `skein drain` is told to do. */
export interface DrainFlags {
  readonly connect: Address;
  /** Take clients again. */
  readonly undo: boolean;
  /** Wait until no client is left. */
  readonly wait: boolean;
  /** How long the server may take, or all clients with `wait`. */
  readonly timeoutMs: number;
}

/** What `skein drain` is, in a sentence. */
export const DRAIN_ABOUT =
  "Empties a mesh server of this machine: it takes no new clients and asks those that it has to go to others; ends with 0 once it does, or with --wait once none is left.";

/** For the completion of the whole `skein`. */
export const drainFlagTable = {
  // Not from a variable, which says where to chat: nothing is emptied by mistake.
  connect: requiredFlag({
    names: ["-c", "--connect"],
    value: address({ portMin: 1 }),
    about: "The server; it is obeyed only from its own machine.",
  }),
  undo: switchFlag({
    names: ["--undo"],
    about: "Take clients again.",
  }),
  wait: switchFlag({
    names: ["--wait"],
    about: "Wait until no client is left.",
  }),
  timeout: defaultFlag({
    names: ["--timeout"],
    value: duration({ msMin: 50, msMax: 3_600_000 }),
    default: 60_000,
    about: "How long to wait.",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein drain` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseDrainFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): DrainFlags {
  const flags = parseFlags(drainFlagTable, {
    program: "skein drain",
    about: DRAIN_ABOUT,
    examples: [
      ["skein drain -c 127.0.0.1:5001 --wait", "before it is stopped"],
      ["skein drain -c 127.0.0.1:5001 --undo", "takes clients again"],
    ],
    args,
    env,
    envFile,
  });
  const { connect, undo, wait, timeout } = flags.values;
  if (undo && wait) {
    throw flags.refusal('"--undo" and "--wait" contradict each other');
  }
  return { connect, undo, wait, timeoutMs: timeout };
}
