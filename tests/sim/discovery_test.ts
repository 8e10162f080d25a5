import { assert, assertEquals } from "@std/assert";
import { plant, type Planted } from "../plant.ts";
import { runDiscovery } from "./discovery_world.ts";

const SEEDS = 300;

/** What the simulation needs; a planted bug is in one of these. */
const FOLDERS = [
  "protocol",
  "election",
  "nodes/chat",
  "nodes/host/discovery",
  "tests/sim",
  "tests/history",
];

/** Seeds within which every planted bug must show. */
const PLANTED_SEEDS_MAX = 3_000;

const CORE = "election/discovery.ts";
const SIGHTINGS = "election/sightings.ts";
const PRIMARY = "nodes/chat/replica/primary.ts";
const BALLOT = "election/ballot.ts";
const ADVERT = "nodes/chat/group/own_advert.ts";

const BUGS: Record<string, readonly Planted[]> = {
  "a group that holds data ends": [
    {
      file: CORE,
      find: "if (rank.holdsData || compareGroups(theirs, rank) < 0) return;",
      replace: "if (compareGroups(theirs, rank) < 0) return;",
    },
    {
      file: "tests/sim/chat_state.ts",
      find: "const isFirst = this.isVoid;",
      replace: "const isFirst = true;",
    },
  ],
  "a command counts after the end of its group": [{
    file: "tests/sim/chat_state.ts",
    find:
      "const command = this.isDissolved ? undefined : decodeCommand(entry.command);",
    replace: "const command = decodeCommand(entry.command);",
  }],
  "of two empty groups neither gives way": [{
    file: SIGHTINGS,
    find: "if (byLeader !== 0) return byLeader;",
    replace: "if (byLeader !== 0) return -1;",
  }],
  "an empty group does not give way to one that holds data": [{
    file: SIGHTINGS,
    find: "if (a.holdsData !== b.holdsData) return a.holdsData ? 1 : -1;",
    replace: "",
  }],
  "a server founds though a group was heard": [
    {
      file: CORE,
      find: "if (!this.#isDead(group.id)) this.#listen();",
      replace: "",
    },
    {
      file: CORE,
      find: "if (this.#chosen !== undefined) return;\n",
      replace: "",
    },
  ],
  "whoever was stopped founds at once": [{
    file: CORE,
    find: 'if (input.kind !== "start") this.#forgiveOwnStop();',
    replace: "",
  }],
  "a node without a group meets two": [{
    file: CORE,
    find: ": advert.group.id === group;",
    replace: ": this.#group === undefined || advert.group.id === group;",
  }],
  "a view of another group is accepted": [{
    file: "nodes/chat/replica/foreign.ts",
    find: "if (view === undefined) return false;",
    replace: "if (view !== null) return false;",
  }],
  "nobody says which groups have ended": [{
    file: ADVERT,
    find: "dissolved: dissolved.slice(-DISSOLVED_MAX),",
    replace: "dissolved: [],",
  }],
  "a group that has ended is joined again": [{
    file: SIGHTINGS,
    find: "      if (this.#dissolved.has(group.id)) continue;\n",
    replace: "",
  }],
  "a group is given up when another one has ended": [{
    file: CORE,
    find: "if (group === undefined || !dissolved.includes(group.id)) return;",
    replace: "if (group === undefined || dissolved.length === 0) return;",
  }],
  "whoever is stuck in a group that has ended stays there": [{
    file: CORE,
    find: 'this.#effects.push({ kind: "give-up", reason: said });',
    replace: "",
  }],
  "an empty group that does not work keeps who is in it": [{
    file: CORE,
    find:
      "if (!mine.isVoid || mine.hasWitness || !mine.isIndispensable) return;",
    replace: "if (!mine.isVoid || mine.isIndispensable) return;",
  }],
  "an empty group that does not work keeps who comes": [{
    file: CORE,
    find: "return this.#nowMs - sinceMs >= this.#keepMs;",
    replace: "return this.#nowMs - sinceMs >= Infinity;",
  }],
  "a group that others go on with is given up": [{
    file: CORE,
    find:
      "if (!mine.isVoid || mine.hasWitness || !mine.isIndispensable) return;",
    replace: "if (!mine.isVoid || mine.hasWitness) return;",
  }],
  "questions are asked once": [{
    file: CORE,
    find: "this.#askAtMs = this.#nowMs + waitMs;",
    replace: "this.#askAtMs = Infinity;",
  }],
  "rivals are not told of": [{
    file: CORE,
    find: "if (isSameList(rivals, this.#rivals)) return;",
    replace: "if (rivals.length >= this.#rivals.length) return;",
  }],
  "the higher rank does not take over": [{
    file: PRIMARY,
    find: "if (highest === options.self) return undefined;",
    replace: "if (highest.priority >= 0) return undefined;",
  }],
  "two voters are forgotten at once": [{
    file: PRIMARY,
    find: "const staying = voters.filter((other) => other !== store);",
    replace:
      "const staying = voters.filter((other) => members.includes(other));",
  }],
  "a vote is given to who may be elsewhere": [
    {
      file: PRIMARY,
      find:
        "if (peer.store !== self && !this.#rounds.has(peer.store)) continue;",
      replace: "",
    },
    {
      file: BALLOT,
      find:
        "voters.every((store) => view.voters.includes(store) || has(store))",
      replace: "voters.length > 0",
    },
  ],
  "whoever leaves takes a vote along that is needed": [
    {
      file: BALLOT,
      find: "return isMajority({ voters }, has) &&",
      replace: "return voters.length > 0 &&",
    },
    {
      file: PRIMARY,
      find:
        "if (!isMajority({ voters: staying }, (other) => this.#isHere(other))) {",
      replace: "if (staying.length === 0) {",
    },
  ],
  "a founder's first view goes to others before it is kept": [{
    file: "nodes/chat/replica/elector.ts",
    find:
      "if (!voters.includes(store) && !previousVoters.includes(store)) return;",
    replace: "if (voters === previousVoters) return;",
  }],
  "whoever leaves for good does not say so": [{
    file: "nodes/chat/replica/departure.ts",
    find: "isForGood: isLeavingForGood,",
    replace: "isForGood: false,",
  }],
};

