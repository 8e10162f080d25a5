/** A connection to a chat server by hand, for what no well-behaved client would send. */

import { parseAddress } from "../../../protocol/address.ts";
import { bounded } from "../until.ts";

const READ_BYTES = 65_536;

/** A line that a server said. */
export interface Said {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A person's connection whose bytes are the test's own. It reads only when it is asked for a line. */
export class RawClient implements AsyncDisposable {
  /** Pushes that came while an answer was waited for. */
  readonly pushed: Said[] = [];
  readonly #conn: Deno.TcpConn;
  readonly #lines: string[] = [];
  readonly #decoder = new TextDecoder();
  #rest = "";
  #lastId = 0;
  #isOver = false;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Connects, and says nothing yet. */
  static async connect(address: string): Promise<RawClient> {
    const { host, port } = parseAddress(address);
    return new RawClient(
      await bounded(
        `${address} answers`,
        Deno.connect({ hostname: host, port }),
      ),
    );
  }

  /** Writes all of it; what a server that has closed does not take is dropped. */
  async write(...parts: readonly (string | Uint8Array)[]): Promise<void> {
    try {
      for (const part of parts) {
        const bytes = typeof part === "string"
          ? new TextEncoder().encode(part)
          : part;
        for (let at = 0; at < bytes.length;) {
          at += await this.#conn.write(bytes.subarray(at));
        }
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  /** Says that nothing more comes, as `nc -N` does. */
  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite();
  }

  /** The next line; undefined when the server has closed. */
  async line(): Promise<Said | undefined> {
    while (this.#lines.length === 0 && !this.#isOver) {
      await bounded("the server says something", this.#fill());
    }
    const line = this.#lines.shift();
    return line === undefined ? undefined : parse(line);
  }

  /** All lines until the server closes. */
  async toEnd(): Promise<Said[]> {
    const lines: Said[] = [];
    for (let line; (line = await this.line()) !== undefined;) lines.push(line);
    return lines;
  }

  /** The next line of a connection that may be refused at any time. */
  async toFirst(): Promise<Said | undefined> {
    const said = await this.line();
    this.close();
    return said;
  }

  /** Asks for something and waits for its answer; what else comes is in {@linkcode pushed}. */
  async ask(request: Readonly<Record<string, unknown>>): Promise<Said> {
    const id = ++this.#lastId;
    await this.write(`${JSON.stringify({ ...request, id })}\n`);
    return await this.answer(id);
  }

  /** The answer to the request of this id. */
  async answer(id: number): Promise<Said> {
    for (;;) {
      const said = await this.line();
      if (said === undefined) throw new Error(`Closed before answer ${id}`);
      if (said.id === id) return said;
      this.pushed.push(said);
    }
  }

  /** Ends the connection, as a process that dies does. */
  close(): void {
    try {
      this.#conn.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await Promise.resolve();
  }

  async #fill(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    let count: number | null;
    try {
      count = await this.#conn.read(buffer);
    } catch (error) {
      if (!isGone(error)) throw error;
      count = null;
    }
    if (count === null) {
      this.#isOver = true;
      return;
    }
    const text = this.#rest +
      this.#decoder.decode(buffer.subarray(0, count), { stream: true });
    const lines = text.split("\n");
    this.#rest = lines.pop() ?? "";
    this.#lines.push(...lines);
  }
}

function parse(line: string): Said {
  const value: unknown = JSON.parse(line);
  if (!isSaid(value)) throw new Error(`The server said ${line}`);
  return value;
}

function isSaid(value: unknown): value is Said {
  return typeof value === "object" && value !== null && "type" in value &&
    typeof value.type === "string";
}

/** Whether the other end has closed the connection, in order or not. */
export function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionAborted;
}
