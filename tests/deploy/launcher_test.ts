import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { FleetStates } from "../../deploy/fleet_state.ts";
import type { Fleet } from "../../deploy/fleets.ts";
import { Launcher } from "../../deploy/launcher.ts";
import { Screen } from "../../deploy/screen.ts";
import { PortBlock } from "./port_block.ts";

/** A fleet of one, that runs a script instead of a node. */
async function launch(
  script: string,
  options: { readonly readyWaitMs: number },
): Promise<{ code: number; text: string }> {
  const folder = Deno.makeTempDirSync({ prefix: "skein-launcher-" });
  using ports = PortBlock.reserve();
  const fleet: Fleet = {
    name: "test",
    nodes: [{
      name: "only",
      arguments: [script, String(ports.base)],
      environment: {},
      listens: [{ host: "127.0.0.1", port: ports.base }],
      readyUrl: `http://127.0.0.1:${ports.base}/readyz`,
    }],
    howToReach: ["Reach it so"],
  };
  let text = "";
  const screen = new Screen({
    names: ["only"],
    colours: false,
    sink: (bytes) => {
      text += new TextDecoder().decode(bytes);
      return Promise.resolve();
    },
  });
  try {
    const states = new FleetStates(folder);
    const program = [Deno.execPath(), "eval", "--no-config"];
    const launcher = new Launcher(fleet, {
      program,
      screen,
      states,
      fresh: false,
      ...options,
    });
    const code = await launcher.run();
    assertEquals(states.read(), []);
    return { code, text };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("launcher: a node that ends before it is ready is named with code and last lines", async () => {
  const { code, text } = await launch(
    `for (let n = 0; n < 30; n += 1) console.error("line " + n); Deno.exit(3);`,
    { readyWaitMs: 60_000 },
  );
  assertEquals(code, 1);
  assertStringIncludes(
    text,
    "only is not ready: it ended with code 3\nIts last lines:\n  line 20\n",
  );
  assertStringIncludes(text, "\n  line 29\n");
  assert(!text.includes("the others go on"));
});

Deno.test("launcher: a node that is never ready is named with what it says", async () => {
  const { code, text } = await launch(
    `Deno.addSignalListener("SIGTERM", () => Deno.exit(0));
    const port = Number(Deno.args[0]);
    Deno.serve({ port, onListen() {} }, () => new Response("no\\rsuccessor", { status: 503 }));`,
    { readyWaitMs: 5_000 },
  );
  assertEquals(code, 1);
  assertMatch(
    text,
    /only is not ready: after 5 s http:\S+\/readyz says: 503 no\\rsuccessor\n/,
  );
  assertMatch(text, /All nodes have stopped\n$/);
});

Deno.test("launcher: ends with 1 when all nodes have ended by themselves", async () => {
  const { code, text } = await launch(
    `const port = Number(Deno.args[0]);
    Deno.serve({ port, onListen() {} }, () => {
      setTimeout(() => Deno.exit(0), 50);
      return new Response("ready");
    });`,
    { readyWaitMs: 60_000 },
  );
  assertEquals(code, 1);
  assertMatch(text, /\nReach it so\nCtrl-C stops all\n/);
  assertMatch(text, /only ended with code 0; the others go on/);
  assertMatch(text, /All nodes have ended\n$/);
});
