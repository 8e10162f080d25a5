/** Durations counted in a few buckets: cheap enough for every commit. */

/** Upper bounds of the buckets, in milliseconds; what is slower is counted too. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  ...[0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
  ...[1_000, 2_000, 4_000, 8_000],
];

/** A histogram of durations. */
export class Latencies {
  /** How many fell into each bucket and into none before it; the last is above all bounds. */
  readonly counts: number[] = LATENCY_BOUNDS_MS.map(() => 0).concat(0);
  sumMs = 0;

  /** Counts one duration, or `times` of the same. */
  observe(ms: number, times = 1): void {
    let bucket = 0;
    while (ms > LATENCY_BOUNDS_MS[bucket]) bucket += 1;
    this.counts[bucket] += times;
    this.sumMs += ms * times;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}
