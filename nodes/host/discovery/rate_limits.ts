/** How often anybody is answered. */

/** Answers to one address in a second, and as many as it may save up. */
export const SOURCE_RATE = { perSecond: 50, burst: 100 } as const;

/** Answers to all together. */
export const TOTAL_RATE = { perSecond: 500, burst: 500 } as const;

/** Addresses remembered; beyond it the one that was quiet for longest is forgotten. */
export const SOURCES_MAX = 1_024;

interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Token buckets: one for each address, and one for all. */
export class RateLimits {
  readonly #sources = new Map<string, Bucket>();
  readonly #total = new Bucket(TOTAL_RATE);

  /**
   * Whether this address may be answered now; if so, it has been.
   *
   * @param nowMs Of a clock that only goes forward.
   */
  take(source: string, nowMs: number): boolean {
    const bucket = this.#sources.get(source) ?? new Bucket(SOURCE_RATE);
    // Set anew, so that the first of the map is the one longest quiet.
    this.#sources.delete(source);
    if (this.#sources.size >= SOURCES_MAX) {
      for (const oldest of this.#sources.keys()) {
        this.#sources.delete(oldest);
        break;
      }
    }
    this.#sources.set(source, bucket);
    if (!bucket.has(nowMs) || !this.#total.has(nowMs)) return false;
    bucket.take();
    this.#total.take();
    return true;
  }

  /** Addresses remembered. */
  get sources(): number {
    return this.#sources.size;
  }
}

class Bucket {
  readonly #rate: Rate;
  #tokens: number;
  #atMs: number | undefined;

  constructor(rate: Rate) {
    this.#rate = rate;
    this.#tokens = rate.burst;
  }

  has(nowMs: number): boolean {
    const { perSecond, burst } = this.#rate;
    const sinceMs = nowMs - (this.#atMs ?? nowMs);
    this.#atMs = nowMs;
    this.#tokens = Math.min(burst, this.#tokens + sinceMs * perSecond / 1_000);
    return this.#tokens >= 1;
  }

  take(): void {
    this.#tokens -= 1;
  }
}
