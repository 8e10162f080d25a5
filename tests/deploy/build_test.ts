import { assert, assertEquals, assertMatch } from "@std/assert";
import { ROLES } from "../../deploy/build.ts";
import { pack, selfExtracting } from "../../deploy/self_extracting.ts";
import { PortBlock } from "./port_block.ts";
import configuration from "../../deno.json" with { type: "json" };

const BUILD = new URL("../../deploy/build.ts", import.meta.url).pathname;
/** `deno compile` needs a base runtime of its own version; the one at hand is of this. */
const DENORT_VERSION = /^2\.7\./;

const READY_WAIT_MS = 60_000;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(
  command: string,
  options: Deno.CommandOptions,
): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    stdin: "null",
    ...options,
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

function build(...args: string[]): Promise<Outcome> {
  return run(Deno.execPath(), {
    args: ["run", "--quiet", "-A", BUILD, ...args],
    env: { NO_COLOR: "1" },
  });
}

/** A folder with executables of one kind, removed in the end. */
async function withBuilt(
  kind: string,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "skein-build-test-" });
  try {
    const { code, stdout, stderr } = await build(
      ...["--kind", kind, "--output-folder", folder],
    );
    assertEquals([code, stderr], [0, ""]);
    assertEquals(
      stdout.replaceAll(/\d+\.\d/g, "N"),
      ROLES.map(({ name }) => `${folder}/${name}  N MiB  ${kind}, as asked\n`)
        .join(""),
    );
    await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** What must hold for an executable of either kind. */
async function assertWorks(
  file: string,
  env: Record<string, string>,
): Promise<void> {
  const version = await run(file, { args: ["--version"], env });
  assertEquals([version.code, version.stderr], [0, ""], file);
  assertMatch(version.stdout, new RegExp(configuration.version));
  const help = await run(file, { args: ["--help"], env });
  assertEquals([help.code, help.stderr], [0, ""], file);
  assertMatch(help.stdout, /--help/);
  const wrong = await run(file, { args: ["--no-such-flag"], env });
  assertEquals(wrong.code, 2, file);
  assertMatch(wrong.stderr, /no-such-flag/);
}

Deno.test("build: a self-extracting file works like a plain program", async (t) => {
  await withBuilt("self-extracting", async (folder) => {
    const env = { XDG_CACHE_HOME: `${folder}/a cache` };
    const chain = `${folder}/skein-chain`;
    await t.step("two that start at once", async () => {
      const both = await Promise.all([
        run(chain, { args: ["--version"], env }),
        run(`${folder}/skein`, { args: ["--version"], env }),
      ]);
      assertEquals(both.map(({ code, stderr }) => [code, stderr]), [
        [0, ""],
        [0, ""],
      ]);
    });
    await t.step("what they unpacked is shared, and the user's alone", () => {
      const root = `${env.XDG_CACHE_HOME}/skein`;
      assertEquals((Deno.statSync(root).mode ?? 0) & 0o777, 0o700);
      const hashes = namesIn(root).filter((name) => name !== "deno");
      assertEquals(hashes.length, 2, hashes.join());
      assert(hashes.every((name) => /^[0-9a-f]{32}$/.test(name)));
    });
    await t.step("flags and exit codes", async () => {
      for (const { name } of ROLES) {
        await assertWorks(`${folder}/${name}`, env);
      }
    });
    await t.step("the end of standard input and SIGTERM reach it", async () => {
      await assertStops(chain, { env, how: "end of input" });
      await assertStops(chain, { env, how: "SIGTERM" });
    });
    await t.step(
      "a chat server founds its group, with a database",
      async () => {
        await assertStops(`${folder}/skein-chat`, {
          ...{ env, how: "SIGTERM" },
          args: ["--data", `${folder}/data`, "--listen-replica", "127.0.0.1:0"],
        });
        assert(namesIn(`${folder}/data`).includes("state.db"));
      },
    );
    await t.step("a mesh server opens its log", async () => {
      await assertStops(`${folder}/skein-mesh`, {
        ...{ env, how: "SIGTERM" },
        args: ["--discover", "static", "--log", `${folder}/mesh/chat.log`],
      });
      assertEquals(namesIn(`${folder}/mesh`), ["chat.log"]);
    });
    await t.step("without HOME it unpacks under TMPDIR", async () => {
      const temporary = `${folder}/tmp`;
      Deno.mkdirSync(temporary);
      const unset = ["-u", "HOME", "-u", "XDG_CACHE_HOME"];
      const { code } = await run("env", {
        args: [...unset, `TMPDIR=${temporary}`, chain, "--version"],
      });
      assertEquals(code, 0);
      assertMatch(namesIn(temporary).join(), /^skein-\d+$/);
    });
    await t.step("a file that is cut short says so", async () => {
      const part = `${folder}/part`;
      const whole = Deno.readFileSync(chain);
      const bytes = whole.subarray(0, whole.length - 1_000_000);
      Deno.writeFileSync(part, bytes, { mode: 0o755 });
      await assertRefuses(part, {
        cache: `${folder}/fresh`,
        reason: /^skein-chain: Cannot unpack to .+ is cut short\n$/m,
      });
      assertEquals(namesIn(`${folder}/fresh/skein`), []);
    });
  });
});

Deno.test("build: a self-extracting file runs nothing that others could have put there", async (t) => {
  const folder = Deno.makeTempDirSync({ prefix: "skein-build-test-" });
  // The header alone: it must refuse before it looks at anything else.
  const file = `${folder}/skein-chain`;
  const nothing = await pack("nothing", new Uint8Array());
  const parts = selfExtracting({
    ...{ name: "skein-chain", runtime: nothing, program: nothing },
    ...{ flags: [], arguments: [] },
  });
  Deno.writeFileSync(file, parts[0], { mode: 0o755 });
  const planted = (name: string) => {
    Deno.mkdirSync(`${folder}/${name}/skein`, { recursive: true, mode: 0o700 });
    return `${folder}/${name}/skein`;
  };
  try {
    for (const mode of [0o777, 0o770, 0o702]) {
      await t.step(`a folder of mode ${mode.toString(8)}`, async () => {
        Deno.chmodSync(planted(`open-${mode}`), mode);
        await assertRefuses(file, {
          cache: `${folder}/open-${mode}`,
          reason: /only its owner may write to\n$/,
        });
      });
    }
    await t.step("a link to another folder", async () => {
      const target = planted("target");
      Deno.mkdirSync(`${folder}/linked`);
      Deno.symlinkSync(target, `${folder}/linked/skein`);
      await assertRefuses(file, {
        cache: `${folder}/linked`,
        reason: /only its owner may write to\n$/,
      });
    });
    await t.step({
      name: "a folder of another user",
      ignore: Deno.uid() !== 0, // only root can make one
      async fn() {
        Deno.chownSync(planted("other"), 65_532, 65_532);
        await assertRefuses(file, {
          cache: `${folder}/other`,
          reason: /belongs to another user; set XDG_CACHE_HOME\n$/,
        });
      },
    });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test({
  // With the reason, since a skipped test prints nothing but its name.
  name: "build: a compiled file works (needs DENORT_BIN, and Deno 2.7)",
  ignore: !Deno.env.has("DENORT_BIN") ||
    !DENORT_VERSION.test(Deno.version.deno),
  async fn() {
    await withBuilt("compile", async (folder) => {
      for (const { name } of ROLES) await assertWorks(`${folder}/${name}`, {});
      await assertStops(`${folder}/skein-chain`, { env: {}, how: "SIGTERM" });
      await assertStops(`${folder}/skein-chat`, {
        ...{ env: {}, how: "SIGTERM" },
        args: ["--data", `${folder}/data`, "--listen-replica", "127.0.0.1:0"],
      });
      await assertStops(`${folder}/skein-mesh`, {
        ...{ env: {}, how: "SIGTERM" },
        args: ["--discover", "static", "--log", `${folder}/mesh/chat.log`],
      });
    });
  },
});

Deno.test("build: one line for a role that there is not", async () => {
  const { code, stdout, stderr } = await build("skein-chian");
  assertEquals([code, stdout], [2, ""]);
  assertMatch(stderr, /^[^\n]*skein-chian[^\n]*\n$/);
});

async function assertRefuses(
  file: string,
  options: { readonly cache: string; readonly reason: RegExp },
): Promise<void> {
  const { code, stderr } = await run(file, {
    args: ["--version"],
    env: { XDG_CACHE_HOME: options.cache },
  });
  assertEquals(code, 1, stderr);
  assertMatch(stderr, options.reason);
}

function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name);
}

/** Starts a node, waits until it is ready, and ends it; it must end in order. */
async function assertStops(
  file: string,
  options: {
    readonly env: Record<string, string>;
    readonly how: "end of input" | "SIGTERM";
    readonly args?: readonly string[];
  },
): Promise<void> {
  using ports = PortBlock.reserve();
  const admin = `127.0.0.1:${ports.base + 1}`;
  const child = new Deno.Command(file, {
    args: [
      ...["-l", `127.0.0.1:${ports.base}`, "--admin", admin],
      ...["--exit-with-parent", ...options.args ?? []],
    ],
    env: options.env,
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let hasEnded = false;
  const ended = child.status.finally(() => hasEnded = true);
  const log = new Response(child.stderr).text();
  try {
    const deadlineMs = performance.now() + READY_WAIT_MS;
    while (!await isReady(admin)) {
      const isLate = performance.now() > deadlineMs;
      if (isLate) child.kill("SIGKILL");
      if (hasEnded || isLate) throw new Error(`Not ready:\n${await log}`);
    }
    if (options.how === "SIGTERM") child.kill("SIGTERM");
    else await child.stdin.close();
    const { code, signal } = await ended;
    assertEquals([code, signal], [0, null], await log);
  } finally {
    if (options.how === "SIGTERM") await child.stdin.close();
    await ended;
  }
}

async function isReady(admin: string): Promise<boolean> {
  try {
    const answer = await fetch(`http://${admin}/readyz`);
    await answer.body?.cancel();
    return answer.ok;
  } catch (error) {
    if (error instanceof TypeError) return false; // nobody listens yet
    throw error;
  }
}
