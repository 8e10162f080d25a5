/** A plain-text client: what `nc` does, in the test's own process. */

import type { ChainFleet } from "./chain_fleet.ts";

const READ_BYTES = 65_536;

/** A connection that speaks lines of text, and keeps all that it is answered. */
export class LinesClient implements AsyncDisposable {
  readonly #conn: Deno.TcpConn;
  readonly #over: Promise<void> | undefined;
  #answers = "";
  #isClosed = false;

  private constructor(conn: Deno.TcpConn, reads: boolean) {
    this.#conn = conn;
    this.#over = reads ? this.#read() : undefined;
  }

  /**
   * Connects to a node.
   *
   * @param options `reads`: whether it ever reads; default: it does.
   */
  static async connect(
    fleet: ChainFleet,
    options: { readonly to: string; readonly reads?: boolean },
  ): Promise<LinesClient> {
    const conn = await fleet.connect(options.to);
    return new LinesClient(conn, options.reads ?? true);
  }

  /** All answers so far. */
  get answers(): string {
    return this.#answers;
  }

  /** Whether the node has closed the connection. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Writes all of it. */
  async write(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string"
      ? new TextEncoder().encode(text)
      : text;
    for (let at = 0; at < bytes.length;) {
      at += await this.#conn.write(bytes.subarray(at));
    }
  }

  /** Says that no more will come, as `nc -N` does. */
  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite();
  }

  /** Resolves when the node has closed the connection. */
  async closed(): Promise<void> {
    await this.#over;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#conn.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
    await this.#over;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(READ_BYTES);
    try {
      for (;;) {
        const count = await this.#conn.read(buffer);
        if (count === null) break;
        const part = buffer.subarray(0, count);
        this.#answers += decoder.decode(part, { stream: true });
      }
    } catch (error) {
      // Reset by the node, or closed by us.
      if (
        !(error instanceof Deno.errors.ConnectionReset ||
          error instanceof Deno.errors.Interrupted ||
          error instanceof Deno.errors.BadResource)
      ) throw error;
    }
    this.#isClosed = true;
  }
}
