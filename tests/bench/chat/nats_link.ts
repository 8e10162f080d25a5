/** Writes to a JetStream stream: a publish with a reply subject, its answer. */

import { LoadSocket } from "./load_socket.ts";
import { VALUE, type WriteEvents, type WriteLink } from "./write_link.ts";

/** Where what is written goes. */
export const NATS_SUBJECT = "bench";

const NEWLINE = 10;
const SPACE = 32;
const ZERO = 48;

/** First letters of what a server says. */
const LETTER_M = 77;
const LETTER_H = 72;
const LETTER_P = 80;
const LETTER_I = 73;
const LETTER_O = 79;
const LETTER_E = 69;
const MINUS = 45;

const HELLO = `CONNECT ${
  JSON.stringify({
    verbose: false,
    pedantic: false,
    lang: "bench",
    version: "1",
    protocol: 1,
    headers: true,
    no_responders: true,
  })
}\r\n`;

/** One client's connection. */
export class NatsLink implements WriteLink {
  readonly #socket: LoadSocket;
  readonly #events: WriteEvents;
  readonly #inbox: string;
  readonly #frames: Uint8Array[] = [];
  readonly #ready = Promise.withResolvers<void>();

  private constructor(socket: LoadSocket, events: WriteEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#inbox = `_INBOX.${crypto.randomUUID().slice(0, 13)}`;
  }

  /** Resolves when the server has taken the subscription to answers. */
  static async connect(port: number, events: WriteEvents): Promise<NatsLink> {
    const socket = await LoadSocket.connect(port);
    const link = new NatsLink(socket, events);
    void socket.read({
      receive: (bytes) => link.#receive(bytes),
      lost: (reason) => {
        link.#ready.reject(new Error(reason));
        events.lost(reason);
      },
    });
    const hello = `${HELLO}SUB ${link.#inbox}.* 1\r\nPING\r\n`;
    socket.push(new TextEncoder().encode(hello));
    socket.flush();
    await link.#ready.promise;
    return link;
  }

  write(lane: number): void {
    this.#socket.push(this.#frames[lane] ??= this.#frame(lane));
  }

  flush(): void {
    this.#socket.flush();
  }

  close(): void {
    this.#socket.close();
  }

  #frame(lane: number): Uint8Array {
    const head = new TextEncoder().encode(
      `PUB ${NATS_SUBJECT} ${this.#inbox}.${lane} ${VALUE.length}\r\n`,
    );
    const frame = new Uint8Array(head.length + VALUE.length + 2);
    frame.set(head);
    frame.set(VALUE, head.length);
    frame.set([13, NEWLINE], head.length + VALUE.length);
    return frame;
  }

  #receive(bytes: Uint8Array): number {
    let at = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, at);
      if (end < 0) return at;
      const letter = bytes[at];
      if (letter === LETTER_M || letter === LETTER_H) {
        const next = this.#answer(bytes, { at, end });
        if (next === undefined) return at;
        at = next;
        continue;
      }
      this.#control(bytes.subarray(at, end));
      at = end + 1;
    }
  }

  /** `MSG subject sid length` and its body; undefined when that is not whole. */
  #answer(
    bytes: Uint8Array,
    line: { readonly at: number; readonly end: number },
  ): number | undefined {
    const bodyBytes = numberBefore(bytes, line.end - 1);
    const from = line.end + 1;
    const next = from + bodyBytes + 2;
    if (next > bytes.length) return undefined;
    let at = bytes.indexOf(SPACE, line.at) + 1 + this.#inbox.length + 1;
    let lane = 0;
    for (; bytes[at] !== SPACE; at++) lane = lane * 10 + bytes[at] - ZERO;
    // `{"stream":` or `{"type":` or `{"error":`: only the first is a yes.
    const isAck = bytes[line.at] === LETTER_M && bytes[from + 2] === 115;
    if (isAck) this.#events.acked(lane);
    else {
      const text = new TextDecoder().decode(bytes.subarray(from, next));
      this.#events.refused(lane, text.trim());
    }
    return next;
  }

  #control(line: Uint8Array): void {
    if (line[0] === LETTER_P && line[1] === LETTER_O) {
      return this.#ready.resolve();
    }
    if (line[0] === LETTER_P && line[1] === LETTER_I) {
      return this.#socket.push(new TextEncoder().encode("PONG\r\n"));
    }
    if (line[0] === MINUS && line[1] === LETTER_E) {
      const text = new TextDecoder().decode(line);
      this.#socket.close();
      this.#ready.reject(new Error(text));
      this.#events.lost(text);
    }
  }
}

/** The decimal number whose last digit is before `end`. */
function numberBefore(bytes: Uint8Array, end: number): number {
  let value = 0;
  let unit = 1;
  for (let at = end - 1; bytes[at] !== SPACE; at--) {
    value += unit * (bytes[at] - ZERO);
    unit *= 10;
  }
  return value;
}
