/** `skein trace`: the way of one message through a mesh. */

import { WireError } from "../protocol/errors.ts";
import { formatMore } from "../protocol/mesh_answers.ts";
import { orExit } from "../nodes/host/flags.ts";
import { openLog } from "../nodes/host/log.ts";
import { escapeJson } from "../nodes/host/text.ts";
import { expected } from "./mesh_connection.ts";
import { connectMesh } from "./mesh_server.ts";
import { traceLines } from "./mesh_shown.ts";
import { print } from "./shown_again.ts";
import { parseTraceFlags } from "./trace_flags.ts";

/** Exit codes: it came to all servers; it did not; wrong flags are 2. */
const EXIT_ALL = 0;
const EXIT_NOT_ALL = 1;

/** Shows the way, and exits with 0 if no server is missing. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseTraceFlags(args, Deno.env));
  const opened = openLog({ node: "skein-trace", level: "warn" });
  for (const warning of flags.warnings) opened.log.warn(warning);
  const { log } = opened;
  const waitMs = flags.timeoutMs;
  let code = EXIT_NOT_ALL;
  try {
    using server = await connectMesh(flags, { log, waitMs });
    const answer = await server.request({ type: "trace" }, waitMs);
    const trace = expected(answer, "trace");
    const lines = flags.json
      ? [escapeJson(formatMore(trace))]
      : traceLines(trace);
    print(lines.join("\n"));
    if (trace.missing.length === 0) code = EXIT_ALL;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    log.error(error.message, { code: error.code });
  }
  await opened.flush();
  Deno.exit(code);
}
