import { assertEquals } from "@std/assert";
import { Bully } from "../../election/bully.ts";

Deno.test("bully: the highest proposes at once, a lower one asks and waits", () => {
  const bully = new Bully({ aliveMs: 10, electionMs: 100 });
  assertEquals(bully.tick(0, []), { kind: "propose" });
  assertEquals(bully.tick(0, ["b"]), { kind: "ask", higher: ["b"] });
  assertEquals(bully.tick(9, ["b"]), { kind: "wait" });
  assertEquals(bully.tick(10, ["b"]), { kind: "propose" });
});

Deno.test("bully: a higher node that lives has its turn, and loses it", () => {
  const bully = new Bully({ aliveMs: 10, electionMs: 100 });
  bully.alive(0); // Nobody was asked: means nothing.
  bully.tick(0, ["b"]);
  bully.alive(5);
  assertEquals(bully.tick(104, ["b"]), { kind: "wait" });
  assertEquals(bully.tick(105, ["b"]), { kind: "propose" });
});
