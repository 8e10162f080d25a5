/** One process per data directory. */

import { join } from "node:path";
import { LocalDisk } from "./disk.ts";
import { causeText, StorageError } from "./errors.ts";

/** Name of the lock file in the directory. */
export const LOCK_NAME = "lock";

/** A process id and a newline are shorter; of anything longer this much is read. */
const HOLDER_BYTES_MAX = 32;

/**
 * An exclusive lock on a directory. The kernel frees it when its holder dies,
 * however it dies, so what the file says means nothing while nobody holds it.
 * The file stays: to remove it would let two processes lock two files.
 *
 * @see storage/FORMAT.md#lock-file
 */
export class DirectoryLock {
  readonly directory: string;
  #file: Deno.FsFile | undefined;

  private constructor(directory: string, file: Deno.FsFile) {
    this.directory = directory;
    this.#file = file;
  }

  /**
   * Makes the directory if there is none (mode 0700) and locks it. Never waits.
   *
   * @throws {StorageError} `locked`: names the process that has it; refuse to
   * start. `open-failed`: the directory cannot be made or used; refuse to start.
   */
  static acquire(directory: string): DirectoryLock {
    let file: Deno.FsFile | undefined;
    try {
      new LocalDisk().createDirectory(directory);
      // Not truncated by the opening: another holder's id may be in it.
      file = Deno.openSync(join(directory, LOCK_NAME), {
        read: true,
        write: true,
        create: true,
        mode: 0o600,
      });
      if (!file.tryLockSync(true)) throw lockedError(directory, file);
      file.truncateSync(0);
      file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
      return new DirectoryLock(directory, file);
    } catch (cause) {
      file?.close();
      if (cause instanceof StorageError) throw cause;
      throw new StorageError(
        "open-failed",
        `Cannot open "${directory}": ${causeText(cause)}`,
        { path: directory, cause },
      );
    }
  }

  /** Gives the directory back. A second call does nothing. */
  release(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    try {
      // Emptied first: whoever fails to lock it next must not be told our id.
      file.truncateSync(0);
    } finally {
      file.close();
    }
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

function lockedError(directory: string, file: Deno.FsFile): StorageError {
  const bytes = new Uint8Array(HOLDER_BYTES_MAX);
  const count = file.readSync(bytes) ?? 0;
  const text = new TextDecoder().decode(bytes.subarray(0, count));
  // A holder writes its id just after it has locked, so there may be none yet.
  const holder = /^(\d+)\n/.exec(text)?.[1];
  return new StorageError(
    "locked",
    `Cannot open "${directory}": it is in use by ${
      holder === undefined ? "another process" : `process ${holder}`
    }`,
    { path: directory },
  );
}
