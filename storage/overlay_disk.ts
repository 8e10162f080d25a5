/** A disk whose changes stay in memory: to see what an opening would find, and change nothing. */

import { dirname, resolve } from "node:path";
import type { Disk, DiskFile } from "./disk.ts";

/**
 * Shows another disk's files, and keeps every change to itself. A file that is
 * written to is copied into memory as a whole. Nothing is ever durable.
 */
export class OverlayDisk implements Disk {
  readonly #below: Disk;
  /** By path; `undefined`: it is gone. */
  readonly #files = new Map<string, OverlayFile | undefined>();
  readonly #directories = new Set<string>();

  /** @param below Is only read from. */
  constructor(below: Disk) {
    this.#below = below;
  }

  open(path: string): DiskFile | undefined {
    return this.#find(path)?.open();
  }

  create(path: string): DiskFile {
    const found = this.#find(path);
    if (found !== undefined) {
      found.write().length = 0;
      return found.open();
    }
    // Throws where there is no such directory.
    this.list(dirname(path));
    const file = new OverlayFile(() => undefined, new Content());
    this.#files.set(resolve(path), file);
    return file.open();
  }

  createDirectory(path: string): void {
    for (let at = resolve(path);; at = dirname(at)) {
      if (this.#directories.has(at) || dirname(at) === at) return;
      this.#directories.add(at);
    }
  }

  list(directory: string): string[] {
    const at = resolve(directory);
    const names = new Set<string>();
    try {
      for (const name of this.#below.list(directory)) names.add(name);
    } catch (error) {
      if (!this.#directories.has(at)) throw error;
    }
    const nameIn = (path: string) =>
      dirname(path) === at && path !== at
        ? path.slice(at.length).replace(/^\/+/, "")
        : undefined;
    for (const path of this.#directories) {
      const name = nameIn(path);
      if (name !== undefined) names.add(name);
    }
    for (const [path, file] of this.#files) {
      const name = nameIn(path);
      if (name === undefined) continue;
      if (file === undefined) names.delete(name);
      else names.add(name);
    }
    return [...names].sort();
  }

  rename(from: string, to: string): void {
    const file = this.#find(from);
    if (file === undefined) throw new Error(`"${from}" is not there`);
    this.#files.set(resolve(to), file);
    this.#files.set(resolve(from), undefined);
  }

  remove(path: string): void {
    if (this.#find(path) === undefined) {
      throw new Error(`"${path}" is not there`);
    }
    this.#files.set(resolve(path), undefined);
  }

  syncDirectory(): Promise<void> {
    return Promise.resolve();
  }

  randomUint32(): number {
    return this.#below.randomUint32();
  }

  #find(path: string): OverlayFile | undefined {
    const at = resolve(path);
    if (this.#files.has(at)) return this.#files.get(at);
    const below = this.#below.open(path);
    if (below === undefined) return undefined;
    below.close();
    const file = new OverlayFile(() => this.#below.open(path), undefined);
    this.#files.set(at, file);
    return file;
  }
}

/** Bytes that grow. */
class Content {
  length = 0;
  #bytes = new Uint8Array(0);

  /** All of it, up to `length`; a view. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.#bytes.length));
      grown.set(this.bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, position);
    this.length = Math.max(this.length, end);
  }
}

/** A file, under whatever name. */
class OverlayFile {
  readonly #openBelow: () => DiskFile | undefined;
  #content: Content | undefined;

  /** @param content Undefined: as it is below, until it is written to. */
  constructor(
    openBelow: () => DiskFile | undefined,
    content: Content | undefined,
  ) {
    this.#openBelow = openBelow;
    this.#content = content;
  }

  /** What was written; undefined: it is as it is below. */
  get content(): Content | undefined {
    return this.#content;
  }

  open(): DiskFile {
    return new OverlayHandle(this, this.#openBelow());
  }

  /** The content, for a change. */
  write(): Content {
    if (this.#content !== undefined) return this.#content;
    const content = new Content();
    const below = this.#openBelow();
    try {
      const whole = new Uint8Array(below?.size() ?? 0);
      for (let at = 0; at < whole.length;) {
        const count = below?.read(whole.subarray(at), at) ?? 0;
        if (count === 0) break;
        at += count;
      }
      content.write(whole, 0);
    } finally {
      below?.close();
    }
    this.#content = content;
    return content;
  }
}

class OverlayHandle implements DiskFile {
  readonly #file: OverlayFile;
  readonly #below: DiskFile | undefined;
  #isClosed = false;

  constructor(file: OverlayFile, below: DiskFile | undefined) {
    this.#file = file;
    this.#below = below;
  }

  size(): number {
    this.#assertOpen();
    return this.#file.content?.length ?? this.#below?.size() ?? 0;
  }

  read(into: Uint8Array, position: number): number {
    this.#assertOpen();
    const { content } = this.#file;
    if (content === undefined) return this.#below?.read(into, position) ?? 0;
    const bytes = content.bytes.subarray(position, position + into.length);
    into.set(bytes);
    return bytes.length;
  }

  write(bytes: Uint8Array, position: number): void {
    this.#assertOpen();
    this.#file.write().write(bytes, position);
  }

  truncate(size: number): void {
    this.#assertOpen();
    const content = this.#file.write();
    content.length = Math.min(content.length, size);
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  syncNow(): void {
    this.#assertOpen();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#below?.close();
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new Error("The file was closed");
  }
}
