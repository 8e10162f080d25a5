import { assert, assertEquals } from "@std/assert";
import { DiskUsage } from "../../../nodes/chat/disk_usage.ts";

Deno.test("disk usage: bytes of the files, and what is left", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "skein-usage-" });
  try {
    Deno.writeFileSync(`${folder}/a`, new Uint8Array(1_000));
    Deno.writeFileSync(`${folder}/b`, new Uint8Array(24));
    const usage = new DiskUsage(folder);
    await usage.refresh();
    const space = usage.read(performance.now());
    assertEquals(space?.usedBytes, 1_024);
    assert((space?.freeBytes ?? 0) > 0);
    await usage.refresh(); // what `read` began has nothing left to do
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("disk usage: a directory that is not there is no error", async () => {
  const usage = new DiskUsage("/nonexistent");
  await usage.refresh();
  assertEquals(usage.read(0), undefined);
  await usage.refresh();
});
