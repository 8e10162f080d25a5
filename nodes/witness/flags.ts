/** The flags of `skein-witness`. */

import { type FlagTable, optionalFlag } from "../host/flag_table.ts";
import { wholeNumber } from "../host/flag_values.ts";
import { type Environment, parseFlags } from "../host/flags.ts";
import {
  groupFlags,
  type NodeSettings,
  readNodeSettings,
} from "../chat/group/group_flags.ts";

/** What a witness is told to do. */
export type WitnessSettings = NodeSettings;

const WITNESS_NUMBER_MAX = 99;

const table = {
  witnessNumber: optionalFlag({
    names: ["--witness-number"],
    value: wholeNumber({ min: 1, max: WITNESS_NUMBER_MAX }),
    about:
      "Which witness of the group in WITNESS1_IP, WITNESS2_IP … this is; its id is witness-N.",
    variable: "WITNESS_NUMBER",
  }),
  ...groupFlags,
} as const satisfies FlagTable;

/**
 * Reads what `skein-witness` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for what is missing, wrong or contradicts.
 */
export function parseWitnessFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): WitnessSettings {
  const flags = parseFlags(table, {
    program: "skein-witness",
    about:
      "A witness of the replicated chat: votes on which servers are in sync and who leads, and keeps no messages.",
    examples: [
      ["skein-witness", "finds its group, and votes"],
      ["skein-witness --witness-number 1", "witness 1 of the group in .env"],
      ["skein-witness --id w --witness w=HOST:8084 …", "without an .env"],
    ],
    args,
    env,
    envFile,
  });
  const { values } = flags;
  return readNodeSettings(flags, {
    kind: "witness",
    env,
    number: values.witnessNumber,
    numberSaid: flags.said("witnessNumber"),
    isNumberFlag: flags.source("witnessNumber") === "flag",
  });
}
