import { assertEquals, assertStringIncludes } from "@std/assert";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";

const COMMANDS = [
  ...["chat", "send", "discover", "status", "leave"],
  ...["topology", "trace", "drain", "log"],
];

/** `skein`, to its end; nothing of it reaches a network. */
async function skein(...args: string[]) {
  await using process = new RunningProcess({
    name: "skein",
    command: [...program("skein"), ...args],
    folder: "/",
    input: "null",
  });
  const { code } = await process.ended();
  return { code, output: process.outputText(), errors: process.lines };
}

Deno.test("skein: its help names every command, and so does a mistake", async () => {
  const help = await skein("--help");
  assertEquals([help.code, help.errors], [0, []]);
  for (const command of COMMANDS) {
    assertStringIncludes(help.output, `\n  ${command.padEnd(8)}  `);
  }
  const wrong = await skein("fly");
  assertEquals(wrong.code, 2);
  assertEquals(wrong.errors, [
    `skein: "fly" is no command; wanted: ${
      COMMANDS.join(", ")
    }. Try "skein --help"`,
  ]);
});

Deno.test("skein: every command has help, and shells complete it and its flags", async () => {
  for (const command of COMMANDS) {
    const { code, output } = await skein(command, "--help");
    assertEquals(code, 0);
    assertStringIncludes(output, `Usage: skein ${command} `);
  }
  const commands = await skein("--completion", "bash", "");
  for (const command of COMMANDS) {
    assertStringIncludes(commands.output, command);
  }
  const flags = await skein("--completion", "bash", "discover", "--disc");
  assertStringIncludes(flags.output, "--discover");
});
