/** Nodes as somebody who looks for them sights them. */

import type { Sighting } from "../../nodes/host/discovery/finder.ts";
import type { Address } from "../../protocol/address.ts";
import type { Advert } from "../../protocol/discovery.ts";

/** What a node says of its group. */
export interface GroupWords {
  readonly id: string;
  readonly leader: string;
  readonly leaderClients?: Address;
  readonly priority?: number;
  readonly counter?: number;
  readonly members?: number;
  readonly isVoid?: boolean;
}

/** What a node says of itself. */
export interface NodeWords {
  readonly group?: GroupWords;
  readonly host?: string;
  /** Of clients. */
  readonly port?: number;
  readonly cluster?: string;
  readonly kind?: Advert["kind"];
  readonly isOpen?: boolean;
}

/** The advert of a node with that id, which is of a cluster without a key. */
export function advert(id: string, words: NodeWords = {}): Advert {
  const { group, port = 8091, cluster = "skein", kind = "server" } = words;
  return {
    service: "chat",
    ...{ cluster, id, kind, priority: 0 },
    store: storeOf(id),
    incarnation: storeOf(`${id} process`),
    peers: { port: 8081 },
    ...kind === "server" && { clients: { port } },
    ...group !== undefined && {
      group: {
        id: group.id,
        isVoid: group.isVoid ?? true,
        isWorking: true,
        epoch: { counter: group.counter ?? 1, store: group.id },
        leader: {
          id: group.leader,
          priority: group.priority ?? 0,
          ...group.leaderClients !== undefined &&
            { clients: group.leaderClients },
        },
        members: group.members ?? 1,
        voters: group.members ?? 1,
      },
    },
    dissolved: [],
    isOpen: words.isOpen ?? true,
  };
}

/** That node, as it answered from its host. */
export function sighting(id: string, words: NodeWords = {}): Sighting {
  const { host = "10.0.0.1" } = words;
  const said = advert(id, words);
  return {
    advert: said,
    peers: { host, ...said.peers },
    clients: said.clients && { host, ...said.clients },
    via: `udp ${host}`,
    tookMs: 1,
  };
}

function storeOf(id: string): string {
  const bytes = new TextEncoder().encode(id.slice(0, 8));
  return bytes.toHex().padEnd(16, "0");
}
