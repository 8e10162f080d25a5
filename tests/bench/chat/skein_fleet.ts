/** Skein's chat: three servers and two witnesses, as anybody would start them. */

import Type from "typebox";
import { Value } from "typebox/value";
import type { Child } from "../child.ts";
import type { Workbench } from "../workbench.ts";
import { type Fleet, until } from "./fleet.ts";

const SERVERS = 3;
const WITNESSES = 2;
const WHOLE_WAIT_MS = 30_000;
const ASK_WAIT_MS = 1_000;
const READY_WAIT_MS = 60_000;
/** How often a starting server is asked: its start is measured. */
const READY_EVERY_MS = 5;

/** Waiting for it fails when a process ends, and tells what it said last. */
const NOTHING = /$^/;

const MAIN = new URL("../../../main.ts", import.meta.url).pathname;

const State = Type.Object({
  role: Type.String(),
  isWritable: Type.Boolean(),
  view: Type.Optional(Type.Object({ members: Type.Array(Type.String()) })),
  appliedIndex: Type.Integer(),
  committedIndex: Type.Integer(),
});

/** They sync on all three before they answer. */
export class SkeinFleet implements Fleet {
  readonly ports: readonly number[];
  readonly #bench: Workbench;
  readonly #folder: string;
  readonly #replicaPorts: readonly number[];
  readonly #adminPorts: readonly number[];
  readonly #witnessPorts: readonly number[];
  readonly #servers: Child[] = [];
  readonly #witnesses: Child[] = [];

  private constructor(bench: Workbench, folder: string) {
    const ports = bench.ports(3 * SERVERS + WITNESSES);
    this.#bench = bench;
    this.#folder = folder;
    this.ports = ports.slice(0, SERVERS);
    this.#replicaPorts = ports.slice(SERVERS, 2 * SERVERS);
    this.#adminPorts = ports.slice(2 * SERVERS, 3 * SERVERS);
    this.#witnessPorts = ports.slice(3 * SERVERS);
  }

  /**
   * Resolves when all three are members of one view.
   *
   * @param data Folder of an earlier fleet that has ended, to go on with a
   * copy of it.
   */
  static async start(bench: Workbench, data?: string): Promise<SkeinFleet> {
    const folder = bench.folder("skein");
    if (data !== undefined) await copy(data, folder);
    const fleet = new SkeinFleet(bench, folder);
    fleet.startAll();
    const ended = [...fleet.#servers, ...fleet.#witnesses].map((child) =>
      child.said(NOTHING, WHOLE_WAIT_MS)
    );
    await Promise.race([fleet.whole(), ...ended]);
    return fleet;
  }

  /** Where the servers' data is. */
  get folder(): string {
    return this.#folder;
  }

  get pids(): readonly number[] {
    return [...this.#servers, ...this.#witnesses].map(({ pid }) => pid);
  }

  pidOf(index: number): number {
    return this.#servers[index].pid;
  }

  leader(): Promise<number> {
    return until(async () => {
      for (let index = 0; index < SERVERS; index++) {
        const state = await this.#state(index);
        if (state.role === "primary" && state.isWritable) return index;
      }
    }, { waitMs: WHOLE_WAIT_MS, what: "a primary of Skein" });
  }

  async restart(index: number): Promise<void> {
    await this.#servers[index].end();
    this.startServer(index);
  }

  async whole(): Promise<void> {
    await until(async () => {
      let primaries = 0;
      for (let index = 0; index < SERVERS; index++) {
        const { view, isWritable, role } = await this.#state(index);
        if (view?.members.length !== SERVERS || !isWritable) return undefined;
        if (role === "primary") primaries += 1;
      }
      return primaries === 1 ? true : undefined;
    }, { waitMs: WHOLE_WAIT_MS, what: "all servers of Skein" });
  }

  async end(): Promise<void> {
    await this.stop();
    await Deno.remove(this.#folder, { recursive: true });
  }

  /** Ends all processes at once, as a power cut would; their data stays. */
  async stop(): Promise<void> {
    const all = [...this.#servers.splice(0), ...this.#witnesses.splice(0)];
    await Promise.all(all.map((child) => child.end()));
  }

  /** Starts all processes. */
  startAll(): void {
    for (let index = 0; index < WITNESSES; index++) this.#startWitness(index);
    for (let index = 0; index < SERVERS; index++) this.startServer(index);
  }

  /** Starts a server that does not run. */
  startServer(index: number): void {
    const id = serverId(index);
    this.#servers[index] = this.#start("chat", [
      ...["--id", id],
      ...["--data", `${this.#folder}/${id}`],
      ...["--listen", `127.0.0.1:${this.ports[index]}`],
      ...["--admin", `127.0.0.1:${this.#adminPorts[index]}`],
      // Logins are no part of what is measured, and there are a thousand.
      ...["--password-cost", "10"],
    ]);
  }

  /** Resolves when a server says that it is in sync and has applied its log. */
  async ready(index: number): Promise<void> {
    const url = `http://127.0.0.1:${this.#adminPorts[index]}/readyz`;
    const deadlineMs = performance.now() + READY_WAIT_MS;
    let last = "it does not listen";
    while (performance.now() < deadlineMs) {
      try {
        const signal = AbortSignal.timeout(ASK_WAIT_MS);
        const response = await fetch(url, { signal });
        last = await response.text();
        if (response.ok) return;
      } catch {
        // It does not listen yet.
      }
      await new Promise((resolve) => setTimeout(resolve, READY_EVERY_MS));
    }
    throw new Error(
      `Waited ${READY_WAIT_MS / 1_000} s for ${serverId(index)}: ${
        last.replaceAll(/\s+/g, " ")
      }`,
    );
  }

  /** Up to where a server has applied the log. */
  async appliedIndex(index: number): Promise<number> {
    return (await this.#state(index)).appliedIndex;
  }

  #startWitness(index: number): void {
    const id = witnessId(index);
    this.#witnesses[index] = this.#start("witness", [
      ...["--id", id],
      ...["--data", `${this.#folder}/${id}`],
    ]);
  }

  #start(role: string, args: readonly string[]): Child {
    const servers = this.#replicaPorts.flatMap((port, index) => [
      "--server",
      `${serverId(index)}=127.0.0.1:${port}`,
    ]);
    const witnesses = this.#witnessPorts.flatMap((port, index) => [
      "--witness",
      `${witnessId(index)}=127.0.0.1:${port}`,
    ]);
    return this.#bench.start(Deno.execPath(), {
      args: [
        "run",
        "-A",
        MAIN,
        role,
        ...args,
        ...servers,
        ...witnesses,
        ...["--log-level", "warn"],
        "--exit-with-parent",
      ],
    });
  }

  async #state(index: number) {
    const url = `http://127.0.0.1:${this.#adminPorts[index]}/state`;
    const response = await fetch(url, {
      signal: AbortSignal.timeout(ASK_WAIT_MS),
    });
    const state: unknown = await response.json();
    if (Value.Check(State, state)) return state;
    throw new Error(`Found no state in ${JSON.stringify(state)}`);
  }
}

function serverId(index: number): string {
  return `server-${index + 1}`;
}

function witnessId(index: number): string {
  return `witness-${index + 1}`;
}

/** Copies all files of a folder, and those of its folders. */
async function copy(from: string, to: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) {
      await Deno.mkdir(`${to}/${name}`);
      await copy(`${from}/${name}`, `${to}/${name}`);
    } else {
      await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
    }
  }
}
