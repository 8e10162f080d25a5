/** A chain of real processes on ports and in a folder of its own. */

import { PortBlock } from "../deploy/port_block.ts";
import { ChainNode, type NodeOptions } from "./chain_node.ts";
import { program } from "./program.ts";
import { SendProcess } from "./send_process.ts";
import { until } from "./until.ts";

const HOST = "127.0.0.1";

/** Nodes beyond it have no ports; the last port of a block reserves it. */
const NODES_MAX = Math.floor(PortBlock.count / 2);

/** The four of a whole chain, from the client to the end. */
export interface FourNodes {
  readonly head: ChainNode;
  readonly second: ChainNode;
  readonly third: ChainNode;
  readonly tail: ChainNode;
}

/** What `skein send` is told. */
export interface SendOptions {
  /** Names of nodes, first choice first. */
  readonly to: readonly string[];
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Default: nothing is typed or piped. */
  readonly input?: "piped" | "null";
  /** What to run it under: `ip netns exec …`, for one. */
  readonly under?: readonly string[];
}

/** Nodes, senders and files of one test; all are gone when it is disposed of. */
export class ChainFleet implements AsyncDisposable {
  readonly #folder = Deno.makeTempDirSync({ prefix: "skein-process-" });
  readonly #ports = PortBlock.reserve();
  readonly #nodes: ChainNode[] = [];
  readonly #places = new Map<string, number>();
  readonly #hosts = new Map<string, string>();
  readonly #sends: SendProcess[] = [];

  /** Declares a node; its successors may be declared later. */
  node(name: string, options: NodeOptions = {}): ChainNode {
    const { next = [], flags = [], host } = options;
    if (host !== undefined) this.#hosts.set(name, host);
    const place = this.#place(name);
    const admin = `${HOST}:${this.#ports.base + NODES_MAX + place}`;
    const node = new ChainNode(name, {
      ...options,
      address: this.address(name),
      admin,
      folder: this.#folder,
      arguments: () => [
        ...["-l", this.address(name), "--id", name, "--admin", admin],
        // Whatever becomes of the test, no node stays behind.
        "--exit-with-parent",
        ...next.length === 0
          ? []
          : ["-n", next.map((one) => this.address(one)).join()],
        ...flags,
      ],
    });
    this.#nodes.push(node);
    return node;
  }

  /** Declares head, second, third and tail, with further flags for each. */
  fourNodes(
    flags: { readonly [Name in keyof FourNodes]?: readonly string[] } = {},
  ): FourNodes {
    const { head = [], second = [], third = [], tail = [] } = flags;
    return {
      head: this.node("head", { next: ["second"], flags: head }),
      second: this.node("second", { next: ["third"], flags: second }),
      third: this.node("third", { next: ["tail"], flags: third }),
      tail: this.node("tail", { flags: tail }),
    };
  }

  /** Starts nodes, one after the other; by default all, as declared. */
  async start(nodes: readonly ChainNode[] = this.#nodes) {
    for (const node of nodes) node.launch();
    for (const node of nodes) await node.process.line(/"Listening on /);
  }

  /** Starts all nodes and waits until each of them reaches the tail. */
  async startReady(): Promise<void> {
    await this.start();
    await this.ready();
  }

  /** Waits until nodes reach the tail; by default all. */
  async ready(nodes: readonly ChainNode[] = this.#nodes) {
    for (const node of nodes) await node.ready();
  }

  /** Where a node listens, declared or not. */
  address(name: string): string {
    return `${this.#hosts.get(name) ?? HOST}:${this.port(name)}`;
  }

  /** The port where a node listens. */
  port(name: string): number {
    return this.#ports.base + this.#place(name);
  }

  /** A path in the fleet's folder. */
  path(name: string): string {
    return `${this.#folder}/${name}`;
  }

  /** Writes a file into the fleet's folder. */
  file(name: string, content: Uint8Array | string): string {
    const path = this.path(name);
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  /** Bytes in a file of the fleet's folder; 0 when there is none. */
  fileSize(name: string): number {
    try {
      return Deno.statSync(this.path(name)).size;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
  }

  /** Starts `skein send`. */
  send(options: SendOptions): SendProcess {
    const { to, flags = [], input = "null", environment, under = [] } = options;
    const process = new SendProcess({
      name: `send${this.#sends.length + 1}`,
      command: [
        ...under,
        ...program("skein"),
        ...["send", "-c", to.map((name) => this.address(name)).join()],
        ...flags,
      ],
      folder: this.#folder,
      input,
      ...(environment !== undefined && { environment }),
    });
    this.#sends.push(process);
    return process;
  }

  /** Connects to a node as any program would. */
  async connect(name: string): Promise<Deno.TcpConn> {
    return await Deno.connect({ hostname: HOST, port: this.port(name) });
  }

  /** Waits; fails early when a node ends that nobody ended. */
  async until<T>(what: string, look: () => T | Promise<T>) {
    return await until(what, look, {
      context: () => this.describe(),
      hopeless: () => this.#mishap(),
    });
  }

  /** Waits until a file of the fleet's folder has so many bytes. */
  async grown(name: string, bytes: number): Promise<void> {
    await this.until(
      `"${name}" has ${bytes} bytes`,
      () => this.fileSize(name) >= bytes,
    );
  }

  /** Waits until a node has turned its traffic to another one. */
  async sendingTo(node: ChainNode, name: string): Promise<void> {
    await this.until(
      `${node.name} sends to ${name}`,
      () => node.target === this.address(name),
    );
  }

  /** All nodes and senders with their last lines, for failure texts. */
  describe(): string {
    return [...this.#nodes, ...this.#sends]
      .map((one) => one.describe()).join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes) node.expectEnd();
    await Promise.all(
      [...this.#sends, ...this.#nodes]
        .map((one) => one[Symbol.asyncDispose]()),
    );
    this.#ports[Symbol.dispose]();
    Deno.removeSync(this.#folder, { recursive: true });
  }

  #mishap(): string | undefined {
    for (const node of this.#nodes) {
      if (node.mishap !== undefined) return node.mishap;
    }
    return undefined;
  }

  #place(name: string): number {
    const place = this.#places.get(name) ?? this.#places.size;
    if (place >= NODES_MAX) throw new Error(`More than ${NODES_MAX} nodes`);
    this.#places.set(name, place);
    return place;
  }
}
