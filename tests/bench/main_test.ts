/** How benches are chosen on the command line. */

import { assertEquals, assertStringIncludes } from "@std/assert";

const MAIN = new URL("./main.ts", import.meta.url).pathname;

async function bench(...args: string[]) {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, ...args],
    env: { NO_COLOR: "1" },
  });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("bench: an unknown name is one line and exit code 2", async () => {
  assertEquals(await bench("chian"), {
    code: 2,
    stdout: "",
    stderr:
      'skein bench: "chian" is no bench; wanted: chain, chat, discovery, mesh\n',
  });
});

Deno.test("bench: help names every bench, and each has its own", async () => {
  const all = await bench("--help");
  assertEquals(all.code, 0);
  assertStringIncludes(all.stdout, "chain");
  assertStringIncludes(all.stdout, "chat");
  assertStringIncludes(all.stdout, "discovery");
  assertStringIncludes(all.stdout, "mesh");
  for (const name of ["chain", "chat", "discovery", "mesh"]) {
    const one = await bench(name, "--help");
    assertEquals(one.code, 0);
    assertStringIncludes(one.stdout, `Usage: bench ${name} `);
    assertStringIncludes(one.stdout, "--json");
  }
});

Deno.test("bench: a wrong flag is one line and exit code 2", async () => {
  const { code, stderr } = await bench("chain", "--seconds", "x");
  assertEquals(code, 2);
  assertEquals(stderr.trimEnd().split("\n").length, 1);
});
