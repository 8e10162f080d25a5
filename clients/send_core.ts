/** What `skein send` decides: numbering, sending, sending again. */

import {
  DATA_HEADER_BYTES,
  readAnswers,
  type Route,
  writeDataHead,
} from "../protocol/chain.ts";
import type { Core, LinkEffect, LinkId, LinkInput } from "../protocol/core.ts";
import { type WireCode, WireError } from "../protocol/errors.ts";
import { FrameReader } from "../protocol/frame.ts";
import { PeerError } from "../protocol/handshake.ts";
import type { ClientId } from "../protocol/ids.ts";
import { FRAME_BYTES_MAX } from "../protocol/limits.ts";
import { Outbox } from "../protocol/outbox.ts";

/** Bytes kept until the tail has them; beyond it no more input is read. */
export const SEND_QUEUE_BYTES_MAX = 8_388_608;

/** Bytes of text that one frame can carry. */
export const SEND_TEXT_BYTES_MAX = FRAME_BYTES_MAX - DATA_HEADER_BYTES;

const ANSWER_READ_BYTES = 16_384;

/** Refusals that no further attempt can change. */
const FINAL_CODES: ReadonlySet<WireCode> = new Set<WireCode>([
  "not-skein",
  "version-mismatch",
  "cluster-mismatch",
  "role-mismatch",
  "key-required",
  "wrong-key",
  "not-private",
  "invalid-message",
  "invalid-utf8",
  "nul-byte",
  "too-large",
]);

/** Why something did not work. */
export interface SendProblem {
  readonly code: WireCode;
  readonly text: string;
}

export type SendInput =
  | LinkInput
  /** Once, first. */
  | { readonly kind: "start" }
  /** Whole checked lines, at most {@linkcode SEND_TEXT_BYTES_MAX} bytes, after `want-text`. */
  | {
    readonly kind: "text";
    readonly text: Uint8Array;
    readonly messages: number;
  }
  /** No more text will come. */
  | { readonly kind: "end" }
  | {
    readonly kind: "connected";
    readonly link: LinkId;
    readonly bytes: Uint8Array;
  }
  | { readonly kind: "unreachable"; readonly error: SendProblem };

export type SendEffect =
  | LinkEffect
  /** Try once to reach a target, after a jittered wait that grows with `attempt`. */
  | {
    readonly kind: "dial";
    readonly target: number;
    readonly attempt: number;
  }
  /** Hand over the next text, or the end of it. */
  | { readonly kind: "want-text" }
  /** The tail has delivered more. */
  | { readonly kind: "progress" }
  /** The way to the tail has changed. */
  | { readonly kind: "route"; readonly route: Route }
  /** The link is gone; another attempt follows. */
  | { readonly kind: "trouble"; readonly problem: SendProblem }
  /** All is delivered, or nothing more can be. */
  | { readonly kind: "done"; readonly problem?: SendProblem };

/** Messages, counted. */
export interface SendCounts {
  /** Handed over by the user. */
  taken: number;
  delivered: number;
  /** Sent again because a link broke before they were acknowledged. */
  resent: number;
}

/** One sender as a state machine. */
export class SendCore implements Core<SendInput, SendEffect> {
  readonly counts: SendCounts = { taken: 0, delivered: 0, resent: 0 };
  readonly #client: ClientId;
  readonly #targetCount: number;
  readonly #outbox: Outbox<undefined>;
  readonly #into = new Uint8Array(ANSWER_READ_BYTES);
  readonly #head = new Uint8Array(DATA_HEADER_BYTES);
  #reader = new FrameReader();
  #link: LinkId | undefined;
  #target = 0;
  #attempts = 0;
  #refusals = 0;
  #offset = 0;
  #isWriting = false;
  #isWaitingForText = false;
  #hasEnded = false;
  #isDone = false;
  #effects: SendEffect[] = [];

  constructor(
    options: {
      client: ClientId;
      targetCount: number;
      queueBytesMax?: number;
    },
  ) {
    this.#client = options.client;
    this.#targetCount = options.targetCount;
    this.#outbox = new Outbox(options.queueBytesMax ?? SEND_QUEUE_BYTES_MAX);
  }

  /** Bytes of text handed over. */
  get textBytes(): number {
    return this.#offset;
  }

  /** Bytes kept because the tail has not acknowledged them. */
  get queuedBytes(): number {
    return this.#outbox.queue.length;
  }

  describe(): string {
    const { queue } = this.#outbox;
    return `queue ${queue.start}..${queue.end} delivered ${this.counts.delivered}/${this.counts.taken} link ${
      this.#link ?? "-"
    }`;
  }

