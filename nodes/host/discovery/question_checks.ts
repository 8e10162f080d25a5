/** Which questions are answered. */

import type { ServiceName } from "../../../protocol/discovery.ts";
import type { DiscoveryQuestion } from "../../../protocol/discovery_words.ts";
import { RateLimits } from "./rate_limits.ts";

/** How far the clocks of asker and answerer may be apart, where a key is used. */
export const QUESTION_WINDOW_MS = 60_000;

/**
 * Nonces of one generation, two of which are remembered: more than can be
 * answered while a question is taken.
 */
export const NONCES_MAX = 65_536;

/** How long nobody would take the same answer again, where no key is used. */
const OPEN_GENERATION_MS = 10_000;

/** Why a question gets no answer. */
export const QUESTION_REFUSALS = [
  "other-service",
  "other-cluster",
  /** From another time: recorded and sent again, or a clock is wrong. */
  "window",
  /** Answered already; each question comes on several ways. */
  "repeated",
  /** Its sender, or all together, ask too often. */
  "rate",
] as const;
export type QuestionRefusal = typeof QUESTION_REFUSALS[number];

/** Whom the questions are put to. */
export interface QuestionChecksOptions {
  readonly service: ServiceName;
  readonly cluster: string;
  /** Without a key the time proves nothing, and machines with wrong clocks are to find each other. */
  readonly isKeyed: boolean;
}

/** When and from where a question came. */
export interface QuestionArrival {
  /** The sender's address. */
  readonly host: string;
  /** Of a clock that only goes forward. */
  readonly nowMs: number;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

/** Decides which questions are answered, in bounded memory. */
export class QuestionChecks {
  readonly #options: QuestionChecksOptions;
  readonly #rates = new RateLimits();
  #answered = new Set<string>();
  #answeredBefore = new Set<string>();
  #generationSinceMs = -Infinity;

  constructor(options: QuestionChecksOptions) {
    this.#options = options;
  }

  /** @returns Why it is not answered; undefined if it is, from now on. */
  check(
    question: DiscoveryQuestion,
    arrival: QuestionArrival,
  ): QuestionRefusal | undefined {
    const { service, cluster, isKeyed } = this.#options;
    const { nonce, time } = question;
    if ((question.service ?? service) !== service) return "other-service";
    if ((question.cluster ?? cluster) !== cluster) return "other-cluster";
    if (isKeyed && Math.abs(arrival.wallMs - time) > QUESTION_WINDOW_MS) {
      return "window";
    }
    this.#forget(arrival.nowMs);
    if (this.#answered.has(nonce) || this.#answeredBefore.has(nonce)) {
      return "repeated";
    }
    if (!this.#rates.take(arrival.host, arrival.nowMs)) return "rate";
    this.#answered.add(nonce);
    return undefined;
  }

  /** Nonces remembered. */
  get nonces(): number {
    return this.#answered.size + this.#answeredBefore.size;
  }

  /**
   * A question is taken for twice the window: from a clock that is ahead, to
   * one that is behind. So long its nonce is remembered.
   */
  #forget(nowMs: number): void {
    const generationMs = this.#options.isKeyed
      ? 2 * QUESTION_WINDOW_MS
      : OPEN_GENERATION_MS;
    const isFull = this.#answered.size >= NONCES_MAX;
    const isOld = nowMs - this.#generationSinceMs >= generationMs;
    if (!isFull && !isOld) return;
    this.#answeredBefore = this.#answered;
    this.#answered = new Set();
    this.#generationSinceMs = nowMs;
  }
}
