import { assert, assertEquals, assertThrows } from "@std/assert";
import { readWhere, whereFlags } from "../../clients/where_flags.ts";
import { DISCOVER_UDP } from "../../nodes/host/discovery/discover_flags.ts";
import { FlagsExit, parseFlags } from "../../nodes/host/flags.ts";

const A = { host: "a", port: 1 };

function parse(line: string, env: Record<string, string> = {}) {
  return readWhere(parseFlags(whereFlags, {
    program: "skein test",
    about: "A test.",
    examples: [],
    args: line === "" ? [] : line.split(" "),
    env: new Map(Object.entries(env)),
    envFile: "/nonexistent/.env",
  }));
}

function refusal(line: string, env: Record<string, string> = {}): string {
  const exit = assertThrows(() => parse(line, env), FlagsExit);
  assertEquals(exit.code, 2);
  return exit.stderr;
}

Deno.test("where flags: named servers, or where to look for them", () => {
  const lan = { ...DISCOVER_UDP, group: "239.1.2.3" };
  const dns = { kind: "dns", name: "chat.lab", port: 8091 } as const;
  for (
    const [line, env, connect, where] of [
      ["", {}, [], DISCOVER_UDP],
      ["-c a:1", {}, [A], { kind: "static", addresses: [A] }],
      ["", { SKEIN_CHAT: "a:1" }, [A], { kind: "static", addresses: [A] }],
      ["--discover udp:239.1.2.3", {}, [], lan],
      ["", { SKEIN_DISCOVER: "dns:chat.lab" }, [], dns],
      // What is typed counts before what is set.
      ["--discover dns:chat.lab", { SKEIN_CHAT: "a:1" }, [], dns],
      ["-c a:1", { SKEIN_DISCOVER: "udp" }, [A], {
        kind: "static",
        addresses: [A],
      }],
      ["", { SKEIN_CHAT: "a:1", SKEIN_DISCOVER: "udp" }, [A], {
        kind: "static",
        addresses: [A],
      }],
      ["-c a:1 --discover static", {}, [A], {
        kind: "static",
        addresses: [A],
      }],
    ] as const
  ) {
    const found = parse(line, env);
    assertEquals(found.connect, connect, line);
    assertEquals(found.search.where, where, line);
  }
});

Deno.test("where flags: cluster and key are those of the servers", () => {
  const { search } = parse("--cluster lab", { SKEIN_KEY: "0123456789abcdef" });
  assertEquals(search.cluster, "lab");
  assertEquals(search.key, new TextEncoder().encode("0123456789abcdef"));
});

Deno.test("where flags: what contradicts, or leads nowhere, is refused", () => {
  assert(refusal("-c a:1 --discover udp").includes("both say"));
  assert(refusal("--discover static").includes('say "--connect" as well'));
  assert(refusal("", { SKEIN_DISCOVER: "static" }).includes("SKEIN_DISCOVER"));
  assert(refusal("", { SKEIN_KEY: "short" }).includes("SKEIN_KEY"));
  assert(refusal("--discover mdns").includes('"mdns"'));
});
