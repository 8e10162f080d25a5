/** All clients of a mesh server: who comes in, what they ask, and what they are told. */

import { setImmediate } from "node:timers";
import { type WireCode, WireError } from "../../../protocol/errors.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import type {
  MeshMessage,
  MeshRequestId,
  MeshStatus,
  RelayLine,
  ToClient,
} from "../../../protocol/mesh.ts";
import type { Link } from "../../host/link.ts";
import type { Log } from "../../host/log.ts";
import { SeldomLog } from "../../host/seldom_log.ts";
import { settleWithin } from "../../host/settle_within.ts";
import type {
  ClientAsk,
  ClientNumber,
  MeshEffect,
  MeshInput,
} from "../contract.ts";
import {
  type ClientOwner,
  type ClientTransport,
  MeshClient,
} from "./client.ts";
import { FanOut } from "./fan_out.ts";
import type { HistoryAnswer, HistoryQuestion } from "./history.ts";
import {
  httpAnswer,
  type HttpRequest,
  isForwarded,
  mayBeHttp,
  mayOriginEnter,
  readOpening,
} from "./http_request.ts";
import { LineConnection } from "./line_connection.ts";
import { SocketConnection } from "./socket_connection.ts";
import type { SubscriberEvents } from "./subscriber.ts";

/** Connections of clients at once, unless something else is said. */
export const CONNECTIONS_MAX = 10_000;

/** Histories that are read at once: each reads files. */
const HISTORIES_MAX = 4;

/** How often it is looked whether readers that are behind have caught up. */
const LOOK_MS = 20;

/** Codes of the system for too many open files: that passes. */
const PASSING = ["EMFILE", "ENFILE"];

/** How often each connection is looked at. */
const CHECK_EVERY_MS = 1_000;

/** How long clients may take to go by themselves when the server stops. */
const LEAVE_WAIT_MS = 500;

/** How long a stop may take in all. */
const STOP_WAIT_MS = 1_500;

export interface MeshClientsOptions {
  readonly server: NodeId;
  /** Steps the core; effects come back through `tell`, `deliver` and `endClient`, possibly within the call. */
  input(input: MeshInput): void;
  history(question: HistoryQuestion): Promise<HistoryAnswer>;
  status(): MeshStatus;
  /** Whether the shared log can take nothing more just now. */
  isLogFull(): boolean;
  whenLogGoesOn(): Promise<void>;
  /** Whether the cluster has a key. */
  readonly isKeyed: boolean;
  readonly log: Log;
  readonly connectionsMax?: number | undefined;
  /** Bytes that a reader may fall behind, for each format. */
  readonly ringBytesMax?: number | undefined;
  /** Origins of web pages that may chat, beside those of this machine. */
  readonly allowOrigins?: readonly string[] | undefined;
}

export class MeshClients implements ClientOwner {
  readonly server: NodeId;
  readonly isKeyed: boolean;
  readonly counters = {
    requests: 0,
    refusedRequests: 0,
    slowConsumers: 0,
    timeouts: 0,
    webSockets: 0,
    refusedHttp: 0,
    waits: 0,
    slowedDown: 0,
  };
  readonly #options: MeshClientsOptions;
  readonly #connectionsMax: number;
  readonly #fanOut: FanOut;
  readonly #clients = new Map<ClientNumber, MeshClient>();
  #lastNumber = 0;
  /** Connections, those that are closing and those that say nothing yet included. */
  #open = 0;
  #checkTimer: ReturnType<typeof setInterval> | undefined;
  /** Those who wait for the log. */
  readonly #waiting = new Set<MeshClient>();
  #isLogAwaited = false;
  /** Those who wait for readers that are behind. */
  readonly #slowedDown = new Set<MeshClient>();
  #lookTimer: ReturnType<typeof setTimeout> | undefined;
  /** Those who have more to be taken, in turn. */
  readonly #turns = new Set<MeshClient>();
  #isTurnDue = false;
  readonly #said: SeldomLog;
  #historiesOpen = 0;
  readonly #historiesWaiting: (() => void)[] = [];
  #isStopping = false;
  #whenEmpty: (() => void) | undefined;
  readonly #links = new Set<Link>();

