/** `deno task bench NAME`: Skein beside programs that do the same work. */

import { FlagsExit, orExit } from "../../nodes/host/flags.ts";
import { benchChain, CHAIN_BENCH_ABOUT } from "./chain.ts";
import { benchChat, CHAT_BENCH_ABOUT } from "./chat.ts";
import { benchDiscovery, DISCOVERY_BENCH_ABOUT } from "./discovery.ts";
import { benchMesh, MESH_BENCH_ABOUT } from "./mesh.ts";

const BENCHES: Readonly<
  Record<string, {
    readonly about: string;
    run(args: readonly string[]): Promise<number>;
  }>
> = {
  chain: { about: CHAIN_BENCH_ABOUT, run: benchChain },
  chat: { about: CHAT_BENCH_ABOUT, run: benchChat },
  discovery: { about: DISCOVERY_BENCH_ABOUT, run: benchDiscovery },
  mesh: { about: MESH_BENCH_ABOUT, run: benchMesh },
};

const [name, ...args] = Deno.args;
Deno.exit(await orExit(() => choose(name)).run(args));

/** @throws {FlagsExit} For help, and for a name that is none. */
function choose(name: string | undefined) {
  if (name === "--help" || name === "-h") {
    throw new FlagsExit({ code: 0, stdout: help() });
  }
  if (name !== undefined && Object.hasOwn(BENCHES, name)) return BENCHES[name];
  const found = name === undefined
    ? "a bench is missing"
    : `"${name}" is no bench`;
  const wanted = Object.keys(BENCHES).join(", ");
  throw new FlagsExit({
    code: 2,
    stderr: `skein bench: ${found}; wanted: ${wanted}\n`,
  });
}

function help(): string {
  const lines = Object.entries(BENCHES).map(([name, { about }]) =>
    `  ${name.padEnd(11)}${about}`
  );
  return [
    "Usage: deno task bench NAME [OPTION…]",
    "",
    ...lines,
    "",
    `"deno task bench NAME --help" shows the options.`,
    "",
  ].join("\n");
}
