/** `deno task build`: one executable per role. */

import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { multiple, optional, withDefault } from "@optique/core/modifiers";
import { argument, option } from "@optique/core/primitives";
import { choice, string } from "@optique/core/valueparser";
import { run } from "@optique/run";
import { resolve } from "node:path";
import { pack, type Packed, selfExtracting } from "./self_extracting.ts";

/** One executable. */
export interface Role {
  /** Its file name. */
  readonly name: string;
  /** What it is told before the user's arguments: its role in `main.ts`. */
  readonly arguments: readonly string[];
  /** All that it may do; whatever else it tries is refused without a question. */
  readonly permissions: readonly string[];
}

/** How an executable is made. */
export type Kind = "compile" | "self-extracting";

// Skein's own, then what libraries look at to lay out and colour their output.
const ENVIRONMENT =
  "--allow-env=SKEIN_*,NO_COLOR,FORCE_COLOR,NODE_DISABLE_COLORS,COLUMNS,LINES,TERM";

/** All executables. Which files they read and write is the user's to say. */
export const ROLES: readonly Role[] = [
  {
    name: "skein-chain",
    arguments: ["chain"],
    permissions: [
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-sys=hostname",
      ENVIRONMENT,
    ],
  },
  {
    name: "skein",
    arguments: ["client"],
    permissions: ["--allow-net", "--allow-read", ENVIRONMENT],
  },
];

const CHECKOUT = resolve(import.meta.dirname ?? ".", "..");
const START_WAIT_MS = 60_000;
const DETAIL_CHARACTERS_MAX = 600;

/** What `deno compile` says when it has no base runtime to write into. */
const NO_BASE_RUNTIME = /Setting up base binary|denort/;

class BuildError extends Error {}

const ROLE_NAMES = ROLES.flatMap(({ name }) => [name, shortName(name)]);
const FLAGS = object({
  roles: multiple(argument(choice(ROLE_NAMES, { metavar: "ROLE" }), {
    description: message`What to build; all without it.`,
  })),
  kind: optional(
    option("--kind", choice(["compile", "self-extracting"])),
  ),
  target: optional(option("--target", string({ metavar: "TARGET" }), {
    description: message`Another system, for "deno compile".`,
  })),
  folder: withDefault(
    option("--output-folder", string({ metavar: "DIR" }), {
      description: message`Where to put them ("dist" in the checkout).`,
    }),
    `${CHECKOUT}/dist`,
  ),
});

type Flags = ReturnType<typeof parseFlags>;

function parseFlags(args: readonly string[]) {
  return run(FLAGS, {
    args,
    programName: "deno task build",
    help: { option: true },
    errorExitCode: 2,
    aboveError: "none",
    stderr: (text) => console.error(text.trim().replaceAll(/\s+/g, " ")),
    showChoices: true,
    brief: message`Make one executable per role.`,
    description:
      message`Each is made by "deno compile"; where the base runtime for that cannot be downloaded, a self-extracting file is made instead.`,
  });
}

/** `chain` for `skein-chain`, as in `main.ts`. */
function shortName(name: string): string {
  return name.replace(/^skein-/, "");
}

/** Builds what the flags say, one after the other, with a line for each. */
async function build(flags: Flags): Promise<void> {
  const wanted = ROLES.filter(({ name }) =>
    flags.roles.length === 0 || flags.roles.includes(name) ||
    flags.roles.includes(shortName(name))
  );
  Deno.mkdirSync(flags.folder, { recursive: true });
  const packing = new Packing();
  let kind: Kind = flags.kind ?? "compile";
  let why = flags.kind === undefined ? "" : ", as asked";
  for (const role of wanted) {
    let file = `${flags.folder}/${role.name}`;
    if (kind === "compile") {
      const outcome = await compile(role, { file, target: flags.target });
      if (outcome.file !== undefined) file = outcome.file;
      else if (flags.kind === "compile") throw new BuildError(outcome.text);
      else {
        kind = "self-extracting";
        why = `: the base runtime cannot be had (${reasonOf(outcome.text)})`;
      }
    }
    if (kind === "self-extracting") {
      if (flags.target !== undefined) {
        throw new BuildError(
          `Cannot build for ${flags.target}: a self-extracting file holds the runtime of this system${why}`,
        );
      }
      await makeSelfExtracting(role, { file, packing });
    }
    if (flags.target === undefined) await checkStarts(file);
    console.log(
      `${file}  ${megabytes(Deno.statSync(file).size)}  ${kind}${why}`,
    );
  }
}

