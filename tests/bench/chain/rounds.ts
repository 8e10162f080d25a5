/** Runs that take turns, so that what disturbs the machine disturbs them all. */

import { inTime } from "../in_time.ts";

/** Somebody who takes a turn in each round. */
export interface Contestant<Result> {
  readonly name: string;
  /** Once, before the first round. */
  warmUp(): Promise<unknown>;
  run(): Promise<Result>;
}

/** What the rounds yielded. */
export interface Rounds<Result> {
  /** By name, one result a round. */
  readonly results: ReadonlyMap<string, readonly Result[]>;
  readonly rounds: number;
  /** Who could not go on, and why; they have no results. */
  readonly failures: ReadonlyMap<string, string>;
}

/**
 * Lets everybody run once, then once again, until `rounds` are over or, after
 * one round at least, `isTimeUp`. Whoever fails is left out.
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
  const bound = { waitMs: options.runMsMax, what: "a run to end" };
  const attempt = async (name: string, turn: () => Promise<unknown>) => {
    if (failures.has(name)) return;
    try {
      await inTime(turn(), bound);
    } catch (error) {
      failures.set(name, error instanceof Error ? error.message : `${error}`);
      results.delete(name);
    }
  };
  for (const { name, warmUp } of contestants) await attempt(name, warmUp);
  let rounds = 0;
  while (rounds < options.rounds && !(rounds > 0 && options.isTimeUp())) {
    for (const { name, run } of contestants) {
      await attempt(name, async () => {
        const result = await run();
        results.set(name, [...results.get(name) ?? [], result]);
      });
    }
    rounds += 1;
  }
  return { results, rounds, failures };
}