  constructor(options: MeshClientsOptions) {
    this.#options = options;
    this.server = options.server;
    this.isKeyed = options.isKeyed;
    this.#said = new SeldomLog(options.log);
    this.#connectionsMax = options.connectionsMax ?? CONNECTIONS_MAX;
    this.#fanOut = new FanOut({ ringBytesMax: options.ringBytesMax });
  }

  /** Connections, logged in or not. */
  get count(): number {
    return this.#open;
  }

  /** Bytes that the shared messages hold. */
  get ringBytes(): number {
    return this.#fanOut.heldBytes;
  }

  /** Serves a connection that speaks lines or HTTP; `onClosed` is called once, when it is over. */
  open(link: Link, first: Uint8Array, onClosed: () => void): void {
    this.#open += 1;
    this.#links.add(link);
    const onOver = () => {
      this.#open -= 1;
      this.#links.delete(link);
      if (this.#open === 0) this.#rest();
      onClosed();
    };
    this.#checkTimer ??= setInterval(
      () => this.check(performance.now()),
      CHECK_EVERY_MS,
    );
    if (this.#isStopping || this.#open > this.#connectionsMax) {
      const text = this.#isStopping
        ? this.#stopText
        : `This server has ${this.#connectionsMax} connections, which is its limit`;
      const code = this.#isStopping ? "shutting-down" : "busy";
      return void this.#turnAway(link, { code, text }).then(onOver);
    }
    if (isBinary(first)) {
      this.counters.refusedRequests += 1;
      const text =
        "This port takes lines of JSON, HTTP and Skein's frames, and no TLS or other bytes";
      return void this.#turnAway(link, { code: "invalid-message", text })
        .then(onOver);
    }
    if (!mayBeHttp(first)) return this.#openLines(link, first, onOver);
    void this.#openHttp(link, first, onOver);
  }

  /** To every client that is logged in. */
  deliver(message: MeshMessage): void {
    this.#fanOut.toAll(message, false);
  }

  /** To some, or to all, in the order of all deliveries. */
  tell(
    { clients, message, moreOnly }: Omit<
      Extract<MeshEffect, { kind: "tell" }>,
      "kind"
    >,
  ): void {
    if (clients === "all") {
      return this.#fanOut.toAll(message, moreOnly === true);
    }
    const found: MeshClient[] = [];
    for (const number of clients) {
      const client = this.#clients.get(number);
      if (client === undefined) continue;
      client.told(message);
      if (!moreOnly || client.style === "more") found.push(client);
    }
    this.#fanOut.toSome(found, message);
  }

  /** Writes all that the client was told, and closes its connection. */
  endClient(client: ClientNumber): void {
    this.#clients.get(client)?.end();
  }

  /**
   * Ends the connections of those who are stuck, or never said who they are;
   * this happens by itself every second.
   */
  check(nowMs: number): void {
    for (const client of this.#clients.values()) {
      const error = client.check(nowMs);
      if (error === undefined) continue;
      this.counters.timeouts += 1;
      client.cutOff(error);
    }
  }

