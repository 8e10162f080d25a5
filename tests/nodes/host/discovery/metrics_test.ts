import { assertEquals } from "@std/assert";
import { registerDiscoveryMetrics } from "../../../../nodes/host/discovery/metrics.ts";
import { QUESTION_REFUSALS } from "../../../../nodes/host/discovery/question_checks.ts";
import { DATAGRAM_REFUSALS } from "../../../../protocol/discovery_codec.ts";
import { openMetrics } from "../../../../nodes/host/metrics.ts";

Deno.test("discovery metrics: both sides, and each reason", async () => {
  const metrics = await openMetrics({ node: "a", role: "chat", version: "0" });
  const reasons = [
    ...DATAGRAM_REFUSALS,
    ...QUESTION_REFUSALS,
    "answer",
    "not-private",
  ] as const;
  const none = Object.fromEntries(reasons.map((reason) => [reason, 0]));
  registerDiscoveryMetrics(metrics, () => ({
    finder: { asked: 5, failed: 1, sighted: 3, refused: { nonce: 2 } },
    answerer: {
      ...{ received: 9, answered: 4, failed: 1, pauses: 7 },
      refused: { ...none, mac: 6 } as Record<typeof reasons[number], number>,
    },
  }));
  const text = (await metrics.registry.metrics())
    .replaceAll(/,?(?:node|role)="[^"]*"/g, "").replaceAll("{}", "");
  const lines = text.split("\n").filter((line) =>
    line.startsWith("skein_discovery_") && !line.endsWith(" 0")
  ).map((line) => line.replace("skein_discovery_", "").replace("{,", "{"));
  assertEquals(lines.sort(), [
    "answered_total 4",
    'answers_refused_total{reason="nonce"} 2',
    "failures_total 2",
    "pauses_total 7",
    'questions_refused_total{reason="mac"} 6',
    "questions_total 5",
    "received_total 9",
    "sighted_total 3",
  ]);
});
