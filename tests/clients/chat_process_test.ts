import { assert, assertEquals } from "@std/assert";
import { formatAddress } from "../../protocol/address.ts";
import { LiveGroup, LiveServer } from "../nodes/chat/service/live_service.ts";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";
import { Terminal, terminalTest } from "./terminal.ts";

const CTRL_C = "\x03";
const CTRL_D = "\x04";
const PASSWORD = "correct horse";

const encode = (text: string) => new TextEncoder().encode(text);

interface Run {
  readonly servers: readonly LiveServer[];
  readonly args?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

function command({ servers, args = [] }: Run): readonly string[] {
  const addresses = servers.map(({ address }) => formatAddress(address));
  return [...program("skein"), "chat", "-c", addresses.join(","), ...args];
}

/** One run of `skein chat` without a terminal. */
function piped(run: Run): RunningProcess {
  return new RunningProcess({
    name: "skein chat",
    command: command(run),
    folder: "/",
    environment: { SKEIN_PASSWORD: PASSWORD, ...run.environment },
  });
}

/** What a run with this input shows, and its exit code. */
async function chat(run: Run, input: string) {
  await using process = piped(run);
  await process.feed(encode(input));
  await process.endInput();
  const { code } = await process.ended();
  return { code, output: process.outputText(), log: process.logLines() };
}

const texts = (output: string) =>
  output.split("\n").slice(0, -1).map((line) => JSON.parse(line).text);

Deno.test("skein chat: what is piped is sent, and the exit says whether all was acknowledged", async () => {
  await using server = new LiveServer();
  const servers = [server];
  const bob = { servers, args: ["-u", "bob", "--register", "--json"] };
  assertEquals(await chat(bob, ""), { code: 0, output: "", log: [] });
  const ann = { servers, args: ["-u", "ann", "--register"] };
  const all = await chat(ann, '@bob hi\n/to bob\nzwölf "quoted"\n');
  assertEquals([all.code, all.log], [0, []]);
  const some = await chat(ann, "@bob one\n@nobody x\nto whom\n/to bob\ntwo");
  assertEquals(some.code, 1);
  // Whoever is written to gets the next lines, whether he is there or not.
  assertEquals(some.log.length, 2);
  const read = await chat(bob, "/read\n");
  assertEquals(texts(read.output), ["hi", 'zwölf "quoted"', "one", "two"]);
  assertEquals((await chat(bob, "")).output, "");
});

Deno.test("skein chat: a wrong password, no account, no server", async () => {
  await using server = new LiveServer();
  const servers = [server];
  const args = ["-u", "ann"];
  const none = await chat({ servers, args }, "@ann hi\n");
  assertEquals(none.code, 1);
  assertEquals(none.log.map(({ level }) => level), ["error"]);
  await chat({ servers, args: [...args, "--register"] }, "");
  const environment = { SKEIN_PASSWORD: "another one" };
  const wrong = await chat({ servers, args, environment }, "");
  assertEquals(wrong.code, 1);
  assert(!JSON.stringify(wrong.log).includes("another one"));
  const gone = new LiveServer();
  await gone.stop();
  const alone = { servers: [gone], args: [...args, "--timeout", "300ms"] };
  assertEquals((await chat(alone, "@ann hi\n")).code, 1);
});

Deno.test("skein chat: a server that stops in the middle costs nothing and repeats nothing", async () => {
  const group = new LiveGroup();
  const one = new LiveServer(group);
  await using two = new LiveServer(group);
  const lines = Array.from({ length: 3_000 }, (_, i) => `@ann ${i}\n`);
  await using process = piped({
    servers: [one, two],
    args: ["-u", "ann", "--register", "--json", "--log-level", "error"],
  });
  await process.feed(encode(lines.slice(0, 1_000).join("")));
  await process.until("messages come", () => process.outputBytes > 1_000);
  const feeding = process.feed(encode(lines.slice(1_000).join("")));
  await one.stop();
  await feeding;
  await process.until(
    "all messages",
    () => texts(process.outputText()).length >= 3_000,
  );
  await process.endInput();
  assertEquals((await process.ended()).code, 0);
  assertEquals(texts(process.outputText()), lines.map((_, i) => `${i}`));
});

Deno.test("skein chat: Ctrl-C ends a client that waits for nothing, at once and with 0", async () => {
  await using server = new LiveServer();
  await using process = piped({
    servers: [server],
    args: ["-u", "ann", "--register", "--json"],
  });
  await process.feed(encode("@ann hi\n"));
  await process.until("the message comes", () => process.outputBytes > 0);
  process.signal("SIGINT");
  assertEquals((await process.ended()).code, 0);
});

function onTerminal(run: Run): Terminal {
  return new Terminal(command(run), run.environment);
}

terminalTest(
  "skein chat: a person registers, sends, views and deletes",
  async () => {
    await using server = new LiveServer();
    await using terminal = onTerminal({ servers: [server] });
    await terminal.types("1\r", /1 to 6: /);
    await terminal.types("ann\r", /Name: /);
    await terminal.types(`${PASSWORD}\r`, /Password of ann: /);
    await terminal.types(`${PASSWORD}\r`, /The same again: /);
    await terminal.types("@ann hello\r", /Logged in as ann[^]*> /);
    await terminal.types("/list\r", /\[\d+ \d\d:\d\d\] ann: hello/);
    await terminal.types("/delete\r", /\[\d+ \d\d:\d\d\] ann: hello/);
    await terminal.types("wrong\r", /Password, to delete/);
    await terminal.types("/delete\r", /was not done/);
    await terminal.types(`${PASSWORD}\r`, /Password, to delete/);
    assertEquals((await terminal.ended()).code, 0);
    assert(terminal.outputText().includes("Account deleted"));
    assert(!terminal.outputText().includes(PASSWORD));
  },
);

terminalTest(
  "skein chat: what others send is shown above what one types, and harmless",
  async () => {
    await using server = new LiveServer();
    const servers = [server];
    const environment = { SKEIN_PASSWORD: PASSWORD };
    await using terminal = onTerminal({
      servers,
      environment,
      args: ["-u", "ann", "--register"],
    });
    await terminal.types("half a li", /Logged in as ann[^]*> /);
    await terminal.shows(/half a li/);
    const bob = { servers, args: ["-u", "bob", "--register"] };
    await chat(bob, "@ann turn\u202e around\n");
    await terminal.shows(/bob: turn\\u202e around\r\n[^]*half a li/);
    await terminal.feed(encode(`\x15${CTRL_D}`));
    assertEquals((await terminal.ended()).code, 0);
  },
);

terminalTest(
  "skein chat: a wrong password is asked for again; Ctrl-C leaves",
  async () => {
    await using server = new LiveServer();
    const servers = [server];
    await chat({ servers, args: ["-u", "ann", "--register"] }, "");
    await using terminal = onTerminal({ servers, args: ["-u", "ann"] });
    await terminal.types("wrong one\r", /Password of ann: /);
    await terminal.types(
      `${PASSWORD}\r`,
      /the password is another[^]*Password of ann: /,
    );
    await terminal.types(CTRL_C, /Logged in as ann[^]*> /);
    assertEquals((await terminal.ended()).code, 0);
  },
);
