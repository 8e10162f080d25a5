import { assertEquals, assertMatch } from "@std/assert";
import { openMetrics } from "../../../nodes/host/metrics.ts";

const options = { node: "n1", role: "chain", version: "1.2.3" };

Deno.test("metrics: the process is described, labelled with node and role", async () => {
  const { registry } = await openMetrics(options);
  const text = await registry.metrics();
  const labels = 'node="n1",role="chain"';
  for (
    const [name, value] of [
      ["process_start_time_seconds", "\\d{10}(\\.\\d+)?"],
      ["process_cpu_seconds_total", "\\d+(\\.\\d+)?"],
      ["process_resident_memory_bytes", "[1-9]\\d{6,}"],
    ]
  ) {
    assertMatch(text, new RegExp(`^${name}\\{${labels}\\} ${value}$`, "m"));
  }
  assertMatch(
    text,
    /^process_heap_bytes\{kind="objects",node="n1",role="chain"\} \d+$/m,
  );
  assertMatch(
    text,
    /^skein_build_info\{version="1\.2\.3",deno="[\d.]+",node="n1",role="chain"\} 1$/m,
  );
});

Deno.test("metrics: a role's own metrics stand beside them", async () => {
  const { registry, prometheus } = await openMetrics(options);
  const registers = [registry];
  const counter = new prometheus.Counter({ name: "a", help: "A.", registers });
  counter.inc(3);
  assertMatch(await registry.metrics(), /^a\{node="n1",role="chain"\} 3$/m);
});

Deno.test("metrics: two registries of one process do not mix", async () => {
  const one = await openMetrics(options);
  const two = await openMetrics({ ...options, node: "n2" });
  assertEquals((await one.registry.metrics()).includes("n2"), false);
  assertEquals((await two.registry.metrics()).includes("n1"), false);
});
