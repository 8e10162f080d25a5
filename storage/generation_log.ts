/** A log that is begun anew now and then, with a snapshot as its first record. */

import { join } from "node:path";
import type { Disk } from "./disk.ts";
import { RecordFile, UNFINISHED_SUFFIX } from "./record_file.ts";

/** What a log is for. */
export interface GenerationLogOptions {
  /** Files are called `NAME-GENERATION.log`. */
  readonly name: string;
  /** Four characters, see {@linkcode RecordFile}. */
  readonly kind: string;
  readonly recordBytesMax: number;
}

/** An open log, and what was in it. */
export interface OpenedGenerationLog {
  readonly log: GenerationLog;
  /** The newest snapshot, then all records after it; empty for a new log. */
  readonly records: readonly Uint8Array[];
  /** Torn bytes that were cut off; tell the operator. */
  readonly cutBytes: number;
}

/**
 * One file at a time. A new generation is a new file whose first record holds
 * all that is still needed of the old one; only when that is on disk does the
 * old file go. A crash in between leaves either one or both, and the newest
 * with a whole first record counts.
 */
export class GenerationLog {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #options: GenerationLogOptions;
  #generation: number;
  #file: RecordFile;
  /** The next generation, made and empty. */
  #next: RecordFile | undefined;
  #preparing: Promise<void> | undefined;
  /** The generation before is being closed and removed. */
  #discarding: Promise<void> = Promise.resolve();

  private constructor(
    disk: Disk,
    directory: string,
    state: {
      options: GenerationLogOptions;
      generation: number;
      file: RecordFile;
    },
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#options = state.options;
    this.#generation = state.generation;
    this.#file = state.file;
  }

  /**
   * Opens the log in a directory that this process has locked.
   *
   * @param first The first record of a log that is new.
   * @throws {StorageError} As {@linkcode RecordFile.open}.
   */
  static async open(
    disk: Disk,
    directory: string,
    options: GenerationLogOptions & { readonly first: Uint8Array },
  ): Promise<OpenedGenerationLog> {
    const found = generations(disk, directory, options.name);
    for (const generation of found.toReversed()) {
      const records: Uint8Array[] = [];
      const path = pathOf(directory, options.name, generation);
      const { file, cutBytes } = await RecordFile.open(disk, path, {
        ...options,
        onRecord: (payload) => records.push(payload),
      });
      if (records.length === 0) {
        // It was being begun when the process died; the one before counts.
        await file.close();
        disk.remove(path);
        continue;
      }
      const log = new GenerationLog(disk, directory, {
        options,
        generation,
        file,
      });
      for (const old of found) if (old < generation) log.#remove(old);
      return { log, records, cutBytes };
    }
    const generation = (found.at(-1) ?? 0) + 1;
    const file = await begin(disk, directory, {
      options,
      generation,
      first: options.first,
    });
    const log = new GenerationLog(disk, directory, {
      options,
      generation,
      file,
    });
    return { log, records: [], cutBytes: 0 };
  }

  /** Bytes of the current file. */
  get size(): number {
    return this.#file.size;
  }

  /** @throws {StorageError} `write-failed`: exit. */
  append(records: readonly Uint8Array[]): void {
    this.#file.append(records);
  }

  /** @throws {StorageError} `write-failed`: exit. */
  sync(): Promise<void> {
    return this.#file.sync();
  }

  /** Whether a {@linkcode sync} is under way. */
  get isSyncing(): boolean {
    return this.#file.isSyncing;
  }

  /**
   * As {@linkcode sync}, but blocks the process; see {@linkcode RecordFile.syncNow}.
   *
   * @throws {StorageError} `write-failed`: exit.
   */
  syncNow(): void {
    this.#file.syncNow();
  }

  /** See {@linkcode RecordFile.mark}. */
  mark(): void {
    this.#file.mark();
  }

