/** Clients that write and read all the time, and what must have come of it. */

import { assert, assertEquals } from "@std/assert";
import type { ChatMessage } from "../../../protocol/chat.ts";
import {
  formatHistory,
  type HistoryEvent,
  HistoryRecorder,
} from "../../history/history.ts";
import { checkHistory } from "../../history/linearizability.ts";
import { Random } from "../../sim/random.ts";
import { bounded } from "../until.ts";
import type { ChatNodes } from "./chat_nodes.ts";
import { faultsOf, nameOf, type Sent } from "./load_check.ts";
import { LoadClient, type LoadClientOptions } from "./load_client.ts";

/** Between two requests of a client: a test shares its cores with others. */
const PAUSE_MS = 4;

/** A client reads once in so many requests, on average. */
const READ_EVERY = 8;

/** Longer histories are checked by their end alone. */
const HISTORY_EVENTS_MAX = 20_000;

const FAULTS_SHOWN_MAX = 10;

const STOP_WAIT_MS = 60_000;

/** How much is asked. */
export interface LoadOptions {
  /** Default: 4. */
  readonly clients?: number;
  /** Bytes of a text; default: just what names it. */
  readonly textBytes?: number;
  /** Names of the servers that are asked; default: all. */
  readonly servers?: readonly string[];
  /** After so long without an answer clients ask another server. */
  readonly answerWaitMs?: number;
  /** For the choices. */
  readonly seed?: number;
}

/** What a load came to. */
export interface LoadSummary {
  readonly acknowledged: number;
  /** Tries that were not answered, or refused. */
  readonly retries: number;
  readonly troubles: Readonly<Record<string, number>>;
  /** The most tries that one request took before it was answered. */
  readonly retriesMax: number;
}

/**
 * Clients at work, and the history of what they asked and were answered; with
 * SKEIN_HISTORY set it is written into that folder. Stopped, at the latest, when it is disposed of.
 */
export class Load implements AsyncDisposable {
  readonly history = new HistoryRecorder();
  readonly #clients: LoadClient[] = [];
  readonly #fleet: ChatNodes;
  readonly #textBytes: number;
  readonly #random: Random;
  readonly #sent: Sent[] = [];
  readonly #running: Promise<void>[] = [];
  #acknowledged = 0;
  /** When a write was acknowledged last, and the longest wait for one. */
  #acknowledgedMs = performance.now();
  #pauseMs = 0;
  #isStopping = false;
  #failure: unknown;

  private constructor(fleet: ChatNodes, options: LoadOptions) {
    this.#fleet = fleet;
    this.#textBytes = options.textBytes ?? 0;
    this.#random = new Random(options.seed ?? 1);
  }

