import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type ChainFlags,
  type ChainHost,
  defaultNodeId,
  nextFromOrdinal,
  parseChainFlags,
} from "../../../nodes/chain/flags.ts";
import { FlagsExit } from "../../../nodes/host/flags.ts";

const host: ChainHost = {
  hostname: () => "machine",
  stdoutIsTerminal: () => false,
  envFile: "/nonexistent/.env",
};
const KEY = "0123456789abcdef";

const DEFAULTS: ChainFlags = {
  listen: { host: "0.0.0.0", port: 3527 },
  next: [],
  nextTimeoutMs: 3_000,
  print: "none",
  ackLines: false,
  lines: "private",
  output: undefined,
  spool: undefined,
  queueBytesMax: 16 * 1024 * 1024,
  linkTimeoutMs: 3_000,
  id: "machine:3527",
  cluster: "skein",
  key: undefined,
  admin: undefined,
  logLevel: "info",
  exitWithParent: false,
  warnings: [],
};

function parse(
  line: string,
  options: { env?: Record<string, string>; host?: Partial<ChainHost> } = {},
): ChainFlags {
  return parseChainFlags(
    line === "" ? [] : line.split(" "),
    new Map(Object.entries(options.env ?? {})),
    { ...host, ...options.host },
  );
}

function refusalOf(line: string, env: Record<string, string> = {}): string {
  const exit = assertThrows(() => parse(line, { env }), FlagsExit);
  assertEquals([exit.code, exit.stdout], [2, ""]);
  const match = /^skein-chain: (.*?)\.? Try "skein-chain --help"\n$/.exec(
    exit.stderr,
  );
  assert(match !== null, exit.stderr);
  return match[1];
}

Deno.test("chain flags: a port alone is a tail with defaults", () => {
  assertEquals(parse("-l 3527"), DEFAULTS);
});

Deno.test("chain flags: each flag sets its value", () => {
  const next = [{ host: "a", port: 1 }, { host: "::1", port: 2 }];
  for (
    const [line, changes] of [
      ["-n a:1,[::1]:2", { next }],
      ["--next a:1,[::1]:2 --next-timeout 500ms", { next, nextTimeoutMs: 500 }],
      ["--print full", { print: "full" }],
      ["--print summary", { print: "summary" }],
      ["--ack-lines", { ackLines: true }],
      ["--lines loopback", { lines: "loopback" }],
      ["--output out.txt", { output: "out.txt" }],
      ["--spool dir", { spool: "dir" }],
      ["--queue 1MiB", { queueBytesMax: 1024 ** 2 }],
      ["--queue 1GiB", { queueBytesMax: 1024 ** 3 }],
      ["--link-timeout 200ms", { linkTimeoutMs: 200 }],
      ["--link-timeout 60s", { linkTimeoutMs: 60_000 }],
      ["--id n1", { id: "n1" }],
      ["--cluster other", { cluster: "other" }],
      ["--admin 9100", { admin: { host: "127.0.0.1", port: 9100 } }],
      ["--admin 0.0.0.0:0", { admin: { host: "0.0.0.0", port: 0 } }],
      ["--log-level debug", { logLevel: "debug" }],
      ["--exit-with-parent", { exitWithParent: true }],
    ] as const
  ) assertEquals(parse(`-l 3527 ${line}`), { ...DEFAULTS, ...changes }, line);
});

Deno.test("chain flags: each variable sets its value", () => {
  const env = {
    SKEIN_LISTEN: "127.0.0.1:1",
    SKEIN_NEXT: "a:1",
    SKEIN_NEXT_TIMEOUT: "4s",
    SKEIN_PRINT: "summary",
    SKEIN_ACK_LINES: "1",
    SKEIN_LINES: "none",
    SKEIN_SPOOL: "dir",
    SKEIN_QUEUE: "2MiB",
    SKEIN_LINK_TIMEOUT: "5s",
    SKEIN_ID: "n1",
    SKEIN_CLUSTER: "c",
    SKEIN_KEY: KEY,
    SKEIN_ADMIN: "9100",
    SKEIN_LOG_LEVEL: "error",
  };
  assertEquals(parse("", { env }), {
    ...DEFAULTS,
    listen: { host: "127.0.0.1", port: 1 },
    next: [{ host: "a", port: 1 }],
    nextTimeoutMs: 4_000,
    print: "summary",
    ackLines: true,
    lines: "none",
    spool: "dir",
    queueBytesMax: 2 * 1024 * 1024,
    linkTimeoutMs: 5_000,
    id: "n1",
    cluster: "c",
    key: new TextEncoder().encode(KEY),
    admin: { host: "127.0.0.1", port: 9100 },
    logLevel: "error",
  });
});

Deno.test("chain flags: print is full on a terminal", () => {
  const terminal = { host: { stdoutIsTerminal: () => true } };
  assertEquals(parse("-l 1", terminal).print, "full");
  assertEquals(parse("-l 1 --print none", terminal).print, "none");
});

