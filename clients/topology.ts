/** `skein topology`: how messages go from server to server of a mesh. */

import { WireError } from "../protocol/errors.ts";
import type { ToClient, Topology } from "../protocol/mesh.ts";
import { formatMore } from "../protocol/mesh_answers.ts";
import { orExit } from "../nodes/host/flags.ts";
import { type Log, openLog } from "../nodes/host/log.ts";
import { escapeJson } from "../nodes/host/text.ts";
import { expected, type MeshConnection } from "./mesh_connection.ts";
import { connectMesh } from "./mesh_server.ts";
import { topologyLines } from "./mesh_shown.ts";
import { print } from "./shown_again.ts";
import { parseTopologyFlags, type TopologyFlags } from "./topology_flags.ts";

/** How often to ask whether another topology is in force. */
const LOOK_EVERY_MS = 100;

type TopologyAnswer = ToClient & { readonly type: "topology" };

/** Shows or switches, and exits with 0 if the server says what was wanted. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseTopologyFlags(args, Deno.env));
  const opened = openLog({ node: "skein-topology", level: "warn" });
  for (const warning of flags.warnings) opened.log.warn(warning);
  let code = 1;
  try {
    const answer = await look(flags, opened.log);
    const lines = flags.json
      ? [escapeJson(formatMore(answer))]
      : topologyLines(answer);
    print(lines.join("\n"));
    code = 0;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    opened.log.error(error.message, { code: error.code });
  }
  await opened.flush();
  Deno.exit(code);
}

/** @throws {WireError} Nobody answers, or the wanted one is not in force in time. */
async function look(flags: TopologyFlags, log: Log): Promise<TopologyAnswer> {
  const { topology: wanted, timeoutMs } = flags;
  const endMs = performance.now() + timeoutMs;
  using server = await connectMesh(flags, { log, waitMs: timeoutMs });
  if (wanted !== undefined) {
    await server.request({ type: "topology", topology: wanted }, timeoutMs);
  }
  for (;;) {
    const answer = await ask(server, timeoutMs);
    if (wanted === undefined || answer.topology === wanted) return answer;
    if (performance.now() >= endMs) throw notYet(wanted, answer);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

async function ask(
  server: MeshConnection,
  waitMs: number,
): Promise<TopologyAnswer> {
  return expected(
    await server.request({ type: "topology" }, waitMs),
    "topology",
  );
}

function notYet(wanted: Topology, { topology, by }: TopologyAnswer): WireError {
  const who = by === undefined ? "" : `, which Server ${by} has chosen`;
  return new WireError(
    "timeout",
    `Cannot switch to "${wanted}": the server still has "${topology}"${who}`,
  );
}
