import { assert, assertEquals, assertMatch } from "@std/assert";
import { ChainFleet } from "./chain_fleet.ts";
import { program } from "./program.ts";
import { RunningProcess } from "./running_process.ts";

const SCRIPT_MISSING = scriptMissing();
const CTRL_C = "\x03";
const CTRL_D = "\x04";

const encode = (text: string) => new TextEncoder().encode(text);

/** A test that needs a terminal; else it says why it is left out. */
function terminalTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: SCRIPT_MISSING === undefined
      ? name
      : `${name} (skipped: ${SCRIPT_MISSING})`,
    ignore: SCRIPT_MISSING !== undefined,
    fn,
  });
}

/** A program on a terminal of its own: what is fed to it is typed. */
class Terminal extends RunningProcess {
  constructor(fleet: ChainFleet, command: readonly string[]) {
    const quoted = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    super({
      name: "terminal",
      command: ["script", "-qefc", `exec ${quoted.join(" ")}`, "/dev/null"],
      folder: fleet.path(""),
    });
  }

  /** What the screen was sent, with plain line ends. */
  get screen(): string {
    return this.outputText().replaceAll("\r\n", "\n");
  }

  /** Waits until the screen was sent something. */
  async shows(pattern: RegExp): Promise<void> {
    await this.until(
      `the screen shows ${pattern}`,
      () => pattern.test(this.screen) || undefined,
    ).catch((error) => {
      throw new Error(`${error.message}\n${this.screen}`);
    });
  }
}

terminalTest(
  "terminal: a node prints messages in full, and its log for people",
  async () => {
    await using fleet = new ChainFleet();
    await fleet.node("tail").start();
    await using head = new Terminal(fleet, [
      ...program("skein-chain"),
      ...["-l", fleet.address("head"), "-n", fleet.address("tail")],
    ]);
    await head.shows(/^\d\d:\d\d:\d\d\.\d{3} INFO +Listening on 127/m);
    await head.shows(/The chain is complete/);
    const send = fleet.send({ to: ["head"], input: "piped" });
    await send.feed(encode("hello\x1b[31m\n"));
    await send.endInput();
    assertEquals((await send.outcome()).code, 0);
    await head.shows(/^received from send-\d+ \(.*\): hello\\x1b\[31m$/m);
    await head.shows(/^forwarded 1 message to 127/m);
    assert(!head.screen.includes("{"), head.screen);
    await head.feed(encode(CTRL_C));
    assertEquals((await head.ended()).code, 0);
  },
);

terminalTest(
  "terminal: the tail shows messages, and none can move the cursor",
  async () => {
    await using fleet = new ChainFleet();
    await using tail = new Terminal(fleet, [
      ...program("skein-chain"),
      ...["-l", fleet.address("tail"), "--log-level", "error"],
    ]);
    await using probe = fleet.send({ to: ["tail"], input: "piped" });
    await probe.feed(encode("a\x1b[2Jb\x07c\u009bd\u202ee\n"));
    await probe.endInput();
    assertEquals((await probe.outcome()).code, 0);
    await tail.shows(/\n$/);
    assertEquals(tail.screen, "a\\x1b[2Jb\\x07c\\x9bd\\u202ee\n");
  },
);

terminalTest(
  "terminal: what one types is sent line by line, until Ctrl-C",
  async () => {
    await using fleet = new ChainFleet();
    const tail = fleet.node("tail");
    await tail.start();
    await using send = new Terminal(fleet, [
      ...program("skein"),
      ...["send", "-c", fleet.address("tail")],
    ]);
    let typed = "";
    for (const line of ["good morning", "grüße"]) {
      await send.feed(encode(`${line}\n`));
      typed += `${line}\n`;
      await fleet.until(
        "it arrives",
        () => tail.process.outputText() === typed,
      );
    }
    await send.feed(encode(CTRL_C));
    assertEquals((await send.ended()).code, 0, send.screen);
    assertMatch(send.screen, /sent 2, delivered 2, resent 0, \d+\.\d\d s\n$/);
  },
);

terminalTest("terminal: Ctrl-D ends what one types as well", async () => {
  await using fleet = new ChainFleet();
  const tail = fleet.node("tail");
  await tail.start();
  await using send = new Terminal(fleet, [
    ...program("skein"),
    ...["send", "-c", fleet.address("tail")],
  ]);
  await send.feed(encode("only one\n"));
  await fleet.until("it arrives", () => tail.process.outputBytes === 9);
  await send.feed(encode(CTRL_D));
  assertEquals((await send.ended()).code, 0, send.screen);
  assertMatch(send.screen, /sent 1, delivered 1, resent 0/);
});

terminalTest(
  "terminal: a file is sent with a progress line that leaves nothing behind",
  async () => {
    await using fleet = new ChainFleet();
    const tail = fleet.node("tail");
    await tail.start();
    await tail.freeze();
    const file = fleet.file("input", "one\ntwo\n");
    await using send = new Terminal(fleet, [
      ...program("skein"),
      ...["send", "-c", fleet.address("tail"), "--file", file],
    ]);
    await send.shows(/\[Ksent 2, delivered 0, 0\.0 MB\/s/);
    tail.thaw();
    assertEquals((await send.ended()).code, 0, send.screen);
    assertMatch(
      send.screen,
      /\[Ksent 2, delivered 2, resent \d, \d+\.\d\d s\n$/,
    );
  },
);

function scriptMissing(): string | undefined {
  if (Deno.build.os !== "linux") return "not on Linux";
  try {
    const { success } = new Deno.Command("script", {
      args: ["-qefc", "exit 0", "/dev/null"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).outputSync();
    return success ? undefined : "script does not work";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "script is missing";
    throw error;
  }
}
