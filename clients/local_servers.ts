/** Which of the servers that were found run on this machine. */

import {
  type Address,
  formatAddress,
  isLoopbackAddress,
} from "../protocol/address.ts";
import type { NodeId } from "../protocol/ids.ts";
import type { Sighting } from "../nodes/host/discovery/finder.ts";

/** A server, and where to talk to it. */
export interface FoundServer {
  readonly id: NodeId;
  readonly address: Address;
}

/** All that let people in. */
function serversOf(nodes: readonly Sighting[]): FoundServer[] {
  return nodes.flatMap(({ advert, clients }) =>
    clients === undefined ? [] : [{ id: advert.id, address: clients }]
  );
}

/**
 * Those of this machine. One that listens at every address is met at loopback,
 * where it believes that somebody of its own machine asks.
 */
export function localServers(
  nodes: readonly Sighting[],
  interfaces: readonly { readonly address: string }[] = Deno
    .networkInterfaces(),
): FoundServer[] {
  const own = new Set(interfaces.map(({ address }) => address));
  const here = nodes.filter(({ peers }) =>
    isLoopbackAddress(peers.host) || own.has(peers.host)
  );
  return here.flatMap(({ advert, clients }) => {
    if (clients === undefined) return [];
    const isEverywhere = advert.clients?.host === undefined;
    const host = isEverywhere ? "127.0.0.1" : clients.host;
    return [{ id: advert.id, address: { host, port: clients.port } }];
  });
}

/**
 * For people: why nobody can say which server of this machine is meant.
 *
 * @param search With the cluster key of whoever asks; undefined: none.
 */
export function whichServer(
  nodes: readonly Sighting[],
  here: readonly FoundServer[],
  search: { readonly key: Uint8Array | undefined },
): string {
  const list = (servers: readonly FoundServer[]) =>
    servers.map(({ id, address }) => `${id} with -c ${formatAddress(address)}`)
      .join(", ");
  if (here.length > 0) {
    return `${here.length} servers run on this machine; say which one is to leave: ${
      list(here)
    }`;
  }
  const silent = search.key === undefined
    ? "one with a cluster key answers only those who have it: --key-file"
    : "one with no cluster key, or another one than this command, does not answer";
  return `No server that answers runs on this machine (${silent}); on others there are ${
    list(serversOf(nodes))
  }`;
}
