/** A client's connection that speaks through a WebSocket: one request or message a text frame. */

import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { WireError } from "../../../protocol/errors.ts";
import { formatMore, formatPlain } from "../../../protocol/mesh_answers.ts";
import {
  MESH_REQUEST_BYTES_MAX,
  type ToClient,
} from "../../../protocol/mesh.ts";
import type { LineTaker } from "../../host/line_reader.ts";
import type { Link } from "../../host/link.ts";
import type { ClientTransport } from "./client.ts";
import type { Style } from "./fan_out.ts";
import { CLOSE_CODES, closeFrame, textFrame } from "./frames.ts";
import type { HttpRequest } from "./http_request.ts";
import { Subscriber, type SubscriberEvents } from "./subscriber.ts";

/** After so long in silence a WebSocket is asked whether it lives; proxies forget it later than that. */
const PING_AFTER_MS = 30_000;

/** How long it may take to answer. */
const PONG_WAIT_MS = 30_000;

/** Bytes of one read. */
const READ_BYTES = 4_096;

/** What is used of `ws`, which brings no types of its own. */
interface WebSocketModule {
  readonly WebSocketServer: new (options: {
    readonly noServer: true;
    readonly clientTracking: false;
    readonly perMessageDeflate: false;
    readonly maxPayload: number;
  }) => WebSocketServer;
}
interface WebSocketServer {
  handleUpgrade(
    request: {
      readonly method: string;
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
    },
    socket: Duplex,
    head: Buffer,
    onOpen: (socket: WebSocketSide) => void,
  ): void;
}
interface WebSocketSide {
  on(event: "message", on: (data: Buffer, isBinary: boolean) => void): void;
  on(event: "error", on: (error: Error) => void): void;
  close(code: number, reason: string): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  ping(): void;
}

/** Whom a connection hands its requests to. */
export interface SocketTaker extends LineTaker {
  /** Write all that waits, and end. */
  end(): void;
}

let server: Promise<WebSocketServer> | undefined;

/** The library is loaded when the first WebSocket comes: most servers never need it. */
function loadServer(): Promise<WebSocketServer> {
  server ??= import("ws").then(({ WebSocketServer }: WebSocketModule) =>
    new WebSocketServer({
      noServer: true,
      clientTracking: false,
      // Compressing for each reader would cost what sharing the bytes saves.
      perMessageDeflate: false,
      maxPayload: MESH_REQUEST_BYTES_MAX,
    })
  );
  return server;
}

/**
 * The library checks and takes apart what comes in, and says what belongs to
 * the protocol itself; messages go out beside it as frames that all readers
 * share. Both ways lead through the subscriber, so that frames never mix.
 */
export class SocketConnection implements ClientTransport {
  readonly label: string;
  readonly isOperator: boolean;
  readonly subscriber: Subscriber;
  readonly #link: Link;
  readonly #write: (bytes: Uint8Array) => void;
  #side: WebSocketSide | undefined;
  #stream: Duplex | undefined;
  /** Whether a close frame is on its way already. */
  #isCloseSaid = false;
  #isPaused = false;
  #heardMs = performance.now();
  /** Since when an answer to a ping is awaited. */
  #pingedMs: number | undefined;

  /** @param write Writes behind all that this connection was told before. */
  constructor(
    link: Link,
    events: SubscriberEvents,
    options: { isOfElsewhere: boolean; write: (bytes: Uint8Array) => void },
  ) {
    this.label = link.label;
    // What a page asks for, nobody may have meant to; a proxy asks for others.
    this.isOperator = link.isLocal && !options.isOfElsewhere;
    this.#link = link;
    this.#write = options.write;
    this.subscriber = new Subscriber(link, "frames", events);
  }

  /** Answers the request for a WebSocket, and hands what comes to `taker`. */
  async open(request: HttpRequest, taker: SocketTaker): Promise<void> {
    const server = await loadServer();
    if (this.subscriber.isClosing) return;
    const stream = this.#open(taker);
    this.#stream = stream;
    const { method, target: url, headers, rest } = request;
    server.handleUpgrade(
      { method, url, headers },
      stream,
      Buffer.from(rest),
      (side) => this.#serve(side, taker),
    );
  }

  readOn(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#heard(performance.now());
    this.#side?.resume();
  }

  stopReading(): void {
    this.readOn();
  }

  encodeLast(message: ToClient, style: Style): Uint8Array {
    const text = style === "more" ? formatMore(message) : formatPlain(message);
    return Buffer.concat([
      textFrame(text ?? ""),
      closeFrame(CLOSE_CODES.policyViolation, ""),
    ]);
  }

  close(): void {
    if (!this.#isCloseSaid && this.#side !== undefined) {
      this.#isCloseSaid = true;
      this.#write(closeFrame(CLOSE_CODES.normal, ""));
    }
    this.subscriber.close();
  }

  /** The connection is over. */
  over(): void {
    this.#side?.terminate();
    this.#stream?.destroy();
  }

  check(nowMs: number): WireError | undefined {
    if (this.#isPaused) this.#heard(nowMs);
    if (this.#pingedMs !== undefined) {
      if (nowMs - this.#pingedMs > PONG_WAIT_MS) {
        return new WireError(
          "timeout",
          `WebSocket answered no ping within ${PONG_WAIT_MS / 1_000} s`,
        );
      }
    } else if (nowMs - this.#heardMs > PING_AFTER_MS) {
      this.#pingedMs = nowMs;
      this.#side?.ping();
    }
    return this.subscriber.check(nowMs);
  }

  #open(taker: SocketTaker): Duplex {
    return new Duplex({
      read: () => void this.#read(),
      write: (chunk: Uint8Array, _encoding, done) => {
        // It may be a view of memory that is used again.
        this.#write(Uint8Array.from(chunk));
        done();
      },
      final: (done) => {
        this.#isCloseSaid = true;
        taker.end();
        done();
      },
      destroy: (_error, done) => {
        this.#isCloseSaid = true;
        taker.end();
        done(null);
      },
    });
  }

  #heard(nowMs: number): void {
    this.#heardMs = nowMs;
    this.#pingedMs = undefined;
  }

  async #read(): Promise<void> {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    try {
      const count = await this.#link.read(buffer);
      this.#heard(performance.now());
      this.#stream?.push(count === null ? null : buffer.subarray(0, count));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.subscriber.abort();
    }
  }

  #serve(side: WebSocketSide, taker: SocketTaker): void {
    this.#side = side;
    side.on("message", (data, isBinary) => {
      if (isBinary) {
        this.#isCloseSaid = true;
        side.close(CLOSE_CODES.unsupportedData, "Text frames only");
        return taker.end();
      }
      // A newline may stand between the tokens of JSON, and nowhere else.
      const line = `${data.toString().replaceAll("\n", " ")}\n`;
      if (taker.take(line)) return;
      this.#isPaused = true;
      side.pause();
    });
    side.on("error", () => {
      // The library has said in its close frame what is wrong.
      this.#isCloseSaid = true;
      taker.end();
    });
  }
}
