import { assertEquals, assertLessOrEqual, assertMatch } from "@std/assert";
import { ChainFleet } from "./chain_fleet.ts";

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("cycle: three nodes in a ring say so, and a sender is told why nothing moves", async () => {
  await using fleet = new ChainFleet();
  const names = ["a", "b", "c"];
  const nodes = names.map((name, at) =>
    fleet.node(name, { next: [names[(at + 1) % names.length]] })
  );
  await fleet.start();
  for (const node of nodes) {
    await fleet.until(`${node.name} names the cycle at /readyz`, async () => {
      const page = await node.page("/readyz");
      return page?.status === 503 && /cycle: (\w -> ){3}\w/.test(page.text);
    });
    await node.process.line(/The chain is a cycle: (\w -> ){3}\w/);
  }

  const startMs = performance.now();
  const send = fleet.send({
    to: ["b"],
    flags: ["--timeout", "1s"],
    input: "piped",
  });
  await send.feed(encode("round and round\n"));
  await send.endInput();
  const { code, sent, delivered } = await send.outcome();
  assertEquals([code, sent, delivered], [1, 1, 0]);
  const said = send.logLines();
  assertMatch(
    said[0].message,
    /^The chain is a cycle: (\w -> ){3}\w; still trying$/,
  );
  assertEquals(said[0].code, "cycle");
  assertEquals(
    said.at(-1)?.message,
    "Giving up: nothing was delivered for 1 s",
  );
  const tookMs = performance.now() - startMs;
  assertEquals(tookMs > 1_000 && tookMs < 10_000, true, `${tookMs} ms`);

  // It went as far as the cycle was not yet plain to see, and no further.
  for (const node of nodes) {
    const count = await node.metric("skein_chain_messages_received_total");
    assertLessOrEqual(count ?? Infinity, 1, `${node.name} has it once`);
  }
});

Deno.test("cycle: a node that passes on to itself says so", async () => {
  await using fleet = new ChainFleet();
  const node = fleet.node("self", { next: ["self"] });
  await fleet.start();
  await node.process.line(/The chain is a cycle: self -> self/);
  assertEquals((await node.page("/readyz"))?.status, 503);
});

Deno.test("cycle: once it is broken, what was sent into it arrives once", async () => {
  await using fleet = new ChainFleet();
  const names = ["a", "b", "c"];
  const nodes = names.map((name, at) =>
    fleet.node(name, { next: [names[(at + 1) % names.length]] })
  );
  await fleet.start();
  for (const node of nodes) {
    await node.process.line(/The chain is a cycle/);
  }
  const send = fleet.send({ to: ["a"], input: "piped" });
  await send.feed(encode("one\ntwo\n"));
  await send.line(/The chain is a cycle/);
  await nodes[2].kill();
  const tail = fleet.node("c");
  await tail.start();
  await send.feed(encode("three\n"));
  await send.endInput();
  const { code, delivered } = await send.outcome();
  assertEquals([code, delivered], [0, 3], fleet.describe());
  await tail.stop("SIGTERM");
  assertEquals(tail.process.outputText(), "one\ntwo\nthree\n");
});
