/** How often something may be done: so many times within any stretch of so long. */

export class Budget {
  readonly #max: number;
  readonly #windowMs: number;
  /** When it was done; the latest `max` at most. */
  #spentMs: number[] = [];

  constructor({ max, windowMs }: { max: number; windowMs: number }) {
    this.#max = max;
    this.#windowMs = windowMs;
  }

  /** @param nowMs Monotonic. */
  isSpent(nowMs: number): boolean {
    if (this.#spentMs.length < this.#max) return false;
    return nowMs - this.#spentMs[0] < this.#windowMs;
  }

  /** It is done now. */
  spend(nowMs: number): void {
    this.#spentMs.push(nowMs);
    if (this.#spentMs.length > this.#max) this.#spentMs.shift();
  }
}
