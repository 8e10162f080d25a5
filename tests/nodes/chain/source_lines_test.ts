import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import {
  type InputBudget,
  type Intake,
  Source,
} from "../../../nodes/chain/source.ts";
import { DATA_HEADER_BYTES, type DataHead } from "../../../protocol/chain.ts";
import { FRAME_BYTES_MAX, LINE_BYTES_MAX } from "../../../protocol/limits.ts";
import { countLines } from "../../../protocol/lines.ts";
import {
  bytesOf,
  cutAt,
  everyByte,
  joined,
  places,
  sameBytes,
  textOf,
} from "../../protocol/splits.ts";

const CLIENT = 77n;

/** What a source has handed on, checked as it comes. */
class Taken implements Intake {
  readonly texts: Uint8Array[] = [];
  messages = 0;
  refused = 0;
  #offset = 0;

  takeFrames(): void {
    throw new Error("plain text has no frames");
  }

  takeLines(_source: Source, head: DataHead, text: Uint8Array): void {
    assertEquals(head, {
      client: CLIENT,
      offset: this.#offset,
      messages: countLines(text),
      base: this.#offset === 0,
      pipelined: head.pipelined,
    });
    assertLessOrEqual(text.length, FRAME_BYTES_MAX - DATA_HEADER_BYTES);
    this.#offset += text.length;
    this.messages += head.messages;
    this.texts.push(text.slice());
  }

  refuseLine(): void {
    this.refused += 1;
  }

  get text(): Uint8Array {
    return joined(this.texts);
  }
}

function linesSource(
  options: { bytes?: Uint8Array; budget?: InputBudget; ackLines?: boolean } =
    {},
): Source {
  return new Source({
    link: 1,
    from: "lines",
    label: "127.0.0.1:5000",
    client: CLIENT,
    bytes: options.bytes ?? new Uint8Array(0),
    budget: options.budget ?? { bytes: 0, bytesMax: 16_777_216 },
    ackLines: options.ackLines ?? true,
  });
}

/** Gives a source what arrives, in reads no larger than it asks for. */
function feed(
  source: Source,
  intake: Intake,
  pieces: readonly Uint8Array[],
): void {
  for (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const into = source.readInto();
      const bytes = piece.subarray(at, at + into.length);
      into.set(bytes);
      source.take(bytes.length, intake, 0);
      at += bytes.length;
    }
  }
}

/** All that it answers once the tail has delivered everything. */
function answersOf(source: Source): string {
  source.acknowledge(source.received);
  let text = "";
  for (let bytes = source.nextWrite(); bytes; bytes = source.nextWrite()) {
    text += textOf(bytes);
  }
  return text;
}

/** Answers without the words that depend on how the text was cut. */
function codesOf(answers: string): string[] {
  return answers.split("\n").filter((line) => line !== "").map((line) =>
    line.split(" ").slice(0, 3).join(" ")
  ).sort();
}

/** What must come of these lines, told line by line. */
function expected(lines: readonly Uint8Array[]) {
  const good: Uint8Array[] = [];
  const answers: string[] = [];
  for (const [index, line] of lines.entries()) {
    const number = index + 1;
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(line);
    const isUtf8 = sameBytes(bytesOf(text), line);
    const code = line.length > LINE_BYTES_MAX
      ? "too-large"
      : !isUtf8
      ? "invalid-utf8"
      : line.includes(0)
      ? "nul-byte"
      : undefined;
    if (code !== undefined) {
      answers.push(`error ${number} ${code}`);
      continue;
    }
    answers.push(`ok ${number}`);
    good.push(line, Uint8Array.of(10));
  }
  return { text: joined(good), answers: answers.sort() };
}

const line: fc.Arbitrary<Uint8Array> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.string({ unit: "grapheme" }).map((text) =>
      bytesOf(text.replaceAll("\n", "").replaceAll("\0", ""))
    ),
  },
  {
    weight: 2,
    arbitrary: fc.uint8Array({ maxLength: 12 }).map((bytes) =>
      bytes.filter((byte) => byte !== 10)
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom("", "\0", "a\0b").map(bytesOf) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[5_000, 65_535, 65_536, 65_537, 70_000, 140_000, 300_000],
    ).map((length) => new Uint8Array(length).fill(97)),
  },
);

function joinLines(lines: readonly Uint8Array[]): Uint8Array {
  return joined(lines.flatMap((line) => [line, Uint8Array.of(10)]));
}

