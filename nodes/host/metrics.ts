/** Metrics for Prometheus: what every node says of its process. */

import process from "node:process";
import type { Registry } from "prom-client";

/** What tells nodes apart in a dashboard. */
export interface MetricsOptions {
  readonly node: string;
  readonly role: string;
  readonly version: string;
}

/** Where to register metrics, and the classes to make them with. */
export interface Metrics {
  readonly registry: Registry;
  /** The library's module: `new metrics.prometheus.Counter({…})`. */
  readonly prometheus: typeof import("prom-client");
}

/**
 * Makes a registry with the process's own metrics, labelled with node and
 * role. All of them are read when somebody asks; nothing samples meanwhile.
 *
 * The library is loaded here and not at the start of the process: that takes
 * longer than everything else a node loads, and many run without a `--admin`.
 */
export async function openMetrics(options: MetricsOptions): Promise<Metrics> {
  const prometheus = (await import("prom-client")).default;
  const registry = new prometheus.Registry();
  registry.setDefaultLabels({ node: options.node, role: options.role });
  const registers = [registry];

  new prometheus.Gauge({
    name: "skein_build_info",
    help: "Always 1; the labels say what runs.",
    labelNames: ["version", "deno"],
    registers,
  }).set({ version: options.version, deno: Deno.version.deno }, 1);
  new prometheus.Gauge({
    name: "process_start_time_seconds",
    help: "When the process started, in seconds since 1970.",
    registers,
  }).set(performance.timeOrigin / 1000);
  new prometheus.Counter({
    name: "process_cpu_seconds_total",
    help: "Processor time used by the process, in seconds.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  new prometheus.Gauge({
    name: "process_resident_memory_bytes",
    help: "Memory of the process in RAM.",
    registers,
    collect() {
      this.set(Deno.memoryUsage().rss);
    },
  });
  new prometheus.Gauge({
    name: "process_heap_bytes",
    help: "Memory in use by objects, and by the buffers they hold.",
    labelNames: ["kind"],
    registers,
    collect() {
      const { heapUsed, external } = Deno.memoryUsage();
      this.set({ kind: "objects" }, heapUsed);
      this.set({ kind: "buffers" }, external);
    },
  });
  return { registry, prometheus };
}
