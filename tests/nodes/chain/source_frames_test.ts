import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  INPUT_BYTES_MIN,
  type InputBudget,
  type Intake,
  Source,
  type SourceKind,
} from "../../../nodes/chain/source.ts";
import {
  DATA_HEADER_BYTES,
  type DataHead,
  encodeAck,
  encodeRoute,
  writeDataHead,
} from "../../../protocol/chain.ts";
import { WireError } from "../../../protocol/errors.ts";
import { encodeFrame, FRAME } from "../../../protocol/frame.ts";
import { encodeError, PeerError } from "../../../protocol/handshake.ts";
import { FRAME_BYTES_MAX } from "../../../protocol/limits.ts";
import { countLines } from "../../../protocol/lines.ts";
import {
  anyBytes,
  bytesOf,
  cutAt,
  everyByte,
  joined,
  places,
  sameBytes,
} from "../../protocol/splits.ts";

const CLIENT = 77n;
const NO_BYTES = new Uint8Array(0);
const BUDGET_BYTES = 16_777_216;

/** What a source has handed on. */
class Taken implements Intake {
  readonly runs: Uint8Array[] = [];
  messages = 0;

  takeFrames(_source: Source, frames: Uint8Array, messages: number): void {
    this.runs.push(frames.slice());
    this.messages += messages;
  }

  takeLines(): void {
    throw new Error("frames are not lines");
  }

  refuseLine(): void {
    throw new Error("frames are refused with their link");
  }

  get frames(): Uint8Array {
    return joined(this.runs);
  }
}

function framedSource(
  from: SourceKind,
  options: { bytes?: Uint8Array; budget?: InputBudget } = {},
): Source {
  return new Source({
    link: 1,
    from,
    label: "peer",
    client: from === "node" ? undefined : CLIENT,
    bytes: options.bytes ?? NO_BYTES,
    budget: options.budget ?? { bytes: 0, bytesMax: BUDGET_BYTES },
    ackLines: true,
  });
}

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

/** A `data` frame; by default as this client would send it. */
function data(
  text: string,
  changes: Partial<DataHead> = {},
): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(text);
  const frame = new Uint8Array(DATA_HEADER_BYTES + bytes.length);
  const messages = changes.messages ?? (text.match(/\n/g) ?? []).length;
  writeDataHead(frame, {
    client: CLIENT,
    offset: 0,
    base: false,
    pipelined: false,
    ...changes,
    messages,
    textBytes: bytes.length,
  });
  frame.set(bytes, DATA_HEADER_BYTES);
  return frame;
}

/** Frames as one client sends them: the first with the base flag, no gaps. */
function stream(texts: readonly string[]): Uint8Array {
  let offset = 0;
  return joined(texts.map((text, index) => {
    const frame = data(text, { offset, base: index === 0 });
    offset += bytesOf(text).length;
    return frame;
  }));
}

const texts: fc.Arbitrary<string[]> = fc.array(
  fc.array(
    fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.constant("x".repeat(9_000)),
    ),
    { minLength: 1, maxLength: 5 },
  ).map((lines) =>
    lines.map((line) => `${line.replaceAll(/[\0\n]/g, "")}\n`).join("")
  ),
  { maxLength: 6 },
);

