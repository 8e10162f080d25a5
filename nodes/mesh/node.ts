/** A server of the mesh chat: its core, wired to sockets, log and signals. */

import {
  type Address,
  formatAddress,
  parseAddress,
} from "../../protocol/address.ts";
import type { WireError } from "../../protocol/errors.ts";
import type { Identity } from "../../protocol/handshake.ts";
import { formatPlain } from "../../protocol/mesh_answers.ts";
import { StorageError } from "../../storage/errors.ts";
import { type Admin, startAdmin } from "../host/admin.ts";
import { formatChoice } from "../host/discovery/discover_flags.ts";
import { registerDiscoveryMetrics } from "../host/discovery/metrics.ts";
import { serveDiscoverAsk } from "../host/discovery/tcp_answer.ts";
import { orExit, VERSION } from "../host/flags.ts";
import { listenAtFree } from "../host/free_port.ts";
import { drawIncarnation, type Greeting, type OpenLink } from "../host/link.ts";
import { Listener } from "../host/listener.ts";
import { type OpenLog, openLog } from "../host/log.ts";
import { openMetrics } from "../host/metrics.ts";
import { StartError, stopOnSignals } from "../host/process.ts";
import { settleWithin } from "../host/settle_within.ts";
import { SeldomLog } from "../host/seldom_log.ts";
import { mayBeHttp } from "./clients/http_request.ts";
import { MeshClients } from "./clients/mesh_clients.ts";
import {
  DEFAULT_MESH_TIMING,
  type MeshEffect,
  type MeshInput,
} from "./contract.ts";
import { MeshCore } from "./core.ts";
import { meshAdvert, MeshDiscovery } from "./discovery.ts";
import { defaultMeshId, type MeshSettings, parseMeshFlags } from "./flags.ts";
import { MeshLog } from "./mesh_log.ts";
import { registerMeshMetrics } from "./metrics.ts";
import { mayDial, ownAddress } from "./own_address.ts";
import { Peers } from "./peers.ts";

/** Connections of people at once; beyond it they are told so. */
const CLIENTS_MAX = 10_000;

/** Connections beyond those: other servers, and who has not said yet what it is. */
const CONNECTIONS_SPARE = 1_024;

/** How often servers that others know are dialled as well. */
const MEET_MS = 2_000;

/** How long a stop waits for other servers to hear of it. */
const PEERS_WAIT_MS = 1_000;

/** How long a stop waits for what is still to be written to the log. */
const LOG_WAIT_MS = 1_500;

/** The client that stands for the server's operator; none has this number. */
const OPERATOR = 0;

/** Runs a mesh server until it is told to stop. */
export async function main(args: readonly string[]): Promise<void> {
  const settings = orExit(() => parseMeshFlags(args, Deno.env));
  const opened = openLog({
    node: settings.id ?? "mesh",
    level: settings.logLevel,
  });
  try {
    await MeshNode.run(settings, opened);
  } catch (error) {
    await fail(opened, error);
  }
}

/** Says why the server cannot go on, and ends it. */
async function fail(opened: OpenLog, error: unknown): Promise<never> {
  if (error instanceof StorageError || error instanceof StartError) {
    opened.log.error(error.message);
  } else opened.log.error("The server failed", { error });
  await opened.flush();
  Deno.exit(1);
}

/** What stands before anybody is let in. */
interface Door {
  readonly listener: Listener;
  readonly self: Identity;
  readonly greeting: Greeting;
}

class MeshNode {
  readonly #settings: MeshSettings;
  readonly #opened: OpenLog;
  readonly #door: Door;
  readonly #address: Address;
  readonly #log: MeshLog;
  readonly #core: MeshCore;
  readonly #peers: Peers;
  readonly #clients: MeshClients;
  readonly #discovery: MeshDiscovery | undefined;
  readonly #reports: SeldomLog;
  readonly #inputs: MeshInput[] = [];
  #isStepping = false;
  #tick: ReturnType<typeof setTimeout> | undefined;
  #meeting: ReturnType<typeof setInterval> | undefined;
  #admin: Admin | undefined;
  #isStopping = false;

