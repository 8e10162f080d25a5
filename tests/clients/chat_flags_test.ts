import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  CHAT_ABOUT,
  type ChatFlags,
  chatFlagTable,
  parseChatClientFlags,
} from "../../clients/chat_flags.ts";
import { DISCOVER_UDP } from "../../nodes/host/discovery/discover_flags.ts";
import { completeCommands, FlagsExit } from "../../nodes/host/flags.ts";

const SEARCH = {
  where: { kind: "static", addresses: [{ host: "a", port: 8091 }] },
  cluster: "skein",
  key: undefined,
} as const;

const DEFAULTS: ChatFlags = {
  connect: [{ host: "a", port: 8091 }],
  search: SEARCH,
  service: undefined,
  missingPassword: undefined,
  user: undefined,
  password: undefined,
  register: false,
  json: false,
  quiet: false,
  timeoutMs: undefined,
  logLevel: "warn",
  warnings: [],
};

function parse(
  line: string,
  options: { env?: Record<string, string>; isTyped?: boolean } = {},
): ChatFlags {
  const { env = {}, isTyped = true } = options;
  return parseChatClientFlags(
    line === "" ? [] : line.split(" "),
    new Map(Object.entries(env)),
    { stdinIsTerminal: () => isTyped, envFile: "/nonexistent/.env" },
  );
}

function refusal(
  line: string,
  options: Parameters<typeof parse>[1] = {},
): string {
  const exit = assertThrows(() => parse(line, options), FlagsExit);
  assertEquals(exit.code, 2);
  return exit.stderr;
}

Deno.test("chat flags: each flag and each variable sets its value", () => {
  const two = [{ host: "a", port: 1 }, { host: "b", port: 2 }];
  for (
    const [line, env, changes] of [
      ["-c a:8091", {}, {}],
      ["-c a:1,b:2", {}, {
        connect: two,
        search: { ...SEARCH, where: { kind: "static", addresses: two } },
      }],
      ["", {}, {
        connect: [],
        search: { ...SEARCH, where: DISCOVER_UDP },
      }],
      ["-c a:8091 --cluster lab", {}, {
        search: { ...SEARCH, cluster: "lab" },
      }],
      ["-c a:8091 -u ann", {}, { user: "ann" }],
      ["-c a:8091 --user zoe\u0308", {}, { user: "zoë" }],
      ["-c a:8091", { SKEIN_USER: "ann" }, { user: "ann" }],
      ["-c a:8091", { SKEIN_PASSWORD: "secret pw" }, { password: "secret pw" }],
      ["-c a:8091 --register", {}, { register: true }],
      ["-c a:8091 --json", {}, { json: true }],
      ["-c a:8091 -q", {}, { quiet: true }],
      ["-c a:8091 --timeout 5s", {}, { timeoutMs: 5_000 }],
      ["-c a:8091 --log-level debug", {}, { logLevel: "debug" }],
    ] as const
  ) assertEquals(parse(line, { env }), { ...DEFAULTS, ...changes }, line);
});

Deno.test("chat flags: without a terminal nobody can be asked", () => {
  const env = { SKEIN_PASSWORD: "correct horse" };
  assert(refusal("-c a:8091", { env, isTyped: false }).includes('"--user"'));
  const chat = "-c a:8091 -u ann --service chat";
  assert(refusal(chat, { isTyped: false }).includes("SKEIN_PASSWORD"));
  const flags = parse("-c a:8091 -u ann", { env, isTyped: false });
  assertEquals(flags.timeoutMs, 60_000);
});

Deno.test("chat flags: a password is missing only at the replicated chat", () => {
  const unknown = parse("-c a:8091 -u ann", { isTyped: false });
  assert(unknown.missingPassword?.stderr.includes("SKEIN_PASSWORD"));
  const mesh = parse("-c a:5001 -u ann --service mesh", { isTyped: false });
  assertEquals([mesh.service, mesh.user], ["mesh", "ann"]);
  assert(refusal("-c a:1 --service mesh --register").includes("no accounts"));
});

Deno.test("chat flags: a host, a port and a name are a mesh server, and more flags may follow", () => {
  const mesh = (host: string, line: string) => {
    const connect = [{ host, port: 5001 }];
    const { connect: found, service, user, json } = parse(line);
    assertEquals([found, service, user], [connect, "mesh", "Dana"]);
    return json;
  };
  assertEquals(mesh("127.0.0.1", "127.0.0.1 5001 Dana"), false);
  assertEquals(mesh("lab", "lab 5001 Dana --json"), true);
  assertEquals(mesh("::1", "::1 5001 Dana"), false);
  assertEquals(mesh("::1", "[::1] 5001 Dana"), false);
  assert(refusal("lab 99999 Dana").includes("65535"));
  assert(refusal("lab 5001 a/b").includes("Cannot take a name"));
  assertEquals(parse("lab 5001 -q").user, undefined);
  assert(refusal("lab").includes('Unexpected "lab"'));
  assert(refusal("lab 5001 Dana -u Ann").includes("given twice"));
});

Deno.test("chat flags: the password file's first line counts, and who may read it is said", () => {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(path, "correct horse\r\nsecond\n");
    Deno.chmodSync(path, 0o600);
    const line = `-c a:8091 --password-file ${path}`;
    const env = { SKEIN_PASSWORD: "another" };
    assertEquals(parse(line, { env }).password, "correct horse");
    Deno.chmodSync(path, 0o644);
    assertEquals(parse(line).warnings.length, 1);
    Deno.writeFileSync(path, new Uint8Array([0xff, 0x0a]));
    assert(refusal(line).includes("UTF-8"));
    Deno.writeTextFileSync(path, "\n");
    assert(refusal(line).includes("0 characters"));
  } finally {
    Deno.removeSync(path);
  }
  assert(refusal("-c a:8091 --password-file /nonexistent").includes("/nonex"));
});

Deno.test("chat flags: what is wrong is said with the value", () => {
  assert(refusal("-c a:8091 -u a/b").includes("Cannot take a name"));
  assert(refusal("-c a").includes('"a" is not an address'));
});

Deno.test("chat flags: shells complete them", () => {
  const exit = assertThrows(
    () =>
      completeCommands({ chat: { about: CHAT_ABOUT, table: chatFlagTable } }, {
        program: "skein",
        args: ["--completion", "bash", "chat", "--pass"],
      }),
    FlagsExit,
  );
  assertEquals(exit.code, 0);
  assert(exit.stdout.includes("--password-file"), exit.stdout);
});
