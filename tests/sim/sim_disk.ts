/** A disk in memory that loses, at a crash, what was not synced. */

import { dirname } from "node:path/posix";
import type { Disk, DiskFile } from "../../storage/disk.ts";
import type { Random } from "./random.ts";

/** What the system keeps and writes back as one piece, in its own time. */
const PAGE_BYTES = 4096;

/** What the hardware writes whole or not at all. */
const SECTOR_BYTES = 512;

/** What a simulated disk is made of. */
export interface SimDiskOptions {
  /** All that is left to chance: what a crash keeps, which calls fail. */
  readonly random: Random;
  /** Resolves after so much simulated time. */
  wait(ms: number): Promise<void>;
}

/**
 * The contract of {@linkcode Disk}, and faults that a real disk has:
 *
 * - {@linkcode crash}: power is lost. Synced bytes are there; of what was not
 *   synced, each page is as it was at some moment since, or partly so by
 *   sectors, and the size likewise; names are as they were at some moment.
 * - {@linkcode kill}: the process dies. Everything written can be read again,
 *   and what was not synced is still not.
 * - slow: `syncMs`. Failing: `syncFailChance`, `writeFailChance`, `freeBytes`.
 *   A failed sync leaves each page written or not, and, as Linux does, forgets
 *   that it was to be written: no later sync makes up for it.
 * - {@linkcode flip}: rot.
 *
 * Handles from before a crash or kill throw; their syncs never settle.
 */
export class SimDisk implements Disk {
  /** How long a sync takes, in simulated ms. */
  syncMs = 0;
  /** Probability that a sync fails, 0 to 1. */
  syncFailChance = 0;
  /** Probability that a write fails after a prefix of it, 0 to 1. */
  writeFailChance = 0;
  /** By how many bytes files may yet grow before the disk is full. */
  freeBytes = Infinity;

  readonly #random: Random;
  readonly #wait: (ms: number) => Promise<void>;
  #life = 0;
  #names = new Map<string, Content>();
  #durableNames = new Map<string, Content>();
  /** Changes of names that are not durable yet, oldest first. */
  #nameChanges: NameChange[] = [];
  #nameChangesDone = 0;
  readonly #directories = new Set(["/", "."]);

  constructor(options: SimDiskOptions) {
    this.#random = options.random;
    this.#wait = options.wait;
  }

