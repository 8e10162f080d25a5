/** One connection to a mesh server, for programs that ask for things and do not chat. */

import { type Address, formatAddress } from "../protocol/address.ts";
import { WireError } from "../protocol/errors.ts";
import type { MeshStatus, ToClient } from "../protocol/mesh.ts";
import { readMeshAnswer } from "../protocol/mesh_answers.ts";
import { ChatLink } from "./chat_link.ts";

/** A request, without its id. */
type Request = { readonly type: string } & Readonly<Record<string, unknown>>;

interface Waiting {
  resolve(answer: ToClient): void;
  reject(error: WireError): void;
}

/** Requests become promises; what a server says by itself is passed over. */
export class MeshConnection implements Disposable {
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #link: ChatLink<ToClient> | undefined;
  #closed: WireError | undefined;

  private constructor() {}

  /**
   * Connects.
   *
   * @throws {WireError} `link-lost` or `timeout`; names the address.
   */
  static async connect(address: Address): Promise<MeshConnection> {
    const connection = new MeshConnection();
    try {
      connection.#link = await ChatLink.connect(address, {
        read: readMeshAnswer,
        onAnswer: (answer) => connection.#take(answer),
        onClosed: (reason) => connection.#end(reason),
      });
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause;
      const text = `Cannot reach ${formatAddress(address)}: ${cause.message}`;
      throw new WireError(cause.code, text, { cause });
    }
    return connection;
  }

  /**
   * Asks for something, and waits at most so long.
   *
   * @returns What answers it; never an error.
   * @throws {WireError} The server's, or `timeout`, `link-lost`: nobody knows
   *   whether it was done.
   */
  async request(request: Request, waitMs: number): Promise<ToClient> {
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId++;
    const answered = new Promise<ToClient>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#link?.write(`${JSON.stringify({ ...request, id })}\n`);
    const timer = setTimeout(() => {
      const text = `No answer to "${request.type}" within ${waitMs} ms`;
      this.#fail(id, new WireError("timeout", text));
    }, waitMs);
    try {
      return await answered;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks a server how it is. */
  async status(waitMs: number): Promise<MeshStatus> {
    const answer = await this.request({ type: "status" }, waitMs);
    // Only the replicated chat has no more to say.
    if (answer.type === "ok") {
      throw new WireError(
        "role-mismatch",
        "It is of a chat group; a mesh server is wanted",
      );
    }
    return expected(answer, "status");
  }

  close(): void {
    this.#link?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #take(answer: ToClient): void {
    const id = "id" in answer ? answer.id : undefined;
    if (id === undefined && answer.type === "error") {
      // Said to nobody in particular: it is about the connection.
      return this.#failAll(new WireError(answer.code, answer.text));
    }
    const waiting = typeof id === "number" ? this.#waiting.get(id) : undefined;
    if (waiting === undefined || typeof id !== "number") return;
    this.#waiting.delete(id);
    if (answer.type !== "error") waiting.resolve(answer);
    else waiting.reject(new WireError(answer.code, answer.text));
  }

  #fail(id: number, error: WireError): void {
    this.#waiting.get(id)?.reject(error);
    this.#waiting.delete(id);
  }

  #failAll(error: WireError): void {
    for (const id of [...this.#waiting.keys()]) this.#fail(id, error);
  }

  #end(reason: WireError): void {
    this.#closed = reason;
    this.#failAll(reason);
  }
}

/**
 * An answer of the type that its request asked for.
 *
 * @throws {WireError} `invalid-message`: it is another.
 */
export function expected<Type extends ToClient["type"]>(
  answer: ToClient,
  type: Type,
): ToClient & { readonly type: Type } {
  if (isOf(answer, type)) return answer;
  throw new WireError(
    "invalid-message",
    `The server answers "${answer.type}" where "${type}" was asked for`,
  );
}

function isOf<Type extends ToClient["type"]>(
  answer: ToClient,
  type: Type,
): answer is ToClient & { readonly type: Type } {
  return answer.type === type;
}
