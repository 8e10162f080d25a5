/** Text to send: no two lines alike, so that a lost, repeated or moved one shows. */

import { LINE_BYTES_MAX } from "../../protocol/limits.ts";
import { Random } from "../sim/random.ts";

const WORDS = [
  ..."a bb ccc dddd eeeee ffffff ggggggg".split(" "),
  ..."äöü ß naïve Ελλάδα привет 日本語 안녕 שלום 😀 👩‍👩‍👧‍👦 z̈ \t".split(" "),
];

const SENTENCES = 512;
const SENTENCE_WORDS_MAX = 60;

/** A text and how many lines it has. */
export interface NumberedText {
  readonly bytes: Uint8Array;
  readonly lineCount: number;
}

/**
 * Lines of 0 to {@linkcode LINE_BYTES_MAX} bytes in UTF-8, each but the empty
 * ones with its number; the last one ends with a newline.
 *
 * @param options `bytesMin`: the text has so many bytes, and at most one line more.
 */
export function numberedText(
  options: { readonly bytesMin: number; readonly seed: number },
): NumberedText {
  const random = new Random(options.seed);
  const sentences = Array.from({ length: SENTENCES }, () => {
    const count = random.int(SENTENCE_WORDS_MAX);
    return Array.from({ length: count }, () => random.pick(WORDS)).join(" ");
  });
  const all = new Uint8Array(options.bytesMin + LINE_BYTES_MAX + 1);
  const encoder = new TextEncoder();
  let length = 0;
  let lineCount = 0;
  while (length < options.bytesMin) {
    lineCount += 1;
    const line = lineOf(lineCount, { random, sentences });
    const { written } = encoder.encodeInto(line, all.subarray(length));
    length += written;
    all[length++] = 10;
  }
  return { bytes: all.slice(0, length), lineCount };
}

function lineOf(
  number: number,
  from: { readonly random: Random; readonly sentences: readonly string[] },
): string {
  const { random, sentences } = from;
  if (number === 1_000) return `${number} `.padEnd(LINE_BYTES_MAX, "x");
  const dice = random.int(1_000);
  if (dice < 10) return "";
  if (dice < 20) return `${number}\r`;
  const count = dice === 999 ? 40 : dice === 998 ? 8 : 1;
  const parts = Array.from({ length: count }, () => random.pick(sentences));
  return `${number} ${parts.join(" ")}`;
}
