/** Benches that are told to stop. */

import { StopRequest } from "../../deploy/stop_request.ts";
import { Workbench } from "./workbench.ts";

const EXIT_INTERRUPTED = 130;

/**
 * Runs a bench to its end, or until it is told to stop, and leaves nothing of
 * it behind.
 *
 * @returns The exit code: 0, or 130 when it was stopped.
 */
export async function untilStopped(
  run: (bench: Workbench) => Promise<void>,
): Promise<number> {
  const request = new StopRequest();
  const broken = Promise.withResolvers<never>();
  // Else the process would end here and now, and what it started would not.
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    broken.reject(event.reason);
  };
  addEventListener("unhandledrejection", onRejection);
  try {
    await using bench = new Workbench();
    return await Promise.race([
      run(bench).then(() => 0),
      request.stop.then(() => EXIT_INTERRUPTED),
      broken.promise,
    ]);
  } finally {
    removeEventListener("unhandledrejection", onRejection);
    request.close();
  }
}
