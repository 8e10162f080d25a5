/** Contract of clients that write again when they are answered. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { ClosedLoop, Samples } from "./closed_loop.ts";
import type { LoadPlan } from "./load_plan.ts";
import type { OpenLink, WriteEvents } from "./write_link.ts";

const plan: LoadPlan = {
  kind: "load",
  protocol: "skein",
  ports: [1],
  connections: 3,
  lanes: 2,
  warmUpMs: 5,
  measureMs: 30,
  pids: [],
};

/** A link whose writes are answered in a later turn. */
function answering(
  answer: (events: WriteEvents, lane: number) => void,
  seen = { most: 0, open: 0 },
): OpenLink {
  return (_, events) => {
    const timers = new Set<ReturnType<typeof setTimeout>>();
    return Promise.resolve({
      write: (lane) => {
        seen.open += 1;
        seen.most = Math.max(seen.most, seen.open);
        const timer = setTimeout(() => {
          timers.delete(timer);
          seen.open -= 1;
          answer(events, lane);
        }, 1);
        timers.add(timer);
      },
      flush: () => {},
      close: () => timers.forEach(clearTimeout),
    });
  };
}

Deno.test("closed loop: as many writes are under way as were asked for", async () => {
  const seen = { most: 0, open: 0 };
  const open = answering((events, lane) => events.acked(lane), seen);
  const result = await new ClosedLoop().run(plan, open);
  assertEquals(seen.most, 6);
  assert(result.writes > 6, `${result.writes} writes`);
  assert(result.seconds >= 0.029, `${result.seconds} s`);
  assert(result.p50Us >= 900 && result.p50Us <= result.p99Us);
  assert(result.p99Us <= result.maxUs);
  assertEquals(result.refused, 0);
});

Deno.test("closed loop: refusals are counted, and the first is told", async () => {
  let answers = 0;
  const open = answering((events, lane) => {
    answers += 1;
    if (answers % 2 === 0) events.acked(lane);
    else events.refused(lane, `no ${answers}`);
  });
  const result = await new ClosedLoop().run(plan, open);
  assert(result.refused > 0);
  assertEquals(result.refusal, "no 1");
});

Deno.test("closed loop: a lost link, or nothing but refusals, is a failure", async () => {
  const losing = answering((events) => events.lost("gone"));
  const run = (open: OpenLink) => new ClosedLoop().run(plan, open);
  await assertRejects(() => run(losing), Error, "gone");
  const refusing = answering((events, lane) => events.refused(lane, "no"));
  await assertRejects(() => run(refusing), Error, "acknowledged: no");
});

Deno.test("samples: come sorted, however many", () => {
  const samples = new Samples();
  const count = 200_000;
  for (let value = count; value > 0; value--) samples.add(value);
  const sorted = samples.sorted();
  assertEquals([sorted.length, sorted[0], sorted[count - 1]], [
    count,
    1,
    count,
  ]);
});
