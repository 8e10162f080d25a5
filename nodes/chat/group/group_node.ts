/** What a chat server and a witness have in common: links, replica, admin page. */

import { type Address, formatAddress } from "../../../protocol/address.ts";
import type { Advert } from "../../../protocol/discovery.ts";
import type { StoreId } from "../../../protocol/epoch.ts";
import type { Frame } from "../../../protocol/frame.ts";
import type { Incarnation } from "../../../protocol/ids.ts";
import type { LogPosition } from "../../../protocol/replica.ts";
import type { NodeStatus } from "../../../protocol/status.ts";
import type { NodeKind, View } from "../../../protocol/view.ts";
import type { Peer } from "../../../election/membership.ts";
import type { AcceptorFile } from "../../../storage/acceptor_file.ts";
import { StorageError } from "../../../storage/errors.ts";
import type { SegmentLog } from "../../../storage/segment_log.ts";
import { type Admin, type Readiness, startAdmin } from "../../host/admin.ts";
import { VERSION } from "../../host/flags.ts";
import type { Asker } from "../../host/discovery/tcp_answer.ts";
import { listenAtFree } from "../../host/free_port.ts";
import type { OpenLog } from "../../host/log.ts";
import { registerDiscoveryMetrics } from "../../host/discovery/metrics.ts";
import { openMetrics } from "../../host/metrics.ts";
import { StartError } from "../../host/process.ts";
import type { CommittedLogEvents } from "../replica/committed_log.ts";
import { encodeCommand } from "../state/commands.ts";
import { DiskUsage } from "../disk_usage.ts";
import type { FrameLink } from "../../host/frame_link.ts";
import { GroupDiscovery } from "./group_discovery.ts";
import type { NodeSettings } from "./group_flags.ts";
import { Introduction } from "./introduction.ts";
import { type ChatCounters, registerChatMetrics } from "../metrics.ts";
import { PeerLinks } from "../links/peers.ts";
import { Replica } from "../replica/replica.ts";
import type { ReplicaParts } from "../replica/replica_parts.ts";
import { ownAdvert, ownGroup } from "./own_advert.ts";
import { nodeStatus } from "../status.ts";

/** A dead link is noticed after so many times the suspicion; the core is quicker. */
const LINK_SILENCE = 10;

/** How long this node may be told that another process has its id. */
const ID_TAKEN_MS = 3_000;

/** What one of the two programs adds to its settings. */
export interface GroupNodeParts {
  readonly settings: NodeSettings;
  readonly kind: NodeKind;
  readonly priority: number;
  readonly isSticky: boolean;
  readonly forgetAfterMs: number | undefined;
  /** Drawn when this life of the node began. */
  readonly incarnation: Incarnation;
  readonly opened: OpenLog;
  readonly acceptor: AcceptorFile;
  /** Undefined for a witness, as are the three after it. */
  readonly log: SegmentLog | undefined;
  /** Where people are let in; a witness has no such place. */
  readonly clients: Address | undefined;
  /** Groups that ended in this directory. */
  readonly dissolved: readonly StoreId[];
  /** Whether nothing is kept here that anybody could miss. */
  readonly isVoid: () => boolean;
  /** The same of what is applied. */
  readonly isAppliedVoid: () => boolean;
  /** The group ended without this node: begin anew. */
  readonly onGiveUp: (reason: string) => void;
  readonly serveSnapshots:
    | ((link: FrameLink, ask: Frame) => Promise<void>)
    | undefined;
  readonly installSnapshot: (from: StoreId) => Promise<LogPosition>;
  /** See {@linkcode ReplicaParts.mendLog}; a witness leaves it out. */
  readonly mendLog?: ReplicaParts["mendLog"];
  readonly appliedIndex: number;
  readonly events: CommittedLogEvents;
}

/** What a status shows that the shared part does not know. */
export interface StatusExtras {
  readonly appliedIndex: number;
  readonly hash: string;
  readonly clients: number;
}

/** A running part of a group, with its pages. */
export class GroupNode {
  readonly replica: Replica;
  isStopping = false;
  readonly #parts: GroupNodeParts;
  readonly #disk: DiskUsage;
  #view: View | undefined;
  #viewSinceMs = 0;
  #admin: Admin | undefined;
  readonly #self: Omit<Peer, "group">;
  readonly #discovery: GroupDiscovery | undefined;
  readonly #introduction: Introduction;
  #hasEnded = false;
  /** Since when and when last the group said that another process is this node. */
  #told = { sinceMs: -Infinity, lastMs: -Infinity };

