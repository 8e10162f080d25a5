/** The other end of a link under test, and a record of what the link reports. */

import type { WriteEvents } from "./write_link.ts";

/** Takes one connection, and says what a test has it say. */
export class FakeServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #conn = this.#listener.accept();
  #unread = "";

  get port(): number {
    return this.#listener.addr.port;
  }

  /** Reads up to the first `end`, which is included. */
  async until(end: string): Promise<string> {
    const conn = await this.#conn;
    const into = new Uint8Array(4_096);
    for (;;) {
      const at = this.#unread.indexOf(end);
      if (at >= 0) {
        const text = this.#unread.slice(0, at + end.length);
        this.#unread = this.#unread.slice(text.length);
        return text;
      }
      const count = await conn.read(into);
      if (count === null) throw new Error(`Found no "${end}"`);
      this.#unread += new TextDecoder().decode(into.subarray(0, count));
    }
  }

  async write(text: string): Promise<void> {
    await this.writeBytes(new TextEncoder().encode(text));
  }

  /** A packet a byte, as far as the system goes along. */
  async writeSlowly(text: string): Promise<void> {
    (await this.#conn).setNoDelay(true);
    for (const byte of new TextEncoder().encode(text)) {
      await this.writeBytes(new Uint8Array([byte]));
    }
  }

  async writeBytes(bytes: Uint8Array): Promise<void> {
    const conn = await this.#conn;
    for (let at = 0; at < bytes.length;) {
      at += await conn.write(bytes.subarray(at));
    }
  }

  /** Ends the connection. */
  async hangUp(): Promise<void> {
    (await this.#conn).close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    try {
      (await this.#conn).close();
    } catch {
      // Nobody came, or it is closed already.
    }
  }
}

/** What a link reports, as lines. */
export class EventLog implements WriteEvents {
  readonly #lines: string[] = [];
  #grown = Promise.withResolvers<void>();

  acked(lane: number): void {
    this.#add(`acked ${lane}`);
  }

  refused(lane: number, reason: string): void {
    this.#add(`refused ${lane} ${reason}`);
  }

  lost(reason: string): void {
    this.#add(`lost ${reason}`);
  }

  /** The next `count` lines, as soon as they are there. */
  async next(count: number): Promise<string[]> {
    while (this.#lines.length < count) await this.#grown.promise;
    return this.#lines.splice(0, count);
  }

  #add(line: string): void {
    this.#lines.push(line);
    this.#grown.resolve();
    this.#grown = Promise.withResolvers();
  }
}
