/** Bully: who of several that want an election holds it. */

import type { StoreId } from "../protocol/epoch.ts";

/** How long to wait for others. */
export interface BullyOptions {
  /** For a higher node to say that it lives. */
  readonly aliveMs: number;
  /** For the view of a higher node that lives. */
  readonly electionMs: number;
}

/** What to do now. */
export type BullyStep =
  | { readonly kind: "propose" }
  | { readonly kind: "ask"; readonly higher: readonly StoreId[] }
  | { readonly kind: "wait" };

/**
 * Decides only who proposes, so that not all do at once; safety rests with the
 * ballots. A higher node that is alive goes first, and loses its turn if its
 * view does not come in time.
 *
 * @see Garcia-Molina, "Elections in a Distributed Computing System" (1982)
 */
export class Bully {
  readonly #options: BullyOptions;
  #untilMs: number | undefined;

  constructor(options: BullyOptions) {
    this.#options = options;
  }

  /**
   * Called again and again while a view is wanted.
   *
   * @param higher Nodes of higher rank to which a link stands.
   */
  tick(nowMs: number, higher: readonly StoreId[]): BullyStep {
    if (higher.length === 0) return { kind: "propose" };
    if (this.#untilMs === undefined) {
      this.#untilMs = nowMs + this.#options.aliveMs;
      return { kind: "ask", higher };
    }
    return { kind: nowMs >= this.#untilMs ? "propose" : "wait" };
  }

  /** A higher node lives and will propose. */
  alive(nowMs: number): void {
    if (this.#untilMs !== undefined) {
      this.#untilMs = nowMs + this.#options.electionMs;
    }
  }

  /** The election is over, or is begun anew. */
  reset(): void {
    this.#untilMs = undefined;
  }
}