for (const from of ["client", "node"] as const) {
  Deno.test(`source: frames of a ${from} come through unchanged, however they are cut`, () => {
    const frames = fc.tuple(texts, places);
    fc.assert(
      fc.property(frames, ([texts, cuts]) => {
        const bytes = stream(texts);
        for (const pieces of [[bytes], cutAt(bytes, cuts)]) {
          const source = framedSource(from);
          const taken = new Taken();
          feed(source, taken, pieces);
          assert(sameBytes(taken.frames, bytes), "the frames have changed");
          assertEquals(source.received, bytes.length);
          const text = texts.join("");
          const messages = text === "" ? 0 : countLines(bytesOf(text));
          assertEquals(taken.messages, messages);
        }
      }),
      { numRuns: 200 },
    );
  });

  Deno.test(`source: frames of a ${from} come through byte by byte`, () => {
    const bytes = stream(["a\n", "b\nc\n", `${"x".repeat(2_000)}\n`]);
    const source = framedSource(from);
    const taken = new Taken();
    feed(source, taken, everyByte(bytes));
    assert(sameBytes(taken.frames, bytes));
    assertEquals([taken.runs.length, taken.messages], [3, 4]);
  });

  Deno.test(`source: a beat of a ${from} is no message`, () => {
    const beat = encodeFrame(FRAME.beat);
    const first = data("a\n", { base: true });
    const second = data("b\n", { offset: 2 });
    const source = framedSource(from);
    const taken = new Taken();
    feed(source, taken, [joined([beat, first, beat, second, beat])]);
    assert(sameBytes(taken.frames, joined([first, second])));
    assertEquals(source.received, first.length + second.length);
  });

  Deno.test(`source: random bytes of a ${from} are frames, or a WireError`, () => {
    const frame = fc.tuple(
      fc.constantFrom(...Object.values(FRAME), 99),
      anyBytes(60),
    ).map(([kind, payload]) => encodeFrame(kind, payload));
    const noise = fc.oneof(anyBytes(200), fc.array(frame).map(joined));
    fc.assert(
      fc.property(noise, places, (bytes, cuts) => {
        try {
          feed(framedSource(from), new Taken(), cutAt(bytes, cuts));
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });

  Deno.test(`source: a ${from} sends data and nothing else`, () => {
    for (const kind of [FRAME.hello, FRAME.chainAck, FRAME.chainRoute, 99]) {
      const source = framedSource(from);
      const error = assertThrows(
        () => feed(source, new Taken(), [encodeFrame(kind)]),
        WireError,
        `kind ${kind} from a ${from}`,
      );
      assertEquals(error.code, "invalid-message");
    }
  });

  Deno.test(`source: the farewell of a ${from} is its own word, after what came before it`, () => {
    const first = data("a\n", { base: true });
    const bye = encodeError(new WireError("shutting-down", "n1 is stopping"));
    const taken = new Taken();
    const error = assertThrows(
      () => feed(framedSource(from), taken, [joined([first, bye, first])]),
      PeerError,
      "n1 is stopping",
    );
    assertEquals(error.code, "shutting-down");
    assert(sameBytes(taken.frames, first));
  });
}

Deno.test("source: a node's frames are told apart by nobody but their lengths", () => {
  // What one client must not do is what a node does all the time.
  const frames = joined([
    data("a\n", { client: 1n, offset: 500 }),
    data("b\n", { client: 2n, base: true }),
    data("c\n", { client: 1n, offset: 100 }),
  ]);
  const taken = new Taken();
  feed(framedSource("node"), taken, [frames]);
  assert(sameBytes(taken.frames, frames));
});

Deno.test("source: data that does not end with a newline is refused, from a node too", () => {
  for (const from of ["node", "client"] as const) {
    const source = framedSource(from);
    const frame = data("a\nb", { base: true, messages: 1 });
    const error = assertThrows(
      () => feed(source, new Taken(), [frame]),
      WireError,
      "does not end with a newline",
    );
    assertEquals(error.code, "invalid-message");
  }
});

const MISTAKES: Record<string, [string, readonly Uint8Array[], string]> = {
  "the id of another client": [
    "invalid-message",
    [data("a\n", { client: CLIENT + 1n, base: true })],
    "id of another client",
  ],
  "an offset that leaves a gap": [
    "invalid-message",
    [data("a\n", { base: true }), data("b\n", { offset: 3 })],
    "offset is 3, wanted 2",
  ],
  "an offset that goes back": [
    "invalid-message",
    [data("abc\n", { base: true }), data("b\n", { offset: 2 })],
    "offset is 2, wanted 4",
  ],
  "no base flag on its first frame": [
    "invalid-message",
    [data("a\n")],
    "offset is 0, wanted 0",
  ],
  "a base flag on a later frame": [
    "invalid-message",
    [data("a\n", { base: true }), data("b\n", { offset: 2, base: true })],
    "offset is 2",
  ],
  "a wrong count": [
    "invalid-message",
    [data("a\nb\n", { base: true, messages: 3 })],
    "holds 2 messages and says 3",
  ],
  "no text": [
    "invalid-message",
    [data("", { base: true, messages: 0 })],
    "at least 27 are needed",
  ],
  "a NUL byte": ["nul-byte", [data("a\0\n", { base: true })], "NUL"],
  "a line above the bound": [
    "too-large",
    [data(`${"x".repeat(65_537)}\n`, { base: true })],
    "65537",
  ],
};

for (const [name, [code, frames, words]] of Object.entries(MISTAKES)) {
  Deno.test(`source: a client with ${name} is refused, and what came before it stays`, () => {
    const source = framedSource("client");
    const taken = new Taken();
    const error = assertThrows(
      () => feed(source, taken, [joined(frames)]),
      WireError,
    );
    assertEquals(error.code, code);
    assertStringIncludes(error.message, words);
    const good = joined(frames.slice(0, -1));
    assertEquals(source.received, 0); // One read: refused before it is handed on.
    assertEquals(taken.runs, []);
    const again = framedSource("client");
    assertThrows(() => feed(again, taken, frames), WireError);
    assert(sameBytes(taken.frames, good));
  });
}

Deno.test("source: a client's text is checked as lines are", () => {
  const frame = data("aa\n", { base: true });
  frame[frame.length - 2] = 0xff;
  const error = assertThrows(
    () => feed(framedSource("client"), new Taken(), [frame]),
    WireError,
  );
  assertEquals(error.code, "invalid-utf8");
});

Deno.test("source: a client may go on from any offset on a new link", () => {
  const taken = new Taken();
  const first = data("a\n", { offset: 4_000_000_000_000, base: true });
  const second = data("b\n", { offset: 4_000_000_000_002 });
  feed(framedSource("client"), taken, [first, second]);
  assertEquals(taken.messages, 2);
});

Deno.test("source: a frame above the bound is refused by both numbers, a full one passes", () => {
  const full = `${"x".repeat(59)}\n`.repeat(4_368); // 262,080 bytes
  const pad = FRAME_BYTES_MAX - DATA_HEADER_BYTES - full.length;
  const largest = data(`${full}${"y".repeat(pad - 1)}\n`, { base: true });
  assertEquals(largest.length, FRAME_BYTES_MAX);
  for (const from of ["node", "client"] as const) {
    const taken = new Taken();
    feed(framedSource(from), taken, [largest]);
    assertEquals(taken.messages, 4_369);
    const above = data(`${full}${"y".repeat(pad)}\n`, { base: true });
    const error = assertThrows(
      () => feed(framedSource(from), new Taken(), [above]),
      WireError,
      "262145 bytes, limit is 262144",
    );
    assertEquals(error.code, "too-large");
  }
});

Deno.test("source: an ack says how far the tail has come, once", () => {
  for (const from of ["node", "client"] as const) {
    const source = framedSource(from);
    const frame = data("a\n", { base: true });
    feed(source, new Taken(), [frame]);
    assertEquals(source.nextWrite(), undefined);
    source.acknowledge(frame.length);
    assertEquals(source.nextWrite(), encodeAck(frame.length));
    assertEquals(source.nextWrite(), undefined);
    source.acknowledge(3); // An older one changes nothing.
    assertEquals(source.nextWrite(), undefined);
    assertEquals(source.isDone, false);
    source.end(new Taken());
    assertEquals(source.isDone, true);
  }
});

Deno.test("source: a route goes before acks, and the newest only", () => {
  const source = framedSource("node");
  const frame = data("a\n");
  feed(source, new Taken(), [frame]);
  source.acknowledge(frame.length);
  const route = encodeRoute({
    nodes: [{ id: "n2", incarnation: "0".repeat(16) }],
    complete: true,
  });
  source.pendingRoute = encodeRoute({ nodes: [], complete: false });
  source.pendingRoute = route;
  assertEquals(source.nextWrite(), route);
  assertEquals(source.nextWrite(), encodeAck(frame.length));
  assertEquals(source.nextWrite(), undefined);
});

Deno.test("source: bytes that came with the handshake are its first", () => {
  const bytes = stream(["a\n", "b\n"]);
  const source = framedSource("client", { bytes: bytes.subarray(0, 40) });
  const taken = new Taken();
  source.take(0, taken, 0);
  feed(source, taken, [bytes.subarray(40)]);
  assert(sameBytes(taken.frames, bytes));
});

Deno.test("source: half a message is timed from where it began", () => {
  const frame = data("a\n", { base: true });
  const source = framedSource("client");
  const taken = new Taken();
  const take = (bytes: Uint8Array, nowMs: number) => {
    source.readInto().set(bytes);
    source.take(bytes.length, taken, nowMs);
    return source.partialSinceMs;
  };
  assertEquals(take(frame.subarray(0, 10), 1_000), 1_000);
  assertEquals(take(frame.subarray(10, 20), 2_000), 1_000);
  assertEquals(take(frame.subarray(20), 3_000), undefined);
  const second = data("b\n", { offset: 2 });
  assertEquals(take(joined([second, second.subarray(0, 9)]), 4_000), 4_000);
});

// Memory

Deno.test("source: an idle connection costs little, a busy one is read in large pieces", () => {
  const budget = { bytes: 0, bytesMax: BUDGET_BYTES };
  const source = framedSource("client", { budget });
  assertEquals(budget.bytes, INPUT_BYTES_MIN);
  const taken = new Taken();
  feed(source, taken, [stream(Array(20).fill(`${"x".repeat(60_000)}\n`))]);
  assertEquals(budget.bytes, FRAME_BYTES_MAX);
  let offset = 20 * 60_001;
  for (let i = 0; i < 20; i++) {
    feed(source, taken, [data("x\n", { offset })]);
    offset += 2;
  }
  assertEquals(budget.bytes, INPUT_BYTES_MIN);
  assertEquals(taken.messages, 40);
  source.dispose();
  assertEquals(budget.bytes, 0);
});

Deno.test("source: beyond the budget buffers stay small, and messages still pass", () => {
  const budget = { bytes: 0, bytesMax: 10_000 };
  const source = framedSource("client", { budget });
  const taken = new Taken();
  const frames: string[] = Array(200).fill(`${"x".repeat(300)}\n`);
  feed(source, taken, [stream(frames)]);
  assertEquals(taken.messages, 200);
  assertLessOrEqual(budget.bytes, 10_000);
});

Deno.test("source: a message for which there is no memory is refused as busy", () => {
  const budget = { bytes: 12_000, bytesMax: 20_000 };
  const source = framedSource("client", { budget });
  const error = assertThrows(
    () => feed(source, new Taken(), [stream([`${"x".repeat(9_000)}\n`])]),
    WireError,
    "connections use 16096 bytes, limit is 20000",
  );
  assertEquals([error.code, error.outcome], ["busy", "definite"]);
  assert(!(error instanceof PeerError));
  assertInstanceOf(error, WireError);
  source.dispose();
  assertEquals(budget.bytes, 12_000);
});

Deno.test("source: a long line for which there is no memory is refused as busy", () => {
  const budget = { bytes: 12_000, bytesMax: 20_000 };
  const source = new Source({
    link: 1,
    from: "lines",
    label: "peer",
    client: CLIENT,
    bytes: NO_BYTES,
    budget,
    ackLines: true,
  });
  const error = assertThrows(
    () => feed(source, new Taken(), [new Uint8Array(9_000).fill(97)]),
    WireError,
  );
  assertEquals(error.code, "busy");
});

Deno.test("source: the budget holds whatever comes and goes", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 60_000 }), { maxLength: 8 });
  const clients = fc.array(sizes, { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(clients, (clients) => {
      const budget = { bytes: 0, bytesMax: 300_000 };
      const sources = clients.map(() => framedSource("client", { budget }));
      for (const [index, source] of sources.entries()) {
        try {
          const texts = clients[index].map((size) => `${"x".repeat(size)}\n`);
          feed(source, new Taken(), [stream(texts)]);
        } catch (error) {
          assertInstanceOf(error, WireError);
          assertEquals(error.code, "busy");
        }
        assertLessOrEqual(budget.bytes, budget.bytesMax);
      }
      for (const source of sources) source.dispose();
      assertEquals(budget.bytes, 0);
    }),
  );
});
