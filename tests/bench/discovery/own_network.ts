/** A bench in a network of its own: what its hosts broadcast reaches nobody else, and nobody's servers join them. */

import { StopRequest } from "../../../deploy/stop_request.ts";
import { networkMissing } from "../../process/network.ts";

/** Set where the bench is to be run, and not to be sent elsewhere. */
const INSIDE = "SKEIN_BENCH_NETWORK";

const EXIT_FAILED = 1;
const MAIN = new URL("../main.ts", import.meta.url).pathname;

/** Whether this process runs in a network of its own. */
export function isInOwnNetwork(): boolean {
  return Deno.env.get(INSIDE) === "1";
}

/**
 * Runs `deno task bench` with these words once more, in a network of its own.
 *
 * @returns The exit code.
 */
export async function runInOwnNetwork(
  args: readonly string[],
): Promise<number> {
  const reason = networkMissing();
  if (reason !== undefined) {
    console.error(`skein bench: No networks can be made here: ${reason}`);
    return EXIT_FAILED;
  }
  const request = new StopRequest();
  try {
    const child = new Deno.Command("unshare", {
      args: [
        ...["--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"],
        ...[Deno.execPath(), "run", "-A", MAIN, ...args],
      ],
      env: { [INSIDE]: "1" },
      stdin: "null",
    }).spawn();
    // A Ctrl-C reaches both, a signal to this process alone does not.
    void request.stop.then(() => child.kill("SIGTERM"));
    return (await child.status).code;
  } finally {
    request.close();
  }
}
