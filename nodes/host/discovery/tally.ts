/** Counts of things that happen too often to be logged. */

/** How often each of some things happened; all of them from the start on, at 0. */
export class Tally<Name extends string> {
  readonly #counts: Record<Name, number>;

  constructor(names: readonly Name[]) {
    const entries = names.map((name) => [name, 0] as const);
    // Each name is there, and nothing else.
    this.#counts = Object.fromEntries(entries) as Record<Name, number>;
  }

  add(name: Name): void {
    this.#counts[name] += 1;
  }

  /** As they are now; a view that goes on counting. */
  get counts(): Readonly<Record<Name, number>> {
    return this.#counts;
  }
}
