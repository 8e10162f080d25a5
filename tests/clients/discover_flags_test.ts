import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type DiscoverFlags,
  parseDiscoverFlags,
} from "../../clients/discover_flags.ts";
import { parseLeaveFlags } from "../../clients/leave_flags.ts";
import { DISCOVER_UDP } from "../../nodes/host/discovery/discover_flags.ts";
import { type Environment, FlagsExit } from "../../nodes/host/flags.ts";

const A = { host: "a", port: 8091 };
const DEFAULTS: DiscoverFlags = {
  connect: [],
  search: { where: DISCOVER_UDP, cluster: "skein", key: undefined },
  warnings: [],
  all: false,
  watch: false,
  json: false,
  timeoutMs: 1_000,
};

type Parse<Flags> = (
  args: readonly string[],
  env: Environment,
  envFile: string,
) => Flags;

function parsed<Flags>(parse: Parse<Flags>, line: string): Flags {
  // Where one chats is not whom one looks for, or sends away.
  const env = new Map([["SKEIN_CHAT", "elsewhere:8091"]]);
  const args = line === "" ? [] : line.split(" ");
  return parse(args, env, "/nonexistent/.env");
}

function refusal(parse: Parse<unknown>, line: string): string {
  const exit = assertThrows(() => parsed(parse, line), FlagsExit);
  assertEquals(exit.code, 2);
  return exit.stderr;
}

Deno.test("discover flags: each flag sets its value", () => {
  for (
    const [line, changes] of [
      ["", {}],
      ["--all", { all: true }],
      ["-w --json", { watch: true, json: true }],
      ["--timeout 3s", { timeoutMs: 3_000 }],
      ["--cluster lab", { search: { ...DEFAULTS.search, cluster: "lab" } }],
      ["-c a:8091", {
        connect: [A],
        search: {
          ...DEFAULTS.search,
          where: { kind: "static", addresses: [A] },
        },
      }],
    ] as const
  ) {
    const found = parsed(parseDiscoverFlags, line);
    assertEquals(found, { ...DEFAULTS, ...changes }, line);
  }
  const contradiction = refusal(parseDiscoverFlags, "--all --cluster lab");
  assert(contradiction.includes("contradict"));
});

Deno.test("leave flags: one server at most is named", () => {
  assertEquals(parsed(parseLeaveFlags, "").connect, []);
  const one = parsed(parseLeaveFlags, "-c a:8091 --timeout 5s");
  assertEquals([one.connect, one.timeoutMs], [[A], 5_000]);
  assert(refusal(parseLeaveFlags, "-c a:1,b:2").includes("names 2 servers"));
});
