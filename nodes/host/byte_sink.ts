/** Where bytes leave the process: standard output, or a file. */

import fs from "node:fs";

/** Pipes take so much whole or not at all (POSIX `PIPE_BUF` on Linux). */
const WHOLE_WRITE_BYTES_MAX = 4_096;

/**
 * Writes to standard output in order.
 *
 * A write to a pipe through the runtime is a trip to another thread, some 30 us;
 * done in place it could block the process for as long as the reader likes. So
 * on Linux small writes go in place to a second, non-blocking description of
 * the same pipe, and only what does not fit takes the long way.
 */
export class StandardOutput {
  readonly #fast = openNonBlocking();

  /**
   * @returns Nothing when all is written already, else a promise for it.
   * @throws {Error} The reader is gone (`BrokenPipe`), or the disk is full.
   */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#fast !== undefined && bytes.length <= WHOLE_WRITE_BYTES_MAX) {
      try {
        fs.writeSync(this.#fast, bytes);
        return undefined;
      } catch (error) {
        if (!isFull(error)) throw error;
      }
    }
    return writeAll(bytes);
  }
}

async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await Deno.stdout.write(bytes.subarray(at));
  }
}

function openNonBlocking(): number | undefined {
  if (Deno.build.os !== "linux") return undefined;
  try {
    const { O_WRONLY, O_NONBLOCK } = fs.constants;
    if (!fs.fstatSync(1).isFIFO()) return undefined;
    return fs.openSync("/proc/self/fd/1", O_WRONLY | O_NONBLOCK);
  } catch {
    return undefined; // No /proc, or no permission: the long way works too.
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}
