/** The flags of `skein-chat recover`. */

import type { NodeId } from "../../../protocol/ids.ts";
import {
  type FlagTable,
  optionalFlag,
  requiredFlag,
  switchFlag,
} from "../../host/flag_table.ts";
import { identifier, path } from "../../host/flag_values.ts";
import { type Environment, parseFlags } from "../../host/flags.ts";

/** What `skein-chat recover` is told to do. */
export interface RecoverFlags {
  /** Of a server or witness that does not run. */
  readonly data: string;
  /** Make this server the only one of its group. */
  readonly force: boolean;
  /** Do not ask. */
  readonly yes: boolean;
  /** The server's name, where its own data do not say it. */
  readonly id: NodeId | undefined;
}

const table = {
  data: requiredFlag({
    names: ["--data"],
    value: path("directory"),
    about: "The data directory of a server or witness that does not run.",
    variable: "SKEIN_DATA",
  }),
  force: switchFlag({
    names: ["--force"],
    about:
      "Go on with this server alone: what only others have is lost for good.",
  }),
  yes: switchFlag({ names: ["--yes"], about: "Do not ask before --force." }),
  id: optionalFlag({
    names: ["--id"],
    value: identifier(),
    defaultText: "as its data say",
    about: "The server's name, for --force where its data do not say it.",
    variable: "SKEIN_ID",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein-chat recover` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for what is missing, wrong or contradicts.
 */
export function parseRecoverFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): RecoverFlags {
  const flags = parseFlags(table, {
    program: "skein-chat recover",
    about:
      "Says what the data directory of a stopped server or witness holds, and what its group needs to start again; with --force starts the group anew from this server, when nothing else is left.",
    examples: [
      ["skein-chat recover --data data/server-1", "looks, and changes nothing"],
      [
        "skein-chat recover --data data/server-1 --force",
        "makes server-1 the only one of its group",
      ],
    ],
    args,
    env,
    envFile,
  });
  const { values } = flags;
  if (values.yes && !values.force) {
    throw flags.refusal('"--yes" is for "--force" alone');
  }
  return values;
}
