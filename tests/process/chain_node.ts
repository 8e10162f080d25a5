/** One node of a chain under test, over all its lives. */

import { type AdminPage, adminPage } from "./admin_page.ts";
import { program } from "./program.ts";
import { describeExit, type Exit, RunningProcess } from "./running_process.ts";
import { until } from "./until.ts";

/** What a node is told. */
export interface NodeOptions {
  /** Names of the successors, first choice first; none: the tail. */
  readonly next?: readonly string[];
  /** Further flags. */
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** `unread`: nobody reads its standard output. */
  readonly output?: "collected" | "unread";
  /** Where it listens, if not on loopback. */
  readonly host?: string;
  /** What to run it under: `ip netns exec …`, for one. */
  readonly under?: readonly string[];
}

/** A node that can be started, frozen, killed and started again. */
export class ChainNode implements AsyncDisposable {
  readonly name: string;
  /** Where it listens. */
  readonly address: string;
  /** Where its admin port is; undefined for none. */
  readonly admin: string | undefined;
  readonly #arguments: () => readonly string[];
  readonly #options: NodeOptions & { readonly folder: string };
  readonly #runs: RunningProcess[] = [];
  #isToEnd = false;

  constructor(
    name: string,
    options: NodeOptions & {
      readonly address: string;
      readonly admin: string | undefined;
      readonly folder: string;
      /** Its flags; asked at each start, when all addresses are known. */
      readonly arguments: () => readonly string[];
    },
  ) {
    this.name = name;
    this.address = options.address;
    this.admin = options.admin;
    this.#arguments = options.arguments;
    this.#options = options;
  }

  /** The process of its present, or last, life. */
  get process(): RunningProcess {
    const last = this.#runs.at(-1);
    if (last === undefined) throw new Error(`${this.name} was never started`);
    return last;
  }

  /** Lives so far. */
  get runCount(): number {
    return this.#runs.length;
  }

  /** Why nothing can be expected of it any more; undefined while something can. */
  get mishap(): string | undefined {
    const exit = this.#runs.at(-1)?.exit;
    return exit === undefined || this.#isToEnd
      ? undefined
      : `${this.name} ended ${describeExit(exit)}`;
  }

  /** Where its log says that it turned its traffic to last. */
  get target(): string | undefined {
    return this.process.logLines().map(({ message }) =>
      /^Sending to (.+)$/.exec(message)?.[1]
    ).findLast((address) => address !== undefined);
  }

  /** Starts it without waiting for anything. */
  launch(): RunningProcess {
    this.#isToEnd = false;
    const { folder, environment, output, under = [] } = this.#options;
    const process = new RunningProcess({
      name: this.name,
      command: [...under, ...program("skein-chain"), ...this.#arguments()],
      folder,
      ...(environment !== undefined && { environment }),
      ...(output !== undefined && { output }),
    });
    this.#runs.push(process);
    return process;
  }

  /** Starts it, again if need be; it listens when this resolves. */
  async start(): Promise<void> {
    await this.launch().line(/"Listening on /);
  }

  /** SIGKILL; it is gone when this resolves. */
  async kill(): Promise<void> {
    await this.stop("SIGKILL");
  }

  /** Ends it by a signal and waits for that. */
  async stop(signal: Deno.Signal): Promise<Exit> {
    this.#isToEnd = true;
    this.process.signal(signal);
    return await this.process.ended();
  }

  /** Says that its end is expected. */
  expectEnd(): void {
    this.#isToEnd = true;
  }

  /** Kills it and starts it again on its old port. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Stops its execution. */
  async freeze(): Promise<void> {
    await this.process.freeze();
  }

  /** Lets it go on. */
  thaw(): void {
    this.process.thaw();
  }

  /** A page of the admin port; undefined when nobody answers. */
  async page(path: string): Promise<AdminPage | undefined> {
    if (this.admin === undefined) throw new Error(`${this.name} has no admin`);
    return await adminPage(this.admin, path);
  }

  /** Waits until it says that messages reach a tail. */
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

  /** One of its metrics, added up over its labels; undefined when nobody answers. */
  async metric(name: string): Promise<number | undefined> {
    const page = await this.page("/metrics");
    if (page === undefined) return undefined;
    const values = page.text.split("\n").filter((line) =>
      line.startsWith(`${name}{`) || line.startsWith(`${name} `)
    ).map((line) => Number(line.slice(line.lastIndexOf(" ") + 1)));
    if (values.length === 0) {
      throw new Error(`${this.name} has no metric ${name}:\n${page.text}`);
    }
    return values.reduce((sum, value) => sum + value, 0);
  }

  /** The last lines of its last two lives, for failure texts. */
  describe(): string {
    return this.#runs.slice(-2).map((run) => run.describe()).join("") ||
      `${this.name} was never started\n`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isToEnd = true;
    for (const run of this.#runs) await run[Symbol.asyncDispose]();
  }
}
