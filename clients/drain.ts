/** `skein drain`: sends the clients of a mesh server to others. */

import { WireError } from "../protocol/errors.ts";
import type { MeshStatus } from "../protocol/mesh.ts";
import { orExit } from "../nodes/host/flags.ts";
import { openLog } from "../nodes/host/log.ts";
import { escapeText } from "../nodes/host/text.ts";
import { type DrainFlags, parseDrainFlags } from "./drain_flags.ts";
import type { MeshConnection } from "./mesh_connection.ts";
import { connectMesh } from "./mesh_server.ts";
import { print } from "./shown_again.ts";

/** How often to ask how many are left. */
const LOOK_EVERY_MS = 200;

/** How long one answer may take. */
const ANSWER_WAIT_MS_MAX = 5_000;

/** Exit codes: it is as it was wanted; it is not; wrong flags are 2. */
const EXIT_DONE = 0;
const EXIT_NOT_DONE = 1;

/** Empties a server, and exits with 0 once it is as it was wanted. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseDrainFlags(args, Deno.env));
  const opened = openLog({ node: "skein-drain", level: "warn" });
  const { log } = opened;
  const waitMs = Math.min(flags.timeoutMs, ANSWER_WAIT_MS_MAX);
  // Where to look is said: nothing is looked for.
  const where = {
    connect: [flags.connect],
    search: {
      where: { kind: "static", addresses: [flags.connect] },
      cluster: "",
      key: undefined,
    },
  } as const;
  let code = EXIT_NOT_DONE;
  try {
    using server = await connectMesh(where, { log, waitMs });
    await server.request({ type: "drain", undo: flags.undo }, waitMs);
    await follow(server, { flags, waitMs });
    code = EXIT_DONE;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    log.error(error.message, { code: error.code });
  }
  await opened.flush();
  Deno.exit(code);
}

/** @throws {WireError} The server does not answer, or clients stay too long. */
async function follow(
  server: MeshConnection,
  { flags, waitMs }: { readonly flags: DrainFlags; readonly waitMs: number },
): Promise<void> {
  const endMs = performance.now() + flags.timeoutMs;
  let shown: number | undefined;
  for (;;) {
    const status = await server.status(waitMs);
    if (status.clients !== shown) print(escapeText(sentence(status)));
    shown = status.clients;
    if (!flags.wait || shown === 0) return;
    if (performance.now() >= endMs) {
      throw new WireError(
        "timeout",
        `Server ${status.server} is not empty after ${
          flags.timeoutMs / 1_000
        } s`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

function sentence({ server, draining, clients }: MeshStatus): string {
  const count = clients === 1 ? "1 client" : `${clients} clients`;
  if (!draining) return `Server ${server} takes clients; it has ${count}`;
  return clients === 0
    ? `Server ${server} is empty`
    : `Server ${server} is being emptied: ${count} left`;
}
