import { assert, assertEquals } from "@std/assert";
import { Latencies } from "../../../nodes/chat/service/latencies.ts";
import {
  type ChatCounters,
  registerChatMetrics,
} from "../../../nodes/chat/metrics.ts";
import { openMetrics } from "../../../nodes/host/metrics.ts";
import { canned } from "./canned_status.ts";

function counters(latencies: Latencies): ChatCounters {
  return {
    proposals: 12,
    openProposals: 2,
    commitLatencies: latencies,
    syncs: 7,
    syncSeconds: 0.5,
    elections: 3,
    views: 4,
    sessions: 5,
    users: 6,
    logBytes: 4_096,
    refusedConnections: 1,
    refusedRequests: 8,
    scrub: { found: 3, mended: 2, rounds: 5 },
  };
}

Deno.test("chat metrics: every number of a server, with its peers", async () => {
  const latencies = new Latencies();
  latencies.observe(0.3);
  latencies.observe(3, 2);
  latencies.observe(9_000);
  const metrics = await openMetrics({
    ...{ node: "server-3", role: "chat", version: "0" },
  });
  registerChatMetrics(metrics, {
    status: () => canned({ role: "primary" }),
    counters: () => counters(latencies),
  });
  const text = await metrics.registry.metrics();
  const plain = text.replaceAll(/,?(?:node|role)="[^"]*"/g, "")
    .replaceAll("{}", "");
  for (
    const line of [
      'skein_chat_role{is="primary"} 1',
      'skein_chat_role{is="learner"} 0',
      'skein_chat_peer_linked{peer="server-1"} 1',
      'skein_chat_peer_lag_entries{peer="server-1"} 3',
      "skein_chat_epoch 7",
      "skein_chat_writable 1",
      "skein_chat_committed_index 101",
      "skein_chat_applied_index 100",
      "skein_chat_proposals_total 12",
      "skein_chat_sync_seconds_total 0.5",
      "skein_chat_requests_refused_total 8",
      "skein_chat_log_damages_total 3",
      "skein_chat_log_mends_total 2",
      "skein_chat_scrub_rounds_total 5",
      "# TYPE skein_chat_commit_seconds histogram",
      'skein_chat_commit_seconds_bucket{le="0.00025"} 0',
      'skein_chat_commit_seconds_bucket{le="0.0005"} 1',
      'skein_chat_commit_seconds_bucket{le="0.004"} 3',
      'skein_chat_commit_seconds_bucket{le="8"} 3',
      'skein_chat_commit_seconds_bucket{le="+Inf"} 4',
      "skein_chat_commit_seconds_sum 9.0063",
      "skein_chat_commit_seconds_count 4",
    ]
  ) assert(plain.includes(`${line}\n`), `${line} is not in\n${plain}`);
  // Witnesses acknowledge no log.
  assert(!plain.includes('lag_entries{peer="witness'), plain);
});

Deno.test("latencies: each falls into the first bucket that holds it", () => {
  const latencies = new Latencies();
  for (const ms of [0, 0.25, 0.26, 8_000, 8_000.1]) latencies.observe(ms);
  assertEquals(latencies.counts.at(0), 2);
  assertEquals(latencies.counts.at(1), 1);
  assertEquals(latencies.counts.at(-2), 1);
  assertEquals(latencies.counts.at(-1), 1);
  assertEquals(latencies.count, 5);
});
