/** One client's connection: bytes into lines, and answers into as few writes as possible. */

import { Buffer } from "node:buffer";
import { REQUEST_BYTES_MAX } from "../../../protocol/chat.ts";
import { WireError } from "../../../protocol/errors.ts";
import { NEWLINE, wholeLinesEnd } from "../../../protocol/lines.ts";
import type { Link } from "../../host/link.ts";
import type { ClientSide, ClientTransport } from "./client.ts";

/** Bytes of an idle connection's buffer: there may be thousands. */
const IDLE_BUFFER_BYTES = 4_096;

/** Bytes of a busy connection's buffer; grows further only for a longer line. */
const BUSY_BUFFER_BYTES = 65_536;

/** Bytes of one write: what must go out before a last word can. */
const WRITE_BYTES_MAX = 65_536;

/** Below so many bytes the service may answer more. */
const LOW_WATER_BYTES = 32_768;

/** How long a line that is begun may take to end. */
const LINE_WAIT_MS = 60_000;

/** How long one write may take: longer, and nobody reads. */
const WRITE_WAIT_MS = 30_000;

/** How long a connection that is closed may take to read its last words. */
const LAST_WORD_WAIT_MS = 5_000;

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What a connection is served with. */
export interface ConnectionOptions {
  /** Bytes that were read already. */
  readonly first: Uint8Array;
  /** Takes the new client in. */
  open(transport: ClientTransport): ClientSide;
  /** The connection is over; called once. */
  onClosed(): void;
}

/** Reads requests and writes answers of one client until either side ends it. */
export class ClientConnection implements ClientTransport {
  readonly label: string;
  readonly isLocal: boolean;
  readonly #link: Link;
  readonly #side: ClientSide;
  readonly #onClosed: () => void;
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(IDLE_BUFFER_BYTES);
  #length = 0;
  /** Reads that would have fitted the idle buffer, since one did not. */
  #smallReads = 0;
  #isSkipping = false;
  #lineSinceMs: number | undefined;
  #waiting: Uint8Array[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #writingBytes = 0;
  #writeSinceMs = 0;
  /** The first that waits is the rest of what was written in part. */
  #isTorn = false;
  #isClosing = false;
  #isOver = false;
  #readOn: (() => void) | undefined;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;

  private constructor(link: Link, options: ConnectionOptions) {
    this.#link = link;
    this.label = link.label;
    this.isLocal = link.isLocal;
    this.#onClosed = options.onClosed;
    this.#side = options.open(this);
    void this.#read(options.first);
  }

