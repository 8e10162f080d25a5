/** The life of a node's process: how it is told to stop, and how it stops. */

import type { OpenLog } from "./log.ts";

/** A node cannot start, for a reason that its message tells a person. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** How long a clean stop may take. */
export const STOP_WAIT_MS = 5_000;

/** Exit code after a second signal, or when a stop took too long. */
const EXIT_FORCED = 130;

/**
 * Calls `stop` once, on SIGINT, SIGTERM, or when standard input ends if the
 * node is to live no longer than its launcher. Then flushes the log and exits
 * with 0; with 130 on a second signal or when `stop` takes over 5 s.
 *
 * @returns Does the same for a reason of the node's own.
 */
export function stopOnSignals(
  options: {
    log: OpenLog;
    exitWithParent: boolean;
    stop: (reason: string) => Promise<void>;
  },
): (reason: string) => void {
  let isStopping = false;
  const stop = async (reason: string) => {
    if (isStopping) Deno.exit(EXIT_FORCED);
    isStopping = true;
    const timer = setTimeout(() => Deno.exit(EXIT_FORCED), STOP_WAIT_MS);
    await options.stop(reason);
    await options.log.flush();
    clearTimeout(timer);
    Deno.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // Windows knows no SIGTERM; there a node is stopped by Ctrl-C.
    if (Deno.build.os === "windows" && signal === "SIGTERM") continue;
    Deno.addSignalListener(signal, () => void stop(signal));
  }
  if (options.exitWithParent) {
    void endOfInput().then(() => {
      if (!isStopping) void stop("standard input was closed");
    });
  }
  return (reason) => {
    if (!isStopping) void stop(reason);
  };
}

async function endOfInput(): Promise<void> {
  const buffer = new Uint8Array(256);
  try {
    while (await Deno.stdin.read(buffer) !== null);
  } catch {
    // An input that cannot be read has ended as well.
  }
}