function assertTaken(
  lines: readonly Uint8Array[],
  pieces: readonly Uint8Array[],
): void {
  const wanted = expected(lines);
  const source = linesSource();
  const taken = new Taken();
  feed(source, taken, pieces);
  source.end(taken);
  assert(sameBytes(taken.text, wanted.text), "other text was taken");
  assertEquals(codesOf(answersOf(source)), wanted.answers);
  assertEquals(source.isDone, true);
  assertEquals(taken.refused + taken.messages, lines.length);
}

Deno.test("source: plain text gives the same messages and answers, however it is cut", () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 30 }), places, (lines, cuts) => {
      const bytes = joinLines(lines);
      assertTaken(lines, [bytes]);
      assertTaken(lines, cutAt(bytes, cuts));
    }),
    { numRuns: 300 },
  );
});

Deno.test("source: plain text byte by byte gives the same messages and answers", () => {
  const short = line.filter((line) => line.length < 6_000);
  fc.assert(
    fc.property(fc.array(short, { maxLength: 6 }), (lines) => {
      assertTaken(lines, everyByte(joinLines(lines)));
    }),
    { numRuns: 40 },
  );
  const long = new Uint8Array(LINE_BYTES_MAX + 1).fill(97);
  const lines = [bytesOf("a"), long, bytesOf("b"), long.subarray(1)];
  const bytes = joinLines(lines);
  // What decides is where the bound of the long line is crossed.
  const [start, end] = [LINE_BYTES_MAX - 10, LINE_BYTES_MAX + 20];
  assertTaken(lines, [
    bytes.subarray(0, start),
    ...everyByte(bytes.subarray(start, end)),
    bytes.subarray(end),
  ]);
});

Deno.test("source: a last line needs no newline", () => {
  const source = linesSource();
  const taken = new Taken();
  feed(source, taken, [bytesOf("one\ntwo")]);
  assertEquals(textOf(taken.text), "one\n");
  source.end(taken);
  assertEquals(textOf(taken.text), "one\ntwo\n");
  assertEquals(answersOf(source), "ok 1\nok 2\n");
});

Deno.test("source: an end after a newline, or after nothing, adds no message", () => {
  for (const text of ["", "one\n"]) {
    const source = linesSource();
    const taken = new Taken();
    feed(source, taken, [bytesOf(text)]);
    source.end(taken);
    assertEquals(textOf(taken.text), text);
  }
});

Deno.test("source: a last line that is refused is answered too", () => {
  const source = linesSource();
  const taken = new Taken();
  feed(source, taken, [Uint8Array.of(97, 10, 0xff)]);
  source.end(taken);
  assertEquals(codesOf(answersOf(source)), ["error 2 invalid-utf8", "ok 1"]);
});

Deno.test("source: a line that never ends is refused once, and the next is taken", () => {
  const source = linesSource();
  const taken = new Taken();
  const long = new Uint8Array(1_000_000).fill(97);
  feed(source, taken, [bytesOf("a\n"), long, long, bytesOf("\nb\n")]);
  assertEquals(textOf(taken.text), "a\nb\n");
  const answers = answersOf(source);
  assertEquals(codesOf(answers), ["error 2 too-large", "ok 1", "ok 3"]);
  assert(/limit is 65536\n/.test(answers), answers);
});

Deno.test("source: a line that never ends is not a message at the end either", () => {
  const source = linesSource();
  const taken = new Taken();
  feed(source, taken, [new Uint8Array(200_000).fill(97)]);
  source.end(taken);
  assertEquals(taken.messages, 0);
  assertEquals(codesOf(answersOf(source)), ["error 1 too-large"]);
});

/** A source whose buffer has grown to the largest there is, and is empty. */
function grown(taken: Taken): Source {
  const source = linesSource();
  for (let i = 0; i < 10; i++) {
    const into = source.readInto();
    if (into.length === FRAME_BYTES_MAX) return source;
    into.fill(10);
    source.take(into.length, taken, 0);
  }
  throw new Error("it does not grow");
}

Deno.test("source: one line that fills the largest read is refused, whatever it ends with", () => {
  for (let short = 0; short <= 40; short++) {
    const taken = new Taken();
    const source = grown(taken);
    const before = taken.messages;
    const into = source.readInto();
    into.fill(97);
    // Its newline, and then lines of one newline each.
    into.fill(10, into.length - 1 - short);
    source.take(into.length, taken, 0);
    assertEquals([taken.refused, taken.messages], [1, before + short]);
  }
});