  /** Serves a connection; it ends by itself. */
  static serve(link: Link, options: ConnectionOptions): void {
    new ClientConnection(link, options);
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  write(lines: string): void {
    if (this.#isClosing) return;
    this.#push(lines);
  }

  readOn(): void {
    this.#readOn?.();
    this.#readOn = undefined;
  }

  close(lastWord?: string): void {
    if (this.#isClosing) return;
    if (lastWord !== undefined) this.#push(lastWord);
    this.#beginClose();
  }

  cutOff(lastWord: string): void {
    if (this.#isClosing) return;
    // Half of a line may be out already: its end must follow.
    const torn = this.#isTorn ? this.#waiting[0] : undefined;
    const end = torn === undefined ? 0 : torn.indexOf(NEWLINE) + 1;
    this.#waiting = torn === undefined ? [] : [torn.subarray(0, end)];
    this.#queuedBytes = this.#writingBytes + end;
    this.#push(lastWord);
    this.#beginClose();
  }

  check(nowMs: number): WireError | undefined {
    if (this.#isWriting && nowMs - this.#writeSinceMs > WRITE_WAIT_MS) {
      return new WireError(
        "timeout",
        `Client read nothing for ${WRITE_WAIT_MS / 1_000} s`,
      );
    }
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

  // Reading

  async #read(first: Uint8Array): Promise<void> {
    try {
      if (first.length > this.#buffer.length) this.#resize(BUSY_BUFFER_BYTES);
      this.#buffer.set(first);
      let count: number | null = first.length;
      while (count !== null && !this.#isClosing) {
        if (count > 0 && !this.#take(count)) {
          await new Promise<void>((resolve) => this.#readOn = resolve);
          if (this.#isClosing) break;
        }
        count = await this.#link.read(this.#buffer.subarray(this.#length));
      }
      if (!this.#isClosing) this.#end();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#over();
    }
  }

  /** The client has closed its side: what it wrote last counts as a line. */
  #end(): void {
    if (this.#length > 0 && !this.#isSkipping) {
      const last = new Uint8Array(this.#length + 1);
      last.set(this.#buffer.subarray(0, this.#length));
      last[this.#length] = NEWLINE;
      this.#length = 0;
      this.#hand(last);
    }
    this.#side.ended();
  }

  /** @returns Whether to read on at once. */
  #take(count: number): boolean {
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
      goesOn = this.#hand(this.#buffer.subarray(start, end));
    }
    const used = Math.max(start, end);
    if (used > 0 && used < this.#length) {
      this.#buffer.copyWithin(0, used, this.#length);
    }
    this.#length -= used;
    return this.#fit(count) ?? goesOn;
  }

  /**
   * Finds room for the next read.
   *
   * @returns Whether to read on at once, if the side was told something.
   */
  #fit(count: number): boolean | undefined {
    const size = this.#buffer.length;
    const { lineBytesMax } = this.#side;
    if (this.#length > lineBytesMax) {
      const bytes = this.#length;
      this.#isSkipping = true;
      this.#length = 0;
      return this.#side.refuse(
        new WireError(
          "too-large",
          `Cannot read request: its length is ${bytes} bytes or more, limit is ${lineBytesMax}`,
        ),
      );
    }
    if (this.#length === size) {
      // One byte more than the longest line, so that no line passes unseen.
      this.#resize(Math.min(2 * size, REQUEST_BYTES_MAX + 1));
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

  #hand(lines: Uint8Array): boolean {
    let text: string;
    try {
      text = DECODER.decode(lines);
    } catch {
      return this.#handEach(lines);
    }
    return this.#side.take(text);
  }

  /** Not all of a block is UTF-8: only the lines that are not suffer. */
  #handEach(lines: Uint8Array): boolean {
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
        goesOn = this.#side.refuse(
          new WireError("invalid-utf8", "Cannot read request: it is not UTF-8"),
        );
        continue;
      }
      goesOn = this.#side.take(text);
    }
    return goesOn;
  }

  // Writing

  #push(lines: string): void {
    const bytes = Buffer.from(lines);
    this.#waiting.push(bytes);
    this.#queuedBytes += bytes.length;
    if (!this.#isWriting) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#waiting.length > 0) {
        const bytes = this.#nextWrite();
        this.#writeSinceMs = performance.now();
        this.#writingBytes = bytes.length;
        await this.#link.send(bytes);
        this.#queuedBytes -= bytes.length;
        this.#writingBytes = 0;
        if (this.#queuedBytes <= LOW_WATER_BYTES && !this.#isClosing) {
          this.#side.drained();
        }
      }
      this.#isWriting = false;
      if (this.#isClosing) await this.#finish();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#over();
    }
  }

  /** What waits, joined, but for what exceeds one write. */
  #nextWrite(): Uint8Array {
    const [first] = this.#waiting;
    this.#isTorn = first.length > WRITE_BYTES_MAX;
    if (this.#isTorn) {
      this.#waiting[0] = first.subarray(WRITE_BYTES_MAX);
      return first.subarray(0, WRITE_BYTES_MAX);
    }
    if (this.#waiting.length === 1) {
      this.#waiting = [];
      return first;
    }
    let count = 0;
    let bytes = 0;
    while (
      count < this.#waiting.length &&
      bytes + this.#waiting[count].length <= WRITE_BYTES_MAX
    ) bytes += this.#waiting[count++].length;
    return Buffer.concat(this.#waiting.splice(0, count), bytes);
  }

  // End

  #beginClose(): void {
    this.#isClosing = true;
    this.readOn();
    this.#closeTimer = setTimeout(() => this.#over(), LAST_WORD_WAIT_MS);
    if (!this.#isWriting) void this.#finish();
  }

  async #finish(): Promise<void> {
    if (this.#isOver) return;
    await this.#link.close();
    this.#over();
  }

  /** Nothing more comes or goes. */
  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isClosing = true;
    clearTimeout(this.#closeTimer);
    this.#waiting = [];
    this.readOn();
    this.#link.abort();
    this.#side.closed();
    this.#onClosed();
  }
}
