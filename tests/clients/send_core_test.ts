import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertStringIncludes,
} from "@std/assert";
import fc from "fast-check";
import {
  SEND_TEXT_BYTES_MAX,
  SendCore,
  type SendEffect,
  type SendInput,
} from "../../clients/send_core.ts";
import {
  DATA_HEADER_BYTES,
  type DataHead,
  encodeAck,
  encodeRoute,
  readDataHead,
  type Route,
} from "../../protocol/chain.ts";
import type { LinkId } from "../../protocol/core.ts";
import { type WireCode, WireError } from "../../protocol/errors.ts";
import { encodeFrame, FRAME, readUint32 } from "../../protocol/frame.ts";
import { encodeError } from "../../protocol/handshake.ts";
import { bytesOf, joined, textOf } from "../protocol/splits.ts";

const NO_BYTES = new Uint8Array(0);
const CLIENT = 0x0123456789abcdefn;

const ROUTE: Route = {
  nodes: [{ id: "n1", incarnation: "0".repeat(16) }],
  complete: true,
};

type EffectOf<Kind extends SendEffect["kind"]> = Extract<
  SendEffect,
  { readonly kind: Kind }
>;

/** A `data` frame that was sent. */
type SentFrame = DataHead & { readonly text: string };

/** A sender's core with a test in place of its host and of the node it talks to. */
class DrivenSender {
  readonly core: SendCore;
  /** All effects but reads and writes, oldest first. */
  readonly effects: SendEffect[] = [];
  link: LinkId | undefined;
  isAsked = false;
  #into: Uint8Array | undefined;
  #writing: Uint8Array | undefined;
  #received: Uint8Array<ArrayBufferLike> = new Uint8Array(0);
  #nextLink = 1;

  constructor(
    options: { targetCount?: number; queueBytesMax?: number } = {},
  ) {
    const { targetCount = 1, queueBytesMax } = options;
    this.core = new SendCore({
      client: CLIENT,
      targetCount,
      ...(queueBytesMax !== undefined && { queueBytesMax }),
    });
    this.step({ kind: "start" });
  }

  step(input: SendInput): SendEffect[] {
    const effects = this.core.step(input);
    for (const effect of effects) this.#note(effect);
    return effects;
  }

  /** Effects of one kind. */
  all<Kind extends SendEffect["kind"]>(kind: Kind): EffectOf<Kind>[] {
    return this.effects.filter((effect): effect is EffectOf<Kind> =>
      effect.kind === kind
    );
  }

  /** The user hands over lines, as asked. */
  type(text: string): void {
    assert(this.isAsked, "nobody has asked for text");
    this.isAsked = false;
    const messages = (text.match(/\n/g) ?? []).length;
    this.step({ kind: "text", text: bytesOf(text), messages });
  }

  end(): void {
    this.isAsked = false;
    this.step({ kind: "end" });
  }

  connect(route: Route | "no route" = ROUTE): void {
    this.link = this.#nextLink++;
    this.#received = new Uint8Array(0);
    const bytes = route === "no route" ? NO_BYTES : encodeRoute(route);
    this.step({ kind: "connected", link: this.link, bytes });
  }

  /** The node's answer arrives. */
  arrive(bytes: Uint8Array): void {
    const into = this.#into;
    assert(into !== undefined && this.link !== undefined, "it does not read");
    into.set(bytes);
    this.#into = undefined;
    this.step({ kind: "read", link: this.link, length: bytes.length });
  }

  breakLink(): void {
    const { link } = this;
    assert(link !== undefined, "there is no link");
    this.#forgetLink();
    this.step({ kind: "link-down", link, reason: "connection reset" });
  }

  refuse(code: WireCode): void {
    this.step({ kind: "unreachable", error: { code, text: `it is ${code}` } });
  }

  /** The operating system takes the write under way. */
  written(): boolean {
    if (this.#writing === undefined || this.link === undefined) return false;
    this.#received = joined([this.#received, this.#writing]);
    this.#writing = undefined;
    this.step({ kind: "written", link: this.link });
    return true;
  }

  /** Bytes that this link has carried. */
  get carriedBytes(): number {
    return this.#received.length;
  }

  /** Whole frames that this link has carried, after all writes are through. */
  carried(): SentFrame[] {
    while (this.written());
    const bytes = this.#received;
    const frames: SentFrame[] = [];
    for (let at = 0; at + 4 <= bytes.length;) {
      const length = readUint32(bytes, at) + 4;
      if (at + length > bytes.length) break;
      const head = readDataHead(bytes, at, length);
      const text = textOf(bytes.subarray(at + DATA_HEADER_BYTES, at + length));
      frames.push({ ...head, text });
      at += length;
    }
    return frames;
  }

  /** The tail has delivered the first frames of this link. */
  acknowledge(frames: number): void {
    const sent = this.carried().slice(0, frames);
    this.arrive(encodeAck(sizeOf(sent)));
  }

  #forgetLink(): void {
    this.link = undefined;
    this.#into = undefined;
    this.#writing = undefined;
  }