  step(input: SendInput): SendEffect[] {
    this.#effects = [];
    if (!this.#isDone) this.#handle(input);
    if (!this.#isDone) this.#flush();
    return this.#effects;
  }

  #handle(input: SendInput): void {
    switch (input.kind) {
      case "start":
        return this.#dial();
      case "text":
        return this.#take(input.text, input.messages);
      case "end":
        this.#isWaitingForText = false;
        this.#hasEnded = true;
        return;
      case "connected":
        this.#link = input.link;
        this.#reader = new FrameReader();
        this.#reader.push(input.bytes);
        this.#refusals = 0;
        this.#linkUp();
        return this.#takeAnswers();
      case "unreachable":
        return this.#unreachable(input.error);
      case "read":
        this.#reader.push(this.#into.subarray(0, input.length));
        return this.#takeAnswers();
      case "written":
        this.#isWriting = false;
        this.#outbox.written();
        return;
      case "ended":
        this.#effects.push({ kind: "close", link: input.link });
        return this.#lost({ code: "link-lost", text: "closed by the node" });
      case "link-down":
        return this.#lost({ code: "link-lost", text: input.reason });
    }
  }

  #take(text: Uint8Array, messages: number): void {
    this.#isWaitingForText = false;
    this.counts.taken += messages;
    writeDataHead(this.#head, {
      client: this.#client,
      offset: this.#offset,
      messages,
      base: this.#outbox.isEmpty && this.#outbox.sessionBytes === 0,
      pipelined: !this.#outbox.isEmpty,
      textBytes: text.length,
    });
    this.#outbox.queue.append(this.#head);
    this.#outbox.queue.append(text);
    this.#outbox.seal(undefined, this.counts.taken);
    this.#offset += text.length;
  }

  #linkUp(): void {
    const { queue, sent } = this.#outbox;
    const sentBefore = this.#outbox.sourceEndAt(sent) ?? 0;
    this.counts.resent += Math.max(0, sentBefore - this.counts.delivered);
    this.#outbox.linkUp();
    // The first frame on a link says that all before it was acknowledged.
    if (!this.#outbox.isEmpty) queue.view(queue.start + 5)[0] |= 1;
  }

  #takeAnswers(): void {
    const link = this.#link;
    if (link === undefined) return;
    try {
      readAnswers(this.#reader, {
        ack: (position) => this.#takeAck(position),
        route: (route) => this.#effects.push({ kind: "route", route }),
      });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#effects.push(
        error instanceof PeerError
          ? { kind: "close", link }
          : { kind: "close", link, error },
      );
      return this.#lost({ code: error.code, text: error.message });
    }
    this.#effects.push({ kind: "read", link, into: this.#into });
  }

  #takeAck(position: number): void {
    if (position > this.#outbox.sessionBytes) {
      throw new WireError(
        "invalid-message",
        `Cannot take ack of ${position} bytes: ${this.#outbox.sessionBytes} were sent`,
      );
    }
    const done = this.#outbox.acknowledge(position).at(-1);
    if (done === undefined) return;
    // Not already at the route: a node that is full tells one before it says so.
    this.#attempts = 0;
    this.counts.delivered = done.end;
    this.#effects.push({ kind: "progress" });
  }

  #lost(problem: SendProblem): void {
    this.#link = undefined;
    this.#isWriting = false;
    this.#outbox.linkDown();
    if (FINAL_CODES.has(problem.code)) return this.#finish(problem);
    this.#effects.push({ kind: "trouble", problem });
    this.#next();
  }

  #unreachable(problem: SendProblem): void {
    this.#refusals = FINAL_CODES.has(problem.code) ? this.#refusals + 1 : 0;
    if (this.#refusals >= this.#targetCount) return this.#finish(problem);
    this.#effects.push({ kind: "trouble", problem });
    this.#next();
  }

  #next(): void {
    this.#target = (this.#target + 1) % this.#targetCount;
    this.#dial();
  }

  #dial(): void {
    // Every target is tried once before the wait begins to grow.
    const attempt = Math.floor(this.#attempts / this.#targetCount);
    this.#attempts += 1;
    this.#effects.push({ kind: "dial", target: this.#target, attempt });
  }

  #finish(problem?: SendProblem): void {
    this.#isDone = true;
    if (this.#link !== undefined) {
      this.#effects.push({ kind: "close", link: this.#link });
    }
    this.#effects.push({
      kind: "done",
      ...(problem !== undefined && { problem }),
    });
  }

  #flush(): void {
    if (this.#hasEnded && this.#outbox.isEmpty) return this.#finish();
    if (this.#link !== undefined && !this.#isWriting) {
      const bytes = this.#outbox.nextWrite();
      if (bytes !== undefined) {
        this.#isWriting = true;
        this.#effects.push({ kind: "write", link: this.#link, bytes });
      }
    }
    const room = this.#outbox.queue.space - SEND_TEXT_BYTES_MAX;
    if (this.#hasEnded || this.#isWaitingForText || room < 0) return;
    this.#isWaitingForText = true;
    this.#effects.push({ kind: "want-text" });
  }
}
