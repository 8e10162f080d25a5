import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  address,
  choice,
  duration,
  path,
} from "../../../nodes/host/flag_values.ts";
import {
  defaultFlag,
  optionalFlag,
  requiredFlag,
  switchFlag,
  variableOnly,
} from "../../../nodes/host/flag_table.ts";
import {
  completeCommands,
  FlagsExit,
  parseFlags,
  VERSION,
} from "../../../nodes/host/flags.ts";

const table = {
  listen: requiredFlag({
    names: ["-l", "--listen"],
    value: address({ defaultHost: "0.0.0.0", portMin: 0 }),
    about: "Where to listen.",
    variable: "T_LISTEN",
  }),
  print: optionalFlag({
    names: ["--print"],
    value: choice(["full", "none"]),
    defaultText: "full on a terminal",
    about: "What to print.",
    variable: "T_PRINT",
  }),
  timeout: defaultFlag({
    names: ["--time-out"],
    value: duration({ msMin: 1, msMax: 60_000 }),
    default: 3_000,
    about: "How long to wait.",
    variable: "T_TIMEOUT",
  }),
  output: optionalFlag({
    names: ["-o", "--output"],
    value: path("file"),
    about: "Where to write.",
  }),
  quiet: switchFlag({
    names: ["-q", "--quiet"],
    about: "Say nothing.",
    variable: "T_QUIET",
  }),
  secret: variableOnly({
    variable: "T_SECRET",
    value: { metavar: "S", parse: (text) => text, format: () => "(secret)" },
  }),
};

interface Start {
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
  readonly file?: string;
}

