/** Somebody at a mesh server, by plain lines: what `nc` does, in the test's own process. */

import { parseAddress } from "../../../protocol/address.ts";
import { bounded, until } from "../until.ts";

const READ_BYTES = 65_536;

/** A line that a server said, as JSON. */
export interface Said {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A connection that keeps every line it gets, byte for byte. */
export class Person implements AsyncDisposable {
  /** All lines so far, without their newlines. */
  readonly lines: string[] = [];
  readonly address: string;
  /** Where it comes from. */
  readonly local: string;
  readonly #conn: Deno.TcpConn;
  readonly #over: Promise<void>;
  #rest = "";
  #isClosed = false;
  #nextId = 1;

  private constructor(conn: Deno.TcpConn, address: string, reads: boolean) {
    this.#conn = conn;
    this.address = address;
    this.local = `${conn.localAddr.hostname}:${conn.localAddr.port}`;
    this.#over = reads ? this.#read() : Promise.resolve();
  }

  /** @param how `reads`: whether it ever does; default: yes. */
  static async connect(
    address: string,
    { reads = true }: { readonly reads?: boolean } = {},
  ): Promise<Person> {
    const { host, port } = parseAddress(address);
    const conn = await bounded(
      `${address} answers`,
      Deno.connect({ hostname: host, port }),
    );
    return new Person(conn, address, reads);
  }

  /** Connects and logs in; the welcome has come when this resolves. */
  static async login(
    address: string,
    name: string,
    more: { readonly more?: true } = {},
  ): Promise<Person> {
    const person = await Person.connect(address);
    await person.send({ type: "login", username: name, ...more });
    await person.line(/^\{"type":"system","text":"Welcome /);
    return person;
  }

  /** Whether the server has closed the connection. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Texts of the messages so far, in order. */
  get texts(): string[] {
    return this.said("msg").map(({ text }) => String(text));
  }

  /** Lines of one type so far. */
  said(type: string): Said[] {
    return this.lines.map(parse).filter((said) => said.type === type);
  }

  /** Writes one line. */
  async send(request: object): Promise<void> {
    await this.write(`${JSON.stringify(request)}\n`);
  }

  /** Says something to everyone. */
  async say(text: string, more: object = {}): Promise<void> {
    await this.send({ type: "msg", text, ...more });
  }

  /** Asks, and returns the answer. */
  async ask(request: object): Promise<Said> {
    const id = `t${this.#nextId++}`;
    await this.send({ ...request, id });
    return await this.until(
      `an answer to ${JSON.stringify(request)}`,
      () => this.lines.map(parse).find((said) => said.id === id),
    );
  }

  /** Writes all of it; what a server that has closed does not take is dropped. */
  async write(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string"
      ? new TextEncoder().encode(text)
      : text;
    try {
      for (let at = 0; at < bytes.length;) {
        at += await this.#conn.write(bytes.subarray(at));
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  /** Waits for a line, `from` the given one on. */
  async line(pattern: RegExp, from = 0): Promise<string> {
    return await this.until(
      `a line like ${pattern}`,
      () => this.lines.slice(from).find((line) => pattern.test(line)),
    );
  }

  /** Waits until this text has come as a message. */
  async heard(text: string): Promise<void> {
    await this.until(`"${text}" comes`, () => this.texts.includes(text));
  }

  /** {@linkcode until} with this connection's last lines. */
  async until<T>(what: string, look: () => T | Promise<T>) {
    return await until(what, look, {
      context: () => this.describe(),
      hopeless: () => this.#isClosed ? "the connection is closed" : undefined,
    });
  }

  /** Waits until the server has closed the connection. */
  async closed(): Promise<void> {
    await until("the connection is closed", () => this.#isClosed, {
      context: () => this.describe(),
    });
  }

  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite();
  }

  describe(): string {
    const last = this.lines.slice(-12).map((line) =>
      `  ${line.slice(0, 200)}\n`
    );
    return `At ${this.address}, ${this.lines.length} lines:\n${last.join("")}`;
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
        const text = decoder.decode(buffer.subarray(0, count), {
          stream: true,
        });
        const lines = (this.#rest + text).split("\n");
        this.#rest = lines.pop() ?? "";
        for (const line of lines) this.lines.push(line);
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    this.#isClosed = true;
  }
}

function parse(line: string): Said {
  return JSON.parse(line);
}

/** Reset by the server, or closed by us. */
function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.BadResource;
}
