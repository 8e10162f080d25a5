import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { formatOk } from "../../protocol/chat_answers.ts";
import type { NodeStatus } from "../../protocol/status.ts";
import { canned } from "../nodes/chat/canned_status.ts";
import { Terminal, terminalTest } from "./terminal.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const NOBODY = "127.0.0.1:1"; // needs root to listen at; nothing here does

/** Answers every request line the same way, and closes when the peer does. */
class CannedServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #answer: string;
  readonly #serving: Promise<void>;
  readonly #connections: Promise<void>[] = [];

  constructor(answer: string) {
    this.#answer = answer;
    this.#serving = this.#serve();
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async #serve(): Promise<void> {
    for await (const conn of this.#listener) {
      this.#connections.push(this.#speak(conn));
    }
  }

  async #speak(conn: Deno.Conn): Promise<void> {
    using _conn = conn;
    const buffer = new Uint8Array(1_024);
    try {
      while (await conn.read(buffer) !== null) {
        await conn.write(new TextEncoder().encode(this.#answer));
      }
    } catch (error) {
      // It does not wait for all that a server says.
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
    await Promise.all(this.#connections);
  }
}

function ok(status: NodeStatus): string {
  return formatOk(undefined, { ...status });
}

async function status(
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", MAIN, "client", "status", ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

Deno.test("skein status: a table, and exit code 0 while the group takes writes", async () => {
  const notice = '{"type":"notice","code":"hello","text":"first"}\n';
  await using server = new CannedServer(notice + ok(canned()));
  const { code, stdout, stderr } = await status("-c", server.address);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^Cluster skein: server-3 leads; takes writes, survives/);
  assertMatch(stdout, /^witness-2 .*linked to server-3$/m);
});

Deno.test("skein status: exit code 1 when it does not, or nobody answers", async () => {
  const waitsFor = ["a majority of the voters; missing: server-1"];
  const stuck = canned({ isWritable: false, waitsFor });
  await using server = new CannedServer(ok(stuck));
  const both = await status("-c", `${server.address},${NOBODY}`);
  assertEquals([both.code, both.stderr], [1, ""]);
  assertStringIncludes(
    both.stdout,
    "\nWaits for a majority of the voters; missing: server-1\n",
  );
  assertMatch(both.stdout, /^127\.0\.0\.1:1 .* does not answer: .*refused/mi);
  assertEquals((await status("-c", NOBODY)).code, 1);
});

Deno.test("skein status: whom a server knows of is asked as well", async () => {
  await using second = new CannedServer(
    ok(canned({ node: "server-1", role: "member", store: "1".repeat(16) })),
  );
  const peers = canned().peers.map((peer) => ({
    ...peer,
    ...peer.id === "server-1" && { clientAddress: second.address },
    ...peer.id === "server-2" && { clientAddress: NOBODY },
  }));
  await using first = new CannedServer(ok(canned({ peers })));
  const { stdout } = await status("-c", first.address);
  assertMatch(stdout, /^server-1 +member +7\.3333 +101 /m);
  assertMatch(
    stdout,
    /^server-2 +\(member\) .* 127\.0\.0\.1:1 does not answer/m,
  );
});

Deno.test("skein status: what is no chat server, is silent, or refuses", async () => {
  const error =
    '{"type":"error","code":"not-private","text":"Only private addresses"}\n';
  await using chain = new CannedServer("ok 1\n");
  await using refuses = new CannedServer(error);
  await using silent = new CannedServer("");
  const { code, stdout } = await status(
    ...["-c", `${chain.address},${refuses.address},${silent.address}`],
    ...["--timeout", "1s"],
  );
  assertEquals(code, 1);
  for (
    const [server, problem] of [
      [chain, "are no message of a chat server"],
      [refuses, "Only private addresses"],
      [silent, "No answer within 1000 ms"],
    ] as const
  ) {
    const line = stdout.split("\n").find((one) =>
      one.startsWith(server.address)
    );
    assertStringIncludes(line ?? stdout, problem);
  }
});

Deno.test("skein status: --json is one object, --watch one a second until Ctrl-C", async () => {
  await using server = new CannedServer(ok(canned()));
  const once = await status("-c", server.address, "--json");
  const report = JSON.parse(once.stdout);
  assertEquals(report.isWritable, true);
  assertEquals(report.rows.length, 5);
  assertEquals(report.answers[0].status.node, "server-3");
  assertEquals(once.stdout.trimEnd().split("\n").length, 1);

  const watch = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "-A", MAIN, "client", "status"],
      ...["-c", server.address, "--json", "--watch"],
    ],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  let text = "";
  let isStopped = false;
  for await (const chunk of watch.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (isStopped || text.split("\n").length <= 2) continue;
    isStopped = true;
    watch.kill("SIGINT");
  }
  const lines = text.trimEnd().split("\n");
  assertEquals(lines.every((line) => JSON.parse(line).isWritable), true);
  assertEquals((await watch.status).code, 0);
});

terminalTest(
  "skein status: --watch on a terminal keeps a row to a line, and says the time as logs do",
  async () => {
    await using server = new CannedServer(ok(canned()));
    await using terminal = new Terminal([
      ...["sh", "-c", 'stty cols 60; exec "$@"', "sh"],
      ...[Deno.execPath(), "run", "--quiet", "-A", MAIN, "client", "status"],
      ...["-c", server.address, "--watch"],
    ]);
    await terminal.types("\x03", /\d\d:\d\d:\d\d, Ctrl-C ends this/);
    assertEquals((await terminal.ended()).code, 0);
    const row = terminal.outputText().split("\n").find((line) =>
      line.startsWith("server-3 ")
    );
    const [shown, ...erased] = (row ?? "").split("\x1b");
    assertMatch(shown, /^.{59}…$/);
    assertEquals(erased, ["[K\r"]);
  },
);
