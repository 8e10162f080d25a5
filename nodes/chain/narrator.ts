/** `--print`: what a node says of the messages that pass through it. */

import { StandardOutput } from "../host/byte_sink.ts";
import { settleWithin } from "../host/settle_within.ts";
import { cutText, escapeText } from "../host/text.ts";
import type { PrintMode } from "./flags.ts";

/** Bytes that wait for a slow reader; what would come on top is only counted. */
const PENDING_BYTES_MAX = 262_144;

/** Characters of one message that are shown. */
const SHOWN_CHARACTERS_MAX = 2_000;

const SUMMARY_EVERY_MS = 1_000;

/** How long the end of a node waits for a reader that has stopped reading. */
const CLOSE_WAIT_MS = 300;

/**
 * Prints to standard output without ever holding up the chain: a reader that
 * is too slow misses lines and is told how many.
 */
export class Narrator {
  readonly #mode: PrintMode;
  readonly #out = new StandardOutput();
  #pending: string[] = [];
  #pendingBytes = 0;
  #missed = 0;
  #isWriting = false;
  #writing = Promise.resolve();
  #received = 0;
  #receivedBytes = 0;
  readonly #forwarded = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(mode: PrintMode) {
    this.#mode = mode;
  }

  /** Messages came in from `label`; `text` is whole lines. */
  received(label: string, messages: number, text: Uint8Array): void {
    if (this.#mode === "summary") {
      this.#received += messages;
      this.#receivedBytes += text.length;
      return this.#summarizeSoon();
    }
    const lines = new TextDecoder().decode(text).split("\n");
    lines.pop();
    for (const line of lines) {
      this.#say(
        `received from ${label}: ${
          escapeText(cutText(line, SHOWN_CHARACTERS_MAX))
        }`,
      );
    }
  }

  /** Messages were handed to `to`. */
  forwarded(to: string, messages: number): void {
    if (this.#mode === "summary") {
      this.#forwarded.set(to, (this.#forwarded.get(to) ?? 0) + messages);
      return this.#summarizeSoon();
    }
    this.#say(`forwarded ${count(messages)} to ${to}`);
  }

  /** Prints what is due and waits for it, at most as long as the reader lets it. */
  async close(): Promise<void> {
    if (this.#timer !== undefined) this.#summarize();
    await settleWithin(this.#writing, CLOSE_WAIT_MS);
  }

  #summarizeSoon(): void {
    this.#timer ??= setTimeout(() => this.#summarize(), SUMMARY_EVERY_MS);
  }

  #summarize(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const parts = [
      `received ${count(this.#received)} (${this.#receivedBytes} bytes)`,
      ...Array.from(
        this.#forwarded,
        ([to, messages]) => `forwarded ${count(messages)} to ${to}`,
      ),
    ];
    this.#received = 0;
    this.#receivedBytes = 0;
    this.#forwarded.clear();
    this.#say(parts.join(", "));
  }

  #say(line: string): void {
    if (this.#pendingBytes + line.length > PENDING_BYTES_MAX) {
      this.#missed += 1;
      return;
    }
    if (this.#missed > 0) {
      this.#pending.push(`(${this.#missed} lines were not printed)\n`);
      this.#missed = 0;
    }
    this.#pending.push(`${line}\n`);
    this.#pendingBytes += line.length + 1;
    if (!this.#isWriting) this.#writing = this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#pending.length > 0) {
        const text = this.#pending.join("");
        this.#pending = [];
        this.#pendingBytes = 0;
        await this.#out.write(new TextEncoder().encode(text));
      }
    } catch {
      // Nobody listens any more; the messages go on without an audience.
      this.#pending = [];
      this.#pendingBytes = Infinity;
    } finally {
      this.#isWriting = false;
    }
  }
}

function count(messages: number): string {
  return messages === 1 ? "1 message" : `${messages} messages`;
}