/** @returns The file, or what `deno compile` said when it has no base runtime. */
async function compile(
  role: Role,
  options: { readonly file: string; readonly target: string | undefined },
): Promise<{ file?: string; text: string }> {
  const { file, target } = options;
  const { code, text } = await deno([
    "compile",
    "--quiet",
    "--no-check", // `deno task check` has its own place
    "--no-prompt",
    ...role.permissions,
    ...(target === undefined ? [] : ["--target", target]),
    "--output",
    file,
    `${CHECKOUT}/main.ts`,
    ...role.arguments,
  ]);
  if (code === 0) {
    const isWindows = target?.includes("windows") ?? false;
    return { file: isWindows ? `${file}.exe` : file, text };
  }
  if (NO_BASE_RUNTIME.test(text)) return { text };
  throw new BuildError(`Cannot compile ${role.name}: ${text}`);
}

/** The parts that executables share, packed when first needed. */
class Packing {
  #runtime: Promise<Packed> | undefined;
  #program: Promise<Packed> | undefined;

  get runtime(): Promise<Packed> {
    return this.#runtime ??= Deno.readFile(Deno.execPath())
      .then((content) => pack("deno", content));
  }

  get program(): Promise<Packed> {
    return this.#program ??= bundle()
      .then((content) => pack("skein.js", content));
  }
}

/** All of `main.ts`, with its dependencies, as one file. */
async function bundle(): Promise<Uint8Array> {
  const folder = Deno.makeTempDirSync({ prefix: "skein-build-" });
  try {
    const file = `${folder}/skein.js`;
    const { code, text } = await deno([
      ...["bundle", "--quiet", "--platform", "deno", "--output", file],
      `${CHECKOUT}/main.ts`,
    ]);
    if (code !== 0) throw new BuildError(`Cannot bundle main.ts: ${text}`);
    return Deno.readFileSync(file);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function makeSelfExtracting(
  role: Role,
  options: { readonly file: string; readonly packing: Packing },
): Promise<void> {
  const { file, packing } = options;
  const parts = selfExtracting({
    name: role.name,
    runtime: await packing.runtime,
    program: await packing.program,
    flags: [
      ...["--quiet", "--no-prompt", "--no-config", "--no-remote", "--no-npm"],
      ...role.permissions,
    ],
    arguments: role.arguments,
  });
  // Renamed into place: the old one may be running.
  const temporary = `${file}.${Deno.pid}`;
  await Deno.writeFile(temporary, ReadableStream.from(parts), { mode: 0o755 });
  await Deno.rename(temporary, file);
}

/**
 * Runs the new executable once: a base runtime of another version, for one,
 * is noticed only then.
 */
async function checkStarts(file: string): Promise<void> {
  const cache = Deno.makeTempDirSync({ prefix: "skein-build-" });
  try {
    const { success, stderr } = await new Deno.Command(file, {
      args: ["--version"],
      env: { XDG_CACHE_HOME: cache },
      stdin: "null",
      signal: AbortSignal.timeout(START_WAIT_MS),
    }).output();
    if (success) return;
    const base = Deno.env.has("DENORT_BIN")
      ? `; is DENORT_BIN the base runtime of Deno ${Deno.version.deno}?`
      : "";
    throw new BuildError(
      `Cannot start ${file}: ${cut(new TextDecoder().decode(stderr))}${base}`,
    );
  } finally {
    Deno.removeSync(cache, { recursive: true });
  }
}

async function deno(
  args: readonly string[],
): Promise<{ code: number; text: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: CHECKOUT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
  }).output();
  return { code, text: cut(new TextDecoder().decode(stderr)) };
}

function cut(text: string): string {
  const short = text.split("\nStack backtrace:")[0].trim();
  return short.length > DETAIL_CHARACTERS_MAX
    ? `${short.slice(0, DETAIL_CHARACTERS_MAX - 1)}…`
    : short;
}

/** The last cause, in one line. */
function reasonOf(text: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  return (lines.findLast((line) => line !== "") ?? "").replace(/^\d+: /, "");
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

if (import.meta.main) {
  try {
    await build(parseFlags(Deno.args));
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(`build: ${error.message}`);
    Deno.exit(1);
  }
}
