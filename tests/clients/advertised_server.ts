/** A chat server over a log in memory that is found by UDP; for tests in a namespace. */

import {
  type Answerer,
  openAnswerer,
} from "../../nodes/host/discovery/answerer.ts";
import { DISCOVER_UDP } from "../../nodes/host/discovery/discover_flags.ts";
import { LiveGroup, LiveServer } from "../nodes/chat/live_service.ts";
import { SILENT } from "../nodes/chat/service_fixture.ts";
import { advert, type GroupWords } from "./sightings.ts";

/** A server, and the group that it says it is of. */
export interface AdvertisedOptions {
  readonly id: string;
  /** Undefined: it looks for one itself. */
  readonly group?: GroupWords;
  readonly log?: LiveGroup;
  readonly key?: string;
  readonly cluster?: string;
}

/** Answers questions, and serves clients, until it is stopped. */
export class AdvertisedServer implements AsyncDisposable {
  readonly server: LiveServer;
  readonly #answerer: Answerer;

  constructor(options: AdvertisedOptions) {
    const { id, group, log = new LiveGroup(), key, cluster = "skein" } =
      options;
    this.server = new LiveServer(log);
    this.server.shown = {
      node: id,
      ...group !== undefined && { group: group.id },
    };
    const { port } = this.server.address;
    this.#answerer = openAnswerer({
      where: DISCOVER_UDP,
      ...key !== undefined && { key: new TextEncoder().encode(key) },
      ...{ cluster, service: "chat", log: SILENT },
      advert: () =>
        advert(id, {
          ...group !== undefined && { group },
          ...{ port, cluster, isOpen: key === undefined },
        }),
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
