/** Nodes of a group on loopback, with their links and nothing behind them. */

import { assertEquals } from "@std/assert";
import type { PeerWaits } from "../../../../nodes/chat/links/peer_dialer.ts";
import {
  type PeerAddress,
  type PeerInput,
  PeerLinks,
  type PeerLinksOptions,
} from "../../../../nodes/chat/links/peers.ts";
import { drawIncarnation } from "../../../../nodes/host/link.ts";
import type { Log, LogFields } from "../../../../nodes/host/log.ts";
import type { Address } from "../../../../protocol/address.ts";
import type { Advert } from "../../../../protocol/discovery.ts";
import type { StoreId } from "../../../../protocol/epoch.ts";
import type { Identity } from "../../../../protocol/handshake.ts";
import type {
  ReplicaHello,
  ReplicaMessage,
} from "../../../../protocol/replica.ts";
import { until } from "../../../process/until.ts";
import { freePort, LISTEN } from "../../host/loopback.ts";

/** Short waits, so that a test need not wait for them. */
export const WAITS: Partial<PeerWaits> = {
  redialMs: 20,
  refusedRedialMs: 40,
  dialAnywayMs: 100,
};

/** Keeps what would be written to the log. */
export class KeptLog implements Log {
  readonly lines: { level: string; message: string; fields: LogFields }[] = [];
  debug(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "debug", message, fields });
  }
  info(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "info", message, fields });
  }
  warn(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "warn", message, fields });
  }
  error(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "error", message, fields });
  }

  /** Messages that hold this text. */
  with(text: string): string[] {
    return this.lines.map(({ message }) => message)
      .filter((message) => message.includes(text));
  }
}

/** A port of loopback that nobody listens on, as an address. */
export function freeAddress(): Address {
  return { host: LISTEN.hostname, port: freePort() };
}

/** What a server says of itself. */
export function helloOf(store: StoreId): ReplicaHello {
  return {
    store,
    kind: "server",
    priority: 0,
    group: undefined,
    clientAddress: "127.0.0.1:8091",
  };
}

/** Who a server is; each call is another process. */
export function identityOf(
  id: string,
  role: Identity["role"] = "chat",
): Identity {
  return { cluster: "skein", role, id, incarnation: drawIncarnation() };
}

/** What a server without a group says to whoever asks. */
export function advertOf(id: string, store: StoreId): Advert {
  return {
    ...{ service: "chat", cluster: "skein", id, kind: "server", store },
    ...{ priority: 0, incarnation: drawIncarnation(), peers: { port: 8081 } },
    ...{ dissolved: [], isOpen: true },
  };
}

/** A store with this last digit. */
export function storeOf(digit: string): StoreId {
  return digit.padStart(16, "0");
}

/** One node, and all that its links have told. */
export class PeerNode implements AsyncDisposable {
  readonly links: PeerLinks;
  readonly log = new KeptLog();
  readonly inputs: PeerInput[] = [];
  readonly idTaken: string[] = [];
  readonly self: Identity;

  constructor(
    options: {
      id: string;
      store: StoreId;
      listen?: Address;
      peers?: readonly PeerAddress[];
    },
    changes: Partial<PeerLinksOptions> = {},
  ) {
    this.self = changes.self ?? identityOf(options.id);
    this.links = new PeerLinks({
      self: this.self,
      listen: options.listen ?? { host: LISTEN.hostname, port: 0 },
      peers: options.peers ?? [],
      hello: () => helloOf(options.store),
      silentMsMax: 60_000,
      waits: WAITS,
      log: this.log,
      onInputs: (inputs) => this.inputs.push(...inputs),
      onIdTaken: (text) => this.idTaken.push(text),
      advert: () => advertOf(options.id, options.store),
      ...changes,
    });
  }

  /** This node in the list of another. */
  get asPeer(): PeerAddress {
    return { id: this.self.id, kind: "server", address: this.links.address };
  }

  /** What happened to a node's links, in order: `up`, `down`, `refused`. */
  fate(store: StoreId): string[] {
    return this.inputs.flatMap((input) => {
      switch (input.kind) {
        case "peer-up":
          return input.peer.store === store ? ["up"] : [];
        case "peer-down":
          return input.store === store ? ["down"] : [];
        case "peer-refused":
          return input.store === store ? ["refused"] : [];
        case "message":
          return [];
      }
    });
  }

  /** Waits until the fate of a node's links begins with these. */
  async untilFate(store: StoreId, fate: readonly string[]): Promise<void> {
    await until(
      `"${this.self.id}" sees ${store} ${fate.join(", ")}`,
      () => this.fate(store).length >= fate.length,
      { context: () => JSON.stringify([this.fate(store), this.log.lines]) },
    );
    assertEquals(this.fate(store).slice(0, fate.length), fate);
  }

  /** The reason of the last `peer-down`. */
  get downReason(): string | undefined {
    const input = this.inputs.findLast(({ kind }) => kind === "peer-down");
    return input?.kind === "peer-down" ? input.reason : undefined;
  }

  /** All messages so far from a node. */
  messages(from: StoreId): ReplicaMessage[] {
    return this.inputs.flatMap((input) =>
      input.kind === "message" && input.from === from ? [input.message] : []
    );
  }

  /** Waits for so many messages from a node. */
  untilMessages(from: StoreId, count: number): Promise<true> {
    return until(
      `"${this.self.id}" has ${count} messages of ${from}`,
      () => this.messages(from).length >= count,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.links.close();
  }
}
