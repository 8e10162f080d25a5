/** Contract of the rounds in which chains take turns. */

import { assertEquals } from "@std/assert";
import { type Contestant, takeTurns } from "./rounds.ts";

const options = { rounds: 2, runMsMax: 10_000, isTimeUp: () => false };

function contestant(
  name: string,
  run: () => number,
): Contestant<number> {
  return {
    name,
    warmUp: () => Promise.resolve(),
    run: () => Promise.resolve().then(run),
  };
}

Deno.test("rounds: everybody has a turn before anybody has the next", async () => {
  const order: string[] = [];
  const turns = ["a", "b"].map((name) =>
    contestant(name, () => order.push(name))
  );
  const { results, rounds } = await takeTurns(turns, options);
  assertEquals(order, ["a", "b", "a", "b"]);
  assertEquals([...results], [["a", [1, 3]], ["b", [2, 4]]]);
  assertEquals(rounds, 2);
});

Deno.test("rounds: whoever fails is left out, and why is told", async () => {
  let runs = 0;
  const turns = [
    contestant("a", () => 1),
    contestant("b", () => {
      runs += 1;
      if (runs === 2) throw new Error("broken");
      return 2;
    }),
  ];
  const { results, failures } = await takeTurns(turns, {
    ...options,
    rounds: 3,
  });
  assertEquals([...results], [["a", [1, 1, 1]]]);
  assertEquals([...failures], [["b", "broken"]]);
  assertEquals(runs, 2);
});

Deno.test("rounds: one is held even when time is up", async () => {
  const turns = [contestant("a", () => 1)];
  const { rounds } = await takeTurns(turns, {
    ...options,
    isTimeUp: () => true,
  });
  assertEquals(rounds, 1);
});
