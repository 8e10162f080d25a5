/** One server of a mesh under test, over all its lives. */

import type { MeshStatus } from "../../../protocol/mesh.ts";
import { type AdminPage, adminPage } from "../admin_page.ts";
import { program } from "../program.ts";
import { describeExit, type Exit, RunningProcess } from "../running_process.ts";
import { until } from "../until.ts";
import { Person } from "./person.ts";

/** What a server is told. */
export interface MeshServerOptions {
  /** Where it listens. */
  readonly address: string;
  readonly admin: string;
  /** Its working directory. */
  readonly folder: string;
  /** Its words and flags; asked at each start. */
  readonly arguments: () => readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** What to run it under: `ip netns exec …`, for one. */
  readonly under?: readonly string[];
}

/** A server that can be started, frozen, killed and started again. */
export class MeshServer implements AsyncDisposable {
  readonly id: string;
  readonly options: MeshServerOptions;
  readonly #runs: RunningProcess[] = [];
  readonly #people: Person[] = [];
  #isToEnd = false;

  constructor(id: string, options: MeshServerOptions) {
    this.id = id;
    this.options = options;
  }

  /** Where people and servers reach it. */
  get address(): string {
    return this.options.address;
  }

  /** The process of its present, or last, life. */
  get process(): RunningProcess {
    const last = this.#runs.at(-1);
    if (last === undefined) throw new Error(`${this.id} was never started`);
    return last;
  }

  /** Why nothing can be expected of it any more; undefined while something can. */
  get mishap(): string | undefined {
    const exit = this.#runs.at(-1)?.exit;
    return exit === undefined || this.#isToEnd
      ? undefined
      : `${this.id} ended ${describeExit(exit)}`;
  }

  /** Starts it without waiting for anything. */
  launch(): RunningProcess {
    this.#isToEnd = false;
    const { environment, folder, under = [] } = this.options;
    const process = new RunningProcess({
      name: `server ${this.id}`,
      command: [
        ...under,
        ...program("skein-mesh"),
        ...this.options.arguments(),
      ],
      folder,
      ...environment !== undefined && { environment },
    });
    this.#runs.push(process);
    return process;
  }

  /** Starts it, again if need be; it listens when this resolves. */
  async start(): Promise<void> {
    this.launch();
    await this.ready();
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

  /** Starts a life that must end by itself, and tells how and why. */
  async refusal(): Promise<{ exit: Exit; text: string }> {
    const process = this.launch();
    this.#isToEnd = true;
    const exit = await process.ended();
    return { exit, text: process.lines.join("\n") };
  }

  /** Somebody logs in here. */
  async login(name: string, more: { more?: true } = {}): Promise<Person> {
    const person = await Person.login(this.address, name, more);
    this.#people.push(person);
    return person;
  }

  /** Somebody connects, and says nothing yet. */
  async connect(options: { readonly reads?: boolean } = {}): Promise<Person> {
    const person = await Person.connect(this.address, options);
    this.#people.push(person);
    return person;
  }

  /** What it says of itself and of the others. */
  async status(): Promise<MeshStatus | undefined> {
    const page = await this.page("/state");
    if (page === undefined) return undefined;
    const { status } = JSON.parse(page.text);
    return status;
  }

  /** The ids of the servers that it says are up. */
  async up(): Promise<string[]> {
    const status = await this.status();
    return (status?.servers ?? []).filter(({ up }) => up)
      .map(({ id }) => id).sort();
  }

  /** A number of its metrics page. */
  async metric(name: string): Promise<number> {
    const page = await this.page("/metrics");
    const line = new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "m")
      .exec(page?.text ?? "");
    return Number(line?.[1]);
  }

  /** A page of the admin port; undefined when nobody answers. */
  async page(path: string): Promise<AdminPage | undefined> {
    return await adminPage(this.options.admin, path);
  }

  /** Waits until it can do its job. */
  async ready(): Promise<void> {
    await until(`${this.id} is ready`, async () => {
      return (await this.page("/readyz"))?.status === 200;
    }, {
      context: () => this.describe(),
      hopeless: () => this.mishap,
    });
  }

  /** Warnings and errors that its present life has logged. */
  complaints(): string[] {
    return this.process.logLines()
      .filter(({ level }) => level !== "info" && level !== "debug")
      .map(({ message }) => message);
  }

  /** The last lines of its last two lives, for failure texts. */
  describe(): string {
    return this.#runs.slice(-2).map((run) => run.describe()).join("") ||
      `${this.id} was never started\n`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isToEnd = true;
    for (const run of this.#runs) await run[Symbol.asyncDispose]();
    for (const person of this.#people) await person[Symbol.asyncDispose]();
  }
}
