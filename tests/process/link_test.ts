import { assertEquals } from "@std/assert";
import { ChainFleet } from "./chain_fleet.ts";

/** Several times what the node under test waits for a sign of life. */
const IDLE_MS = 1_000;

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("link: an idle sender keeps its link, however short the node's --link-timeout is", async () => {
  await using fleet = new ChainFleet();
  const tail = fleet.node("tail", { flags: ["--link-timeout", "200ms"] });
  await tail.start();
  const send = fleet.send({ to: ["tail"], input: "piped" });
  await send.feed(encode("one\n"));
  await fleet.until("one arrives", () => tail.process.outputBytes === 4);
  const sinceMs = performance.now();
  await fleet.until(
    "some time passes",
    () => performance.now() - sinceMs > IDLE_MS,
  );
  await send.feed(encode("two\n"));
  await send.endInput();
  const { code, delivered, resent } = await send.outcome();
  assertEquals([code, delivered, resent], [0, 2, 0], fleet.describe());
  assertEquals(send.lines.length, 1, fleet.describe());
});

Deno.test("link: nodes with different --link-timeout keep their link", async () => {
  await using fleet = new ChainFleet();
  const head = fleet.node("head", {
    next: ["tail"],
    flags: ["--link-timeout", "200ms"],
  });
  const tail = fleet.node("tail", { flags: ["--link-timeout", "1m"] });
  await fleet.startReady();
  const sinceMs = performance.now();
  await fleet.until(
    "some time passes",
    () => performance.now() - sinceMs > IDLE_MS,
  );
  assertEquals(
    [...head.process.lines, ...tail.process.lines].filter((line) =>
      /Lost|silent/.test(line)
    ),
    [],
  );
});
