/** What was sent on towards the tail and not yet acknowledged. */

import { ByteQueue } from "./byte_queue.ts";

/** Bytes that segments of one source may grow to while they are unsent. */
const SEGMENT_BYTES_MAX = 65_536;

interface Segment<Source> {
  /** Position after its last byte in the queue. */
  end: number;
  readonly source: Source;
  /** Whatever the source counts in: its value at the segment's end. */
  sourceEnd: number;
}

/** A source's progress: all up to `end` was acknowledged. */
export interface Acknowledged<Source> {
  readonly source: Source;
  readonly end: number;
}

/**
 * Keeps bytes until they are acknowledged, remembers whom they came from, and
 * sends them again from the oldest on when a new link stands. Positions are
 * those of the queue; on the wire they count from the link's beginning.
 */
export class Outbox<Source> {
  readonly queue: ByteQueue;
  #segments: Segment<Source>[] = [];
  /** Index of the oldest segment; those before it are acknowledged. */
  #oldest = 0;
  /** Where the current link began, and how far it was written. */
  #base = 0;
  #sent = 0;
  #writing = 0;

  constructor(bytesMax: number) {
    this.queue = new ByteQueue(bytesMax);
  }

  /** Whether all that was appended is acknowledged. */
  get isEmpty(): boolean {
    return this.queue.length === 0;
  }

  /** Position after the last byte written on this link. */
  get sent(): number {
    return this.#sent;
  }

  /** Bytes given to this link, the write under way included: what `ack` may name at most. */
  get sessionBytes(): number {
    return this.#sent + this.#writing - this.#base;
  }

  /**
   * Ends a segment at the queue's end: what was appended since the last one
   * came from `source` and brought it to `sourceEnd`.
   */
  seal(source: Source, sourceEnd: number): void {
    const last = this.#segments.at(-1);
    const start = this.#segments.at(-2)?.end ?? this.queue.start;
    // Unsent neighbours are sent and acknowledged together anyway; joining
    // them bounds the segments of a client that sends tiny lines.
    if (
      last !== undefined && last.source === source &&
      this.#segments.length - this.#oldest > 1 &&
      start >= this.#sent + this.#writing &&
      last.end - start < SEGMENT_BYTES_MAX
    ) {
      last.end = this.queue.end;
      last.sourceEnd = sourceEnd;
      return;
    }
    this.#segments.push({ end: this.queue.end, source, sourceEnd });
  }

  /** What the last segment that ends at or before `position` brought its source to. */
  sourceEndAt(position: number): number | undefined {
    return this.#segments.findLast(({ end }) => end <= position)?.sourceEnd;
  }

  /** A new link stands: all that is unacknowledged is to be sent on it. */
  linkUp(): void {
    this.#base = this.queue.start;
    this.#sent = this.queue.start;
    this.#writing = 0;
  }

  /** The link is gone; a write that was under way may still read its block. */
  linkDown(): void {
    if (this.#writing > 0) this.queue.pin(this.#sent);
    this.#writing = 0;
  }

  /**
   * The next bytes to write, or undefined while a write runs or all is sent.
   *
   * @param end Where to stop: an end of some append, else a frame is torn.
   */
  nextWrite(end: number = this.queue.end): Uint8Array<ArrayBuffer> | undefined {
    if (this.#writing > 0 || this.#sent >= end) return undefined;
    const bytes = this.queue.view(this.#sent, end);
    this.#writing = bytes.length;
    return bytes;
  }

  /** The bytes of {@linkcode nextWrite} were written. */
  written(): void {
    this.#sent += this.#writing;
    this.#writing = 0;
  }

  /**
   * The first `sessionBytes` bytes of this link's session are delivered.
   *
   * @returns The sources that got further, oldest first; one may come twice.
   */
  acknowledge(sessionBytes: number): Acknowledged<Source>[] {
    return this.acknowledgeTo(this.#base + sessionBytes);
  }

  /** As {@linkcode acknowledge}, by position in the queue. */
  acknowledgeTo(position: number): Acknowledged<Source>[] {
    const done: Acknowledged<Source>[] = [];
    let end = this.queue.start;
    while (this.#oldest < this.#segments.length) {
      const segment = this.#segments[this.#oldest];
      if (segment.end > position) break;
      end = segment.end;
      done.push({ source: segment.source, end: segment.sourceEnd });
      this.#oldest += 1;
    }
    if (this.#oldest > 1_024 && this.#oldest * 2 > this.#segments.length) {
      this.#segments.splice(0, this.#oldest);
      this.#oldest = 0;
    }
    this.queue.release(end);
    return done;
  }
}
