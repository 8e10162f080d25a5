/** Addresses by the domain name system: SRV records, else A and AAAA. */

import { lookup } from "node:dns/promises";
import type { Address } from "../../../protocol/address.ts";
import type { Log } from "../log.ts";

/** How long SRV records are looked for; many a resolver drops such questions. */
const SRV_WAIT_MS = 1_000;

/** How long plain addresses wait for them: whoever has such records has them by then. */
const SRV_FIRST_MS = 300;

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
  /** What the last SRV records said. */
  #targets: readonly Address[] = [];
  /** While SRV records are looked for. */
  #looking: Promise<void> | undefined;

  constructor(options: DnsNamesOptions) {
    this.#options = options;
  }

  /**
   * All addresses. None while the name does not resolve, which is said once: a
   * headless service has no records before its first pod is there. SRV records
   * that come late count from the next time on.
   */
  async list(): Promise<readonly Address[]> {
    const { name, port } = this.#options;
    const [plain] = await Promise.all([
      this.#resolve({ host: name, port }),
      this.#lookForTargets(),
    ]);
    const targets = this.#targets;
    const found = targets.length === 0
      ? plain
      : (await Promise.all(targets.map((one) => this.#resolve(one)))).flat();
    if (found.length > 0) this.#isNoted = false;
    return found;
  }

  /** Goes on looking when this has ended, if that takes long. */
  async #lookForTargets(): Promise<void> {
    if (performance.now() < this.#srvNotBeforeMs) return;
    this.#looking ??= this.#findTargets().then((targets) => {
      this.#targets = targets;
      this.#looking = undefined;
    });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, SRV_FIRST_MS);
    });
    await Promise.race([this.#looking, enough]);
    clearTimeout(timer);
  }

  /** Hosts and ports of `_skein._tcp.NAME`. */
  async #findTargets(): Promise<readonly Address[]> {
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
