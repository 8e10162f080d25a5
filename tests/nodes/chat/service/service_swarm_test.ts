import { plant, type Planted } from "../../../plant.ts";
import { runSwarm } from "./service_swarm.ts";

const SEEDS = 100;
const PLANTED_SEEDS_MAX = 100;

/** What a swarm needs. */
const FOLDERS = [
  "clients",
  "nodes/chat",
  "nodes/host",
  "protocol",
  "storage",
  "tests/nodes/chat",
  "tests/sim",
];

const BUGS: Readonly<Record<string, Planted>> = {
  "the client numbers what it sends again anew": {
    file: "clients/chat_outbox.ts",
    find: "    for (const kept of this.#kept) kept.id = undefined;\n",
    replace:
      "    for (const kept of this.#kept) { kept.id = undefined; if (kept.wasSent) kept.sequence = this.#nextSequence++; }\n",
  },
  "the client does not send again": {
    file: "clients/chat_outbox.ts",
    find: "      if (kept.id !== undefined) continue;\n",
    replace: "      if (kept.id !== undefined || kept.wasSent) continue;\n",
  },
  "the client shows what it has shown": {
    file: "clients/chat_inbox.ts",
    find: "      if (n <= this.#shown) return false;\n",
    replace: "",
  },
  "the client does not fetch what came while it was away": {
    file: "clients/chat_core.ts",
    find: "    if (this.#shows) this.#catchUp();\n",
    replace: "    if (this.#shows && !this.#wasReady) this.#catchUp();\n",
  },
  "the client does not follow its group": {
    file: "clients/chat_core.ts",
    find: "    this.#targets.follow(view);\n",
    replace: "",
  },
  "the server forgets what it has proposed": {
    file: "nodes/chat/service/open_commands.ts",
    find:
      "      open.proposedMs = nowMs;\n      this.#context.propose(open.bytes);\n",
    replace: "      open.proposedMs = nowMs;\n",
  },
  "a server that is behind answers all the same": {
    file: "nodes/chat/service/index_waits.ts",
    find:
      "    if (index <= this.#source.appliedIndex()) return done(undefined);\n",
    replace: "    if (index >= 0) return done(undefined);\n",
  },
  "a command is executed as often as it is committed": {
    file: "nodes/chat/state/sessions.ts",
    find: "    if (sequence === last + 1) return undefined;\n",
    replace: "    if (sequence <= last + 1) return undefined;\n",
  },
};

Deno.test(`service: ${SEEDS} seeds of lost, late and repeated commands, broken links and servers behind`, async () => {
  const only = Deno.env.get("SEED");
  const seeds = only === undefined
    ? Array.from({ length: SEEDS }, (_, index) => index + 1)
    : [Number(only)];
  for (const seed of seeds) {
    try {
      await runSwarm(seed);
    } catch (error) {
      throw new Error(
        `Seed ${seed} fails: SEED=${seed} deno test -A tests/nodes/chat/service/service_swarm_test.ts`,
        { cause: error },
      );
    }
  }
});

for (const [name, bug] of Object.entries(BUGS)) {
  Deno.test(`service: the swarm catches that ${name}`, async () => {
    const directory = plant(FOLDERS, bug);
    try {
      const planted: { runSwarm: typeof runSwarm } = await import(
        `file://${directory}/tests/nodes/chat/service/service_swarm.ts`
      );
      for (let seed = 1; seed <= PLANTED_SEEDS_MAX; seed++) {
        const isCaught = await planted.runSwarm(seed).then(
          () => false,
          () => true,
        );
        if (isCaught) return;
      }
      throw new Error(`${PLANTED_SEEDS_MAX} seeds did not show the bug`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}
