/** Bytes of a connection into lines of text, for services whose requests are lines. */

import { WireError } from "../../protocol/errors.ts";
import { NEWLINE, wholeLinesEnd } from "../../protocol/lines.ts";
import type { Link } from "./link.ts";

/** Bytes of an idle connection's buffer: there may be thousands. */
const IDLE_BUFFER_BYTES = 4_096;

/** Bytes of a busy connection's buffer; grows further only for a longer line. */
const BUSY_BUFFER_BYTES = 65_536;

/** How long a line that is begun may take to end. */
const LINE_WAIT_MS = 60_000;

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What a reader reports. */
export interface LineTaker {
  /** Bytes that a line may have now: strangers get little memory. */
  readonly lineBytesMax: number;
  /** Lines, each with its newline. @returns Whether to read on at once. */
  take(lines: string): boolean;
  /** A line that is no text, or too long. @returns As {@linkcode take}. */
  refuse(error: WireError): boolean;
  /** The client has closed its side: answer what is open, then close. */
  ended(): void;
}

/** Reads one connection's lines, until its end or {@linkcode LineReader.stop}. */
export class LineReader {
  readonly #link: Link;
  readonly #bytesMax: number;
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(IDLE_BUFFER_BYTES);
  #length = 0;
  /** Reads that would have fitted the idle buffer, since one did not. */
  #smallReads = 0;
  #isSkipping = false;
  #lineSinceMs: number | undefined;
  #isStopped = false;
  #readOn: (() => void) | undefined;

  /** @param bytesMax The longest line that the taker will ever take. */
  constructor(link: Link, bytesMax: number) {
    this.#link = link;
    this.#bytesMax = bytesMax;
  }

  /**
   * Reads until the client closes its side.
   *
   * @param first Bytes that were read already.
   * @throws {WireError} `link-lost`: the connection is gone.
   */
  async read(first: Uint8Array, taker: LineTaker): Promise<void> {
    while (first.length > this.#buffer.length) {
      this.#resize(2 * this.#buffer.length);
    }
    this.#buffer.set(first);
    let count: number | null = first.length;
    while (count !== null && !this.#isStopped) {
      if (count > 0 && !this.#take(count, taker)) {
        await new Promise<void>((resolve) => this.#readOn = resolve);
        if (this.#isStopped) break;
      }
      count = await this.#link.read(this.#buffer.subarray(this.#length));
    }
    if (!this.#isStopped) this.#end(taker);
  }

  /** Reads on, after `take` returned false. */
  readOn(): void {
    this.#readOn?.();
    this.#readOn = undefined;
  }

  /** Takes nothing more. */
  stop(): void {
    this.#isStopped = true;
    this.readOn();
  }

  /** What is wrong with the client, if it does not end its line. */
  check(nowMs: number): WireError | undefined {
    const isAtStart = this.#length === 0 && !this.#isSkipping;
    if (isAtStart || this.#readOn !== undefined) {
      this.#lineSinceMs = undefined;
      return undefined;
    }
    this.#lineSinceMs ??= nowMs;
    if (nowMs - this.#lineSinceMs <= LINE_WAIT_MS) return undefined;
    return new WireError(
      "timeout",
      `Client did not end its line within ${LINE_WAIT_MS / 1_000} s`,
    );
  }

  /** What the client wrote last counts as a line. */
  #end(taker: LineTaker): void {
    if (this.#length > 0 && !this.#isSkipping) {
      const last = new Uint8Array(this.#length + 1);
      last.set(this.#buffer.subarray(0, this.#length));
      last[this.#length] = NEWLINE;
      this.#length = 0;
      hand(last, taker);
    }
    taker.ended();
  }

  /** @returns Whether to read on at once. */
  #take(count: number, taker: LineTaker): boolean {
    this.#length += count;
    const end = wholeLinesEnd(this.#buffer, this.#length);
    let start = 0;
    if (this.#isSkipping) {
      const skipped = this.#buffer.subarray(0, this.#length).indexOf(NEWLINE);
      if (skipped < 0) {
        this.#length = 0;
        return true;
      }
      this.#isSkipping = false;
      start = skipped + 1;
    }
    let goesOn = true;
    if (end > start) {
      this.#lineSinceMs = undefined;
      goesOn = hand(this.#buffer.subarray(start, end), taker);
    }
    const used = Math.max(start, end);
    if (used > 0 && used < this.#length) {
      this.#buffer.copyWithin(0, used, this.#length);
    }
    this.#length -= used;
    return this.#fit(count, taker) ?? goesOn;
  }

  /**
   * Finds room for the next read.
   *
   * @returns Whether to read on at once, if the taker was told something.
   */
  #fit(count: number, taker: LineTaker): boolean | undefined {
    const size = this.#buffer.length;
    const { lineBytesMax } = taker;
    if (this.#length > lineBytesMax) {
      const bytes = this.#length;
      this.#isSkipping = true;
      this.#length = 0;
      return taker.refuse(
        new WireError(
          "too-large",
          `Cannot read request: its length is ${bytes} bytes or more, limit is ${lineBytesMax}`,
        ),
      );
    }
    if (this.#length === size) {
      // One byte more than the longest line, so that no line passes unseen.
      this.#resize(Math.min(2 * size, this.#bytesMax + 1));
      return undefined;
    }
    if (count >= IDLE_BUFFER_BYTES) {
      this.#smallReads = 0;
      if (size < BUSY_BUFFER_BYTES) this.#resize(BUSY_BUFFER_BYTES);
    } else if (size > IDLE_BUFFER_BYTES && ++this.#smallReads >= 32) {
      this.#smallReads = 0;
      if (this.#length < IDLE_BUFFER_BYTES) this.#resize(IDLE_BUFFER_BYTES);
    }
    return undefined;
  }

  #resize(bytes: number): void {
    const buffer = new Uint8Array(bytes);
    buffer.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = buffer;
  }
}

function hand(lines: Uint8Array, taker: LineTaker): boolean {
  let text: string;
  try {
    text = DECODER.decode(lines);
  } catch {
    return handEach(lines, taker);
  }
  return taker.take(text);
}

/** Not all of a block is UTF-8: only the lines that are not suffer. */
function handEach(lines: Uint8Array, taker: LineTaker): boolean {
  let goesOn = true;
  let from = 0;
  while (from < lines.length) {
    const end = lines.indexOf(NEWLINE, from) + 1;
    const line = lines.subarray(from, end);
    from = end;
    let text: string;
    try {
      text = DECODER.decode(line);
    } catch {
      goesOn = taker.refuse(
        new WireError("invalid-utf8", "Cannot read request: it is not UTF-8"),
      );
      continue;
    }
    goesOn = taker.take(text);
  }
  return goesOn;
}
