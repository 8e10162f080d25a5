/** How much a node keeps on disk, and how much is left, looked up now and then. */

import { statfs } from "node:fs/promises";

/** Bytes in a directory, and on its file system. */
export interface DiskSpace {
  readonly usedBytes: number;
  /** What this user may still write. */
  readonly freeBytes: number;
}

const FRESH_MS = 1_000;

/** A data directory; the files directly in it are counted. */
export class DiskUsage {
  readonly #directory: string;
  #last: DiskSpace | undefined;
  #askedMs = -Infinity;
  #asking: Promise<void> | undefined;

  /** Begins to look. */
  constructor(directory: string) {
    this.#directory = directory;
    void this.refresh();
  }

  /**
   * What was last known; begins to look again when that is older than a
   * second. Never waits: a disk that hangs must not hold up who asks.
   */
  read(nowMs: number): DiskSpace | undefined {
    if (this.#asking === undefined && nowMs - this.#askedMs >= FRESH_MS) {
      this.#askedMs = nowMs;
      void this.refresh();
    }
    return this.#last;
  }

  /** Looks now, if nobody does; keeps what was known when that fails. */
  refresh(): Promise<void> {
    return this.#asking ??= this.#look();
  }

  async #look(): Promise<void> {
    try {
      let usedBytes = 0;
      for await (const entry of Deno.readDir(this.#directory)) {
        if (entry.isFile) usedBytes += await this.#sizeOf(entry.name);
      }
      const { bavail, bsize } = await statfs(this.#directory);
      this.#last = { usedBytes, freeBytes: bavail * bsize };
    } catch {
      // Only for people to look at: what is wrong with the disk, if anything,
      // shows where the node writes to it.
    } finally {
      this.#asking = undefined;
    }
  }

  async #sizeOf(name: string): Promise<number> {
    try {
      return (await Deno.stat(`${this.#directory}/${name}`)).size;
    } catch (error) {
      // Deleted meanwhile: logs are compacted.
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
  }
}
