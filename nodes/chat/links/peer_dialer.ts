/** When to dial one node, and what to make of it when that fails. */

import { type Address, formatAddress } from "../../../protocol/address.ts";
import { WireError } from "../../../protocol/errors.ts";
import { PeerError } from "../../../protocol/handshake.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import { isConnectionRefused, probeRefused } from "./probe.ts";
import type { SeldomLog } from "../../host/seldom_log.ts";

/** Waits between nodes that look for each other, in milliseconds. */
export interface PeerWaits {
  /** Between two attempts, once the first few have failed; give or take a half. */
  readonly redialMs: number;
  /** After a refusal that an operator has to mend. */
  readonly refusedRedialMs: number;
  /** How long the node that does not dial first waits for the other. */
  readonly dialAnywayMs: number;
  /** How long a connection may take, and then the handshake. */
  readonly dialWaitMs: number;
  /** How long a node may take to say who it is once its handshake is over. */
  readonly helloWaitMs: number;
  /** How long a lost node's address is probed. */
  readonly probeWaitMs: number;
}

/** Of nodes near each other; a link over the internet wants a longer `dialWaitMs`. */
export const DEFAULT_PEER_WAITS: PeerWaits = {
  redialMs: 100,
  refusedRedialMs: 1_000,
  dialAnywayMs: 500,
  dialWaitMs: 1_000,
  helloWaitMs: 3_000,
  probeWaitMs: 250,
};

/** After a loss the first attempts follow each other this fast, twice as slow each time. */
const FIRST_REDIAL_MS = 2;

/** A link that lasted so long was a good one: the next attempt is a first one. */
const LASTING_MS = 1_000;

/** What a dialer needs of those who use it. */
export interface PeerDialerOptions {
  readonly id: NodeId;
  readonly address: Address;
  /** Whether it is this side that dials first. */
  readonly isFirst: boolean;
  /** Whether the other side may know this node, and so dial as well. */
  readonly isExpected: boolean;
  readonly waits: PeerWaits;
  readonly log: SeldomLog;
  isLinked(): boolean;
  /** Makes the link; rejected if there is none in the end. */
  dial(signal: AbortSignal): Promise<void>;
  /** Nobody listens there; told once until the next link. */
  onRefused(): void;
  /** The node refuses this one since another has its id or its data. */
  onIdTaken(text: string): void;
}

/** This node said what is no longer so: the next attempt says what is. */
export class StaleAttempt extends WireError {
  constructor() {
    super("link-lost", "This node has got a group meanwhile");
  }
}

/** Dials one node for as long as there is no link to it. */
export class PeerDialer {
  /** Why there is no link. */
  problem = "not reached yet";
  readonly #options: PeerDialerOptions;
  #attempts = 0;
  #linkedSinceMs = 0;
  #isRefusedTold = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dialing: AbortController | undefined;
  #probing: AbortController | undefined;
  #isClosed = false;

  constructor(options: PeerDialerOptions) {
    this.#options = options;
  }

  start(): void {
    const { isFirst, isExpected, waits } = this.#options;
    this.#schedule(isFirst || !isExpected ? 0 : waits.dialAnywayMs);
  }

  /** A link stands, whoever dialed. */
  linked(): void {
    this.#linkedSinceMs = performance.now();
    this.#isRefusedTold = false;
    clearTimeout(this.#timer);
    this.#probing?.abort();
    // Of two links that cross, that of the first dialer stays.
    if (!this.#options.isFirst) this.#dialing?.abort();
    this.#options.log.forget(this.#options.id);
  }

  /** The link is gone: is its process as well? */
  lost(error: WireError): void {
    const { isFirst, waits } = this.#options;
    this.problem = error.message;
    if (performance.now() - this.#linkedSinceMs >= LASTING_MS) {
      this.#attempts = 0;
    }
    if (error.outcome === "definite") {
      this.#schedule(waits.refusedRedialMs);
      return;
    }
    this.#schedule(isFirst ? this.#redialMs() : waits.dialAnywayMs);
    void this.#probe();
  }

  /** This side has ended the link: a new one is to be made at once. */
  again(): void {
    this.#attempts = 0;
    this.#schedule(this.#options.isFirst ? 0 : this.#options.waits.redialMs);
  }

  /** Gives up what is under way. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#dialing?.abort();
    this.#probing?.abort();
  }

  #schedule(afterMs: number): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#dial(), afterMs);
  }

  #redialMs(): number {
    const { redialMs } = this.#options.waits;
    const attempt = this.#attempts;
    this.#attempts += 1;
    if (attempt === 0) return 0;
    const waitMs = Math.min(redialMs, FIRST_REDIAL_MS * 2 ** attempt);
    return waitMs * (0.5 + Math.random());
  }

  async #dial(): Promise<void> {
    const { isLinked, dial } = this.#options;
    if (this.#isClosed || isLinked() || this.#dialing !== undefined) return;
    this.#dialing = new AbortController();
    try {
      await dial(this.#dialing.signal);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      if (!this.#isClosed && !isLinked()) this.#failed(error);
    } finally {
      this.#dialing = undefined;
    }
  }

  #failed(error: WireError): void {
    const { id, address, log, waits, onIdTaken } = this.#options;
    this.problem = error.message;
    const isTheirs = error instanceof PeerError;
    const isDefinite = error.outcome === "definite";
    // Nothing is wrong with a node that was not told the newest in time.
    if (!(error instanceof StaleAttempt)) {
      log.say(isDefinite ? "warn" : "info", id, {
        message: isTheirs
          ? `"${id}" refuses this node: ${error.message}`
          : `Cannot reach "${id}": ${error.message}`,
        fields: { address: formatAddress(address), code: error.code },
      });
    }
    if (isConnectionRefused(error)) this.#refused();
    if (isTheirs && error.code === "id-taken") onIdTaken(error.message);
    this.#schedule(isDefinite ? waits.refusedRedialMs : this.#redialMs());
  }

  async #probe(): Promise<void> {
    const { address, isLinked, waits } = this.#options;
    this.#probing?.abort();
    const controller = new AbortController();
    this.#probing = controller;
    const isRefused = await probeRefused(address, {
      waitMs: waits.probeWaitMs,
      signal: controller.signal,
    });
    if (isRefused && !controller.signal.aborted && !isLinked()) this.#refused();
  }

  #refused(): void {
    if (this.#isRefusedTold) return;
    this.#isRefusedTold = true;
    this.#options.onRefused();
  }
}
