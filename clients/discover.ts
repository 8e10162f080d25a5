/** `skein discover`: who answers, once or every second. */

import { type Address, formatAddress } from "../protocol/address.ts";
import { WireError } from "../protocol/errors.ts";
import { orExit } from "../nodes/host/flags.ts";
import { closeConn, connect } from "../nodes/host/link.ts";
import { type Log, openLog } from "../nodes/host/log.ts";
import { escapeJson } from "../nodes/host/text.ts";
import { type DiscoverFlags, parseDiscoverFlags } from "./discover_flags.ts";
import {
  type DiscoverReport,
  discoverReport,
  discoveryObject,
  formatDiscovery,
} from "./discover_report.ts";
import { NodeSearch } from "./node_search.ts";
import { print, showAgain, type Shown } from "./shown_again.ts";

/** How long it may take to find out why an address does not answer. */
const PROBE_WAIT_MS_MAX = 500;

/** Exit codes: somebody answers; nobody does; wrong flags are 2. */
const EXIT_FOUND = 0;
const EXIT_NOBODY = 1;

/** Shows who answers, and exits with 0 if anybody did when last asked. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseDiscoverFlags(args, Deno.env));
  const opened = openLog({ node: "skein-discover", level: "warn" });
  for (const warning of flags.warnings) opened.log.warn(warning);
  using nodes = openSearch(flags, opened.log);
  await waitFor(nodes, flags);
  if (flags.watch) {
    const shown = () => Promise.resolve(show(nodes, flags));
    Deno.exit(await showAgain(shown, flags));
  }
  const { lines, code } = show(nodes, flags, await problemsOf(nodes, flags));
  await opened.flush();
  print(lines.join("\n"));
  Deno.exit(code);
}

function openSearch(
  { search, all }: DiscoverFlags,
  log: Log,
): NodeSearch {
  return new NodeSearch({
    ...search,
    ...all && search.where.kind === "udp" && { cluster: undefined },
    service: undefined,
    log,
  });
}

/** Where the addresses are known, no longer than until all have answered. */
async function waitFor(
  nodes: NodeSearch,
  { connect, timeoutMs }: DiscoverFlags,
): Promise<void> {
  if (connect.length > 0) return await nodes.allOf(connect.map(way), timeoutMs);
  await new Promise((resolve) => setTimeout(resolve, timeoutMs));
}

/** Why nobody answered at addresses that were given; sentences. */
async function problemsOf(
  nodes: NodeSearch,
  { connect: addresses, timeoutMs }: DiscoverFlags,
): Promise<readonly string[]> {
  if (hasAny(nodes.found)) return [];
  const waitMs = Math.min(timeoutMs, PROBE_WAIT_MS_MAX);
  const problems = addresses.map(async (address) => {
    try {
      closeConn(await connect(address, { waitMs }));
      return [];
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return [`Cannot reach ${formatAddress(address)}: ${error.message}`];
    }
  });
  return (await Promise.all(problems)).flat();
}

/** How a node says that it was found at an address that was given. */
function way(address: Address): string {
  return `static ${formatAddress(address)}`;
}

function hasAny(
  { groups, meshes, seekers }: Pick<
    DiscoverReport,
    "groups" | "meshes" | "seekers"
  >,
): boolean {
  return groups.length + meshes.length + seekers.length > 0;
}

function show(
  nodes: NodeSearch,
  flags: DiscoverFlags,
  problems: readonly string[] = [],
): Shown {
  const { counters, found } = nodes;
  const report = discoverReport(found, { ...flags, counters, problems });
  return {
    lines: flags.json
      ? [
        escapeJson(
          JSON.stringify({
            time: Date.now(),
            ...discoveryObject(report),
            counters,
          }),
        ),
      ]
      : formatDiscovery(report),
    code: hasAny(report) ? EXIT_FOUND : EXIT_NOBODY,
  };
}
