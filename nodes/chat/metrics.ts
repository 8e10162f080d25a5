/** Metrics of a chat server or witness, read from its status when somebody asks. */

import type { Registry } from "prom-client";
import type { NodeRole, NodeStatus } from "../../protocol/status.ts";
import type { Metrics } from "../host/metrics.ts";
import { type Latencies, LATENCY_BOUNDS_MS } from "./service/latencies.ts";
import type { ScrubCounters } from "./recovery/scrubber.ts";
import { epochNumber } from "./status.ts";

/** What a node counts from its start on; a witness leaves most of it at 0. */
export interface ChatCounters {
  /** Commands proposed here, repeats included. */
  readonly proposals: number;
  /** Commands proposed here and not yet seen committed. */
  readonly openProposals: number;
  /** From the proposal here until it is applied here. */
  readonly commitLatencies: Latencies;
  /** Calls of fsync, and the time that they took. */
  readonly syncs: number;
  readonly syncSeconds: number;
  /** Ballots begun here. */
  readonly elections: number;
  /** Views known to have become active. */
  readonly views: number;
  /** Sessions that are open in the group. */
  readonly sessions: number;
  readonly users: number;
  readonly logBytes: number;
  /** Connections refused or closed for a mistake, of nodes and people. */
  readonly refusedConnections: number;
  /** Requests answered with an error. */
  readonly refusedRequests: number;
  /** Undefined for a witness, which keeps no log. */
  readonly scrub?: ScrubCounters;
}

const ROLES: readonly NodeRole[] = [
  "primary",
  "member",
  "learner",
  "witness",
  "none",
];

/** What the metrics are read from, each time. */
export interface ChatMeters {
  readonly status: () => NodeStatus;
  readonly counters: () => ChatCounters;
}

/** Registers everything worth counting. */
export function registerChatMetrics(
  { registry, prometheus }: Metrics,
  { status, counters }: ChatMeters,
): void {
  const registers = [registry];
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
  registerPeers({ registry, prometheus }, status);
  gauge(
    "skein_chat_epoch",
    "Counter of the epoch of the newest active view.",
    () => epochNumber(status().view?.epoch),
  );
  gauge(
    "skein_chat_view_age_seconds",
    "How long that view has been known to be active.",
    () => (status().view?.ageMs ?? 0) / 1_000,
  );
  gauge(
    "skein_chat_writable",
    "1 while a write sent to this node has somewhere to go.",
    () => status().isWritable ? 1 : 0,
  );
  gauge("skein_chat_members", "Servers in sync.", () => {
    return status().view?.members.length ?? 0;
  });
  gauge(
    "skein_chat_last_index",
    "End of this node's log.",
    () => status().lastIndex,
  );
  gauge(
    "skein_chat_committed_index",
    "All up to here is committed and on disk here.",
    () => status().committedIndex,
  );
  gauge(
    "skein_chat_applied_index",
    "All up to here is applied to the state.",
    () => status().appliedIndex,
  );
  gauge(
    "skein_chat_disk_used_bytes",
    "Bytes in the data directory.",
    () => status().diskUsedBytes ?? 0,
  );
  gauge(
    "skein_chat_disk_free_bytes",
    "Bytes left on the disk of the data directory.",
    () => status().diskFreeBytes ?? 0,
  );
  gauge(
    "skein_chat_clients",
    "Connections of people.",
    () => status().clients,
  );
  gauge("skein_chat_sessions", "Open sessions.", () => counters().sessions);
  gauge("skein_chat_users", "Accounts.", () => counters().users);
  gauge(
    "skein_chat_log_bytes",
    "Bytes of the log on disk.",
    () => counters().logBytes,
  );
  gauge(
    "skein_chat_open_proposals",
    "Commands proposed here and not yet seen committed.",
    () => counters().openProposals,
  );
  counter(
    "skein_chat_proposals_total",
    "Commands proposed here, repeats included.",
    () => counters().proposals,
  );
  counter(
    "skein_chat_syncs_total",
    "Times that writes were synced to disk.",
    () => counters().syncs,
  );
  counter(
    "skein_chat_sync_seconds_total",
    "Time spent in syncs, in seconds.",
    () => counters().syncSeconds,
  );
  counter(
    "skein_chat_elections_total",
    "Ballots begun by this node.",
    () => counters().elections,
  );
  counter(
    "skein_chat_views_total",
    "Views that this node has seen become active.",
    () => counters().views,
  );
  counter(
    "skein_chat_connections_refused_total",
    "Connections refused or closed for a mistake.",
    () => counters().refusedConnections,
  );
  counter(
    "skein_chat_requests_refused_total",
    "Requests answered with an error.",
    () => counters().refusedRequests,
  );
  counter(
    "skein_chat_log_damages_total",
    "Bad files of the log that were met.",
    () => counters().scrub?.found ?? 0,
  );
  counter(
    "skein_chat_log_mends_total",
    "Bad files of the log written anew from another server's entries.",
    () => counters().scrub?.mended ?? 0,
  );
  counter(
    "skein_chat_scrub_rounds_total",
    "Times that the whole log was read to find damage.",
    () => counters().scrub?.rounds ?? 0,
  );
  registerLatencies({ registry, prometheus }, {
    name: "skein_chat_commit_seconds",
    help: "From the proposal of a command here until it is applied here.",
    read: () => counters().commitLatencies,
  });
}

