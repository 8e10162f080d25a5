import { assertEquals, assertStringIncludes } from "@std/assert";

const MAIN = new URL("./main.ts", import.meta.url).pathname;

async function history(
  args: readonly string[],
): Promise<{ code: number; text: string }> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

Deno.test("history: a simulated group's is written, read again and linearizable", async () => {
  const file = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    const written = await history(["--seed", "2", "-o", file]);
    assertStringIncludes(written.text, `events are in ${file}`);
    assertStringIncludes(written.text, "Linearizable: ");
    assertEquals(written.code, 0);
    const read = await history(["--from", file]);
    assertEquals(read.code, 0);
    const verdict = (text: string) => text.trim().split("\n").at(-1);
    assertEquals(verdict(read.text), verdict(written.text));
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("history: one that is not linearizable ends with 1, one that cannot be read with 2", async () => {
  const file = await Deno.makeTempFile({ suffix: ".jsonl" });
  const common = { process: 0, f: "read", key: "k", time: 0 };
  const lines = [
    { ...common, type: "invoke", value: null },
    { ...common, type: "ok", value: ["ghost"] },
  ];
  try {
    await Deno.writeTextFile(
      file,
      lines.map((line) => JSON.stringify(line)).join("\n"),
    );
    const broken = await history(["--from", file]);
    assertStringIncludes(broken.text, 'Not linearizable, list "k"');
    assertEquals(broken.code, 1);
    await Deno.writeTextFile(file, "no history\n");
    const bad = await history(["--from", file]);
    assertStringIncludes(bad.text, "Cannot read line 1");
    assertEquals(bad.code, 2);
  } finally {
    await Deno.remove(file);
  }
});
