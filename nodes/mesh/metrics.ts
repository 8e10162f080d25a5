/** A mesh server's metrics, read when somebody asks. */

import type { Metrics } from "../host/metrics.ts";
import type { MeshView } from "./contract.ts";
import type { MeshLog } from "./mesh_log.ts";
import type { Peers } from "./peers.ts";

/** What the numbers are read from. */
export interface MeshMetricsSource {
  readonly core: MeshView;
  readonly peers: Peers;
  readonly log: MeshLog;
  readonly clients: {
    readonly count: number;
    readonly ringBytes: number;
    readonly counters: Readonly<Record<string, number>>;
  };
  refusedConnections(): number;
}

/** Registers everything worth counting. */
export function registerMeshMetrics(
  { registry, prometheus }: Metrics,
  source: MeshMetricsSource,
): void {
  const { core, peers, log, clients } = source;
  const registers = [registry];
  const counter = (name: string, help: string, read: () => number) => {
    new prometheus.Counter({
      ...{ name: `skein_mesh_${name}`, help, registers },
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  const gauge = (name: string, help: string, read: () => number) => {
    new prometheus.Gauge({
      ...{ name: `skein_mesh_${name}`, help, registers },
      collect() {
        this.set(read());
      },
    });
  };
  gauge("clients", "People who are logged in here.", () => core.status.clients);
  gauge(
    "connections",
    "Connections of people, logged in or not.",
    () => clients.count,
  );
  gauge(
    "ring_bytes",
    "Bytes of messages that some people have not been sent yet.",
    () => clients.ringBytes,
  );
  gauge("links", "Links to other servers.", () => peers.linkCount);
  gauge(
    "servers_up",
    "Servers that messages reach, this one included.",
    () => core.status.servers.filter(({ up }) => up).length,
  );
  gauge(
    "link_queue_bytes",
    "Bytes that wait to be sent to other servers.",
    () => peers.queuedBytes,
  );
  gauge(
    "log_queue_bytes",
    "Bytes that wait to be written to the log.",
    () => log.queuedBytes,
  );
  counter(
    "delivered_total",
    "Messages delivered to this server's people.",
    () => core.counters.delivered,
  );
  counter(
    "duplicates_total",
    "Messages that came once more and were not delivered again.",
    () => core.counters.duplicates,
  );
  counter(
    "resent_total",
    "Messages sent again to who had missed them.",
    () => core.counters.resent,
  );
  counter(
    "missed_total",
    "Messages of other servers that are lost to this one's people.",
    () => core.counters.missed,
  );
  counter(
    "loops_total",
    "Messages not passed on because they had been here or went too far.",
    () => core.counters.loops,
  );
  counter(
    "link_dropped_total",
    "Messages not sent at once to a server that was slow to take them.",
    () => peers.counters.dropped,
  );
  counter(
    "log_lost_total",
    "Entries that could not be kept in the log.",
    () => log.lostEntries,
  );
  counter(
    "refused_connections_total",
    "Connections that were not let in.",
    () => source.refusedConnections(),
  );
  for (const name of Object.keys(log.counters)) {
    counter(
      `log_${snake(name)}_total`,
      `Of the shared log: ${name}.`,
      () => new Map(Object.entries(log.counters)).get(name) ?? 0,
    );
  }
  for (const name of Object.keys(clients.counters)) {
    counter(
      `clients_${snake(name)}_total`,
      `Of people's connections: ${name}.`,
      () => clients.counters[name],
    );
  }
}

function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
