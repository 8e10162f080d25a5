import { assertEquals, assertThrows } from "@std/assert";
import {
  DISCOVER_UDP,
  type DiscoverChoice,
  discoverChoice,
  discoverFlags,
  discoverWhere,
  formatChoice,
} from "../../../../nodes/host/discovery/discover_flags.ts";
import { FlagsExit, parseFlags } from "../../../../nodes/host/flags.ts";
import {
  DISCOVERY_GROUP,
  DISCOVERY_PORT,
} from "../../../../protocol/discovery.ts";

const value = discoverChoice({ dnsPort: 8081 });

const CASES: readonly (readonly [string, DiscoverChoice])[] = [
  ["static", { kind: "static" }],
  ["dns:chat.lab", { kind: "dns", name: "chat.lab", port: 8081 }],
  ["dns:chat:9000", { kind: "dns", name: "chat", port: 9_000 }],
  ["udp", { kind: "udp", group: DISCOVERY_GROUP, port: DISCOVERY_PORT }],
  ["udp:239.1.2.3", { kind: "udp", group: "239.1.2.3", port: DISCOVERY_PORT }],
  ["udp:239.1.2.3:9000", { kind: "udp", group: "239.1.2.3", port: 9_000 }],
];

for (const [text, choice] of CASES) {
  Deno.test(`discover flag: "${text}" is read, and what is shown means the same`, () => {
    assertEquals(value.parse(text), choice);
    assertEquals(value.parse(value.format(choice)), choice);
  });
}

Deno.test("discover flag: what is none is refused, with what was wanted", () => {
  const refused: readonly (readonly [string, string])[] = [
    ["", '"" is no way to look for others'],
    ["tcp", '"tcp" is no way to look for others'],
    ["static:x", '"static:x" is no way to look for others'],
    ["dns", '"dns" is no way to look for others'],
    ["dns:", '"" in "dns:" is no host name'],
    ["dns:a b", '"a b" in "dns:a b" is no host name'],
    ["dns:a:0", '"0" in "dns:a:0" is not a port'],
    ["dns:a:1:2", '"dns:a:1:2" is no way to look for others'],
    ["udp:10.0.0.1", '"10.0.0.1" in "udp:10.0.0.1" is no multicast group'],
    ["udp:239.1.2.300", "is no multicast group, wanted one from 224.0.0.0"],
    ["udp:239.1.2", "is no multicast group"],
    ["udp:239.1.2.3:65536", '"65536" in "udp:239.1.2.3:65536" is not a port'],
  ];
  for (const [text, message] of refused) {
    assertThrows(() => value.parse(text), RangeError, message);
  }
});

Deno.test("discover flag: it comes from the command line or the environment", () => {
  const parse = (args: string[], env: Record<string, string>) =>
    parseFlags(discoverFlags({ dnsPort: 8081, defaultText: "udp" }), {
      program: "skein-test",
      about: "Looks.",
      examples: [["skein-test", "look"]],
      args,
      env: new Map(Object.entries(env)),
      envFile: "/dev/null",
    }).values.discover;
  assertEquals(parse([], {}), undefined);
  assertEquals(parse(["--discover", "static"], {}), { kind: "static" });
  assertEquals(parse([], { SKEIN_DISCOVER: "udp" }), DISCOVER_UDP);
  assertThrows(() => parse(["--discover", "tcp"], {}), FlagsExit);
});

Deno.test("discover flag: static gets its addresses from elsewhere", () => {
  const addresses = [{ host: "10.0.0.1", port: 8081 }];
  const where = discoverWhere({ kind: "static" }, addresses);
  assertEquals(where, { kind: "static", addresses });
  assertEquals(formatChoice(where), "static");
  assertEquals(discoverWhere(DISCOVER_UDP, addresses), DISCOVER_UDP);
});
