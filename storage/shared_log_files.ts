/** The files of a shared log: `chat.log`, and `chat.log.1`, `chat.log.2` … before it. */

import { basename, dirname } from "node:path";

/** Rotated files that are looked for: whatever else has a number is not ours. */
export const ROTATED_NUMBER_MAX = 9_999;

/** The path of a rotated file; 1 is the youngest. */
export function rotatedPath(path: string, number: number): string {
  return `${path}.${number}`;
}

/**
 * Numbers of the rotated files that are there, the youngest first. One may be
 * missing: a process was killed while it renamed them.
 */
export function rotatedNumbers(path: string): number[] {
  const start = `${basename(path)}.`;
  const numbers: number[] = [];
  for (const name of namesIn(dirname(path))) {
    if (!name.startsWith(start)) continue;
    const end = name.slice(start.length);
    if (!/^[1-9]\d{0,3}$/.test(end)) continue;
    const number = Number(end);
    if (number <= ROTATED_NUMBER_MAX) numbers.push(number);
  }
  return numbers.sort((a, b) => a - b);
}

function namesIn(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), ({ name }) => name);
  } catch (error) {
    // Removed, with all that was in it.
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
