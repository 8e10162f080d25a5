/** Dice that fall the same way for the same seed. */

/**
 * xoshiro128**, seeded through splitmix32. Not for secrets.
 *
 * @see Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators" (2021)
 */
export class Random {
  readonly seed: number;
  readonly #state = new Uint32Array(4);

  /** @param seed Taken modulo 2^32. */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    let x = this.seed;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.#state[i] = z ^ (z >>> 16);
    }
  }

  /** At least 0, below 1. */
  next(): number {
    return this.uint32() / 2 ** 32;
  }

  /** A whole number from 0 to `maxExclusive - 1`; `maxExclusive` is 1 to 2^32. */
  int(maxExclusive: number): number {
    if (!(maxExclusive >= 1 && maxExclusive <= 2 ** 32)) {
      throw new RangeError(
        `maxExclusive is ${maxExclusive}, wanted 1 to ${2 ** 32}`,
      );
    }
    return Math.floor(this.next() * maxExclusive);
  }

  /** True with probability `p`; never for 0, always for 1. */
  chance(p: number): boolean {
    return this.next() < p;
  }

  /** `count` random bytes. */
  bytes(count: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i++) bytes[i] = this.uint32() >>> 24;
    return bytes;
  }

  /** One of `list`, which is not empty. */
  pick<Item>(list: readonly Item[]): Item {
    return list[this.int(list.length)];
  }

  /** 0 to 2^32 - 1. */
  uint32(): number {
    const s = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }
}

function rotateLeft(x: number, bits: number): number {
  return x << bits | x >>> (32 - bits);
}
