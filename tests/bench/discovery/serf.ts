/** Agents of serf, which keep a list of each other by gossip and nothing else. */

import { ip } from "../../namespace.ts";
import type { Machine } from "../../process/network.ts";
import { SerfLink } from "./serf_link.ts";
import type { System } from "./system.ts";

/** What must be installed, and as which package of Debian. */
export const SERF_PROGRAM = { name: "serf", package: "serf" } as const;

const RPC_PORT = 7_373;
const MULTICAST = "224.0.0.0/4";

/** They find each other by mDNS; all else is as it comes. */
export const serf: System = {
  name: "serf",
  firstLine: /^==>/,
  // Without it no multicast leaves, and its agent crashes in the first question.
  prepare: ({ name }) =>
    ip("-n", name, "route", "add", MULTICAST, "dev", "eth0"),
  command: (machine) => [
    SERF_PROGRAM.name,
    "agent",
    ...["-node", nameOf(machine)],
    ...["-iface", "eth0"],
    ...["-discover", "bench"],
    ...["-rpc-addr", `${machine.host}:${RPC_PORT}`],
  ],
  connect: (machine) =>
    SerfLink.connect(
      { hostname: machine.host, port: RPC_PORT },
      nameOf(machine),
    ),
};

/** The version that is installed, in its own words; undefined: it is not. */
export function serfVersion(): string | undefined {
  try {
    const { stdout } = new Deno.Command(SERF_PROGRAM.name, {
      args: ["version"],
    }).outputSync();
    const [version] = new TextDecoder().decode(stdout).split("\n");
    return `serf ${version.trim()}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function nameOf({ plug }: Machine): string {
  return plug;
}
