/** A TCP connection to a server of either chat service: lines out, answers in. */

import { type Address, formatAddress } from "../protocol/address.ts";
import { WireError } from "../protocol/errors.ts";

/** Bytes of one read. */
const READ_BYTES = 16_384;

/** Characters of an answer that is not at its end yet; a server sends no longer lines. */
const LINE_CHARACTERS_MAX = 4_194_304;

/** How long connecting may take. */
const CONNECT_WAIT_MS = 5_000;

/** Who hears what a server says. */
export interface ChatLinkOptions<Answer> {
  /**
   * Reads a line; undefined for one to leave out.
   *
   * @throws {WireError} The connection is closed with it.
   */
  read(line: string): Answer | undefined;
  /** Called for each answer and push, in order. */
  onAnswer(answer: Answer): void;
  /** Called once, when the connection is over, last. */
  onClosed(reason: WireError): void;
}

/** Lines of one turn go out in one write. */
export class ChatLink<Answer> {
  readonly #conn: Deno.TcpConn;
  readonly #options: ChatLinkOptions<Answer>;
  #output = "";
  #isWriting = false;
  #rest = "";
  #isClosed = false;

  private constructor(conn: Deno.TcpConn, options: ChatLinkOptions<Answer>) {
    this.#conn = conn;
    this.#options = options;
    void this.#read();
  }

  /**
   * Connects.
   *
   * @throws {WireError} `link-lost` or `timeout`.
   */
  static async connect<Answer>(
    address: Address,
    options: ChatLinkOptions<Answer>,
  ): Promise<ChatLink<Answer>> {
    return new ChatLink(await connect(address), options);
  }

  /** Writes whole lines. A loss shows as `onClosed`. */
  write(lines: string): void {
    if (this.#isClosed) return;
    this.#output += lines;
    if (this.#isWriting) return;
    this.#isWriting = true;
    queueMicrotask(() => void this.#write());
  }

  /** Ends the connection; `onClosed` follows at once, if it has not come. */
  close(): void {
    this.#end(new WireError("link-lost", "closed by this side"));
  }

  async #write(): Promise<void> {
    const encoder = new TextEncoder();
    try {
      while (this.#output !== "" && !this.#isClosed) {
        const bytes = encoder.encode(this.#output);
        this.#output = "";
        for (let at = 0; at < bytes.length;) {
          at += await this.#conn.write(at === 0 ? bytes : bytes.subarray(at));
        }
      }
    } catch {
      // The pending read says what has happened, and has the last words.
    }
    this.#isWriting = false;
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    const decoder = new TextDecoder();
    try {
      for (;;) {
        const count = await this.#conn.read(buffer);
        if (count === null) {
          return this.#end(
            new WireError("link-lost", "The server closed the connection"),
          );
        }
        this.#take(
          decoder.decode(buffer.subarray(0, count), { stream: true }),
        );
      }
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      this.#end(
        cause instanceof WireError
          ? cause
          : new WireError("link-lost", text, { cause }),
      );
    }
  }

  #take(text: string): void {
    const all = this.#rest === "" ? text : this.#rest + text;
    let from = 0;
    for (;;) {
      const end = all.indexOf("\n", from);
      if (end < 0) break;
      if (end > from) {
        const answer = this.#options.read(all.slice(from, end));
        if (answer !== undefined && !this.#isClosed) {
          this.#options.onAnswer(answer);
        }
      }
      from = end + 1;
    }
    this.#rest = from === 0 ? all : all.slice(from);
    if (this.#rest.length > LINE_CHARACTERS_MAX) {
      throw new WireError(
        "too-large",
        "The server sends a line without an end",
      );
    }
  }

  #end(reason: WireError): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      this.#conn.close();
    } catch {
      // It is closed already, which is what was wanted.
    }
    this.#options.onClosed(reason);
  }
}

async function connect(address: Address): Promise<Deno.TcpConn> {
  const { host, port } = address;
  const connecting = Deno.connect({ hostname: host, port });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), CONNECT_WAIT_MS);
  });
  try {
    const conn = await Promise.race([connecting, late]);
    if (conn !== undefined) {
      conn.setNoDelay(true);
      return conn;
    }
    // Should it come after all, nobody waits for it any more.
    connecting.then((conn) => conn.close(), () => {});
    throw new WireError(
      "timeout",
      `${formatAddress(address)} did not answer within ${CONNECT_WAIT_MS} ms`,
    );
  } catch (cause) {
    if (cause instanceof WireError) throw cause;
    const text = cause instanceof Deno.errors.ConnectionRefused
      ? "connection refused"
      : cause instanceof Error
      ? cause.message
      : String(cause);
    throw new WireError("link-lost", text, { cause });
  } finally {
    clearTimeout(timer);
  }
}
