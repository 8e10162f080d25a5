/** Machines on one network, which nobody has configured, and the servers that run there. */

import type { NodeStatus } from "../../../protocol/status.ts";
import { type NamespaceOptions, namespaceTests } from "../../namespace.ts";
import { ChatNode } from "../chat/chat_node.ts";
import { ChatNodes, StateHashes, UNHURRIED } from "../chat/chat_nodes.ts";
import { type Machine, Network, networkMissing } from "../network.ts";
import { program } from "../program.ts";
import { RunningProcess } from "../running_process.ts";

/** The ports where nothing is configured. */
export const REPLICA_PORT = 8081;
export const CLIENT_PORT = 8091;

/** Where a server shows what it counts, if it is told to. */
export const ADMIN = { SKEIN_ADMIN: "0.0.0.0:9091" };

/** The first three numbers of all addresses; nobody else is in that network. */
export const SUBNET = "10.77.0";

/** In the order of their rank, the lowest first. */
const NAMES = ["ant", "bee", "cow", "dog", "elk"] as const;

/** How a network is to be. */
export interface LanOptions {
  /** Machines with a server, 5 at most; default: 3. They are `ant`, `bee`, `cow` …: the last is to lead. */
  readonly servers?: number;
  /** What every server is told; default: nothing at all. */
  readonly flags?: readonly string[];
  /** What all programs find in their environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** What the servers of single machines find there, by name. */
  readonly environments?: Readonly<Record<string, Record<string, string>>>;
}

/** How a program has ended, and what it said. */
export interface Outcome {
  readonly code: number;
  readonly output: string;
  /** Lines on standard error. */
  readonly lines: readonly string[];
}

/**
 * Defines the tests of a file, on networks of their own; else it is said why
 * they are left out. Whatever else runs on this machine is not heard there.
 */
export function lanTests(
  file: string,
  define: () => void,
  names: Pick<NamespaceOptions, "hosts" | "resolvConf"> = {},
): void {
  const reason = networkMissing();
  if (reason === undefined) return namespaceTests({ file, ...names }, define);
  const name = file.slice(file.indexOf("tests/"));
  Deno.test({
    name: `${name} (skipped: ${reason})`,
    ignore: true,
    fn: () => {},
  });
}

/**
 * Machines with a server each, all on the ports where nothing is configured,
 * and one more, `desk`, for people. None has a route to anywhere else. Its
 * nodes are those that run; all is gone when it is disposed of.
 */
export class Lan extends ChatNodes implements AsyncDisposable {
  readonly network = new Network();
  /** All that there may be. */
  readonly hosts: readonly ChatNode[];
  readonly desk: Machine;
  readonly #folder = Deno.makeTempDirSync({ prefix: "skein-lan-" });
  readonly #hashes = new StateHashes();
  readonly #options: LanOptions;
  readonly #machines = new Map<string, Machine>();
  /** What single servers are told. */
  readonly #told = new Map<string, readonly string[]>();
  readonly #running: RunningProcess[] = [];

