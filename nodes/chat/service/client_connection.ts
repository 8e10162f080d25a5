/** One client's connection: bytes into lines, and answers into as few writes as possible. */

import { Buffer } from "node:buffer";
import { REQUEST_BYTES_MAX } from "../../../protocol/chat.ts";
import { WireError } from "../../../protocol/errors.ts";
import { NEWLINE } from "../../../protocol/lines.ts";
import { LineReader } from "../../host/line_reader.ts";
import type { Link } from "../../host/link.ts";
import type { ClientSide, ClientTransport } from "./client.ts";

/** Bytes of one write: what must go out before a last word can. */
const WRITE_BYTES_MAX = 65_536;

/** Below so many bytes the service may answer more. */
const LOW_WATER_BYTES = 32_768;

/** How long one write may take: longer, and nobody reads. */
const WRITE_WAIT_MS = 30_000;

/** How long a connection that is closed may take to read its last words. */
const LAST_WORD_WAIT_MS = 5_000;

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
  readonly #reader: LineReader;
  readonly #onClosed: () => void;
  #waiting: Uint8Array[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #writingBytes = 0;
  #writeSinceMs = 0;
  /** The first that waits is the rest of what was written in part. */
  #isTorn = false;
  #isClosing = false;
  #isOver = false;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;

  private constructor(link: Link, options: ConnectionOptions) {
    this.#link = link;
    this.label = link.label;
    this.isLocal = link.isLocal;
    this.#onClosed = options.onClosed;
    this.#reader = new LineReader(link, REQUEST_BYTES_MAX);
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
    this.#reader.readOn();
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
    return this.#reader.check(nowMs);
  }

  async #read(first: Uint8Array): Promise<void> {
    try {
      await this.#reader.read(first, this.#side);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#over();
    }
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
    this.#reader.stop();
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
    this.#reader.stop();
    this.#link.abort();
    this.#side.closed();
    this.#onClosed();
  }
}
