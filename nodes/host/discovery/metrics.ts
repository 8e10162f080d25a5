/** What discovery counts, for the metrics page. */

import type { Metrics } from "../metrics.ts";
import type { AnswererCounters } from "./answerer.ts";
import type { FinderCounters } from "./finder.ts";

/** Counts of both sides; a node that is not asked by UDP has no answerer. */
export interface DiscoveryCounters {
  readonly finder: FinderCounters;
  readonly answerer: AnswererCounters | undefined;
}

/** Registers them; they are read when somebody asks. */
export function registerDiscoveryMetrics(
  { registry, prometheus }: Metrics,
  read: () => DiscoveryCounters,
): void {
  const registers = [registry];
  const counter = (name: string, help: string, count: () => number) => {
    new prometheus.Counter({
      ...{ name, help, registers },
      collect() {
        this.reset();
        this.inc(count());
      },
    });
  };
  const byReason = (
    name: string,
    help: string,
    counts: () => Readonly<Record<string, number>>,
  ) => {
    new prometheus.Counter({
      ...{ name, help, registers, labelNames: ["reason"] },
      collect() {
        this.reset();
        for (const [reason, count] of Object.entries(counts())) {
          this.inc({ reason }, count);
        }
      },
    });
  };
  counter(
    "skein_discovery_questions_total",
    "Questions sent, on each way.",
    () => read().finder.asked,
  );
  counter(
    "skein_discovery_failures_total",
    "Questions and answers that could not be sent.",
    () => read().finder.failed + (read().answerer?.failed ?? 0),
  );
  counter(
    "skein_discovery_sighted_total",
    "Answers taken.",
    () => read().finder.sighted,
  );
  byReason(
    "skein_discovery_answers_refused_total",
    "Answers not taken, by reason.",
    () => read().finder.refused,
  );
  counter(
    "skein_discovery_received_total",
    "Datagrams read at the port of questions.",
    () => read().answerer?.received ?? 0,
  );
  counter(
    "skein_discovery_answered_total",
    "Questions answered.",
    () => read().answerer?.answered ?? 0,
  );
  byReason(
    "skein_discovery_questions_refused_total",
    "Datagrams not answered, by reason.",
    () => read().answerer?.refused ?? {},
  );
  counter(
    "skein_discovery_pauses_total",
    "Tenths of a second in which more came than is read.",
    () => read().answerer?.pauses ?? 0,
  );
}
