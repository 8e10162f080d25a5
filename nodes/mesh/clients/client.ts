/** One connected client of a mesh server: its requests in turn, and what it waits for. */

import { Buffer } from "node:buffer";
import { RequestError } from "../../../protocol/chat.ts";
import { type WireCode, WireError } from "../../../protocol/errors.ts";
import {
  HISTORY_LIMIT_DEFAULT,
  MESH_REQUEST_BYTES_MAX,
  type MeshDrain,
  type MeshHistory,
  type MeshLogin,
  type MeshPlain,
  type MeshRequest,
  type MeshRequestId,
  type MeshStatus,
  type MeshTopology,
  type RelayLine,
  type ToClient,
} from "../../../protocol/mesh.ts";
import {
  MeshRequestError,
  readMeshRequest,
} from "../../../protocol/mesh_requests.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import type { LineTaker } from "../../host/line_reader.ts";
import type { ClientAsk, ClientNumber } from "../contract.ts";
import { HELP_TEXT } from "./help.ts";
import type { Member, Style } from "./fan_out.ts";
import {
  cutHistory,
  type HistoryAnswer,
  type HistoryQuestion,
} from "./history.ts";
import { LOW_WATER_BYTES, type Subscriber } from "./subscriber.ts";

/** Bytes of a line before login: names fit, and what anybody may ask. */
export const STRANGER_LINE_BYTES_MAX = 16_384;

/**
 * How long somebody who is not logged in may say nothing: who types has the
 * time, and who never logs in does not take a place from those who would.
 */
export const STRANGER_WAIT_MS = 60_000;

/** Requests of one client that are taken in one go: then others have their turn. */
export const TURN_REQUESTS_MAX = 256;

/**
 * Characters of what somebody says to others in a second, above which he waits
 * for readers that are far behind: the words of people are far below it.
 */
const FLOOD_CHARACTERS = 16_384;

/** What a client's connection can do. */
export interface ClientTransport {
  /** Where it is, for people. */
  readonly label: string;
  /** Whether it is a process of this machine, and no web page in its browser. */
  readonly isOperator: boolean;
  readonly subscriber: Subscriber;
  /** Reads on, after `take` returned false. */
  readOn(): void;
  /** Reads no more. */
  stopReading(): void;
  /** How the last message of a connection that is cut off looks. */
  encodeLast(message: ToClient, style: Style): Uint8Array;
  /** Writes all that waits, says so in its way, and closes. */
  close(): void;
  /** What is wrong with the connection, if the client is stuck. */
  check(nowMs: number): WireError | undefined;
}

/** Whom all clients of a server ask. */
export interface ClientOwner {
  readonly server: NodeId;
  /** Whether servers show that they belong here: then no plain line counts as one. */
  readonly isKeyed: boolean;
  input(
    client: MeshClient,
    ask: ClientAsk,
    id: MeshRequestId | undefined,
  ): void;
  plainRelay(client: MeshClient, line: RelayLine): void;
  /** Answers behind all that was said before. */
  say(client: MeshClient, message: ToClient): void;
  /** It may be told now what goes to everyone. */
  join(client: MeshClient): void;
  /** It needs nothing of that any more, what waits included. */
  part(client: MeshClient): void;
  status(): MeshStatus;
  /** @throws {WireError} `busy`, or `unreadable`. */
  history(question: HistoryQuestion): Promise<HistoryAnswer>;
  /** Whether nothing more may be logged just now; `client` is told, and later {@linkcode MeshClient.goOn}. */
  mustWait(client: MeshClient): boolean;
  /** Whether readers are so far behind that nothing more may be said by one who says much; later {@linkcode MeshClient.goOn}. */
  mustSlowDown(client: MeshClient): boolean;
  /** Has {@linkcode MeshClient.goOn} called when others have had their turn. */
  queueTurn(client: MeshClient): void;
  /** It has fallen behind: count that, and cut it off. */
  cutSlow(client: MeshClient, error: WireError): void;
  /** It says nothing more, and is told nothing more than it was. */
  left(client: MeshClient): void;
  readonly counters: { requests: number; refusedRequests: number };
}

/** How far somebody has come. */
type State = "stranger" | "logging-in" | "logged-in";

