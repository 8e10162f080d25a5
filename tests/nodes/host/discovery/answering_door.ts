/** A port that answers questions of discovery over TCP, as a node's ports do. */

import {
  type Asker,
  serveDiscoverAsk,
} from "../../../../nodes/host/discovery/tcp_answer.ts";
import { Listener } from "../../../../nodes/host/listener.ts";
import type { Address } from "../../../../protocol/address.ts";
import type { Advert } from "../../../../protocol/discovery.ts";
import { advertOf } from "../../../protocol/discovery_messages.ts";
import { greeting } from "../loopback.ts";
import { KeptLog } from "./lan.ts";

/** Listens until it is disposed of. */
export class AnsweringDoor implements Disposable {
  /** Questions that were answered or refused. */
  served = 0;
  /** Nodes that asked, each time. */
  readonly askers: Asker[] = [];
  readonly #listener: Listener;
  #isClosed = false;

  constructor(
    options: {
      readonly advert?: Partial<Advert>;
      readonly key?: Uint8Array;
      readonly cluster?: string;
      readonly listen?: Address;
    } = {},
  ) {
    const { advert, key, cluster = "skein" } = options;
    this.#listener = new Listener({
      listen: options.listen ?? { host: "127.0.0.1", port: 0 },
      greeting: greeting({
        ...{ id: "door", role: "chat", accepts: ["client"], cluster },
        ...(key !== undefined && { key }),
      }),
      ...{ silentMsMax: 3_000, lines: "none", connectionsMax: 100 },
      log: new KeptLog(),
      onLink: async (open) => {
        await serveDiscoverAsk(open, (asker) => {
          if (asker !== undefined) this.askers.push(asker);
          return advertOf({ isOpen: key === undefined, ...advert });
        });
        this.served += 1;
        this.#listener.release();
      },
      onLines: (link) => link.abort(),
    });
  }

  get address(): Address {
    return this.#listener.address;
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
  }
}
