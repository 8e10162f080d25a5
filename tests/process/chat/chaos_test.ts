import { Random } from "../../sim/random.ts";
import { ChatFleet } from "./chat_fleet.ts";
import type { ChatNode } from "./chat_node.ts";
import { Load } from "./load.ts";

/** SKEIN_SEED repeats the choices of a run, though not its timing. */
const seed = Number(
  Deno.env.get("SKEIN_SEED") ?? Math.floor(Math.random() * 1e6),
);

/** Troubles in a run; SKEIN_ROUNDS asks for more. */
const rounds = Number(Deno.env.get("SKEIN_ROUNDS") ?? 15);

/** Tries of clients between two troubles. */
const TRIES_MAX = 30;

/** Short: many a server that is asked does not run. */
const ANSWER_WAIT_MS = 400;

/** Snapshots all the time. */
const NODE = { flags: ["--segment", "64KiB"] };

/** One change of a node's condition: to worse, or back. */
async function trouble(node: ChatNode, random: Random): Promise<void> {
  if (node.isFrozen) {
    if (random.chance(0.7)) node.thaw();
    else await node.kill();
  } else if (!node.isUp) node.launch();
  else if (random.chance(0.3)) await node.freeze();
  else if (random.chance(0.2)) await node.stop("SIGTERM");
  else await node.kill();
}

Deno.test(`chat chaos: whatever is killed, stopped and started, in any order (SKEIN_SEED=${seed})`, async () => {
  await using fleet = new ChatFleet({ nodes: { a: NODE, b: NODE, c: NODE } });
  await fleet.startReady();
  await using load = await Load.start(fleet, {
    textBytes: 2_000,
    answerWaitMs: ANSWER_WAIT_MS,
    seed,
  });
  const random = new Random(seed);
  for (let round = 0; round < rounds; round += 1) {
    await trouble(random.pick(fleet.nodes), random);
    await load.tried(random.int(TRIES_MAX));
  }
  for (const node of fleet.nodes) {
    if (node.isFrozen) node.thaw();
    else if (!node.isUp) node.launch();
  }
  await fleet.complete();
  await load.more();
  await load.verify();
});
