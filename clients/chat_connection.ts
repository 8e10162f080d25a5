/** One connection to a chat server, for programs: requests become promises. */

import type { Address } from "../protocol/address.ts";
import type {
  ChatAnswer,
  ErrorAnswer,
  MessagePush,
  NoticePush,
  ViewPush,
} from "../protocol/chat.ts";
import { readAnswer } from "../protocol/chat_answers.ts";
import { type Outcome, WireError } from "../protocol/errors.ts";
import type { LeaveChallenge } from "../protocol/leave_proof.ts";
import { ChatLink } from "./chat_link.ts";

/** What comes without being asked for. An error without an id ends the session or the connection. */
export type ChatPush = MessagePush | NoticePush | ViewPush | ErrorAnswer;

/** Fields of an answer `ok`. */
export type ChatFields = Readonly<Record<string, unknown>>;

/** A request that was not done, or perhaps was. */
export class ChatRefusal extends WireError {
  readonly #outcome: Outcome;
  /** When to try again, in ms. */
  readonly retryMs: number | undefined;
  /** What a proof of the cluster key is wanted for. */
  readonly challenge: LeaveChallenge | undefined;

  constructor(answer: ErrorAnswer) {
    super(answer.code, answer.text);
    this.#outcome = answer.outcome;
    this.retryMs = answer.retryMs;
    this.challenge = answer.challenge;
  }

  override get outcome(): Outcome {
    return this.#outcome;
  }
}

/** What a connection is opened with. */
export interface ChatConnectionOptions {
  /** Called for each push, in order. */
  onPush?(push: ChatPush): void;
  /** Called once, when the connection is over. */
  onClosed?(reason: WireError): void;
}

interface Waiting {
  resolve(fields: ChatFields): void;
  reject(error: WireError): void;
}

/**
 * Many requests may wait at once; those of one turn go out in one write. The
 * server takes 64 of a connection at a time, the others wait on the way.
 */
export class ChatConnection {
  readonly #options: ChatConnectionOptions;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #link: ChatLink<ChatAnswer> | undefined;
  #closed: WireError | undefined;
  readonly #over = Promise.withResolvers<void>();

  private constructor(options: ChatConnectionOptions) {
    this.#options = options;
  }

  /**
   * Connects.
   *
   * @throws {WireError} `link-lost` or `timeout`.
   */
  static async connect(
    address: Address,
    options: ChatConnectionOptions = {},
  ): Promise<ChatConnection> {
    const connection = new ChatConnection(options);
    connection.#link = await ChatLink.connect(address, {
      read: readAnswer,
      onAnswer: (answer) => connection.#take(answer),
      onClosed: (reason) => connection.#end(reason),
    });
    return connection;
  }

  /** Requests without an answer. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** Resolves when the connection is over. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /**
   * Asks for something.
   *
   * @param request As in `WIRE.md`, without an id.
   * @throws {ChatRefusal} The server said no, or that it does not know.
   * @throws {WireError} `link-lost`: it may have been done.
   */
  request(
    request: { readonly type: string } & Readonly<Record<string, unknown>>,
  ): Promise<ChatFields> {
    const id = this.#nextId++;
    return this.#ask(id, `${JSON.stringify({ ...request, id })}\n`);
  }

  /** Sends a message: the same as a request, with less work. */
  send(to: string, text: string, seq?: number): Promise<ChatFields> {
    const id = this.#nextId++;
    const number = seq === undefined ? "" : `,"seq":${seq}`;
    return this.#ask(
      id,
      `{"type":"send","id":${id},"to":${JSON.stringify(to)},"text":${
        JSON.stringify(text)
      }${number}}\n`,
    );
  }

  /** Ends the connection; what waits is rejected. */
  close(): void {
    this.#link?.close();
  }

  #ask(id: number, line: string): Promise<ChatFields> {
    const closed = this.#closed;
    if (closed !== undefined) return Promise.reject(closed);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#link?.write(line);
    });
  }

  #take(answer: ChatAnswer): void {
    if (answer.type !== "ok" && answer.type !== "error") {
      return this.#options.onPush?.(answer);
    }
    const { id } = answer;
    const waiting = typeof id === "number" ? this.#waiting.get(id) : undefined;
    if (waiting === undefined || typeof id !== "number") {
      if (answer.type === "error") this.#options.onPush?.(answer);
      return;
    }
    this.#waiting.delete(id);
    if (answer.type === "ok") waiting.resolve(answer.fields);
    else waiting.reject(new ChatRefusal(answer));
  }

  #end(reason: WireError): void {
    this.#closed = reason;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(reason);
    this.#options.onClosed?.(reason);
    this.#over.resolve();
  }
}