  private constructor(
    settings: MeshSettings,
    parts: {
      readonly opened: OpenLog;
      readonly door: Door;
      readonly log: MeshLog;
    },
  ) {
    const { opened, door, log } = parts;
    const { id, cluster } = door.self;
    this.#settings = settings;
    this.#opened = opened;
    this.#door = door;
    this.#log = log;
    this.#reports = new SeldomLog(opened.log);
    this.#address = settings.advertise ??
      ownAddress(door.listener.address, Deno.networkInterfaces());
    this.#core = new MeshCore({
      ...{ id, cluster, generation: Date.now() },
      topology: settings.topology,
      timing: DEFAULT_MESH_TIMING,
      recent: settings.recent,
      clientsMax: CLIENTS_MAX,
      address: formatAddress(this.#address),
    });
    const input = (one: MeshInput) => this.#input(one);
    this.#peers = new Peers({
      ...{ greeting: door.greeting, log: opened.log, input },
      silentMsMax: settings.peerTimeoutMs,
    });
    this.#clients = new MeshClients({
      ...{ server: id, input, log: opened.log, connectionsMax: CLIENTS_MAX },
      history: (question) => log.history(question),
      status: () => this.#core.status,
      isLogFull: () => log.isFull,
      whenLogGoesOn: () => log.whenGoesOn(),
      isKeyed: settings.key !== undefined,
      allowOrigins: settings.allowOrigins,
    });
    this.#discovery = this.#discover();
  }

  /** Starts a server; it lives until the process ends. */
  static async run(settings: MeshSettings, opened: OpenLog): Promise<void> {
    const ready = Promise.withResolvers<MeshNode>();
    const door = openDoor(settings, { opened, ready: ready.promise });
    const log = await MeshLog.open({
      path: settings.logFile,
      server: door.self.id,
      fileBytesMax: settings.logFileBytesMax,
      filesMax: settings.logFilesMax,
      log: opened.log,
    });
    const node = new MeshNode(settings, { opened, door, log });
    await node.#start();
    ready.resolve(node);
  }

  async #start(): Promise<void> {
    const { admin, peers, exitWithParent } = this.#settings;
    stopOnSignals({
      log: this.#opened,
      exitWithParent,
      stop: (reason) => this.#stop(reason),
    });
    this.#announce();
    this.#input({ kind: "start", timeMs: Date.now() });
    for (const peer of peers) {
      this.#peers.meet({ ...peer, isConfigured: true });
    }
    this.#meeting = setInterval(() => this.#meetOthers(), MEET_MS);
    if (admin !== undefined) await this.#openAdmin(admin);
  }

  #announce(): void {
    const { log } = this.#opened;
    const { key, clientsFrom, discover, logFile, peers, topology, warnings } =
      this.#settings;
    const { self, listener } = this.#door;
    for (const warning of warnings) log.warn(warning);
    log.info(
      `Server ${self.id} listens on ${formatAddress(listener.address)}`,
      {
        ...{ version: VERSION, topology },
        advertised: formatAddress(this.#address),
      },
    );
    log.info(`Keeps the log in ${logFile}`);
    const others = peers.filter(({ id }) => id !== self.id);
    log.info(
      discover !== undefined
        ? `Looks for other servers: ${formatChoice(discover)}`
        : others.length === 0
        ? "Is alone: no other server is named, and none is looked for"
        : `Other servers: ${
          others.map(({ id, address }) => `${id} at ${formatAddress(address)}`)
            .join(", ")
        }`,
    );
    if (key === undefined) {
      log.warn(
        `No cluster key: other servers may come in from every loopback, link-local and private address, people from ${
          clientsFrom === "private" ? "there as well" : clientsFrom
        }`,
      );
    }
  }

  #discover(): MeshDiscovery | undefined {
    const { discover: where, isDiscoverSaid: isSaid, key } = this.#settings;
    if (where === undefined) return undefined;
    return new MeshDiscovery({
      ...{ where, isSaid, key, self: this.#door.self, peers: this.#peers },
      advert: () => this.#advert(),
      log: this.#opened.log,
    });
  }

  #advert() {
    return meshAdvert(this.#door.self, {
      listen: this.#door.listener.address,
      isOpen: this.#settings.key === undefined,
    });
  }

  /** Servers that this one knows of through others only: the mesh is to be full. */
  #meetOthers(): void {
    const { key } = this.#settings;
    for (const { id, up, address } of this.#core.status.servers) {
      if (!up || address === undefined || this.#peers.isLinked(id)) continue;
      const place = addressOf(address);
      const isKeyed = key !== undefined;
      if (place === undefined) continue;
      if (!mayDial(place, { own: this.#address, isKeyed })) continue;
      this.#peers.meet({ id, address: place, isConfigured: false });
    }
  }

  /** Takes a link whose other side has shown who it is. */
  accept(open: OpenLink): void {
    const { listener } = this.#door;
    if (open.peer.role === "mesh") {
      return this.#peers.accept(open, () => listener.release());
    }
    const advert = (asker?: Parameters<MeshDiscovery["heard"]>[0]) => {
      if (asker !== undefined) this.#discovery?.heard(asker);
      return this.#advert();
    };
    void serveDiscoverAsk(open, advert).then(() => listener.release());
  }

  /** Takes a connection that speaks lines or HTTP. */
  acceptClient(...[link, first]: Parameters<ListenerLines>): void {
    const { listener } = this.#door;
    this.#clients.open(link, first, () => listener.release());
  }

  // The core

  /** Steps the core; inputs that come up meanwhile wait their turn. */
  #input(input: MeshInput): void {
    this.#inputs.push(input);
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) {
        const effects = this.#core.step(next, performance.now());
        for (const effect of effects) this.#act(effect);
      }
    } catch (error) {
      // Our own mistake: go no further.
      void fail(this.#opened, error);
    } finally {
      this.#isStepping = false;
    }
  }

  #act(effect: MeshEffect): void {
    switch (effect.kind) {
      case "send":
        return this.#peers.send(effect.link, effect.message);
      case "close":
        return this.#peers.close(effect.link, effect.error);
      case "deliver":
        return this.#clients.deliver(effect.message);
      case "tell":
        return this.#tell(effect);
      case "end-client":
        return this.#clients.endClient(effect.client);
      case "log":
        return this.#log.write(effect.entry);
      case "report":
        return this.#report(effect);
      case "timer":
        clearTimeout(this.#tick);
        this.#tick = setTimeout(
          () => this.#input({ kind: "tick", timeMs: Date.now() }),
          effect.afterMs,
        );
        return;
    }
  }

  #tell(effect: Extract<MeshEffect, { kind: "tell" }>): void {
    if (effect.isOnceLogged === undefined) return this.#clients.tell(effect);
    this.#log.afterWritten(() => this.#clients.tell(effect));
  }

  #report(
    { level, text, fields }: Extract<MeshEffect, { kind: "report" }>,
  ): void {
    if (level === "debug") return this.#opened.log.debug(text, fields);
    // News of a kind come again: a server is down, and up, and down.
    this.#reports.say(level, level === "info" ? "news" : text, {
      message: text,
      ...fields !== undefined && { fields },
    });
  }

  // Admin pages

  async #openAdmin(listen: Address): Promise<void> {
    const { id } = this.#door.self;
    const metrics = await openMetrics({
      ...{ node: id, role: "mesh", version: VERSION },
    });
    registerMeshMetrics(metrics, {
      ...{ core: this.#core, peers: this.#peers, log: this.#log },
      clients: this.#clients,
      refusedConnections: () => this.#door.listener.refused,
    });
    const discovery = this.#discovery;
    if (discovery !== undefined) {
      registerDiscoveryMetrics(metrics, () => discovery.counters);
    }
    this.#admin = startAdmin({
      ...{ listen, nodeId: id, role: "mesh", registry: metrics.registry },
      readiness: () => this.#readiness(),
      state: () => this.#state(),
      log: this.#opened.log,
    });
    this.#opened.log.info(
      `Admin pages on http://${formatAddress(this.#admin.address)}/`,
    );
  }

  #readiness() {
    const { trouble } = this.#log;
    const reasons: string[] = [];
    if (this.#isStopping) reasons.push("This server is stopping");
    else if (this.#core.status.draining) {
      reasons.push("This server is being emptied");
    }
    if (trouble !== undefined) reasons.push(`The log: ${trouble}`);
    return { ready: reasons.length === 0, reasons };
  }

  #state() {
    return {
      status: this.#core.status,
      core: this.#core.describe(),
      peers: this.#peers.states,
      links: this.#peers.counters,
      log: {
        file: this.#settings.logFile,
        queuedBytes: this.#log.queuedBytes,
        lostEntries: this.#log.lostEntries,
        ...this.#log.counters,
      },
      clients: { connections: this.#clients.count, ...this.#clients.counters },
    };
  }

  // End

  async #stop(reason: string): Promise<void> {
    const { log } = this.#opened;
    this.#isStopping = true;
    log.info("Stopping", { reason, clients: this.#core.status.clients });
    this.#door.listener.close();
    this.#discovery?.close();
    clearInterval(this.#meeting);
    // People are told where to go on before their connections end.
    this.#input({
      ...{ kind: "drain", client: OPERATOR, isUndone: false },
      timeMs: Date.now(),
    });
    await this.#clients.stop();
    await Promise.all([
      settleWithin(this.#peers.stop(), PEERS_WAIT_MS),
      this.#admin?.close(),
    ]);
    clearTimeout(this.#tick);
    this.#log.write({ type: "stop", timeMs: Date.now(), text: reason });
    await this.#log.close(LOG_WAIT_MS);
    if (this.#log.lostEntries > 0) {
      log.warn("Entries could not be kept in the log", {
        lost: this.#log.lostEntries,
      });
    }
    log.info("Stopped");
  }
}

type ListenerLines = ConstructorParameters<typeof Listener>[0]["onLines"];

/** Listens; who comes in before the server is `ready` waits for it. */
function openDoor(
  settings: MeshSettings,
  { opened, ready }: {
    readonly opened: OpenLog;
    readonly ready: Promise<MeshNode>;
  },
): Door {
  const { cluster, key, peerTimeoutMs, clientsFrom, mayMovePort } = settings;
  const incarnation = drawIncarnation();
  const hostname = Deno.env.get("HOSTNAME") || Deno.hostname();
  const listen = (address: Address): Door => {
    const id = settings.id ?? defaultMeshId(hostname, address.port);
    const self: Identity = { cluster, role: "mesh", id, incarnation };
    const greeting = (accepts: Greeting["accepts"]): Greeting => ({
      ...{ self, accepts },
      ...key !== undefined && { key },
    });
    const listener = new Listener({
      listen: address,
      greeting: greeting(["mesh", "client"]),
      silentMsMax: peerTimeoutMs,
      lines: clientsFrom,
      connectionsMax: CLIENTS_MAX + CONNECTIONS_SPARE,
      log: opened.log,
      onLink: (open) => void ready.then((node) => node.accept(open)),
      onLines: (link, first) =>
        void ready.then((node) => node.acceptClient(link, first)),
      lineRefusal,
    });
    return { listener, self, greeting: greeting(["mesh"]) };
  };
  try {
    return listenAtFree(settings.listen, { mayMove: mayMovePort, listen });
  } catch (cause) {
    throw new StartError(
      `Cannot listen at "${formatAddress(settings.listen)}": ${
        cause instanceof Error ? cause.message : String(cause)
      }`,
      { cause },
    );
  }
}

/** What another server says of itself may be no address. */
function addressOf(text: string): Address | undefined {
  try {
    const address = parseAddress(text);
    return address.port === 0 ? undefined : address;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** In the way that whoever is refused speaks. */
function lineRefusal(error: WireError, first: Uint8Array): string {
  const { code, message: text } = error;
  if (!mayBeHttp(first)) {
    return `${formatPlain({ type: "error", text, code }) ?? ""}\n`;
  }
  return `HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n${text}\n`;
}
