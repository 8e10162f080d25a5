/** Asks over TCP: nodes whose addresses are listed, or stand behind a name. */

import {
  type Address,
  formatAddress,
  isLoopbackAddress,
  isPrivateAddress,
  parseAddress,
} from "../../../protocol/address.ts";
import type { Advert } from "../../../protocol/discovery.ts";
import {
  type DiscoveryAnswer,
  type DiscoveryQuestion,
  encodeDiscoverAsk,
  QUESTION_NONCE_BYTES,
  readDiscoverAnswer,
} from "../../../protocol/discovery_words.ts";
import { WireError } from "../../../protocol/errors.ts";
import { FRAME } from "../../../protocol/frame.ts";
import { PeerError } from "../../../protocol/handshake.ts";
import { dial, drawIncarnation, type Greeting } from "../link.ts";
import type { Finder, FinderCounters, FinderOptions } from "./finder.ts";
import { addressesOf } from "./node_addresses.ts";
import { readFrame } from "./one_frame.ts";

/** Addresses asked at once; more are left out. */
export const ADDRESSES_ASKED_MAX = 32;

/** How long a connection, a handshake, and an answer may take, each. */
const WAIT_MS = 1_000;

/** Where a cluster is not named: see `--cluster`. */
const DEFAULT_CLUSTER = "skein";

/** Where to ask. */
export interface AddressSource {
  /** For people, before each address: "static". */
  readonly via: string;
  /** Looked up anew for each question; never rejected. */
  list(): Promise<readonly Address[]>;
}

/** Asks each address in turn, over a connection that shows the key first. */
export class AddressFinder implements Finder {
  isReady = false;
  readonly #options: FinderOptions;
  readonly #source: AddressSource;
  readonly #greeting: Greeting;
  readonly #now: () => number;
  readonly #stop = new AbortController();
  /** Addresses that are being asked. */
  readonly #asking = new Set<string>();
  /** Refusals that were said, by address. */
  readonly #said = new Map<string, string>();
  #isListing = false;
  #asked = 0;
  #failed = 0;
  #sighted = 0;

