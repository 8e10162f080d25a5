/** A chat group of real processes on ports and in a folder of its own. */

import { PortBlock } from "../../deploy/port_block.ts";
import type { NodeStatus } from "../../../protocol/status.ts";
import type { NodeKind } from "../../../protocol/view.ts";
import { until } from "../until.ts";
import { ChatNode, type ChatNodeOptions } from "./chat_node.ts";

const HOST = "127.0.0.1";

/** What counts where no flag says something else. */
const ENVIRONMENT = {
  // Many tests share few cores: whoever is merely slow is not taken for dead.
  SKEIN_HEARTBEAT: "50ms",
  SKEIN_SUSPECT_AFTER: "600ms",
  SKEIN_ELECTION: "300ms",
  SKEIN_SYNC_STALL: "1m",
  // Nobody guesses these passwords, and logins are not what is tested.
  SKEIN_PASSWORD_COST: "10",
};

/** How large a group is. */
export interface FleetSize {
  /** Default: 3. They are `a`, `b`, `c` …: the last leads. */
  readonly servers?: number;
  /** Default: 2. They are `w1`, `w2` …. */
  readonly witnesses?: number;
  /** What every node is told beside its own flags. */
  readonly flags?: readonly string[];
  /** What single nodes are told, by name. */
  readonly nodes?: Readonly<Record<string, ChatNodeOptions>>;
}

/** Nodes and files of one test; all are gone when it is disposed of. */
export class ChatFleet implements AsyncDisposable {
  readonly servers: readonly ChatNode[];
  readonly witnesses: readonly ChatNode[];
  readonly #folder = Deno.makeTempDirSync({ prefix: "skein-chat-" });
  readonly #blocks: PortBlock[] = [];
  readonly #extra: ChatNode[] = [];
  readonly #size: FleetSize;
  /** The hash of the state at each index at which some server was asked. */
  readonly #hashes = new Map<number, string>();
  #portCount = 0;

  constructor(size: FleetSize = {}) {
    this.#size = size;
    const { servers = 3, witnesses = 2 } = size;
    this.servers = Array.from(
      { length: servers },
      (_, at) => this.#make("server", String.fromCharCode(97 + at)),
    );
    this.witnesses = Array.from(
      { length: witnesses },
      (_, at) => this.#make("witness", `w${at + 1}`),
    );
  }

  /** All nodes of the group. */
  get nodes(): readonly ChatNode[] {
    return [...this.servers, ...this.witnesses];
  }

