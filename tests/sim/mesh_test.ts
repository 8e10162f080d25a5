import { assert, assertEquals } from "@std/assert";
import { plant, type Planted } from "../plant.ts";
import { runMesh } from "./mesh_world.ts";

const SEEDS = 300;

/** What the simulation needs; a planted bug is in one of these. */
const FOLDERS = ["protocol", "nodes/mesh", "tests/sim"];

/** Seeds within which every planted bug must show. */
const PLANTED_SEEDS_MAX = 2_000;

const RELAY = "nodes/mesh/relay.ts";
const REPAIRS = "nodes/mesh/repairs.ts";
const CLUSTER = "nodes/mesh/cluster.ts";
const DESK = "nodes/mesh/client_desk.ts";

const BUGS: Record<string, Planted> = {
  "an event is delivered as often as it comes": {
    file: RELAY,
    find: "if (n <= stream.n) return this.#isDuplicate();",
    replace: "",
  },
  "an event is delivered before its turn": {
    file: RELAY,
    find: "if (n > stream.n + 1) {",
    replace: "if (n > stream.n + 2) {",
  },
  "what came early is not delivered in its turn": {
    file: RELAY,
    find: "    this.#advance(server, relayed);\n    this.drain(server);",
    replace: "    this.#advance(server, relayed);",
  },
  "nobody asks for what was lost": {
    file: REPAIRS,
    find: "if (!stream.isMet || stream.n < stream.wantedN) this.#ask(stream);",
    replace: "",
  },
  "a question is never asked again": {
    file: REPAIRS,
    find:
      "    if (ask === undefined || this.#parts.context.nowMs < ask.untilMs) return;",
    replace: "    if (ask !== undefined || stream.n >= 0) return;",
  },
  "a gap is taken for missed at once": {
    file: REPAIRS,
    find: "    if (!ask.isFinal && !isLeast) return false;",
    replace: "    if (n > 0) return true;",
  },
  "what was missed is not told": {
    file: REPAIRS,
    find: "if (missed > 0) this.#parts.missed(server, missed);",
    replace: "",
  },
  "one too many is told of as missed": {
    file: "nodes/mesh/stream.ts",
    find: "messages: messages - (isMessage ? 1 : 0)",
    replace: "messages",
  },
  "what came before its origin was met is dropped": {
    file: REPAIRS,
    find: "const isFirst = lowest !== undefined && lowest.event.n <= n;",
    replace: "const isFirst = false;\n" +
      "while (early.lowest?.event.n <= n) early.take(early.lowest.event.n);",
  },
  "what is held between gaps is dropped with them": {
    file: REPAIRS,
    find: "if (lowest === undefined || lowest.event.n >= end) break;",
    replace: "if (lowest === undefined || lowest.event.n >= end) break;\n" +
      "if (early.take(lowest.event.n)) continue;",
  },
  "what is held after a gap is dropped with it": {
    file: REPAIRS,
    find: "const first = early.runTo(n);",
    replace: "const first = undefined;\n" +
      "while (early.lowest?.event.n <= n) early.take(early.lowest.event.n);",
  },
  "rooms do not go with a new name": {
    file: "nodes/mesh/presence.ts",
    find: "for (const room of event.rooms) this.#join(name, room);",
    replace: "",
  },
  "rooms under a new name are those of whoever has the old one": {
    file: "nodes/mesh/presence.ts",
    find: "      this.#remove(event.was);\n      this.#add(name, since);\n" +
      "      for (const room of event.rooms)",
    replace: "      const rooms = this.#users.get(event.was)?.rooms ?? [];\n" +
      "      this.#remove(event.was);\n      this.#add(name, since);\n" +
      "      for (const room of rooms)",
  },
  "a server that was started anew keeps its numbers": {
    file: CLUSTER,
    find: "if (this.#strayed < self.generation) return;",
    replace: "if (this.#strayed >= 0) return;",
  },
  "who is there is not told in a new life": {
    file: "nodes/mesh/core.ts",
    find: 'this.#publish({ kind: "login", name, since });\n      for',
    replace: "for",
  },
  "a state is told to nobody but neighbours": {
    file: CLUSTER,
    find: "return !this.routes.areLinked(state.id, link.peer);",
    replace: "return false;",
  },
  "the later of two equal names keeps it": {
    file: "nodes/mesh/name_conflicts.ts",
    find: "since < session.since ||",
    replace: "since > session.since ||",
  },
  "equal names that meet are not noticed": {
    file: CLUSTER,
    find: "if (isUp) this.#parts.cameUp(server);",
    replace: "",
  },
  "users of servers that are gone are present": {
    file: DESK,
    find: "if (isUp && stream.presence.since(name) !== undefined) return id;",
    replace: "if (stream.presence.since(name) !== undefined) return id;",
  },
  "a room's message goes to everyone": {
    file: DESK,
    find: "if (message.room === undefined) {\n",
    replace: "if (message.room !== null) {\n",
  },
  "a local message is relayed": {
    file: DESK,
    find: "if (isLocal) {",
    replace: "if (isLocal && room !== undefined) {",
  },
  "a topology that was chosen at the same time stays": {
    file: CLUSTER,
    find: "return a.by === b.by ? a.topology > b.topology : a.by > b.by;",
    replace: "return false;",
  },
  "the topology is not looked at": {
    file: CLUSTER,
    find:
      "return new Routes(claims, { self, topology: this.choice.topology });",
    replace: 'return new Routes(claims, { self, topology: "mesh" });',
  },
  "a link that is gone is sent over": {
    file: CLUSTER,
    find: "    this.#isLinksChanged = true;\n  }\n\n  // What neighbours say",
    replace: "  }\n\n  // What neighbours say",
  },
};

Deno.test(`mesh: ${SEEDS} simulated meshes give everybody everything once, and become whole`, () => {
  let messages = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = runMesh(seed);
    messages += run.messages;
    assertEquals(
      run.failures,
      [],
      `Repeat it with: deno task sim mesh --seed ${seed}`,
    );
  }
  assert(messages > SEEDS * 20, `only ${messages} messages were said`);
});

Deno.test("mesh: a seed always runs the same", () => {
  const run = () => runMesh(7, { transcript: true });
  assertEquals(run(), run());
});

for (const [name, bug] of Object.entries(BUGS)) {
  Deno.test(`mesh: the simulation catches that ${name}`, async () => {
    const directory = plant(FOLDERS, bug);
    try {
      const planted: { runMesh: typeof runMesh } = await import(
        `file://${directory}/tests/sim/mesh_world.ts`
      );
      for (let seed = 1; seed <= PLANTED_SEEDS_MAX; seed++) {
        if (planted.runMesh(seed).failures.length > 0) return;
      }
      throw new Error(`${PLANTED_SEEDS_MAX} seeds did not show the bug`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}