  /** @throws {StartError} The replica port cannot be used. */
  constructor(parts: GroupNodeParts) {
    this.#parts = parts;
    const { settings, kind, acceptor, priority, isSticky } = parts;
    this.#disk = new DiskUsage(settings.data);
    this.#introduction = new Introduction(settings, parts.opened.log);
    const { incarnation } = parts;
    const { id, timing } = settings;
    const { store } = acceptor;
    this.#self = { id, kind, priority, store, incarnation };
    this.replica = new Replica({
      core: {
        self: { ...this.#self, group: acceptor.state.accepted?.group },
        founders: settings.group.map((node) => ({
          id: node.id,
          kind: node.kind,
        })),
        sticky: isSticky,
        ...parts.forgetAfterMs !== undefined &&
          { forgetAfterMs: parts.forgetAfterMs },
        timing,
        seed: crypto.getRandomValues(new Uint32Array(1))[0],
      },
      acceptorState: acceptor.state,
      acceptor,
      directory: settings.data,
      log: parts.log,
      appliedIndex: parts.appliedIndex,
      events: {
        committed: (entries) => parts.events.committed(entries),
        groupChanged: (state) => {
          if (state.view !== this.#view) this.#viewSinceMs = performance.now();
          this.#view = state.view;
          this.#introduction.viewChanged(state.view);
          this.#discovery?.groupChanged();
          parts.events.groupChanged(state);
        },
      },
      installSnapshot: parts.installSnapshot,
      mendLog: parts.mendLog,
      onFatal: (error) => void failNode(parts.opened, error),
      journal: parts.opened.log,
      connect: (onInputs) => this.#connect(incarnation, onInputs),
    });
    this.#discovery = this.#discover();
  }

  /** Opens the admin page, if there is to be one. */
  async startAdmin(pages: {
    status: () => NodeStatus;
    readiness: (status: NodeStatus) => Readiness;
    counters: () => ChatCounters;
  }): Promise<void> {
    const { settings, kind, opened } = this.#parts;
    if (settings.admin === undefined) return;
    const role = kind === "server" ? "chat" : "witness";
    const metrics = await openMetrics({
      node: settings.id,
      role,
      version: VERSION,
    });
    registerChatMetrics(metrics, pages);
    const discovery = this.#discovery;
    if (discovery !== undefined) {
      registerDiscoveryMetrics(metrics, () => discovery.counters);
    }
    this.#admin = startAdmin({
      listen: settings.admin,
      nodeId: settings.id,
      role,
      readiness: () => pages.readiness(pages.status()),
      state: () => ({ ...pages.status(), core: this.replica.describe() }),
      registry: metrics.registry,
      log: opened.log,
    });
  }

  /** As everybody may know it. */
  status(extras: StatusExtras): NodeStatus {
    const { settings, kind, acceptor } = this.#parts;
    const { progress, group, commitIndex } = this.replica;
    const disk = this.#disk.read(performance.now());
    const { peers } = this.replica;
    return nodeStatus({
      settings,
      kind,
      store: acceptor.store,
      group,
      viewAgeMs: performance.now() - this.#viewSinceMs,
      lastIndex: progress.lastIndex,
      committedIndex: kind === "witness" ? 0 : commitIndex,
      diskUsedBytes: disk?.usedBytes,
      diskFreeBytes: disk?.freeBytes,
      groupId: acceptor.state.accepted?.group,
      rivals: this.#discovery?.rivals ?? [],
      links: peers.states,
      clientAddressOf: (store) => peers.clientAddressOf(store),
      acknowledgedBy: (store) =>
        progress.peers.find(({ peer }) => peer.store === store)?.matched,
      ...extras,
    });
  }

