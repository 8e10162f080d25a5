/** The port at which people come in. */

import type { Address } from "../../../protocol/address.ts";
import { formatError } from "../../../protocol/chat_answers.ts";
import type { Identity } from "../../../protocol/handshake.ts";
import {
  type SayAdvert,
  serveDiscoverAsk,
} from "../../host/discovery/tcp_answer.ts";
import type { LinesFrom } from "../../host/listener.ts";
import { Listener } from "../../host/listener.ts";
import type { Log } from "../../host/log.ts";
import { ClientConnection } from "./client_connection.ts";
import type { ChatService } from "./service.ts";

/** Connections of clients at once, unless something else is said. */
export const CLIENTS_MAX = 10_000;

/** How long somebody who comes with frames may be silent. */
const SILENT_MS_MAX = 3_000;

/** Where to listen, and for whom. */
export interface ClientPortOptions {
  readonly listen: Address;
  /** From where clients are taken; others are told so. */
  readonly clientsFrom: LinesFrom;
  /** Who we are, for whoever comes with frames. */
  readonly self: Identity;
  readonly key: Uint8Array | undefined;
  readonly connectionsMax?: number;
  readonly service: ChatService;
  readonly log: Log;
  /**
   * What this node says of itself to whoever looks for it with frames; without
   * it nobody is taken who comes with frames.
   */
  readonly advert?: SayAdvert;
}

/**
 * Listens for clients until it is closed. Their connections end with the
 * service, not with the port.
 *
 * @throws {Error} The system's error, when the address cannot be used.
 */
export function openClientPort(options: ClientPortOptions): Listener {
  const { listen, clientsFrom, self, key, service, log, advert } = options;
  const listener = new Listener({
    listen,
    greeting: {
      self,
      accepts: advert === undefined ? [] : ["client"],
      ...(key !== undefined && { key }),
    },
    silentMsMax: SILENT_MS_MAX,
    lines: clientsFrom,
    connectionsMax: options.connectionsMax ?? CLIENTS_MAX,
    log,
    onLink: async (open) => {
      if (advert === undefined) open.link.abort();
      else await serveDiscoverAsk(open, advert);
      listener.release();
    },
    onLines: (link, first) =>
      ClientConnection.serve(link, {
        first,
        open: (transport) => service.connect(transport),
        onClosed: () => listener.release(),
      }),
    lineRefusal: (error) => formatError(error, {}),
  });
  return listener;
}
