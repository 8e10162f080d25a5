import { assert, assertEquals } from "@std/assert";
import {
  type GapFilled,
  type GapQuestion,
  MeshGap,
} from "../../clients/mesh_gap.ts";
import type { HistoryLine, MeshMessage } from "../../protocol/mesh.ts";

const EPOCH_MS = 1_700_000_000_000;
const BROKE_MS = 10_000;

interface Place {
  readonly server?: string;
  readonly room?: string;
}

function live(at: number, text: string, place: Place = {}): MeshMessage {
  const { server = "A" } = place;
  return {
    ...{ type: "msg", from: "Dana", server, text, n: at },
    ...{ time: EPOCH_MS + at },
    ...place.room !== undefined && { room: place.room },
  };
}

function line(at: number, text: string, place: Place = {}): HistoryLine {
  const { server = "A" } = place;
  const time = new Date(EPOCH_MS + at).toISOString();
  return {
    ...{ seq: at, time, server, from: "Dana", text },
    ...place.room !== undefined && { room: place.room },
  };
}

/** A gap that begins at {@linkcode BROKE_MS} and ends 100 ms later at server B. */
class Driven {
  readonly gap = new MeshGap({
    epochMs: EPOCH_MS,
    readTime: (text) => Date.parse(text),
  });
  nowMs = BROKE_MS + 100;
  questions: GapQuestion[] = [];
  filled: GapFilled | undefined;
  #id = 0;

  shows(...messages: MeshMessage[]): this {
    for (const one of messages) {
      assert(this.gap.isNew(one, one.time - EPOCH_MS), one.text);
    }
    return this;
  }

  opens(...rooms: string[]): this {
    const since = { brokeMs: BROKE_MS, server: "B", rooms };
    this.gap.open(since, this.nowMs);
    return this;
  }

  holds(...messages: MeshMessage[]): this {
    for (const one of messages) this.gap.hold(one);
    return this;
  }

  /** Passes so much time; the log has these, in pages of so many. */
  pass(ms: number, log: readonly HistoryLine[], pageMax = 200): this {
    this.nowMs += ms;
    for (;;) {
      const { questions, filled } = this.gap.turn(this.nowMs);
      this.filled ??= filled;
      if (questions.length === 0) return this;
      for (const question of questions) {
        this.questions.push(question);
        const id = this.#id++;
        this.gap.asked(id, question);
        const { room, before = Infinity } = question;
        const all = log.filter((one) => one.room === room && one.seq < before);
        const messages = all.slice(-pageMax);
        const more = all.length > messages.length;
        this.gap.answered(id, { type: "history", id, room, messages, more });
      }
    }
  }

  get result(): string {
    const { filled } = this;
    if (filled === undefined) return "open";
    const late = filled.late.map(({ text }) => text).join("");
    const held = filled.held.map(({ text }) => text).join("");
    return `${late}/${held} ${filled.isWhole ? "whole" : "not whole"}`;
  }
}

const LOG = [
  ...[line(9_800, "a"), line(9_900, "b"), line(10_020, "c")],
  ...[line(10_050, "x", { server: "B" }), line(10_080, "d")],
  ...[line(10_200, "e"), line(10_210, "f")],
];

Deno.test("mesh gap: what stands in the log between the last shown and the first that came is late, of each server", () => {
  const driven = new Driven().shows(live(9_800, "a"), live(9_900, "b"));
  driven.opens().holds(live(10_200, "e"), live(10_210, "f"));
  assertEquals(driven.pass(249, LOG).result, "open");
  assertEquals(driven.pass(1, LOG).result, "cxd/ef whole");
  assertEquals(driven.questions.length, 1);
});

Deno.test("mesh gap: a room has its own place in the order, and a room that was left none", () => {
  const lab = { room: "lab" };
  const driven = new Driven().shows(
    ...[live(9_900, "b"), live(9_910, "k", lab)],
    live(9_920, "z", { room: "left" }),
  );
  driven.opens("lab").holds(live(10_210, "f"));
  const log = [...LOG, line(9_910, "k", lab), line(10_205, "l", lab)];
  assertEquals(driven.pass(250, log).result, "cxdel/f whole");
});

Deno.test("mesh gap: a log that is behind is asked again, for a while", () => {
  const behind = () => {
    const driven = new Driven().shows(live(9_900, "b"));
    return driven.opens().holds(live(10_200, "e")).pass(250, LOG.slice(0, 4));
  };
  assertEquals(behind().result, "open");
  assertEquals(behind().pass(250, LOG).result, "cxd/e whole");
  const late = behind();
  for (let i = 0; i < 6; i++) late.pass(250, LOG.slice(0, 4));
  assertEquals([late.result, late.questions.length], ["open", 7]);
  assertEquals(late.pass(250, LOG).result, "/e not whole");
});

Deno.test("mesh gap: a log in which no other server writes is another: it is told at once, and what it has is shown", () => {
  const own = LOG.filter(({ server }) => server === "B");
  const driven = new Driven().shows(live(9_900, "b"));
  driven.opens().holds(live(10_200, "e")).pass(250, own);
  assertEquals(driven.result, "x/e not whole");
  assertEquals(new Driven().opens().pass(250, []).result, "/ not whole");
});

Deno.test("mesh gap: what was shown out of the log is not shown again when it comes", () => {
  const driven = new Driven().shows(live(9_900, "b"));
  assertEquals(driven.opens().pass(250, LOG).result, "cxdef/ whole");
  const isNew = (message: MeshMessage) => driven.gap.isNew(message, 11_000);
  assertEquals(isNew(live(10_200, "e")), false);
  assertEquals(isNew(live(10_210, "f")), false);
  assertEquals(isNew(live(10_300, "g")), true);
});

Deno.test("mesh gap: a log that goes back further is read up to the break, and no more of it than its bound", () => {
  const old = Array.from({ length: 900 }, (_, i) => line(i, `${i} `));
  const driven = new Driven().shows(live(9_900, "b")).opens();
  assertEquals(driven.pass(250, [...old, ...LOG], 3).result, "cxdef/ whole");
  assertEquals(driven.questions.length, 3);

  const many = Array.from(
    { length: 6_000 },
    (_, i) => line(10_001 + i, "m", { server: i % 2 === 0 ? "A" : "B" }),
  );
  const flood = new Driven().shows(live(9_900, "b")).opens().pass(250, many);
  assertEquals(flood.filled?.late.length, 5_000);
  assertEquals([flood.filled?.isWhole, flood.questions.length], [false, 25]);
});

Deno.test("mesh gap: clocks that differ do not hide or repeat anything", () => {
  for (const skewMs of [-3_600_000, 3_600_000]) {
    const moved = (one: HistoryLine) =>
      line(Date.parse(one.time) - EPOCH_MS + skewMs, one.text, one);
    const driven = new Driven();
    driven.gap.isNew(live(9_900 + skewMs, "b"), 9_900);
    const log = LOG.map((one) => ({ ...moved(one), seq: one.seq }));
    assertEquals(driven.opens().pass(250, log).result, "cxdef/ whole");
  }
});

Deno.test("mesh gap: no more is held back than its bound", () => {
  const { gap } = new Driven().opens();
  let count = 1;
  while (gap.hold(live(20_000, "x"))) count++;
  assertEquals(count, 20_000);
  const long = new Driven().opens().gap;
  const text = "x".repeat(16_384);
  for (count = 1; long.hold(live(20_000, text)); count++);
  assertEquals(count, 512);
});
