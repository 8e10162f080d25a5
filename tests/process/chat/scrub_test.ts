import { assert, assertEquals, assertMatch } from "@std/assert";
import { ChatFleet } from "./chat_fleet.ts";
import type { ChatNode } from "./chat_node.ts";
import { Load } from "./load.ts";

/** Texts that soon fill segments of the smallest size. */
const BIG = { textBytes: 2_000 };
const SMALL = { flags: ["--segment", "64KiB"] };
const SERVERS = { a: SMALL, b: SMALL, c: SMALL };

/** The log's segments, the first one first; one is being written, and the next one is made. */
function segments(node: ChatNode): string[] {
  return [...Deno.readDirSync(node.place.data)]
    .map(({ name }) => name).filter((name) => /^log-\d+\.log$/.test(name))
    .sort().map((name) => `${node.place.data}/${name}`);
}

/** Turns one bit of a file round while its owner has it open. */
function rot(path: string): void {
  using file = Deno.openSync(path, { read: true, write: true });
  const at = Math.floor(file.statSync().size / 2);
  const byte = new Uint8Array(1);
  file.seekSync(at, Deno.SeekMode.Start);
  file.readSync(byte);
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(byte.map((bits) => bits ^ 1));
}

/** Writes until each of these has an ended segment that no snapshot removes soon. */
async function fill(fleet: ChatFleet, load: Load): Promise<void> {
  await fleet.until(
    "there are ended segments",
    () => fleet.servers.every((node) => segments(node).length > 2),
  );
  await load.stop();
}

function told(node: ChatNode, text: string): boolean {
  return node.process.logLines().some(({ message }) => message === text);
}

for (const name of ["c", "a"]) {
  Deno.test(`chat scrub: a rotten byte in an old segment of ${name} is found and mended`, async () => {
    await using fleet = new ChatFleet({ nodes: SERVERS });
    const node = fleet.node(name);
    await fleet.startReady();
    await using load = await Load.start(fleet, BIG);
    await fill(fleet, load);
    const before = await fleet.inSync();
    const [first] = segments(node);
    const whole = Deno.readFileSync(first);
    rot(first);
    assert(whole.toHex() !== Deno.readFileSync(first).toHex());
    await fleet.until(
      "it is mended",
      () => told(node, "Mended the log from another server"),
    );
    assertMatch(node.errors().join(), /The log is damaged.*log-\d+\.log/);
    const after = await fleet.inSync();
    assertEquals(after.hash, before.hash);
    const page = await node.page("/metrics");
    assertMatch(page?.text ?? "", /skein_chat_log_mends_total\{[^}]*\} 1$/m);
    // What was written anew is as good as what was there.
    await node.kill();
    await node.start();
    await fleet.complete();
    assertEquals(node.errors(), []);
    await load.verify();
  });
}

Deno.test("chat scrub: a server alone takes a snapshot in the place of a rotten segment", async () => {
  await using fleet = new ChatFleet({
    servers: 1,
    witnesses: 0,
    nodes: SERVERS,
  });
  const [node] = fleet.servers;
  await fleet.startReady();
  await using load = await Load.start(fleet, BIG);
  await fill(fleet, load);
  const before = await fleet.inSync();
  const [first] = segments(node);
  rot(first);
  await fleet.until(
    "a snapshot stands for it",
    () => told(node, "Took a snapshot") && !segments(node).includes(first),
  );
  assert(told(node, "Cannot mend the log from another server"));
  await node.kill();
  await node.start();
  const after = await fleet.inSync();
  assert(after.appliedIndex > before.appliedIndex);
  assertEquals(node.errors(), []);
  await load.verify();
});
