/** The flags of every node, whatever its role. */

import { clusterKeyFlags } from "./cluster_key.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  switchFlag,
} from "./flag_table.ts";
import { address, choice, identifier } from "./flag_values.ts";
import { LOG_LEVELS } from "./log_level.ts";

/** Which cluster, and how the node is watched and stopped. */
export const nodeFlags = {
  cluster: defaultFlag({
    names: ["--cluster"],
    value: identifier(),
    default: "skein",
    about: "The cluster's name; nodes of another one are refused.",
    variable: "SKEIN_CLUSTER",
  }),
  ...clusterKeyFlags,
  admin: optionalFlag({
    names: ["--admin"],
    value: address({ defaultHost: "127.0.0.1", portMin: 0 }),
    defaultText: "off",
    about:
      "Where to serve health, metrics and state over HTTP; a bare port at 127.0.0.1.",
    variable: "SKEIN_ADMIN",
  }),
  logLevel: defaultFlag({
    names: ["--log-level"],
    value: choice(LOG_LEVELS, "LEVEL"),
    default: "info",
    about: "What to log to standard error: debug, info, warn or error.",
    variable: "SKEIN_LOG_LEVEL",
  }),
  exitWithParent: switchFlag({
    names: ["--exit-with-parent"],
    about: "Stop when standard input closes; for launchers.",
  }),
} as const satisfies FlagTable;
