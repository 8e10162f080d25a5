/** Contract of the measurement of a kill. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { KillLoop } from "./kill_loop.ts";
import type { KillPlan } from "./load_plan.ts";
import type { OpenLink, WriteEvents } from "./write_link.ts";

/** A process to be killed, and servers that stand still until it was replaced. */
class FakeGroup implements AsyncDisposable {
  readonly #process = new Deno.Command("sleep", { args: ["60"] }).spawn();
  readonly #loads = new Set<WriteEvents>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #isKilled = false;
  #isReplaced = false;
  readonly attempts: number[] = [];
  probes = 0;

  constructor(options: { readonly replacedAfterMs: number | undefined }) {
    void this.#process.status.then(() => {
      this.#isKilled = true;
      for (const events of this.#loads) events.lost("gone");
      const { replacedAfterMs } = options;
      if (replacedAfterMs === undefined) return;
      this.#after(replacedAfterMs, () => this.#isReplaced = true);
    });
  }

  plan(waitMsMax: number): KillPlan {
    return {
      kind: "kill",
      protocol: "skein",
      ports: [1, 2, 3],
      victim: 1,
      victimPid: this.#process.pid,
      connections: 4,
      warmUpMs: 20,
      waitMsMax,
    };
  }

  readonly load: OpenLink = ({ client, attempt }, events) => {
    this.attempts[client] = attempt;
    this.#loads.add(events);
    return Promise.resolve({
      write: (lane: number) => this.#after(1, () => events.acked(lane)),
      flush: () => {},
      close: () => {},
    });
  };

  readonly probe: OpenLink = (_, events) =>
    Promise.resolve({
      write: (lane: number) => {
        this.probes += 1;
        this.#after(1, () => {
          if (this.#isReplaced) events.acked(lane);
        });
      },
      flush: () => {},
      close: () => {},
    });

  #after(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isKilled) this.#process.kill("SIGKILL");
    await this.#process.status;
    this.#timers.forEach(clearTimeout);
  }
}

function loopOf(group: FakeGroup, waitMsMax: number): KillLoop {
  const { load, probe } = group;
  const links = { load, probe, probeClients: [4, 5], lanesMax: 64 };
  return new KillLoop(group.plan(waitMsMax), links);
}

Deno.test("kill loop: the gap lasts until a later write is acknowledged", async () => {
  await using group = new FakeGroup({ replacedAfterMs: 60 });
  const { gapMs, writes } = await loopOf(group, 5_000).run();
  assert(gapMs >= 60, `${gapMs} ms`);
  assert(gapMs < 2_000, `${gapMs} ms`);
  assert(writes > 4, `${writes} writes`);
  assert(group.probes > 2, "the survivors were asked again and again");
  assertEquals(group.attempts.length, 4);
  assert(group.attempts.every((attempt) => attempt > 0), "clients came again");
});

Deno.test("kill loop: nobody writes again", async () => {
  await using group = new FakeGroup({ replacedAfterMs: undefined });
  await assertRejects(
    () => loopOf(group, 50).run(),
    Error,
    "Nobody wrote again within 0.05 s",
  );
});
