/** Where a bench's messages end. */

/** Bytes of one read. */
const READ_BYTES = 262_144;

/** Counts bytes, and tells when enough have come. */
export class ByteSink {
  /** All that came so far. */
  bytes = 0;
  #awaited: { readonly bytes: number; reached(): void }[] = [];

  /** Resolves when `bytes` have come in all. */
  reached(bytes: number): Promise<void> {
    if (this.bytes >= bytes) return Promise.resolve();
    return new Promise((reached) => this.#awaited.push({ bytes, reached }));
  }

  /** Reads a connection to its end. */
  async drain(conn: Deno.Conn): Promise<void> {
    const into = new Uint8Array(READ_BYTES);
    for (;;) {
      const count = await conn.read(into);
      if (count === null) return;
      this.#count(count);
    }
  }

  /** Reads what a process prints to its end. */
  async drainOutput(
    stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  ): Promise<void> {
    const reader = stream.getReader({ mode: "byob" });
    let into = new Uint8Array(READ_BYTES);
    for (;;) {
      const { value, done } = await reader.read(into);
      if (done) return;
      this.#count(value.length);
      into = new Uint8Array(value.buffer);
    }
  }

  #count(count: number): void {
    this.bytes += count;
    if (this.#awaited.length === 0) return;
    this.#awaited = this.#awaited.filter(({ bytes, reached }) => {
      if (bytes > this.bytes) return true;
      reached();
      return false;
    });
  }
}