/** Gauges with labels: the role, and what is known of each other node. */
function registerPeers(
  { registry, prometheus }: Metrics,
  status: () => NodeStatus,
): void {
  const registers = [registry];
  // One of them is 1; labelled `is`, since every metric has the program's `role`.
  new prometheus.Gauge({
    name: "skein_chat_role",
    help: "1 for what this node is in its group, 0 for what it is not.",
    labelNames: ["is"],
    registers,
    collect() {
      const { role } = status();
      for (const one of ROLES) this.set({ is: one }, one === role ? 1 : 0);
    },
  });
  new prometheus.Gauge({
    name: "skein_chat_peer_linked",
    help: "1 while a link to that node stands.",
    labelNames: ["peer"],
    registers,
    collect() {
      this.reset();
      for (const { id, isLinked } of status().peers) {
        this.set({ peer: id }, isLinked ? 1 : 0);
      }
    },
  });
  new prometheus.Gauge({
    name: "skein_chat_peer_lag_entries",
    help: "The primary: entries that that server has yet to acknowledge.",
    labelNames: ["peer"],
    registers,
    collect() {
      this.reset();
      const { peers, lastIndex } = status();
      for (const { id, acknowledgedIndex } of peers) {
        if (acknowledgedIndex === undefined) continue;
        this.set({ peer: id }, Math.max(0, lastIndex - acknowledgedIndex));
      }
    },
  });
}

interface LatencyMetric {
  readonly name: string;
  readonly help: string;
  readonly read: () => Latencies;
}

/** Shows counts that are kept elsewhere as a histogram: the library has no such way. */
function registerLatencies(
  { registry, prometheus }: { registry: Registry } & Metrics,
  { name, help, read }: LatencyMetric,
): void {
  class KeptHistogram extends prometheus.Histogram {
    /** What the registry reads; the library's types leave it out. */
    getForPromString() {
      const { counts, sumMs } = read();
      let below = 0;
      const values = counts.map((count, bucket) => {
        below += count;
        const bound = LATENCY_BOUNDS_MS.at(bucket);
        const le = bound === undefined ? "+Inf" : bound / 1_000;
        return { metricName: `${name}_bucket`, value: below, labels: { le } };
      });
      return {
        name,
        help,
        type: "histogram",
        values: [
          ...values,
          { metricName: `${name}_sum`, value: sumMs / 1_000, labels: {} },
          { metricName: `${name}_count`, value: below, labels: {} },
        ],
      };
    }
  }
  new KeptHistogram({ name, help, registers: [registry] });
}
