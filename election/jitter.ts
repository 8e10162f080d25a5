/** Jitter that follows from a seed, so that a core needs no dice of its own. */

/**
 * Marsaglia's xorshift with 32 bits; for spreading waits, not for secrets.
 *
 * @see Marsaglia, "Xorshift RNGs" (2003)
 */
export class Jitter {
  #state: number;

  /** @param seed Any 32 bits. */
  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  }

  /** At least `low`, below `high`. */
  between(low: number, high: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return low + this.#state / 2 ** 32 * (high - low);
  }
}
