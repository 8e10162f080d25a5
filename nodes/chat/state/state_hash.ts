/** A running hash over all that was applied, to see whether servers agree. */

import type { Epoch } from "../../../protocol/epoch.ts";
import type { LogEntry } from "../../../protocol/replica.ts";
import { codeNumber, type Result } from "./results.ts";

/** Before the first entry. */
export const STATE_HASH_NONE = "0000000000000000";

const STATE_HASH = /^[0-9a-f]{16}$/;

/** Whether `text` may be a {@linkcode StateHash.text}. */
export function isStateHash(text: string): boolean {
  return STATE_HASH.test(text);
}

/**
 * 64 bits over (index, epoch, command, result) of every entry so far, in two
 * lanes of 32 bits, a word of 4 bytes at a time: about 0.1 us for a message.
 * It finds servers that went apart by a bug; it is no proof against somebody
 * who forges commands. What it yields is part of the files: it never changes.
 */
export class StateHash {
  #a: number;
  #b: number;
  /** The epoch of the entry before, and its store as two words. */
  #store = "";
  #storeHigh = 0;
  #storeLow = 0;
  /** Views of buffers are dear, and entries of one batch share one. */
  #buffer: ArrayBufferLike = new ArrayBuffer(0);
  #view = new DataView(this.#buffer);

  /** @param text 16 hexadecimal digits, see {@linkcode isStateHash}. */
  constructor(text = STATE_HASH_NONE) {
    if (!isStateHash(text)) throw new Error(`"${text}" is no state hash`);
    this.#a = parseInt(text.slice(0, 8), 16);
    this.#b = parseInt(text.slice(8), 16);
  }

  /** 16 hexadecimal digits. */
  get text(): string {
    return hexWord(this.#a) + hexWord(this.#b);
  }

  /** Takes the next entry in, and what became of it. */
  add(entry: LogEntry, result: Result): void {
    this.#number(entry.index);
    this.#epoch(entry.epoch);
    this.#bytes(entry.command);
    this.#word(codeNumber(result.code));
    this.#number(result.value);
  }

  #word(word: number): void {
    const a = this.#a ^ scramble(word);
    this.#a = (Math.imul((a << 13) | (a >>> 19), 5) + 0xe6546b64) | 0;
    const b = Math.imul(this.#b ^ word, 0x85ebca6b);
    this.#b = (((b << 11) | (b >>> 21)) + this.#a) | 0;
  }

  #number(value: number): void {
    this.#word(Math.floor(value / 2 ** 32));
    this.#word(value | 0);
  }

  #epoch({ counter, store }: Epoch): void {
    if (store !== this.#store) {
      this.#store = store;
      this.#storeHigh = parseInt(store.slice(0, 8), 16);
      this.#storeLow = parseInt(store.slice(8), 16);
    }
    this.#number(counter);
    this.#word(this.#storeHigh);
    this.#word(this.#storeLow);
  }

  #bytes(bytes: Uint8Array): void {
    if (bytes.buffer !== this.#buffer) {
      this.#buffer = bytes.buffer;
      this.#view = new DataView(bytes.buffer);
    }
    this.#word(bytes.length);
    const view = this.#view;
    const end = bytes.byteOffset + bytes.length;
    let at = bytes.byteOffset;
    // As #word does, in locals: three times as fast.
    let a = this.#a;
    let b = this.#b;
    for (; at + 4 <= end; at += 4) {
      const word = view.getUint32(at, true);
      a ^= scramble(word);
      a = (Math.imul((a << 13) | (a >>> 19), 5) + 0xe6546b64) | 0;
      b = Math.imul(b ^ word, 0x85ebca6b);
      b = (((b << 11) | (b >>> 21)) + a) | 0;
    }
    this.#a = a;
    this.#b = b;
    let rest = 0;
    for (let shift = 0; at < end; at += 1, shift += 8) {
      rest |= view.getUint8(at) << shift;
    }
    this.#word(rest);
  }
}

function scramble(word: number): number {
  const k = Math.imul(word, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}

function hexWord(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}
