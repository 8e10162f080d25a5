/** A server of the replicated chat: disk, replica, state, clients and signals. */

import { type Address, formatAddress } from "../../protocol/address.ts";
import type { StoreId } from "../../protocol/epoch.ts";
import { WireError } from "../../protocol/errors.ts";
import { endGroup } from "../../storage/ended_groups.ts";
import { orExit } from "../host/flags.ts";
import { listenAtFree } from "../host/free_port.ts";
import { drawIncarnation } from "../host/link.ts";
import type { Listener } from "../host/listener.ts";
import type { OpenLog } from "../host/log.ts";
import { StartError } from "../host/process.ts";
import { openClientPort } from "./service/client_port.ts";
import { decodeCommand } from "./state/commands.ts";
import { type ChatSettings, parseChatFlags } from "./flags.ts";
import { failNode, GroupNode } from "./group/group_node.ts";
import {
  type GroupNodeLife,
  type LifeParts,
  runGroupNode,
} from "./group/group_process.ts";
import { type ChatStorage, openStorage } from "./open_storage.ts";
import { Passwords, SCRYPT_COST } from "./service/passwords.ts";
import { Scrubber } from "./recovery/scrubber.ts";
import { ChatService, SERVICE_TICK_MS } from "./service/service.ts";
import { chatReadiness } from "./status.ts";

/** Bytes of entries not applied yet that are looked through for an account. */
const UNAPPLIED_BYTES_MAX = 262_144;

/** How often to look whether the state has something to write; it paces itself. */
const MAINTAIN_MS = 100;

/** How long a stop waits for another server to take over, and for open requests. */
const LEAVE_WAIT_MS = 1_500;
const LEAVE_ON_EXIT_WAIT_MS = 3_000;
const LEAVE_FOR_GOOD_WAIT_MS = 15_000;
const REQUESTS_WAIT_MS = 1_500;

/** Runs a chat server until it is told to stop. */
export async function main(args: readonly string[]): Promise<void> {
  if (args[0] === "recover") {
    return await (await import("./recovery/recover.ts")).main(args.slice(1));
  }
  const asked = orExit(() => parseChatFlags(args, Deno.env));
  await runGroupNode(asked, (life) => ChatNode.begin(life));
}

/** One life of a server: until it stops, or its group ends and it begins anew. */
class ChatNode implements GroupNodeLife {
  readonly #settings: ChatSettings;
  readonly #life: LifeParts<ChatSettings>;
  readonly #opened: OpenLog;
  readonly #incarnation = drawIncarnation();
  readonly #storage: ChatStorage;
  readonly #service: ChatService;
  readonly #node: GroupNode;
  readonly #scrubber: Scrubber;
  readonly #clients: Listener;
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  #maintaining: Promise<void> | undefined;
  /** The group has ended: nothing that anybody waits for will be done. */
  #hasEnded = false;

