/** Several servers of one system, each a process on this machine. */

import type { Child } from "../child.ts";
import type { Workbench } from "../workbench.ts";

/** How often something is asked until it is so. */
const ASK_EVERY_MS = 50;
const PROGRAM_WAIT_MS = 10_000;

/** Servers that one may write to, and kill. */
export interface Fleet {
  /** Where clients connect, by server. */
  readonly ports: readonly number[];
  /** All its processes that run now. */
  readonly pids: readonly number[];
  /** Process of the server at `index`. */
  pidOf(index: number): number;
  /** Index of the server that orders the writes. */
  leader(): Promise<number>;
  /** Ends what is left of the killed server, and starts it again. */
  restart(index: number): Promise<void>;
  /** Resolves when every server takes part. */
  whole(): Promise<void>;
  /** Ends all of it, and removes what it wrote. */
  end(): Promise<void>;
}

/** A program of others, run by a shell that ends it when the bench is gone. */
export class GuardedProgram {
  readonly pid: number;
  readonly #shell: Child;

  private constructor(shell: Child, pid: number) {
    this.#shell = shell;
    this.pid = pid;
  }

  /** @throws {Error} When it does not start. */
  static async start(
    bench: Workbench,
    command: readonly string[],
  ): Promise<GuardedProgram> {
    const script =
      '"$@" > /dev/null & echo "runs as $!" >&2; cat > /dev/null; kill -9 $!';
    const shell = bench.start("sh", { args: ["-c", script, "sh", ...command] });
    const [, pid] = await shell.said(/^runs as (\d+)$/, PROGRAM_WAIT_MS);
    return new GuardedProgram(shell, Number(pid));
  }

  /** Ends it at once; resolves when it is gone. */
  end(): Promise<void> {
    return this.#shell.end();
  }
}

/**
 * Asks again and again until the answer is something.
 *
 * @param ask Undefined, or an error: not yet.
 * @throws {Error} When it is not in time.
 */
export async function until<T>(
  ask: () => Promise<T | undefined>,
  bound: { readonly waitMs: number; readonly what: string },
): Promise<T> {
  const deadlineMs = performance.now() + bound.waitMs;
  let last: unknown;
  while (performance.now() < deadlineMs) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
  const text = `Waited ${bound.waitMs / 1_000} s for ${bound.what}`;
  throw new Error(text, { cause: last });
}
