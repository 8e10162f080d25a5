/** Runs that take turns, so that what disturbs the machine disturbs them all. */

/** Somebody who takes a turn in each round. */
export interface Contestant<Result> {
  readonly name: string;
  run(): Promise<Result>;
}

/** What the rounds yielded. */
export interface Rounds<Result> {
  /** By name, one result a round. */
  readonly results: ReadonlyMap<string, readonly Result[]>;
  readonly rounds: number;
  /** Who could not go on, and why. */
  readonly failures: ReadonlyMap<string, string>;
}

/**
 * Lets everybody run once, then once again, until `rounds` are over or
 * `isTimeUp`; whoever fails is left out from then on.
 */
export async function takeTurns<Result>(
  contestants: readonly Contestant<Result>[],
  options: {
    readonly rounds: number;
    /** A run that takes longer has failed. */
    readonly runMsMax: number;
    isTimeUp(): boolean;
  },
): Promise<Rounds<Result>> {
  const results = new Map<string, Result[]>();
  const failures = new Map<string, string>();
  let rounds = 0;
  while (rounds < options.rounds && !(rounds > 0 && options.isTimeUp())) {
    for (const { name, run } of contestants) {
      if (failures.has(name)) continue;
      try {
        const result = await inTime(run(), options.runMsMax);
        results.set(name, [...results.get(name) ?? [], result]);
      } catch (error) {
        failures.set(name, error instanceof Error ? error.message : `${error}`);
        results.delete(name);
      }
    }
    rounds += 1;
  }
  return { results, rounds, failures };
}

async function inTime<T>(work: Promise<T>, waitMs: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`A run took longer than ${waitMs / 1_000} s`);
    timer = setTimeout(() => reject(error), waitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
