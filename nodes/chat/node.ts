/** A server of the replicated chat: disk, replica, state, clients and signals. */

import { formatAddress } from "../../protocol/address.ts";
import { DirectoryLock } from "../../storage/directory_lock.ts";
import { orExit } from "../host/flags.ts";
import { drawIncarnation } from "../host/link.ts";
import type { Listener } from "../host/listener.ts";
import { type OpenLog, openLog } from "../host/log.ts";
import { StartError, stopOnSignals } from "../host/process.ts";
import { openClientPort } from "./client_port.ts";
import { type ChatSettings, parseChatFlags } from "./flags.ts";
import { failNode, GroupNode } from "./group_node.ts";
import { type ChatStorage, openStorage } from "./open_storage.ts";
import { Passwords, SCRYPT_COST } from "./passwords.ts";
import { Scrubber } from "./scrubber.ts";
import { ChatService, SERVICE_TICK_MS } from "./service.ts";
import { chatReadiness } from "./status.ts";

/** How often to look whether the state has something to write; it paces itself. */
const MAINTAIN_MS = 100;

/** How long a stop waits for another server to take over, and for open requests. */
const LEAVE_WAIT_MS = 1_500;
const REQUESTS_WAIT_MS = 1_500;

/** Runs a chat server until it is told to stop. */
export async function main(args: readonly string[]): Promise<void> {
  if (args[0] === "recover") {
    return await (await import("./recover.ts")).main(args.slice(1));
  }
  const settings = orExit(() => parseChatFlags(args, Deno.env));
  const opened = openLog({ node: settings.id, level: settings.logLevel });
  try {
    await ChatNode.run(settings, opened);
  } catch (error) {
    await failNode(opened, error);
  }
}

class ChatNode {
  readonly #settings: ChatSettings;
  readonly #opened: OpenLog;
  readonly #storage: ChatStorage;
  readonly #service: ChatService;
  readonly #node: GroupNode;
  readonly #scrubber: Scrubber;
  readonly #clients: Listener;
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  #maintaining: Promise<void> | undefined;