Deno.test("chain flags: with a cluster key, lines come from this machine alone", () => {
  const env = { SKEIN_KEY: KEY };
  assertEquals(parse("-l 1", { env }).lines, "loopback");
  assertEquals(parse("-l 1 --lines private", { env }).lines, "private");
});

Deno.test("chain flags: the id is the host name and port, if the port is known", () => {
  const env = { HOSTNAME: "chain-0" };
  assertEquals(parse("-l 3527", { env }).id, "chain-0:3527");
  assertEquals(parse("-l 0").id, undefined);
  assertEquals(parse("-l 0 --id n1").id, "n1");
  for (
    const [hostname, id] of [
      ["machine", "machine:1"],
      ["my_host.example", "my_host.example:1"],
      ["größe's", "gr--e-s:1"],
      ["", "node:1"],
      ["x".repeat(253), `${"x".repeat(58)}:1`],
    ]
  ) assertEquals(defaultNodeId(hostname, 1), id);
});

Deno.test("chain flags: a pod finds its successor from its ordinal", () => {
  const line = "-l 3525 --next-from-ordinal chain.default.svc --size 4";
  for (
    const [hostname, next] of [
      ["skein-chain-0", [{
        host: "skein-chain-1.chain.default.svc",
        port: 3525,
      }]],
      ["skein-chain-2", [{
        host: "skein-chain-3.chain.default.svc",
        port: 3525,
      }]],
      ["skein-chain-3", []],
    ] as const
  ) {
    const env = { HOSTNAME: hostname };
    assertEquals(parse(line, { env }).next, next);
    const byHost = { host: { hostname: () => hostname } };
    assertEquals(parse(line, byHost).next, next);
  }
});

Deno.test("chain flags: of pods with the same flags, the tail alone writes the output", () => {
  const line = "-l 1 --next-from-ordinal s --size 2 --output out.txt";
  const of = (hostname: string) =>
    parse(line, { env: { HOSTNAME: hostname } }).output;
  assertEquals([of("c-0"), of("c-1")], [undefined, "out.txt"]);
});

Deno.test("chain flags: the successor by ordinal, or why there is none", () => {
  const place = { service: "svc", size: 3, port: 7 };
  for (
    const [hostname, expected] of [
      ["c-0", "c-1.svc"],
      ["c-1", "c-2.svc"],
      ["c-2", undefined],
      ["a-1-b-0", "a-1-b-1.svc"],
      ["c-0.svc.ns.svc.cluster.local", "c-1.svc"],
    ] as const
  ) {
    const next = nextFromOrdinal(hostname, place);
    assertEquals(
      next,
      expected === undefined ? undefined : { host: expected, port: 7 },
    );
  }
  assertEquals(nextFromOrdinal("c-0", { ...place, size: 1 }), undefined);
  for (
    const [hostname, reason] of [
      ["c", 'Host name "c" has no ordinal, wanted one such as "chain-0"'],
      ["", "has no ordinal"],
      ["c-", "has no ordinal"],
      ["-1", "has no ordinal"],
      ["c-01", "has no ordinal"],
      ["c--1", "has no ordinal"],
      ["c-x", "has no ordinal"],
      ["c0", "has no ordinal"],
      ["c-3", 'Host name "c-3" has the ordinal 3, wanted 0 to 2'],
      ["c-999999", "has the ordinal 999999"],
    ]
  ) assertThrows(() => nextFromOrdinal(hostname, place), RangeError, reason);
});

Deno.test("chain flags: contradictions are one clear line", () => {
  const ordinal = "--next-from-ordinal svc --size 4";
  for (
    const [line, env, refusal] of [
      [
        `-n a:1 ${ordinal}`,
        {},
        '"--next" and "--next-from-ordinal" exclude each other',
      ],
      [
        ordinal,
        { SKEIN_NEXT: "a:1" },
        'SKEIN_NEXT and "--next-from-ordinal" exclude each other',
      ],
      [
        "-n a:1 --output f",
        {},
        '"--output" is for the tail, which has no "--next"',
      ],
      [
        "--output f",
        { SKEIN_NEXT: "a:1" },
        '"--output" is for the tail, which has no SKEIN_NEXT',
      ],
      ["--size 4", {}, '"--size" needs "--next-from-ordinal" beside it'],
      [
        "",
        { SKEIN_SIZE: "4" },
        'SKEIN_SIZE needs "--next-from-ordinal" beside it',
      ],
      [
        "--next-from-ordinal svc",
        {},
        '"--next-from-ordinal" needs "--size" beside it',
      ],
      [
        ordinal,
        {},
        '"--next-from-ordinal": Host name "machine" has no ordinal, wanted one such as "chain-0"',
      ],
      [
        ordinal,
        { HOSTNAME: "c-4" },
        '"--next-from-ordinal": Host name "c-4" has the ordinal 4, wanted 0 to 3',
      ],
    ] as const
  ) assertEquals(refusalOf(`-l 1 ${line}`.trim(), env), refusal);
});

