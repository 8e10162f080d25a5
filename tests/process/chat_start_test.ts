import { assert, assertEquals, assertMatch } from "@std/assert";
import { PortBlock } from "../deploy/port_block.ts";
import { program } from "./program.ts";
import { RunningProcess } from "./running_process.ts";
import { until } from "./until.ts";

const HOST = "127.0.0.1";

/** A folder with a `.env`, ports, and the processes that run there. */
class Site implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "skein-chat-start-" });
  readonly ports = PortBlock.reserve();
  readonly #running: RunningProcess[] = [];

  address(offset: number): string {
    return `${HOST}:${this.ports.base + offset}`;
  }

  /** Two servers and a witness, as three machines would be told. */
  writeEnvironment(): void {
    const { base } = this.ports;
    Deno.writeTextFileSync(
      `${this.folder}/.env`,
      [
        ...[`SERVER1_IP=${HOST}  # for tests`, `SERVER2_IP=${HOST}`],
        ...[`REPLICA_PORT1=${base}`, `REPLICA_PORT2=${base + 1}`],
        ...[`CLIENT_PORT1=${base + 2}`, `CLIENT_PORT2=${base + 3}`],
        ...[`WITNESS1_IP=${HOST}`, `WITNESS_PORT1=${base + 4}`],
        "DATA_DIR=./kept",
      ].join("\n"),
    );
  }

  start(
    name: "skein-chat" | "skein-witness" | "skein",
    ...args: string[]
  ): RunningProcess {
    const process = new RunningProcess({
      name: `${name} ${args.join(" ")}`,
      command: [...program(name), ...args],
      folder: this.folder,
    });
    this.#running.push(process);
    return process;
  }

  /** The report of `skein status --json`, and its exit code. */
  async status(
    ...connect: string[]
  ): Promise<{ code: number; report: Report; process: RunningProcess }> {
    const process = this.start(
      ...["skein", "status", "--json", "-c", connect.join(",")] as const,
    );
    const { code } = await process.ended();
    return { code, report: JSON.parse(process.outputText()), process };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#running) await process[Symbol.asyncDispose]();
    this.ports[Symbol.dispose]();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

interface Report {
  readonly isWritable: boolean;
  readonly primary?: string;
  readonly rows: readonly {
    readonly node: string;
    readonly role: string;
    readonly problem?: string;
    readonly viewReason?: string;
  }[];
}

/** One line for each error, and nothing else than lines of the log. */
function errorsOf(process: RunningProcess): string[] {
  assertEquals(process.logLines().length, process.lines.length);
  return process.logLines().filter(({ level }) => level === "error")
    .map(({ message }) => message);
}

/** Nobody is looked for: on the host's network nothing may be broadcast. */
const ALONE = ["--discover", "static"];

Deno.test("chat start: alone it says so, and serves", async () => {
  await using site = new Site();
  const server = site.start(
    ...["skein-chat", "-l", site.address(0)] as const,
    ...["--listen-replica", `${HOST}:0`, "--data", `${site.folder}/data`],
    ...ALONE,
  );
  await server.line(/No group is configured: this server is one of its own/);
  await server.line(/1 voter: survives no loss/);
  await server.line(/"Listening/);
  const status = await until("it takes writes", async () => {
    const found = await site.status(site.address(0));
    return found.report.isWritable && found;
  });
  assertEquals(status.code, 0);
  assertEquals(
    status.report.rows.map(({ node, role }) => [node, role]),
    [["server-1", "primary"]],
  );
  server.signal("SIGTERM");
  assertEquals((await server.ended()).code, 0, server.describe());
});

Deno.test("chat start: a directory in use is refused, by its process", async () => {
  await using site = new Site();
  const data = ["--data", `${site.folder}/data`];
  const replicas = ["--listen-replica", `${HOST}:0`];
  const first = site.start(
    ...["skein-chat", "-l", `${HOST}:0`, ...replicas, ...data] as const,
    ...ALONE,
  );
  await first.line(/"Listening/);
  const second = site.start(
    ...["skein-chat", "-l", `${HOST}:0`, ...replicas, ...data] as const,
    ...ALONE,
  );
  assertEquals((await second.ended()).code, 1, second.describe());
  assertEquals(errorsOf(second), [
    `Cannot open "${site.folder}/data": it is in use by process ${first.pid}`,
  ]);
});

Deno.test("chat start: a port that is taken is named, whichever it is", async () => {
  await using site = new Site();
  const port = site.ports.base;
  using _holder = Deno.listen({ hostname: HOST, port });
  const taken = `${HOST}:${port}`;
  const free = `${HOST}:0`;
  for (
    const [clients, replicas, admin] of [
      [taken, free, free],
      [free, taken, free],
      [free, free, taken],
    ]
  ) {
    const process = site.start(
      ...["skein-chat", "-l", clients, "--listen-replica", replicas] as const,
      ...["--admin", admin, "--data", `${site.folder}/data`, ...ALONE],
    );
    assertEquals((await process.ended()).code, 1, process.describe());
    const [error, ...others] = errorsOf(process);
    assertEquals(others, []);
    assertMatch(error, new RegExp(`${HOST}:${port}.*in use`));
  }
});

Deno.test("chat start: a group by numbers in .env, and its status when one dies", async () => {
  await using site = new Site();
  site.writeEnvironment();
  const one = site.start("skein-chat", "--server-number", "1");
  const two = site.start("skein-chat", "--server-number", "2");
  const witness = site.start("skein-witness");
  await witness.line(/3 voters \(2 servers, 1 witness\): survives any 1/);
  const clients = [site.address(2), site.address(3)];
  const rolesOf = async () => {
    const { code, report } = await site.status(...clients);
    return { code, report, roles: report.rows.map(({ role }) => role).join() };
  };
  const both = await until("both are in sync", async () => {
    const found = await rolesOf();
    return found.roles === "member,primary,witness" && found;
  }, { context: () => one.describe() + two.describe() + witness.describe() });
  assertEquals([both.code, both.report.primary], [0, "server-2"]);
  for (const name of ["server-1", "server-2", "witness-1"]) {
    assert(Deno.statSync(`${site.folder}/kept/${name}`).isDirectory);
  }

  two.signal("SIGKILL");
  await two.ended();
  const left = await until("server 1 leads", async () => {
    const found = await rolesOf();
    return found.report.primary === "server-1" && found.report.isWritable &&
      found;
  }, { context: () => one.describe() + witness.describe() });
  assertEquals(left.code, 0);
  const row = left.report.rows.find(({ node }) => node === "server-2");
  assertMatch(row?.problem ?? "", /does not answer: .*refused/i);

  one.signal("SIGKILL");
  await one.ended();
  assertEquals((await rolesOf()).code, 1);
});