Deno.test(`discovery: ${SEEDS} simulated fleets become one, or say why not`, () => {
  let whole = 0;
  let ended = 0;
  let apart = 0;
  let messages = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = runDiscovery(seed);
    if (run.groups > 0) whole += 1;
    if (run.groups > 1) apart += 1;
    ended += run.dissolved;
    messages += run.messages;
    assertEquals(
      run.failures,
      [],
      `Repeat it with: deno task sim discovery --seed ${seed}`,
    );
  }
  assert(whole > SEEDS * 0.95, `only ${whole} fleets had to become whole`);
  assert(ended > SEEDS * 0.1, `only ${ended} groups gave way to others`);
  assert(apart > SEEDS * 0.01, `only ${apart} fleets stayed several groups`);
  assert(messages > SEEDS * 10, `only ${messages} writes were acknowledged`);
});

Deno.test("discovery: a seed always runs the same", () => {
  const run = () => runDiscovery(7, { transcript: true });
  assertEquals(run(), run());
});

for (const [name, edits] of Object.entries(BUGS)) {
  Deno.test(`discovery: the simulation catches that ${name}`, async () => {
    const directory = plant(FOLDERS, edits);
    try {
      const planted: { runDiscovery: typeof runDiscovery } = await import(
        `file://${directory}/tests/sim/discovery_world.ts`
      );
      for (let seed = 1; seed <= PLANTED_SEEDS_MAX; seed++) {
        const run = planted.runDiscovery(seed, { transcript: false });
        if (run.failures.length > 0) return;
      }
      throw new Error(`${PLANTED_SEEDS_MAX} seeds did not show the bug`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}
