/** Three servers of etcd, with the settings it comes with. */

import type { Workbench } from "../workbench.ts";
import { type Fleet, GuardedProgram, until } from "./fleet.ts";

const SERVERS = 3;
const WHOLE_WAIT_MS = 30_000;
const ASK_WAIT_MS = 1_000;

/** They sync their log on a majority before they answer. */
export class EtcdFleet implements Fleet {
  readonly ports: readonly number[];
  readonly #bench: Workbench;
  readonly #folder: string;
  readonly #peerPorts: readonly number[];
  readonly #programs: GuardedProgram[] = [];

  private constructor(bench: Workbench) {
    const ports = bench.ports(2 * SERVERS);
    this.#bench = bench;
    this.#folder = bench.folder("etcd");
    this.ports = ports.slice(0, SERVERS);
    this.#peerPorts = ports.slice(SERVERS);
  }

  /** Resolves when they have a leader. */
  static async start(bench: Workbench): Promise<EtcdFleet> {
    const fleet = new EtcdFleet(bench);
    for (let index = 0; index < SERVERS; index++) await fleet.#start(index);
    await fleet.whole();
    return fleet;
  }

  get pids(): readonly number[] {
    return this.#programs.map(({ pid }) => pid);
  }

  pidOf(index: number): number {
    return this.#programs[index].pid;
  }

  leader(): Promise<number> {
    return until(async () => {
      for (const [index, port] of this.ports.entries()) {
        const metrics = await ask(port, "/metrics");
        if (/^etcd_server_is_leader 1$/m.test(metrics)) return index;
      }
    }, { waitMs: WHOLE_WAIT_MS, what: "a leader of etcd" });
  }

  async restart(index: number): Promise<void> {
    await this.#programs[index].end();
    await this.#start(index);
  }

  async whole(): Promise<void> {
    await until(async () => {
      for (const port of this.ports) {
        const health = await ask(port, "/health");
        if (!health.includes('"true"')) return undefined;
      }
      return true;
    }, { waitMs: WHOLE_WAIT_MS, what: "all servers of etcd" });
  }

  async end(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end()));
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #start(index: number): Promise<void> {
    const url = (port: number) => `http://127.0.0.1:${port}`;
    const client = url(this.ports[index]);
    const peer = url(this.#peerPorts[index]);
    const all = this.#peerPorts.map((port, at) => `e${at}=${url(port)}`);
    this.#programs[index] = await GuardedProgram.start(this.#bench, [
      "etcd",
      ...["--name", `e${index}`],
      ...["--data-dir", `${this.#folder}/${index}`],
      ...["--listen-client-urls", client],
      ...["--advertise-client-urls", client],
      ...["--listen-peer-urls", peer],
      ...["--initial-advertise-peer-urls", peer],
      ...["--initial-cluster", all.join(",")],
      ...["--logger", "zap", "--log-level", "error"],
    ]);
  }
}

async function ask(port: number, path: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    signal: AbortSignal.timeout(ASK_WAIT_MS),
  });
  return await response.text();
}