export class MeshClient implements LineTaker, Member {
  readonly number: ClientNumber;
  readonly transport: ClientTransport;
  /** Until a login says otherwise. */
  style: Style = "more";
  readonly #owner: ClientOwner;
  #state: State = "stranger";
  /** Whether a server that speaks plain lines is at the other end. */
  #isRelaying = false;
  #saidMs: number;
  /** A request under way that the next lines may depend on. */
  #isOccupied = false;
  #tracesOpen = 0;
  /** While another topology is asked for, which is answered within the call. */
  #isSwitching = false;
  #hasEnded = false;
  #isClosed = false;
  #isPumping = false;
  #isWaitingToRead = false;
  /** The lines that are looked at, from {@linkcode #at} on. */
  #lines = "";
  #at = 0;
  /** What came behind them: more lines, and what is wrong with lines that are none. */
  #behind: (string | WireError)[] = [];
  /** The request before them all, which must wait. */
  #held: MeshRequest | undefined;
  /** Said to others, since the last look at this client. */
  #saidCharacters = 0;

  constructor(
    number: ClientNumber,
    transport: ClientTransport,
    owner: ClientOwner,
  ) {
    this.number = number;
    this.transport = transport;
    this.#owner = owner;
    this.#saidMs = performance.now();
  }

  get subscriber(): Subscriber {
    return this.transport.subscriber;
  }

