/** One inbound connection of a chain node: what it reads, and what it answers. */

import {
  DATA_HEADER_BYTES,
  type DataHead,
  encodeAck,
  readDataHead,
} from "../../protocol/chain.ts";
import type { LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import {
  FRAME,
  FRAME_HEADER_BYTES,
  frameLength,
} from "../../protocol/frame.ts";
import { readError } from "../../protocol/handshake.ts";
import type { ClientId } from "../../protocol/ids.ts";
import { FRAME_BYTES_MAX, LINE_BYTES_MAX } from "../../protocol/limits.ts";
import {
  countLines,
  lineTooLarge,
  NEWLINE,
  wholeLinesEnd,
} from "../../protocol/lines.ts";

/** Who is at the other end: a chain node, `skein send`, or plain text. */
export type SourceKind = "node" | "client" | "lines";

/** Bytes of a buffer before its connection has shown that it needs more. */
export const INPUT_BYTES_MIN = 4_096;

/** Bytes of answers that a plain-text client may leave unread before we stop reading it. */
const REPLY_BYTES_MAX = 65_536;

/** Reads whose lines are not yet answered, before we stop reading; each costs memory. */
const UNANSWERED_READS_MAX = 1_024;

/** Bytes of one write of answers. */
const REPLY_WRITE_BYTES = 16_384;

/** Memory that all connections' input buffers share. */
export interface InputBudget {
  bytes: number;
  readonly bytesMax: number;
}

/** Where a source puts what it has read. */
export interface Intake {
  /** Whole `data` frames as they came, many at once. */
  takeFrames(source: Source, frames: Uint8Array, messages: number): void;
  /** Checked lines of one client. */
  takeLines(source: Source, head: DataHead, text: Uint8Array): void;
  /** A line was refused; its sender is told. */
  refuseLine(): void;
}

/** Lines `from` to `to` of a plain-text client, accepted together. */
interface AcceptedLines {
  readonly end: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Reads one connection. Its buffer starts small and grows with use, so that a
 * thousand idle connections cost little and a busy one is read in large pieces.
 */
export class Source {
  readonly link: LinkId;
  readonly from: SourceKind;
  readonly label: string;
  /** The sender; undefined for a node, which passes on many senders' messages. */
  readonly client: ClientId | undefined;
  /** Bytes accepted, as the peer counts them: frames, or accepted lines. */
  received = 0;
  /** As much of `received` as the tail has delivered. */
  acked = 0;
  /** Position in the queue after this source's last bytes. */
  queueEnd = 0;
  isReading = false;
  isWriting = false;
  hasEnded = false;
  /** When the part of a message that is in the buffer was begun. */
  partialSinceMs: number | undefined;
  /** When the last write was begun. */
  writingSinceMs = -Infinity;
  /** Up to here somebody may be waiting for the acknowledgement. */
  awaitedEnd = 0;
  /** The acknowledgement that waits for others has waited long enough. */
  isPauseOver = false;
  /** A `route` frame to send before anything else. */
  pendingRoute: Uint8Array<ArrayBuffer> | undefined;

  #buffer: Uint8Array<ArrayBuffer>;
  #length: number;
  #capacityWanted: number;
  #smallReads = 0;
  #ackSent = 0;
  #nextOffset: number | undefined;
  readonly #budget: InputBudget;
  // Plain text only:
  readonly #ackLines: boolean;
  #lineCount = 0;
  #isSkipping = false;
  #accepted: AcceptedLines[] = [];
  #acceptedFrom = 0;
  #replies = "";
  #rejectedUnsaid = 0;

  constructor(
    options: {
      link: LinkId;
      from: SourceKind;
      label: string;
      client: ClientId | undefined;
      bytes: Uint8Array;
      budget: InputBudget;
      ackLines: boolean;
    },
  ) {
    this.link = options.link;
    this.from = options.from;
    this.label = options.label;
    this.client = options.client;
    this.#ackLines = options.ackLines && options.from === "lines";
    this.#budget = options.budget;
    this.#capacityWanted = options.from === "node"
      ? FRAME_BYTES_MAX
      : INPUT_BYTES_MIN;
    this.#buffer = new Uint8Array(
      Math.max(this.#capacityWanted, options.bytes.length),
    );
    this.#budget.bytes += this.#buffer.length;
    this.#buffer.set(options.bytes);
    this.#length = options.bytes.length;
  }

  /** Gives the buffer's bytes back to the budget; call once, at the end. */
  dispose(): void {
    this.#budget.bytes -= this.#buffer.length;
    this.#buffer = new Uint8Array(0);
    this.#length = 0;
  }

  /** Whether its buffer is larger than everybody's. */
  get holdsMemory(): boolean {
    return this.#buffer.length > INPUT_BYTES_MIN;
  }

  /** Whether its answers leave room to read more from it. */
  get takesMore(): boolean {
    const unanswered = this.#accepted.length - this.#acceptedFrom;
    return !this.hasEnded && this.#replies.length < REPLY_BYTES_MAX &&
      unanswered < UNANSWERED_READS_MAX;
  }

  /** Whether all that came over it is delivered and said so. */
  get isDone(): boolean {
    return this.hasEnded && !this.isWriting && this.#replies === "" &&
      this.acked === this.received && this.#ackSent === this.#ackGoal;
  }

  /**
   * Where the next read goes.
   *
   * @throws {WireError} `busy` when a message needs more memory than there is.
   */
  readInto(): Uint8Array<ArrayBuffer> {
    this.#resize();
    return this.#buffer.subarray(this.#length);
  }

  /**
   * Takes `length` bytes that were read and hands whole messages to `intake`.
   *
   * @throws {WireError} The peer's mistake: close this link, saying so.
   */
  take(length: number, intake: Intake, nowMs: number): void {
    const room = this.#buffer.length - this.#length;
    if (length === room) {
      this.#capacityWanted = Math.min(
        FRAME_BYTES_MAX,
        this.#capacityWanted * 4,
      );
      this.#smallReads = 0;
    } else if (length < INPUT_BYTES_MIN / 4) {
      this.#smallReads += 1;
    }
    this.#length += length;
    const used = this.from === "lines"
      ? this.#takeLines(intake)
      : this.#takeFrames(intake);
    if (used > 0) {
      this.#buffer.copyWithin(0, used, this.#length);
      this.#length -= used;
      this.partialSinceMs = undefined;
    }
    if (this.#length > 0 || this.#isSkipping) this.partialSinceMs ??= nowMs;
  }

  /** The peer has closed its side: a last line needs no newline. */
  end(intake: Intake): void {
    this.hasEnded = true;
    this.partialSinceMs = undefined;
    if (this.from !== "lines" || this.#length === 0 || this.#isSkipping) return;
    const text = new Uint8Array(this.#length + 1);
    text.set(this.#buffer.subarray(0, this.#length));
    text[this.#length] = NEWLINE;
    this.#length = 0;
    this.#acceptLines(text, intake);
  }

  /** Notes that the tail has delivered all up to `end` of this source. */
  acknowledge(end: number): void {
    if (end > this.acked) this.acked = end;
  }

  /** Bytes delivered and not said so, if that is all there is to say. */
  get mayWaitBytes(): number {
    const mustGo = this.from === "lines" || this.hasEnded ||
      this.isPauseOver || this.pendingRoute !== undefined ||
      this.awaitedEnd > this.#ackSent;
    return mustGo ? 0 : this.acked - this.#ackSent;
  }

  /** The next bytes to answer with, or undefined if there is nothing to say. */
  nextWrite(): Uint8Array<ArrayBuffer> | undefined {
    if (this.isWriting) return undefined;
    if (this.from === "lines") return this.#nextReply();
    if (this.pendingRoute !== undefined) {
      const route = this.pendingRoute;
      this.pendingRoute = undefined;
      return route;
    }
    if (this.acked === this.#ackSent) return undefined;
    this.#ackSent = this.acked;
    this.isPauseOver = false;
    return encodeAck(this.acked);
  }

  get #ackGoal(): number {
    return this.from === "lines" && !this.#ackLines ? 0 : this.received;
  }

  #resize(): void {
    const free = this.#budget.bytesMax - this.#budget.bytes;
    let wanted = this.#capacityWanted;
    if (this.#length === this.#buffer.length) {
      wanted = Math.min(FRAME_BYTES_MAX, Math.max(wanted, this.#length * 4));
      // Above its share only when a message cannot be read otherwise.
      if (this.from !== "node" && wanted - this.#buffer.length > free) {
        throw new WireError(
          "busy",
          `Cannot read more: connections use ${this.#budget.bytes} bytes, limit is ${this.#budget.bytesMax}`,
        );
      }
    } else if (this.#smallReads > 8 && this.from !== "node") {
      wanted = Math.max(INPUT_BYTES_MIN, this.#length * 2);
      this.#capacityWanted = Math.min(this.#capacityWanted, wanted);
      if (wanted >= this.#buffer.length) return;
    } else if (
      wanted <= this.#buffer.length || wanted - this.#buffer.length > free
    ) {
      return;
    }
    const buffer = new Uint8Array(wanted);
    buffer.set(this.#buffer.subarray(0, this.#length));
    this.#budget.bytes += buffer.length - this.#buffer.length;
    this.#buffer = buffer;
  }

  // Frames

  #takeFrames(intake: Intake): number {
    const buffer = this.#buffer;
    let at = 0;
    let runStart = 0;
    let messages = 0;
    for (;;) {
      const length = frameLength(buffer, at, this.#length);
      if (length === 0 || at + length > this.#length) break;
      if (buffer[at + 4] === FRAME.chainData) {
        const head = readDataHead(buffer, at, length);
        if (buffer[at + length - 1] !== NEWLINE) {
          throw new WireError(
            "invalid-message",
            "Cannot take data: its text does not end with a newline",
          );
        }
        if (this.from === "client") this.#checkClient(head, at, length);
        messages += head.messages;
        at += length;
        continue;
      }
      this.#passRun(intake, runStart, at, messages);
      this.#takeOther(buffer[at + 4], at, length);
      at += length;
      runStart = at;
      messages = 0;
    }
    this.#passRun(intake, runStart, at, messages);
    return at;
  }

  #passRun(intake: Intake, start: number, end: number, messages: number) {
    if (start === end) return;
    this.received += end - start;
    intake.takeFrames(this, this.#buffer.subarray(start, end), messages);
  }

  #takeOther(kind: number, at: number, length: number): void {
    switch (kind) {
      case FRAME.beat:
        return;
      case FRAME.error:
        throw readError(
          this.#buffer.subarray(at + FRAME_HEADER_BYTES, at + length),
        );
      default:
        throw new WireError(
          "invalid-message",
          `Cannot take frame of kind ${kind} from a ${this.from}`,
        );
    }
  }

  /** A client is a stranger: its frames are checked as its lines would be. */
  #checkClient(head: DataHead, at: number, length: number): void {
    if (head.client !== this.client) {
      throw new WireError(
        "invalid-message",
        "Cannot take data: it carries the id of another client",
      );
    }
    const expected = this.#nextOffset ?? head.offset;
    if (
      head.offset !== expected || head.base !== (this.#nextOffset === undefined)
    ) {
      throw new WireError(
        "invalid-message",
        `Cannot take data: its offset is ${head.offset}, wanted ${expected}`,
      );
    }
    const text = this.#buffer.subarray(at + DATA_HEADER_BYTES, at + length);
    const messages = countLines(text);
    if (messages !== head.messages) {
      throw new WireError(
        "invalid-message",
        `Cannot take data: it holds ${messages} messages and says ${head.messages}`,
      );
    }
    this.#nextOffset = head.offset + text.length;
  }

  // Plain text

  #takeLines(intake: Intake): number {
    let start = 0;
    if (this.#isSkipping) {
      start = this.#buffer.subarray(0, this.#length).indexOf(NEWLINE) + 1;
      if (start === 0) return this.#length;
      this.#isSkipping = false;
    }
    const end = wholeLinesEnd(this.#buffer, this.#length);
    if (end > start) {
      this.#acceptLines(this.#buffer.subarray(start, end), intake);
    }
    const used = Math.max(start, end);
    if (this.#length - used > LINE_BYTES_MAX) {
      this.#rejectLine(lineTooLarge(this.#length - used), intake);
      this.#isSkipping = true;
      return this.#length;
    }
    return used;
  }

  #acceptLines(text: Uint8Array, intake: Intake): void {
    // A frame's head has to fit in as well, which only a full buffer lacks.
    if (text.length > FRAME_BYTES_MAX - DATA_HEADER_BYTES) {
      this.#acceptHalves(text, lineTooLarge(text.length - 1), intake);
      return;
    }
    let count: number;
    try {
      count = countLines(text);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#acceptHalves(text, error, intake);
      return;
    }
    const head: DataHead = {
      client: this.client ?? 0n,
      offset: this.received,
      messages: count,
      base: this.received === 0,
      pipelined: this.received > this.acked,
    };
    this.received += text.length;
    if (this.#ackLines) {
      this.#accepted.push({
        end: this.received,
        from: this.#lineCount + 1,
        to: this.#lineCount + count,
      });
    }
    this.#lineCount += count;
    intake.takeLines(this, head, text);
  }

  /** Not all of a block is good: where it is one line, that one is refused. */
  #acceptHalves(text: Uint8Array, error: WireError, intake: Intake): void {
    const middle = wholeLinesEnd(text, text.length >> 1) ||
      text.indexOf(NEWLINE) + 1;
    if (middle === text.length) return this.#rejectLine(error, intake);
    this.#acceptLines(text.subarray(0, middle), intake);
    this.#acceptLines(text.subarray(middle), intake);
  }

  #rejectLine(error: WireError, intake: Intake): void {
    intake.refuseLine();
    this.#lineCount += 1;
    if (this.#replies.length >= REPLY_BYTES_MAX) {
      this.#rejectedUnsaid += 1;
      return;
    }
    this.#replies +=
      `error ${this.#lineCount} ${error.code} ${error.message}\n`;
  }

  #nextReply(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#rejectedUnsaid > 0 && this.#replies.length < REPLY_BYTES_MAX) {
      this.#replies +=
        `error ${this.#lineCount} busy ${this.#rejectedUnsaid} more lines were refused than answers fit; read the answers\n`;
      this.#rejectedUnsaid = 0;
    }
    while (
      this.#acceptedFrom < this.#accepted.length &&
      this.#replies.length < REPLY_WRITE_BYTES
    ) {
      const { end, from, to } = this.#accepted[this.#acceptedFrom];
      if (end > this.acked) break;
      const until = Math.min(to, from + 1_023);
      for (let line = from; line <= until; line++) {
        this.#replies += `ok ${line}\n`;
      }
      if (until === to) {
        this.#ackSent = end;
        this.#acceptedFrom += 1;
      } else {
        this.#accepted[this.#acceptedFrom] = { end, from: until + 1, to };
      }
    }
    if (this.#acceptedFrom > 1_024) {
      this.#accepted.splice(0, this.#acceptedFrom);
      this.#acceptedFrom = 0;
    }
    if (this.#replies === "") return undefined;
    const bytes = new TextEncoder().encode(this.#replies);
    this.#replies = "";
    return bytes;
  }
}