  /**
   * Waits a moment for clients to go where they were sent, tells the rest that
   * it is over, and ends all connections; takes {@linkcode STOP_WAIT_MS} at most.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const empty = new Promise<void>((resolve) => this.#whenEmpty = resolve);
    if (this.#open === 0) return;
    await settleWithin(empty, LEAVE_WAIT_MS);
    for (const client of this.#clients.values()) {
      const error = new WireError("shutting-down", this.#stopText);
      this.#fanOut.toOne(client, toMessage(error));
      client.end();
    }
    await settleWithin(empty, STOP_WAIT_MS - LEAVE_WAIT_MS);
    for (const link of this.#links) link.abort();
    clearInterval(this.#checkTimer);
  }

  // What clients need

  input(
    client: MeshClient,
    ask: ClientAsk,
    id: MeshRequestId | undefined,
  ): void {
    const { number } = client;
    this.#options.input({ ...ask, client: number, id, timeMs: Date.now() });
  }

  plainRelay(client: MeshClient, line: RelayLine): void {
    this.#options.input({
      kind: "plain-relay",
      client: client.number,
      from: line.from,
      server: line.origin_server,
      text: line.text,
      timeMs: Date.now(),
    });
  }

  say(client: MeshClient, message: ToClient): void {
    if (!client.isClosed) this.#fanOut.toOne(client, message);
  }

  join(client: MeshClient): void {
    this.#fanOut.join(client);
  }

  part(client: MeshClient): void {
    this.#fanOut.leave(client);
  }

  status(): MeshStatus {
    return this.#options.status();
  }

  async history(question: HistoryQuestion): Promise<HistoryAnswer> {
    if (this.#historiesOpen >= HISTORIES_MAX) {
      await new Promise<void>((resolve) =>
        this.#historiesWaiting.push(resolve)
      );
    } else this.#historiesOpen += 1;
    try {
      return await this.#options.history(question);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#said.say("warn", "history", {
        message: `Cannot read the history: ${why}`,
      });
      // Why, is the operator's business.
      const text = "Cannot read the history";
      throw isPassing(error)
        ? new WireError("busy", `${text} just now`, { cause: error })
        : new WireError("unreadable", text, { cause: error });
    } finally {
      // The place goes to whoever waits longest.
      const next = this.#historiesWaiting.shift();
      if (next === undefined) this.#historiesOpen -= 1;
      else next();
    }
  }

  mustWait(client: MeshClient): boolean {
    if (!this.#options.isLogFull()) return false;
    if (this.#waiting.has(client)) return true;
    this.#waiting.add(client);
    this.counters.waits += 1;
    this.#fanOut.toOne(client, {
      type: "system",
      text: "The log is behind: what you write waits",
      notice: { code: "waiting" },
    });
    if (!this.#isLogAwaited) void this.#awaitLog();
    return true;
  }

  mustSlowDown(client: MeshClient): boolean {
    if (!this.#fanOut.isPressed) return false;
    if (!this.#slowedDown.has(client)) this.counters.slowedDown += 1;
    this.#slowedDown.add(client);
    this.#lookTimer ??= setTimeout(() => this.#lookAgain(), LOOK_MS);
    return true;
  }

  queueTurn(client: MeshClient): void {
    this.#turns.add(client);
    this.#planTurn();
  }

  left(client: MeshClient): void {
    this.#waiting.delete(client);
    this.#slowedDown.delete(client);
    this.#turns.delete(client);
    this.#clients.delete(client.number);
    // Not within the core's own step, in which a slow one may have been found.
    queueMicrotask(() =>
      this.#options.input({
        kind: "client-gone",
        client: client.number,
        timeMs: Date.now(),
      })
    );
  }

  async #awaitLog(): Promise<void> {
    this.#isLogAwaited = true;
    while (this.#options.isLogFull()) await this.#options.whenLogGoesOn();
    this.#isLogAwaited = false;
    const clients = [...this.#waiting];
    this.#waiting.clear();
    for (const client of clients) {
      this.say(client, {
        type: "system",
        text: "The log has caught up: what you wrote is sent",
        notice: { code: "going-on" },
      });
      client.goOn();
    }
  }

  #lookAgain(): void {
    this.#lookTimer = undefined;
    if (this.#slowedDown.size === 0) return;
    this.#fanOut.look(performance.now());
    if (this.#fanOut.isPressed) {
      this.#lookTimer = setTimeout(() => this.#lookAgain(), LOOK_MS);
      return;
    }
    const clients = [...this.#slowedDown];
    this.#slowedDown.clear();
    for (const client of clients) client.goOn();
  }

  /** One client's turn, then what has come in meanwhile, then the next one's. */
  #planTurn(): void {
    if (this.#isTurnDue || this.#turns.size === 0) return;
    this.#isTurnDue = true;
    setImmediate(() => {
      this.#isTurnDue = false;
      const [client] = this.#turns;
      if (client === undefined) return;
      this.#turns.delete(client);
      client.goOn();
      this.#planTurn();
    });
  }

  // Who comes in

