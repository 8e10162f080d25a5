/** Encoded messages that many connections read, each at its own pace. */

import { Buffer } from "node:buffer";
import { textFrame } from "./frames.ts";

/** How messages are told apart: by newlines, or as text frames of a WebSocket. */
export type Framing = "lines" | "frames";

/** Bytes of a block: what one write may take, and what is dropped at once. */
export const BLOCK_BYTES = 262_144;

/** UTF-16 units of lines that wait to be encoded together. */
const PENDING_UNITS_MAX = 16_384;

/** Blocks kept for reuse, so that steady traffic makes no garbage. */
const SPARE_BLOCKS_MAX = 4;

/** Bytes of UTF-8 for one UTF-16 unit, at most. */
const UNIT_BYTES_MAX = 3;

const ENCODER = new TextEncoder();

/** A part of the ring; whole messages only. */
export interface Span {
  readonly bytes: Uint8Array;
  readonly block: Block;
}

/** Where messages lie. */
export interface Block {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Position of its first byte in the ring. */
  start: number;
  used: number;
  /** Writes under way that read from it: it is not overwritten meanwhile. */
  writers: number;
}

/**
 * One log of bytes for all readers of one format. Each reader keeps a position
 * of its own; whoever's position falls before {@linkcode Ring.start} has lost
 * messages.
 */
export class Ring {
  readonly #framing: Framing;
  readonly #blockCountMax: number;
  /** Oldest first. */
  readonly #blocks: Block[] = [];
  readonly #spare: Block[] = [];
  #end = 0;
  /**
   * Lines that are not in a block yet, each with its newline: to encode many at
   * once costs little more than to encode one.
   */
  #pending = "";
  #lowest: () => number = () => 0;
  /** The span that was taken last. */
  #taken: Span | undefined;

  /** @param bytesMax What it holds: the blocks that fit, but at least two. */
  constructor(framing: Framing, bytesMax: number) {
    this.#framing = framing;
    this.#blockCountMax = Math.max(2, Math.floor(bytesMax / BLOCK_BYTES));
  }

  /** Position of the oldest byte that it has. */
  get start(): number {
    this.#settle();
    return this.#blocks.length === 0 ? this.#end : this.#blocks[0].start;
  }

  /** Position behind the newest message. */
  get end(): number {
    this.#settle();
    return this.#end;
  }

  /** Bytes of memory that it holds. */
  get heldBytes(): number {
    let bytes = 0;
    for (const block of this.#blocks) bytes += block.bytes.length;
    for (const block of this.#spare) bytes += block.bytes.length;
    return bytes;
  }

  /**
   * Adds a message; where there is no room, the oldest block goes.
   *
   * @param text JSON, without a newline.
   * @param lowest Says the lowest position that anybody still reads from: what
   *   is before it goes first. Asked once a block, at the latest when the ring
   *   is looked at next.
   */
  append(text: string, lowest: () => number): void {
    this.#lowest = lowest;
    if (this.#framing === "frames") {
      return this.#place(encodeMessage(text, "frames"));
    }
    this.#pending += `${text}\n`;
    if (this.#pending.length > PENDING_UNITS_MAX) this.#settle();
  }

  /** Puts what is pending into a block. */
  #settle(): void {
    const lines = this.#pending;
    if (lines === "") return;
    this.#pending = "";
    const last = this.#blocks.at(-1);
    const bytesMax = lines.length * UNIT_BYTES_MAX;
    if (last !== undefined && last.bytes.length - last.used >= bytesMax) {
      const room = last.bytes.subarray(last.used);
      const { written } = ENCODER.encodeInto(lines, room);
      last.used += written;
      this.#end += written;
      return;
    }
    // Each by itself, so that the block is filled as far as it goes.
    for (const line of lines.slice(0, -1).split("\n")) {
      this.#place(encodeMessage(line, "lines"));
    }
  }

  /**
   * The longest span that lies together from `position` on, and before `until`.
   * Whoever reads it later than in this turn counts as one of its writers.
   *
   * @returns Undefined when there is nothing.
   */
  take(position: number, until: number): Span | undefined {
    this.#settle();
    // Most read what is newest.
    for (let i = this.#blocks.length - 1; i >= 0; i--) {
      const block = this.#blocks[i];
      if (position < block.start) continue;
      const from = position - block.start;
      const to = Math.min(block.used, until - block.start);
      if (to <= from) return undefined;
      // Most take the same one in a turn, and a view costs more than a look.
      const last = this.#taken;
      if (
        last?.block === block && last.bytes.byteOffset === from &&
        last.bytes.length === to - from
      ) return last;
      this.#taken = { bytes: block.bytes.subarray(from, to), block };
      return this.#taken;
    }
    return undefined;
  }

  /** Forgets all, when nobody reads. */
  clear(): void {
    this.#settle();
    this.#blocks.length = 0;
    this.#spare.length = 0;
    this.#taken = undefined;
  }

  #place(bytes: Uint8Array): void {
    let last = this.#blocks.at(-1);
    if (
      last === undefined || last.bytes.length - last.used < bytes.length
    ) last = this.#nextBlock(bytes.length, this.#lowest());
    last.bytes.set(bytes, last.used);
    last.used += bytes.length;
    this.#end += bytes.length;
  }

  #nextBlock(bytes: number, lowest: number): Block {
    while (this.#blocks.length > 0) {
      const [oldest] = this.#blocks;
      const isRead = oldest.start + oldest.used <= lowest;
      if (!isRead && this.#blocks.length < this.#blockCountMax) break;
      this.#blocks.shift();
      this.#keep(oldest);
    }
    const spare = bytes <= BLOCK_BYTES ? this.#spare.pop() : undefined;
    const block = spare ?? {
      bytes: new Uint8Array(Math.max(bytes, BLOCK_BYTES)),
      start: 0,
      used: 0,
      writers: 0,
    };
    block.start = this.#end;
    block.used = 0;
    this.#blocks.push(block);
    return block;
  }

  /** What is still being written from is left to that write alone. */
  #keep(block: Block): void {
    const isPlain = block.writers === 0 && block.bytes.length === BLOCK_BYTES;
    if (isPlain && this.#spare.length < SPARE_BLOCKS_MAX) {
      this.#spare.push(block);
    }
  }
}

/** One message as it goes out. */
export function encodeMessage(text: string, framing: Framing): Uint8Array {
  return framing === "lines" ? Buffer.from(`${text}\n`) : textFrame(text);
}