  constructor(options: FinderOptions, source: AddressSource) {
    this.#options = options;
    this.#source = source;
    this.#now = options.now ?? Date.now;
    const { key, cluster = DEFAULT_CLUSTER } = options;
    this.#greeting = {
      self: {
        ...{ cluster, role: "client", id: `discover-${Deno.pid}` },
        incarnation: drawIncarnation(),
      },
      accepts: ["chat", "witness", "mesh"],
      ...(key !== undefined && { key }),
    };
  }

  get counters(): FinderCounters {
    return {
      asked: this.#asked,
      failed: this.#failed,
      sighted: this.#sighted,
      refused: {},
    };
  }

  ask(): void {
    void this.#askAll();
  }

  close(): void {
    this.#stop.abort();
  }

  async #askAll(): Promise<void> {
    if (this.#isListing || this.#stop.signal.aborted) return;
    this.#isListing = true;
    const all = await this.#source.list();
    this.#isListing = false;
    const addresses = all.slice(0, ADDRESSES_ASKED_MAX);
    if (addresses.length > 0) this.isReady = true;
    for (const said of this.#said.keys()) {
      if (!addresses.some((address) => formatAddress(address) === said)) {
        this.#said.delete(said);
      }
    }
    for (const address of addresses) void this.#askThere(address);
  }

  async #askThere(address: Address): Promise<void> {
    const leader = await this.#askAt(address);
    if (leader !== undefined) await this.#askAt(leader);
  }

  /** @returns Who is to be asked as well, if anybody. */
  async #askAt(address: Address): Promise<Address | undefined> {
    const name = formatAddress(address);
    const { signal } = this.#stop;
    const isFull = this.#asking.size >= ADDRESSES_ASKED_MAX;
    if (signal.aborted || isFull || this.#asking.has(name)) return undefined;
    this.#asking.add(name);
    this.#asked += 1;
    try {
      const leader = await this.#askOne(address);
      this.#said.delete(name);
      return leader;
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#failed += 1;
      this.#say(name, error);
      return undefined;
    } finally {
      this.#asking.delete(name);
    }
  }

  /** @returns Who is to hear of this node as well, if anybody. */
  async #askOne(address: Address): Promise<Address | undefined> {
    const { signal } = this.#stop;
    const startMs = performance.now();
    const open = await dial(address, this.#greeting, {
      ...{ silentMsMax: WAIT_MS, waitMs: WAIT_MS, signal },
    });
    const { link } = open;
    const onAbort = () => link.abort();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal.aborted) onAbort();
      const question = this.#question();
      const advert = this.#options.advert?.();
      // The read says whether it went out.
      link.send(
        encodeDiscoverAsk({ ...question, ...(advert && { advert }) }),
      ).catch(() => {});
      const answer = readAnswer(await readFrame(open, WAIT_MS), question);
      const { host } = parseAddress(link.label);
      if (signal.aborted) return undefined;
      this.#sight(answer, { host, address, startMs });
      return advert && this.#leaderElsewhere(answer, { own: advert, host });
    } finally {
      signal.removeEventListener("abort", onAbort);
      link.abort();
    }
  }

  /**
   * The leader of another group, whom nobody may have listed: only a leader can
   * end its group.
   */
  #leaderElsewhere(
    { advert: { id, group } }: DiscoveryAnswer,
    by: { readonly own: Advert; readonly host: string },
  ): Address | undefined {
    const { own, host } = by;
    if (group === undefined || group.id === own.group?.id) return undefined;
    const { leader } = group;
    const { clients } = leader;
    if (leader.id === id || clients === undefined) return undefined;
    const isBelieved = !own.isOpen || isPrivateAddress(clients.host);
    const isHere = !isLoopbackAddress(clients.host) || isLoopbackAddress(host);
    return isBelieved && isHere ? clients : undefined;
  }

  #question(): DiscoveryQuestion {
    const { service, cluster, key } = this.#options;
    const nonce = crypto.getRandomValues(new Uint8Array(QUESTION_NONCE_BYTES))
      .toHex();
    return {
      ...(service !== undefined && { service }),
      ...(cluster !== undefined && { cluster }),
      ...{ nonce, time: this.#now(), keyed: key !== undefined },
    };
  }

  #sight(
    { advert }: DiscoveryAnswer,
    at: {
      /** Where the answer came from: of a name, one of its addresses. */
      readonly host: string;
      readonly address: Address;
      readonly startMs: number;
    },
  ): void {
    this.#sighted += 1;
    const isKeyed = this.#options.key !== undefined;
    this.#options.onSighting({
      advert,
      ...addressesOf(advert, { host: at.host, isKeyed }),
      via: `${this.#source.via} ${formatAddress(at.address)}`,
      tookMs: performance.now() - at.startMs,
    });
  }

  /** Who is not there may come; who refuses is for an operator to mend. */
  #say(name: string, error: WireError): void {
    const isMendable = error instanceof PeerError ||
      error.outcome === "definite";
    if (!isMendable || this.#stop.signal.aborted) return;
    if (this.#said.get(name) === error.message) return;
    this.#said.set(name, error.message);
    this.#options.log.warn(`Cannot ask ${name}: ${error.message}`, {
      code: error.code,
    });
  }
}

/** @throws {WireError} `invalid-message`: it is no answer to this question. */
function readAnswer(
  { kind, payload }: { readonly kind: number; readonly payload: Uint8Array },
  { nonce, service, cluster }: DiscoveryQuestion,
): DiscoveryAnswer {
  if (kind !== FRAME.discoverAnswer) {
    throw new WireError(
      "invalid-message",
      `Cannot take frame of kind ${kind}, wanted ${FRAME.discoverAnswer}`,
    );
  }
  const answer = readDiscoverAnswer(payload);
  const { advert } = answer;
  const isMeant = answer.nonce === nonce &&
    (service ?? advert.service) === advert.service &&
    (cluster ?? advert.cluster) === advert.cluster;
  if (isMeant) return answer;
  throw new WireError("invalid-message", "Peer answers another question");
}