  private constructor(
    settings: ChatSettings,
    opened: OpenLog,
    storage: ChatStorage,
  ) {
    this.#settings = settings;
    this.#opened = opened;
    this.#storage = storage;
    const { state, snapshots, acceptor, log } = storage;
    this.#service = new ChatService({
      state,
      passwords: new Passwords({
        cost: { ...SCRYPT_COST, ln: settings.passwordCost },
      }),
      log: opened.log,
      nowMs: () => performance.now(),
      wallMs: () => Date.now(),
      randomHex: (bytes) =>
        crypto.getRandomValues(new Uint8Array(bytes)).toHex(),
      defer: queueMicrotask,
      status: () => this.#status(),
      onFatal: (error) => void failNode(opened, error),
    });
    this.#scrubber = new Scrubber({
      log,
      bytesPerSecond: settings.scrubBytes,
      fetch: (range) => this.#node.replica.fetchEntries(range),
      onFatal: (error) => void failNode(opened, error),
      journal: opened.log,
    });
    this.#clients = this.#listen();
    this.#node = new GroupNode({
      settings,
      kind: "server",
      priority: settings.priority,
      isSticky: settings.isSticky,
      opened,
      acceptor,
      log,
      clientAddress: formatAddress(this.#clients.address),
      serveSnapshots: (link, ask) => snapshots.serve(link, ask),
      installSnapshot: async (from) => {
        const position = await snapshots.fetch(from, this.#node.replica.peers);
        this.#service.stateReplaced();
        return position;
      },
      mendLog: (damage) => this.#scrubber.mend(damage),
      appliedIndex: state.applied.index,
      events: this.#service,
    });
    this.#service.start(this.#node.replica);
  }

  /** Starts a server; it lives until the process ends. */
  static async run(settings: ChatSettings, opened: OpenLog): Promise<void> {
    const storage = await openStorage({
      lock: DirectoryLock.acquire(settings.data),
      segmentBytes: settings.segmentBytes,
      journal: opened.log,
    });
    const node = new ChatNode(settings, opened, storage);
    await node.#start();
  }

  async #start(): Promise<void> {
    const { exitWithParent, clientsFrom } = this.#settings;
    stopOnSignals({
      log: this.#opened,
      exitWithParent,
      stop: (reason) => this.#stop(reason),
    });
    this.#node.announce({
      clients: formatAddress(this.#clients.address),
      clientsFrom,
      applied: this.#storage.state.applied.index,
    });
    this.#timers.push(
      setInterval(() => this.#service.tick(), SERVICE_TICK_MS),
      setInterval(() => this.#maintain(), MAINTAIN_MS),
    );
    await this.#node.startAdmin({
      status: () => this.#status(),
      readiness: (status) =>
        chatReadiness(status, { isStopping: this.#node.isStopping }),
      counters: () => this.#counters(),
    });
  }

  #listen(): Listener {
    const { listenClients, clientsFrom, key, cluster, id } = this.#settings;
    const incarnation = drawIncarnation();
    try {
      return openClientPort({
        listen: listenClients,
        clientsFrom,
        self: { cluster, role: "chat", id, incarnation },
        key,
        service: this.#service,
        log: this.#opened.log,
      });
    } catch (cause) {
      throw new StartError(
        `Cannot listen for clients at "${formatAddress(listenClients)}": ${
          cause instanceof Error ? cause.message : String(cause)
        }`,
        { cause },
      );
    }
  }

  #status() {
    const { state } = this.#storage;
    return this.#node.status({
      appliedIndex: state.applied.index,
      hash: state.hash,
      clients: this.#service.clientCount,
    });
  }

  #counters() {
    const { replica } = this.#node;
    const { state, log } = this.#storage;
    return {
      ...replica.counters,
      openProposals: this.#service.openCount,
      commitLatencies: this.#service.counters.latencies,
      sessions: state.counts.sessions,
      users: state.counts.users,
      logBytes: log.activeBytes,
      refusedConnections: replica.peers.refused + this.#clients.refused,
      refusedRequests: this.#service.counters.refusedRequests,
      scrub: this.#scrubber.counters,
    };
  }

  /** Writes what is applied, and compacts the log when a snapshot is due; one at a time. */
  #maintain(): void {
    const { state, snapshots } = this.#storage;
    if (this.#maintaining !== undefined || snapshots.isInstalling) return;
    this.#scrubber.tick(performance.now());
    const isDue = snapshots.isDue ||
      this.#scrubber.needsSnapshot(state.applied.index);
    if (!state.hasWork && !isDue) return;
    const work = async () => {
      try {
        if (state.hasWork) await state.maintain();
        if (isDue) {
          const index = await snapshots.take();
          await this.#node.replica.compact(index);
        }
      } catch (error) {
        await failNode(this.#opened, error);
      } finally {
        this.#maintaining = undefined;
      }
    };
    this.#maintaining = work();
  }

  async #stop(reason: string): Promise<void> {
    const { log } = this.#opened;
    log.info("Stopping", { reason, open: this.#service.openCount });
    this.#node.isStopping = true;
    this.#clients.close();
    // Others take over first: what is under way here is then done by them.
    await this.#node.replica.leave(LEAVE_WAIT_MS);
    await this.#service.stop(REQUESTS_WAIT_MS);
    for (const timer of this.#timers) clearInterval(timer);
    await this.#node.close();
    this.#storage.snapshots.close();
    this.#scrubber.close();
    await this.#maintaining;
    const { state, log: segments, acceptor, lock } = this.#storage;
    await state.close();
    await segments.close();
    await acceptor.close();
    lock.release();
    log.info("Stopped", { applied: state.applied.index });
  }
}
