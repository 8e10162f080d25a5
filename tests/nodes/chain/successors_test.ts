import {
  assertEquals,
  assertGreater,
  assertLess,
  assertStringIncludes,
} from "@std/assert";
import fc from "fast-check";
import {
  type Choice,
  type Problem,
  Successors,
} from "../../../nodes/chain/successors.ts";
import type { Route, RouteNode } from "../../../protocol/chain.ts";
import { ROUTE_NODES_MAX } from "../../../protocol/limits.ts";

const NEXT_TIMEOUT_MS = 1_000;

const LOST: Problem = { code: "link-lost", text: "connection refused" };

function node(id: string): RouteNode {
  const digits = Array.from(id, (c) => c.charCodeAt(0).toString(16)).join("");
  return { id, incarnation: digits.padStart(16, "0").slice(-16) };
}

const SELF = node("a");

function successors(...targets: string[]): Successors {
  return new Successors({
    self: SELF,
    targets,
    nextTimeoutMs: NEXT_TIMEOUT_MS,
  });
}

/** A route that leads over these nodes to a tail. */
function toTail(...ids: string[]): Route {
  return { nodes: ids.map(node), complete: true };
}

/** A route that ends somewhere, and why. */
function broken(...ids: string[]): Route {
  return { nodes: ids.map(node), complete: false, problem: LOST };
}

/** Connects to a target, which tells its route. */
function reach(of: Successors, target: number, route: Route, link = target) {
  of.connected(target, link);
  of.routed(target, route);
}

/** Asks for a choice and follows it. */
function follow(of: Successors, nowMs: number): Choice {
  const choice = of.choose(nowMs);
  if (choice.kind === "switch" || choice.kind === "return") {
    of.active = choice.target;
  }
  return choice;
}

const STAY: Choice = { kind: "stay" };
const NONE: Choice = { kind: "none" };
const switchTo = (target: number): Choice => ({ kind: "switch", target });
const returnTo = (target: number): Choice => ({ kind: "return", target });

Deno.test("successors: without any, a node is the tail of its own route", () => {
  const none = successors();
  assertEquals([none.count, none.activeLink, none.wakeAtMs], [
    0,
    undefined,
    undefined,
  ]);
  assertEquals(none.route(), { nodes: [SELF], complete: true });
});

Deno.test("successors: the first choice is taken as soon as it leads to a tail", () => {
  const of = successors("b:1", "c:1");
  assertEquals(of.choose(0), NONE);
  of.connected(0, 7);
  assertEquals(of.choose(0), NONE); // Its route is not known yet.
  of.routed(0, toTail("b"));
  assertEquals(follow(of, 0), switchTo(0));
  assertEquals(follow(of, 0), STAY);
  assertEquals([of.active, of.activeLink, of.label(0)], [0, 7, "b:1"]);
  assertEquals(of.route(), { nodes: [SELF, node("b")], complete: true });
});

Deno.test("successors: another is used once the first was away for long enough", () => {
  const of = successors("b:1", "c:1");
  assertEquals(of.choose(5_000), NONE);
  reach(of, 1, toTail("c"));
  assertEquals(of.choose(5_000), NONE);
  assertEquals(of.wakeAtMs, 6_000);
  assertEquals(of.choose(5_999), NONE);
  assertEquals(follow(of, 6_000), switchTo(1));
  assertEquals(follow(of, 6_001), STAY);
});

Deno.test("successors: the time away begins anew each time", () => {
  const of = successors("b:1", "c:1");
  reach(of, 0, toTail("b"));
  reach(of, 1, toTail("c"));
  assertEquals(follow(of, 0), switchTo(0));
  assertEquals(follow(of, 1), STAY);
  assertEquals(of.wakeAtMs, undefined);
  of.lost(0, LOST);
  assertEquals(of.active, undefined);
  assertEquals(follow(of, 10_000), NONE);
  assertEquals(follow(of, 10_999), NONE);
  reach(of, 0, toTail("b"));
  assertEquals(follow(of, 10_999), switchTo(0));
  assertEquals(follow(of, 10_999), STAY);
  of.lost(0, LOST);
  assertEquals(follow(of, 20_000), NONE);
  assertEquals(follow(of, 20_999), NONE);
  assertEquals(follow(of, 21_000), switchTo(1));
});

