/** A chain node's metrics, read from its core when somebody asks. */

import type { Metrics } from "../host/metrics.ts";
import type { ChainCore } from "./core.ts";

/** Registers everything worth counting. */
export function registerChainMetrics(
  { registry, prometheus }: Metrics,
  node: { core: ChainCore; refusedConnections: () => number },
): void {
  const { core } = node;
  const { counters } = core;
  const registers = [registry];
  const counter = (name: string, help: string, read: () => number) => {
    new prometheus.Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  const gauge = (name: string, help: string, read: () => number) => {
    new prometheus.Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };
  counter(
    "skein_chain_messages_received_total",
    "Messages taken, repeats included.",
    () => counters.messagesReceived,
  );
  counter(
    "skein_chain_bytes_received_total",
    "Bytes of messages taken, headers included.",
    () => counters.bytesReceived,
  );
  counter(
    "skein_chain_bytes_acknowledged_total",
    "Queued bytes that the tail has delivered.",
    () => counters.bytesAcknowledged,
  );
  counter(
    "skein_chain_repeated_bytes_total",
    "The tail: bytes dropped because they had been delivered before.",
    () => core.delivery.repeatedBytes,
  );
  counter(
    "skein_chain_lines_refused_total",
    "Plain-text lines refused: too long, not UTF-8, or with a NUL byte.",
    () => counters.linesRefused,
  );
  counter(
    "skein_chain_connections_refused_total",
    "Connections refused or closed for a peer's mistake.",
    () => counters.linksRefused + node.refusedConnections(),
  );
  counter(
    "skein_chain_switches_total",
    "Times the traffic was turned to a successor.",
    () => core.switches,
  );
  gauge(
    "skein_chain_queued_bytes",
    "Bytes kept because the tail has not acknowledged them.",
    () => core.queuedBytes,
  );
  gauge(
    "skein_chain_connections",
    "Connections from predecessors and clients.",
    () => core.sourceCount,
  );
  gauge(
    "skein_chain_complete",
    "1 when every link from here to a tail stands.",
    () => core.route.complete ? 1 : 0,
  );
}