function parse({ args, env = {}, file }: Start) {
  const directory = Deno.makeTempDirSync();
  try {
    const envFile = `${directory}/.env`;
    if (file !== undefined) Deno.writeTextFileSync(envFile, file);
    return parseFlags(table, {
      program: "skein-test",
      about: "A test.",
      examples: [["skein-test -l 1", "listens"]],
      args,
      env: new Map(Object.entries(env)),
      envFile,
    });
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function exitOf(start: Start): FlagsExit {
  return assertThrows(() => parse(start), FlagsExit);
}

/** What is said of a wrong start, without what every such line has. */
function refusalOf(start: Start): string {
  const { code, stdout, stderr } = exitOf(start);
  assertEquals([code, stdout], [2, ""]);
  const match = /^skein-test: (.*?)\.? Try "skein-test --help"\n$/.exec(stderr);
  assert(match !== null, stderr);
  return match[1].replace(/in "[^"]*\.env"/, 'in ".env"');
}

Deno.test("flags: values come from flags, or are absent", () => {
  const { values } = parse({ args: ["-l", "1"] });
  assertEquals(values, {
    listen: { host: "0.0.0.0", port: 1 },
    print: undefined,
    timeout: 3_000,
    output: undefined,
    quiet: false,
    secret: undefined,
  });
  for (
    const args of [
      ["--listen=a:2", "--print=none", "--time-out=5s", "-o", "f", "-q"],
      [
        "-q",
        "--output",
        "f",
        "--time-out",
        "5s",
        "--print",
        "none",
        "-l",
        "a:2",
      ],
    ]
  ) {
    assertEquals(parse({ args }).values, {
      listen: { host: "a", port: 2 },
      print: "none",
      timeout: 5_000,
      output: "f",
      quiet: true,
      secret: undefined,
    });
  }
});

Deno.test("flags: a flag counts before the environment, that before the file", () => {
  const flag = ["--time-out", "1s"];
  const env = { T_TIMEOUT: "2s" };
  const file = "T_TIMEOUT=3s\nT_LISTEN=9\n";
  for (
    const [start, ms, source, said] of [
      [{ args: flag, env, file }, 1_000, "flag", '"--time-out"'],
      [{ args: [], env, file }, 2_000, "environment", "T_TIMEOUT"],
      [{ args: [], file }, 3_000, "file", 'T_TIMEOUT in ".env"'],
      [{ args: ["-l", "1"] }, 3_000, "default", '"--time-out"'],
    ] as const
  ) {
    const flags = parse(start);
    assertEquals(flags.values.timeout, ms);
    assertEquals(flags.source("timeout"), source);
    assertEquals(
      flags.said("timeout").replace(/in "[^"]*\.env"/, 'in ".env"'),
      said,
    );
  }
  assertEquals(parse({ args: [], file }).values.listen.port, 9);
});

Deno.test("flags: an empty variable counts as absent and hides the file's", () => {
  const file = "T_TIMEOUT=9s";
  const args = ["-l", "1"];
  const { values } = parse({ args, env: { T_TIMEOUT: "" }, file });
  assertEquals(values.timeout, 3_000);
});

Deno.test("flags: a switch is on or off in a variable", () => {
  const args = ["-l", "1"];
  assertEquals(parse({ args, env: { T_QUIET: "1" } }).values.quiet, true);
  assertEquals(parse({ args, env: { T_QUIET: "0" } }).values.quiet, false);
});

Deno.test("flags: what only a variable sets has no flag and is not in the help", () => {
  const env = { T_SECRET: "hidden" };
  const { values } = parse({ args: ["-l", "1"], env });
  assertEquals(values.secret, "hidden");
  assert(!exitOf({ args: ["--help"] }).stdout.includes("SECRET"));
});

Deno.test("flags: each wrong flag is one clear line and exit code 2", () => {
  for (
    const [args, refusal] of [
      [[], '"--listen" is missing: say -l [HOST:]PORT, or set T_LISTEN'],
      [["-l"], '"--listen" needs a value: [HOST:]PORT'],
      [["--print", "full", "-l"], '"--listen" needs a value: [HOST:]PORT'],
      [["-l", "-q"], '"--listen" needs a value: [HOST:]PORT, found "-q"'],
      [
        ["-l", "--print", "full"],
        '"--listen" needs a value: [HOST:]PORT, found "--print"',
      ],
      [
        ["-l", "1", "--output", "--help"],
        '"--output" needs a value: FILE, found "--help"',
      ],
      [["-l", "x"], '"--listen": "x" is not an address, wanted [HOST:]PORT'],
      [["-l", ""], '"--listen": "" is not an address, wanted [HOST:]PORT'],
      [["-l", "1", "-l", "2"], '"--listen" is given twice'],
      [["-l", "1", "--listen=2"], '"--listen" is given twice'],
      [["-l", "1", "-q", "-q"], '"--quiet" is given twice'],
      [["-l", "1", "--quiet=yes"], '"--quiet" takes no value, found "yes"'],
      [
        ["-l", "1", "--prnt", "full"],
        '"--prnt" is no option; did you mean "--print"?',
      ],
      [
        ["-l", "1", "--prnt=full"],
        '"--prnt" is no option; did you mean "--print"?',
      ],
      [
        ["-l", "1", "--out", "f"],
        '"--out" is no option; did you mean "--output"?',
      ],
      [
        ["-l", "1", "--timeout", "1s"],
        '"--timeout" is no option; did you mean "--time-out"?',
      ],
      [["--Listen", "1"], '"--Listen" is no option; did you mean "--listen"?'],
      [["-l3527"], '"-l3527" is no option; did you mean "-l 3527"?'],
      [["-l=3527"], '"-l=3527" is no option; did you mean "-l 3527"?'],
      [["-l", "1", "--unlike-any"], '"--unlike-any" is no option'],
      [["-l", "1", "3527"], 'Unexpected "3527": it follows no flag'],
      [["-l", "1", "--", "x"], 'Unexpected "x": it follows no flag'],
      [["-l", "1", "-"], 'Unexpected "-": it follows no flag'],
      [["-l", "1", ""], 'Unexpected "": it follows no flag'],
      [
        ["-l", "1", "--print", "ful"],
        '"--print": "ful" is none of "full", "none"',
      ],
      [
        ["-l", "1", "--time-out", "2m"],
        '"--time-out": "2m" is out of range, wanted 1ms to 1m',
      ],
      [["--completion"], "Missing shell name for completion"],
      [
        ["--completion", "csh"],
        'Unsupported shell "csh". Available shells: "bash", "fish", "nu", "pwsh", "zsh"',
      ],
    ] as const
  ) assertEquals(refusalOf({ args }), refusal, args.join(" "));
});

Deno.test("flags: an error shows no more of an argument than is safe", () => {
  for (
    const args of [
      ["-l", "1", "--\x1b[2J\nfoo"],
      ["-l", "1", "a\r\nb\u2028c\u202e"],
      ["-l", "\x1b]0;title\x07"],
      ["-l", "1", `--print=\x9b${"x".repeat(100_000)}`],
      ["-l", "1", `--${"x".repeat(100_000)}`],
      ["-l", "1", "-q=\0"],
    ]
  ) {
    const { stderr } = exitOf({ args });
    assert(/^[^\p{Cc}\p{Zl}\p{Bidi_Control}]+\n$/u.test(stderr), stderr);
    assert(stderr.length < 1_000, `${stderr.length} characters`);
  }
});

Deno.test("flags: a wrong variable is named, with its file", () => {
  const args = ["-l", "1"];
  for (
    const [start, refusal] of [
      [
        { args, env: { T_TIMEOUT: "3" } },
        'T_TIMEOUT: "3" is not a time, wanted one such as "500ms", "3s" or "2m"',
      ],
      [
        { args, file: "T_PRINT=x" },
        'T_PRINT in ".env": "x" is none of "full", "none"',
      ],
      [
        { args, env: { T_QUIET: "maybe" } },
        'T_QUIET: "maybe" is neither "1" nor "0"',
      ],
      [
        { args: [], env: { T_LISTEN: "" } },
        '"--listen" is missing: say -l [HOST:]PORT, or set T_LISTEN',
      ],
    ] as const
  ) assertEquals(refusalOf(start), refusal);
  // A wrong variable behind a flag is not looked at.
  parse({ args: [...args, "-q"], env: { T_LISTEN: "x", T_QUIET: "maybe" } });
});

Deno.test("flags: a file that cannot be read is one clear line", () => {
  const refusal = refusalOf({ args: ["-l", "1"], file: "T_PRINT\n" });
  assert(/^Cannot read ".*\.env": line 1 is not NAME=value$/.test(refusal));
});

Deno.test("flags: help shows usage, each option, its default and its variable", () => {
  for (
    const args of [["--help"], ["-h"], ["-l", "1", "--help"], ["-x", "-h"]]
  ) {
    const { code, stdout, stderr } = exitOf({ args, file: "malformed" });
    assertEquals([code, stderr], [0, ""]);
    for (
      const part of [
        "A test.\n",
        "Usage: skein-test -l [HOST:]PORT [OPTION…]\n",
        "-l, --listen [HOST:]PORT",
        "required; env: T_LISTEN",
        "--print full|none",
        "default: full on a terminal; env: T_PRINT",
        "--time-out TIME",
        "default: 3s; env: T_TIMEOUT",
        "-o, --output FILE",
        "-q, --quiet",
        "env: T_QUIET",
        "-h, --help",
        "--version",
        "--completion SHELL",
        "Examples:\n  skein-test -l 1  listens\n",
        ".env",
      ]
    ) {
      const text = stdout.replaceAll(/\s+/g, " ");
      assert(text.includes(part.replaceAll(/\s+/g, " ").trim()), part);
    }
    const wide = stdout.split("\n").filter((line) => line.length > 80);
    assertEquals(wide, []);
  }
});

Deno.test("flags: version is that of deno.json", async () => {
  const file = new URL("../../../deno.json", import.meta.url);
  assertEquals(VERSION, JSON.parse(await Deno.readTextFile(file)).version);
  const { code, stdout, stderr } = exitOf({ args: ["--version"] });
  assertEquals([code, stdout, stderr], [0, `skein-test ${VERSION}\n`, ""]);
});

Deno.test("flags: there is completion for four shells", () => {
  for (const shell of ["bash", "zsh", "fish", "pwsh"]) {
    const { code, stdout } = exitOf({ args: ["--completion", shell] });
    assertEquals(code, 0);
    assert(stdout.includes("skein-test") && stdout.includes("--completion"));
  }
  const suggest = (...typed: string[]) =>
    exitOf({ args: ["--completion", "bash", ...typed] }).stdout;
  assertEquals(suggest("--pr"), "--print\n");
  assertEquals(suggest("-l", "1", "--print", ""), "full\nnone\n");
  assert(suggest("-o", "").startsWith("__FILE__:file:"));
});

Deno.test("flags: completion of a program of commands knows each", () => {
  const complete = (...args: string[]) =>
    assertThrows(
      () =>
        completeCommands({
          listen: { about: "Listens.", table },
          stop: { about: "Stops.", table: {} },
        }, { program: "skein", args }),
      FlagsExit,
    );
  assertEquals(complete("--completion", "bash", "li").stdout, "listen\n");
  assertEquals(
    complete("--completion", "bash", "listen", "--pr").stdout,
    "--print\n",
  );
  assert(complete("--completion", "zsh").stdout.includes("skein"));
  for (const args of [[], ["stop"], ["--completion"]]) {
    const { code, stderr } = complete(...args);
    assertEquals(code, 2);
    assert(/^skein: .* Try "skein --help"\n$/.test(stderr), stderr);
  }
});

Deno.test("flags: a process ends with the code and writes where it should", async () => {
  const flags = new URL("../../../nodes/host/flags.ts", import.meta.url);
  const values = new URL("../../../nodes/host/flag_values.ts", import.meta.url);
  const run = async (...args: string[]) => {
    const output = await new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        `import { orExit, parseFlags } from ${JSON.stringify(flags.href)};
        import { path } from ${JSON.stringify(values.href)};
        const file = { names: ["--file"], value: path("file"), about: "F." };
        console.log(orExit(() => parseFlags({ file }, {
          program: "p", about: "A.", examples: [], args: Deno.args,
          env: Deno.env, envFile: "no.env",
        })).values.file);`,
        "--",
        ...args,
      ],
      cwd: new URL("../../..", import.meta.url),
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return {
      code: output.code,
      stdout: text(output.stdout),
      stderr: text(output.stderr),
    };
  };
  assertEquals(await run("--file", "f"), {
    code: 0,
    stdout: "f\n",
    stderr: "",
  });
  assertEquals(await run("--fil", "f"), {
    code: 2,
    stdout: "",
    stderr: 'p: "--fil" is no option; did you mean "--file"? Try "p --help"\n',
  });
  assertEquals(await run("--version"), {
    code: 0,
    stdout: `p ${VERSION}\n`,
    stderr: "",
  });
});