  /**
   * Begins the next generation with `first`, which stands for everything
   * appended so far. Nothing may be appended until it resolves.
   *
   * @throws {StorageError} `write-failed`, `open-failed`: exit.
   */
  async renew(first: Uint8Array): Promise<void> {
    if (this.#next !== undefined || this.#preparing !== undefined) {
      throw new Error("The next generation is prepared: use renewNow");
    }
    const generation = this.#generation + 1;
    const file = await begin(this.#disk, this.#directory, {
      options: this.#options,
      generation,
      first,
    });
    await this.#file.close();
    this.#remove(this.#generation);
    this.#generation = generation;
    this.#file = file;
  }

  /**
   * Makes the file of the next generation, for {@linkcode renewNow}. Appends and
   * syncs go on meanwhile.
   *
   * @throws {StorageError} `write-failed`, `open-failed`: exit.
   */
  prepare(): Promise<void> {
    return this.#preparing ??= this.#prepare();
  }

  /** Whether {@linkcode prepare} has been done since the last {@linkcode renewNow}. */
  get isPrepared(): boolean {
    return this.#next !== undefined;
  }

  /**
   * As {@linkcode renew}, but blocks the process for one sync. The old file goes
   * later.
   *
   * @throws {Error} The next generation is not prepared.
   * @throws {StorageError} `write-failed`: exit.
   */
  renewNow(first: Uint8Array): void {
    const next = this.#next;
    if (next === undefined) throw new Error("No next generation is prepared");
    next.append([first]);
    next.syncNow();
    next.mark();
    const [old, generation] = [this.#file, this.#generation];
    this.#file = next;
    this.#generation += 1;
    this.#next = undefined;
    this.#preparing = undefined;
    this.#discarding = old.close().then(() => this.#remove(generation));
    // Told by the next preparation, or by the close.
    this.#discarding.catch(() => {});
  }

  /**
   * Marks what is synced and closes; see {@linkcode RecordFile.close}.
   *
   * @throws {StorageError} `write-failed`: exit.
   */
  async close(): Promise<void> {
    try {
      await this.#discarding;
      await this.#preparing;
      const next = this.#next;
      this.#next = undefined;
      if (next !== undefined) {
        await next.close();
        this.#remove(this.#generation + 1);
      }
    } finally {
      await this.#file.close();
    }
  }

  async #prepare(): Promise<void> {
    await this.#discarding;
    const { name } = this.#options;
    const path = pathOf(this.#directory, name, this.#generation + 1);
    const { file } = await RecordFile.open(this.#disk, path, {
      ...this.#options,
      onRecord: () => {},
    });
    this.#next = file;
  }

  #remove(generation: number): void {
    this.#disk.remove(
      pathOf(this.#directory, this.#options.name, generation),
    );
  }
}

async function begin(
  disk: Disk,
  directory: string,
  what: {
    options: GenerationLogOptions;
    generation: number;
    first: Uint8Array;
  },
): Promise<RecordFile> {
  const path = pathOf(directory, what.options.name, what.generation);
  const { file } = await RecordFile.open(disk, path, {
    ...what.options,
    onRecord: () => {},
  });
  file.append([what.first]);
  await file.sync();
  // Marked, so that rot in the only record is never taken for a torn end.
  file.mark();
  await file.sync();
  return file;
}

/** Oldest first; files that were never finished are removed. */
function generations(disk: Disk, directory: string, name: string): number[] {
  const found: number[] = [];
  for (const entry of disk.list(directory)) {
    if (entry.startsWith(`${name}-`) && entry.endsWith(UNFINISHED_SUFFIX)) {
      disk.remove(join(directory, entry));
    }
    const match = /^(.+)-(\d{6,15})\.log$/.exec(entry);
    if (match?.[1] === name) found.push(Number(match[2]));
  }
  return found.sort((a, b) => a - b);
}

function pathOf(directory: string, name: string, generation: number): string {
  return join(directory, `${name}-${`${generation}`.padStart(6, "0")}.log`);
}
