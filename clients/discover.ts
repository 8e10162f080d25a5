/** `skein discover`: who answers, once or every second. */

import { orExit } from "../nodes/host/flags.ts";
import { type Log, openLog } from "../nodes/host/log.ts";
import { escapeJson } from "../nodes/host/text.ts";
import { type DiscoverFlags, parseDiscoverFlags } from "./discover_flags.ts";
import {
  discoverReport,
  discoveryObject,
  formatDiscovery,
} from "./discover_report.ts";
import { NodeSearch } from "./node_search.ts";
import { print, showAgain, type Shown } from "./shown_again.ts";

/** Exit codes: somebody answers; nobody does; wrong flags are 2. */
const EXIT_FOUND = 0;
const EXIT_NOBODY = 1;

/** Shows who answers, and exits with 0 if anybody did when last asked. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseDiscoverFlags(args, Deno.env));
  const opened = openLog({ node: "skein-discover", level: "warn" });
  for (const warning of flags.warnings) opened.log.warn(warning);
  using nodes = openSearch(flags, opened.log);
  const wait = () =>
    new Promise<void>((resolve) => setTimeout(resolve, flags.timeoutMs));
  await wait();
  const shown = () => show(nodes, flags);
  if (flags.watch) {
    Deno.exit(await showAgain(() => Promise.resolve(shown()), flags));
  }
  const { lines, code } = shown();
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

function show(nodes: NodeSearch, flags: DiscoverFlags): Shown {
  const { counters, found } = nodes;
  const report = discoverReport(found, { ...flags, counters });
  const hasAny = report.groups.length + report.seekers.length > 0;
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
    code: hasAny ? EXIT_FOUND : EXIT_NOBODY,
  };
}
