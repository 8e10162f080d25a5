/**
 * Another process for the lock's tests: `MODULE DIRECTORY [ROUNDS]`.
 *
 * Without rounds: locks, prints `held`, and lives until its input ends; or
 * prints the error. With rounds: waits for its input to end, then locks and
 * gives back so many times, and prints how often it was not alone.
 */

import type { DirectoryLock } from "../../storage/directory_lock.ts";

/** How often one lock is tried for, before it is taken for stuck. */
const TRIES_MAX = 10_000_000;

const [module, directory, rounds] = Deno.args;
const { DirectoryLock: Lock }: { DirectoryLock: typeof DirectoryLock } =
  await import(module);

if (rounds === undefined) {
  await hold();
} else {
  await inputEnds();
  let intrusions = 0;
  for (let round = 0; round < Number(rounds); round++) intrusions += enter();
  console.log(`intrusions ${intrusions}`);
}

async function hold(): Promise<void> {
  try {
    Lock.acquire(directory);
  } catch (error) {
    console.log(error instanceof Error ? error.message : error);
    return;
  }
  console.log("held");
  await inputEnds();
}

async function inputEnds(): Promise<void> {
  for await (const _ of Deno.stdin.readable);
}

/** Locks, looks whether anybody else is inside, and gives back. */
function enter(): number {
  using _lock = acquire();
  const inside = `${directory}/inside`;
  try {
    Deno.openSync(inside, { write: true, createNew: true }).close();
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return 1;
    throw error;
  }
  Deno.removeSync(inside);
  return 0;
}

function acquire(): DirectoryLock {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    try {
      return Lock.acquire(directory);
    } catch (error) {
      const isLocked = error instanceof Error && "code" in error &&
        error.code === "locked";
      if (!isLocked) throw error;
    }
  }
  throw new Error(`Not once free in ${TRIES_MAX} tries`);
}
