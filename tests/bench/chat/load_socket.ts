/** A TCP connection that costs a load generator as little as can be. */

const BUFFER_BYTES = 65_536;

/** How a protocol takes what comes. */
export interface Reception {
  /**
   * Takes whole messages from the start of `bytes`.
   *
   * @returns How many bytes it took; the rest comes again with what follows.
   */
  receive(bytes: Uint8Array): number;
  lost(reason: string): void;
}

/** Gathers what is written while a write is under way. */
export class LoadSocket {
  readonly #conn: Deno.TcpConn;
  #filling = new Uint8Array(BUFFER_BYTES);
  #sending = new Uint8Array(BUFFER_BYTES);
  #used = 0;
  #isSending = false;
  #isClosed = false;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** @throws {Deno.errors.ConnectionRefused} When nobody listens. */
  static async connect(port: number): Promise<LoadSocket> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    conn.setNoDelay(true);
    return new LoadSocket(conn);
  }

  /**
   * Makes room for a message that the caller then fills.
   *
   * @returns Where to write `length` bytes, all of them, before the next call.
   */
  reserve(length: number): Uint8Array {
    const end = this.#used + length;
    if (end > this.#filling.length) {
      const larger = new Uint8Array(Math.max(2 * this.#filling.length, end));
      larger.set(this.#filling.subarray(0, this.#used));
      this.#filling = larger;
    }
    const room = this.#filling.subarray(this.#used, end);
    this.#used = end;
    return room;
  }

  /** Puts a message behind those that go out next. */
  push(bytes: Uint8Array): void {
    this.reserve(bytes.length).set(bytes);
  }

  /** Sends what was put. */
  flush(): void {
    if (this.#isSending || this.#used === 0) return;
    this.#isSending = true;
    void this.#send();
  }

  /** Reads until the connection ends. */
  async read(reception: Reception): Promise<void> {
    let buffer = new Uint8Array(BUFFER_BYTES);
    let end = 0;
    try {
      for (;;) {
        const count = await this.#conn.read(buffer.subarray(end));
        if (count === null) throw new Error("The server closed the connection");
        if (this.#isClosed) return;
        end += count;
        const taken = reception.receive(buffer.subarray(0, end));
        this.flush();
        if (taken > 0) buffer.copyWithin(0, taken, end);
        end -= taken;
        if (end < buffer.length) continue;
        const larger = new Uint8Array(2 * buffer.length);
        larger.set(buffer);
        buffer = larger;
      }
    } catch (error) {
      if (this.#isClosed) return;
      this.close();
      reception.lost(error instanceof Error ? error.message : `${error}`);
    }
  }

  /** Nothing is received any more. May be called again. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#conn.close();
  }

  async #send(): Promise<void> {
    try {
      while (this.#used > 0 && !this.#isClosed) {
        const bytes = this.#filling.subarray(0, this.#used);
        [this.#filling, this.#sending] = [this.#sending, this.#filling];
        this.#used = 0;
        let sent = await this.#conn.write(bytes);
        while (sent < bytes.length) {
          sent += await this.#conn.write(bytes.subarray(sent));
        }
      }
    } catch {
      // The reader hears of it as well, and says so.
    } finally {
      this.#isSending = false;
    }
  }
}
