/** Contract of what the bench makes of its figures. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { bestRow, ratioOf, type Row, type Section } from "./figures.ts";
import type { LoadResult } from "./load_plan.ts";
import { describeSection, targetsOf } from "./report.ts";

function row(
  system: string,
  rates: readonly number[],
  placement: Row["placement"] = "at the leader",
): Row {
  const results = rates.map((rate): LoadResult => ({
    writes: rate * 2,
    seconds: 2,
    p50Us: 1_000,
    p99Us: 25_000,
    maxUs: 30_000,
    refused: 0,
    loadCpus: 0.25,
    serverCpus: 1.5,
  }));
  return { system, placement, results };
}

const section: Section = {
  case: "64 clients",
  title: "64 clients",
  rows: [
    row("etcd", [100, 200, 300]),
    row("JetStream", [500, 500, 500]),
    row("Skein", [300, 700, 900]),
    row("Skein", [200, 200, 200], "at all three"),
  ],
};

Deno.test("figures: ratios are taken within a round", () => {
  const ratio = ratioOf(bestRow(section, "Skein"), bestRow(section, "etcd"));
  assertEquals(ratio, { median: 3, min: 3, max: 3.5 });
  assertEquals(ratioOf(row("a", [1]), row("b", [1, 2])), undefined);
  assertEquals(ratioOf(row("a", [1]), undefined), undefined);
});

Deno.test("figures: the better placement counts", () => {
  assertEquals(bestRow(section, "Skein")?.placement, "at the leader");
  assertEquals(bestRow(section, "nobody"), undefined);
});

Deno.test("report: a table names every row and its percentiles", () => {
  const lines = describeSection(section);
  assertEquals(lines.length, 2 + 1 + 4);
  assertStringIncludes(lines[6], "Skein, at all three");
  assertStringIncludes(lines[6], "25.0");
});

Deno.test("report: targets are reached, missed or not measured", () => {
  const targets = targetsOf({
    sections: [section],
    failovers: [{ system: "Skein", gapsMs: [20, 30, 900] }],
    history: {
      messages: 1_000_000,
      residentBytes: 200 * 1_048_576,
      peakBytes: 400 * 1_048_576,
      serverStartMs: 2_000,
      groupStartMs: 4_000,
    },
  });
  assertEquals(targets.map(({ isReached }) => isReached), [
    true,
    true,
    undefined,
    true,
    false,
    true,
    true,
  ]);
});

Deno.test("report: a smaller history says nothing of the target", () => {
  const history = {
    messages: 999_999,
    residentBytes: 1,
    peakBytes: 1,
    serverStartMs: 1,
    groupStartMs: 1,
  };
  const targets = targetsOf({ sections: [], failovers: [], history });
  assertEquals(targets.every((one) => one.isReached === undefined), true);
});
