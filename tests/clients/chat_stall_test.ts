import { assertEquals, assertStringIncludes } from "@std/assert";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";
import { REFUSAL, StallingServer } from "./stalling_server.ts";
import { Terminal, terminalTest } from "./terminal.ts";

const PASSWORD = "correct horse";
const CTRL_D = "\x04";
const GOES_ON = "Going on: the server acknowledges again";

const encode = (text: string) => new TextEncoder().encode(text);

function command(server: StallingServer): readonly string[] {
  return [...program("skein"), "chat", "-c", server.address, "-u", "ann"];
}

Deno.test("skein chat: a pipe's end hears once that nothing is acknowledged, and when it goes on", async () => {
  using server = new StallingServer();
  await using process = new RunningProcess({
    name: "skein chat",
    command: command(server),
    folder: "/",
    environment: { SKEIN_PASSWORD: PASSWORD },
  });
  await process.feed(encode("@ann one\n@ann two\n"));
  await process.until("it is told", () => process.lines.length > 0);
  server.isWritable = true;
  await process.endInput();
  assertEquals((await process.ended()).code, 0);
  assertEquals(
    process.logLines().map(({ level, message }) => [level, message]),
    [
      ["warn", `Not acknowledged yet: ${REFUSAL}; still trying`],
      ["warn", GOES_ON],
    ],
  );
});

terminalTest(
  "skein chat: a person hears that nothing is acknowledged, why, and when it goes on",
  async () => {
    using server = new StallingServer();
    await using terminal = new Terminal(command(server), {
      SKEIN_PASSWORD: PASSWORD,
    });
    await terminal.types("@ann one\r", /Logged in as ann[^]*> /);
    await terminal.shows(/Not acknowledged yet: /);
    server.isWritable = true;
    await terminal.shows(new RegExp(GOES_ON));
    await terminal.feed(encode(CTRL_D));
    assertEquals((await terminal.ended()).code, 0);
    assertStringIncludes(terminal.outputText(), REFUSAL);
  },
);
