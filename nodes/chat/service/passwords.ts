/** Passwords: scrypt, kept as PHC strings, a bounded number of hashes at once. */

import { Buffer } from "node:buffer";
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { availableParallelism } from "node:os";
import { checkPassword } from "../../../protocol/chat.ts";
import { WireError } from "../../../protocol/errors.ts";

/** What a hash costs. */
export interface ScryptCost {
  /** Logarithm to base 2 of scrypt's N, 1 to {@linkcode LN_MAX}. */
  readonly ln: number;
  /** Block size; a hash takes 128 · 2^ln · r bytes of memory. */
  readonly r: number;
  /** How often, one after the other. */
  readonly p: number;
}

/** A PHC string, taken apart. */
export interface ScryptHash {
  readonly cost: ScryptCost;
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** How {@linkcode Passwords} works; all may be left out. */
export interface PasswordsOptions {
  /** Hashes at once; by default as many as there are cores. */
  readonly parallelMax?: number;
  /** Passwords that wait for a hash. */
  readonly waitingMax?: number;
  /** Of new hashes; those that are stored keep their own. */
  readonly cost?: ScryptCost;
  /** Of `node:crypto`; tests count calls. */
  readonly derive?: Derive;
}

/** Computes scrypt. */
export type Derive = (
  password: string,
  hash: { cost: ScryptCost; salt: Uint8Array; bytes: number },
) => Promise<Uint8Array>;

/**
 * 32 MiB and 70 to 130 ms of one core: what a person does not notice, and a
 * thief of the file pays for every guess. It is what `@phc/scrypt` and Passlib
 * take for memory as well; more would let few logins at once fill a small
 * machine.
 */
export const SCRYPT_COST: ScryptCost = { ln: 15, r: 8, p: 1 };

/** Passwords that wait: at two cores and 100 ms each, the last waits for 3 s. */
export const WAITING_MAX = 64;

const SALT_BYTES = 16;
const HASH_BYTES = 32;

// Of a hash that somebody else made, so that none can fill the memory.
const LN_MAX = 17;
const MEMORY_BYTES_MAX = 134_217_728;
const PARALLEL_MAX = 16;

const PHC =
  /^\$scrypt\$ln=([1-9]\d?),r=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

/** Hashes and checks passwords, off the event loop. */
export class Passwords {
  readonly #parallelMax: number;
  readonly #waitingMax: number;
  readonly #cost: ScryptCost;
  readonly #derive: Derive;
  /** Compared with where there is no user; matches nothing. */
  readonly #dummy: ScryptHash;
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  /** How long one hash took of late; begins with a guess. */
  #hashMs = 100;

  constructor(options: PasswordsOptions = {}) {
    this.#parallelMax = options.parallelMax ?? availableParallelism();
    this.#waitingMax = options.waitingMax ?? WAITING_MAX;
    this.#cost = options.cost ?? SCRYPT_COST;
    this.#derive = options.derive ?? deriveScrypt;
    this.#dummy = {
      cost: this.#cost,
      salt: randomBytes(SALT_BYTES),
      hash: randomBytes(HASH_BYTES),
    };
  }

  /** Passwords that wait for their turn. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  /**
   * Hashes a new password.
   *
   * @returns A PHC string, `$scrypt$ln=15,r=8,p=1$SALT$HASH`, about 100 characters.
   * @throws {WireError} `invalid-password`; `busy`: too many wait, the text says
   *   when to try again.
   */
  async hash(password: string): Promise<string> {
    checkPassword(password);
    const salt = randomBytes(SALT_BYTES);
    const cost = this.#cost;
    const hash = await this.#run(password, { cost, salt, bytes: HASH_BYTES });
    return formatPhc({ cost, salt, hash });
  }

  /**
   * Whether this is the password. Where there is no user, or a hash that
   * nobody can read, it is not, and finding that out takes as long.
   *
   * @param phc What {@linkcode hash} gave; `undefined` if there is no such user.
   * @throws {WireError} `invalid-password`; `busy`: too many wait, the text says
   *   when to try again.
   */
  async verify(password: string, phc: string | undefined): Promise<boolean> {
    checkPassword(password);
    const stored = phc === undefined ? undefined : parsePhc(phc);
    const { cost, salt, hash } = stored ?? this.#dummy;
    const found = await this.#run(password, {
      cost,
      salt,
      bytes: hash.length,
    });
    const isEqual = timingSafeEqual(found, hash);
    return isEqual && stored !== undefined;
  }

  async #run(
    password: string,
    hash: Parameters<Derive>[1],
  ): Promise<Uint8Array> {
    if (this.#running < this.#parallelMax) this.#running += 1;
    else await this.#wait();
    const beganMs = performance.now();
    try {
      return await this.#derive(password, hash);
    } finally {
      this.#hashMs += (performance.now() - beganMs - this.#hashMs) / 8;
      // The place goes to the one that waits longest, without being free between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.length >= this.#waitingMax) {
      const waitMs = Math.ceil(
        this.#hashMs * this.#waiting.length / this.#parallelMax,
      );
      throw new WireError(
        "busy",
        `Cannot check a password: ${this.#waiting.length} wait already, try again in ${waitMs} ms`,
      );
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** The PHC string of a hash: base64 without padding, costs as `ln`, `r`, `p`. */
export function formatPhc({ cost, salt, hash }: ScryptHash): string {
  const { ln, r, p } = cost;
  return `$scrypt$ln=${ln},r=${r},p=${p}$${base64(salt)}$${base64(hash)}`;
}

/**
 * Takes a PHC string apart.
 *
 * @returns `undefined` if it is none of scrypt, or costs more than 128 MiB.
 *   Never throws.
 */
export function parsePhc(text: string): ScryptHash | undefined {
  const match = PHC.exec(text);
  if (match === null) return undefined;
  const [ln, r, p] = match.slice(1, 4).map(Number);
  if (ln > LN_MAX || p > PARALLEL_MAX) return undefined;
  if (128 * 2 ** ln * r > MEMORY_BYTES_MAX) return undefined;
  return {
    cost: { ln, r, p },
    salt: Buffer.from(match[4], "base64"),
    hash: Buffer.from(match[5], "base64"),
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replaceAll("=", "");
}

function deriveScrypt(
  password: string,
  { cost, salt, bytes }: Parameters<Derive>[1],
): Promise<Uint8Array> {
  const { ln, r, p } = cost;
  const N = 2 ** ln;
  // The default bound is just what N = 2^14 takes.
  const maxmem = 2 * 128 * N * r * p;
  return new Promise((resolve, reject) => {
    scrypt(password, salt, bytes, { N, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
