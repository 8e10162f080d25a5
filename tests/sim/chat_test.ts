import { assert, assertEquals } from "@std/assert";
import { plant, type Planted } from "../plant.ts";
import type { Drama } from "./chat_dramas.ts";
import { runChat } from "./chat_world.ts";

const SEEDS = 300;

/** What the simulation needs; a planted bug is in one of these. */
const FOLDERS = [
  "protocol",
  "election",
  "nodes/chat",
  "tests/sim",
  "tests/history",
];

/** Seeds within which every planted bug must show. */
const PLANTED_SEEDS_MAX = 5_000;

/** A planted bug, and the faults that show it soonest; none: all kinds of them. */
interface Bug {
  readonly drama?: Drama;
  readonly edits: readonly Planted[];
}

const PRIMARY = "nodes/chat/replica/primary.ts";
const FOLLOWER = "nodes/chat/replica/follower.ts";
const BALLOT = "election/ballot.ts";

const BUGS: Record<string, Bug> = {
  "a majority of the members is enough to commit": {
    edits: [{
      file: PRIMARY,
      find: "index = Math.min(index, this.#progress.get(store)?.matched ?? 0);",
      replace: `index = this.view.members.map((other) =>
        other === self
          ? log.durableIndex
          : this.#progress.get(other)?.matched ?? 0
      ).sort((a, b) => b - a)[this.view.members.length >> 1];`,
    }],
  },
  "the primary commits before its own sync": {
    edits: [{
      file: PRIMARY,
      find: "let index = log.durableIndex;",
      replace: "let index = log.lastIndex;",
    }],
  },
  "a member acknowledges before its sync": {
    edits: [{
      file: FOLLOWER,
      find: "const index = Math.min(this.#verified, log.durableIndex);",
      replace: "const index = this.#verified;",
    }],
  },
  "a member acknowledges its own log's end": {
    edits: [{
      file: FOLLOWER,
      find: "const index = Math.min(this.#verified, log.durableIndex);",
      replace: "const index = log.durableIndex;",
    }],
  },
  "what is not verified is applied": {
    edits: [{
      file: FOLLOWER,
      find: "Math.min(this.#commit, this.#verified, log.durableIndex)",
      replace: "Math.min(this.#commit, log.durableIndex)",
    }],
  },
  "older epochs' entries are committed alone": {
    edits: [{
      file: PRIMARY,
      find: "if (index < this.#startIndex || index",
      replace: "if (index",
    }],
  },
  "a promise is not durable": {
    drama: "churn",
    edits: [{
      file: "nodes/chat/replica/elector.ts",
      find: `this.#context.save(save, () => {
      this.#context.send(from, { kind: "promise", epoch, ...answer });
    });`,
      replace: `this.#context.save(save, () => {});
    this.#context.send(from, { kind: "promise", epoch, ...answer });`,
    }],
  },
  "an acceptance is not durable": {
    drama: "amnesia",
    edits: [{
      file: "nodes/chat/replica/elector.ts",
      find: `const isTaken = this.take(view, () => {
      this.#context.send(from, { kind: "accepted", epoch });
    });`,
      replace: `const isTaken = this.take(view, () => {});
    if (isTaken) this.#context.send(from, { kind: "accepted", epoch });`,
    }],
  },
  "what comes before an acceptance is durable is forgotten": {
    edits: [{
      file: FOLLOWER,
      find: "this.#early.push(message);",
      replace: "",
    }],
  },
  "a member that did not answer is kept": {
    edits: [{
      file: BALLOT,
      find:
        "const holders = newest.members.filter((store) => this.#holdsData(store));",
      replace: "const holders = newest.members;",
    }],
  },
  "a member with a damaged log counts": {
    edits: [{
      file: BALLOT,
      find: "return answer?.last !== undefined && !answer.isDamaged;",
      replace: "return answer?.last !== undefined;",
    }],
  },
  "a join does not freeze": {
    drama: "churn",
    edits: [
      {
        file: PRIMARY,
        find: "    if (this.#join === undefined) {\n      this.#append(",
        replace: "    if (this.#join !== null) {\n      this.#append(",
      },
      {
        file: PRIMARY,
        find: "if (this.#join !== undefined || acceptor",
        replace: "if (acceptor",
      },
      {
        file: "nodes/chat/replica/elector.ts",
        find: "purpose.end.index !== last.index",
        replace: "purpose.end.index > last.index",
      },
      {
        file: BALLOT,
        find:
          "return last !== undefined && last.index === purpose.end.index &&",
        replace: "return last?.index !== 0 ||",
      },
    ],
  },
  "a joiner need not have promised with all": {
    drama: "decay",
    edits: [
      {
        file: BALLOT,
        find:
          "return last !== undefined && last.index === purpose.end.index &&",
        replace: "return last?.index !== 0 ||",
      },
      {
        file: PRIMARY,
        find: "if (progress?.incarnation !== incarnation) {",
        replace: "if (progress === undefined) {",
      },
    ],
  },
  "a stale primary's append is taken": {
    drama: "churn",
    edits: [
      {
        file: "nodes/chat/replica/core.ts",
        find: "    if (acceptor.isAbove(epoch)) {\n      const { promised }",
        replace:
          "    if (!acceptor.hasAccepted(epoch)) {\n      const { promised }",
      },
      {
        file: "nodes/chat/replica/core.ts",
        find:
          "    this.#primary = undefined;\n    this.#follower = undefined;\n    this.#becomeInactive();",
        replace: "    this.#primary = undefined;\n    this.#becomeInactive();",
      },
    ],
  },
  "a restarted primary leads its old epoch": {
    edits: [
      {
        file: "election/acceptor.ts",
        find: "return compareEpochs(epoch, this.#startedAt) > 0;",
        replace: "return compareEpochs(epoch, this.#startedAt) >= 0;",
      },
      {
        file: "nodes/chat/replica/core.ts",
        find: ") this.#follow(acceptor.accepted);\n",
        replace: `) {
      this.#follow(acceptor.accepted);
      context.isActive = true;
      this.#leadIfPrimary();
    }
`,
      },
    ],
  },
  "a change of voters forgets those before": {
    edits: [{
      file: BALLOT,
      find: "previousVoters: view.voters,",
      replace: "",
    }],
  },
  "a view is active when one voter has accepted it": {
    drama: "duel",
    edits: [{
      file: BALLOT,
      find: "    return isMajority(view, has) &&\n",
      replace: "    return view.voters.some(has) || isMajority(view, has) &&\n",
    }],
  },
  "a linearizable read asks nobody": {
    drama: "stale",
    edits: [{
      file: PRIMARY,
      find: "if (!isConfirmed) return;\n",
      replace: "",
    }],
  },
  "a linearizable read does not wait for the first entry": {
    drama: "hasty",
    edits: [{
      file: PRIMARY,
      find:
        "const index = Math.max(this.#context.commitIndex, this.#startIndex);",
      replace: "const index = this.#context.commitIndex;",
    }],
  },
  "a repeated command takes effect again": {
    edits: [{
      file: "nodes/chat/state/sessions.ts",
      find: "if (sequence === last + 1) return undefined;",
      replace: "if (sequence <= last + 1) return undefined;",
    }],
  },
  "a sequence may be left out": {
    edits: [{
      file: "nodes/chat/state/sessions.ts",
      find: 'if (sequence > last) return { code: "gap", value: last + 1 };',
      replace: "if (sequence > last) return undefined;",
    }],
  },
  "an error of a sync is ignored": {
    drama: "churn",
    edits: [{
      file: "tests/sim/chat_syncs.ts",
      find: "this.#disk.syncFailed();\n",
      replace: "this.#disk.syncFailed();\n      return then();\n",
    }],
  },
  "a broken snapshot transfer is not tried again": {
    drama: "churn",
    edits: [{
      file: FOLLOWER,
      find: 'this.#context.send(primary, { kind: "unaware", epoch });',
      replace: "void [epoch, primary];",
    }],
  },
};