  #note(effect: SendEffect): void {
    switch (effect.kind) {
      case "read":
        assertEquals([effect.link, this.#into], [this.link, undefined]);
        this.#into = effect.into;
        return;
      case "write":
        assertEquals([effect.link, this.#writing], [this.link, undefined]);
        this.#writing = effect.bytes.slice();
        return;
      case "close":
        assertEquals(effect.link, this.link);
        this.effects.push(effect);
        return this.#forgetLink();
      case "want-text":
        assertEquals(this.isAsked, false, "asked twice");
        this.isAsked = true;
        return;
      default:
        this.effects.push(effect);
    }
  }
}

function sizeOf(frames: readonly SentFrame[]): number {
  return frames.reduce(
    (sum, { text }) => sum + DATA_HEADER_BYTES + bytesOf(text).length,
    0,
  );
}

/** Whether it is over, and how. */
function doneOf(sender: DrivenSender): string | undefined {
  const [done] = sender.all("done");
  return done && (done.problem?.code ?? "all delivered");
}

Deno.test("send core: text is numbered by its place, and only the first frame is a base", () => {
  const sender = new DrivenSender();
  sender.type("one\ntwo\n");
  sender.connect();
  sender.type("three\n");
  assertEquals(sender.carried(), [
    {
      client: CLIENT,
      offset: 0,
      messages: 2,
      base: true,
      pipelined: false,
      text: "one\ntwo\n",
    },
    {
      client: CLIENT,
      offset: 8,
      messages: 1,
      base: false,
      pipelined: true,
      text: "three\n",
    },
  ]);
});

Deno.test("send core: after all was acknowledged the next frame of the same link is no base", () => {
  const sender = new DrivenSender();
  sender.connect();
  sender.type("one\n");
  sender.acknowledge(1);
  sender.type("two\n");
  assertEquals(sender.carried().map(({ base }) => base), [true, false]);
});

Deno.test("send core: a new link begins with the oldest unacknowledged frame, as a base", () => {
  const sender = new DrivenSender();
  sender.connect();
  for (const text of ["one\n", "two\n", "three\n"]) {
    sender.type(text);
    while (sender.written());
  }
  sender.acknowledge(1);
  sender.breakLink();
  sender.type("four\n");
  sender.connect();
  const frames = sender.carried();
  assertEquals(frames.map(({ text }) => text), ["two\n", "three\n", "four\n"]);
  assertEquals(frames.map(({ base }) => base), [true, false, false]);
  assertEquals(frames.map(({ offset }) => offset), [4, 8, 14]);
  assertEquals(sender.core.counts, { taken: 4, delivered: 1, resent: 2 });
});

Deno.test("send core: a link that carried nothing leaves the next one its base", () => {
  const sender = new DrivenSender();
  sender.connect();
  sender.type("one\n");
  sender.acknowledge(1);
  sender.breakLink();
  sender.connect();
  sender.breakLink();
  sender.connect();
  sender.type("two\n");
  sender.type("three\n");
  const frames = sender.carried();
  assertEquals(frames.map(({ base }) => base), [true, false]);
  assertEquals(frames[0].offset, 4);
  assertEquals(sender.core.counts.resent, 0);
});

Deno.test("send core: it is done when all is delivered, and not before", () => {
  const sender = new DrivenSender();
  sender.connect();
  sender.type("one\n");
  sender.end();
  assertEquals(sender.carried().length, 1);
  assertEquals(doneOf(sender), undefined);
  sender.acknowledge(1);
  assertEquals(doneOf(sender), "all delivered");
  assertEquals(sender.all("progress").length, 1);
  assertEquals(sender.all("close").length, 1);
  assertEquals(sender.core.counts, { taken: 1, delivered: 1, resent: 0 });
});

Deno.test("send core: without any text it is done at once, link or not", () => {
  const sender = new DrivenSender();
  sender.end();
  assertEquals(doneOf(sender), "all delivered");
  // Whatever comes after the end changes nothing.
  assertEquals(
    sender.step({ kind: "connected", link: 9, bytes: NO_BYTES }),
    [],
  );
  assertEquals(sender.step({ kind: "start" }), []);
});

Deno.test("send core: text that was on its way when the user interrupts is still sent", () => {
  const sender = new DrivenSender();
  sender.connect();
  sender.type("one\n");
  const { isAsked } = sender;
  sender.end();
  assertEquals(isAsked, true);
  sender.step({ kind: "text", text: bytesOf("two\n"), messages: 1 });
  assertEquals(sender.carried().length, 2);
  sender.acknowledge(2);
  assertEquals(doneOf(sender), "all delivered");
});

Deno.test("send core: it asks for no more text than it may keep", () => {
  const queueBytesMax = 2 * SEND_TEXT_BYTES_MAX;
  const sender = new DrivenSender({ queueBytesMax });
  const text = `${"x".repeat(60_000)}\n`.repeat(4);
  let count = 0;
  while (sender.isAsked && count < 100) {
    sender.type(text);
    count += 1;
  }
  assertEquals(count, 2);
  assertLessOrEqual(sender.core.queuedBytes, queueBytesMax);
  sender.connect();
  while (sender.written());
  assertEquals(sender.isAsked, false);
  sender.acknowledge(1);
  assertEquals(sender.isAsked, true);
});

// Refusals

Deno.test("send core: a link that breaks is told, and another attempt follows", () => {
  const sender = new DrivenSender();
  sender.connect();
  sender.breakLink();
  assertEquals(sender.all("trouble").at(-1)?.problem, {
    code: "link-lost",
    text: "connection reset",
  });
  assertEquals(sender.all("dial").at(-1), {
    kind: "dial",
    target: 0,
    attempt: 1,
  });
});

Deno.test("send core: a node that closes cleanly is no end either", () => {
  const sender = new DrivenSender();
  sender.connect();
  const { link } = sender;
  assert(link !== undefined);
  sender.step({ kind: "ended", link });
  assertEquals(sender.all("close").length, 1);
  assertEquals(sender.all("trouble").length, 1);
  assertEquals(sender.all("dial").length, 2);
});

Deno.test("send core: targets are tried in turn, each once before the waits grow", () => {
  const sender = new DrivenSender({ targetCount: 3 });
  for (let i = 0; i < 6; i++) sender.refuse("link-lost");
  const dials = sender.all("dial");
  assertEquals(dials.map(({ target }) => target), [0, 1, 2, 0, 1, 2, 0]);
  assertEquals(dials.map(({ attempt }) => attempt), [0, 0, 0, 1, 1, 1, 2]);
  // Whoever acknowledges something is one to go back to at once.
  sender.type("one\n");
  sender.connect();
  sender.written();
  sender.acknowledge(1);
  sender.breakLink();
  assertEquals(sender.all("dial").at(-1), {
    kind: "dial",
    target: 1,
    attempt: 0,
  });
});

Deno.test("send core: a node that tells its route and then refuses does not make the waits short again", () => {
  const sender = new DrivenSender();
  for (const route of ["no route", ROUTE, ROUTE] as const) {
    sender.connect(route);
    sender.arrive(encodeError(new WireError("busy", "it is full")));
  }
  assertEquals(sender.all("dial").map(({ attempt }) => attempt), [0, 1, 2, 3]);
});

const FINAL: WireCode[] = [
  ...["not-skein", "version-mismatch", "cluster-mismatch"] as const,
  ...["role-mismatch", "key-required", "wrong-key", "not-private"] as const,
];

Deno.test("send core: a refusal that no attempt can change is the end", () => {
  for (const code of FINAL) {
    const sender = new DrivenSender();
    sender.refuse(code);
    assertEquals(doneOf(sender), code);
    assertEquals(sender.all("dial").length, 1);
    assertEquals(sender.all("done")[0].problem?.text, `it is ${code}`);
  }
});

Deno.test("send core: with several targets all must refuse it, one after the other", () => {
  const sender = new DrivenSender({ targetCount: 2 });
  sender.refuse("wrong-key");
  assertEquals(doneOf(sender), undefined);
  sender.refuse("link-lost");
  sender.refuse("wrong-key");
  assertEquals(doneOf(sender), undefined);
  sender.refuse("cluster-mismatch");
  assertEquals(doneOf(sender), "cluster-mismatch");
});

Deno.test("send core: what passes is tried again, on a link and before", () => {
  for (const code of ["busy", "shutting-down", "timeout", "cycle"] as const) {
    const sender = new DrivenSender();
    sender.refuse(code);
    sender.connect();
    sender.type("one\n");
    while (sender.written());
    sender.arrive(encodeError(new WireError(code, "later")));
    assertEquals(doneOf(sender), undefined, code);
    assertEquals(sender.all("dial").length, 3);
    assertEquals(sender.all("trouble").at(-1)?.problem, {
      code,
      text: "later",
    });
    // The node has said why: it is not told in return.
    assertEquals(sender.all("close").at(-1)?.error, undefined);
    sender.connect();
    assertEquals(sender.carried().length, 1);
  }
});

Deno.test("send core: a node that does not take our words is the end", () => {
  for (const code of ["invalid-message", "too-large", "nul-byte"] as const) {
    const sender = new DrivenSender();
    sender.connect();
    sender.type("one\n");
    sender.arrive(encodeError(new WireError(code, "no")));
    assertEquals(doneOf(sender), code);
    assertEquals(sender.all("dial").length, 1);
  }
});

Deno.test("send core: an ack of more than was sent is refused, and delivers nothing", () => {
  const sender = new DrivenSender();
  sender.connect();
  sender.type("one\n");
  while (sender.written());
  sender.arrive(encodeAck(sender.carriedBytes + 1));
  const [close] = sender.all("close");
  assertEquals(close.error?.code, "invalid-message");
  assertStringIncludes(`${close.error?.message}`, "31 bytes: 30 were sent");
  assertEquals(sender.core.counts.delivered, 0);
});

Deno.test("send core: other frames than answers are refused", () => {
  const sender = new DrivenSender();
  sender.connect();
  sender.arrive(encodeFrame(FRAME.chainData, new Uint8Array(30)));
  assertEquals(sender.all("close")[0].error?.code, "invalid-message");
});

Deno.test("send core: beats are read, and routes are told", () => {
  const sender = new DrivenSender();
  sender.connect();
  const away: Route = {
    ...ROUTE,
    complete: false,
    problem: { code: "cycle", text: "The chain is a cycle: a -> b -> a" },
  };
  sender.arrive(joined([encodeFrame(FRAME.beat), encodeRoute(away)]));
  assertEquals(sender.all("route").map(({ route }) => route), [ROUTE, away]);
});

// Any story

type Event =
  | { readonly kind: "type"; readonly lengths: readonly number[] }
  | { readonly kind: "connect" }
  | { readonly kind: "break" }
  | { readonly kind: "written" }
  | { readonly kind: "acknowledge"; readonly part: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("type" as const),
      lengths: fc.array(
        fc.oneof(fc.nat(20), fc.constantFrom(9_000, 65_536)),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "connect" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "break" as const }) },
  { weight: 3, arbitrary: fc.constant({ kind: "written" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("acknowledge" as const),
      part: fc.nat(100),
    }),
  },
);

/** What a tail makes of frames: each message once, and how many it has. */
class Tail {
  text = "";