  #openLines(link: Link, first: Uint8Array, onOver: () => void): void {
    const connection = new LineConnection(
      link,
      this.#events(() => client, onOver),
    );
    const client = this.#add(connection);
    void connection.read(first, client);
  }

  async #openHttp(
    link: Link,
    first: Uint8Array,
    onOver: () => void,
  ): Promise<void> {
    const opening = await readOpening(link, first);
    if (opening === undefined) return onOver();
    if (this.#isStopping) {
      link.abort();
      return onOver();
    }
    switch (opening.kind) {
      case "lines":
        return this.#openLines(link, opening.first, onOver);
      case "refused":
        return await this.#answerHttp(link, opening.answer, onOver);
      case "http": {
        const answer = this.#answerTo(opening.request);
        if (answer !== undefined) {
          return await this.#answerHttp(link, answer, onOver);
        }
        return this.#openSocket(link, opening.request, onOver);
      }
    }
  }

  /** The answer to a request that gets no WebSocket; undefined if it gets one. */
  #answerTo({ method, path, headers }: HttpRequest): Uint8Array | undefined {
    if (path !== "/" && path !== "/ws") {
      return httpAnswer(404, "There are / and /ws");
    }
    const isRead = method === "GET" || method === "HEAD" && path === "/";
    if (!isRead) {
      return httpAnswer(405, "GET is all that is taken here", {
        headers: ["Allow: GET"],
      });
    }
    if (path === "/") {
      return httpAnswer(200, this.#welcomeText, { isHead: method === "HEAD" });
    }
    const allowed = this.#options.allowOrigins ?? [];
    const { origin, host, upgrade } = headers;
    if (!mayOriginEnter(origin, { host, allowed })) {
      return httpAnswer(
        403,
        "Pages of that origin may not chat here; this server's operator can allow it",
      );
    }
    if (upgrade?.toLowerCase() === "websocket") return undefined;
    return httpAnswer(426, "Come with a WebSocket", {
      headers: ["Upgrade: websocket"],
    });
  }

  async #answerHttp(
    link: Link,
    answer: Uint8Array,
    onOver: () => void,
  ): Promise<void> {
    this.counters.refusedHttp += 1;
    await link.close(answer);
    onOver();
  }

  #openSocket(link: Link, request: HttpRequest, onOver: () => void): void {
    this.counters.webSockets += 1;
    const connection = new SocketConnection(
      link,
      this.#events(() => client, () => {
        connection.over();
        onOver();
      }),
      {
        isOfElsewhere: request.headers.origin !== undefined ||
          isForwarded(request),
        write: (bytes) => this.#fanOut.push(client, bytes),
      },
    );
    const client = this.#add(connection);
    connection.open(request, client).catch((error) => {
      this.#options.log.error("Cannot open a WebSocket", { error });
      connection.subscriber.abort();
    });
  }

  #add(transport: ClientTransport): MeshClient {
    const client = new MeshClient(++this.#lastNumber, transport, this);
    this.#clients.set(client.number, client);
    return client;
  }

  #events(ofWhom: () => MeshClient, onOver: () => void): SubscriberEvents {
    return {
      onSlow: (error) => this.cutSlow(ofWhom(), error),
      onRoom: () => ofWhom().goOn(),
      onOver: () => {
        ofWhom().over();
        this.part(ofWhom());
        onOver();
      },
    };
  }

  cutSlow(client: MeshClient, error: WireError): void {
    this.counters.slowConsumers += 1;
    this.#options.log.info("Dropped a client that reads too slowly", {
      from: client.transport.label,
    });
    client.cutOff(error);
  }

  async #turnAway(
    link: Link,
    { code, text }: { code: WireCode; text: string },
  ): Promise<void> {
    const message = toMessage(new WireError(code, text));
    await link.close(
      new TextEncoder().encode(`${JSON.stringify(message)}\n`),
    );
  }

  /** Nobody is here. */
  #rest(): void {
    clearInterval(this.#checkTimer);
    this.#checkTimer = undefined;
    clearTimeout(this.#lookTimer);
    this.#lookTimer = undefined;
    this.#whenEmpty?.();
  }

  get #stopText(): string {
    return `Server ${this.server} is stopping`;
  }

  get #welcomeText(): string {
    return `Skein, mesh server ${this.server}. Chat here with "skein chat HOST PORT NAME", with lines of JSON ({"type":"help"}), or through a WebSocket at /ws.`;
  }
}

function toMessage(error: WireError): ToClient {
  return { type: "error", text: error.message, code: error.code };
}

/** Whether it begins with what no line does: then what follows is no line either. */
function isBinary([byte]: Uint8Array): boolean {
  return byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d;
}

/** Whether a read may well succeed a moment later. */
function isPassing(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ("code" in at && PASSING.includes(String(at.code))) return true;
  }
  return false;
}
