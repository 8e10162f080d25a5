import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ChainFleet } from "./chain_fleet.ts";
import type { ChainNode } from "./chain_node.ts";
import { program } from "./program.ts";
import { RunningProcess } from "./running_process.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** Starts a node that cannot run: one line says why, and it exits with 1. */
async function refusalOf(node: ChainNode): Promise<string> {
  node.expectEnd();
  const process = node.launch();
  const { code, signal } = await process.ended();
  assertEquals([code, signal], [1, null], process.describe());
  const errors = process.logLines().filter(({ level }) => level === "error");
  assertEquals(errors.length, 1, process.describe());
  assertEquals(process.logLines().length, process.lines.length);
  return errors[0].message;
}

Deno.test("start: a port that is taken is named", async () => {
  await using fleet = new ChainFleet();
  const node = fleet.node("node");
  using _holder = Deno.listen({
    hostname: "127.0.0.1",
    port: fleet.port("node"),
  });
  const message = await refusalOf(node);
  assertMatch(message, /^Cannot listen on 127\.0\.0\.1:\d+: .*in use/);
  assertStringIncludes(message, fleet.address("node"));
  assertEquals(node.process.lines.length, 1, node.describe());
});

Deno.test("start: an admin port that is taken is named", async () => {
  await using fleet = new ChainFleet();
  const node = fleet.node("node");
  const port = Number(node.admin?.split(":")[1]);
  using _holder = Deno.listen({ hostname: "127.0.0.1", port });
  const message = await refusalOf(node);
  assertMatch(
    message,
    /^Cannot open the admin port at "?127\.0\.0\.1:\d+"?: .*in use/,
  );
});

Deno.test("start: an address that is not of this machine is named", async () => {
  await using fleet = new ChainFleet();
  await using process = new RunningProcess({
    name: "node",
    command: [...program("skein-chain"), "-l", "192.0.2.1:3527"], // RFC 5737
    folder: fleet.path(""),
  });
  assertEquals((await process.ended()).code, 1, process.describe());
  assertEquals(process.lines.length, 1, process.describe());
  assertMatch(
    process.logLines()[0].message,
    /^Cannot listen on 192\.0\.2\.1:3527: /,
  );
});

Deno.test("start: a spool in use names the process that uses it", async () => {
  await using fleet = new ChainFleet();
  const flags = ["--spool", fleet.path("spool")];
  const first = fleet.node("first", { flags });
  await first.start();
  const second = fleet.node("second", { flags });
  const message = await refusalOf(second);
  assertEquals(
    message,
    `Cannot open "${
      fleet.path("spool")
    }": it is in use by process ${first.process.pid}`,
  );
  assertEquals(second.process.lines.length, 1);
  // However it ends, the next one may have it.
  await first.kill();
  await second.start();
});

Deno.test("start: an output that lost bytes since they were delivered is refused", async () => {
  await using fleet = new ChainFleet();
  const output = fleet.path("output");
  const tail = fleet.node("tail", {
    flags: ["--output", output, "--spool", fleet.path("spool")],
  });
  await tail.start();
  const send = fleet.send({ to: ["tail"], input: "piped" });
  await send.feed(encode("one\ntwo\nthree\n"));
  await send.endInput();
  assertEquals((await send.outcome()).code, 0);
  await tail.kill();
  Deno.truncateSync(output, 8);
  const message = await refusalOf(tail);
  assertEquals(
    message,
    `Cannot append to "${output}": it has 8 bytes and 14 were delivered to it; ` +
      "restore it, or give another --output and --spool",
  );
  assertEquals(Deno.readTextFileSync(output), "one\ntwo\n", "left as it is");
  Deno.writeTextFileSync(output, "one\ntwo\nthree\n");
  await tail.start();
});

Deno.test("start: what an output holds beyond the acknowledged is cut off, and said", async () => {
  await using fleet = new ChainFleet();
  const output = fleet.path("output");
  const tail = fleet.node("tail", {
    flags: ["--output", output, "--spool", fleet.path("spool")],
  });
  await tail.start();
  const send = fleet.send({ to: ["tail"], input: "piped" });
  await send.feed(encode("one\n"));
  await send.endInput();
  assertEquals((await send.outcome()).code, 0);
  await tail.kill();
  Deno.writeTextFileSync(output, "torn", { append: true });
  await tail.start();
  await tail.process.line(
    /"Cut unacknowledged bytes off the output.*"bytes":4/,
  );
  assertEquals(Deno.readTextFileSync(output), "one\n");
});