  /** Takes frames of one link and checks that they follow one another. */
  take(frames: readonly SentFrame[]): void {
    let expected: number | undefined;
    for (const [index, { base, offset, text }] of frames.entries()) {
      assertEquals(base, index === 0, "base");
      assertEquals(offset, expected ?? offset, "offset");
      assertLessOrEqual(offset, this.text.length, "a gap");
      expected = offset + text.length;
      this.text += text.slice(Math.max(0, this.text.length - offset));
    }
  }
}

Deno.test("send core: whatever happens to its links, the tail gets all, in order, once", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60, size: "max" }), (story) => {
      const sender = new DrivenSender({ queueBytesMax: 700_000 });
      const tail = new Tail();
      let typed = "";
      const play = (event: Event) => {
        switch (event.kind) {
          case "type": {
            if (!sender.isAsked) return;
            const lines = event.lengths.map((length, i) =>
              `${`${typed.length + i} `.padEnd(length, "x")}\n`
            );
            typed += lines.join("");
            return sender.type(lines.join(""));
          }
          case "connect":
            return sender.link === undefined ? sender.connect() : undefined;
          case "break":
            return sender.link === undefined ? undefined : sender.breakLink();
          case "written":
            return void sender.written();
          case "acknowledge": {
            if (sender.link === undefined) return;
            const frames = sender.carried();
            const count = Math.ceil(frames.length * event.part / 100);
            tail.take(frames.slice(0, count));
            sender.acknowledge(count);
          }
        }
        const { taken, delivered } = sender.core.counts;
        assertLessOrEqual(delivered, taken);
        const has = (tail.text.match(/\n/g) ?? []).length;
        assertLessOrEqual(delivered, has, "told before the tail has it");
      };
      for (const event of story) play(event);
      play({ kind: "connect" });
      sender.end();
      for (let i = 0; i < 3 && doneOf(sender) === undefined; i++) {
        play({ kind: "acknowledge", part: 100 });
      }
      assertEquals(doneOf(sender), "all delivered");
      assert(tail.text === typed, "the tail has another text");
    }),
    { numRuns: 150 },
  );
});