Deno.test("source: a full read of good lines is taken, in frames that fit", () => {
  const taken = new Taken();
  const source = grown(taken);
  const before = taken.messages;
  const into = source.readInto();
  into.fill(97);
  for (let at = 63; at < into.length; at += 64) into[at] = 10;
  source.take(into.length, taken, 0);
  assertEquals([taken.refused, taken.messages - before], [0, 4_096]);
});

Deno.test("source: lines without answers are still told what was refused", () => {
  const source = linesSource({ ackLines: false });
  const taken = new Taken();
  feed(source, taken, [Uint8Array.of(97, 10, 0xff, 10, 98, 10)]);
  assertEquals(codesOf(answersOf(source)), ["error 2 invalid-utf8"]);
});

Deno.test("source: a line is answered once the tail has it, and not before", () => {
  const source = linesSource();
  const taken = new Taken();
  feed(source, taken, [bytesOf("one\n"), bytesOf("two\nthree\n")]);
  assertEquals(source.nextWrite(), undefined);
  source.acknowledge(4);
  assertEquals(textOf(source.nextWrite() ?? new Uint8Array(0)), "ok 1\n");
  source.acknowledge(13);
  assertEquals(source.nextWrite(), undefined);
  source.acknowledge(14);
  assertEquals(
    textOf(source.nextWrite() ?? new Uint8Array(0)),
    "ok 2\nok 3\n",
  );
  assertEquals(source.nextWrite(), undefined);
});

Deno.test("source: no answer while another is being written", () => {
  const source = linesSource();
  feed(source, new Taken(), [bytesOf("one\n")]);
  source.acknowledge(4);
  source.isWriting = true;
  assertEquals(source.nextWrite(), undefined);
  source.isWriting = false;
  assertEquals(source.nextWrite()?.length, 5);
});

Deno.test("source: answers come in writes of a bounded size", () => {
  const source = linesSource();
  feed(source, new Taken(), [new Uint8Array(100_000).fill(10)]);
  source.acknowledge(source.received);
  let lines = 0;
  for (let bytes = source.nextWrite(); bytes; bytes = source.nextWrite()) {
    assertLessOrEqual(bytes.length, 32_768);
    for (const line of textOf(bytes).trimEnd().split("\n")) {
      assertEquals(line, `ok ${lines += 1}`);
    }
  }
  assertEquals(lines, 100_000);
});

Deno.test("source: who reads no refusals is read no more, and is told of the rest at once", () => {
  const source = linesSource();
  const taken = new Taken();
  const bad = new Uint8Array(4_096);
  for (let at = 0; at < bad.length; at += 2) bad.set([0xff, 10], at);
  let reads = 0;
  source.isWriting = true; // Nobody reads what is being written.
  while (source.takesMore) {
    feed(source, taken, [bad]);
    assert((reads += 1) < 1_000, "it is read for ever");
  }
  source.isWriting = false;
  const answers = answersOf(source);
  assertLessOrEqual(answers.length, 200_000);
  assert(/\d+ more lines were refused than answers fit/.test(answers));
  assertEquals(source.takesMore, true);
});

Deno.test("source: who reads no acknowledgements is read no more", () => {
  const source = linesSource();
  const taken = new Taken();
  feed(source, taken, [bytesOf("first\n")]);
  source.acknowledge(source.received);
  assert(source.nextWrite() !== undefined);
  source.isWriting = true; // And so it stays: the client does not read.
  let lines = 1;
  while (source.takesMore) {
    feed(source, taken, [bytesOf("x\n")]);
    source.acknowledge(source.received);
    assert((lines += 1) < 100_000, "it is read for ever");
  }
  // Once it reads, it is answered in full, and read again.
  source.isWriting = false;
  const answers = answersOf(source).trimEnd().split("\n");
  assertEquals(answers.length, lines - 1);
  assertEquals(answers.at(-1), `ok ${lines}`);
  assertEquals(source.takesMore, true);
});

Deno.test("source: a block with one bad line costs few frames", () => {
  const source = linesSource();
  const taken = new Taken();
  const lines = new Uint8Array(200_000);
  for (let at = 0; at < lines.length; at += 2) lines.set([97, 10], at);
  lines[99_998] = 0xff;
  feed(source, taken, [lines]);
  assertEquals([taken.messages, taken.refused], [99_999, 1]);
  assertLessOrEqual(taken.texts.length, 60);
});
