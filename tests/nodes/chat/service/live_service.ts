/** A chat service on a real port over a log in memory, which commits at once. */

import type { Address } from "../../../../protocol/address.ts";
import type { CommittedLog } from "../../../../nodes/chat/replica/committed_log.ts";
import { openClientPort } from "../../../../nodes/chat/service/client_port.ts";
import { ChatService } from "../../../../nodes/chat/service/service.ts";
import type { Listener } from "../../../../nodes/host/listener.ts";
import type { LinesFrom } from "../../../../nodes/host/listener.ts";
import type { Advert } from "../../../../protocol/discovery.ts";
import type { LogEntry } from "../../../../protocol/replica.ts";
import type { NodeStatus } from "../../../../protocol/status.ts";
import { canned } from "../canned_status.ts";
import {
  MemoryState,
  PlainPasswords,
  SILENT,
  writable,
} from "./service_fixture.ts";

const EPOCH = { counter: 1, store: "0000000000000001" };
const TICK_MS = 20;
const INCARNATION = "0000000000000001";

/** The group's log: what one server commits, all have. */
export class LiveGroup {
  readonly entries: LogEntry[] = [];
  readonly servers: LiveServer[] = [];

  commit(commands: readonly Uint8Array[]): void {
    for (const command of commands) {
      const index = this.entries.length + 1;
      this.entries.push({ index, epoch: EPOCH, command });
    }
    for (const server of this.servers) server.deliver();
  }
}

/** One server of a group. */
export class LiveServer implements CommittedLog, AsyncDisposable {
  readonly group = writable("primary");
  readonly service: ChatService;
  /** What its status says beside the usual. */
  shown: Partial<NodeStatus> = {};
  readonly #group: LiveGroup;
  readonly #state = new MemoryState();
  readonly #listener: Listener;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(
    group = new LiveGroup(),
    options: {
      clientsFrom?: LinesFrom;
      connectionsMax?: number;
      advert?: () => Advert;
      key?: Uint8Array;
      cluster?: string;
      /** {@linkcode LiveServer.shown} */
      shown?: Partial<NodeStatus>;
      /** How it leaves for good; nobody can send it away without. */
      leaveForGood?: () => Promise<void>;
    } = {},
  ) {
    const { cluster = "skein", key, leaveForGood } = options;
    this.#group = group;
    this.shown = options.shown ?? {};
    this.service = new ChatService({
      state: this.#state,
      passwords: new PlainPasswords(),
      log: SILENT,
      nowMs: () => performance.now(),
      wallMs: () => Date.now(),
      randomHex: (bytes) =>
        crypto.getRandomValues(new Uint8Array(bytes)).toHex(),
      defer: queueMicrotask,
      status: () => canned({ node: "live", peers: [], ...this.shown }),
      ...leaveForGood !== undefined && {
        leave: {
          node: this.shown.node ?? "live",
          incarnation: INCARNATION,
          ...{ key, leaveForGood },
        },
      },
      onFatal: (error) => {
        throw error;
      },
      onDissolved: (into) => {
        throw new Error(`Dissolved into ${into}`);
      },
    });
    this.service.start(this);
    group.servers.push(this);
    this.deliver();
    this.#listener = openClientPort({
      listen: { host: "127.0.0.1", port: 0 },
      clientsFrom: options.clientsFrom ?? "loopback",
      self: { cluster, role: "chat", id: "live", incarnation: INCARNATION },
      key,
      ...options.advert !== undefined && { advert: options.advert },
      ...options.connectionsMax !== undefined &&
        { connectionsMax: options.connectionsMax },
      service: this.service,
      log: SILENT,
    });
    this.#timer = setInterval(() => this.service.tick(), TICK_MS);
  }

  get address(): Address {
    return this.#listener.address;
  }

  propose(commands: readonly Uint8Array[]): void {
    setTimeout(() => this.#group.commit(commands));
  }

  readIndex(): Promise<number> {
    return Promise.resolve(this.#group.entries.length);
  }

  deliver(): void {
    const entries = this.#group.entries.slice(this.#state.applied.index);
    if (entries.length > 0) this.service.committed(entries);
  }

  /** Stops: clients go on at another server. */
  async stop(): Promise<void> {
    this.#listener.close();
    this.#group.servers.splice(this.#group.servers.indexOf(this), 1);
    await this.service.stop(0);
    clearInterval(this.#timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#group.servers.includes(this)) await this.stop();
  }
}
