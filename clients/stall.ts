/** Notices that what somebody asked for is not done for a while, and that it goes on. */

import type { WireCode } from "../protocol/errors.ts";
import type { ChatProblem } from "./chat_contract.ts";

/** After so long without a result somebody is told. */
const STALL_MS = 2_000;

/** Tells once for each code that keeps things from being done. */
export class Stall {
  /** When it began to wait, or when something was last done. */
  #sinceMs: number | undefined;
  /** Why a server did not do it; undefined: none has said. */
  #refusal: ChatProblem | undefined;
  #told = new Set<WireCode>();
  /** Whether somebody was told, and not yet that it goes on. */
  #owesWord = false;

  /** A server says that it cannot do it now. */
  refused(problem: ChatProblem): void {
    // Only one behind another that was refused: no reason of its own.
    if (problem.code !== "sequence-gap") this.#refusal = problem;
  }

  /**
   * Something was done, or will never be.
   *
   * @returns Whether somebody is to be told that it goes on.
   */
  done(nowMs: number): boolean {
    const isOver = this.#owesWord;
    this.#owesWord = false;
    this.#begin(nowMs);
    return isOver;
  }

  /**
   * What to tell somebody now, if anything.
   *
   * @param state Whether a server is reached, and whether something waits.
   */
  look(
    state: { readonly isLinked: boolean; readonly isWaiting: boolean },
    nowMs: number,
  ): ChatProblem | undefined {
    if (!state.isWaiting) this.#owesWord = false;
    // That no server is reached is told otherwise; after that, time counts anew.
    if (!state.isWaiting || !state.isLinked) {
      this.#begin(undefined);
      return undefined;
    }
    this.#sinceMs ??= nowMs;
    if (nowMs < this.#sinceMs + STALL_MS) return undefined;
    const problem = this.#refusal ?? SILENT;
    // That it takes its time is no news to whoever knows why.
    const isKnown = this.#told.has(problem.code) ||
      problem === SILENT && this.#told.size > 0;
    if (isKnown) return undefined;
    this.#told.add(problem.code);
    this.#owesWord = true;
    return problem;
  }

  /** When to look again at the latest; Infinity: whenever a server says something. */
  get dueMs(): number {
    if (this.#told.size > 0 || this.#sinceMs === undefined) return Infinity;
    return this.#sinceMs + STALL_MS;
  }

  #begin(nowMs: number | undefined): void {
    this.#sinceMs = nowMs;
    this.#refusal = undefined;
    this.#told.clear();
  }
}

const SILENT: ChatProblem = {
  code: "timeout",
  text: `The server has not answered for ${STALL_MS / 1_000} s`,
};
