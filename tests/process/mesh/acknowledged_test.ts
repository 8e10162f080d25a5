/** What `ok` promises: the message is in the log, whoever is killed then. */

import { assert, assertEquals } from "@std/assert";
import { MeshFleet } from "./mesh_fleet.ts";

const MESSAGES = 4_000;

Deno.test("mesh acknowledged: SIGKILL right behind an ok; every acknowledged message is in the log, once and in order", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B"] });
  const [a] = fleet.servers;
  const dana = await a.login("Dana");
  const isOk = (line: string) => line.startsWith('{"type":"ok"');
  const killed = dana.until(
    "some are acknowledged",
    () => dana.lines.some(isOk),
  ).then(() => a.kill());
  const requests = Array.from(
    { length: MESSAGES },
    (_, n) => `${JSON.stringify({ type: "msg", text: `m${n}`, id: n })}\n`,
  );
  await dana.write(requests.join(""));
  await killed;
  await dana.closed();
  const acknowledged = dana.lines.filter(isOk)
    .map((line) => `m${JSON.parse(line).id}`);
  assert(acknowledged.length > 0, "nothing was acknowledged");
  const logged = fleet.log().filter(({ type }) => type === "msg")
    .map(({ text }) => text);
  assertEquals(logged.slice(0, acknowledged.length), acknowledged);
  fleet.checkSequence();
});

Deno.test("mesh acknowledged: history right behind a message has it", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A"] });
  const dana = await fleet.server("A").login("Dana");
  for (let n = 1; n <= 50; n++) {
    await dana.write(
      `${JSON.stringify({ type: "msg", text: `m${n}` })}\n` +
        `${JSON.stringify({ type: "history", limit: 1, id: `h${n}` })}\n`,
    );
    const answer = await dana.until(
      `history ${n}`,
      () => dana.said("history").find(({ id }) => id === `h${n}`),
    );
    const [last] = answer.messages as { text: string }[];
    assertEquals(last?.text, `m${n}`);
  }
});

Deno.test("mesh acknowledged: what was said to one server's people is in their history alone", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B"] });
  const dana = await fleet.server("A").login("Dana");
  const ahmad = await fleet.server("B").login("Ahmad");
  await dana.ask({ type: "msg", text: "to A", local: true });
  await dana.ask({ type: "msg", text: "to all" });
  for (
    const [person, wanted] of [
      [dana, ["to A", "to all"]],
      [ahmad, ["to all"]],
    ] as const
  ) {
    const { messages } = await person.ask({ type: "history" });
    const texts = (messages as { text: string }[]).map(({ text }) => text);
    assertEquals(texts, [...wanted]);
  }
});