Deno.test("chain flags: each wrong value is one clear line", () => {
  for (
    const [line, refusal] of [
      ["", '"--listen" is missing: say -l [HOST:]PORT, or set SKEIN_LISTEN'],
      ["-l host", '"--listen": "host" is not an address, wanted [HOST:]PORT'],
      ["-l 1 -n 2", '"--next": "2" is not an address, wanted HOST:PORT'],
      ["-l 1 -n a:1,a:1", '"--next": "a:1" is there twice'],
      [
        "-l 1 --next-timeout 99ms",
        '"--next-timeout": "99ms" is out of range, wanted 100ms to 1h',
      ],
      [
        "-l 1 --print all",
        '"--print": "all" is none of "full", "summary", "none"',
      ],
      [
        "-l 1 --lines all",
        '"--lines": "all" is none of "none", "loopback", "private"',
      ],
      [
        "-l 1 --queue 1023KiB",
        '"--queue": "1023KiB" is out of range, wanted 1MiB to 1GiB',
      ],
      [
        "-l 1 --queue 2GiB",
        '"--queue": "2GiB" is out of range, wanted 1MiB to 1GiB',
      ],
      [
        "-l 1 --link-timeout 199ms",
        '"--link-timeout": "199ms" is out of range, wanted 200ms to 1m',
      ],
      [
        "-l 1 --link-timeout 61s",
        '"--link-timeout": "61s" is out of range, wanted 200ms to 1m',
      ],
      ["-l 1 --size 65", '"--size": "65" is out of range, wanted 1 to 64'],
      ["-l 1 --size 0", '"--size": "0" is out of range, wanted 1 to 64'],
      [
        "-l 1 --next-from-ordinal a_b --size 2",
        '"--next-from-ordinal": "a_b" is not the DNS name of a service',
      ],
      [
        "-l 1 --id a/b",
        '"--id": "a/b" is not a name, wanted 1 to 64 of A-Z, a-z, 0-9, ".", "_", ":" and "-"',
      ],
      ["-l 1 --cluster", '"--cluster" needs a value: NAME'],
      [
        "-l 1 --admin x",
        '"--admin": "x" is not an address, wanted [HOST:]PORT',
      ],
      [
        "-l 1 --log-level trace",
        '"--log-level": "trace" is none of "debug", "info", "warn", "error"',
      ],
      [
        "-l 1 --exit-with-parent=1",
        '"--exit-with-parent" takes no value, found "1"',
      ],
      [
        "-l 1 --key hunter2",
        '"--key" is no option; did you mean "--key-file"?',
      ],
      [
        "-l 1 --key-file /no/such",
        'Cannot read "/no/such": there is no such file',
      ],
    ]
  ) assertEquals(refusalOf(line), refusal, line);
});

Deno.test("chain flags: help shows every flag, every variable and the seed's commands", () => {
  const { code, stdout } = assertThrows(() => parse("--help"), FlagsExit);
  assertEquals(code, 0);
  for (
    const flag of [
      "-l, --listen [HOST:]PORT",
      "-n, --next HOST:PORT[,…]",
      "--next-from-ordinal SERVICE",
      "--size N",
      "--next-timeout TIME",
      "--print full|summary|none",
      "--ack-lines",
      "--lines none|loopback|private",
      "--output FILE",
      "--spool DIR",
      "--queue SIZE",
      "--link-timeout TIME",
      "--id NAME",
      "--cluster NAME",
      "--key-file FILE",
      "--admin [HOST:]PORT",
      "--log-level LEVEL",
      "--exit-with-parent",
      "-h, --help",
      "--version",
      "--completion SHELL",
    ]
  ) assert(stdout.includes(`\n  ${flag}`), flag);
  for (
    const variable
      of "LISTEN NEXT NEXT_FROM_ORDINAL SIZE NEXT_TIMEOUT PRINT ACK_LINES LINES OUTPUT SPOOL QUEUE LINK_TIMEOUT ID CLUSTER KEY_FILE KEY ADMIN LOG_LEVEL"
        .split(" ")
  ) assert(new RegExp(`SKEIN_${variable}\\b`).test(stdout), variable);
  for (
    const example of [
      "skein-chain -l 3527 ",
      "skein-chain -l 3526 -n HOST:3527 ",
    ]
  ) assert(stdout.includes(`  ${example}`), example);
});

Deno.test("chain flags: the seed's four nodes parse as they stand", () => {
  const service = "chain.default.svc.cluster.local";
  for (
    const [line, next] of [
      ["-l 3527", []],
      [`-l 3526 -n chain-3.${service}:3527`, [3527]],
      [`-l 3524 -n chain-2.${service}:3526`, [3526]],
      [`-l 3525 -n chain-1.${service}:3524`, [3524]],
    ] as const
  ) assertEquals(parse(line).next.map(({ port }) => port), [...next]);
});
