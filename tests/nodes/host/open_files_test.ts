import { assert, assertEquals } from "@std/assert";
import { areFilesFree } from "../../../nodes/host/open_files.ts";

Deno.test("open files: a few more may be opened, and are closed again", () => {
  for (let round = 0; round < 100; round += 1) assert(areFilesFree(100));
});

Deno.test("open files: more than the limit may not", async () => {
  const file = new URL("../../../nodes/host/open_files.ts", import.meta.url);
  const program = `import { areFilesFree } from "${file}";
    console.log(areFilesFree(50), areFilesFree(200), areFilesFree(50));`;
  const source = `data:text/typescript,${encodeURIComponent(program)}`;
  const { stdout } = await new Deno.Command("sh", {
    args: [
      ...["-c", 'ulimit -n 150 && exec "$@"', "sh"],
      ...[Deno.execPath(), "run", "--quiet", "-A", source],
    ],
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(new TextDecoder().decode(stdout), "true false true\n");
});