Deno.test("successors: the time away is over as soon as traffic turns to a tail", () => {
  const of = successors("b:1", "c:1");
  assertEquals(follow(of, 0), NONE);
  reach(of, 0, toTail("b"));
  reach(of, 1, toTail("c"));
  assertEquals(follow(of, 900), switchTo(0));
  // It is lost before anybody has asked again.
  of.lost(0, LOST);
  assertEquals(follow(of, 1_500), NONE);
  assertEquals(follow(of, 2_499), NONE);
  assertEquals(follow(of, 2_500), switchTo(1));
});

Deno.test("successors: the list is gone through in its order", () => {
  const of = successors("b:1", "c:1", "d:1");
  of.choose(0);
  reach(of, 2, toTail("d"));
  assertEquals(follow(of, 1_000), switchTo(2));
  // An earlier one is a reason to return, even if it is not the first.
  reach(of, 1, toTail("c"));
  assertEquals(follow(of, 1_001), returnTo(1));
  assertEquals(follow(of, 1_002), STAY);
  reach(of, 0, toTail("b"));
  assertEquals(follow(of, 1_003), returnTo(0));
  assertEquals(follow(of, 1_004), STAY);
});

Deno.test("successors: where no tail is reached, the first gets what there is", () => {
  const of = successors("b:1", "c:1");
  reach(of, 0, broken("b"));
  assertEquals(follow(of, 0), switchTo(0));
  assertEquals(follow(of, 0), STAY);
  assertEquals(of.route(), {
    nodes: [SELF, node("b")],
    complete: false,
    problem: LOST,
  });
  // Another that leads to a tail takes over after the wait.
  reach(of, 1, toTail("c"));
  assertEquals(follow(of, 999), STAY);
  assertEquals(follow(of, 1_000), switchTo(1));
  // And the first comes back with its tail.
  of.routed(0, toTail("b", "t"));
  assertEquals(follow(of, 1_001), returnTo(0));
});

Deno.test("successors: another that leads nowhere is not used", () => {
  const of = successors("b:1", "c:1");
  reach(of, 1, broken("c"));
  assertEquals(of.choose(0), NONE);
  assertEquals(of.choose(9_999), NONE);
});

Deno.test("successors: one that has lost its tail is left after the wait, not before", () => {
  const of = successors("b:1", "c:1");
  reach(of, 0, toTail("b"));
  reach(of, 1, toTail("c"));
  follow(of, 0);
  of.routed(0, broken("b"));
  assertEquals(follow(of, 100), STAY);
  assertEquals(of.wakeAtMs, 1_100);
  assertEquals(follow(of, 1_100), switchTo(1));
});

Deno.test("successors: a route through this very node is a cycle, and is not used", () => {
  const of = successors("b:1");
  reach(of, 0, toTail("b", "a", "t"));
  assertEquals(follow(of, 0), NONE);
  assertEquals(of.route(), {
    nodes: [SELF],
    complete: false,
    problem: { code: "cycle", text: "The chain is a cycle: a -> b -> a -> t" },
  });
  assertEquals(of.problem(0)?.code, "cycle");
});

Deno.test("successors: traffic stops when a cycle is found, and goes on when it is gone", () => {
  const of = successors("b:1");
  reach(of, 0, broken("b"));
  assertEquals(follow(of, 0), switchTo(0));
  of.routed(0, broken("b", "a"));
  assertEquals([of.active, follow(of, 0)], [undefined, NONE]);
  of.routed(0, toTail("b"));
  assertEquals(follow(of, 0), switchTo(0));
});

Deno.test("successors: a node of the same name is no cycle, one restarted is another", () => {
  const of = successors("b:1");
  const twin = { id: "a", incarnation: "ffffffffffffffff" };
  reach(of, 0, { nodes: [node("b"), twin], complete: true });
  assertEquals(follow(of, 0), switchTo(0));
});

Deno.test("successors: another without a cycle is used instead", () => {
  const of = successors("b:1", "c:1");
  reach(of, 0, toTail("b", "a"));
  reach(of, 1, toTail("c"));
  assertEquals(of.choose(0), NONE);
  assertEquals(follow(of, 1_000), switchTo(1));
  assertEquals(follow(of, 2_000), STAY);
});

