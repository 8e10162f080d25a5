/** Addresses by the domain name system: SRV records, else A and AAAA. */

import { lookup } from "node:dns/promises";
import type { Address } from "../../../protocol/address.ts";
import type { Log } from "../log.ts";

/** How long SRV records are waited for; many a resolver drops such questions. */
const SRV_WAIT_MS = 1_000;

/** How long such a resolver is not asked again. */
const SRV_AGAIN_AFTER_MS = 30_000;

/** SRV records that are followed, by priority. */
const TARGETS_MAX = 32;

/** What is looked up. */
export interface DnsNamesOptions {
  /** Searched as the system does it: `/etc/hosts` and search domains count. */
  readonly name: string;
  /** Where no SRV record says another one. */
  readonly port: number;
  readonly log: Log;
}

/** What a name stands for, looked up anew each time. */
export class DnsNames {
  readonly #options: DnsNamesOptions;
  #isNoted = false;
  #srvNotBeforeMs = -Infinity;

  constructor(options: DnsNamesOptions) {
    this.#options = options;
  }

  /**
   * All addresses. None while the name does not resolve, which is said once: a
   * headless service has no records before its first pod is there.
   */
  async list(): Promise<readonly Address[]> {
    const { name, port } = this.#options;
    const [targets, plain] = await Promise.all([
      this.#targets(),
      this.#resolve({ host: name, port }),
    ]);
    const found = targets.length === 0
      ? plain
      : (await Promise.all(targets.map((one) => this.#resolve(one)))).flat();
    if (found.length > 0) this.#isNoted = false;
    return found;
  }

  /** Hosts and ports of `_skein._tcp.NAME`. */
  async #targets(): Promise<readonly Address[]> {
    if (performance.now() < this.#srvNotBeforeMs) return [];
    try {
      const records = await Deno.resolveDns(
        `_skein._tcp.${this.#options.name}`,
        "SRV",
        { signal: AbortSignal.timeout(SRV_WAIT_MS) },
      );
      return records.toSorted((a, b) => a.priority - b.priority)
        .slice(0, TARGETS_MAX)
        .map(({ target, port }) => ({ host: target, port }));
    } catch (error) {
      // Most names have none; others have nobody who says so, and are not to
      // wait for it each time.
      if (!(error instanceof Deno.errors.NotFound)) {
        this.#srvNotBeforeMs = performance.now() + SRV_AGAIN_AFTER_MS;
      }
      return [];
    }
  }

  async #resolve({ host, port }: Address): Promise<readonly Address[]> {
    try {
      const found = await lookup(host, { all: true });
      return found.map(({ address }) => ({ host: address, port }));
    } catch (error) {
      this.#note(host, error);
      return [];
    }
  }

  #note(host: string, error: unknown): void {
    if (this.#isNoted) return;
    this.#isNoted = true;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.warn(`"${host}" does not resolve yet`, { reason });
  }
}
