/** Flags of commands that talk to a chat group: which servers, or where to look for them. */

import type { Address } from "../protocol/address.ts";
import { clusterKeyFlags, readClusterKey } from "../nodes/host/cluster_key.ts";
import {
  DISCOVER_UDP,
  discoverFlags,
  discoverWhere,
} from "../nodes/host/discovery/discover_flags.ts";
import type { DiscoverWhere } from "../nodes/host/discovery/finder.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
} from "../nodes/host/flag_table.ts";
import { addressList, identifier } from "../nodes/host/flag_values.ts";
import type { ParsedFlags } from "../nodes/host/flags.ts";

/** Where a name's addresses are asked: at the port of people. */
const CLIENT_PORT = 8091;

/** Where to look, and whom to believe. */
export interface SearchSettings {
  readonly where: DiscoverWhere;
  readonly cluster: string;
  readonly key: Uint8Array | undefined;
}

/** Which servers to talk to. */
export interface WhereSettings {
  /** Client ports, first choice first; none: look for them. */
  readonly connect: readonly Address[];
  readonly search: SearchSettings;
  /** What to log once there is a log. */
  readonly warnings: readonly string[];
}

/** The part of a command's flags that says which servers. */
export const whereFlags = {
  connect: optionalFlag({
    names: ["-c", "--connect"],
    value: addressList(),
    about: "Client ports of the servers: the first to use, then the others.",
    variable: "SKEIN_CHAT",
    defaultText: "looked for, see --discover",
  }),
  ...discoverFlags({ dnsPort: CLIENT_PORT, defaultText: "udp" }),
  cluster: defaultFlag({
    names: ["--cluster"],
    value: identifier(),
    default: "skein",
    about: "The cluster whose servers to look for.",
    variable: "SKEIN_CLUSTER",
  }),
  ...clusterKeyFlags,
} as const satisfies FlagTable;

/**
 * Reads them. A flag counts before a variable; of two in one place `--connect`.
 *
 * @throws {FlagsExit} Both flags are given, the key cannot be used, or there is
 *   nowhere to look.
 */
export function readWhere(
  flags: ParsedFlags<typeof whereFlags>,
): WhereSettings {
  const { connect = [], discover = DISCOVER_UDP, cluster } = flags.values;
  const { key, warnings } = readClusterKey(flags);
  const isSaid = {
    connect: flags.source("connect"),
    discover: flags.source("discover"),
  };
  const isStatic = discover.kind === "static";
  if (isSaid.connect === "flag" && isSaid.discover === "flag" && !isStatic) {
    throw flags.refusal(
      '"--connect" and "--discover" both say where the servers are',
    );
  }
  if (isStatic && connect.length === 0) {
    throw flags.refusal(
      `${flags.said("discover")} says to look nowhere: say "--connect" as well`,
    );
  }
  const ranks = ["flag", "environment", "file", "default"];
  const isListed = connect.length > 0 && (isStatic ||
    ranks.indexOf(isSaid.connect) <= ranks.indexOf(isSaid.discover));
  const addresses = isListed ? connect : [];
  return {
    connect: addresses,
    search: {
      where: isListed
        ? { kind: "static", addresses }
        : discoverWhere(discover, addresses),
      cluster,
      key,
    },
    warnings,
  };
}
