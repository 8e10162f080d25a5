/** Asks by UDP: whoever is on the networks that this machine is in. */

import {
  type Address,
  isLoopbackAddress,
  isPrivateAddress,
} from "../../../protocol/address.ts";
import {
  DATAGRAM_REFUSALS,
  decodeDatagram,
  encodeQuestionDatagram,
} from "../../../protocol/discovery_codec.ts";
import {
  type DiscoveryAnswer,
  QUESTION_NONCE_BYTES,
} from "../../../protocol/discovery_words.ts";
import { DatagramReader } from "./datagram_reader.ts";
import type {
  DiscoverWhere,
  Finder,
  FinderCounters,
  FinderOptions,
} from "./finder.ts";
import {
  INTERFACES_AGE_MS_MAX,
  type LanInterface,
  listInterfaces,
} from "./interfaces.ts";
import { isNetworkError } from "./network_error.ts";
import { addressesOf, NodeAddresses } from "./node_addresses.ts";
import { OpenQuestions } from "./open_questions.ts";
import { Tally } from "./tally.ts";

const LIMITED_BROADCAST = "255.255.255.255";

const REFUSALS = [
  ...DATAGRAM_REFUSALS,
  /** A question came where answers belong. */
  "question",
  "not-private",
  /** An answer to no question of this socket, or too late. */
  "unasked",
  "repeated",
  "other-service",
  "other-cluster",
  /** It listens at its machine's loopback address only, and that is not this machine. */
  "loopback-elsewhere",
  /** The node is met at another address already. */
  "other-address",
] as const;

/** One network, and the socket that asks there. */
interface Way {
  readonly lan: LanInterface;
  readonly conn: Deno.DatagramConn;
  readonly reader: DatagramReader;
  readonly questions: OpenQuestions;
}

/** Questions on every network, each with a nonce of its own; answers come back to the socket that asked. */
export class UdpFinder implements Finder {
  readonly isReady = true;
  readonly #options: FinderOptions;
  readonly #where: Extract<DiscoverWhere, { kind: "udp" }>;
  readonly #now: () => number;
  readonly #ways = new Map<string, Way>();
  readonly #addresses = new NodeAddresses();
  readonly #refused = new Tally(REFUSALS);
  #asked = 0;
  #failed = 0;
  #sighted = 0;
  #listedMs = -Infinity;
  #isClosed = false;

  constructor(
    options: FinderOptions,
    where: Extract<DiscoverWhere, { kind: "udp" }>,
  ) {
    this.#options = options;
    this.#where = where;
    this.#now = options.now ?? Date.now;
  }

  get counters(): FinderCounters {
    return {
      asked: this.#asked,
      failed: this.#failed,
      sighted: this.#sighted,
      refused: this.#refused.counts,
    };
  }

  ask(): void {
    if (this.#isClosed) return;
    this.#openWays();
    for (const way of this.#ways.values()) this.#askOn(way);
  }

  close(): void {
    this.#isClosed = true;
    for (const { reader } of this.#ways.values()) reader.close();
    this.#ways.clear();
  }

  /** Interfaces come and go: cables, radio, containers. */
  #openWays(): void {
    const nowMs = performance.now();
    if (nowMs - this.#listedMs < INTERFACES_AGE_MS_MAX) return;
    this.#listedMs = nowMs;
    const lans = listInterfaces(this.#options.key !== undefined);
    for (const [address, { reader }] of this.#ways) {
      if (lans.some((lan) => lan.address === address)) continue;
      reader.close();
      this.#ways.delete(address);
      // Whoever was met through it is met elsewhere, if anywhere.
      this.#addresses.forget();
    }
    for (const lan of lans) {
      if (this.#ways.has(lan.address)) continue;
      try {
        this.#ways.set(lan.address, this.#openWay(lan));
      } catch (error) {
        // The address may be gone by now; it is looked for again.
        if (!isNetworkError(error)) throw error;
        this.#failed += 1;
      }
    }
  }

  #openWay(lan: LanInterface): Way {
    const conn = Deno.listenDatagram({
      transport: "udp",
      hostname: lan.address,
      port: 0,
      // Else nodes on this machine would not hear a multicast.
      loopback: true,
    });
    const questions = new OpenQuestions();
    const reader = new DatagramReader(conn, {
      onDatagram: (bytes, from) => this.#take(bytes, { from, questions }),
    });
    return { lan, conn, reader, questions };
  }

  #askOn({ lan, conn, questions }: Way): void {
    const { service, cluster, key } = this.#options;
    const nonce = crypto.getRandomValues(new Uint8Array(QUESTION_NONCE_BYTES))
      .toHex();
    const bytes = encodeQuestionDatagram({
      ...(service !== undefined && { service }),
      ...(cluster !== undefined && { cluster }),
      ...{ nonce, time: this.#now(), keyed: key !== undefined },
    }, key);
    questions.asked(nonce, performance.now());
    const { group, port } = this.#where;
    const hosts = [LIMITED_BROADCAST, group];
    if (lan.broadcast !== undefined) hosts.push(lan.broadcast);
    for (const host of hosts) void this.#send(conn, bytes, { host, port });
  }

  /** One way that fails, for want of a route or for a firewall, leaves the others. */
  async #send(
    conn: Deno.DatagramConn,
    bytes: Uint8Array,
    { host, port }: Address,
  ): Promise<void> {
    this.#asked += 1;
    try {
      await conn.send(bytes, { transport: "udp", hostname: host, port });
    } catch (error) {
      if (!isNetworkError(error)) throw error;
      this.#failed += 1;
    }
  }

  #take(
    bytes: Uint8Array,
    at: { readonly from: Address; readonly questions: OpenQuestions },
  ): void {
    const { key } = this.#options;
    const { from, questions } = at;
    if (key === undefined && !isPrivateAddress(from.host)) {
      return this.#refused.add("not-private");
    }
    const read = decodeDatagram(bytes, key);
    if (read.kind === "refused") return this.#refused.add(read.reason);
    if (read.kind === "question") return this.#refused.add("question");
    const { answer } = read;
    const refusal = this.#whyNotMeant(answer, from);
    if (refusal !== undefined) return this.#refused.add(refusal);
    const taken = questions.take(answer, performance.now());
    if (typeof taken === "string") return this.#refused.add(taken);
    this.#sight(answer, { from, tookMs: taken.tookMs });
  }

  #whyNotMeant(
    { advert }: DiscoveryAnswer,
    from: Address,
  ): typeof REFUSALS[number] | undefined {
    const { service, cluster } = this.#options;
    if ((service ?? advert.service) !== advert.service) return "other-service";
    if ((cluster ?? advert.cluster) !== advert.cluster) return "other-cluster";
    const isElsewhere = !isLoopbackAddress(from.host) &&
      !this.#ways.has(from.host);
    const { host } = advert.peers;
    return isElsewhere && host !== undefined && isLoopbackAddress(host)
      ? "loopback-elsewhere"
      : undefined;
  }

  #sight(
    { advert }: DiscoveryAnswer,
    at: { readonly from: Address; readonly tookMs: number },
  ): void {
    const { from, tookMs } = at;
    const { host } = from;
    const nowMs = performance.now();
    if (!this.#addresses.isBest(advert, { host, nowMs })) {
      return this.#refused.add("other-address");
    }
    this.#sighted += 1;
    this.#options.onSighting({
      advert,
      ...addressesOf(advert, {
        host,
        isKeyed: this.#options.key !== undefined,
      }),
      via: `udp ${host}`,
      tookMs,
    });
  }
}
