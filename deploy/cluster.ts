/** `deno task cluster`: starts a local fleet, or stops one that was left behind. */

import { object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { integer, string } from "@optique/core/valueparser";
import { resolve } from "node:path";
import { FleetStates } from "./fleet_state.ts";
import { buildFleet, DEFAULT_FLEET, FLEETS } from "./fleets.ts";
import { Launcher, READY_WAIT_MS } from "./launcher.ts";
import { Screen, standardOutput } from "./screen.ts";
import { stopFleets } from "./stop_fleets.ts";
import { taskFlags, type TaskPage } from "./task_flags.ts";

const CHECKOUT = resolve(import.meta.dirname ?? ".", "..");
const FLAGS = object({
  what: withDefault(
    argument(string({ metavar: "FLEET" }), {
      description: message`A fleet to start (${
        Object.keys(FLEETS).join(", ")
      }), or "stop" to end what was left behind.`,
    }),
    DEFAULT_FLEET,
  ),
  basePort: optional(
    option("--base-port", integer({ metavar: "PORT", min: 1, max: 65_000 }), {
      description:
        message`Listen on PORT and the ports above it, not on the usual ones.`,
    }),
  ),
  fresh: withDefault(
    option("--fresh", {
      description:
        message`Delete what the fleet kept from earlier runs, and start anew.`,
    }),
    false,
  ),
  stateFolder: withDefault(
    option("--state-folder", string({ metavar: "DIR" }), {
      description:
        message`Where to note what runs, and where fleets keep their data (".skein" in the checkout).`,
    }),
    `${CHECKOUT}/.skein`,
  ),
});

const PAGE: TaskPage = {
  program: "deno task cluster",
  brief: message`Start a local fleet one can use at once.`,
  examples:
    message`deno task cluster chain${lineBreak()}deno task cluster chat --fresh${lineBreak()}deno task cluster stop`,
};

type Flags = InferValue<typeof FLAGS>;

/** Does what the flags say; returns the exit code. */
async function cluster(flags: Flags): Promise<number> {
  const states = new FleetStates(flags.stateFolder);
  if (flags.what === "stop") {
    const lines = await stopFleets(states);
    console.log(lines.length === 0 ? "Nothing to stop" : lines.join("\n"));
    return 0;
  }
  if (!Object.hasOwn(FLEETS, flags.what)) {
    const known = Object.keys(FLEETS).join(", ");
    console.error(
      `cluster: There is no fleet "${flags.what}", wanted one of: ${known}`,
    );
    return 2;
  }
  await fetchDependencies();
  const fleet = buildFleet(flags.what, flags);
  const screen = new Screen({
    sink: standardOutput,
    names: fleet.nodes.map((node) => node.name),
    colours: Deno.stdout.isTerminal() && !Deno.noColor,
  });
  const main = `${CHECKOUT}/main.ts`;
  const program = [Deno.execPath(), "run", "--quiet", "-A", main];
  const readyWaitMs = READY_WAIT_MS;
  const launcher = new Launcher(fleet, {
    fresh: flags.fresh,
    program,
    screen,
    states,
    readyWaitMs,
  });
  return await launcher.run();
}

/** Fetches what is not here yet, once and visibly, before four nodes do at a time. */
async function fetchDependencies(): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", `${CHECKOUT}/main.ts`],
    stdin: "null",
  }).spawn().status;
  if (!success) throw new Error("Cannot fetch the dependencies of main.ts");
}

if (import.meta.main) {
  try {
    Deno.exit(await cluster(taskFlags(FLAGS, PAGE)));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const cause = error.cause instanceof Error
      ? `: ${error.cause.message}`
      : "";
    console.error(`cluster: ${error.message}${cause}`);
    Deno.exit(1);
  }
}
