import { assertEquals, assertThrows } from "@std/assert";
import { FleetStates } from "../../deploy/fleet_state.ts";

const STATE = {
  fleet: "chain-4000",
  launcher: { pid: 10, startedAt: "boot:1" },
  nodes: [{ name: "server0", pid: 11, startedAt: "boot:2" }],
};

function inFolder(fn: (folder: string) => void): () => void {
  return () => {
    const folder = Deno.makeTempDirSync({ prefix: "skein-state-" });
    try {
      fn(`${folder}/new`);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  };
}

Deno.test(
  "fleet states: what is written is read, replaced and removed",
  inFolder((folder) => {
    const states = new FleetStates(folder);
    assertEquals(states.read(), [], "the folder need not exist");
    states.write(STATE);
    states.write({ ...STATE, fleet: "chain" });
    states.write({ ...STATE, nodes: [] });
    assertEquals(states.read(), [
      { ...STATE, nodes: [] },
      { ...STATE, fleet: "chain" },
    ]);
    states.remove("chain");
    states.remove("chain");
    assertEquals(states.read().map(({ fleet }) => fleet), ["chain-4000"]);
    assertEquals([...Deno.readDirSync(folder)].length, 1, "nothing else left");
  }),
);

Deno.test(
  "fleet states: a file that is not a note is named",
  inFolder((folder) => {
    Deno.mkdirSync(folder);
    const path = `${folder}/cluster-chain.json`;
    for (
      const text of [
        "",
        "{",
        "[]",
        JSON.stringify({ ...STATE, launcher: { pid: 0, startedAt: "" } }),
        JSON.stringify({ ...STATE, fleet: "../x" }),
        JSON.stringify({ ...STATE, nodes: [{ pid: 3 }] }),
      ]
    ) {
      Deno.writeTextFileSync(path, text);
      assertThrows(() => new FleetStates(folder).read(), Error, path);
    }
  }),
);
