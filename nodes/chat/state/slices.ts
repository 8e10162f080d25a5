/** Long work in short slices, so that links and clients are served in between. */

import { setImmediate } from "node:timers";

/** What a slice may take before the others have their turn. */
const SLICE_MS = 2;

/** Runs all steps; each should be well below {@linkcode SLICE_MS}. */
export async function inSlices(steps: Iterator<void, void>): Promise<void> {
  let beganMs = performance.now();
  while (steps.next().done !== true) {
    if (performance.now() - beganMs < SLICE_MS) continue;
    await nextTurn();
    beganMs = performance.now();
  }
}

/** Resolves when all that is waiting now has had its turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
