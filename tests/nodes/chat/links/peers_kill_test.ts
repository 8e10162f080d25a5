import { assertEquals, assertLess } from "@std/assert";
import { RunningProcess } from "../../../process/running_process.ts";
import { until } from "../../../process/until.ts";
import { freeAddress, PeerNode, storeOf } from "./peer_node.ts";

/** Generous: a machine that runs all tests at once is slow. */
const NOTICED_MS_MAX = 1_000;

/** A node of `id`, linked to a process that is killed: what it sees, and when. */
async function kill(
  id: string,
  other: string,
): Promise<{ kind: string; afterMs: number }[]> {
  const listen = freeAddress();
  const address = freeAddress();
  const seen: { kind: string; atMs: number }[] = [];
  await using _node = new PeerNode({
    id,
    store: storeOf("a"),
    listen,
    peers: [{ id: other, kind: "server", address }],
  }, {
    onInputs: (inputs) => {
      const atMs = performance.now();
      for (const { kind } of inputs) seen.push({ kind, atMs });
    },
  });
  const script = new URL("peer_child.ts", import.meta.url).pathname;
  await using process = new RunningProcess({
    name: other,
    command: [
      ...[Deno.execPath(), "run", "--quiet", "-A", script],
      ...[other, storeOf("b"), String(address.port)],
      ...[id, String(listen.port)],
    ],
    folder: Deno.cwd(),
  });
  await until("they are linked", () => seen.length > 0);
  const startMs = performance.now();
  process.signal("SIGKILL");
  await until("its end is seen", () => seen.length >= 3);
  return seen.map(({ kind, atMs }) => ({ kind, afterMs: atMs - startMs }));
}

for (
  const [who, id, other] of [
    ["who dialed", "server-1", "server-2"],
    ["who was dialed", "server-2", "server-1"],
  ]
) {
  Deno.test(`peers: a killed process is seen as lost and then as gone, by ${who}`, async () => {
    const seen = await kill(id, other);
    assertEquals(
      seen.map(({ kind }) => kind),
      ["peer-up", "peer-down", "peer-refused"],
    );
    assertLess(seen[2].afterMs, NOTICED_MS_MAX);
    if (Deno.env.has("SHOW_MS")) {
      console.log(seen.map(({ afterMs }) => `${afterMs.toFixed(1)} ms`).join());
    }
  });
}
