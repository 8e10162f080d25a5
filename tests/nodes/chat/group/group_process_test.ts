import { assertEquals } from "@std/assert";

const CHILD = new URL("group_process_child.ts", import.meta.url).pathname;

Deno.test("group process: told to stop between two lives it ends, and nothing is stopped twice", async () => {
  const data = await Deno.makeTempDir({ prefix: "skein-lives-" });
  try {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", CHILD, "--data", data, "--id", "w"],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    let said = "";
    for await (const bytes of child.stdout) {
      said += new TextDecoder().decode(bytes);
      if (said === "begins\nends\n") child.kill("SIGTERM");
    }
    assertEquals(said, "begins\nends\n");
    assertEquals((await child.status).code, 0);
  } finally {
    await Deno.remove(data, { recursive: true });
  }
});
