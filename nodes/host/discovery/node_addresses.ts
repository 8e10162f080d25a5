/** At which of its addresses a node is met that is heard at several. */

import {
  type Address,
  isLoopbackAddress,
  isPrivateAddress,
} from "../../../protocol/address.ts";
import type { Advert, Endpoint } from "../../../protocol/discovery.ts";

/** How long a node is met where it was last heard, though it is heard elsewhere. */
export const ADDRESS_AGE_MS_MAX = 10_000;

/** Nodes remembered; beyond it the one that was quiet for longest is forgotten. */
export const ADDRESSES_MAX = 256;

interface Met {
  readonly host: string;
  readonly heardMs: number;
}

/**
 * A node on the same machine, or in two networks of this one, answers from
 * several addresses. It is met at one, so that nobody dials in circles: the
 * first that is heard, but at loopback only if nothing else is heard.
 */
export class NodeAddresses {
  readonly #met = new Map<string, Met>();

  /** Whether the node that says this is to be met at the address that it answered from. */
  isBest(
    advert: Advert,
    from: { readonly host: string; readonly nowMs: number },
  ): boolean {
    const node = `${advert.store} ${advert.id}`;
    const { host, nowMs } = from;
    const met = this.#met.get(node);
    const isOther = met !== undefined && met.host !== host &&
      nowMs - met.heardMs < ADDRESS_AGE_MS_MAX;
    if (isOther && !isBetter(host, met.host)) return false;
    // Set anew, so that the first of the map is the one longest quiet.
    this.#met.delete(node);
    if (this.#met.size >= ADDRESSES_MAX) {
      for (const oldest of this.#met.keys()) {
        this.#met.delete(oldest);
        break;
      }
    }
    this.#met.set(node, { host, heardMs: nowMs });
    return true;
  }

  /** From now on each node is met where it is heard next. */
  forget(): void {
    this.#met.clear();
  }
}

function isBetter(host: string, than: string): boolean {
  return isLoopbackAddress(than) && !isLoopbackAddress(host);
}

/**
 * The addresses of a node that answered from `host`. Without a cluster key a
 * stranger could have its nodes dial anybody: then an address that is not
 * private, or a name, does not count.
 */
export function addressesOf(
  { peers, clients }: Advert,
  from: { readonly host: string; readonly isKeyed: boolean },
): { readonly peers: Address; readonly clients: Address | undefined } {
  return {
    peers: addressOf(peers, from),
    clients: clients && addressOf(clients, from),
  };
}

function addressOf(
  { host, port }: Endpoint,
  from: { readonly host: string; readonly isKeyed: boolean },
): Address {
  const isBelieved = host !== undefined &&
    (from.isKeyed || isPrivateAddress(host));
  return { host: isBelieved ? host : from.host, port };
}