  private constructor(life: LifeParts<ChatSettings>, storage: ChatStorage) {
    const { settings, opened } = life;
    this.#life = life;
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
      onDissolved: (into) =>
        this.#beginAnew(`it gave way to group ${into}, being empty`),
      leave: {
        ...{ node: settings.id, incarnation: this.#incarnation },
        key: settings.key,
        leaveForGood: () => this.#leaveForGood(),
      },
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
      forgetAfterMs: settings.forgetAfterMs,
      incarnation: this.#incarnation,
      opened,
      acceptor,
      log,
      clients: this.#clients.address,
      dissolved: life.dissolved,
      isVoid: () => this.#isVoid(),
      isAppliedVoid: () => state.isVoid,
      onGiveUp: (reason) => this.#beginAnew(reason),
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

  /** Opens what is on disk, and all ports. */
  static async begin(life: LifeParts<ChatSettings>): Promise<ChatNode> {
    const { settings, opened } = life;
    const storage = await openStorage({
      directory: settings.data,
      segmentBytes: settings.segmentBytes,
      journal: opened.log,
    });
    const node = new ChatNode(life, storage);
    await node.#start();
    return node;
  }

  async #start(): Promise<void> {
    const { clientsFrom } = this.#settings;
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
    const { mayMoveClientPort: mayMove } = this.#settings;
    const incarnation = this.#incarnation;
    const self = { cluster, role: "chat", id, incarnation } as const;
    const listen = (address: Address) =>
      openClientPort({
        listen: address,
        ...{ clientsFrom, self, key, service: this.#service },
        log: this.#opened.log,
        advert: (asker) => this.#node.advert(asker),
      });
    try {
      return listenAtFree(listenClients, { mayMove, listen });
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

  /**
   * Whether nobody could miss what is here: there is no account, and none in
   * what is not applied yet. Everything else begins with an account.
   */
  #isVoid(): boolean {
    const { state, log } = this.#storage;
    if (!state.isVoid) return false;
    const { index } = state.applied;
    if (index === log.lastIndex) return true;
    if (index < log.base.index) return false;
    try {
      const entries = log.read(index + 1, { bytesMax: UNAPPLIED_BYTES_MAX });
      for (const { command } of entries) {
        const kind = decodeCommand(command)?.kind;
        // All that comes after it is refused. If it counted, both of two empty
        // groups could end.
        if (kind === "dissolve") return true;
        if (kind === "register") return false;
      }
      return entries.at(-1)?.index === log.lastIndex;
    } catch {
      // It cannot be read: whoever applies it will say so.
      return false;
    }
  }

  /** The group has ended, and nothing was in it. */
  #beginAnew(reason: string): void {
    const group = this.#storage.acceptor.state.accepted?.group;
    if (group === undefined || this.#node.isStopping) return;
    this.#hasEnded = true;
    this.#node.groupEnded();
    this.#opened.log.info("This server's group has ended", { reason });
    try {
      // At once: nothing that is written from here on may look whole after a crash.
      endGroup(this.#settings.data, group);
    } catch (error) {
      return void failNode(this.#opened, error);
    }
    this.#life.onEnded();
  }

  /** @throws {WireError} `busy`: the last server of its group stays. */
  async #leaveForGood(): Promise<void> {
    const { view } = this.#node.replica.group;
    const { store } = this.#storage.acceptor;
    const isOther = (other: StoreId) =>
      other !== store && view?.nodes[other].kind === "server";
    if (view !== undefined && !view.voters.some(isOther)) {
      throw new WireError(
        "busy",
        `"${this.#settings.id}" is the last server of its group: stop it instead`,
      );
    }
    const hasLeft = await this.#node.replica.leave(LEAVE_FOR_GOOD_WAIT_MS, {
      isForGood: true,
      onLate: () => this.#life.onLeft(),
    });
    if (!hasLeft) {
      throw new WireError(
        "timeout",
        `"${this.#settings.id}" could not leave within ${
          LEAVE_FOR_GOOD_WAIT_MS / 1_000
        } s: a majority has to agree; it goes on trying`,
      );
    }
    this.#life.onLeft();
  }

  /** Hands over what it does to others, and ends. */
  async stop(reason: string): Promise<void> {
    const { log } = this.#opened;
    log.info("Stopping", { reason, open: this.#service.openCount });
    this.#node.isStopping = true;
    this.#clients.close();
    // Others take over first: what is under way here is then done by them.
    if (this.#settings.leavesOnExit) await this.#leaveOnExit();
    else await this.#node.replica.leave(LEAVE_WAIT_MS, { isForGood: false });
    await this.close();
    log.info("Stopped", { applied: this.#storage.state.applied.index });
  }

  async #leaveOnExit(): Promise<void> {
    const { log } = this.#opened;
    const hasLeft = await this.#node.replica.leave(LEAVE_ON_EXIT_WAIT_MS, {
      isForGood: true,
    });
    if (hasLeft) log.info("Has left the group for good");
    else log.warn("Could not leave the group: it still counts on this server");
  }

  /** Ends everything in order. */
  async close(): Promise<void> {
    this.#clients.close();
    await this.#service.stop(this.#hasEnded ? 0 : REQUESTS_WAIT_MS);
    for (const timer of this.#timers) clearInterval(timer);
    await this.#node.close();
    await this.#storage.snapshots.close();
    this.#scrubber.close();
    await this.#maintaining;
    const { state, log: segments, acceptor } = this.#storage;
    await state.close();
    await segments.close();
    await acceptor.close();
  }
}
