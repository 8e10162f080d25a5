/** A chat group of real processes on ports and in a folder of its own. */

import { PortBlock } from "../../deploy/port_block.ts";
import type { NodeKind } from "../../../protocol/view.ts";
import { ChatNode, type ChatNodeOptions } from "./chat_node.ts";
import { ChatNodes, StateHashes, UNHURRIED } from "./chat_nodes.ts";

const HOST = "127.0.0.1";

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
export class ChatFleet extends ChatNodes implements AsyncDisposable {
  readonly #servers: readonly ChatNode[];
  readonly witnesses: readonly ChatNode[];
  readonly #folder = Deno.makeTempDirSync({ prefix: "skein-chat-" });
  readonly #blocks: PortBlock[] = [];
  readonly #extra: ChatNode[] = [];
  readonly #size: FleetSize;
  readonly #hashes = new StateHashes();
  #portCount = 0;

  constructor(size: FleetSize = {}) {
    super();
    this.#size = size;
    const { servers = 3, witnesses = 2 } = size;
    this.#servers = Array.from(
      { length: servers },
      (_, at) => this.#make("server", String.fromCharCode(97 + at)),
    );
    this.witnesses = Array.from(
      { length: witnesses },
      (_, at) => this.#make("witness", `w${at + 1}`),
    );
  }

  override get nodes(): readonly ChatNode[] {
    return [...this.#servers, ...this.witnesses];
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

  /** A path in the fleet's folder. */
  path(name: string): string {
    return `${this.#folder}/${name}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.everyone.map((one) => one[Symbol.asyncDispose]()));
    for (const block of this.#blocks) block[Symbol.dispose]();
    await Deno.remove(this.#folder, { recursive: true });
  }

  protected override get everyone(): readonly ChatNode[] {
    return [...this.nodes, ...this.#extra];
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
      onStatus: (status) => this.#hashes.compare(status),
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
    }, { ...options, environment: { ...UNHURRIED, ...options.environment } });
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
