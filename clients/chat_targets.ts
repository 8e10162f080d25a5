/** Which server a chat client tries next. */

import {
  type Address,
  formatAddress,
  isLoopbackAddress,
} from "../protocol/address.ts";
import { type ChatView, serverAddress } from "../protocol/chat_view.ts";
import type { NodeId } from "../protocol/ids.ts";

/** Servers that discovery found and that are remembered. */
export const FOUND_MAX = 32;

/** What to try, and how often all were tried in vain before. */
export interface Attempt {
  readonly address: Address;
  /** 0 in the first round. */
  readonly round: number;
}

/**
 * Remembers the servers that somebody named, that were found, and that the
 * group itself tells of. All are tried in turn: the leader first, the one that
 * was tried last at the end.
 */
export class ChatTargets {
  readonly #given: readonly Address[];
  #found: readonly Address[] = [];
  /** By id, of the servers in the newest view; what was known of one stays. */
  #told: ReadonlyMap<NodeId, Address> = new Map();
  #leader: NodeId | undefined;
  #round: Address[] = [];
  #rounds = 0;
  #last: Address | undefined;

  constructor(given: readonly Address[]) {
    this.#given = given;
  }

  get size(): number {
    return this.#all().length;
  }

  /** Undefined: nobody knows a server. */
  next(): Attempt | undefined {
    if (this.#round.length === 0) {
      this.#round = this.#order();
      this.#rounds += 1;
    }
    const address = this.#round.shift();
    if (address === undefined) return undefined;
    this.#last = address;
    return { address, round: this.#rounds - 1 };
  }

  /** The last one tried serves us: when it is lost, all begins anew. */
  settle(): void {
    this.#round = [];
    this.#rounds = 0;
  }

  /** Takes what discovery found, best first. */
  found(addresses: readonly Address[]): void {
    const known = this.#all();
    this.#found = addresses.slice(0, FOUND_MAX);
    const fresh = this.#found.filter((one) => !isAmong(one, known));
    this.#round.unshift(...fresh);
  }

  /** Takes what the server that was tried last says of its group. */
  follow({ node, leader, servers }: ChatView): void {
    const from = this.#last;
    if (from === undefined) return;
    const told = new Map<NodeId, Address>();
    for (const server of servers) {
      const address = server.id === node
        ? from
        : asSeenFrom(from, serverAddress(server)) ?? this.#told.get(server.id);
      if (address !== undefined) told.set(server.id, address);
    }
    this.#told = told;
    this.#leader = leader ?? this.#leader;
  }

  /** Each address once. */
  #all(): Address[] {
    const all: Address[] = [];
    for (
      const one of [...this.#given, ...this.#found, ...this.#told.values()]
    ) {
      if (!isAmong(one, all)) all.push(one);
    }
    return all;
  }

  #order(): Address[] {
    const all = this.#all();
    const last = this.#last;
    const at = last === undefined
      ? -1
      : all.findIndex((one) => isSame(one, last));
    const ring = [...all.slice(at + 1), ...all.slice(0, at + 1)];
    const leader = this.#told.get(this.#leader ?? "");
    // Whoever was just lost may lead in the view that is known, and no more.
    const isFirst = leader !== undefined &&
      (last === undefined || !isSame(leader, last));
    if (!isFirst) return ring;
    return [leader, ...ring.filter((one) => !isSame(one, leader))];
  }
}

/** A loopback address is of the machine of whoever tells of it. */
export function asSeenFrom(
  from: Address,
  told: Address | undefined,
): Address | undefined {
  if (told === undefined || !isLoopback(told.host)) return told;
  return isLoopback(from.host) ? told : { host: from.host, port: told.port };
}

function isLoopback(host: string): boolean {
  return isLoopbackAddress(host) || host.toLowerCase() === "localhost";
}

/** Whether an address is there, however its host is written. */
export function isAmong(address: Address, all: readonly Address[]): boolean {
  return all.some((one) => isSame(one, address));
}

function isSame(one: Address, other: Address): boolean {
  return formatAddress(one).toLowerCase() ===
    formatAddress(other).toLowerCase();
}
