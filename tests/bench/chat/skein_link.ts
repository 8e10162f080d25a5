/** Writes to Skein: `send` requests of one session, by lines of JSON. */

import { LoadSocket } from "./load_socket.ts";
import type { Session } from "./skein_sessions.ts";
import { VALUE, type WriteEvents, type WriteLink } from "./write_link.ts";

/** To whom everybody writes: an account that is never logged in. */
export const SKEIN_SINK = "sink";

const NEWLINE = 10;
const COMMA = 44;
const CLOSE = 125;
const ZERO = 48;
const LETTER_O = 111;
const LETTER_E = 101;

/** What an answer begins with; the fourth letter of its type tells it apart. */
const ANSWER_HEAD = '{"type":"'.length;
const OK_HEAD = '{"type":"ok","id":'.length;

const ENCODER = new TextEncoder();
const HEAD = ENCODER.encode(
  `{"type":"send","to":"${SKEIN_SINK}","text":"${
    new TextDecoder().decode(VALUE)
  }","id":`,
);
const NUMBERS_BYTES_MAX = 48;

/** One client's connection. */
export class SkeinLink implements WriteLink {
  readonly #socket: LoadSocket;
  readonly #events: WriteEvents;
  readonly #resumed = Promise.withResolvers<number>();
  #sequence = 0;
  #isResumed = false;

  private constructor(socket: LoadSocket, events: WriteEvents) {
    this.#socket = socket;
    this.#events = events;
  }

  /** Resolves when the session is taken up where it was left. */
  static async connect(
    port: number,
    { session, events }: {
      readonly session: Session;
      readonly events: WriteEvents;
    },
  ): Promise<SkeinLink> {
    const socket = await LoadSocket.connect(port);
    const link = new SkeinLink(socket, events);
    void socket.read({
      receive: (bytes) => link.#receive(bytes),
      lost: (reason) => {
        link.#resumed.reject(new Error(reason));
        events.lost(reason);
      },
    });
    const request = JSON.stringify({ type: "resume", ...session });
    socket.push(ENCODER.encode(`${request}\n`));
    socket.flush();
    link.#sequence = await link.#resumed.promise;
    return link;
  }

  write(lane: number): void {
    this.#sequence += 1;
    const tail = `${lane},"seq":${this.#sequence}}\n`;
    if (tail.length > NUMBERS_BYTES_MAX) throw new RangeError(tail);
    const room = this.#socket.reserve(HEAD.length + tail.length);
    room.set(HEAD);
    for (let at = 0; at < tail.length; at++) {
      room[HEAD.length + at] = tail.charCodeAt(at);
    }
  }

  flush(): void {
    this.#socket.flush();
  }

  close(): void {
    this.#socket.close();
  }

  #receive(bytes: Uint8Array): number {
    let at = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, at);
      if (end < 0) return at;
      this.#answer(bytes, { at, end });
      at = end + 1;
    }
  }

  #answer(
    bytes: Uint8Array,
    { at, end }: { readonly at: number; readonly end: number },
  ): void {
    if (!this.#isResumed) return this.#resume(bytes.subarray(at, end));
    const letter = bytes[at + ANSWER_HEAD];
    if (letter === LETTER_O) {
      let lane = 0;
      for (let digit = at + OK_HEAD;; digit++) {
        const byte = bytes[digit];
        if (byte === COMMA || byte === CLOSE) break;
        lane = lane * 10 + byte - ZERO;
      }
      return this.#events.acked(lane);
    }
    if (letter !== LETTER_E) return;
    const text = new TextDecoder().decode(bytes.subarray(at, end));
    const id: unknown = JSON.parse(text).id;
    // The session would miss this number from now on: nothing follows it.
    this.#socket.close();
    if (typeof id === "number") this.#events.refused(id, text);
    this.#events.lost(text);
  }

  #resume(line: Uint8Array): void {
    const text = new TextDecoder().decode(line);
    const answer: unknown = JSON.parse(text);
    const isAnswer = typeof answer === "object" && answer !== null &&
      "type" in answer;
    if (!isAnswer || (answer.type !== "ok" && answer.type !== "error")) return;
    if ("lastSeq" in answer && typeof answer.lastSeq === "number") {
      this.#isResumed = true;
      this.#resumed.resolve(answer.lastSeq);
    } else {
      this.#socket.close();
      this.#resumed.reject(new Error(text));
    }
  }
}
