/** Answers the questions that come by UDP. */

import { type Address, isPrivateAddress } from "../../../protocol/address.ts";
import type { Advert, ServiceName } from "../../../protocol/discovery.ts";
import {
  DATAGRAM_REFUSALS,
  decodeDatagram,
  encodeAnswerDatagram,
} from "../../../protocol/discovery_codec.ts";
import type { DiscoveryQuestion } from "../../../protocol/discovery_words.ts";
import type { Log } from "../log.ts";
import { DatagramReader } from "./datagram_reader.ts";
import type { DiscoverWhere } from "./finder.ts";
import { INTERFACES_AGE_MS_MAX, listInterfaces } from "./interfaces.ts";
import { isNetworkError } from "./network_error.ts";
import { QUESTION_REFUSALS, QuestionChecks } from "./question_checks.ts";
import { Tally } from "./tally.ts";

/** How long a hint about a mistake of configuration is not repeated. */
const HINT_AGAIN_AFTER_MS = 600_000;

const REFUSALS = [
  ...DATAGRAM_REFUSALS,
  ...QUESTION_REFUSALS,
  /** An answer came where questions belong. */
  "answer",
  "not-private",
] as const;
type Refusal = typeof REFUSALS[number];

/** What an answerer has done so far. */
export interface AnswererCounters {
  /** Datagrams read. */
  readonly received: number;
  readonly answered: number;
  /** Answers that could not be sent, and reads that failed. */
  readonly failed: number;
  /** Tenths of a second in which more came than is read. */
  readonly pauses: number;
  /** Datagrams not answered, by reason. */
  readonly refused: Readonly<Record<Refusal, number>>;
}

/** Answers until it is closed. */
export interface Answerer {
  /** Where it listens. */
  readonly port: number;
  readonly counters: AnswererCounters;
  close(): void;
}

/** What makes an answerer. */
export interface AnswererOptions {
  readonly where: Extract<DiscoverWhere, { kind: "udp" }>;
  /** The cluster key; without it only private addresses are answered. */
  readonly key?: Uint8Array;
  readonly cluster: string;
  readonly service: ServiceName;
  /** What this node says of itself; asked for each answer. */
  advert(): Advert;
  readonly log: Log;
  /** Somebody of this cluster and service looks for others, and was answered. */
  onQuestion?(): void;
  /** Milliseconds since 1970; the machine's clock unless given. */
  readonly now?: () => number;
}

/**
 * Answers questions at the port of discovery, which all processes of this
 * machine share.
 *
 * @throws {Error} The system's error, when another program keeps the port to
 * itself.
 */
export function openAnswerer(options: AnswererOptions): Answerer {
  return new UdpAnswerer(options);
}

class UdpAnswerer implements Answerer {
  readonly port: number;
  readonly #options: AnswererOptions;
  readonly #now: () => number;
  readonly #conn: Deno.DatagramConn;
  readonly #reader: DatagramReader;
  readonly #checks: QuestionChecks;
  readonly #refused = new Tally(REFUSALS);
  readonly #hintedMs = new Map<Refusal, number>();
  readonly #timer: ReturnType<typeof setInterval>;
  #answered = 0;
  #failed = 0;
  #isClosed = false;

  constructor(options: AnswererOptions) {
    const { where, service, cluster, key } = options;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#conn = Deno.listenDatagram({
      transport: "udp",
      // A socket at one address of its own would hear no broadcast.
      hostname: "0.0.0.0",
      port: where.port,
      reuseAddress: true,
    });
    const { addr } = this.#conn;
    this.port = addr.transport === "udp" ? addr.port : where.port;
    this.#checks = new QuestionChecks({
      ...{ service, cluster, isKeyed: key !== undefined },
    });
    this.#join();
    this.#timer = setInterval(() => this.#join(), INTERFACES_AGE_MS_MAX);
    this.#reader = new DatagramReader(this.#conn, {
      onDatagram: (bytes, from) => this.#take(bytes, from),
    });
  }

  get counters(): AnswererCounters {
    const { received, pauses, failures } = this.#reader;
    return {
      ...{ received, pauses, answered: this.#answered },
      failed: this.#failed + failures,
      refused: this.#refused.counts,
    };
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#reader.close();
  }

  /** Broadcasts are heard on every interface; a group must be joined on each. */
  #join(): void {
    const lans = listInterfaces(this.#options.key !== undefined);
    for (const { address } of lans) void this.#joinOn(address);
  }

  async #joinOn(address: string): Promise<void> {
    try {
      await this.#conn.joinMulticastV4(this.#options.where.group, address);
    } catch (error) {
      // Most often it is joined already. Else broadcasts may do: some
      // interfaces have no multicast, and one may be gone by now.
      if (!isNetworkError(error)) throw error;
    }
  }

  #take(bytes: Uint8Array, from: Address): void {
    const { key, onQuestion } = this.#options;
    if (key === undefined && !isPrivateAddress(from.host)) {
      return this.#refused.add("not-private");
    }
    const read = decodeDatagram(bytes, key);
    if (read.kind === "refused") return this.#refuse(read.reason, from);
    if (read.kind === "answer") return this.#refuse("answer", from);
    const refusal = this.#checks.check(read.question, {
      host: from.host,
      nowMs: performance.now(),
      wallMs: this.#now(),
    });
    if (refusal !== undefined) return this.#refuse(refusal, from);
    void this.#answer(read.question, from);
    onQuestion?.();
  }

  async #answer({ nonce }: DiscoveryQuestion, to: Address): Promise<void> {
    const advert = this.#options.advert();
    const bytes = encodeAnswerDatagram(
      { nonce, time: this.#now(), advert },
      this.#options.key,
    );
    try {
      await this.#conn.send(bytes, {
        ...{ transport: "udp", hostname: to.host, port: to.port },
      });
      this.#answered += 1;
    } catch (error) {
      if (!isNetworkError(error)) throw error;
      if (!this.#isClosed) this.#failed += 1;
    }
  }

  #refuse(reason: Refusal, from: Address): void {
    this.#refused.add(reason);
    const { key, log } = this.#options;
    const hint = hintOf(reason, key !== undefined);
    if (hint === undefined) return;
    const nowMs = performance.now();
    const hintedMs = this.#hintedMs.get(reason) ?? -Infinity;
    if (nowMs - hintedMs < HINT_AGAIN_AFTER_MS) return;
    this.#hintedMs.set(reason, nowMs);
    log.warn(hint, { from: from.host });
  }
}

/** What an operator can do about a refusal, if anything; it is said seldom. */
function hintOf(reason: Refusal, isKeyed: boolean): string | undefined {
  if (reason === "key-required") {
    return isKeyed
      ? "Did not answer a question: its sender has no cluster key, and this node has one"
      : "Did not answer a question: its sender has a cluster key, and this node has none";
  }
  if (reason === "mac") {
    return "Did not answer a question: its sender has another cluster key";
  }
  return reason === "window"
    ? "Did not answer a question that is more than a minute old, or from the future: is a clock wrong?"
    : undefined;
}