  open(path: string): DiskFile | undefined {
    const content = this.#names.get(path);
    return content && new SimFile(this.#host(), content);
  }

  create(path: string): DiskFile {
    this.#assertDirectory(dirname(path));
    let content = this.#names.get(path);
    if (content === undefined) {
      content = new Content();
      this.#changeNames({ kind: "set", path, content });
    }
    content.change({ kind: "truncate", size: 0 });
    return new SimFile(this.#host(), content);
  }

  createDirectory(path: string): void {
    for (let at = path; !this.#directories.has(at); at = dirname(at)) {
      this.#directories.add(at);
    }
  }

  list(directory: string): string[] {
    this.#assertDirectory(directory);
    const paths = [...this.#names.keys(), ...this.#directories];
    return paths.filter((path) => path !== directory)
      .filter((path) => dirname(path) === directory)
      .map((path) => path.slice(path.lastIndexOf("/") + 1)).sort();
  }

  rename(from: string, to: string): void {
    this.#contentOf(from);
    this.#assertDirectory(dirname(to));
    this.#changeNames({ kind: "move", path: from, to });
  }

  remove(path: string): void {
    this.#contentOf(path);
    this.#changeNames({ kind: "remove", path });
  }

  async syncDirectory(path: string): Promise<void> {
    this.#assertDirectory(path);
    const life = this.#life;
    const upTo = this.#nameChangesDone + this.#nameChanges.length;
    await this.#wait(this.syncMs);
    if (life !== this.#life) return await NEVER;
    if (this.#random.chance(this.syncFailChance)) throw ioError();
    // One journal for all directories: changes become durable in order.
    while (this.#nameChangesDone < upTo) this.#makeNameDurable();
  }

  randomUint32(): number {
    return this.#random.uint32();
  }

  /** The process dies; see the class. */
  kill(): void {
    this.#life += 1;
  }

  /** The power fails; see the class. */
  crash(): void {
    this.kill();
    const kept = this.#random.int(this.#nameChanges.length + 1);
    for (let i = 0; i < kept; i++) this.#makeNameDurable();
    this.#nameChangesDone += this.#nameChanges.length;
    this.#nameChanges = [];
    this.#names = new Map(this.#durableNames);
    for (const content of new Set(this.#names.values())) {
      content.loseSome(this.#random);
    }
  }

  /** Rot: inverts the bits of `bits` in one byte, on disk and as read. */
  flip(path: string, position: number, bits: number): void {
    this.#contentOf(path).flip(position, bits);
  }

  #host(): SimFileHost {
    const life = this.#life;
    return {
      isAlive: () => life === this.#life,
      wait: () => this.#wait(this.syncMs),
      syncFails: () => this.#random.chance(this.syncFailChance),
      random: this.#random,
      writable: (length, growth) => {
        if (this.#random.chance(this.writeFailChance)) {
          return { length: this.#random.int(length + 1), error: ioError() };
        }
        if (growth <= this.freeBytes) {
          this.freeBytes -= growth;
          return { length };
        }
        const rest = length - (growth - this.freeBytes);
        this.freeBytes = 0;
        return { length: rest, error: new Error("No space left on device") };
      },
    };
  }

  #changeNames(change: NameChange): void {
    applyNameChange(this.#names, change);
    this.#nameChanges.push(change);
  }

  #makeNameDurable(): void {
    const change = this.#nameChanges.shift();
    if (change === undefined) return;
    applyNameChange(this.#durableNames, change);
    this.#nameChangesDone += 1;
  }

  #contentOf(path: string): Content {
    const content = this.#names.get(path);
    if (content === undefined) throw new Error(`No such file: "${path}"`);
    return content;
  }

  #assertDirectory(path: string): void {
    if (this.#directories.has(path)) return;
    throw new Error(`No such directory: "${path}"`);
  }
}

/** What a handle needs of its disk. */
interface SimFileHost {
  readonly random: Random;
  isAlive(): boolean;
  wait(): Promise<void>;
  syncFails(): boolean;
  /** How much of a write goes through, and with what error it then ends. */
  writable(length: number, growth: number): { length: number; error?: Error };
}

type NameChange =
  | { readonly kind: "set"; readonly path: string; readonly content: Content }
  | { readonly kind: "move"; readonly path: string; readonly to: string }
  | { readonly kind: "remove"; readonly path: string };

type Change =
  | {
    readonly kind: "write";
    readonly position: number;
    readonly bytes: Uint8Array;
  }
  | { readonly kind: "truncate"; readonly size: number };

/** What never happens to those who died before it. */
const NEVER = new Promise<never>(() => {});

class SimFile implements DiskFile {
  readonly #host: SimFileHost;
  readonly #content: Content;
  #isClosed = false;

  constructor(host: SimFileHost, content: Content) {
    this.#host = host;
    this.#content = content;
  }

  size(): number {
    this.#assertOpen();
    return this.#content.now.length;
  }

  read(into: Uint8Array, position: number): number {
    this.#assertOpen();
    const bytes = this.#content.now.bytes.subarray(position)
      .subarray(0, into.length);
    into.set(bytes);
    return bytes.length;
  }

  write(bytes: Uint8Array, position: number): void {
    this.#assertOpen();
    const size = this.#content.now.length;
    if (position > size) {
      throw new RangeError(`Position is ${position}, wanted 0 to ${size}`);
    }
    const growth = Math.max(0, position + bytes.length - size);
    const { length, error } = this.#host.writable(bytes.length, growth);
    if (length > 0) {
      this.#content.change({
        kind: "write",
        position,
        bytes: bytes.slice(0, length),
      });
    }
    if (error !== undefined) throw error;
  }

  truncate(size: number): void {
    this.#assertOpen();
    if (size > this.#content.now.length) {
      throw new RangeError(
        `Size is ${size}, wanted at most ${this.#content.now.length}`,
      );
    }
    this.#content.change({ kind: "truncate", size });
  }

  async sync(): Promise<void> {
    this.#assertOpen();
    const upTo = this.#content.changeCount;
    await this.#host.wait();
    if (!this.#host.isAlive()) return await NEVER;
    if (this.#host.syncFails()) {
      this.#content.forgetSome(this.#host.random);
      throw ioError();
    }
    this.#content.makeDurable(upTo);
  }

  syncNow(): void {
    this.#assertOpen();
    if (this.#host.syncFails()) {
      this.#content.forgetSome(this.#host.random);
      throw ioError();
    }
    this.#content.makeDurable(this.#content.changeCount);
  }

  close(): void {
    this.#assertOpen();
    this.#isClosed = true;
  }

  #assertOpen(): void {
    if (!this.#host.isAlive()) throw new Error("The process is dead");
    if (this.#isClosed) throw new Error("The handle is closed");
  }
}

/** Of one file: what reads see, what is durable, and the changes in between. */
class Content {
  now = new Bytes();
  #durable = new Bytes();
  #changes: Change[] = [];
  #changesDone = 0;
  #hasForgotten = false;

  /** How many changes there have been, durable or not. */
  get changeCount(): number {
    return this.#changesDone + this.#changes.length;
  }

  change(change: Change): void {
    this.now.apply(change);
    // A write makes its whole pages due again. That matters only once some
    // were forgotten; else the rest of the page is due or durable anyway.
    const whole = this.#hasForgotten ? this.#wholePages(change) : change;
    this.#changes.push(whole);
  }

  makeDurable(upTo: number): void {
    while (this.#changesDone < upTo) {
      const change = this.#changes.shift();
      if (change === undefined) return;
      this.#durable.apply(change);
      this.#changesDone += 1;
    }
  }

  /** After a crash: what is durable, and by chance some of the rest. */
  loseSome(random: Random): void {
    this.#durable = this.#someMoment(random);
    this.now = this.#durable.copy();
    this.#drop();
    this.#hasForgotten = false;
  }

  /** After a failed sync: as after a crash, but reads do not show it. */
  forgetSome(random: Random): void {
    this.#durable = this.#someMoment(random);
    this.#drop();
    this.#hasForgotten = true;
  }

  flip(position: number, bits: number): void {
    this.now.bytes[position] ^= bits;
    if (position < this.#durable.length) {
      this.#durable.bytes[position] ^= bits;
    }
  }

  #drop(): void {
    this.#changesDone += this.#changes.length;
    this.#changes = [];
  }

  #wholePages(change: Change): Change {
    if (change.kind === "truncate") return change;
    const start = change.position - change.position % PAGE_BYTES;
    const end = change.position + change.bytes.length;
    const pagesEnd = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
    return {
      kind: "write",
      position: start,
      bytes: this.now.bytes.slice(start, pagesEnd),
    };
  }

  /**
   * A state that the disk may be in: each page, and the size, as of a moment,
   * which is a number of changes.
   */
  #someMoment(random: Random): Bytes {
    const count = this.#changes.length;
    const together = random.int(count + 1);
    // Half the time a plain prefix, the last write of it torn or not.
    const inOrder = random.chance(0.5);
    const moment = () => inOrder ? together : random.int(count + 1);
    const sizes = this.#sizes();
    const some = [sizes[moment()], sizes[random.int(count + 1)]];
    const [low, high] = some.sort((a, b) => a - b);
    const size = random.chance(0.5) ? low : low + random.int(high - low + 1);
    const result = this.#durable.copy();
    result.apply({ kind: "truncate", size });
    const first = this.#firstChanged();
    for (let at = first - first % PAGE_BYTES; at < size; at += PAGE_BYTES) {
      const page = this.#pageAt(moment(), at);
      if (random.chance(0.2)) {
        const torn = SECTOR_BYTES * random.int(PAGE_BYTES / SECTOR_BYTES);
        page.set(this.#pageAt(moment(), at).subarray(torn), torn);
      }
      const bytes = page.subarray(0, size - at);
      result.apply({ kind: "write", position: at, bytes });
    }
    return result;
  }

  /** The size after each number of changes, from 0 on. */
  #sizes(): number[] {
    const sizes = [this.#durable.length];
    for (const change of this.#changes) {
      const size = sizes[sizes.length - 1];
      sizes.push(
        change.kind === "truncate"
          ? change.size
          : Math.max(size, change.position + change.bytes.length),
      );
    }
    return sizes;
  }

  #firstChanged(): number {
    let first = this.#durable.length;
    for (const change of this.#changes) {
      const at = change.kind === "truncate" ? change.size : change.position;
      first = Math.min(first, at);
    }
    return first;
  }

  /** The page at `start` after the first `count` changes, zeros where it is not. */
  #pageAt(count: number, start: number): Uint8Array {
    const page = new Uint8Array(PAGE_BYTES);
    page.set(this.#durable.bytes.subarray(start, start + PAGE_BYTES));
    for (let i = 0; i < count; i++) {
      const change = this.#changes[i];
      if (change.kind === "truncate") {
        page.fill(0, Math.max(0, Math.min(PAGE_BYTES, change.size - start)));
        continue;
      }
      const skipped = Math.max(0, start - change.position);
      const offset = Math.max(0, change.position - start);
      if (offset >= PAGE_BYTES) continue;
      const bytes = change.bytes.subarray(skipped);
      page.set(bytes.subarray(0, PAGE_BYTES - offset), offset);
    }
    return page;
  }
}

/** Bytes that grow. Beyond `length` the store is zero, as a page's end is. */
class Bytes {
  #store = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** A view, until the next change. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#store.subarray(0, this.#length);
  }

  copy(): Bytes {
    const copy = new Bytes();
    copy.#store = this.#store.slice();
    copy.#length = this.#length;
    return copy;
  }

  apply(change: Change): void {
    switch (change.kind) {
      case "write":
        this.#reach(change.position + change.bytes.length);
        this.#store.set(change.bytes, change.position);
        return;
      case "truncate":
        this.#reach(change.size);
        this.#store.fill(0, change.size);
        this.#length = change.size;
    }
  }

  #reach(size: number): void {
    if (size > this.#store.length) {
      const grown = new Uint8Array(Math.max(size, 2 * this.#store.length));
      grown.set(this.#store);
      this.#store = grown;
    }
    this.#length = Math.max(this.#length, size);
  }
}

function applyNameChange(names: Map<string, Content>, change: NameChange) {
  switch (change.kind) {
    case "set":
      names.set(change.path, change.content);
      return;
    case "move": {
      const content = names.get(change.path);
      if (content === undefined || change.path === change.to) return;
      names.delete(change.path);
      names.set(change.to, content);
      return;
    }
    case "remove":
      names.delete(change.path);
  }
}

function ioError(): Error {
  return new Error("Input/output error");
}
