/** A mesh server's clients' side with its real core behind it, and clients at real sockets. */

import { assert } from "@std/assert";
import { Link } from "../../../../nodes/host/link.ts";
import { Listener } from "../../../../nodes/host/listener.ts";
import { MeshClients } from "../../../../nodes/mesh/clients/mesh_clients.ts";
import type {
  HistoryAnswer,
  HistoryQuestion,
} from "../../../../nodes/mesh/clients/history.ts";
import {
  DEFAULT_MESH_TIMING,
  DEFAULT_RECENT,
  type MeshInput,
  type MeshLogEntry,
} from "../../../../nodes/mesh/contract.ts";
import { MeshCore } from "../../../../nodes/mesh/core.ts";
import { bounded, until } from "../../../process/until.ts";
import { closeOnce, greeting, LISTEN } from "../../host/loopback.ts";

const ENCODER = new TextEncoder();

const SILENT_LOG = {
  debug() {},
  info() {},
  warn() {},
  error(message: string, fields: unknown) {
    throw new Error(`${message}: ${JSON.stringify(fields)}`);
  },
};

export interface ServedOptions {
  readonly ringBytesMax?: number;
  readonly connectionsMax?: number;
  readonly isKeyed?: boolean;
  readonly allowOrigins?: readonly string[];
  history?(question: HistoryQuestion): Promise<HistoryAnswer>;
}

/** One server without others. */
export class Served implements AsyncDisposable {
  readonly clients: MeshClients;
  readonly core: MeshCore;
  readonly port: number;
  readonly logged: MeshLogEntry[] = [];
  /** What the operator was warned of. */
  readonly warnings: string[] = [];
  /** Connections that were handed back. */
  closed = 0;
  readonly #listener: Listener;
  #logRoom: PromiseWithResolvers<void> | undefined;
  #tick: ReturnType<typeof setTimeout> | undefined;
  readonly #inputs: MeshInput[] = [];
  #isStepping = false;

  constructor(options: ServedOptions = {}) {
    this.core = new MeshCore({
      ...{ id: "A", cluster: "skein", generation: Date.now() },
      ...{ topology: "mesh", timing: DEFAULT_MESH_TIMING, clientsMax: 10_000 },
      recent: DEFAULT_RECENT,
    });
    this.clients = new MeshClients({
      server: "A",
      input: (input) => this.input(input),
      history: options.history ??
        (() => Promise.resolve({ messages: [], more: false })),
      status: () => this.core.status,
      isLogFull: () => this.#logRoom !== undefined,
      whenLogGoesOn: () => this.#logRoom?.promise ?? Promise.resolve(),
      isKeyed: options.isKeyed ?? false,
      log: {
        ...SILENT_LOG,
        warn: (message) => void this.warnings.push(message),
      },
      connectionsMax: options.connectionsMax,
      ringBytesMax: options.ringBytesMax,
      allowOrigins: options.allowOrigins,
    });
    const listener = new Listener({
      listen: { host: LISTEN.hostname, port: LISTEN.port },
      greeting: greeting({ id: "A" }),
      silentMsMax: 1_000,
      lines: "loopback",
      connectionsMax: 10_000,
      log: SILENT_LOG,
      onLink: ({ link }) => link.abort(),
      onLines: (link: Link, first) =>
        this.clients.open(link, first, () => {
          this.closed += 1;
          listener.release();
        }),
    });
    this.#listener = listener;
    this.port = listener.address.port;
    this.input({ kind: "start", timeMs: Date.now() });
  }

  input(input: MeshInput): void {
    this.#inputs.push(input);
    if (this.#isStepping) return;
    this.#isStepping = true;
    for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) {
      for (const effect of this.core.step(next, performance.now())) {
        if (effect.kind === "deliver") this.clients.deliver(effect.message);
        else if (effect.kind === "tell") this.clients.tell(effect);
        else if (effect.kind === "end-client") {
          this.clients.endClient(effect.client);
        } else if (effect.kind === "log") this.logged.push(effect.entry);
        else if (effect.kind === "timer") {
          clearTimeout(this.#tick);
          this.#tick = setTimeout(
            () => this.input({ kind: "tick", timeMs: Date.now() }),
            effect.afterMs,
          );
        }
      }
    }
    this.#isStepping = false;
  }

  /** From now on the log takes nothing. */
  fillLog(): void {
    this.#logRoom = Promise.withResolvers();
  }

  emptyLog(): void {
    const room = this.#logRoom;
    this.#logRoom = undefined;
    room?.resolve();
  }

  async connect(): Promise<Client> {
    return new Client(await Deno.connect({ ...LISTEN, port: this.port }));
  }

  /** Somebody who is logged in, and has been welcomed. */
  async login(username: string, fields: object = {}): Promise<Client> {
    const client = await this.connect();
    await client.send({ type: "login", username, ...fields });
    const answer = JSON.parse(await client.line());
    assert(answer.type === "system", JSON.stringify(answer));
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.clients.stop();
    await until("all connections are over", () => this.clients.count === 0);
    clearTimeout(this.#tick);
  }
}

/** One connection. */
export class Client implements Disposable {
  readonly conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(65_536);
  readonly #decoder = new TextDecoder();
  /** Lines that have come, and what came behind the last newline. */
  #lines: string[] = [];
  #at = 0;
  #text = "";

  constructor(conn: Deno.TcpConn) {
    this.conn = conn;
  }

  /** Writes text as it is, an object as a line. */
  async send(what: string | Uint8Array | object): Promise<void> {
    const bytes = what instanceof Uint8Array ? what : ENCODER.encode(
      typeof what === "string" ? what : `${JSON.stringify(what)}\n`,
    );
    for (let at = 0; at < bytes.length;) {
      at += await this.conn.write(bytes.subarray(at));
    }
  }

  /** The next line, without its newline. */
  async line(): Promise<string> {
    for (;;) {
      const line = this.#lines[this.#at];
      if (line !== undefined) {
        this.#at += 1;
        return line;
      }
      this.#lines = [];
      this.#at = 0;
      const isMore = await this.#read();
      assert(isMore, `it ended; before: ${JSON.stringify(this.#text)}`);
      this.#lines = this.#text.split("\n");
      this.#text = this.#lines.pop() ?? "";
    }
  }

  async lines(count: number): Promise<string[]> {
    const lines: string[] = [];
    while (lines.length < count) lines.push(await this.line());
    return lines;
  }

  /** All that comes until the server closes. */
  async rest(): Promise<string> {
    while (await this.#read());
    const lines = this.#lines.slice(this.#at);
    this.#lines = [];
    const text = [...lines, this.#text].join("\n");
    this.#text = "";
    return text;
  }

  [Symbol.dispose](): void {
    closeOnce(this.conn);
  }

  async #read(): Promise<boolean> {
    try {
      const count = await bounded("a line", this.conn.read(this.#buffer));
      if (count === null) return false;
      this.#text += this.#decoder.decode(this.#buffer.subarray(0, count), {
        stream: true,
      });
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset) return false;
      throw error;
    }
  }
}
