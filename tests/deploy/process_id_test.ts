import { assert, assertEquals } from "@std/assert";
import {
  isAlive,
  processId,
  signal,
  waitGone,
} from "../../deploy/process_id.ts";

Deno.test("process id: names a process until it ends, and nobody after it", async () => {
  const child = new Deno.Command("sleep", { args: ["600"] }).spawn();
  const id = processId(child.pid);
  assert(id !== undefined);
  assert(isAlive(id));
  assertEquals(processId(child.pid), id, "the same each time");
  assertEquals(await waitGone([id], 0), [id]);

  const other = { ...id, startedAt: "another boot:1" };
  assert(!isAlive(other));
  assert(!signal(other, "SIGKILL"));
  assert(isAlive(id), "a process of that number, but not that one");

  assert(signal(id, "SIGKILL"));
  await child.status;
  assertEquals(await waitGone([id], 10_000), []);
  assert(!signal(id, "SIGKILL"));
});

Deno.test("process id: a zombie is not alive", async () => {
  // The shell becomes `sleep` and never collects its ended child.
  const parent = new Deno.Command("sh", {
    args: ["-c", "true & echo $!; exec sleep 600"],
    stdout: "piped",
  }).spawn();
  try {
    let text = "";
    for await (const chunk of parent.stdout) {
      text += new TextDecoder().decode(chunk);
      if (text.includes("\n")) break;
    }
    const pid = Number(text);
    const deadlineMs = performance.now() + 10_000;
    while (processId(pid) !== undefined) {
      assert(performance.now() < deadlineMs, `${pid} still counts as alive`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } finally {
    parent.kill("SIGKILL");
    await parent.status;
  }
});
