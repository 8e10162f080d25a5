/** Questions that have gone out, and which answers to them are taken. */

import type { DiscoveryAnswer } from "../../../protocol/discovery_words.ts";

/** How long an answer to a question is taken. */
export const ANSWER_WAIT_MS = 10_000;

/** Questions remembered; beyond it the oldest is forgotten. */
export const QUESTIONS_MAX = 256;

/** Nodes that may answer one question. */
export const ANSWERS_MAX = 256;

interface OpenQuestion {
  readonly askedMs: number;
  /** Nodes that have answered. */
  readonly nodes: Set<string>;
}

/** The questions of one socket. */
export class OpenQuestions {
  readonly #questions = new Map<string, OpenQuestion>();

  /** @param nowMs Of a clock that only goes forward. */
  asked(nonce: string, nowMs: number): void {
    this.#questions.set(nonce, { askedMs: nowMs, nodes: new Set() });
    for (const [oldest, { askedMs }] of this.#questions) {
      const isOver = nowMs - askedMs >= ANSWER_WAIT_MS ||
        this.#questions.size > QUESTIONS_MAX;
      if (!isOver) break;
      this.#questions.delete(oldest);
    }
  }

  /**
   * Takes the first answer of a node to a question.
   *
   * @returns How long it took; else why it is not taken.
   */
  take(
    { nonce, advert }: DiscoveryAnswer,
    nowMs: number,
  ): { readonly tookMs: number } | "unasked" | "repeated" {
    const question = this.#questions.get(nonce);
    if (question === undefined) return "unasked";
    const tookMs = nowMs - question.askedMs;
    if (tookMs >= ANSWER_WAIT_MS) return "unasked";
    const node = `${advert.store} ${advert.id}`;
    const { nodes } = question;
    if (nodes.has(node) || nodes.size >= ANSWERS_MAX) return "repeated";
    nodes.add(node);
    return { tookMs };
  }
}
