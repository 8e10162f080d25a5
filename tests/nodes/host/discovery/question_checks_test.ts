import { assertEquals, assertLessOrEqual } from "@std/assert";
import {
  NONCES_MAX,
  QUESTION_WINDOW_MS,
  QuestionChecks,
} from "../../../../nodes/host/discovery/question_checks.ts";
import {
  RateLimits,
  SOURCE_RATE,
  SOURCES_MAX,
  TOTAL_RATE,
} from "../../../../nodes/host/discovery/rate_limits.ts";
import { questionOf } from "../../../protocol/discovery_messages.ts";

const WALL_MS = 1_800_000_000_000;
const AT = { host: "10.0.0.1", nowMs: 0, wallMs: WALL_MS };

function checks(isKeyed = true): QuestionChecks {
  return new QuestionChecks({ service: "chat", cluster: "skein", isKeyed });
}

function question(changes: Parameters<typeof questionOf>[0] = {}) {
  return questionOf({ time: WALL_MS, ...changes });
}

Deno.test("question checks: one that is meant is answered, and once only", () => {
  const checked = checks();
  const asked = question();
  assertEquals(checked.check(asked, AT), undefined);
  assertEquals(checked.check(asked, AT), "repeated");
  const elsewhere = { ...AT, host: "10.0.0.2" };
  assertEquals(checked.check(asked, elsewhere), "repeated");
  assertEquals(checked.check(question(), AT), undefined);
});

Deno.test("question checks: who asks all is answered, who asks others is not", () => {
  const checked = checks();
  const { nonce, time, keyed } = question();
  assertEquals(checked.check({ nonce, time, keyed }, AT), undefined);
  assertEquals(
    checked.check(question({ service: "mesh" }), AT),
    "other-service",
  );
  assertEquals(
    checked.check(question({ cluster: "lab" }), AT),
    "other-cluster",
  );
});

Deno.test("question checks: with a key, a question from another time is refused", () => {
  const checked = checks();
  for (const sign of [-1, 1]) {
    const edge = WALL_MS + sign * QUESTION_WINDOW_MS;
    assertEquals(checked.check(question({ time: edge }), AT), undefined);
    const past = question({ time: edge + sign });
    assertEquals(checked.check(past, AT), "window");
  }
  const open = checks(false);
  assertEquals(open.check(question({ time: 0 }), AT), undefined);
});

Deno.test("question checks: a question is remembered as long as it would be taken", () => {
  const checked = checks();
  // From a clock that is a minute ahead: taken for two minutes.
  const ahead = question({ time: WALL_MS + QUESTION_WINDOW_MS });
  assertEquals(checked.check(ahead, AT), undefined);
  for (let ms = 0; ms <= 2 * QUESTION_WINDOW_MS; ms += 500) {
    const at = { ...AT, nowMs: ms, wallMs: WALL_MS + ms };
    const other = question({ time: at.wallMs });
    assertEquals(checked.check(other, at), undefined);
    assertEquals(checked.check(ahead, at), "repeated", `after ${ms} ms`);
  }
  const late = 2 * QUESTION_WINDOW_MS + 1;
  const at = { ...AT, nowMs: late, wallMs: WALL_MS + late };
  assertEquals(checked.check(ahead, at), "window");
});

Deno.test("question checks: memory is bounded, and holds all that could be answered in time", () => {
  const checked = checks();
  const first = question();
  assertEquals(checked.check(first, AT), undefined);
  const perStep = TOTAL_RATE.perSecond / 10;
  let host = 0;
  for (let ms = 100; ms <= 4 * QUESTION_WINDOW_MS; ms += 100) {
    const at = { nowMs: ms, wallMs: WALL_MS + ms };
    for (let i = 0; i < perStep; i += 1) {
      host += 1;
      checked.check(question({ time: at.wallMs }), {
        ...at,
        host: `10.0.${host % 40}.1`,
      });
    }
    if (ms <= QUESTION_WINDOW_MS) {
      assertEquals(checked.check(first, { ...AT, ...at }), "repeated");
    }
    assertLessOrEqual(checked.nonces, 2 * NONCES_MAX);
  }
});

Deno.test("rate limits: an address gets its burst, then its rate", () => {
  const limits = new RateLimits();
  const takeAll = (host: string, nowMs: number) => {
    let count = 0;
    while (limits.take(host, nowMs)) count += 1;
    return count;
  };
  assertEquals(takeAll("10.0.0.1", 0), SOURCE_RATE.burst);
  assertEquals(takeAll("10.0.0.1", 1_000), SOURCE_RATE.perSecond);
  assertEquals(takeAll("10.0.0.1", 1_010), 0);
  assertEquals(takeAll("10.0.0.1", 1_020), 1);
  assertEquals(takeAll("10.0.0.2", 1_020), SOURCE_RATE.burst);
  assertEquals(takeAll("10.0.0.1", 600_000), SOURCE_RATE.burst);
});

Deno.test("rate limits: all addresses together get no more than the whole", () => {
  const limits = new RateLimits();
  const takeAll = (nowMs: number) => {
    let count = 0;
    for (let host = 0; host < 5_000; host += 1) {
      if (limits.take(`10.1.${host >> 8}.${host & 255}`, nowMs)) count += 1;
    }
    return count;
  };
  assertEquals(takeAll(0), TOTAL_RATE.burst);
  assertEquals(takeAll(1_000), TOTAL_RATE.perSecond);
  assertEquals(limits.sources, SOURCES_MAX);
});

Deno.test("rate limits: what one address is refused takes nothing from the others", () => {
  const limits = new RateLimits();
  for (let i = 0; i < 10_000; i += 1) limits.take("10.0.0.1", 0);
  let others = 0;
  for (let host = 0; host < 1_000; host += 1) {
    if (limits.take(`10.2.${host >> 8}.${host & 255}`, 0)) others += 1;
  }
  assertEquals(others, TOTAL_RATE.burst - SOURCE_RATE.burst);
});
