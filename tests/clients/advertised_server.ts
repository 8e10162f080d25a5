/** A chat server over a log in memory that is found by UDP; for tests in a namespace. */

import {
  type Answerer,
  openAnswerer,
} from "../../nodes/host/discovery/answerer.ts";
import { DISCOVER_UDP } from "../../nodes/host/discovery/discover_flags.ts";
import type { Advert } from "../../protocol/discovery.ts";
import { LiveGroup, LiveServer } from "../nodes/chat/service/live_service.ts";
import { SILENT } from "../nodes/chat/service/service_fixture.ts";
import { advert, type GroupWords } from "./sightings.ts";

/** A server, and the group that it says it is of. */
export interface AdvertisedOptions {
  readonly id: string;
  /** Undefined: it looks for one itself. */
  readonly group?: GroupWords;
  readonly log?: LiveGroup;
  readonly key?: string;
  readonly cluster?: string;
  /** How it leaves for good; nobody can send it away without. */
  readonly leaveForGood?: () => Promise<void>;
}

/** Answers questions, and serves clients, until it is stopped. */
export class AdvertisedServer implements AsyncDisposable {
  readonly server: LiveServer;
  readonly #answerer: Answerer;

  constructor(options: AdvertisedOptions) {
    const { id, group, log = new LiveGroup(), cluster = "skein" } = options;
    const { leaveForGood } = options;
    const key = options.key === undefined
      ? {}
      : { key: new TextEncoder().encode(options.key) };
    const said = (): Advert =>
      advert(id, {
        ...group !== undefined && { group },
        port: this.server.address.port,
        ...{ cluster, isOpen: options.key === undefined },
      });
    this.server = new LiveServer(log, {
      ...{ cluster, ...key, advert: said },
      ...leaveForGood !== undefined && { leaveForGood },
      shown: { node: id, ...group !== undefined && { group: group.id } },
    });
    this.#answerer = openAnswerer({
      ...{ where: DISCOVER_UDP, ...key, advert: said },
      ...{ cluster, service: "chat", log: SILENT },
    });
  }

  /** Neither answers nor serves any more. */
  async stop(): Promise<void> {
    this.#answerer.close();
    await this.server[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
