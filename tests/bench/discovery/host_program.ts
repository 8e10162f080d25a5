/** A node's process on a machine of its own. */

import type { Machine } from "../../process/network.ts";
import type { Child } from "../child.ts";
import type { Workbench } from "../workbench.ts";

const PROGRAM_WAIT_MS = 10_000;

/** Ends the program when its standard input does, that is, when the bench does. */
const SCRIPT =
  'cd "$1" && shift && "$@" >&2 & echo "runs as $!" >&2; cat > /dev/null; kill -9 $!';

/** Runs until it is killed or ended; never outlives the bench. */
export class HostProgram {
  readonly pid: number;
  /** When it was started, as `performance.now()`. */
  readonly startMs: number;
  /** When it had printed its first line. */
  readonly firstLineMs: number;
  readonly #shell: Child;

  private constructor(
    shell: Child,
    at: Pick<HostProgram, "pid" | "startMs" | "firstLineMs">,
  ) {
    this.#shell = shell;
    this.pid = at.pid;
    this.startMs = at.startMs;
    this.firstLineMs = at.firstLineMs;
  }

  /**
   * Starts it in a folder of its own; resolves when it has printed something.
   *
   * @throws {Error} When it does not start.
   */
  static async start(
    bench: Workbench,
    { machine, command, firstLine }: {
      readonly machine: Machine;
      readonly command: readonly string[];
      readonly firstLine: RegExp;
    },
  ): Promise<HostProgram> {
    const folder = bench.folder("host");
    const startMs = performance.now();
    const shell = bench.start("sh", {
      args: ["-c", SCRIPT, "sh", folder, ...machine.under, ...command],
    });
    try {
      const [[, pid], firstLineMs] = await Promise.all([
        shell.said(/^runs as (\d+)$/, PROGRAM_WAIT_MS),
        shell.said(firstLine, PROGRAM_WAIT_MS).then(() => performance.now()),
      ]);
      return new HostProgram(shell, { pid: Number(pid), startMs, firstLineMs });
    } catch (error) {
      await shell.end();
      throw error;
    }
  }

  /** Kills it as a crash would; the rest goes with {@linkcode end}. */
  kill(): void {
    Deno.kill(this.pid, "SIGKILL");
  }

  /** Ends it at once; resolves when it is gone. */
  end(): Promise<void> {
    return this.#shell.end();
  }
}