Deno.test(`chat: ${SEEDS} simulated groups keep what they acknowledged, and come back`, () => {
  let messages = 0;
  let live = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = runChat(seed);
    messages += run.messages;
    if (run.wasLive) live += 1;
    assertEquals(
      run.failures,
      [],
      `Repeat it with: deno task sim chat --seed ${seed}`,
    );
  }
  assert(messages > SEEDS * 20, `only ${messages} writes were acknowledged`);
  assert(live > SEEDS * 0.95, `only ${live} groups had to come back`);
});

Deno.test("chat: a seed always runs the same", () => {
  const run = () => runChat(7, { transcript: true });
  assertEquals(run(), run());
});

for (const [name, { edits, drama }] of Object.entries(BUGS)) {
  Deno.test(`chat: the simulation catches that ${name}`, async () => {
    const directory = plant(FOLDERS, edits);
    try {
      const planted: { runChat: typeof runChat } = await import(
        `file://${directory}/tests/sim/chat_world.ts`
      );
      for (let seed = 1; seed <= PLANTED_SEEDS_MAX; seed++) {
        const run = planted.runChat(seed, { transcript: false, drama });
        if (run.failures.length > 0) return;
      }
      throw new Error(`${PLANTED_SEEDS_MAX} seeds did not show the bug`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}