  get isLoggedIn(): boolean {
    return this.#state === "logged-in";
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  // What the connection reports

  get lineBytesMax(): number {
    return this.isLoggedIn || this.#isRelaying
      ? MESH_REQUEST_BYTES_MAX
      : STRANGER_LINE_BYTES_MAX;
  }

  take(lines: string): boolean {
    return this.#add(lines);
  }

  refuse(error: WireError): boolean {
    // It has its turn among the lines before and behind it.
    return this.#add(error);
  }

  ended(): void {
    this.#hasEnded = true;
    this.#pump();
  }

  /** Whether the client is stuck, or never said who it is. */
  check(nowMs: number): WireError | undefined {
    const error = this.transport.check(nowMs);
    this.#saidCharacters = 0;
    const isKnown = this.isLoggedIn || this.#isRelaying || this.#isOccupied ||
      this.#held !== undefined;
    if (isKnown) this.#saidMs = nowMs;
    if (error !== undefined || nowMs - this.#saidMs <= STRANGER_WAIT_MS) {
      return error;
    }
    return new WireError(
      "timeout",
      `Nothing was said for ${
        STRANGER_WAIT_MS / 1_000
      } s, and nobody logged in`,
    );
  }

  // What the server does

  /** Takes note of what it is about to be told. */
  told(message: ToClient): void {
    switch (message.type) {
      case "system":
        if (message.notice?.code !== "welcome") return;
        this.#state = "logged-in";
        this.#owner.join(this);
        return this.#release();
      case "error":
        if (this.#state === "logging-in") {
          this.#state = "stranger";
          return this.#release();
        }
        // A line of another server that may not be relayed: a stranger's.
        if (message.code === "not-allowed") this.#isRelaying = false;
        // A trace too many; nothing else but a switch too many is refused so.
        if (message.code === "busy" && !this.#isSwitching) this.#traceOver();
        return;
      case "trace":
        return this.#traceOver();
      default:
        return;
    }
  }

  #traceOver(): void {
    this.#tracesOpen = Math.max(0, this.#tracesOpen - 1);
    // What ends the connection must come behind the answer.
    if (this.#hasEnded) queueMicrotask(() => this.#pump());
  }

  /** Goes on with what had to wait. */
  goOn(): void {
    this.#pump();
  }

  /** Writes all that it was told, and closes. */
  end(): void {
    if (this.#leave()) this.transport.close();
  }

  /** Drops what waits, tells why, and closes. */
  cutOff(error: WireError): void {
    // One that is closing already has lost what it was still to read.
    if (!this.#leave()) return this.subscriber.abort();
    this.#owner.part(this);
    const message = errorMessage(error, undefined);
    this.subscriber.cutOff(this.transport.encodeLast(message, this.style));
  }

  slow(error: WireError): void {
    this.#owner.cutSlow(this, error);
  }

  /** The connection is gone. */
  over(): void {
    this.#leave();
  }

  sayError(error: WireError, id: MeshRequestId | undefined): void {
    this.#owner.counters.refusedRequests += 1;
    this.#owner.say(this, errorMessage(error, id));
  }

  /** @returns Whether it was still here. */
  #leave(): boolean {
    if (this.#isClosed) return false;
    this.#isClosed = true;
    this.#lines = "";
    this.#at = 0;
    this.#behind = [];
    this.#held = undefined;
    this.transport.stopReading();
    this.#owner.left(this);
    return true;
  }

  // Requests in turn

  #add(lines: string | WireError): boolean {
    this.#behind.push(lines);
    this.#pump();
    this.#isWaitingToRead = this.#hasWork;
    return !this.#isWaitingToRead;
  }

  get #hasWork(): boolean {
    return this.#at < this.#lines.length || this.#behind.length > 0 ||
      this.#held !== undefined;
  }

  /** Takes up lines as long as there is room for what they lead to. */
  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    let count = 0;
    while (
      this.#hasWork && !this.#isClosed && !this.#isOccupied &&
      this.subscriber.ownBytes < LOW_WATER_BYTES
    ) {
      count += 1;
      if (count > TURN_REQUESTS_MAX) {
        this.#owner.queueTurn(this);
        break;
      }
      if (this.#held === undefined) this.#takeLine();
      else this.#retry(this.#held);
      if (this.#held !== undefined) break;
    }
    this.#isPumping = false;
    if (this.#hasWork || this.#isClosed) return;
    this.#lines = "";
    this.#at = 0;
    if (this.#isWaitingToRead) {
      this.#isWaitingToRead = false;
      this.transport.readOn();
    }
    const isDone = this.#hasEnded && !this.#isOccupied &&
      this.#tracesOpen === 0;
    if (isDone) this.end();
  }

  #takeLine(): void {
    if (this.#at >= this.#lines.length) {
      const next = this.#behind.shift() ?? "";
      if (typeof next !== "string") return this.sayError(next, undefined);
      this.#lines = next;
      this.#at = 0;
    }
    const end = this.#lines.indexOf("\n", this.#at);
    const line = this.#lines.slice(this.#at, end);
    this.#at = end + 1;
    const error = this.#whyTooLong(line);
    if (error !== undefined) return this.sayError(error, undefined);
    if (line.trim() !== "") this.#takeRequest(line);
  }

  /** A stranger's line may have come whole in one read. */
  #whyTooLong(line: string): WireError | undefined {
    const { lineBytesMax } = this;
    if (line.length * 3 <= lineBytesMax) return undefined;
    const bytes = Buffer.byteLength(line);
    if (bytes <= lineBytesMax) return undefined;
    return new WireError(
      "too-large",
      `Cannot read request: its length is ${bytes} bytes, limit is ${lineBytesMax}`,
    );
  }

  #takeRequest(line: string): void {
    this.#owner.counters.requests += 1;
    let request: MeshRequest;
    try {
      request = readMeshRequest(line);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const more = error instanceof MeshRequestError
        ? error.loginMore
        : undefined;
      if (more !== undefined && !this.isLoggedIn) this.#speak(more);
      return this.sayError(error, error.id);
    }
    if (!this.isLoggedIn) this.#saidMs = performance.now();
    const { type } = request;
    if (type === "msg" || type === "dm" || type === "relay_msg") {
      this.#saidCharacters += line.length;
    }
    if (!this.#mustHold(request)) return this.#handle(request);
    this.#held = request;
  }

  #retry(request: MeshRequest): void {
    if (this.#mustHold(request)) return;
    this.#held = undefined;
    this.#handle(request);
  }

  /** Whether it must wait: it would be logged, or come to readers that are behind. */
  #mustHold(request: MeshRequest): boolean {
    switch (request.type) {
      case "msg":
      case "dm":
        return this.isLoggedIn &&
          (this.#owner.mustWait(this) || this.#mustSlowDown());
      case "relay_msg":
        return this.#mustSlowDown();
      case "join":
      case "leave":
        return this.isLoggedIn && this.#owner.mustWait(this);
      case "login":
        if (this.isLoggedIn) return false;
        this.#speak(request.more === true);
        return this.#owner.mustWait(this);
      case "topology":
        return request.topology !== undefined && this.#owner.mustWait(this);
      case "drain":
        return this.transport.isOperator && this.#owner.mustWait(this);
      default:
        return false;
    }
  }

  #mustSlowDown(): boolean {
    return this.#saidCharacters > FLOOD_CHARACTERS &&
      this.#owner.mustSlowDown(this);
  }

  #handle(request: MeshRequest): void {
    switch (request.type) {
      case "msg": {
        if (!this.isLoggedIn) return this.#refuseStranger(request);
        const { text, room, local, id } = request;
        return this.#owner.input(this, {
          ...{ kind: "say", text, room, isLocal: local === true },
        }, id);
      }
      case "login":
        return this.#login(request);
      case "dm": {
        const { to, text } = request;
        return this.#ask(request, { kind: "dm", to, text });
      }
      case "join":
      case "leave":
        return this.#ask(request, { kind: request.type, room: request.room });
      case "who":
        return this.#ask(request, { kind: "who", room: request.room });
      case "history":
        return this.#history(request);
      default:
        return this.#handleOther(request);
    }
  }

  /** What has few fields, and mostly needs no login. */
  #handleOther(
    request: MeshTopology | MeshDrain | MeshPlain | RelayLine,
  ): void {
    if (request.type === "relay_msg") return this.#relay(request);
    const { id } = request;
    switch (request.type) {
      case "topology": {
        const { topology } = request;
        this.#isSwitching = true;
        this.#owner.input(this, { kind: "topology", topology }, id);
        this.#isSwitching = false;
        return;
      }
      case "trace":
        this.#tracesOpen += 1;
        return this.#owner.input(this, { kind: "trace" }, id);
      case "drain": {
        if (!this.transport.isOperator) {
          return this.#refuse(request, {
            code: "not-allowed",
            text: "Cannot drain this server: ask from its own machine",
          });
        }
        const isUndone = request.undo === true;
        return this.#owner.input(this, { kind: "drain", isUndone }, id);
      }
      case "status":
        return this.#say({ type: "status", id, ...this.#owner.status() });
      case "ping":
        return this.#say({ type: "pong", id });
      case "help":
        return this.#say({ type: "help", id, text: HELP_TEXT });
      case "quit":
        if (!this.isLoggedIn) return this.end();
        return this.#owner.input(this, { kind: "quit" }, id);
      case "rooms":
        return this.#ask(request, { kind: "rooms" });
    }
  }

  #say(message: ToClient): void {
    this.#owner.say(this, message);
  }

  #refuse(
    request: { id?: MeshRequestId | undefined },
    { code, text }: { code: WireCode; text: string },
  ): void {
    this.sayError(new WireError(code, text), request.id);
  }

  #refuseStranger(request: { id?: MeshRequestId | undefined }): void {
    this.#refuse(request, {
      code: "not-logged-in",
      text: 'Log in first: {"type":"login","username":"…"}',
    });
  }

  /** For those who are logged in. */
  #ask(request: { id?: MeshRequestId | undefined }, ask: ClientAsk): void {
    if (!this.isLoggedIn) return this.#refuseStranger(request);
    this.#owner.input(this, ask, request.id);
  }

  #login(request: MeshLogin): void {
    if (this.isLoggedIn) {
      return this.#refuse(request, {
        code: "logged-in",
        text: "You are logged in already",
      });
    }
    const isMore = request.more === true;
    this.#state = "logging-in";
    this.#isOccupied = true;
    this.#owner.input(this, {
      kind: "login",
      name: request.username,
      more: isMore,
    }, request.id);
  }

  #speak(isMore: boolean): void {
    this.style = isMore ? "more" : "plain";
  }

  #relay(line: RelayLine): void {
    if (this.isLoggedIn) {
      return this.#refuse({}, {
        code: "logged-in",
        text: "Cannot relay: this connection speaks for a user",
      });
    }
    if (this.#owner.isKeyed) {
      return this.#refuse({}, {
        code: "key-required",
        text:
          "Cannot relay: servers of this cluster show that they have its key",
      });
    }
    // Until the core refuses it.
    this.#isRelaying = true;
    this.#owner.plainRelay(this, line);
  }

  #history(request: MeshHistory): void {
    if (!this.isLoggedIn) return this.#refuseStranger(request);
    const { id, room, limit = HISTORY_LIMIT_DEFAULT, before } = request;
    this.#isOccupied = true;
    const asked = this.#owner.history({
      limit,
      ...room !== undefined && { room },
      ...before !== undefined && { before },
    });
    asked.then(
      (answer) => {
        const { messages, more } = cutHistory(answer);
        this.#say({ type: "history", id, room, messages, more });
        this.#release();
      },
      (error: WireError) => {
        this.sayError(error, id);
        this.#release();
      },
    );
  }

  /** Goes on behind the request that the next lines may depend on. */
  #release(): void {
    this.#isOccupied = false;
    // The answer is on its way: what comes next follows it.
    queueMicrotask(() => this.#pump());
  }
}

function errorMessage(
  error: WireError,
  id: MeshRequestId | undefined,
): ToClient {
  return { type: "error", text: error.message, code: error.code, id };
}
