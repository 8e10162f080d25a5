/** A link read by frames and written by turns: all that is sent in one turn leaves in one write. */

import { WireError } from "../../protocol/errors.ts";
import {
  FRAME,
  type Frame,
  FRAME_HEADER_BYTES,
  frameLength,
} from "../../protocol/frame.ts";
import {
  encodeError,
  type Identity,
  PeerError,
  readError,
} from "../../protocol/handshake.ts";
import { FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { Link, OpenLink } from "./link.ts";
import { settleWithin } from "./settle_within.ts";

/** Room for what is left of one frame and for a whole one behind it. */
const READ_BYTES = 2 * FRAME_BYTES_MAX;

/** Bytes of one write; what is longer goes in pieces. */
const WRITE_BYTES_MAX = 1_048_576;

/** How long a closing link goes on sending what waits. */
const CLOSE_WAIT_MS = 1_000;

/** Bytes that may wait to be sent unless the link's owner says otherwise. */
export const FRAME_QUEUE_BYTES_MAX = 33_554_432;

/** A framed link whose peer has shown who it is. One read at a time. */
export class FrameLink {
  readonly peer: Identity;
  /** Where the peer is, for people. */
  readonly label: string;
  /** Bytes sent and received, frame headers included. */
  readonly bytes = { sent: 0, received: 0 };
  readonly #link: Link;
  readonly #queueBytesMax: number;
  readonly #buffer = new Uint8Array(READ_BYTES);
  #start = 0;
  #end = 0;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #writing = Promise.resolve();
  #isFlushDue = false;
  #failure: WireError | undefined;

  /** @param queueBytesMax Bytes that may wait to be sent. */
  constructor(open: OpenLink, queueBytesMax: number = FRAME_QUEUE_BYTES_MAX) {
    this.#link = open.link;
    this.peer = open.peer;
    this.label = open.link.label;
    this.#queueBytesMax = queueBytesMax;
    this.#buffer.set(open.rest);
    this.#end = open.rest.length;
  }

  /** Bytes that were sent and that the system has not taken yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /**
   * All whole frames that are there, 1 to `countMax`, oldest first; waits for
   * the first. Beats are left out.
   *
   * @returns Views of a buffer that the next read overwrites.
   * @throws {WireError} The link is of no more use: {@linkcode close} it with
   * this error, which tells the peer unless the peer said it.
   */
  async read(countMax = Infinity): Promise<Frame[]> {
    const frames: Frame[] = [];
    for (;;) {
      this.#takeFrames(frames, countMax);
      if (frames.length > 0) return frames;
      await this.#fill();
    }
  }

  /**
   * Sends whole frames after those sent before: at the end of this turn, or at
   * {@linkcode flush}. When more than its bound waits, the link is given up,
   * and the next read says so.
   *
   * @param bytes Not changed afterwards.
   */
  send(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return;
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > this.#queueBytesMax) {
      const text =
        `${this.#queuedBytes} bytes wait to be sent, limit is ${this.#queueBytesMax}`;
      return this.abort(new WireError("busy", text));
    }
    this.#queue.push(bytes);
    if (this.#isWriting || this.#isFlushDue) return;
    this.#isFlushDue = true;
    queueMicrotask(() => this.flush());
  }

  /** Hands what was sent to the system now, as far as it takes it. */
  flush(): void {
    this.#isFlushDue = false;
    if (!this.#isWriting) this.#writing = this.#write();
  }

  /** Flushes, and waits until the system has all; a failure is the next read's to tell. */
  async sent(): Promise<void> {
    this.flush();
    await this.#writing;
  }

  /** Breaks the connection at once; the pending read fails with `error`. */
  abort(error: WireError): void {
    this.#failure ??= error;
    this.#queue = [];
    this.#link.abort();
  }

  /**
   * Sends what waits, tells the peer why unless it said so itself, and closes;
   * a peer that does not read is waited for a second.
   */
  async close(error?: WireError): Promise<void> {
    if (error?.code === "link-lost") this.abort(error);
    this.flush();
    await settleWithin(this.#writing, CLOSE_WAIT_MS);
    const isTheirs = error === undefined || error instanceof PeerError;
    await this.#link.close(isTheirs ? undefined : encodeError(error));
  }

  #takeFrames(into: Frame[], countMax: number): void {
    while (into.length < countMax) {
      try {
        const frame = this.#nextFrame();
        if (frame === undefined) return;
        if (frame.kind !== FRAME.beat) into.push(frame);
      } catch (error) {
        // What came before the mistake counts; the next read meets it again.
        if (into.length === 0) throw error;
        return;
      }
    }
  }

  #nextFrame(): Frame | undefined {
    const at = this.#start;
    const length = frameLength(this.#buffer, at, this.#end);
    if (length === 0 || at + length > this.#end) return undefined;
    const kind = this.#buffer[at + 4];
    const payload = this.#buffer.subarray(
      at + FRAME_HEADER_BYTES,
      at + length,
    );
    if (kind === FRAME.error) throw readError(payload);
    this.#start = at + length;
    return { kind, payload };
  }

  /** Reads more. Frames handed out before are overwritten. */
  async #fill(): Promise<void> {
    this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    let count: number | null;
    try {
      count = await this.#link.read(this.#buffer.subarray(this.#end));
    } catch (error) {
      throw this.#failure ?? error;
    }
    if (count === null) {
      throw new WireError("link-lost", "Peer closed the link");
    }
    this.#end += count;
    this.bytes.received += count;
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#queue.length > 0) {
        const bytes = this.#nextWrite();
        await this.#link.send(bytes);
        this.#queuedBytes -= bytes.length;
        this.bytes.sent += bytes.length;
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      // The pending read reports it; nothing more is taken meanwhile.
      this.abort(error);
    } finally {
      this.#isWriting = false;
    }
  }

  /** As many pieces as one write takes. */
  #nextWrite(): Uint8Array {
    const queue = this.#queue;
    if (queue[0].length > WRITE_BYTES_MAX) {
      const [first] = queue;
      queue[0] = first.subarray(WRITE_BYTES_MAX);
      return first.subarray(0, WRITE_BYTES_MAX);
    }
    let count = 0;
    let length = 0;
    while (
      count < queue.length && length + queue[count].length <= WRITE_BYTES_MAX
    ) {
      length += queue[count].length;
      count += 1;
    }
    const pieces = count === queue.length ? queue : queue.splice(0, count);
    if (pieces === queue) this.#queue = [];
    if (count === 1) return pieces[0];
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }
}

/**
 * The first frame that comes on a link.
 *
 * @param waitMs How long that may take. The link is not broken off then:
 * whoever is slow is to be told so.
 * @throws {WireError} `timeout`, or the link's own error.
 */
export async function readFirst(
  link: FrameLink,
  waitMs: number,
): Promise<Frame> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const text = `Peer said nothing for ${waitMs} ms`;
    late.reject(new WireError("timeout", text));
  }, waitMs);
  try {
    const [first] = await Promise.race([link.read(1), late.promise]);
    return first;
  } finally {
    clearTimeout(timer);
  }
}
