/** Lines are the same whether they are numbered as they are written or later. */

import { assertEquals } from "@std/assert";
import { LogBatch } from "../../storage/shared_log_batch.ts";

const BYTES_MAX = 600;
const LINE_BYTES_MAX = 2_000;

function line(text: string): string {
  return `,"text":${JSON.stringify(text)}}\n`;
}

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

function numbered(rests: readonly string[], firstSeq: number): string {
  return rests.map((rest, at) => `{"seq":${firstSeq + at}${rest}`).join("");
}

for (
  const [name, rests] of [
    ["ASCII", ["a", "", "longer", "x"].map(line)],
    ["other characters", ["ä", "日本語", "🙂", "plain"].map(line)],
  ] as const
) {
  Deno.test(`log batch: ${name}: lines get the numbers that they have at last`, () => {
    const batch = new LogBatch(BYTES_MAX, LINE_BYTES_MAX);
    for (
      const [guess, seq] of [[1, 1], [10, 96], [123_456, 999_996], [95, 11]]
    ) {
      batch.fill(rests, { first: 0, firstSeq: guess });
      assertEquals(batch.lines, 4);
      assertEquals(text(batch.number(seq)), numbered(rests, seq));
      // The lock was lost, and got again: others have written meanwhile.
      assertEquals(text(batch.number(seq)), numbered(rests, seq));
    }
  });
}

Deno.test("log batch: numbers of more digits than expected are refused, also within the batch", () => {
  const batch = new LogBatch(BYTES_MAX, LINE_BYTES_MAX);
  const rests = ["a", "b", "c"].map(line);
  batch.fill(rests, { first: 0, firstSeq: 5 });
  assertEquals(batch.number(10), undefined);
  assertEquals(batch.number(8), undefined);
  assertEquals(text(batch.number(7)), numbered(rests, 7));
});

Deno.test("log batch: it ends where numbers get a digit more", () => {
  const batch = new LogBatch(BYTES_MAX, LINE_BYTES_MAX);
  const rests = ["a", "b", "c", "d"].map(line);
  batch.fill(rests, { first: 1, firstSeq: 98 });
  assertEquals([batch.lines, batch.isFull], [2, true]);
  assertEquals(text(batch.number(98)), numbered(rests.slice(1, 3), 98));
});

Deno.test("log batch: one line fits whatever its length, several up to the bound", () => {
  const batch = new LogBatch(BYTES_MAX, LINE_BYTES_MAX);
  const long = line("é".repeat(900));
  batch.fill([long, line("a")], { first: 0, firstSeq: 1 });
  assertEquals([batch.lines, batch.isFull], [1, true]);
  assertEquals(text(batch.number(1)), numbered([long], 1));
  const short = Array.from({ length: 100 }, () => line("é"));
  batch.fill(short, { first: 0, firstSeq: 1_000 });
  const bytes = batch.number(1_000)?.length ?? 0;
  assertEquals(batch.isFull, true);
  assertEquals([bytes > 0, bytes <= BYTES_MAX], [true, true]);
});