  /**
   * What this node says of itself to whoever asks.
   *
   * @param asker A node that is looked at in turn.
   */
  advert(asker?: Asker): Advert {
    if (asker !== undefined) this.#discovery?.heard(asker);
    const { settings, acceptor, clients, dissolved } = this.#parts;
    const { cluster, key } = settings;
    return ownAdvert({
      ...{ self: this.#self, cluster, isKeyed: key !== undefined },
      ...{ dissolved, clients, peers: this.replica.peers },
      acceptedView: this.#hasEnded ? undefined : acceptor.state.accepted,
      state: this.replica.group,
      isVoid: this.#parts.isVoid(),
      isAppliedVoid: this.#parts.isAppliedVoid(),
    });
  }

  /** Says what was found and where it listens. */
  announce(more: Readonly<Record<string, unknown>>): void {
    const { settings, opened: { log }, acceptor } = this.#parts;
    this.#introduction.start(acceptor.state.accepted?.group);
    for (const warning of settings.warnings) log.warn(warning);
    for (const notice of settings.notices) log.info(notice);
    this.#discovery?.start();
    log.info("Listening", {
      version: VERSION,
      replicas: formatAddress(this.replica.peers.address),
      store: acceptor.store,
      ...more,
    });
    if (settings.key !== undefined) return;
    log.warn(
      "No cluster key: the group is open to every loopback, link-local and private address",
    );
  }

  /**
   * The group is over, though links still stand: nobody is to join it, nor to
   * give way to it.
   */
  groupEnded(): void {
    this.isStopping = true;
    this.#hasEnded = true;
    this.#discovery?.close();
  }

  /** Ends the pages and the links. */
  async close(): Promise<void> {
    this.#discovery?.close();
    await this.#admin?.close();
    await this.replica.close();
  }

  #discover(): GroupDiscovery | undefined {
    const { settings, acceptor, dissolved, opened } = this.#parts;
    const { discover, cluster, key } = settings;
    if (discover === undefined) return undefined;
    const { replica } = this;
    return new GroupDiscovery({
      where: discover,
      ...{ self: this.#self, cluster, key, dissolved },
      peers: replica.peers,
      advert: () => this.advert(),
      ownGroup: () =>
        ownGroup({
          self: this.#self,
          acceptedView: acceptor.state.accepted,
          state: replica.group,
          isVoid: this.#parts.isVoid(),
          isAppliedVoid: this.#parts.isAppliedVoid(),
        }),
      namesInView: () => {
        const { nodes = {} } = acceptor.state.accepted ?? {};
        return new Set(Object.values(nodes).map(({ id }) => id));
      },
      log: opened.log,
      onFound: () => replica.found(),
      onDissolve: (into) => {
        const time = Date.now();
        replica.propose([encodeCommand({ kind: "dissolve", into, time })]);
      },
      onGiveUp: this.#parts.onGiveUp,
    });
  }

  #connect(
    incarnation: string,
    onInputs: ConstructorParameters<typeof PeerLinks>[0]["onInputs"],
  ): PeerLinks {
    const { settings, kind, priority, acceptor, opened } = this.#parts;
    const { id, cluster, key, listenReplica, timing } = settings;
    const { mayMoveReplicaPort: mayMove } = settings;
    try {
      const listen = (address: Address) =>
        new PeerLinks({
          self: {
            cluster,
            role: kind === "server" ? "chat" : "witness",
            id,
            incarnation,
          },
          ...key !== undefined && { key },
          listen: address,
          peers: settings.group,
          hello: () => ({
            store: acceptor.store,
            kind,
            priority,
            group: acceptor.state.accepted?.group,
            clientAddress: this.#parts.clients &&
              formatAddress(this.#parts.clients),
          }),
          silentMsMax: LINK_SILENCE * timing.suspectAfterMs,
          log: opened.log,
          onInputs,
          onIdTaken: (text) => this.#idTaken(text),
          ...this.#parts.serveSnapshots !== undefined &&
            { serveSnapshots: this.#parts.serveSnapshots },
          storeOf: (name) => this.#storeOf(name),
          epochCounter: () => acceptor.state.promised.counter,
          advert: (asker) => this.advert(asker),
        });
      return listenAtFree(listenReplica, { mayMove, listen });
    } catch (cause) {
      throw new StartError(
        `Cannot listen for the group at "${formatAddress(listenReplica)}": ${
          cause instanceof Error ? cause.message : String(cause)
        }`,
        { cause },
      );
    }
  }

  /**
   * Another process is this node: the one that came later has to go. Not at the
   * first word: one that died may be missed only a little later.
   */
  #idTaken(text: string): void {
    if (this.isStopping) return;
    const nowMs = performance.now();
    const { sinceMs, lastMs } = this.#told;
    const isNew = nowMs - lastMs > ID_TAKEN_MS;
    this.#told = { sinceMs: isNew ? nowMs : sinceMs, lastMs: nowMs };
    if (nowMs - this.#told.sinceMs < ID_TAKEN_MS) return;
    void failNode(
      this.#parts.opened,
      new StartError(`The group refuses this node: ${text}`),
    );
  }

  #storeOf(name: string): StoreId | undefined {
    const nodes = this.#parts.acceptor.state.accepted?.nodes ?? {};
    return Object.keys(nodes).find((store) => nodes[store].id === name);
  }
}

let isFailing = false;

/** Says why the node cannot go on, and ends it; the first reason is the one that counts. */
export async function failNode(
  opened: OpenLog,
  error: unknown,
): Promise<void> {
  if (isFailing) return;
  isFailing = true;
  if (error instanceof StorageError || error instanceof StartError) {
    opened.log.error(error.message);
  } else opened.log.error("The node failed", { error });
  await opened.flush();
  Deno.exit(1);
}
