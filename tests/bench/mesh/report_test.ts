/** Contract of what the bench makes of its figures. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  type FanOutResult,
  ratioOf,
  type Row,
  type Section,
} from "./figures.ts";
import { describeSection, describeTargets, targetsOf } from "./report.ts";
import type { SharedLogFigures } from "./shared_log.ts";

function row(system: string, rates: readonly number[]): Row {
  const results = rates.map((rate): FanOutResult => ({
    seconds: 2,
    delivered: rate * 2,
    published: rate / 50,
    p50Us: 1_000,
    p99Us: 25_000,
    maxUs: 30_000,
    samples: 1_000,
    serverSeconds: 1.5,
    loadSeconds: 0.5,
    memoryBytes: 10 * 1_048_576,
    openMs: 12,
  }));
  return { system, results };
}

const sharedLog: SharedLogFigures = {
  rows: [
    { name: "Skein", linesPerSecond: [400, 500, 700] },
    { name: "flock per line, C", linesPerSecond: [100, 100, 100] },
  ],
  logged: undefined,
  unlogged: undefined,
  problems: [],
};

const section: Section = {
  subscribers: 100,
  rows: [
    row("ngircd", [100_000, 200_000, 300_000]),
    row("NATS core", [500_000, 500_000, 500_000]),
    row("Skein", [900_000, 2_200_000, 3_300_000]),
  ],
};

Deno.test("figures: ratios are taken within a round", () => {
  const [ngircd, , skein] = section.rows;
  assertEquals(ratioOf(skein, ngircd), { median: 11, min: 9, max: 11 });
  assertEquals(ratioOf(row("a", [1]), row("b", [1, 2])), undefined);
  assertEquals(ratioOf(row("a", [1]), undefined), undefined);
});

Deno.test("report: a table names every row, also beside one that is left out", () => {
  const lines = describeSection(section);
  assertEquals(lines.length, 2 + 1 + 3);
  assertEquals(lines[0], "One publisher to 100 clients");
  const cells = lines[5].split(/\s{2,}/);
  assertEquals(cells, [
    "Skein",
    "2.20 M",
    "0.900 M–3.30 M",
    "1.00",
    "25.0",
    "11.0",
    "-",
    "4.40",
    "341",
    "0.75",
    "0.25",
    "10",
  ]);
});

Deno.test("report: targets are reached, missed or not measured", () => {
  const reached = (sections: readonly Section[]) =>
    targetsOf({ sections, sharedLog }).map(({ isReached }) => isReached);
  assertEquals(reached([section]), [true, true, true]);
  const slow = {
    ...section,
    rows: [...section.rows.slice(0, 2), row("Skein", [1, 1, 1])],
  };
  assertEquals(reached([slow]), [false, false, true]);
  assertEquals(reached([{ ...section, subscribers: 1_000 }]), [
    undefined,
    undefined,
    true,
  ]);
  const text = describeTargets(targetsOf({ sections: [section], sharedLog }))
    .join("\n");
  assertStringIncludes(text, "at least 2 x NATS core");
  assertStringIncludes(text, "4.40 x");
});
