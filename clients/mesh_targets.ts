/** Which mesh server a client goes to: the least loaded that takes clients. */

import {
  type Address,
  isWildcardHost,
  parseAddress,
} from "../protocol/address.ts";
import type { ListedServer } from "../protocol/mesh.ts";
import { asSeenFrom, isAmong } from "./chat_targets.ts";
import type { AskedServer } from "./mesh_chat_contract.ts";

/** Servers asked at once how they are: enough to find one with room. */
export const ASKED_MAX = 16;

/** Servers remembered beside those that were given. */
const LEARNED_MAX = 64;

/**
 * When many clients lose one server, all ask at the same time and hear the
 * same: were all to take the very least loaded, it would get all of them. So
 * whoever comes from elsewhere takes any that has at most half as many more.
 */
const NEAR_FACTOR = 1.5;
const NEAR_CLIENTS = 4;

/** Remembers the servers that were given and those that others tell of. */
export class MeshTargets {
  readonly #given: readonly Address[];
  #learned: Address[] = [];

  constructor(given: readonly Address[]) {
    this.#given = given;
  }

  get size(): number {
    return this.#given.length + this.#learned.length;
  }

  /** Each once, at most {@linkcode ASKED_MAX}: what was given, then what was heard of last. */
  get all(): readonly Address[] {
    return [...this.#given, ...this.#learned].slice(0, ASKED_MAX);
  }

  /** Takes addresses as discovery found them. */
  found(addresses: readonly Address[]): void {
    const fresh: Address[] = [];
    for (const one of [...addresses, ...this.#learned]) {
      if (!isAmong(one, this.#given) && !isAmong(one, fresh)) fresh.push(one);
    }
    this.#learned = fresh.slice(0, LEARNED_MAX);
  }

  /** Takes addresses as the server at `from` tells them; what is none is left out. */
  told(from: Address, texts: readonly string[]): void {
    this.found(texts.flatMap((text) => seenFrom(from, text) ?? []));
  }

  /** The same of all servers that are up, but for the one that says so. */
  follow(
    from: Address,
    status: {
      readonly server: string;
      readonly servers: readonly ListedServer[];
    },
  ): void {
    this.told(
      from,
      status.servers.flatMap(({ id, up, address }) =>
        id === status.server || !up || address === undefined ? [] : [address]
      ),
    );
  }
}

/**
 * Those that take clients, best first: the least loaded, of equals whichever
 * the dice say.
 *
 * @param dice 0 up to 1.
 * @param isAgain Whether many others may choose at the same time.
 */
export function byLoad(
  servers: readonly AskedServer[],
  { dice, isAgain }: { readonly dice: number; readonly isAgain: boolean },
): Address[] {
  const open: AskedServer[] = [];
  const ids = new Set<string>();
  for (const one of servers) {
    // Two addresses may lead to one server.
    if (one.status.draining || ids.has(one.status.server)) continue;
    ids.add(one.status.server);
    open.push(one);
  }
  open.sort((one, other) => one.status.clients - other.status.clients);
  const least = open.at(0)?.status.clients ?? 0;
  const near = isAgain ? least * NEAR_FACTOR + NEAR_CLIENTS : least;
  const equals = open.filter(({ status }) => status.clients <= near);
  const first = Math.floor(dice * equals.length);
  return [
    ...equals.slice(first),
    ...equals.slice(0, first),
    ...open.slice(equals.length),
  ].map(({ address }) => address);
}

function seenFrom(from: Address, text: string): Address | undefined {
  try {
    const told = parseAddress(text);
    if (told.port === 0) return undefined;
    // Every address of its machine: one of them led to it.
    if (isWildcardHost(told.host)) return { ...told, host: from.host };
    return asSeenFrom(from, told);
  } catch (error) {
    // Only from a server of another version: it knows no better address.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
