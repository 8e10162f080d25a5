/** Says a thing once that happens again and again. */

import type { Log, LogFields } from "./log.ts";

/** How long the same words are not repeated. */
const AGAIN_AFTER_MS = 30_000;

/** Subjects remembered; beyond it all are forgotten. */
const SUBJECTS_MAX = 256;

/** Lines in a second, whatever they say. */
const LINES_MAX = 10;

/** Logs about each subject only what is new, and the same again after 30 s. */
export class SeldomLog {
  readonly #log: Log;
  readonly #said = new Map<string, { message: string; atMs: number }>();
  #secondSinceMs = -Infinity;
  #lines = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param subject Who or what it is about; `message` is compared with the last one about it. */
  say(
    level: "info" | "warn",
    subject: string,
    line: { message: string; fields?: LogFields },
  ): void {
    const { message } = line;
    const nowMs = performance.now();
    const before = this.#said.get(subject);
    const isNew = before === undefined || before.message !== message ||
      nowMs - before.atMs >= AGAIN_AFTER_MS;
    if (!isNew) return;
    if (nowMs - this.#secondSinceMs >= 1_000) {
      this.#secondSinceMs = nowMs;
      this.#lines = 0;
    }
    this.#lines += 1;
    if (this.#lines > LINES_MAX) return;
    if (this.#said.size >= SUBJECTS_MAX) this.#said.clear();
    this.#said.set(subject, { message, atMs: nowMs });
    this.#log[level](message, line.fields);
  }

  /** What comes next about this subject is new. */
  forget(subject: string): void {
    this.#said.delete(subject);
  }
}
