/** Which faults a fleet without configuration meets, and how they go together. */

import type { FaultKind, FaultPlan } from "./chat_dramas.ts";
import type { Random } from "./random.ts";

/** Directories are neither lost nor rot: that is the groups' own matter, simulated elsewhere. */
const KINDS: readonly FaultKind[] = [
  "crash",
  "crash-many",
  "crash-all",
  "behead",
  "power",
  "freeze",
  "partition",
  "partition",
  "isolate",
  "one-way",
  "split",
  "cut",
  "slow-disk",
  "leave",
  "retire",
  "compact",
  "priority",
];

/** A crash right after one of these does most harm. */
const TURNING_POINTS: readonly string[] = [
  "found",
  "meet",
  "dissolve",
  "give-up",
  "accept",
  "accepted",
  "promise",
  "active",
  "append",
  "appended",
  "save",
  "commit",
];

/** Draws how a run goes wrong. */
export function drawDiscoveryPlan(random: Random): FaultPlan {
  const share = random.pick([0.15, 0.4, 0.8]);
  const kinds = KINDS.filter(() => random.chance(share));
  const awayMsMax = random.pick([100, 500, 2_500]);
  return {
    kinds: kinds.length > 0 ? kinds : ["partition"],
    everyMs: 50 + random.int(random.chance(0.5) ? 500 : 2_000),
    awayMsMax,
    backMsMax: awayMsMax,
    turningPoints: random.chance(0.5)
      ? []
      : [1, 2, 3].map(() => random.pick(TURNING_POINTS)),
    turningChance: random.pick([0.01, 0.1, 0.3]),
  };
}
