import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parseChatFlags } from "../../nodes/chat/flags.ts";
import { parseWitnessFlags } from "../../nodes/witness/flags.ts";

const DEPLOY = new URL("../../deploy/", import.meta.url).pathname;
const SHOW = '#!/bin/sh\necho "$0 in $(pwd):" "$@"\n';

/** A folder that looks like a checkout, with programs that only say their arguments. */
class Site implements Disposable {
  readonly folder = Deno.realPathSync(
    Deno.makeTempDirSync({ prefix: "skein-scripts-" }),
  );

  constructor() {
    Deno.mkdirSync(`${this.folder}/deploy`);
    Deno.mkdirSync(`${this.folder}/bin`);
    for (const name of ["setup_distributed.sh", "start_cluster.sh"]) {
      Deno.copyFileSync(`${DEPLOY}${name}`, `${this.folder}/deploy/${name}`);
    }
    // All that the scripts call, and no deno.
    for (const name of ["sh", "dirname", "cat"]) {
      Deno.symlinkSync(which(name), `${this.folder}/bin/${name}`);
    }
  }

  /** Puts a file there; a program unless it is text. */
  put(path: string, text = SHOW): void {
    const file = `${this.folder}/${path}`;
    Deno.mkdirSync(file.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.writeTextFileSync(file, text, { mode: 0o755 });
  }

  async run(
    script: string,
    options: {
      readonly args: readonly string[];
      readonly env?: Record<string, string>;
      readonly cwd?: string;
    },
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const { code, stdout, stderr } = await new Deno.Command(
      `${this.folder}/deploy/${script}`,
      {
        args: [...options.args],
        cwd: options.cwd ?? this.folder,
        clearEnv: true,
        env: { PATH: `${this.folder}/bin`, ...options.env },
        stdin: "null",
      },
    ).output();
    const text = (bytes: Uint8Array) =>
      new TextDecoder().decode(bytes).replaceAll(this.folder, "SITE");
    return { code, stdout: text(stdout), stderr: text(stderr) };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

function which(name: string): string {
  for (const folder of ["/bin", "/usr/bin", "/usr/local/bin"]) {
    try {
      return Deno.realPathSync(`${folder}/${name}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Error(`There is no ${name} here`);
}

const ignore = Deno.build.os === "windows";

Deno.test({
  name: "setup_distributed.sh: a number starts that server, from where .env is",
  ignore,
  async fn() {
    using site = new Site();
    site.put(".env", "SERVER1_IP=127.0.0.1\n");
    site.put("dist/skein-chat");
    site.put("dist/skein-witness");
    for (
      const [args, line] of [
        [["2"], "skein-chat in SITE: --server-number 2"],
        [
          ["3", "--admin", "9090", "a b"],
          "skein-chat in SITE: --server-number 3 --admin 9090 a b",
        ],
        [["witness", "1"], "skein-witness in SITE: --witness-number 1"],
        [["witness"], "skein-witness in SITE:"],
        [
          ["witness", "--sticky"],
          "skein-witness in SITE: --sticky",
        ],
      ] as const
    ) {
      const { code, stdout, stderr } = await site.run("setup_distributed.sh", {
        args,
        cwd: `${site.folder}/deploy`,
      });
      assertEquals([code, stderr], [0, ""]);
      assertEquals(stdout, `SITE/deploy/../dist/${line}\n`);
    }
  },
});

Deno.test({
  name: "setup_distributed.sh: which program and which .env it takes",
  ignore,
  async fn() {
    using site = new Site();
    const started = async (cwd = site.folder, env = {}) => {
      const args = ["1"];
      const run = { args, cwd, env };
      const { stdout, stderr } = await site.run("setup_distributed.sh", run);
      return `${stdout}${stderr}`.replace(/ --server-number 1\n$/, "");
    };
    assertEquals(
      await started(),
      "setup_distributed.sh: There is no .env in SITE, beside this script or above it: copy deploy/.env.example there, and edit it\n",
    );
    site.put(".env", "");
    assertStringIncludes(await started(), "There is no skein-chat beside");
    site.put("main.ts", "");
    assertStringIncludes(await started(), "neither deno nor npx");
    site.put("bin/npx");
    assertEquals(
      await started(),
      "SITE/bin/npx in SITE: -y deno@2.9.6 run --quiet -A SITE/deploy/../main.ts chat",
    );
    site.put("bin/deno");
    assertEquals(
      await started(),
      "SITE/bin/deno in SITE: run --quiet -A SITE/deploy/../main.ts chat",
    );
    site.put("bin/skein-chat");
    assertEquals(await started(), "SITE/bin/skein-chat in SITE:");
    site.put("dist/skein-chat");
    assertEquals(
      await started(),
      "SITE/deploy/../dist/skein-chat in SITE:",
    );
    site.put("deploy/skein-chat");
    assertEquals(await started(), "SITE/deploy/skein-chat in SITE:");
    site.put("deploy/.env", "");
    site.put("elsewhere/.env", "");
    assertEquals(
      await started(`${site.folder}/bin`),
      "SITE/deploy/skein-chat in SITE/deploy:",
    );
    assertEquals(
      await started(`${site.folder}/elsewhere`),
      "SITE/deploy/skein-chat in SITE/elsewhere:",
    );
    for (const path of [".env", "deploy/.env"]) {
      Deno.removeSync(`${site.folder}/${path}`);
    }
    assertEquals(
      await started(`${site.folder}/bin`, { SERVER1_IP: "127.0.0.1" }),
      "SITE/deploy/skein-chat in SITE/bin:",
    );
  },
});

Deno.test({
  name: "setup_distributed.sh: what it cannot take is one line and exit code 2",
  ignore,
  async fn() {
    using site = new Site();
    for (
      const [args, reason] of [
        [
          [],
          'Which server is this? Say its number, as in "setup_distributed.sh 1"',
        ],
        [
          ["server2"],
          '"server2" is no number of a server; try "setup_distributed.sh --help"',
        ],
        [
          ["witness", "1x"],
          '"1x" is no number of a witness; try "setup_distributed.sh --help"',
        ],
      ] as const
    ) {
      assertEquals(await site.run("setup_distributed.sh", { args }), {
        code: 2,
        stdout: "",
        stderr: `setup_distributed.sh: ${reason}\n`,
      });
    }
    const help = await site.run("setup_distributed.sh", { args: ["--help"] });
    assertEquals(help.code, 0);
    assertStringIncludes(help.stdout, "Usage: setup_distributed.sh NUMBER");
  },
});

Deno.test({
  name: "start_cluster.sh: starts the chat fleet, with deno or npx",
  ignore,
  async fn() {
    using site = new Site();
    const run = { args: ["--fresh"] };
    assertEquals((await site.run("start_cluster.sh", run)).code, 2);
    site.put("deploy/cluster.ts", "");
    assertEquals((await site.run("start_cluster.sh", run)).code, 2);
    site.put("bin/npx");
    assertEquals(
      (await site.run("start_cluster.sh", run)).stdout,
      "SITE/bin/npx in SITE: -y deno@2.9.6 run --quiet -A SITE/deploy/cluster.ts chat --fresh\n",
    );
    site.put("bin/deno");
    assertEquals(
      (await site.run("start_cluster.sh", run)).stdout,
      "SITE/bin/deno in SITE: run --quiet -A SITE/deploy/cluster.ts chat --fresh\n",
    );
  },
});

Deno.test(".env.example: is a group as it stands, and one that survives any two", () => {
  const file = `${DEPLOY}.env.example`;
  for (const n of [1, 2, 3]) {
    const args = ["--server-number", String(n)];
    const settings = parseChatFlags(args, new Map(), file);
    assertEquals(settings.id, `server-${n}`);
    assertEquals(settings.listenReplica.port, 8080 + n);
    assertEquals(settings.listenClients.port, 8090 + n);
    assertEquals(settings.data, `./data/server-${n}`);
    assertEquals(settings.notices, [
      "5 voters (3 servers, 2 witnesses): survives any 2",
    ]);
    assertEquals(settings.warnings, []);
  }
  const args = ["--witness-number", "2"];
  const witness = parseWitnessFlags(args, new Map(), file);
  assertEquals(witness.listenReplica, { host: "127.0.0.1", port: 8085 });
});

Deno.test("scripts: name one version of Deno, that of the pages", () => {
  const text = (name: string) => Deno.readTextFileSync(`${DEPLOY}${name}`);
  for (const name of ["setup_distributed.sh", "start_cluster.sh"]) {
    const version = /^deno_version=(.+)$/m.exec(text(name))?.[1];
    assert(text("README.md").includes(`npx -y deno@${version} `), name);
    assert((Deno.statSync(`${DEPLOY}${name}`).mode ?? 0) & 0o100, name);
  }
});
