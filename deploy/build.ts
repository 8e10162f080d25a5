/** `deno task build`: one executable per role. */

import { object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { multiple, optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { choice, string } from "@optique/core/valueparser";
import { basename, resolve } from "node:path";
import { pack, type Packed, selfExtracting } from "./self_extracting.ts";
import { taskFlags, type TaskPage } from "./task_flags.ts";

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

/** Of a replicated group's nodes: its data, and the variables that name it. */
const GROUP_PERMISSIONS: readonly string[] = [
  "--allow-net",
  "--allow-read",
  "--allow-write",
  // Its name; how full the disk is; where to ask for others.
  "--allow-sys=hostname,statfs,networkInterfaces",
  "--allow-env=SKEIN_*,HOSTNAME,SERVER*,REPLICA_PORT*,CLIENT_PORT*,WITNESS*,DATA_DIR",
];

/** What `deno.json` says for the checkout: UDP is not stable in Deno. */
const UNSTABLE = "--unstable-net";

/** All executables. Which files they read and write is the user's to say. */
export const ROLES: readonly Role[] = [
  {
    name: "skein-chain",
    arguments: ["chain"],
    permissions: [
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-sys=hostname", // a node's name, where HOSTNAME does not say it
      "--allow-env=SKEIN_*,HOSTNAME",
    ],
  },
  {
    name: "skein-chat",
    arguments: ["chat"],
    permissions: GROUP_PERMISSIONS,
  },
  {
    name: "skein-witness",
    arguments: ["witness"],
    permissions: GROUP_PERMISSIONS,
  },
  {
    name: "skein-mesh",
    arguments: ["mesh"],
    permissions: [
      "--allow-net",
      "--allow-read",
      "--allow-write",
      // Its name; what address others reach it at, and where to ask for them.
      "--allow-sys=hostname,networkInterfaces",
      // The library for WebSockets asks for variables of its own.
      "--allow-env=SKEIN_*,HOSTNAME,WS_NO_BUFFER_UTIL,WS_NO_UTF_8_VALIDATE",
    ],
  },
  {
    name: "skein",
    arguments: ["client"],
    permissions: [
      "--allow-net",
      "--allow-read",
      "--allow-sys=networkInterfaces", // where to ask for servers
      "--allow-env=SKEIN_*",
    ],
  },
];

const CHECKOUT = resolve(import.meta.dirname ?? ".", "..");
const START_WAIT_MS = 60_000;
const DETAIL_CHARACTERS_MAX = 2_000;

/** What `deno compile` says when it has no base runtime to write into. */
const NO_BASE_RUNTIME = /Setting up base binary|denort/;

class BuildError extends Error {}

const ROLE_NAMES = ROLES.flatMap(({ name }) => [name, shortName(name)]);
const FLAGS = object({
  roles: multiple(argument(choice(ROLE_NAMES, { metavar: "ROLE" }), {
    description: message`What to build; all without it.`,
  })),
  kind: optional(
    option("--kind", choice(["compile", "self-extracting"]), {
      description: message`Only this kind; fail where it cannot be made.`,
    }),
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

const PAGE: TaskPage = {
  program: "deno task build",
  brief: message`Make one executable per role.`,
  description:
    message`Each is made by "deno compile"; where the base runtime for that cannot be downloaded, a self-extracting file is made instead.`,
  examples:
    message`deno task build${lineBreak()}deno task build chain --target aarch64-unknown-linux-gnu`,
};

type Flags = InferValue<typeof FLAGS>;

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
  // In the same folder, so that what is made can be renamed into place: only
  // when it starts, and though the old one may be running.
  const work = Deno.makeTempDirSync({
    dir: flags.folder,
    prefix: ".building-",
  });
  try {
    const builder = new Builder({
      ...flags,
      work,
      program: await bundle(work),
    });
    for (const role of wanted) {
      const { file, kind, why } = await builder.build(role);
      if (flags.target === undefined) {
        await checkStarts(file, { cache: `${work}/cache` });
      }
      const place = `${flags.folder}/${basename(file)}`;
      Deno.renameSync(file, place);
      const size = `${(Deno.statSync(place).size / 2 ** 20).toFixed(1)} MiB`;
      console.log(`${place}  ${size}  ${kind}${why}`);
    }
  } finally {
    Deno.removeSync(work, { recursive: true });
  }
}

/**
 * Makes one file of `main.ts` and its dependencies, for either kind.
 *
 * From `main.ts` itself, `deno compile` would embed whole npm packages: a
 * larger executable that takes twice as long to start; and of some packages
 * it overflows its stack (denoland/deno#36746).
 */
async function bundle(folder: string): Promise<string> {
  const file = `${folder}/skein.js`;
  const { code, text } = await deno([
    ...["bundle", "--quiet", "--platform", "deno", "--output", file],
    `${CHECKOUT}/main.ts`,
  ]);
  if (code !== 0) throw new BuildError(`Cannot bundle main.ts: ${text}`);
  return file;
}

interface Built {
  readonly file: string;
  readonly kind: Kind;
  /** Why it is of that kind; follows it in print. */
  readonly why: string;
}

/** What a builder works with. */
interface BuilderOptions extends Flags {
  /** The bundled `main.ts`. */
  readonly program: string;
  /** A folder for what it makes. */
  readonly work: string;
}

/** Makes executables, all of the kind that works for the first. */
class Builder {
  readonly #options: BuilderOptions;
  #packed: Promise<{ runtime: Packed; program: Packed }> | undefined;
  #noBaseRuntime: string | undefined;

  constructor(options: BuilderOptions) {
    this.#options = options;
  }

  async build(role: Role): Promise<Built> {
    const { kind } = this.#options;
    if (kind === "self-extracting") {
      return { file: await this.#pack(role), kind, why: ", as asked" };
    }
    if (this.#noBaseRuntime === undefined) {
      const { file, failure } = await this.#compile(role);
      const why = kind === undefined ? "" : ", as asked";
      if (failure === undefined) return { file, kind: "compile", why };
      if (kind === "compile") throw new BuildError(failure);
      this.#noBaseRuntime = reasonOf(failure);
    }
    const why =
      `: there is no base runtime to compile (${this.#noBaseRuntime})`;
    return { file: await this.#pack(role), kind: "self-extracting", why };
  }

  /** @returns `failure`, what `deno compile` said, only when it has no base runtime. */
  async #compile(role: Role): Promise<{ file: string; failure?: string }> {
    const { program, target, work } = this.#options;
    const output = `${work}/${role.name}`;
    const { code, text } = await deno([
      ...["compile", "--quiet", "--no-check", "--no-prompt", "--no-config"],
      UNSTABLE,
      ...role.permissions,
      ...(target === undefined ? [] : ["--target", target]),
      ...["--output", output, program],
      ...role.arguments,
    ]);
    if (code === 0) {
      const isWindows = target?.includes("windows") ?? false;
      return { file: isWindows ? `${output}.exe` : output };
    }
    if (NO_BASE_RUNTIME.test(text)) return { file: output, failure: text };
    throw new BuildError(`Cannot compile ${role.name}: ${text}`);
  }

  async #pack(role: Role): Promise<string> {
    const { program, target, work } = this.#options;
    if (target !== undefined) {
      const why = this.#noBaseRuntime === undefined
        ? ""
        : `; there is no base runtime to compile (${this.#noBaseRuntime})`;
      throw new BuildError(
        `Cannot build for ${target}: a self-extracting file holds the runtime of this system${why}`,
      );
    }
    this.#packed ??= packBoth(program);
    const parts = selfExtracting({
      name: role.name,
      ...await this.#packed,
      flags: [
        ...["--quiet", "--no-prompt", "--no-config", "--no-remote", "--no-npm"],
        UNSTABLE,
        ...role.permissions,
      ],
      arguments: role.arguments,
    });
    const file = `${work}/${role.name}`;
    await Deno.writeFile(file, ReadableStream.from(parts), { mode: 0o755 });
    return file;
  }
}

async function packBoth(
  program: string,
): Promise<{ runtime: Packed; program: Packed }> {
  return {
    runtime: await pack("deno", await Deno.readFile(Deno.execPath())),
    program: await pack("skein.js", await Deno.readFile(program)),
  };
}

/**
 * Runs the new executable once: a base runtime of another version, for one,
 * is noticed only then.
 */
async function checkStarts(
  file: string,
  options: { readonly cache: string },
): Promise<void> {
  const { success, stderr } = await new Deno.Command(file, {
    args: ["--version"],
    env: { XDG_CACHE_HOME: options.cache, NO_COLOR: "1" },
    stdin: "null",
    signal: AbortSignal.timeout(START_WAIT_MS),
  }).output();
  if (success) return;
  const base = Deno.env.has("DENORT_BIN")
    ? `; is DENORT_BIN the base runtime of Deno ${Deno.version.deno}?`
    : "";
  throw new BuildError(
    `Cannot start ${basename(file)}: ${
      cut(new TextDecoder().decode(stderr))
    }${base}`,
  );
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

if (import.meta.main) {
  try {
    await build(taskFlags(FLAGS, PAGE));
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(`build: ${error.message}`);
    Deno.exit(1);
  }
}
