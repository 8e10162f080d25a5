import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  parseSendFlags,
  SEND_ABOUT,
  type SendFlags,
  sendFlagTable,
  type SendHost,
} from "../../clients/send_flags.ts";
import { completeCommands, FlagsExit } from "../../nodes/host/flags.ts";

const host: SendHost = {
  stdinIsTerminal: () => false,
  envFile: "/nonexistent/.env",
};

const DEFAULTS: SendFlags = {
  connect: [{ host: "a", port: 3525 }],
  file: undefined,
  timeoutMs: 60_000,
  quiet: false,
  cluster: "skein",
  key: undefined,
  logLevel: "warn",
  warnings: [],
};

function parse(
  line: string,
  options: { env?: Record<string, string>; host?: Partial<SendHost> } = {},
): SendFlags {
  return parseSendFlags(
    line === "" ? [] : line.split(" "),
    new Map(Object.entries(options.env ?? {})),
    { ...host, ...options.host },
  );
}

Deno.test("send flags: an address alone sends standard input", () => {
  assertEquals(parse("-c a:3525"), DEFAULTS);
});

Deno.test("send flags: each flag and each variable sets its value", () => {
  const key = new TextEncoder().encode("0123456789abcdef");
  const two = [{ host: "a", port: 1 }, { host: "b", port: 2 }];
  for (
    const [line, env, changes] of [
      ["-c a:1,b:2", {}, { connect: two }],
      ["", { SKEIN_CONNECT: "a:1,b:2" }, { connect: two }],
      ["-c a:3525 --file f", {}, { file: "f" }],
      ["-c a:3525 --timeout 5s", {}, { timeoutMs: 5_000 }],
      ["-c a:3525", { SKEIN_TIMEOUT: "2m" }, { timeoutMs: 120_000 }],
      ["-c a:3525 --timeout 0", {}, { timeoutMs: undefined }],
      ["-c a:3525 --quiet", {}, { quiet: true }],
      ["-c a:3525 -q", {}, { quiet: true }],
      ["-c a:3525", { SKEIN_QUIET: "1" }, { quiet: true }],
      ["-c a:3525 --cluster c", {}, { cluster: "c" }],
      ["-c a:3525", { SKEIN_KEY: "0123456789abcdef" }, { key }],
      ["-c a:3525 --log-level debug", {}, { logLevel: "debug" }],
    ] as const
  ) assertEquals(parse(line, { env }), { ...DEFAULTS, ...changes }, line);
});

Deno.test("send flags: who types is never given up on, unless told", () => {
  const terminal = { host: { stdinIsTerminal: () => true } };
  const timeoutOf = (line: string) => parse(line, terminal).timeoutMs;
  assertEquals(timeoutOf("-c a:1"), undefined);
  assertEquals(timeoutOf("-c a:1 --timeout 5s"), 5_000);
  // A file is not typed, wherever standard input is.
  assertEquals(timeoutOf("-c a:1 --file f"), 60_000);
});

Deno.test("send flags: each wrong flag is one clear line and exit code 2", () => {
  for (
    const [line, refusal] of [
      [
        "",
        '"--connect" is missing: say -c HOST:PORT[,…], or set SKEIN_CONNECT',
      ],
      ["-c 3525", '"--connect": "3525" is not an address, wanted HOST:PORT'],
      [
        "-c a:0",
        '"--connect": Port 0 in "a:0" cannot be dialled, wanted 1 to 65535',
      ],
      ["-c a:1 -l 1", '"-l" is no option'],
      ["-c a:1 --flie f", '"--flie" is no option; did you mean "--file"?'],
      ["-c a:1 notes.txt", 'Unexpected "notes.txt": it follows no flag'],
      [
        "-c a:1 --timeout 5",
        '"--timeout": "5" is not a time, wanted one such as "500ms", "3s" or "2m"',
      ],
      [
        "-c a:1 --timeout 25h",
        '"--timeout": "25h" is out of range, wanted 0ms to 24h',
      ],
      [
        "-c a:1 --key-file /no/such",
        'Cannot read "/no/such": there is no such file',
      ],
      [
        "--completion bash",
        '"--completion" stands before the command: "skein --completion SHELL"',
      ],
    ]
  ) {
    const exit = assertThrows(() => parse(line), FlagsExit);
    assertEquals([exit.code, exit.stdout], [2, ""]);
    const stop = refusal.endsWith("?") ? "" : ".";
    const expected = `skein send: ${refusal}${stop} Try "skein send --help"\n`;
    assertEquals(exit.stderr, expected);
  }
});

Deno.test("send flags: help shows every flag and the seed's command", () => {
  const { code, stdout } = assertThrows(() => parse("-h"), FlagsExit);
  assertEquals(code, 0);
  for (
    const flag of [
      "-c, --connect HOST:PORT[,…]",
      "--file FILE",
      "--timeout TIME",
      "-q, --quiet",
      "--cluster NAME",
      "--key-file FILE",
      "--log-level LEVEL",
      "-h, --help",
      "--version",
    ]
  ) assert(stdout.includes(`\n  ${flag}`), flag);
  assert(stdout.includes("  skein send -c HOST:3525 --file notes.txt "));
  assert(!stdout.includes("--completion"));
});

Deno.test("send flags: the version is that of the whole program", () => {
  const { code, stdout } = assertThrows(() => parse("--version"), FlagsExit);
  assertEquals(code, 0);
  assert(/^skein \d+\.\d+\.\d+\n$/.test(stdout), stdout);
});

Deno.test("send flags: the whole program completes them", () => {
  const send = { about: SEND_ABOUT, table: sendFlagTable };
  const args = ["--completion", "bash", "send", "--co"];
  const { stdout } = assertThrows(
    () => completeCommands({ send }, { program: "skein", args }),
    FlagsExit,
  );
  assertEquals(stdout, "--connect\n");
});
