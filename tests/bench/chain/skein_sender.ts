/** A client of Skein's chain that costs as little as can be. */

import {
  DATA_HEADER_BYTES,
  readAnswers,
  writeDataHead,
} from "../../../protocol/chain.ts";
import { FrameReader } from "../../../protocol/frame.ts";
import { type ClientId, clientIdOf } from "../../../protocol/ids.ts";
import { dial, drawIncarnation, type Link } from "../../../nodes/host/link.ts";

const SILENT_MS_MAX = 3_000;
const READ_BYTES = 16_384;

/** Whole lines in a frame that is filled once and sent often. */
export interface PreparedFrame {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly messages: number;
}

/** Puts lines into a frame; only its head changes from one use to the next. */
export function prepareFrame(
  text: Uint8Array,
  messages: number,
): PreparedFrame {
  const bytes = new Uint8Array(DATA_HEADER_BYTES + text.length);
  bytes.set(text, DATA_HEADER_BYTES);
  return { bytes, messages };
}

/** Sends frames over one link and counts what comes back as delivered. */
export class SkeinSender {
  readonly #link: Link;
  readonly #client: ClientId;
  readonly #reader = new FrameReader();
  readonly #complete = Promise.withResolvers<void>();
  readonly #lost = Promise.withResolvers<never>();
  #offset = 0;
  #sent = 0;
  #acknowledged = 0;
  #awaited: { readonly bytes: number; reached(): void }[] = [];

  private constructor(link: Link, client: ClientId) {
    this.#link = link;
    this.#client = client;
  }

  /** Connects to the head at `port`; resolves when its chain reaches a tail. */
  static async connect(port: number): Promise<SkeinSender> {
    const incarnation = drawIncarnation();
    const { link, rest } = await dial({ host: "127.0.0.1", port }, {
      self: { cluster: "skein", role: "client", id: "bench", incarnation },
      accepts: ["chain"],
    }, { silentMsMax: SILENT_MS_MAX });
    const sender = new SkeinSender(link, clientIdOf(incarnation));
    void sender.#readAnswers(rest);
    await Promise.race([sender.#complete.promise, sender.#lost.promise]);
    return sender;
  }

  /** Bytes of frames sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Bytes of frames that the tail has delivered. */
  get acknowledgedBytes(): number {
    return this.#acknowledged;
  }

  /** Sends a frame; it must not be sent again before this resolves. */
  send({ bytes, messages }: PreparedFrame): Promise<void> {
    const textBytes = bytes.length - DATA_HEADER_BYTES;
    writeDataHead(bytes, {
      client: this.#client,
      offset: this.#offset,
      messages,
      base: this.#offset === 0,
      pipelined: this.#sent > this.#acknowledged,
      textBytes,
    });
    this.#offset += textBytes;
    this.#sent += bytes.length;
    return this.#link.send(bytes);
  }

  /**
   * Resolves when the tail has delivered the first `bytes` bytes of frames.
   *
   * @throws {Error} When the link is lost: a bench does not try again.
   */
  acknowledged(bytes: number): Promise<void> {
    if (this.#acknowledged >= bytes) return Promise.resolve();
    const enough = new Promise<void>((reached) =>
      this.#awaited.push({ bytes, reached })
    );
    return Promise.race([enough, this.#lost.promise]);
  }

  [Symbol.dispose](): void {
    this.#link.abort();
    this.#lost.promise.catch(() => {
      // Nobody waits any more.
    });
  }

  async #readAnswers(rest: Uint8Array): Promise<void> {
    const into = new Uint8Array(READ_BYTES);
    this.#reader.push(rest);
    try {
      for (;;) {
        readAnswers(this.#reader, {
          ack: (position) => this.#acknowledge(position),
          route: ({ complete }) => {
            if (complete) this.#complete.resolve();
          },
        });
        const count = await this.#link.read(into);
        if (count === null) throw new Error("The head closed the link");
        this.#reader.push(into.subarray(0, count));
      }
    } catch (cause) {
      this.#lost.reject(new Error("Lost the link to the head", { cause }));
    }
  }

  #acknowledge(position: number): void {
    this.#acknowledged = position;
    this.#awaited = this.#awaited.filter(({ bytes, reached }) => {
      if (bytes > position) return true;
      reached();
      return false;
    });
  }
}
