/**
 * One simulated machine with one node of a replicated group on it: keeps the
 * promises of `nodes/chat/replica/contract.ts` to the production core, and no others.
 */

import type { StoreId } from "../../protocol/epoch.ts";
import type { LogEntry, ReplicaMessage } from "../../protocol/replica.ts";
import type { NodeKind, View } from "../../protocol/view.ts";
import type {
  GroupState,
  Peer,
  ReplicaEffect,
  ReplicaInput,
} from "../../nodes/chat/replica/contract.ts";
import { ReplicaCore } from "../../nodes/chat/replica/core.ts";
import type { ChatChecker } from "./chat_checker.ts";
import { SimulatedDisk, SimulatedLog } from "./chat_disk.ts";
import { type Endpoint, type LinkEnd, whyNotLinked } from "./chat_links.ts";
import { CoreTimer, SkewedClock } from "./core_timer.ts";
import { ReplicaDialer } from "./chat_dialer.ts";
import { SimulatedService } from "./chat_service.ts";
import { type ChatSnapshot, ChatState } from "./chat_state.ts";
import type {
  ChatSurroundings,
  Companion,
  ReplicaPlan,
} from "./chat_surroundings.ts";
import { DiskSyncs } from "./chat_syncs.ts";
import { describeMessage, isBeat } from "./chat_wire.ts";
import { Machine } from "./world.ts";

const SERVICE_TICK_MS = 250;
/** How long a process goes on after its group has ended, at most. */
const ANEW_MS_MAX = 30;

export class SimulatedReplica implements Endpoint {
  readonly name: string;
  readonly kind: NodeKind;
  readonly machine: Machine;
  priority: number;
  isPowered = true;
  disk: SimulatedDisk;
  log = new SimulatedLog();
  state = new ChatState();
  core: ReplicaCore | undefined;
  service: SimulatedService | undefined;
  group: GroupState | undefined;
  /** Told to leave, and not started again since. */
  isLeaving = false;
  isLeavingForGood = false;
  /** Never started again. */
  isGone = false;
  /** Grows with each start. */
  life = 0;
  /** The group that this process belongs to, durably or not yet. */
  groupId: StoreId | undefined;
  companion: Companion | undefined;
  readonly isFounder: boolean;
  readonly #around: ChatSurroundings;
  readonly clock: SkewedClock;
  #incarnation = "";
  #links = new Map<string, LinkEnd>();
  #byStore = new Map<StoreId, LinkEnd>();
  readonly #dialer: ReplicaDialer;
  #commitIndex = 0;
  #syncs: DiskSyncs | undefined;
  #isInstalling = false;
  #isApplying = false;
  #isCompacting = false;
  #timer: CoreTimer | undefined;
  #isEnding = false;

  constructor(around: ChatSurroundings, plan: ReplicaPlan) {
    this.name = plan.name;
    this.kind = plan.kind;
    this.priority = plan.priority;
    this.isFounder = plan.isFounder;
    this.#around = around;
    this.machine = new Machine(around.world, plan.name);
    this.machine.isUp = false;
    this.disk = around.newDisk();
    this.#dialer = new ReplicaDialer(this, around);
    this.clock = new SkewedClock(around.world);
  }

  get nowMs(): number {
    return this.clock.nowMs;
  }

