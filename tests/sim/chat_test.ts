import { assert, assertEquals } from "@std/assert";
import { plant, type Planted } from "../plant.ts";
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

const BUGS: Record<string, Planted | readonly Planted[]> = {
  "a majority of the members is enough to commit": {
    file: "nodes/chat/primary.ts",
    find:
      "      index = Math.min(index, this.#progress.get(store)?.matched ?? 0);",
    replace: `      index = this.view.members.map((other) =>
        other === self
          ? log.durableIndex
          : this.#progress.get(other)?.matched ?? 0
      ).sort((a, b) => b - a)[this.view.members.length >> 1];`,
  },
  "the primary commits before its own sync": {
    file: "nodes/chat/primary.ts",
    find: "    let index = log.durableIndex;",
    replace: "    let index = log.lastIndex;",
  },
  "a member acknowledges before its sync": {
    file: "nodes/chat/follower.ts",
    find: "const index = Math.min(this.#verified, log.durableIndex);",
    replace: "const index = this.#verified;",
  },
  "a member acknowledges its own log's end": {
    file: "nodes/chat/follower.ts",
    find: "const index = Math.min(this.#verified, log.durableIndex);",
    replace: "const index = log.durableIndex;",
  },
  "what is not verified is applied": {
    file: "nodes/chat/follower.ts",
    find: "Math.min(this.#commit, this.#verified, log.durableIndex)",
    replace: "Math.min(this.#commit, log.durableIndex)",
  },
  "older epochs' entries are committed alone": {
    file: "nodes/chat/primary.ts",
    find: "if (index < this.#startIndex || index",
    replace: "if (index",
  },
  "a promise is not durable": {
    file: "nodes/chat/elector.ts",
    find: `    this.#context.save(save, () => {
      this.#context.send(from, { kind: "promise", epoch, ...answer });
    });`,
    replace: `    this.#context.save(save, () => {});
    this.#context.send(from, { kind: "promise", epoch, ...answer });`,
  },
  "an acceptance is not durable": {
    file: "nodes/chat/elector.ts",
    find: `    const isTaken = this.take(view, () => {
      this.#context.send(from, { kind: "accepted", epoch });
    });`,
    replace: `    const isTaken = this.take(view, () => {});
    if (isTaken) this.#context.send(from, { kind: "accepted", epoch });`,
  },
  "what comes before an acceptance is durable is forgotten": {
    file: "nodes/chat/follower.ts",
    find: "      this.#early.push(message);\n",
    replace: "",
  },
  "a member that did not answer is kept": {
    file: "election/ballot.ts",
    find:
      "const holders = newest.members.filter((store) => this.#holdsData(store));",
    replace: "const holders = newest.members;",
  },
  "a member with a damaged log counts": {
    file: "election/ballot.ts",
    find: "return answer?.last !== undefined && !answer.isDamaged;",
    replace: "return answer?.last !== undefined;",
  },
  "a join does not freeze": [
    {
      file: "nodes/chat/primary.ts",
      find: "if (this.#join === undefined) return this.#append(commands);",
      replace: "if (this.#join !== null) return this.#append(commands);",
    },
    {
      file: "nodes/chat/primary.ts",
      find: "if (this.#join !== undefined || acceptor",
      replace: "if (acceptor",
    },
    {
      file: "election/ballot.ts",
      find: "return last !== undefined && last.index === purpose.end.index &&",
      replace: "return last?.index !== 0 ||",
    },
  ],
  "a joiner need not have promised with all": [
    {
      file: "election/ballot.ts",
      find: "return last !== undefined && last.index === purpose.end.index &&",
      replace: "return last?.index !== 0 ||",
    },
    {
      file: "nodes/chat/primary.ts",
      find: "    if (progress?.incarnation !== incarnation) {",
      replace: "    if (progress === undefined) {",
    },
  ],
  "a stale primary's append is taken": [
    {
      file: "nodes/chat/core.ts",
      find: "    if (acceptor.isAbove(epoch)) {\n      const { promised }",
      replace:
        "    if (!acceptor.hasAccepted(epoch)) {\n      const { promised }",
    },
    {
      file: "nodes/chat/core.ts",
      find:
        "    this.#primary = undefined;\n    this.#follower = undefined;\n    this.#becomeInactive();",
      replace: "    this.#primary = undefined;\n    this.#becomeInactive();",
    },
  ],
  "a restarted primary leads its old epoch": [
    {
      file: "election/acceptor.ts",
      find: "return compareEpochs(epoch, this.#startedAt) > 0;",
      replace: "return compareEpochs(epoch, this.#startedAt) >= 0;",
    },
    {
      file: "nodes/chat/core.ts",
      find: "    ) this.#follow(acceptor.accepted);\n",
      replace: `    ) {
      this.#follow(acceptor.accepted);
      context.isActive = true;
      this.#leadIfPrimary();
    }
`,
    },
  ],
  "a change of voters forgets those before": [
    {
      file: "election/ballot.ts",
      find: "          previousVoters: view.voters,\n",
      replace: "",
    },
    {
      file: "election/ballot.ts",
      find: "(this.#base === undefined || isMajority(this.#base, has));",
      replace: "this.#base !== view;",
    },
  ],
  "a view is active when one voter has accepted it": {
    file: "election/ballot.ts",
    find: "    return isMajority(view, has) &&\n",
    replace:
      "    if (view.voters.some(has)) return true;\n    return isMajority(view, has) &&\n",
  },
  "a linearizable read asks nobody": {
    file: "nodes/chat/primary.ts",
    find: "      if (!isConfirmed) return;\n",
    replace: "",
  },
  "a linearizable read does not wait for the first entry": {
    file: "nodes/chat/primary.ts",
    find:
      "const index = Math.max(this.#context.commitIndex, this.#startIndex);",
    replace: "const index = this.#context.commitIndex;",
  },
  "a repeated command takes effect again": {
    file: "nodes/chat/sessions.ts",
    find: "if (sequence === last + 1) return undefined;",
    replace: "if (sequence <= last + 1) return undefined;",
  },
  "a sequence may be left out": {
    file: "nodes/chat/sessions.ts",
    find: 'if (sequence > last) return { code: "gap", value: last + 1 };',
    replace: "if (sequence > last) return undefined;",
  },
  "an error of a sync is ignored": {
    file: "tests/sim/chat_node.ts",
    find: "      this.disk.syncFailed();\n",
    replace:
      "      this.disk.syncFailed();\n      if (life > 0) return then();\n",
  },
  "a broken snapshot transfer is not tried again": {
    file: "nodes/chat/follower.ts",
    find: 'this.#context.send(primary, { kind: "unaware", epoch });',
    replace: "void [epoch, primary];",
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

for (const [name, bug] of Object.entries(BUGS)) {
  Deno.test(`chat: the simulation catches that ${name}`, async () => {
    const directory = plant(FOLDERS, bug);
    try {
      const planted: { runChat: typeof runChat } = await import(
        `file://${directory}/tests/sim/chat_world.ts`
      );
      for (let seed = 1; seed <= PLANTED_SEEDS_MAX; seed++) {
        if (planted.runChat(seed).failures.length > 0) return;
      }
      throw new Error(`${PLANTED_SEEDS_MAX} seeds did not show the bug`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}
