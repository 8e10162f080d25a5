/** One connected client: its lines in, its answers out, and what it waits for. */

import { Buffer } from "node:buffer";
import {
  type ErrorDetails,
  formatError,
} from "../../../protocol/chat_answers.ts";
import { REQUEST_BYTES_MAX } from "../../../protocol/chat.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { OpenCommand } from "./open_commands.ts";
import { RESULTS_KEPT } from "../state/sessions.ts";

/**
 * Requests of one connection that wait for their answers; beyond it no more
 * are read. No more than the results that a session keeps, so that a client
 * that resumes still finds what became of each.
 */
export const OPEN_REQUESTS_MAX = RESULTS_KEPT;

/** Bytes of answers that wait to be read; beyond it no more requests are taken. */
export const ANSWERS_WAITING_BYTES = 65_536;

/** Bytes that may wait for a client that reads slowly; beyond it the connection ends. */
export const CLIENT_QUEUE_BYTES_MAX = 1_048_576;

/** Bytes of a line before login: names and passwords fit, however they are escaped. */
export const STRANGER_LINE_BYTES_MAX = 16_384;

/** A client's connection, as the service uses it. */
export interface ClientTransport {
  /** Where the client is, for people. */
  readonly label: string;
  /** Whether the client is a process of this machine. */
  readonly isLocal: boolean;
  /** Bytes that wait to be handed to the operating system. */
  readonly queuedBytes: number;
  /** Writes whole lines behind those before. A loss shows as `closed`. */
  write(lines: string): void;
  /** Reads on, after `take` returned false. */
  readOn(): void;
  /** Writes what waits and `lastWord`, closes; `closed` follows. */
  close(lastWord?: string): void;
  /** Writes nothing of what waits but `lastWord`, closes; `closed` follows. */
  cutOff(lastWord: string): void;
  /** What is wrong with the connection, if the client is stuck. */
  check(nowMs: number): WireError | undefined;
}

/** What a connection reports. */
export interface ClientSide {
  /** Bytes that a line may have now: strangers get little memory. */
  readonly lineBytesMax: number;
  /** Lines, each with its newline. @returns Whether to read on at once. */
  take(lines: string): boolean;
  /** A line that is no text, or too long. @returns As {@linkcode take}. */
  refuse(error: WireError): boolean;
  /** Few bytes wait to be written. */
  drained(): void;
  /** The client has closed its side: answer what is open, then close. */
  ended(): void;
  /** The connection is gone. Once, last. */
  closed(): void;
}

/** Who handles what clients say. */
export interface ClientOwner {
  /** One request; what it leads to may come later. */
  handle(client: Client, line: string): void;
  /** The client has something to write: flush it when this turn ends. */
  wantsFlush(client: Client): void;
  /** It says nothing more, and nothing more is said to it. */
  gone(client: Client): void;
  /** Its connection is closed. */
  left(client: Client): void;
}

/** The session that a connection speaks in. */
export interface ClientSession {
  readonly id: string;
  /** The user's name. */
  readonly user: string;
  readonly userId: number;
  /** Highest sequence given to a command, or known to be done. */
  lastSequence: number;
}

/** A read that waits for the connection's own earlier writes, and for room. */
interface DeferredRead {
  /** All up to this one must have their results. */
  readonly sequence: number;
  readonly run: () => void;
}

export class Client implements ClientSide {
  readonly transport: ClientTransport;
  session: ClientSession | undefined;
  /** Commands by their sequence, oldest first. */
  readonly commands = new Map<number, OpenCommand>();
  /** Bytes of {@linkcode commands}. */
  commandBytes = 0;
  /** When a gap last made us propose all commands again. */
  gapMs = -Infinity;
  isClosed = false;
  /** It read too slowly. */
  wasCutOff = false;
  /** Lines looked at, for errors of lines without an id. */
  lineNumber = 0;
  readonly #owner: ClientOwner;
  #openCount = 0;
  /** A request under way that the next lines may depend on. */
  #isOccupied = false;
  #isSettling = false;
  #afterSettling: (() => void) | undefined;
  #hasEnded = false;
  #isPumping = false;
  #isWaitingToRead = false;
  /** The lines that are looked at, from {@linkcode #at} on. */
  #lines = "";
  #at = 0;
  /** What came behind them: more lines, and what is wrong with lines that are none. */
  #behind: (string | WireError)[] = [];
  #behindAt = 0;
  #output = "";
  #wantsFlush = false;
  #reads: DeferredRead[] = [];