  constructor(options: LanOptions = {}) {
    super();
    this.#options = options;
    const names = NAMES.slice(0, options.servers ?? 3);
    try {
      this.network.join(`${SUBNET}.254/24`);
      this.hosts = names.map((name, at) => this.#host(name, at + 1));
      this.desk = this.machine("desk", 200);
    } catch (error) {
      this.network[Symbol.dispose]();
      throw error;
    }
  }

  /** The servers that run. */
  override get nodes(): readonly ChatNode[] {
    return this.hosts.filter(({ isUp }) => isUp);
  }

  /** The servers of these names, running or not. */
  named(...names: readonly string[]): readonly ChatNode[] {
    return names.map((name) => {
      const host = this.hosts.find((node) => node.name === name);
      if (host === undefined) throw new Error(`There is no host ${name}`);
      return host;
    });
  }

  /** Adds a machine without a server; `number` ends its address. */
  machine(name: string, number: number): Machine {
    const machine = this.network.machine(name, `${SUBNET}.${number}/24`);
    this.#machines.set(name, machine);
    return machine;
  }

  /** The machine that a server runs on. */
  machineOf({ name }: { readonly name: string }): Machine {
    const machine = this.#machines.get(name);
    if (machine === undefined) throw new Error(`There is no machine ${name}`);
    return machine;
  }

  /** Gives one server flags from its next start on. */
  tell({ name }: { readonly name: string }, ...flags: string[]): void {
    this.#told.set(name, flags);
  }

  /** Starts servers in the same moment; by default all. They listen when this resolves. */
  async start(hosts: readonly ChatNode[] = this.hosts): Promise<void> {
    await Promise.all(hosts.map((host) => host.start()));
  }

  /** Starts servers, by default all; all that run are one group then. */
  async startWhole(
    hosts: readonly ChatNode[] = this.hosts,
  ): Promise<NodeStatus> {
    await this.start(hosts);
    return await this.whole();
  }

  /**
   * Waits until all servers that run, or these, are one group, in which each
   * votes and is in sync, and the highest leads.
   */
  async whole(
    hosts: readonly ChatNode[] = this.nodes,
    { isSticky = false } = {},
  ): Promise<NodeStatus> {
    const part = new LanPart(this, hosts);
    return await this.until("they are one group", async () => {
      const status = await part.complete();
      const { view } = status;
      if (view === undefined) return undefined;
      return isSticky || view.primary === view.members.at(-1)
        ? status
        : undefined;
    });
  }

  /** Some of the servers, to be looked at by themselves. */
  part(...names: readonly string[]): ChatNodes {
    return new LanPart(this, this.named(...names));
  }

  /** Divides the network: these hear each other and nobody else. */
  divide(hosts: readonly ChatNode[]): void {
    const machines = hosts.map((host) => this.machineOf(host));
    this.network.divide(machines, `${SUBNET}.253`);
  }

  /** Ends {@linkcode divide}, for good. */
  unite(): void {
    this.network.unite();
  }

  /** Starts `skein` on a machine; by default at the desk. */
  skein(
    args: readonly string[],
    { at = this.desk, environment = {} }: {
      readonly at?: Machine;
      readonly environment?: Readonly<Record<string, string>>;
    } = {},
  ): RunningProcess {
    const process = new RunningProcess({
      name: `skein ${args.join(" ")}`,
      command: [...at.under, ...program("skein"), ...args],
      folder: this.#folder,
      environment: { ...this.#options.environment, ...environment },
    });
    this.#running.push(process);
    return process;
  }

  /** Runs `skein` to its end. */
  async run(
    args: readonly string[],
    options: Parameters<Lan["skein"]>[1] & { readonly input?: string } = {},
  ): Promise<Outcome> {
    const process = this.skein(args, options);
    if (options.input !== undefined) {
      await process.feed(new TextEncoder().encode(options.input));
    }
    await process.endInput();
    const { code } = await process.ended();
    return { code, output: process.outputText(), lines: process.lines };
  }

  /** A path in a folder that goes with the network. */
  path(name: string): string {
    return `${this.#folder}/${name}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [...this.hosts, ...this.#running].map((one) =>
        one[Symbol.asyncDispose]()
      ),
    );
    this.network[Symbol.dispose]();
    await Deno.remove(this.#folder, { recursive: true });
  }

  protected override get everyone(): readonly ChatNode[] {
    return this.hosts;
  }

  #host(name: string, number: number): ChatNode {
    const machine = this.machine(name, number);
    const { host, under } = machine;
    const folder = this.path(name);
    Deno.mkdirSync(folder);
    const { flags = [], environment, environments } = this.#options;
    return new ChatNode(name, {
      kind: "server",
      address: `${host}:${REPLICA_PORT}`,
      clients: `${host}:${CLIENT_PORT}`,
      admin: `${host}:9091`,
      data: `${folder}/data`,
      folder,
      onStatus: (status) => this.#hashes.compare(status),
      // Whatever becomes of the test, no server stays behind.
      arguments: () => [
        ...["--exit-with-parent", ...flags],
        ...this.#told.get(name) ?? [],
      ],
    }, {
      under,
      environment: {
        ...{ ...UNHURRIED, HOSTNAME: name },
        ...environment,
        ...environments?.[name],
      },
    });
  }
}

/** Some servers of a network. */
class LanPart extends ChatNodes {
  readonly nodes: readonly ChatNode[];
  readonly #lan: Lan;

  constructor(lan: Lan, nodes: readonly ChatNode[]) {
    super();
    this.#lan = lan;
    this.nodes = nodes;
  }

  override get mishap(): string | undefined {
    return this.#lan.mishap;
  }

  override describe(): string {
    return this.#lan.describe();
  }
}