  /** Makes the accounts, and begins; some writes are done when this resolves. */
  static async start(
    fleet: ChatNodes,
    options: LoadOptions = {},
  ): Promise<Load> {
    const { clients = 4, servers, answerWaitMs } = options;
    const load = new Load(fleet, options);
    try {
      await Promise.all(
        Array.from({ length: clients }, (_, at) =>
          load.join(`user-${at + 1}`, {
            servers: servers?.map((name) => fleet.node(name).clients) ??
              fleet.clients,
            first: at,
            ...(answerWaitMs !== undefined && { answerWaitMs }),
          })),
      );
      for (const client of load.#clients) load.#running.push(load.#run(client));
      await load.more();
      return load;
    } catch (error) {
      await load[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A further client, which writes and reads when it is told to; others write to it. */
  async join(user: string, options: LoadClientOptions): Promise<LoadClient> {
    const client = new LoadClient(user, options);
    try {
      await bounded(`${user} is logged in`, client.begin(), {
        context: () => this.#fleet.describe(),
      });
    } catch (error) {
      client.close();
      throw error;
    }
    // Not before: others would write to nobody.
    this.#clients.push(client);
    return client;
  }

  /** Writes that were acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Begins to look for the longest time without an acknowledged write. */
  watchPause(): void {
    this.#acknowledgedMs = performance.now();
    this.#pauseMs = 0;
  }

  /** The longest time without one since then, up to now. */
  get pauseMs(): number {
    return Math.max(this.#pauseMs, performance.now() - this.#acknowledgedMs);
  }

  /** Tries that failed. */
  get retries(): number {
    return Object.values(this.#troubles()).reduce((sum, one) => sum + one, 0);
  }

  /** Waits until so many further writes are acknowledged. */
  async more(count = 40): Promise<void> {
    const wanted = this.#acknowledged + count;
    await this.#fleet.until(
      `${count} more writes are acknowledged`,
      () => {
        if (this.#failure !== undefined) throw this.#failure;
        return this.#acknowledged >= wanted;
      },
      () => `${this.#acknowledged} of ${wanted}: ${this.#troubleText()}\n`,
    );
  }

  /** Waits until so many further tries are over, well or not. */
  async tried(count: number): Promise<void> {
    const over = () => this.#acknowledged + this.retries;
    const wanted = over() + count;
    await this.#fleet.until(`${count} more tries are over`, () => {
      if (this.#failure !== undefined) throw this.#failure;
      return over() >= wanted;
    });
  }

  /** Lets every open request come to its end. */
  async stop(): Promise<LoadSummary> {
    this.#isStopping = true;
    await bounded("all requests are answered", Promise.all(this.#running), {
      waitMs: STOP_WAIT_MS,
      context: () => `${this.#troubleText()}\n${this.#fleet.describe()}`,
    });
    if (this.#failure !== undefined) throw this.#failure;
    return {
      acknowledged: this.#acknowledged,
      retries: this.retries,
      retriesMax: Math.max(
        ...this.#clients.map(({ retriesMax }) => retriesMax),
      ),
      troubles: this.#troubles(),
    };
  }

  /**
   * Stops, waits until all servers agree, and checks that every acknowledged
   * message is there exactly once, in its place, and nothing else; that each
   * client's messages are in the order of its session; and that what clients
   * were answered all along is linearizable.
   */
  async verify(): Promise<LoadSummary> {
    const summary = await this.stop();
    const { appliedIndex } = await this.#fleet.inSync();
    const { servers } = this.#fleet;
    const inboxes = new Map<string, readonly ChatMessage[]>();
    for (const [at, client] of this.#clients.entries()) {
      // From another server each: their hashes are equal, so all say the same.
      client.turnTo(servers[at % servers.length].clients);
      const inbox = await this.read(client);
      inboxes.set(client.user, inbox);
      assert(inbox.every(({ n }) => n <= appliedIndex));
    }
    assertEquals(faultsOf(this.#sent, inboxes).slice(0, FAULTS_SHOWN_MAX), []);
    this.#checkHistory();
    return summary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    for (const client of this.#clients) client.close();
    await Promise.all(this.#running);
  }

  async #run(client: LoadClient): Promise<void> {
    const process = this.history.newProcess();
    const inbox: ChatMessage[] = [];
    try {
      while (!this.#isStopping) {
        if (this.#random.chance(1 / READ_EVERY)) {
          await this.read(client, inbox, process);
        } else await this.send(client, process);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    } catch (error) {
      // Disposed of: what was open is of no interest any more.
      if (!this.#isStopping) this.#failure ??= error;
      else if (!isClosing(error)) this.#failure ??= error;
    }
  }

  /** Lets a client send one message to another one. */
  async send(
    client: LoadClient,
    process = this.history.newProcess(),
  ): Promise<void> {
    const others = this.#clients.filter((other) => other !== client);
    const to = this.#random.pick(others).user;
    const sequence = client.sequence + 1;
    const name = `${client.user} ${sequence}`;
    const text = name.padEnd(this.#textBytes, ".");
    const sent: Sent = { from: client.user, to, text, sequence, n: undefined };
    this.#sent.push(sent);
    const call = {
      process,
      f: "append",
      key: to,
      value: nameOf(text),
    } as const;
    this.#record({ ...call, type: "invoke" });
    sent.n = await client.send(to, text);
    this.#acknowledged += 1;
    this.#pauseMs = this.pauseMs;
    this.#acknowledgedMs = performance.now();
    this.#record({ ...call, type: "ok" });
  }

  /**
   * Lets a client read all messages to it, by a linearizable read.
   *
   * @param inbox What it has read before; gets what is new.
   */
  async read(
    client: LoadClient,
    inbox: ChatMessage[] = [],
    process = this.history.newProcess(),
  ): Promise<readonly ChatMessage[]> {
    const call = { process, f: "read", key: client.user } as const;
    this.#record({ ...call, type: "invoke", value: null });
    inbox.push(...await client.list(inbox.at(-1)?.n));
    this.#record({
      ...call,
      type: "ok",
      value: inbox.map(({ text }) => nameOf(text)),
    });
    return inbox;
  }

  #record(event: Omit<HistoryEvent, "time">): void {
    this.history.add({ ...event, time: Math.round(performance.now()) });
  }

  #checkHistory(): void {
    const { events } = this.history;
    const folder = Deno.env.get("SKEIN_HISTORY") ?? "";
    if (folder !== "") {
      Deno.mkdirSync(folder, { recursive: true });
      const path = `${folder}/${crypto.randomUUID()}.jsonl`;
      Deno.writeTextFileSync(path, formatHistory(events));
    }
    if (events.length > HISTORY_EVENTS_MAX) return;
    const verdict = checkHistory(events);
    assertEquals(verdict.kind, "linearizable", JSON.stringify(verdict));
  }

  #troubles(): Record<string, number> {
    const troubles: Record<string, number> = {};
    for (const client of this.#clients) {
      for (const [code, count] of client.troubles) {
        troubles[code] = (troubles[code] ?? 0) + count;
      }
    }
    return troubles;
  }

  #troubleText(): string {
    return this.#clients.map(({ user, troubles }) =>
      `${user}: ${JSON.stringify(Object.fromEntries(troubles))}`
    ).join(", ");
  }
}

function isClosing(error: unknown): boolean {
  return error instanceof Error && /closed by this side/.test(error.message);
}
