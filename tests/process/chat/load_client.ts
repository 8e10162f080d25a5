/** One client that wants each of its requests done exactly once, whatever happens to servers. */

import {
  ChatConnection,
  type ChatFields,
} from "../../../clients/chat_connection.ts";
import { parseAddress } from "../../../protocol/address.ts";
import { type ChatMessage, type SessionProof } from "../../../protocol/chat.ts";
import { readMessage } from "../../../protocol/chat_answers.ts";
import { type WireCode, WireError } from "../../../protocol/errors.ts";

/** After so long without an answer another server is asked. */
const ANSWER_WAIT_MS = 2_000;

/** Between two tries, so that a group without a primary is not flooded. */
const AGAIN_MS = 10;

/** What a client may be told while servers come and go, and still be served. */
const PASSING: ReadonlySet<WireCode> = new Set<WireCode>([
  "busy",
  "no-primary",
  "timeout",
  "shutting-down",
  "link-lost",
]);

type Body = { readonly type: string } & Readonly<Record<string, unknown>>;

/** Where a client asks. */
export interface LoadClientOptions {
  /** Client addresses. */
  readonly servers: readonly string[];
  /** Which of them to begin with; default: the first. */
  readonly first?: number;
  /** After so long without an answer it asks another server. */
  readonly answerWaitMs?: number;
}

/** A session that moves from server to server. */
export class LoadClient {
  readonly user: string;
  /** Why tries failed, and how often. */
  readonly troubles = new Map<WireCode, number>();
  /** Sequence of the last write. */
  sequence = 0;
  /** The most tries that one request took before it was answered. */
  retriesMax = 0;
  #servers: readonly string[];
  readonly #answerWaitMs: number;
  readonly #password: string;
  #at: number;
  #proof: SessionProof | undefined;
  #seen = 0;
  #connection: ChatConnection | undefined;
  #isClosed = false;

  constructor(user: string, options: LoadClientOptions) {
    const { servers, first = 0, answerWaitMs = ANSWER_WAIT_MS } = options;
    this.user = user;
    this.#password = `password of ${user}`;
    this.#servers = servers;
    this.#at = first % servers.length;
    this.#answerWaitMs = answerWaitMs;
  }

  /** Makes the account and logs in. */
  async begin(): Promise<void> {
    const account = { user: this.user, password: this.#password };
    await this.#insist(async (connection) => {
      try {
        await connection.request({ type: "register", ...account });
      } catch (error) {
        // By a try before that was not answered.
        const isThere = error instanceof WireError &&
          error.code === "name-taken";
        if (!isThere) throw error;
      }
    });
    const fields = await this.#insist((connection) =>
      connection.request({ type: "login", ...account })
    );
    const { session, secret } = fields;
    if (typeof session !== "string" || typeof secret !== "string") {
      throw new Error(`A login is answered by ${JSON.stringify(fields)}`);
    }
    this.#proof = { session, secret };
  }

  /** Sends a message. @returns Its number. */
  async send(to: string, text: string): Promise<number> {
    const seq = ++this.sequence;
    const fields = await this.request({
      type: "send",
      to,
      text,
      seq,
    });
    const { n } = fields;
    if (typeof n !== "number" || fields.seq !== seq) {
      throw new Error(`Send ${seq} is answered by ${JSON.stringify(fields)}`);
    }
    this.#seen = Math.max(this.#seen, n);
    return n;
  }

  /** All messages to it with numbers above `after`, as of one moment within this call. */
  async list(after = 0): Promise<ChatMessage[]> {
    const all: ChatMessage[] = [];
    for (let from = after;;) {
      const fields = await this.request({
        type: "list",
        after: from,
        limit: 200,
        linearizable: true,
        seen: this.#seen,
      });
      const { messages, next } = fields;
      if (!Array.isArray(messages)) {
        throw new Error(`A list is answered by ${JSON.stringify(fields)}`);
      }
      const listed: unknown[] = messages;
      for (const one of listed) {
        const message = readMessage(one);
        if (message === undefined) {
          throw new Error(`A list has ${JSON.stringify(one)}`);
        }
        all.push(message);
      }
      if (next === undefined) return all;
      if (typeof next !== "number" || next <= from) {
        throw new Error(`A list from ${from} goes on at ${next}`);
      }
      from = next;
    }
  }

  /** Asks until it is answered; a write carries its sequence. */
  request(body: Body): Promise<ChatFields> {
    return this.#insist((connection) => connection.request(body));
  }

  /** Asks this server from now on, and no other one. */
  turnTo(server: string): void {
    this.#servers = [server];
    this.#at = 0;
    this.#leave();
  }

  /** Ends its connection; what is asked now fails, and is not tried again. */
  close(): void {
    this.#isClosed = true;
    this.#leave();
  }

  async #insist<T>(
    ask: (connection: ChatConnection) => Promise<T>,
  ): Promise<T> {
    for (let retries = 0;; retries += 1) {
      try {
        const connection = await this.#connected();
        return await this.#within(ask(connection), connection);
      } catch (error) {
        const isPassing = error instanceof WireError &&
          PASSING.has(error.code);
        if (!isPassing || this.#isClosed) throw error;
        const count = this.troubles.get(error.code) ?? 0;
        this.troubles.set(error.code, count + 1);
        this.retriesMax = Math.max(this.retriesMax, retries + 1);
        // A server that is merely busy keeps its clients.
        if (error.code !== "busy") {
          this.#leave();
          this.#at = (this.#at + 1) % this.#servers.length;
        }
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }

  /** A connection that speaks in the session, once there is one. */
  async #connected(): Promise<ChatConnection> {
    if (this.#connection !== undefined) return this.#connection;
    const server = this.#servers[this.#at];
    const connection = await ChatConnection.connect(parseAddress(server), {
      onClosed: () => {
        if (this.#connection === connection) this.#connection = undefined;
      },
    });
    this.#connection = connection;
    if (this.#isClosed) connection.close();
    if (this.#proof !== undefined) {
      await this.#within(
        connection.request({
          type: "resume",
          ...this.#proof,
          seen: this.#seen,
        }),
        connection,
      );
    }
    return connection;
  }

  #leave(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }

  /** What is not answered in time fails, as it does when the connection breaks. */
  async #within<T>(asked: Promise<T>, connection: ChatConnection): Promise<T> {
    const timer = setTimeout(() => connection.close(), this.#answerWaitMs);
    try {
      return await asked;
    } finally {
      clearTimeout(timer);
    }
  }
}
