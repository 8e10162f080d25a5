/** One server or witness of a chat group under test, over all its lives. */

import { ChatConnection } from "../../../clients/chat_connection.ts";
import { parseAddress } from "../../../protocol/address.ts";
import { WireError } from "../../../protocol/errors.ts";
import { type NodeStatus, readNodeStatus } from "../../../protocol/status.ts";
import type { NodeKind } from "../../../protocol/view.ts";
import { type AdminPage, adminPage } from "../admin_page.ts";
import { program } from "../program.ts";
import { describeExit, type Exit, RunningProcess } from "../running_process.ts";
import { until } from "../until.ts";

const STATUS_WAIT_MS = 2_000;

/** What a node is told. */
export interface ChatNodeOptions {
  /** Further flags. */
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Where it listens, if not on loopback. */
  readonly host?: string;
  /** What to run it under: `ip netns exec …`, for one. */
  readonly under?: readonly string[];
  /** Its data directory, if not in the fleet's folder. */
  readonly data?: string;
}

/** Where a node is to be found. */
export interface ChatNodePlace {
  readonly kind: NodeKind;
  /** Where the group reaches it. */
  readonly address: string;
  /** Where people reach it; a witness has none. */
  readonly clients: string | undefined;
  readonly admin: string;
  readonly data: string;
  /** Its working directory. */
  readonly folder: string;
  /** Hears every answer of {@linkcode ChatNode.status}. */
  readonly onStatus?: (status: NodeStatus) => void;
  /** Its flags; asked at each start, when the whole group is known. */
  readonly arguments: () => readonly string[];
}

/** A node that can be started, frozen, killed and started again. */
export class ChatNode implements AsyncDisposable {
  readonly name: string;
  readonly place: ChatNodePlace;
  readonly #options: ChatNodeOptions;
  readonly #runs: RunningProcess[] = [];
  #connection: ChatConnection | undefined;
  #isToEnd = false;
  #isFrozen = false;

  constructor(name: string, place: ChatNodePlace, options: ChatNodeOptions) {
    this.name = name;
    this.place = place;
    this.#options = options;
  }

  /** The process of its present, or last, life. */
  get process(): RunningProcess {
    const last = this.#runs.at(-1);
    if (last === undefined) throw new Error(`${this.name} was never started`);
    return last;
  }

  /** Whether it was started, and can answer. */
  get isUp(): boolean {
    const run = this.#runs.at(-1);
    return run !== undefined && run.exit === undefined && !this.#isFrozen;
  }

  /** Whether its execution is stopped. */
  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  /** Whether it keeps messages. */
  get isServer(): boolean {
    return this.place.kind === "server";
  }

  /** Where people reach it. */
  get clients(): string {
    const { clients } = this.place;
    if (clients === undefined) throw new Error(`${this.name} is a witness`);
    return clients;
  }

  /** Why nothing can be expected of it any more; undefined while something can. */
  get mishap(): string | undefined {
    const exit = this.#runs.at(-1)?.exit;
    return exit === undefined || this.#isToEnd
      ? undefined
      : `${this.name} ended ${describeExit(exit)}`;
  }

  /** Starts it without waiting for anything. */
  launch(): RunningProcess {
    this.#isToEnd = false;
    const { environment, under = [] } = this.#options;
    const name = this.isServer ? "skein-chat" : "skein-witness";
    const process = new RunningProcess({
      name: this.name,
      command: [...under, ...program(name), ...this.place.arguments()],
      folder: this.place.folder,
      ...(environment !== undefined && { environment }),
    });
    this.#runs.push(process);
    return process;
  }

  /** Starts it, again if need be; it listens when this resolves. */
  async start(): Promise<void> {
    await this.launch().line(/"Listening"/);
  }

  /** SIGKILL; it is gone when this resolves. */
  async kill(): Promise<void> {
    await this.stop("SIGKILL");
  }

  /** Ends it by a signal and waits for that. */
  async stop(signal: Deno.Signal): Promise<Exit> {
    this.#isToEnd = true;
    this.#isFrozen = false;
    this.process.signal(signal);
    return await this.process.ended();
  }

  /** Says that its end is expected. */
  expectEnd(): void {
    this.#isToEnd = true;
  }

  /** Starts a life that must end by itself, and tells how and why. */
  async refusal(): Promise<{ exit: Exit; text: string }> {
    const process = this.launch();
    this.#isToEnd = true;
    const exit = await process.ended();
    return { exit, text: this.errors().join("\n") };
  }

  /** The errors that its present, or last, life has logged. */
  errors(): string[] {
    return this.process.logLines().filter(({ level }) => level === "error")
      .map(({ message, ...more }) => `${message} ${JSON.stringify(more)}`);
  }

  /** Stops its execution. */
  async freeze(): Promise<void> {
    await this.process.freeze();
    this.#isFrozen = true;
  }

  /** Lets it go on. */
  thaw(): void {
    this.#isFrozen = false;
    this.process.thaw();
  }

  /** A page of the admin port; undefined when nobody answers. */
  async page(path: string): Promise<AdminPage | undefined> {
    return await adminPage(this.place.admin, path);
  }

  /** What it says of itself and its group; undefined when it does not answer. */
  async status(): Promise<NodeStatus | undefined> {
    if (!this.isUp) return undefined;
    const status = this.isServer
      ? await this.#askStatus()
      : await this.#readStatus();
    if (status !== undefined) this.place.onStatus?.(status);
    return status;
  }

  /** Waits until it can do its job. */
  async ready(): Promise<void> {
    let last = "no answer";
    await until(`${this.name} is ready`, async () => {
      const page = await this.page("/readyz");
      last = page?.text ?? "no answer";
      return page?.status === 200;
    }, {
      context: () => `/readyz: ${last}\n${this.describe()}`,
      hopeless: () => this.mishap,
    });
  }

  /** The last lines of its last two lives, for failure texts. */
  describe(): string {
    return this.#runs.slice(-2).map((run) => run.describe()).join("") ||
      `${this.name} was never started\n`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isToEnd = true;
    this.#connection?.close();
    for (const run of this.#runs) await run[Symbol.asyncDispose]();
  }

  async #readStatus(): Promise<NodeStatus | undefined> {
    const page = await this.page("/state");
    if (page === undefined) return undefined;
    return readNodeStatus(JSON.parse(page.text));
  }

  /** By one connection, as long as it stands: whoever waits asks very often. */
  async #askStatus(): Promise<NodeStatus | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const connection = this.#connection ??= await this.#connect();
      timer = setTimeout(() => connection.close(), STATUS_WAIT_MS);
      return readNodeStatus(await connection.request({ type: "status" }));
    } catch (error) {
      // What is no status is a fault; no answer is none.
      const isAnswer = !(error instanceof WireError) ||
        error.code === "invalid-message";
      if (isAnswer) throw error;
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  async #connect(): Promise<ChatConnection> {
    const connection = await ChatConnection.connect(
      parseAddress(this.clients),
      {
        onClosed: () => {
          if (this.#connection === connection) this.#connection = undefined;
        },
      },
    );
    return connection;
  }
}