  get #checker(): ChatChecker {
    return this.#around.checkerOf(this.groupId);
  }

  /** Runs, and hears and is heard. */
  get isAwake(): boolean {
    return this.machine.isUp && !this.machine.isFrozen;
  }

  // The process.

  /** Starts the process from what its disk has. */
  start(): void {
    if (this.machine.isUp || this.isGone) return;
    const { world, options, links } = this.#around;
    this.isPowered = true;
    this.isLeaving = false;
    this.isLeavingForGood = false;
    this.life += 1;
    this.machine.restart();
    links.booted(this);
    this.#incarnation = this.#around.newId();
    this.log = this.disk.log.copy();
    this.groupId = this.disk.acceptor.accepted?.group;
    this.#commitIndex = 0;
    this.#restoreState();
    this.#checker.restored(this, this.state);
    this.service = this.kind === "server" ? this.#newService() : undefined;
    this.core = new ReplicaCore({
      ...options,
      founders: this.isFounder ? options.founders : [],
      self: this.hello(),
      seed: world.random.uint32(),
    });
    this.#timer = this.#newTimer(this.core);
    this.#syncs = this.#newSyncs();
    this.step({
      kind: "start",
      acceptor: this.disk.acceptor,
      log: this.log.shape(),
    });
    this.companion = this.#around.companionOf?.(this);
    if (this.companion === undefined) {
      for (const other of this.#around.replicas) this.learnOf(other);
    }
    this.#tickService();
  }

  /** The process is gone, maybe with its machine; what was not synced may be as well. */
  crash(options: { withPower: boolean } = { withPower: false }): void {
    if (options.withPower) this.isPowered = false;
    if (!this.machine.isUp) return;
    this.machine.crash();
    this.disk.crash();
    if (this.#isEnding && this.groupId !== undefined) {
      this.#replaceDisk([...this.disk.dissolved, this.groupId]);
    }
    this.#isEnding = false;
    this.#around.links.crashed(this);
    this.core = undefined;
    this.companion = undefined;
    this.service = undefined;
    this.group = undefined;
    this.groupId = undefined;
    this.#links = new Map();
    this.#byStore = new Map();
    this.#dialer.forget();
    this.#syncs = undefined;
    this.#isInstalling = false;
    this.#isApplying = false;
    this.#isCompacting = false;
    this.#timer = undefined;
  }

  /** The directory is gone; the next start is that of a new store. */
  loseDisk(): void {
    this.#around.world.note(() => `${this.name} LOSES ITS DISK`);
    this.#replaceDisk();
  }

  /** The group has ended, durably: soon this begins as a new store. */
  beginAnew(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#around.world.note(() => `${this.name} begins anew`);
    const { random } = this.#around.world;
    this.machine.later(random.next() * ANEW_MS_MAX, () => {
      this.crash();
      this.start();
    });
  }

  /** A new directory, which remembers at most what ended in the old one. */
  #replaceDisk(dissolved: readonly StoreId[] = []): void {
    this.disk.isLost = true;
    this.disk = this.#around.newDisk();
    this.disk.dissolved = dissolved;
    this.state = new ChatState();
  }

  /** There is another node that it may have to dial. */
  learnOf(other: SimulatedReplica): void {
    if (other !== this) this.#dialer.learn(other, 20);
  }

  /** Whether a link to this store stands. */
  isLinkedTo(store: StoreId): boolean {
    return this.#byStore.has(store);
  }

  /** Nobody listens there: its process is gone. */
  refused(store: StoreId): void {
    this.#around.world.note(() => `${this.name} refused by ${store}`);
    this.step({ kind: "peer-refused", store });
  }

  /** For good: it does not come back with this directory. */
  leave(options: { isForGood: boolean } = { isForGood: false }): void {
    this.isLeaving = true;
    this.isLeavingForGood = options.isForGood;
    this.step({ kind: "leave", ...options });
  }

  /** This process belongs to a group now: links to nodes of none are made anew. */
  relink(group: StoreId): void {
    for (const end of [...this.#links.values()]) {
      if (end.peer?.group === group) continue;
      this.#around.links.close(end, "in a group now");
      this.down(end, "in a group now");
    }
  }

  // What links report.

  hello(): Peer {
    return {
      id: this.name,
      kind: this.kind,
      priority: this.priority,
      store: this.disk.store,
      incarnation: this.#incarnation,
      group: this.disk.acceptor.accepted?.group,
    };
  }

  up(end: LinkEnd, peer: Peer): void {
    const old = this.#links.get(peer.id);
    const problem = whyNotLinked(end, { self: this.hello(), peer, old });
    if (problem !== undefined) return this.#around.links.close(end, problem);
    this.#around.world.note(() => `${this.name} up ${peer.id}`);
    if (old !== undefined) {
      this.#around.links.close(old, "replaced");
      this.down(old, "replaced");
    }
    this.#links.set(peer.id, end);
    this.#byStore.set(peer.store, end);
    this.#dialer.stop(peer.id);
    this.step({ kind: "peer-up", peer });
  }

  message(end: LinkEnd, message: ReplicaMessage): void {
    const { peer } = end;
    if (peer === undefined || this.#links.get(peer.id) !== end) return;
    if (!isBeat(message)) {
      this.#around.world.note(() =>
        `${this.name} < ${peer.id} ${describeMessage(message)}`
      );
    }
    this.step({ kind: "message", from: peer.store, message });
  }

  down(end: LinkEnd, reason: string): void {
    const { peer } = end;
    if (peer === undefined || this.#links.get(peer.id) !== end) return;
    this.#around.world.note(() => `${this.name} down ${peer.id} (${reason})`);
    this.#links.delete(peer.id);
    this.#byStore.delete(peer.store);
    this.step({ kind: "peer-down", store: peer.store, reason });
    const other = this.#around.replicas.find(({ name }) => name === peer.id);
    if (other === undefined) return;
    this.#dialer.probe(other, peer.store);
    this.#dialer.dial(other, 10);
  }

  // The core and what it asks for.

  /** Hands one input to the core, and does what it says. */
  step(input: ReplicaInput): void {
    const { core, life } = this;
    if (core === undefined || !this.machine.isUp) return;
    for (const effect of core.step(input, this.nowMs)) {
      this.#act(effect);
      if (this.life !== life || !this.machine.isUp) return;
      if (!this.#around.mayCrashAfter(this, effect)) continue;
      this.#around.world.note(() => `${this.name} dies after ${effect.kind}`);
      this.crash();
      return this.#around.ended(this, "failed");
    }
    this.#timer?.arm();
  }

  #act(effect: ReplicaEffect): void {
    const { world, links } = this.#around;
    switch (effect.kind) {
      case "send": {
        const end = this.#byStore.get(effect.to);
        if (end !== undefined) links.send(end, effect.message);
        return;
      }
      case "save": {
        const { accepted } = effect.state;
        if (accepted !== undefined) this.#accept(accepted);
        this.disk.writeAcceptor(effect.number, effect.state);
        return this.#syncs?.syncAcceptor();
      }
      case "append":
        return this.#append(effect.write, effect.entries);
      case "cut":
        this.#checker.cut(this, effect.after);
        this.log.cut(effect.after);
        this.disk.writeLog(effect);
        return this.#syncs?.syncLog();
      case "read-log":
        return this.#readLog(effect);
      case "commit":
        return this.#commit(effect.index);
      case "read-ready":
        return this.service?.readReady(effect.token, effect.index);
      case "read-failed":
        return this.service?.readFailed(effect.token);
      case "fetch-snapshot":
        return this.#fetch(effect.from);
      case "group":
        return this.#regroup(effect.state);
      case "note":
        return world.note(() => `${this.name} ${effect.level}: ${effect.text}`);
      case "left":
      case "fatal":
        world.note(() => `${this.name} ENDS: ${effect.kind}`);
        this.crash();
        return this.#around.ended(
          this,
          effect.kind === "left" ? "left" : "failed",
        );
    }
  }

  #newTimer(core: ReplicaCore): CoreTimer {
    return new CoreTimer({
      machine: this.machine,
      clock: this.clock,
      wakeAtMs: () => core.wakeAtMs,
      wake: () => this.step({ kind: "wake" }),
      spins: () => this.#checker.fail(`${this.name} spins: ${core.describe()}`),
    });
  }

  #regroup(state: GroupState): void {
    const checker = this.#checker;
    const { world } = this.#around;
    const before = this.group;
    this.group = state;
    world.note(() =>
      `${this.name} is ${state.role}${state.isWritable ? "" : ", waits for "}${
        state.waitsFor.join("; ")
      }`
    );
    if (state.view !== undefined) checker.sawActive(state.view);
    const leads = state.role === "primary" && state.view !== undefined;
    if (leads && (before?.role !== "primary" || before.view !== state.view)) {
      checker.leads(this, state.view);
    }
    this.service?.groupChanged(state);
    this.companion?.changed();
  }

  // The log and the acceptor's state.

  /** A store belongs to one group, from its first view on. */
  #accept(view: View): void {
    const { group } = view;
    if (this.groupId !== undefined && this.groupId !== group) {
      this.#checker.fail(`${this.name} goes over to group ${group}`);
    }
    this.groupId = group;
    this.#checker.saw(view);
  }

  #append(write: number, entries: readonly LogEntry[]): void {
    const first = entries.length === 0 ? undefined : entries[0].index;
    if (first !== this.log.lastIndex + 1) {
      this.#checker.fail(
        `${this.name} appends ${first} after ${this.log.lastIndex}`,
      );
    }
    for (const entry of entries) this.log.entries.push(entry);
    this.disk.writeLog({ kind: "append", write, entries });
    this.#syncs?.syncLog();
  }

  #newSyncs(): DiskSyncs {
    return new DiskSyncs(this.machine, this.disk, {
      durable: (write) => this.step({ kind: "durable", write }),
      saved: (number) => {
        this.step({ kind: "saved", number });
        this.companion?.changed();
      },
      failed: () => {
        this.#around.world.note(() => `${this.name} SYNC FAILED`);
        this.crash();
        this.#around.ended(this, "failed");
      },
    });
  }

  #readLog(
    { to, from, bytesMax }: Extract<ReplicaEffect, { kind: "read-log" }>,
  ): void {
    const entries: LogEntry[] = [];
    let bytes = 0;
    for (let index = from; bytes < bytesMax; index++) {
      const entry = this.log.at(index);
      if (entry === undefined) break;
      bytes += entry.command.length;
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry);
    }
    if (entries.length === 0 && from > this.log.base.index) {
      this.#checker.fail(
        `${this.name} reads from ${from}, its log ends at ${this.log.lastIndex}`,
      );
    }
    const { random } = this.#around.world;
    this.machine.later(
      random.next() * (random.chance(0.1) ? 60 : 3),
      () => this.step({ kind: "log-read", to, from, entries }),
    );
  }

  // The state.

  #commit(index: number): void {
    if (index <= this.#commitIndex) {
      this.#checker.fail(
        `${this.name} commits ${index} after ${this.#commitIndex}`,
      );
    }
    this.#checker.committed(this, this.#commitIndex, index);
    this.#commitIndex = index;
    if (this.#around.applyMsMax === 0) return this.#apply();
    if (this.#isApplying) return;
    this.#isApplying = true;
    const waitMs = this.#around.world.random.next() * this.#around.applyMsMax;
    this.machine.later(waitMs, () => {
      this.#isApplying = false;
      this.#apply();
    });
  }

  #apply(): void {
    const checker = this.#checker;
    while (this.state.index < this.#commitIndex) {
      const entry = this.log.at(this.state.index + 1);
      if (entry === undefined) {
        return checker.fail(
          `${this.name} has applied ${this.state.index} of ${this.#commitIndex}, and its log begins after ${this.log.base.index}`,
        );
      }
      const applied = this.state.apply(entry);
      checker.applied(this, this.state, applied);
      this.service?.applied(applied);
      this.companion?.changed();
    }
  }

  /** A database as good as new, one that is behind, or none: a snapshot and the log. */
  #restoreState(): void {
    const { random } = this.#around.world;
    if (random.chance(0.5)) return;
    const state = new ChatState(this.disk.snapshot);
    if (random.chance(0.5)) {
      const last = Math.min(this.state.index, this.disk.log.lastIndex);
      const index = state.index + random.int(Math.max(1, last - state.index));
      while (state.index < index) {
        const entry = this.disk.log.at(state.index + 1);
        if (entry === undefined) break;
        state.apply(entry);
      }
    }
    this.state = state;
  }

  /** Takes a snapshot, and drops some of the log behind it. */
  compact(): void {
    if (this.#isCompacting || !this.isAwake || this.kind === "witness") return;
    const { random } = this.#around.world;
    if (this.state.index === 0) return;
    const snapshot = this.state.snapshot();
    this.#isCompacting = true;
    this.machine.later(random.int(100), () => {
      this.#isCompacting = false;
      if (this.#isInstalling) return;
      const { index } = snapshot.position;
      if (index <= (this.disk.snapshot?.position.index ?? 0)) return;
      this.disk.snapshot = snapshot;
      const last = Math.min(index, this.#commitIndex);
      const first = this.log.base.index + 1;
      if (last < first) return;
      const base = this.log.position(first + random.int(last - first + 1));
      if (base === undefined) return;
      const position = { index: base.index, epoch: base.epoch };
      this.#around.world.note(() => `${this.name} compacts to ${base.index}`);
      this.disk.log.compact(position);
      this.log.compact(position);
      this.step({ kind: "compacted", base: position });
    });
  }

  // Snapshots from elsewhere.

  #fetch(from: StoreId): void {
    const { world: { random }, links } = this.#around;
    if (this.#isInstalling) {
      this.#checker.fail(`${this.name} fetches two snapshots at once`);
    }
    this.#isInstalling = true;
    const source = this.#around.replicas.find(({ disk }) =>
      disk.store === from
    );
    const life = source?.life;
    const snapshot = links.reaches(source, this)
      ? source?.offer(random.chance(0.5))
      : undefined;
    this.machine.later(random.int(random.chance(0.1) ? 2_000 : 200), () => {
      const isBroken = snapshot === undefined || source?.life !== life ||
        !links.reaches(source, this) || random.chance(0.1);
      if (!isBroken) return this.#install(snapshot);
      this.#isInstalling = false;
      this.step({ kind: "snapshot-failed", reason: "the transfer broke" });
    });
  }

  /** The newest snapshot, made just now if asked for or if there is none. */
  offer(isFresh: boolean): ChatSnapshot | undefined {
    if (this.kind === "witness") return undefined;
    if (!isFresh && this.disk.snapshot !== undefined) return this.disk.snapshot;
    return this.state.index === 0 ? undefined : this.state.snapshot();
  }

  /** When all that was written before is on disk, the snapshot takes its place. */
  #install(snapshot: ChatSnapshot): void {
    const checker = this.#checker;
    const { world } = this.#around;
    if (this.disk.hasLogWrites) {
      this.machine.later(1, () => this.#install(snapshot));
      return;
    }
    this.#syncs?.sync(() => {
      if (this.disk.hasLogWrites) return this.#install(snapshot);
      checker.installs(this, snapshot.position.index);
      world.note(() =>
        `${this.name} installs a snapshot of ${snapshot.position.index}`
      );
      this.disk.install(snapshot);
      this.log = this.disk.log.copy();
      this.#commitIndex = Math.max(this.#commitIndex, snapshot.position.index);
      if (snapshot.position.index > this.state.index) {
        this.state = new ChatState(snapshot);
        checker.restored(this, this.state);
      }
      this.#isInstalling = false;
      this.step({ kind: "snapshot-installed", base: snapshot.position });
      this.service?.restored();
    });
  }

  #newService(): SimulatedService {
    const life = this.life;
    const current = () => this.state;
    const now = () => this.nowMs;
    return new SimulatedService({
      get state() {
        return current();
      },
      get nowMs() {
        return now();
      },
      input: (input) => {
        this.machine.later(0, () => {
          if (this.life === life) this.step(input);
        });
      },
    });
  }

  #tickService(): void {
    if (this.kind === "witness") return;
    this.machine.later(SERVICE_TICK_MS, () => {
      this.service?.tick();
      this.#tickService();
    });
  }
}
