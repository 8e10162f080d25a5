/** Which faults a simulated group meets, and how they go together. */

import type { Random } from "./random.ts";

const FAULT_KINDS = [
  "crash",
  "crash-many",
  "crash-all",
  "behead",
  "power",
  "freeze",
  "partition",
  "one-way",
  "cut",
  "isolate",
  "split",
  "slow-disk",
  "lose-disk",
  "rot",
  "leave",
  "retire",
  "join",
  "compact",
  "priority",
  "client",
  "expire",
] as const;

/** What can break, or be done to a group on purpose. */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** A crash right after one of these does most harm: a word that is out, a write that is not. */
const TURNING_POINTS: readonly string[] = [
  "pre-vote-answer",
  "promise",
  "accept",
  "accepted",
  "prepare",
  "active",
  "append",
  "appended",
  "snapshot-needed",
  "save",
  "cut",
  "commit",
];

/** Which faults a run draws, and how they are timed. */
export interface FaultPlan {
  readonly kinds: readonly FaultKind[];
  /** About so long between two. */
  readonly everyMs: number;
  /** How long a link or a stopped node stays away, at most. */
  readonly awayMsMax: number;
  /** How long a process that ended stays away, at most. */
  readonly backMsMax: number;
  readonly turningPoints: readonly string[];
  /** How often a process dies at one of these. */
  readonly turningChance: number;
}

/** A way in which faults go together. */
export type Drama =
  | "duel"
  | "amnesia"
  | "churn"
  | "decay"
  | "stale"
  | "hasty"
  | "reshape";

/** What goes wrong only if several things happen together, more often than by chance. */
const DRAMAS: Readonly<Record<Drama, FaultPlan>> = {
  // Two ballots at once, and voters in between that die after a word.
  duel: {
    kinds: ["split", "behead", "behead", "cut"],
    turningPoints: ["promise"],
    turningChance: 0.3,
    everyMs: 100,
    awayMsMax: 800,
    backMsMax: 10,
  },
  // A view that only some remember.
  amnesia: {
    kinds: ["isolate", "behead", "crash", "split"],
    turningPoints: ["accepted", "commit"],
    turningChance: 0.2,
    everyMs: 100,
    awayMsMax: 500,
    backMsMax: 100,
  },
  // Servers that come and go while entries flow.
  churn: {
    kinds: [
      "join",
      "lose-disk",
      "rot",
      "compact",
      "cut",
      "slow-disk",
      "crash",
    ],
    turningPoints: ["promise", "append", "appended"],
    turningChance: 0.1,
    everyMs: 100,
    awayMsMax: 500,
    backMsMax: 100,
  },
  // Logs that rot just after their last word.
  decay: {
    kinds: ["rot", "cut", "slow-disk", "isolate", "behead"],
    turningPoints: ["appended"],
    turningChance: 0.1,
    everyMs: 100,
    awayMsMax: 500,
    backMsMax: 100,
  },
  // Primaries that do not know that they are none any more.
  stale: {
    kinds: ["isolate", "partition", "one-way", "freeze"],
    turningPoints: [],
    turningChance: 0,
    everyMs: 400,
    awayMsMax: 2_000,
    backMsMax: 100,
  },
  // New primaries that do not know yet what the last one has said.
  hasty: {
    kinds: ["behead", "cut"],
    turningPoints: ["commit"],
    turningChance: 0.05,
    everyMs: 300,
    awayMsMax: 500,
    backMsMax: 300,
  },
  // The set of voters changes while the group falls apart.
  reshape: {
    kinds: [
      "join",
      "join",
      "retire",
      "lose-disk",
      "split",
      "partition",
      "isolate",
    ],
    turningPoints: ["accept", "accepted", "active"],
    turningChance: 0.1,
    everyMs: 200,
    awayMsMax: 800,
    backMsMax: 100,
  },
};

const DRAMA_NAMES: readonly Drama[] = [
  "duel",
  "amnesia",
  "churn",
  "decay",
  "stale",
  "hasty",
  "reshape",
];

/** Draws how a run goes wrong; `wanted` leaves less to chance. */
export function drawPlan(random: Random, wanted: Drama | undefined): FaultPlan {
  if (random.chance(0.25) || wanted !== undefined) {
    const plan = DRAMAS[wanted ?? random.pick(DRAMA_NAMES)];
    const pace = random.pick([0.3, 1, 3]);
    return { ...plan, everyMs: plan.everyMs * pace };
  }
  // Few kinds at once dig deeper than all at once.
  const share = random.pick([0.15, 0.4, 0.8]);
  const kinds = FAULT_KINDS.filter(() => random.chance(share));
  const awayMsMax = random.pick([100, 500, 2_500]);
  return {
    kinds: kinds.length > 0 ? kinds : ["crash"],
    everyMs: 20 + random.int(random.chance(0.5) ? 400 : 1_500),
    awayMsMax,
    backMsMax: awayMsMax,
    turningPoints: random.chance(0.4)
      ? []
      : [1, 2, 3].map(() => random.pick(TURNING_POINTS)),
    turningChance: random.pick([0.002, 0.02, 0.2]),
  };
}
