/** Finders: who else is there, by whatever way there is to ask. */

import type { Address } from "../../../protocol/address.ts";
import type { Advert, ServiceName } from "../../../protocol/discovery.ts";
import type { Log } from "../log.ts";

/** Where to ask; see `--discover`. */
export type DiscoverWhere =
  /** At addresses that somebody has listed. */
  | { readonly kind: "static"; readonly addresses: readonly Address[] }
  /** At those that a name stands for, at its SRV records' ports if it has any. */
  | { readonly kind: "dns"; readonly name: string; readonly port: number }
  /** On the networks that this machine is in. */
  | { readonly kind: "udp"; readonly group: string; readonly port: number };

/** A node that answered. Nothing but itself vouches for what it says. */
export interface Sighting {
  readonly advert: Advert;
  /** Where nodes reach it from here. */
  readonly peers: Address;
  /** Where people do; not of a witness. */
  readonly clients: Address | undefined;
  /** How it was asked: "udp 10.0.0.2", "dns chat.lab 10.0.0.2:8081". */
  readonly via: string;
  /** From the question to its answer. */
  readonly tookMs: number;
}

/** What a finder has done so far. */
export interface FinderCounters {
  /** Questions sent, on each way. */
  readonly asked: number;
  /** Questions that could not be sent, or whose address could not be reached. */
  readonly failed: number;
  /** Answers taken. */
  readonly sighted: number;
  /** Answers not taken, by reason; only of datagrams. */
  readonly refused: Readonly<Record<string, number>>;
}

/** Asks who is there. */
export interface Finder {
  /** Sends a question on every way; what comes of it is sighted later. Never throws. */
  ask(): void;
  /** Whether there is or was anybody to be asked: a name may have no address yet. */
  readonly isReady: boolean;
  readonly counters: FinderCounters;
  /** Nothing is sighted from here on. */
  close(): void;
}

/** What makes a finder. */
export interface FinderOptions {
  readonly where: DiscoverWhere;
  /** Only nodes of this service; without it all. */
  readonly service?: ServiceName;
  /**
   * Only nodes of this cluster; without it all, by UDP. Over TCP a handshake
   * needs one: `skein` unless it is given.
   */
  readonly cluster?: string;
  /** The cluster key. */
  readonly key?: Uint8Array;
  /**
   * What a node that looks for others says of itself to those that it asks over
   * TCP: else they would never hear of it.
   */
  advert?(): Advert;
  /**
   * Called once for each node and question, and once more if the node is then
   * met at an address that is good elsewhere too.
   */
  onSighting(sighting: Sighting): void;
  readonly log: Log;
  /** Milliseconds since 1970; the machine's clock unless given. */
  readonly now?: () => number;
}
