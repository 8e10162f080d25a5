import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  parseStatusFlags,
  type StatusFlags,
} from "../../clients/status_flags.ts";
import { DISCOVER_UDP } from "../../nodes/host/discovery/discover_flags.ts";
import { FlagsExit } from "../../nodes/host/flags.ts";

const SEARCH = {
  where: { kind: "static", addresses: [{ host: "a", port: 8091 }] },
  cluster: "skein",
  key: undefined,
} as const;

const DEFAULTS: StatusFlags = {
  connect: [{ host: "a", port: 8091 }],
  search: SEARCH,
  warnings: [],
  watch: false,
  json: false,
  timeoutMs: 2_000,
};

function parse(line: string, env: Record<string, string> = {}): StatusFlags {
  return parseStatusFlags(
    line === "" ? [] : line.split(" "),
    new Map(Object.entries(env)),
    "/nonexistent/.env",
  );
}

Deno.test("status flags: each flag sets its value", () => {
  const two = [{ host: "a", port: 1 }, { host: "b", port: 2 }];
  for (
    const [line, env, changes] of [
      ["-c a:8091", {}, {}],
      ["", {}, { connect: [], search: { ...SEARCH, where: DISCOVER_UDP } }],
      ["-c a:1,b:2", {}, {
        connect: two,
        search: { ...SEARCH, where: { kind: "static", addresses: two } },
      }],
      ["-c a:8091 --watch", {}, { watch: true }],
      ["-c a:8091 -w --json", {}, { watch: true, json: true }],
      ["-c a:8091 --timeout 500ms", {}, { timeoutMs: 500 }],
    ] as const
  ) assertEquals(parse(line, env), { ...DEFAULTS, ...changes }, line);
});

Deno.test("status flags: each wrong flag is one clear line and exit code 2", () => {
  for (
    const [line, refusal] of [
      ["-c 8091", '"--connect": "8091" is not an address, wanted HOST:PORT'],
      ["-c a:1 --wach", '"--wach" is no option; did you mean "--watch"?'],
      [
        "-c a:1 --timeout 1ms",
        '"--timeout": "1ms" is out of range, wanted 50ms to 1m',
      ],
    ]
  ) {
    const { code, stderr } = assertThrows(() => parse(line), FlagsExit);
    assertEquals(code, 2);
    assert(stderr.startsWith(`skein status: ${refusal}`), stderr);
  }
});