  constructor(transport: ClientTransport, owner: ClientOwner) {
    this.transport = transport;
    this.#owner = owner;
  }

  /** Requests that wait for their answers. */
  get openCount(): number {
    return this.#openCount;
  }

  // What the connection reports

  get lineBytesMax(): number {
    // While a login is under way the next line may be a long message.
    return this.session === undefined && !this.#isOccupied
      ? STRANGER_LINE_BYTES_MAX
      : REQUEST_BYTES_MAX;
  }

  take(lines: string): boolean {
    return this.#add(lines);
  }

  refuse(error: WireError): boolean {
    // It has its turn, and its number, among the lines before and behind it.
    return this.#add(error);
  }

  drained(): void {
    this.#pump();
  }

  ended(): void {
    this.#hasEnded = true;
    this.#pump();
    this.#closeIfDone();
  }

  closed(): void {
    this.#leave();
    this.#owner.left(this);
  }

  // What the service does

  /** Adds whole lines to what is written when this turn ends. */
  say(lines: string): void {
    if (this.isClosed) return;
    this.#output += lines;
    if (this.#wantsFlush) return;
    this.#wantsFlush = true;
    this.#owner.wantsFlush(this);
  }

  sayError(error: WireError, details: ErrorDetails): void {
    this.say(formatError(error, details));
  }

  /** Writes what was said, and goes on with what waited for room. */
  flush(): void {
    this.#wantsFlush = false;
    if (this.isClosed) return;
    const output = this.#output;
    this.#output = "";
    const bytes = this.transport.queuedBytes + output.length;
    if (bytes > CLIENT_QUEUE_BYTES_MAX) return this.cutSlow(bytes);
    if (output !== "") this.transport.write(output);
    this.#pump();
    this.#closeIfDone();
  }

  /** A request waits for its answer from now on. */
  open(): void {
    this.#openCount += 1;
  }

  /** A request's answer was said. */
  settle(): void {
    this.#openCount -= 1;
    if (this.#openCount === 0) this.#isSettling = false;
    // A full turn's answers go out first; then whatever waited is taken up.
    if (!this.#wantsFlush) {
      this.#wantsFlush = true;
      this.#owner.wantsFlush(this);
    }
  }

  /** No further line is looked at until {@linkcode release}. */
  occupy(): void {
    this.#isOccupied = true;
    this.open();
  }

  release(): void {
    this.#isOccupied = false;
    this.settle();
  }

  /** No further line is looked at until all that is open has its answer. */
  occupyUntilSettled(): void {
    this.#isSettling = this.#openCount > 0;
  }

  /** Runs `act` once all that is open has its answer; no line is looked at until then. */
  whenSettled(act: () => void): void {
    if (this.#openCount === 0) return act();
    this.#isSettling = true;
    this.#afterSettling = act;
  }

  /** Runs `read` once all commands so far have their results and there is room. */
  afterWrites(read: () => void): void {
    let sequence = 0;
    for (const command of this.commands.values()) {
      if (command.ids.length > 0) sequence = command.sequence;
    }
    this.#reads.push({ sequence, run: read });
    this.runReads();
  }

  /** Runs what no longer has to wait. */
  runReads(): void {
    if (this.#reads.length === 0) return;
    const oldest = this.#oldestWaiting();
    while (this.#reads.length > 0 && this.hasRoom && !this.isClosed) {
      if (this.#reads[0].sequence >= oldest) return;
      this.#reads.shift()?.run();
    }
  }

  /** Says why, and ends the connection. */
  end(error: WireError, details: ErrorDetails = {}): void {
    if (this.isClosed) return;
    const output = this.#output;
    this.#output = "";
    this.transport.close(output + formatError(error, details));
    this.#leave();
  }

  /** Whether an answer of any size may be made now. */
  get hasRoom(): boolean {
    return this.#output.length + this.transport.queuedBytes <
      ANSWERS_WAITING_BYTES;
  }

  #leave(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#lines = "";
    this.#at = 0;
    this.#behind = [];
    this.#behindAt = 0;
    this.#reads = [];
    this.#afterSettling = undefined;
    this.#owner.gone(this);
  }

  #oldestWaiting(): number {
    for (const { sequence, ids } of this.commands.values()) {
      if (ids.length > 0) return sequence;
    }
    return Infinity;
  }

  /** Ends a connection for which `bytes` wait. What waits is dropped. */
  cutSlow(bytes: number): void {
    if (this.isClosed) return;
    const error = new WireError(
      "slow-consumer",
      `Client reads too slowly: ${bytes} bytes wait, limit is ${CLIENT_QUEUE_BYTES_MAX}; connect again and resume`,
    );
    this.wasCutOff = true;
    this.transport.cutOff(formatError(error, {}));
    this.#leave();
  }

  #add(lines: string | WireError): boolean {
    this.#behind.push(lines);
    this.#pump();
    this.#isWaitingToRead = this.#hasLines;
    return !this.#isWaitingToRead;
  }

  get #hasLines(): boolean {
    return this.#at < this.#lines.length ||
      this.#behindAt < this.#behind.length;
  }

  /** Takes up lines as long as there is room for what they lead to. */
  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    this.runReads();
    if (this.#openCount === 0 && !this.isClosed) {
      const act = this.#afterSettling;
      this.#afterSettling = undefined;
      act?.();
    }
    while (this.#mayTake()) this.#takeLine();
    this.#isPumping = false;
    if (this.#hasLines) return;
    this.#lines = "";
    this.#at = 0;
    this.#behind = [];
    this.#behindAt = 0;
    if (!this.#isWaitingToRead) return;
    this.#isWaitingToRead = false;
    this.transport.readOn();
  }

  #mayTake(): boolean {
    return this.#hasLines && !this.isClosed &&
      !this.#isOccupied && !this.#isSettling &&
      this.#openCount < OPEN_REQUESTS_MAX && this.hasRoom;
  }

  #takeLine(): void {
    if (this.#at >= this.#lines.length) {
      const next = this.#behind[this.#behindAt++];
      if (typeof next !== "string") return this.#refuseLine(next);
      this.#lines = next;
      this.#at = 0;
    }
    const end = this.#lines.indexOf("\n", this.#at);
    const line = this.#lines.slice(this.#at, end);
    this.#at = end + 1;
    const bytes = this.#bytesAboveBound(line);
    if (bytes > 0) {
      return this.#refuseLine(
        new WireError(
          "too-large",
          `Cannot read request: its length is ${bytes} bytes, limit is ${STRANGER_LINE_BYTES_MAX}`,
        ),
      );
    }
    this.lineNumber += 1;
    if (line.trim() !== "") this.#owner.handle(this, line);
  }

  #refuseLine(error: WireError): void {
    this.lineNumber += 1;
    this.sayError(error, { line: this.lineNumber });
  }

  /** Length of a line that came whole in one read, and is too long for a stranger; else 0. */
  #bytesAboveBound(line: string): number {
    const isSurelyShort = line.length * 3 <= STRANGER_LINE_BYTES_MAX;
    if (this.session !== undefined || isSurelyShort) return 0;
    const bytes = Buffer.byteLength(line);
    return bytes > STRANGER_LINE_BYTES_MAX ? bytes : 0;
  }

  #closeIfDone(): void {
    const isDone = this.#hasEnded && this.#openCount === 0 &&
      this.#afterSettling === undefined &&
      this.#output === "" && !this.#hasLines;
    if (!isDone || this.isClosed) return;
    this.transport.close();
    this.#leave();
  }
}