const UNUSABLE: readonly {
  readonly what: string;
  readonly flags: (fleet: ChainFleet) => readonly string[];
  readonly message: RegExp;
}[] = [
  {
    what: "a spool below a file",
    flags: (fleet) => ["--spool", `${fleet.file("file", "")}/spool`],
    message: /^Cannot open ".*\/file\/spool": .*not a directory/i,
  },
  {
    what: "a spool that is a file",
    flags: (fleet) => ["--spool", fleet.file("file", "")],
    message: /^Cannot open ".*\/file": /,
  },
  {
    what: "a spool where nobody may write",
    flags: () => ["--spool", "/proc/skein"],
    message: /^Cannot open "\/proc\/skein": /,
  },
  {
    what: "an output in a folder that is not there",
    flags: (fleet) => ["--output", fleet.path("no/output")],
    message: /^Cannot open ".*\/no\/output": .*no such file/i,
  },
  {
    what: "an output that is a folder",
    flags: (fleet) => ["--output", fleet.path("")],
    message: /^Cannot open ".*": .*directory/i,
  },
];
for (const { what, flags, message } of UNUSABLE) {
  Deno.test(`start: ${what} is refused in one line`, async () => {
    await using fleet = new ChainFleet();
    const node = fleet.node("node", { flags: flags(fleet) });
    assertMatch(await refusalOf(node), message);
    assertEquals(node.process.lines.length, 1, node.describe());
  });
}

Deno.test("start: a spool that is damaged is refused, and named", async () => {
  await using fleet = new ChainFleet();
  const folder = fleet.path("spool");
  const node = fleet.node("node", {
    next: ["nobody"],
    flags: ["--spool", folder],
  });
  await node.start();
  const send = fleet.send({ to: ["node"], input: "piped" });
  // One after the other, for records of their own: only what is followed by
  // a whole record cannot have been torn by a crash.
  for (const line of ["line 0", "line 1"]) {
    await send.feed(encode(`${line}\n`));
    await fleet.until(
      `"${line}" is in the spool`,
      () => spoolText(folder).includes(line),
    );
  }
  await node.kill();
  const [path] = queueFiles(folder);
  const bytes = Deno.readFileSync(path);
  bytes[spoolText(folder).indexOf("line 0")] ^= 1;
  Deno.writeFileSync(path, bytes);
  const message = await refusalOf(node);
  assertStringIncludes(message, path);
  assertMatch(message, /\d/);
});

function queueFiles(folder: string): string[] {
  return [...Deno.readDirSync(folder)]
    .filter(({ name }) => /^queue-\d+\.log$/.test(name))
    .map(({ name }) => `${folder}/${name}`);
}

/** All bytes of a spool's queue, one character each. */
function spoolText(folder: string): string {
  return queueFiles(folder)
    .map((path) => new TextDecoder("latin1").decode(Deno.readFileSync(path)))
    .join("");
}

const WRONG_FLAGS: readonly (readonly [
  args: readonly string[],
  line: RegExp,
])[] = [
  [
    ["--sppol", "x"],
    /^skein-chain: "--sppol" is no option; did you mean "--spool"\? /,
  ],
  [
    ["--queue", "1KiB"],
    /"--queue": "1KiB" is out of range, wanted 1MiB to 1GiB/,
  ],
  [
    ["-n", "127.0.0.1"],
    /"--next": "127\.0\.0\.1" is not an address, wanted HOST:PORT/,
  ],
  [["--output"], /"--output" needs a value/],
  [
    ["--print", "loud"],
    /"--print": "loud" is none of "full", "summary", "none"/,
  ],
  [["-n", "127.0.0.1:1", "--output", "x"], /"--output" is for the tail/],
  [["surplus"], /Unexpected "surplus"/],
];
Deno.test("start: a wrong flag is one line and exit code 2", async (t) => {
  await using fleet = new ChainFleet();
  for (const [at, [flags, line]] of WRONG_FLAGS.entries()) {
    await t.step(flags.join(" "), async () => {
      const node = fleet.node(`node${at}`, { flags });
      node.expectEnd();
      const process = node.launch();
      assertEquals((await process.ended()).code, 2, process.describe());
      assertEquals(process.lines.length, 1, process.describe());
      assertMatch(process.lines[0], line);
      assertEquals(process.outputBytes, 0);
    });
  }
});

Deno.test("start: skein send says in one line what it cannot read", async () => {
  await using fleet = new ChainFleet();
  const send = fleet.send({
    to: ["nobody"],
    flags: ["--file", "no-such-file"],
  });
  assertEquals((await send.ended()).code, 1);
  assertEquals(send.lines.length, 1, send.describe());
  assertMatch(
    send.lines[0],
    /^skein send: cannot read "no-such-file": No such file/,
  );
  const folder = fleet.send({ to: ["nobody"], flags: ["--file", "."] });
  assertEquals((await folder.ended()).code, 1);
  assertMatch(folder.lines.join("\n"), /is a directory/i);
});
