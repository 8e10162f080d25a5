import { assert, assertEquals } from "@std/assert";
import { plant, type Planted } from "../plant.ts";
import { runChain } from "./chain_world.ts";

const SEEDS = 300;

/** What the simulation needs; a planted bug is in one of these. */
const FOLDERS = [
  "protocol",
  "nodes/chain",
  "nodes/host",
  "clients",
  "storage",
  "tests/sim",
];

/** Seeds within which every planted bug must show. */
const PLANTED_SEEDS_MAX = 2_000;

const BUGS: Record<string, Planted> = {
  "the tail does not drop repeats": {
    file: "nodes/chain/delivery.ts",
    find: "return text.subarray(skip);",
    replace: "return text;",
  },
  "the tail forgets what it knew of a client on a new link": {
    file: "nodes/chain/delivery.ts",
    find: "if (known === undefined) {",
    replace: "if (known === undefined || known.link !== from.link) {",
  },
  "the tail acknowledges before the message is out": {
    file: "nodes/chain/core.ts",
    find:
      "this.#acknowledged(this.#outbox.acknowledgeTo(this.#stored), before);",
    replace:
      "this.#acknowledged(this.#outbox.acknowledgeTo(queue.end), before);",
  },
  "the tail does not acknowledge repeats": {
    file: "nodes/chain/core.ts",
    find: "    if (fresh.length === 0) return;\n",
    replace: "    if (fresh.length === 0) { source.received -= 1; return; }\n",
  },
  "an acknowledgement that waits is forgotten": {
    file: "nodes/chain/core.ts",
    find: 'this.#effects.push({ kind: "ack-timer", afterMs: ACK_PAUSE_MS });',
    replace: "",
  },
  "a durable tail forgets its clients": {
    file: "nodes/chain/core.ts",
    find: "this.#delivery.restore(client, end);",
    replace: "void [client, end];",
  },
  "what was written counts as acknowledged": {
    file: "protocol/outbox.ts",
    find: "    this.#sent += this.#writing;\n",
    replace:
      "    this.#sent += this.#writing;\n    this.acknowledgeTo(this.#sent);\n",
  },
  "a new link goes on where the old one stopped": {
    file: "protocol/outbox.ts",
    find: "    this.#sent = this.queue.start;\n",
    replace: "    this.#base = this.#sent;\n",
  },
  "a segment is acknowledged when it is begun": {
    file: "protocol/outbox.ts",
    find: "if (segment.end > position) break;",
    replace: "if (segment.end > position + 200) break;",
  },
  "a link that carried traffic is used again after a switch": {
    file: "nodes/chain/downstream.ts",
    find: "    if (activeLink !== undefined && link !== undefined) {",
    replace: "    if (link !== undefined && activeLink === -1) {",
  },
  "a broken source is taken for one that has ended": {
    file: "nodes/chain/core.ts",
    find: "if (source !== undefined) return this.#forget(source);",
    replace: "if (source !== undefined) return;",
  },
  "backpressure is left out": {
    file: "nodes/chain/core.ts",
    find: "if (this.#outbox.queue.space <= 0) return;",
    replace: "",
  },
  "a source is not read again after backpressure": {
    file: "nodes/chain/core.ts",
    find:
      "      this.#waiting.add(source);\n      this.#speaking.add(source);\n    });",
    replace:
      "      if (this.#outbox.queue.space > 0) this.#waiting.add(source);\n      this.#speaking.add(source);\n    });",
  },
  "spooled messages are not sent after a restart": {
    file: "nodes/chain/core.ts",
    find:
      "this.#outbox.queue.append(frames);\n      this.#outbox.seal(undefined, 0);",
    replace: "void frames;",
  },
  "plain text is closed before it is safe": {
    file: "nodes/chain/core.ts",
    find: "source.queueEnd <= this.#stored;",
    replace: "source.queueEnd <= this.#stored + 100_000;",
  },
  "the sender does not send again": {
    file: "clients/send_core.ts",
    find: "    this.#outbox.linkUp();\n",
    replace: "    if (this.#outbox.isEmpty) this.#outbox.linkUp();\n",
  },
};

Deno.test(`chain: ${SEEDS} simulated clusters keep every message, in order, once`, () => {
  let messages = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = runChain(seed);
    messages += run.messages;
    assertEquals(
      run.failures,
      [],
      `Repeat it with: deno task sim chain --seed ${seed}`,
    );
  }
  assert(messages > SEEDS * 100, `only ${messages} messages were delivered`);
});

Deno.test("chain: a seed always runs the same", () => {
  const transcript = () => runChain(7, { transcript: true }).transcript;
  assertEquals(transcript(), transcript());
});

for (const [name, bug] of Object.entries(BUGS)) {
  Deno.test(`chain: the simulation catches that ${name}`, async () => {
    const directory = plant(FOLDERS, bug);
    try {
      const planted: { runChain: typeof runChain } = await import(
        `file://${directory}/tests/sim/chain_world.ts`
      );
      for (let seed = 1; seed <= PLANTED_SEEDS_MAX; seed++) {
        if (planted.runChain(seed).failures.length > 0) return;
      }
      throw new Error(`${PLANTED_SEEDS_MAX} seeds did not show the bug`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}