  /** One of them, by its name. */
  node(name: string): ChatNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`There is no node ${name}`);
    return found;
  }

  /** Where people reach all servers. */
  get clients(): readonly string[] {
    return this.servers.map(({ clients }) => clients);
  }

  /**
   * A further process that is told of the same group, with an id that may be
   * taken, ports of its own and, by default, a data directory of its own.
   */
  extra(
    id: string,
    options: ChatNodeOptions & { readonly kind?: NodeKind },
  ): ChatNode {
    const node = this.#make(options.kind ?? "server", id, options);
    this.#extra.push(node);
    return node;
  }

  /** Starts nodes together; by default all. They listen when this resolves. */
  async start(nodes: readonly ChatNode[] = this.nodes): Promise<void> {
    await Promise.all(nodes.map((node) => node.start()));
  }

  /** Starts all nodes; there is a primary and all servers are in sync after it. */
  async startReady(): Promise<void> {
    await this.start();
    await this.inSync();
  }

  /** The server that leads and takes writes; waits until there is one. */
  async primary(
    wanted: (node: ChatNode) => boolean = () => true,
  ): Promise<ChatNode> {
    return await this.until("there is a primary", async () => {
      for (const node of this.servers) {
        if (!wanted(node)) continue;
        const status = await node.status();
        if (status?.role === "primary" && status.isWritable) return node;
      }
    });
  }

  /**
   * Waits until all servers are members of one view, though not idle, in which
   * all nodes vote, and all of them are linked: any minority may die then.
   *
   * @param ageMs Since when, at least. A new store joins by several views, one
   *   soon after the other: an older one is the last of them.
   */
  async complete(ageMs = 0): Promise<void> {
    const members = this.servers.map(({ name }) => name).sort().join();
    const voters = this.nodes.map(({ name }) => name).sort().join();
    let seen: (NodeStatus | undefined)[] = [];
    await this.until("all nodes have their part", async () => {
      seen = await Promise.all(this.nodes.map((node) => node.status()));
      const epochs = new Set(seen.map((one) => one?.view?.epoch.counter));
      return epochs.size === 1 &&
        seen.every((status) =>
          status?.view?.members.join() === members &&
          status.view.voters.join() === voters &&
          status.view.previousVoters === undefined &&
          status.view.ageMs >= ageMs &&
          status.peers.every(({ isLinked }) => isLinked)
        );
    }, () => statusText(seen));
  }

  /**
   * Waits until exactly these servers are the members of one view, and have
   * applied the same entries, all that there are. That their states have the
   * same hash then is checked at every look, as always.
   *
   * @param servers Default: all of them.
   */
  async inSync(
    servers: readonly ChatNode[] = this.servers,
  ): Promise<NodeStatus> {
    let seen: (NodeStatus | undefined)[] = [];
    const names = servers.map(({ name }) => name).sort().join();
    return await this.until(`${names} are in sync`, async () => {
      seen = await Promise.all(servers.map((node) => node.status()));
      const [first] = seen;
      if (first === undefined) return undefined;
      const isSame = seen.every((status) =>
        status !== undefined && status.isWritable &&
        status.view?.members.join() === names &&
        status.appliedIndex === first.appliedIndex &&
        status.committedIndex === first.appliedIndex &&
        status.lastIndex === first.appliedIndex
      );
      return isSame ? first : undefined;
    }, () => statusText(seen));
  }

  /** A path in the fleet's folder. */
  path(name: string): string {
    return `${this.#folder}/${name}`;
  }

  /** Waits; fails early when a node ends that nobody ended. */
  async until<T>(
    what: string,
    look: () => T | Promise<T>,
    context: () => string = () => "",
  ) {
    return await until(what, look, {
      context: () => context() + this.describe(),
      hopeless: () => this.mishap,
    });
  }

  /** Why the group cannot be relied on: a node ended that nobody ended. */
  get mishap(): string | undefined {
    return [...this.nodes, ...this.#extra]
      .find(({ mishap }) => mishap !== undefined)?.mishap;
  }

  /** All nodes with their last lines, for failure texts. */
  describe(): string {
    return [...this.nodes, ...this.#extra].map((one) => one.describe())
      .join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [...this.nodes, ...this.#extra].map((one) => one[Symbol.asyncDispose]()),
    );
    for (const block of this.#blocks) block[Symbol.dispose]();
    await Deno.remove(this.#folder, { recursive: true });
  }

  #make(kind: NodeKind, name: string, own?: ChatNodeOptions): ChatNode {
    const options = own ?? this.#size.nodes?.[name] ?? {};
    const { host = HOST, flags = [] } = options;
    const data = options.data ?? this.path(`${name}-${this.#portCount}`);
    const address = `${host}:${this.#port()}`;
    const clients = kind === "server" ? `${host}:${this.#port()}` : undefined;
    const admin = `${host}:${this.#port()}`;
    return new ChatNode(name, {
      kind,
      address,
      clients,
      admin,
      data,
      folder: this.#folder,
      onStatus: (status) => this.#compare(status),
      arguments: () => [
        ...["--id", name, "--data", data, "--admin", admin],
        ...["--listen-replica", address],
        ...clients === undefined ? [] : ["-l", clients],
        ...this.servers.flatMap((node) => [
          "--server",
          `${node.name}=${node.place.address}`,
        ]),
        ...this.witnesses.flatMap((node) => [
          "--witness",
          `${node.name}=${node.place.address}`,
        ]),
        // Whatever becomes of the test, no node stays behind.
        "--exit-with-parent",
        ...this.#size.flags ?? [],
        ...flags,
      ],
    }, { ...options, environment: { ...ENVIRONMENT, ...options.environment } });
  }

  /**
   * Servers that have applied the same entries have the same state, whenever
   * they are asked, and in whatever life.
   */
  #compare({ node, kind, appliedIndex, hash }: NodeStatus): void {
    if (kind === "witness") return;
    const known = this.#hashes.get(appliedIndex);
    this.#hashes.set(appliedIndex, hash);
    if (known === undefined || known === hash) return;
    throw new Error(
      `The state of ${node} at index ${appliedIndex} is ${hash}, another one's was ${known}\n${this.describe()}`,
    );
  }

  #port(): number {
    const at = this.#portCount++;
    const block = Math.floor(at / PortBlock.count);
    if (this.#blocks[block] === undefined) {
      this.#blocks.push(PortBlock.reserve());
    }
    return this.#blocks[block].base + at % PortBlock.count;
  }
}

function statusText(all: readonly (NodeStatus | undefined)[]): string {
  return all.map((status) =>
    status === undefined
      ? "no status\n"
      : `${status.node} ${status.role} of ${status.view?.members.join()} at ${status.view?.epoch.counter}: last ${status.lastIndex}, committed ${status.committedIndex}, applied ${status.appliedIndex} ${status.hash}; waits for ${
        status.waitsFor.join("; ")
      }\n`
  ).join("");
}
