/** A mesh of real processes on ports and in a folder of its own, with one log. */

import { PortBlock } from "../../deploy/port_block.ts";
import { until } from "../until.ts";
import { MeshServer, type MeshServerOptions } from "./mesh_server.ts";

const HOST = "127.0.0.1";

/** One entry of the shared log. */
export interface LogEntry {
  readonly seq: number;
  readonly time: string;
  readonly server: string;
  readonly type: string;
  readonly from?: string;
  readonly room?: string;
  readonly to?: string;
  readonly text?: string;
}

/** How a mesh is to be. */
export interface MeshFleetOptions {
  /** Default: A, B, C. */
  readonly ids?: readonly string[];
  /** What every server is told beside its own words. */
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Where single servers listen and what they run under, by id. */
  readonly places?: Readonly<
    Record<string, Pick<MeshServerOptions, "under"> & { host: string }>
  >;
  /** Whether each server has a log of its own, as on machines of their own. */
  readonly hasOwnLogs?: boolean;
  /** Where logs are, if not in the fleet's folder. */
  readonly logFolder?: string;
}

/** Servers and files of one test; all are gone when it is disposed of. */
export class MeshFleet implements AsyncDisposable {
  readonly servers: readonly MeshServer[];
  readonly folder = Deno.makeTempDirSync({ prefix: "skein-mesh-" });
  readonly #options: MeshFleetOptions;
  readonly #ports = PortBlock.reserve();
  readonly #extra: MeshServer[] = [];
  #portCount = 0;

  constructor(options: MeshFleetOptions = {}) {
    this.#options = options;
    const { ids = ["A", "B", "C"] } = options;
    this.servers = ids.map((id) => this.#make(id));
    const peers = this.servers.map(({ id, address }) => [id, address]);
    Deno.writeTextFileSync(
      `${this.folder}/peers.json`,
      JSON.stringify(Object.fromEntries(peers)),
    );
  }

  /** Starts all, and waits until each sees each. */
  static async start(options: MeshFleetOptions = {}): Promise<MeshFleet> {
    const fleet = new MeshFleet(options);
    try {
      await Promise.all(fleet.servers.map((server) => server.start()));
      await fleet.whole();
      return fleet;
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A server by its id. */
  server(id: string): MeshServer {
    const found = [...this.servers, ...this.#extra].find((server) =>
      server.id === id
    );
    if (found === undefined) throw new Error(`There is no server ${id}`);
    return found;
  }

  /** A further server, with a port of its own and these words and flags. */
  extra(id: string, ...words: string[]): MeshServer {
    const server = this.#make(id, words);
    this.#extra.push(server);
    return server;
  }

  /** Waits until each of these, by default all, sees exactly these. */
  async whole(servers: readonly MeshServer[] = this.servers): Promise<void> {
    const ids = servers.map(({ id }) => id).sort().join();
    for (const server of servers) {
      await this.until(`${server.id} sees ${ids}`, async () => {
        return (await server.up()).join() === ids;
      });
    }
  }

  /** Waits until all that the fleet began with are linked to each other. */
  async linked(): Promise<void> {
    for (const server of this.servers) {
      await this.until(`${server.id} is linked to all`, async () => {
        const links = await server.metric("skein_mesh_links");
        return links === this.servers.length - 1;
      });
    }
  }

  /** {@linkcode until}; gives up when a server has ended. */
  async until<T>(what: string, look: () => T | Promise<T>) {
    const all = [...this.servers, ...this.#extra];
    return await until(what, look, {
      context: () => all.map((server) => server.describe()).join(""),
      hopeless: () =>
        all.map(({ mishap }) => mishap).find((why) => why !== undefined),
    });
  }

  /** Where the log is; of one server, if each has its own. */
  logPath(id = "shared"): string {
    const { hasOwnLogs, logFolder = `${this.folder}/logs` } = this.#options;
    return `${logFolder}/${hasOwnLogs === true ? `${id}.log` : "chat.log"}`;
  }

  /** All whole lines of the log, as they are. */
  logLines(id?: string): string[] {
    const text = Deno.readTextFileSync(this.logPath(id));
    return text.split("\n").slice(0, -1);
  }

  /** Entries of the log so far. */
  log(id?: string): LogEntry[] {
    return this.logLines(id).map((line) => JSON.parse(line));
  }

  /** Waits for an entry. */
  async logged(
    what: string,
    isIt: (entry: LogEntry) => boolean,
    id?: string,
  ): Promise<LogEntry> {
    return await this.until(
      `${what} is in the log`,
      () => this.log(id).find(isIt),
    );
  }

  /** No gap, no repeat, in order: whoever wrote. */
  checkSequence(id?: string): void {
    const numbers = this.log(id).map(({ seq }) => seq);
    const wrong = numbers.findIndex((seq, at) => seq !== at + 1);
    if (wrong >= 0) {
      throw new Error(`Line ${wrong + 1} of the log has seq ${numbers[wrong]}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [...this.servers, ...this.#extra].map((one) =>
        one[Symbol.asyncDispose]()
      ),
    );
    this.#ports[Symbol.dispose]();
    await Deno.remove(this.folder, { recursive: true });
  }

  #make(id: string, words?: readonly string[]): MeshServer {
    const { places = {}, environment, flags = [] } = this.#options;
    const { host = HOST, under } = places[id] ?? {};
    const port = this.#port();
    const admin = `${host}:${this.#port()}`;
    // As the seed has it.
    const own = words ??
      [id, host, String(port), this.logPath(id), `${this.folder}/peers.json`];
    return new MeshServer(id, {
      ...{ address: `${host}:${port}`, admin, folder: this.folder },
      arguments: () => [
        ...own,
        // Whatever becomes of the test, no server stays behind.
        ...["--admin", admin, "--exit-with-parent"],
        ...flags,
      ],
      ...environment !== undefined && { environment },
      ...under !== undefined && { under },
    });
  }

  #port(): number {
    const at = this.#portCount++;
    if (at >= PortBlock.count) throw new Error("No more ports");
    return this.#ports.base + at;
  }
}
