/** Text as it is typed, piped or read from a file, cut into whole checked lines. */

import { WireError } from "../protocol/errors.ts";
import { LINE_BYTES_MAX } from "../protocol/limits.ts";
import {
  countLines,
  lineTooLarge,
  NEWLINE,
  wholeLinesEnd,
} from "../protocol/lines.ts";

/** Whole lines that may be sent. */
export interface LineBlock {
  readonly text: Uint8Array;
  readonly messages: number;
}

/** Where bytes come from: a file, or standard input. */
export interface ByteSource {
  read(into: Uint8Array): Promise<number | null>;
}

/**
 * Reads blocks of whole lines. Lines that cannot be sent are left out and
 * reported with their number; a last line without a newline gets one.
 */
export class LineInput {
  /** Lines left out. */
  refused = 0;
  readonly #source: ByteSource;
  readonly #onRefused: (line: number, error: WireError) => void;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #length = 0;
  #line = 0;
  #isSkipping = false;
  #hasEnded = false;
  #ready: LineBlock[] = [];

  constructor(
    source: ByteSource,
    options: {
      /** Largest block; above {@linkcode LINE_BYTES_MAX}. */
      blockBytesMax: number;
      onRefused: (line: number, error: WireError) => void;
    },
  ) {
    this.#source = source;
    this.#onRefused = options.onRefused;
    this.#buffer = new Uint8Array(options.blockBytesMax);
  }

  /**
   * The next block, or undefined at the end of the input.
   *
   * @returns Bytes of its own, for the caller to keep.
   * @throws {Error} The system's error, when the input cannot be read.
   */
  async next(): Promise<LineBlock | undefined> {
    while (this.#ready.length === 0 && !this.#hasEnded) {
      const count = await this.#source.read(
        this.#buffer.subarray(this.#length),
      );
      if (count === null) this.#end();
      else {
        this.#length += count;
        this.#cut();
      }
    }
    return this.#ready.shift();
  }

  #cut(): void {
    let start = 0;
    if (this.#isSkipping) {
      start = this.#buffer.subarray(0, this.#length).indexOf(NEWLINE) + 1;
      if (start === 0) {
        this.#length = 0;
        return;
      }
      this.#isSkipping = false;
    }
    const end = wholeLinesEnd(this.#buffer, this.#length);
    if (end > start) this.#take(this.#buffer.slice(start, end));
    const used = Math.max(start, end);
    this.#buffer.copyWithin(0, used, this.#length);
    this.#length -= used;
    if (this.#length <= LINE_BYTES_MAX) return;
    this.#refuse(lineTooLarge(this.#length));
    this.#isSkipping = true;
    this.#length = 0;
  }

  #end(): void {
    this.#hasEnded = true;
    if (this.#length === 0 || this.#isSkipping) return;
    const text = new Uint8Array(this.#length + 1);
    text.set(this.#buffer.subarray(0, this.#length));
    text[this.#length] = NEWLINE;
    this.#take(text);
  }

  #take(text: Uint8Array): void {
    try {
      const messages = countLines(text);
      this.#line += messages;
      this.#ready.push({ text, messages });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#takeHalves(text, error);
    }
  }

  /** Not all of a block is good: where it is one line, that one is left out. */
  #takeHalves(text: Uint8Array, error: WireError): void {
    const middle = wholeLinesEnd(text, text.length >> 1) ||
      text.indexOf(NEWLINE) + 1;
    if (middle === text.length) return this.#refuse(error);
    this.#take(text.subarray(0, middle));
    this.#take(text.subarray(middle));
  }

  #refuse(error: WireError): void {
    this.#line += 1;
    this.refused += 1;
    this.#onRefused(this.#line, error);
  }
}
