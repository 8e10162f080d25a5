/** People who talk all the time, and a check that everybody heard all of it once, in order. */

import { until } from "../until.ts";
import type { Person } from "./person.ts";

/** Who says `NAME 1`, `NAME 2` … until it is told to stop. */
export class Talker {
  /** Messages said so far. */
  count = 0;
  readonly name: string;
  readonly person: Person;
  readonly #everyMs: number;
  #isToStop = false;
  readonly #over: Promise<void>;

  /** Begins at once. */
  constructor(name: string, person: Person, { everyMs = 1 } = {}) {
    this.name = name;
    this.person = person;
    this.#everyMs = everyMs;
    this.#over = this.#talk();
  }

  /** Waits until it has said so much more. */
  async more(count: number): Promise<void> {
    const to = this.count + count;
    await until(`${this.name} has said ${to}`, () => this.count >= to);
  }

  /** Says no more. */
  async stop(): Promise<void> {
    this.#isToStop = true;
    await this.#over;
  }

  async #talk(): Promise<void> {
    while (!this.#isToStop) {
      this.count += 1;
      await this.person.say(`${this.name} ${this.count}`);
      await new Promise((resolve) => setTimeout(resolve, this.#everyMs));
    }
  }
}

/** Waits until everybody has heard what was said last, and checks all of it. */
export async function assertAllHeard(
  listeners: readonly Person[],
  talkers: readonly Talker[],
): Promise<void> {
  for (const listener of listeners) {
    for (const { name, count } of talkers) {
      await listener.heard(`${name} ${count}`);
      checkHeard(listener, { name, from: 1, to: count });
    }
  }
}

/** @throws {Error} Something was lost, repeated or reordered. */
export function checkHeard(
  listener: Person,
  said: { readonly name: string; readonly from: number; readonly to: number },
): void {
  const { name, from, to } = said;
  const numbers = listener.texts.filter((text) => text.startsWith(`${name} `))
    .map((text) => Number(text.slice(name.length + 1)));
  for (let n = from, at = 0; n <= to; n++, at++) {
    if (numbers[at] === n) continue;
    throw new Error(
      `At ${listener.address}: after ${name} ${n - 1} came ${name} ${
        numbers[at]
      } of ${to}`,
    );
  }
  if (numbers.length !== to - from + 1) {
    throw new Error(
      `At ${listener.address}: ${numbers.length} messages of ${name}, not ${to}`,
    );
  }
}