Deno.test("successors: a route that is too long is taken for a cycle", () => {
  const ids = Array.from({ length: ROUTE_NODES_MAX }, (_, i) => `n${i}`);
  const of = successors("b:1");
  reach(of, 0, toTail(...ids));
  assertEquals(of.choose(0), NONE);
  const { problem } = of.route();
  assertEquals(problem?.code, "cycle");
  assertStringIncludes(`${problem?.text}`, "more than 64 nodes: a -> n0 -> n1");
  of.routed(0, toTail(...ids.slice(1)));
  assertEquals(of.choose(0), switchTo(0));
  of.active = 0;
  assertEquals(of.route().nodes.length, ROUTE_NODES_MAX);
});

Deno.test("successors: the route names what is in the way", () => {
  const of = successors("b:1");
  assertEquals(of.route().problem, {
    code: "link-lost",
    text: "a is connecting to b:1",
  });
  const refused: Problem = {
    code: "wrong-key",
    text: "a cannot reach b:1: key",
  };
  of.lost(0, refused);
  assertEquals(of.route(), {
    nodes: [SELF],
    complete: false,
    problem: refused,
  });
  // A new link does not make it untrue before a route says so.
  of.connected(0, 3);
  assertEquals(of.route().problem, refused);
});

Deno.test("successors: attempts are counted until something is acknowledged", () => {
  const of = successors("b:1", "c:1");
  assertEquals([of.nextAttempt(0), of.nextAttempt(0)], [0, 1]);
  assertEquals(of.nextAttempt(1), 0);
  of.connected(0, 1);
  assertEquals(of.nextAttempt(0), 2);
  // A node that is full tells its route as well, and then says so.
  of.routed(0, broken("b"));
  assertEquals(of.nextAttempt(0), 3);
  of.acknowledged(0);
  assertEquals([of.nextAttempt(0), of.nextAttempt(1)], [0, 1]);
});

Deno.test("successors: a link that stands for a while makes the next attempt a first one", () => {
  const of = successors("b:1");
  for (let i = 0; i < 5; i++) of.nextAttempt(0);
  of.connected(0, 1);
  of.choose(1_000);
  of.choose(1_999);
  assertEquals(of.nextAttempt(0), 5);
  of.lost(0, undefined);
  of.choose(9_000);
  of.connected(0, 2);
  of.choose(9_100);
  assertEquals(of.nextAttempt(0), 6);
  of.choose(10_100);
  assertEquals(of.nextAttempt(0), 0);
});

/** What may happen to a list of three. */
const happening = fc.record({
  target: fc.nat(2),
  what: fc.constantFrom("connect", "lose", "tail", "broken", "cycle"),
  afterMs: fc.nat(700),
});

Deno.test("successors: traffic never goes to a cycle or a lost link, and goes to a tail in time", () => {
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 40 }), (story) => {
      const of = successors("b:1", "c:1", "d:1");
      const links = new Set<number>();
      const state = ["lost", "lost", "lost"];
      let nowMs = 0;
      let awaySinceMs: number | undefined = 0;
      let link = 0;
      follow(of, nowMs);
      for (const { target, what, afterMs } of story) {
        nowMs += afterMs;
        const isUp = links.has(target);
        if (what === "connect" && !isUp) {
          of.connected(target, link++);
          links.add(target);
          state[target] = "connected";
        } else if (what === "lose") {
          of.lost(target, LOST);
          links.delete(target);
          state[target] = "lost";
        } else if (isUp && what !== "connect") {
          const ids = what === "cycle" ? ["x", "a"] : ["x"];
          of.routed(
            target,
            what === "broken" ? broken(...ids) : toTail(...ids),
          );
          state[target] = what;
        }
        follow(of, nowMs);
        const active = of.active;
        if (active !== undefined) {
          assertEquals(["tail", "broken"].includes(state[active]), true);
        }
        const best = state.indexOf("tail");
        const isAtTail = active !== undefined && state[active] === "tail";
        if (isAtTail) {
          // It returns to an earlier one at once: here nobody waits for acks.
          assertEquals(active, best);
          awaySinceMs = undefined;
        } else {
          awaySinceMs ??= nowMs;
          if (best >= 0) {
            assertLess(nowMs - awaySinceMs, NEXT_TIMEOUT_MS);
            assertGreater(best, 0);
          }
        }
      }
    }),
    { numRuns: 500 },
  );
});
