/** Contract of what the bench makes of its figures. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { ratioOf, type Run, summaryOf } from "./figures.ts";
import { describeRuns } from "./report.ts";

function run(ms: number, writtenMs?: number): Run {
  return { firstLineMs: ms, memberMs: ms, allMs: ms, goneMs: ms, writtenMs };
}

const skein = [run(10, 1), run(20, 5), undefined, run(90, 3)];
const serf = [run(40), undefined, run(5), run(30)];
const goneOf = ({ goneMs }: Run) => goneMs;
const writtenOf = ({ writtenMs }: Run) => writtenMs;

Deno.test("figures: a run that failed counts for nothing", () => {
  assertEquals(summaryOf(skein, goneOf), { median: 20, min: 10, max: 90 });
  assertEquals(summaryOf(serf, writtenOf), undefined);
});

Deno.test("figures: ratios are taken within a round, where both have a figure", () => {
  assertEquals(ratioOf(skein, serf, goneOf), (0.25 + 3) / 2);
  assertEquals(ratioOf(skein, serf, writtenOf), undefined);
  assertEquals(ratioOf(skein, [], goneOf), undefined);
});

Deno.test("report: a table has each figure of both, how many runs it is of, and the ratio", () => {
  const [head, ...rows] = describeRuns(
    { system: "Skein", runs: skein },
    { system: "serf", runs: serf },
  );
  assertStringIncludes(head, "x serf");
  const cells = rows.map((row) => row.split(/ {2,}/).slice(1));
  assertEquals(cells.at(-2), ["20", "90", "3", "30", "40", "3", "1.63"]);
  assertEquals(cells.at(-1), ["3", "5", "3", "-", "-", "0", "-"]);
});

Deno.test("report: alone, a system is compared with nobody", () => {
  const [head] = describeRuns({ system: "Skein", runs: skein });
  assertEquals(head.split(/ {2,}/), ["ms", "Skein, median", "worst", "runs"]);
});
