/** The border to the file system: what storage asks of a disk, and the real one. */

import { dirname, resolve } from "node:path";

/**
 * A disk. The real one is {@linkcode LocalDisk}; tests use a simulated one that
 * loses what was not synced. One contract suite runs over both.
 *
 * Names and contents are made durable separately: a new or renamed file is
 * certain after a power loss only when its directory was synced as well.
 * Methods throw whatever the system says; callers add what it means.
 */
export interface Disk {
  /** Opens a file for reading and writing; `undefined` where there is none. */
  open(path: string): DiskFile | undefined;
  /** Makes an empty file, mode 0600, or empties the one that is there. */
  create(path: string): DiskFile;
  /** Makes a directory and its parents, mode 0700, durably; leaves one that is there. */
  createDirectory(path: string): void;
  /** Names, without the path, of what is in the directory, in order of text. */
  list(directory: string): string[];
  /** Moves a file, at once and whole, over whatever had the name. */
  rename(from: string, to: string): void;
  /** Removes a file; throws where there is none. */
  remove(path: string): void;
  /** Resolves when the names in this directory survive a power loss. */
  syncDirectory(path: string): Promise<void>;
  /**
   * A number, 0 to 2^32 - 1, that nobody can guess. It is here so that a
   * simulated disk can draw it from its seed.
   */
  randomUint32(): number;
}

/** An open file. Reads see every write at once, through any handle. */
export interface DiskFile {
  /** In bytes. */
  size(): number;
  /**
   * Reads at `position`, 0 or more.
   *
   * @param into Owned by the caller again on return.
   * @returns Bytes read, 0 to `into.length`; 0 only at the end of the file.
   */
  read(into: Uint8Array, position: number): number;
  /**
   * Writes all of `bytes` at `position`, 0 to `size()`. When it throws, any
   * prefix may have been written.
   */
  write(bytes: Uint8Array, position: number): void;
  /** Cuts the file to `size` bytes, at most `size()`. */
  truncate(size: number): void;
  /**
   * Resolves when all that was written or cut before the call survives a power
   * loss. Reads and writes go on meanwhile. After it rejects, nothing written
   * since the last good sync is certain, not even after a later good one: the
   * system may have dropped its note that these bytes are still to be written.
   */
  sync(): Promise<void>;
  /**
   * As {@linkcode sync}, but blocks the process meanwhile. On a fast disk that
   * takes half the time; on a slow one nothing else happens until it is done.
   * After it throws, what holds after a rejected sync holds.
   */
  syncNow(): void;
  /** Closes the handle; what was not synced may still be lost. */
  close(): void;
}

/** The file system that Deno gives. */
export class LocalDisk implements Disk {
  open(path: string): DiskFile | undefined {
    try {
      return new LocalFile(Deno.openSync(path, { read: true, write: true }));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  create(path: string): DiskFile {
    return new LocalFile(Deno.openSync(path, {
      read: true,
      write: true,
      create: true,
      truncate: true,
      mode: 0o600,
    }));
  }

  createDirectory(path: string): void {
    const missing: string[] = [];
    let at = resolve(path);
    while (!exists(at)) {
      missing.push(at);
      at = dirname(at);
    }
    for (const directory of missing.reverse()) {
      // `recursive` only in order to accept one that another process just made.
      Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
      using parent = Deno.openSync(dirname(directory), { read: true });
      parent.syncSync();
    }
  }

  list(directory: string): string[] {
    return Array.from(Deno.readDirSync(directory), (entry) => entry.name)
      .sort();
  }

  rename(from: string, to: string): void {
    Deno.renameSync(from, to);
  }

  remove(path: string): void {
    Deno.removeSync(path);
  }

  async syncDirectory(path: string): Promise<void> {
    using directory = Deno.openSync(path, { read: true });
    await directory.sync();
  }

  randomUint32(): number {
    return crypto.getRandomValues(new Uint32Array(1))[0];
  }
}

class LocalFile implements DiskFile {
  readonly #file: Deno.FsFile;
  /** Where the system's own position of this handle stands, to seek only if needed. */
  #position = 0;
  /** Since a cut, the next sync must also reach metadata that holds no data. */
  #wasCut = false;

  constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  size(): number {
    return this.#file.statSync().size;
  }

  read(into: Uint8Array, position: number): number {
    this.#seek(position);
    const count = this.#file.readSync(into) ?? 0;
    this.#position += count;
    return count;
  }

  write(bytes: Uint8Array, position: number): void {
    this.#seek(position);
    let rest = bytes;
    while (rest.length > 0) {
      const count = this.#file.writeSync(rest);
      if (count === 0) throw new Error("The system wrote 0 bytes");
      this.#position += count;
      rest = rest.subarray(count);
    }
  }

  truncate(size: number): void {
    this.#wasCut = true;
    this.#file.truncateSync(size);
  }

  async sync(): Promise<void> {
    if (!this.#wasCut) return await this.#file.syncData();
    this.#wasCut = false;
    await this.#file.sync();
  }

  syncNow(): void {
    if (!this.#wasCut) return this.#file.syncDataSync();
    this.#wasCut = false;
    this.#file.syncSync();
  }

  close(): void {
    this.#file.close();
  }

  #seek(position: number): void {
    if (position === this.#position) return;
    this.#position = this.#file.seekSync(position, Deno.SeekMode.Start);
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
