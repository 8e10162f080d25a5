/** Messages as they come, each to be shown once and in order. */

import type { ChatMessage } from "../protocol/chat.ts";
import { readMessage } from "../protocol/chat_answers.ts";

/** Pushed messages that wait while older ones are fetched; beyond it they are fetched too. */
const PUSHES_WAITING_MAX = 1_000;

/** What is shown now, and whether there is more to fetch. */
export interface Fetched {
  readonly show: readonly ChatMessage[];
  readonly isMore: boolean;
}

/** Knows what was shown. */
export class ChatInbox {
  #shown = 0;
  #isCaughtUp = false;
  #pushes: ChatMessage[] = [];

  /** All messages up to this number were shown. */
  get shown(): number {
    return this.#shown;
  }

  /** Whether all that was sent before was fetched. */
  get isCaughtUp(): boolean {
    return this.#isCaughtUp;
  }

  /** What comes from here on is to be fetched first. */
  fallBehind(): void {
    this.#isCaughtUp = false;
  }

  /** Nothing that waits is followed by what comes next. */
  linkDown(): void {
    this.#isCaughtUp = false;
    this.#pushes = [];
  }

  /** Nothing is ever shown, so nothing is fetched. */
  skip(): void {
    this.#isCaughtUp = true;
  }

  /** @returns What is shown now. */
  pushed(message: ChatMessage): readonly ChatMessage[] {
    if (this.#isCaughtUp) return this.#fresh([message]);
    // What does not fit is fetched by the next list.
    if (this.#pushes.length < PUSHES_WAITING_MAX) this.#pushes.push(message);
    return [];
  }

  /** Takes the answer to a `list` of what is after {@linkcode shown}. */
  fetched(fields: Readonly<Record<string, unknown>>): Fetched {
    const { next, index } = fields;
    const show = this.#fresh(messagesIn(fields));
    // All up to there were deleted, or are shown.
    const end = typeof next === "number" ? next : index;
    if (typeof end === "number") this.#shown = Math.max(this.#shown, end);
    if (typeof next === "number") return { show, isMore: true };
    this.#isCaughtUp = true;
    const pushes = this.#pushes;
    this.#pushes = [];
    return {
      show: [...show, ...this.#fresh(pushes)],
      // Some were not kept: they are behind the last that was.
      isMore: pushes.length === PUSHES_WAITING_MAX,
    };
  }

  #fresh(messages: readonly ChatMessage[]): ChatMessage[] {
    return messages.filter(({ n }) => {
      if (n <= this.#shown) return false;
      this.#shown = n;
      return true;
    });
  }
}

/** The messages of an answer; what is none is left out. */
export function messagesIn(
  fields: Readonly<Record<string, unknown>>,
): readonly ChatMessage[] {
  const { messages } = fields;
  if (!Array.isArray(messages)) return [];
  return messages.flatMap((value) => readMessage(value) ?? []);
}
