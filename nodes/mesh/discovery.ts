/** Finds other servers of the mesh, and lets them find this one. */

import { type Address, isWildcardHost } from "../../protocol/address.ts";
import type { Advert } from "../../protocol/discovery.ts";
import type { Identity } from "../../protocol/handshake.ts";
import { type Answerer, openAnswerer } from "../host/discovery/answerer.ts";
import type { DiscoverWhere, Finder } from "../host/discovery/finder.ts";
import type { DiscoveryCounters } from "../host/discovery/metrics.ts";
import { openFinder } from "../host/discovery/open_finder.ts";
import type { Asker } from "../host/discovery/tcp_answer.ts";
import type { Log } from "../host/log.ts";
import { StartError } from "../host/process.ts";
import type { Peers } from "./peers.ts";

/** How often others are looked for: often at first, when all are started. */
const ASK_MS = 500;
const FIRST_ASKS = 20;
const ASK_LATER_MS = 5_000;

/** What discovery needs of the server that it serves. */
export interface MeshDiscoveryOptions {
  readonly where: DiscoverWhere;
  /** Whether somebody has asked for it; else the server does without if need be. */
  readonly isSaid: boolean;
  readonly self: Identity;
  readonly key: Uint8Array | undefined;
  readonly advert: () => Advert;
  readonly peers: Pick<Peers, "meet">;
  readonly log: Log;
}

/** Lives from the first question until the server stops. */
export class MeshDiscovery {
  readonly #options: MeshDiscoveryOptions;
  readonly #finder: Finder;
  readonly #answerer: Answerer | undefined;
  #asks = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @throws {StartError} It was asked for, and another program keeps the port of questions to itself. */
  constructor(options: MeshDiscoveryOptions) {
    this.#options = options;
    const { where, self, key, advert, log } = options;
    const common = {
      ...{ service: "mesh" as const, cluster: self.cluster, log, advert },
      ...key !== undefined && { key },
    };
    this.#finder = openFinder({
      ...{ ...common, where },
      onSighting: (sighting) => this.heard(sighting),
    });
    this.#answerer = where.kind === "udp"
      ? this.#answererAt(where, common)
      : undefined;
    this.#ask();
  }

  /** A server has answered, or asked by TCP. */
  heard({ advert, peers }: Asker): void {
    const { self } = this.#options;
    if (advert.incarnation === self.incarnation) return;
    this.#options.peers.meet({
      ...{ id: advert.id, address: peers, isConfigured: false },
    });
  }

  /** Numbers for metrics. */
  get counters(): DiscoveryCounters {
    return {
      finder: this.#finder.counters,
      answerer: this.#answerer?.counters,
    };
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#finder.close();
    this.#answerer?.close();
  }

  #ask(): void {
    this.#finder.ask();
    this.#asks += 1;
    const everyMs = this.#asks < FIRST_ASKS ? ASK_MS : ASK_LATER_MS;
    // Not all at once, though all were started at once.
    const waitMs = everyMs * (0.75 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#ask(), waitMs);
  }

  #answererAt(
    where: Extract<DiscoverWhere, { kind: "udp" }>,
    common: Omit<Parameters<typeof openAnswerer>[0], "where">,
  ): Answerer | undefined {
    const { isSaid, log } = this.#options;
    try {
      return openAnswerer({ ...common, where });
    } catch (cause) {
      const text = `Cannot listen for questions at UDP port ${where.port}: ${
        cause instanceof Error ? cause.message : String(cause)
      }`;
      if (isSaid) throw new StartError(text, { cause });
      log.warn(`${text}; others cannot find this server, but it finds them`);
      return undefined;
    }
  }
}

/** What a server says of itself to whoever looks for one. */
export function meshAdvert(
  self: Identity,
  options: { readonly listen: Address; readonly isOpen: boolean },
): Advert {
  const { cluster, id, incarnation } = self;
  const { host, port } = options.listen;
  // Without a host: wherever it is asked.
  const place = isWildcardHost(host) ? { port } : { host, port };
  return {
    ...{ service: "mesh", cluster, id, kind: "server", priority: 0 },
    // It keeps nothing by which it could be told from its next life.
    ...{ store: incarnation, incarnation },
    ...{ peers: place, clients: place, dissolved: [] },
    isOpen: options.isOpen,
  };
}
