import { assert, assertEquals } from "@std/assert";
import { MeshFleet } from "../process/mesh/mesh_fleet.ts";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";

const LINES = 6_000;
const HALF = LINES / 2;

/** Lines that are fed at once, as fast as they are taken. */
const CHUNK = 100;

const encode = (text: string) => new TextEncoder().encode(text);
const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `${from + i}\n`).join("");

/** `skein` with these words; its input stays open. */
function skein(...args: string[]): RunningProcess {
  return new RunningProcess({
    ...{ name: `skein ${args[0]}`, folder: "/" },
    command: [...program("skein"), ...args],
  });
}

/** Texts that Dana has sent, as the log has them, in its order. */
function logged(fleet: MeshFleet): string[] {
  return fleet.log().flatMap(({ type, text }) =>
    type === "msg" && text !== undefined ? [text] : []
  );
}

function inOrder(texts: readonly string[]): boolean {
  return texts.every((text, at) =>
    at === 0 || Number(texts[at - 1]) < Number(text)
  );
}

Deno.test("skein chat at a mesh: when its server is killed under load it goes on at another, and nothing is there twice or out of order", async () => {
  await using fleet = await MeshFleet.start();
  const [a, b, c] = fleet.servers;
  await using eve = skein("chat", "-c", b.address, "-u", "Eve", "--json");
  await fleet.logged("Eve", ({ type }) => type === "login");
  await using client = skein("chat", "-c", a.address, "-u", "Dana");
  await client.feed(encode(lines(0, HALF)));
  const heard = () =>
    eve.outputText().split("\n").slice(0, -1).flatMap((line): string[] => {
      const { type, text } = JSON.parse(line);
      return type === "msg" ? [text] : [];
    });
  await eve.until("some have come", () => heard().length > 100);
  const feeding = client.feed(encode(lines(HALF, LINES)));
  await a.kill();
  await feeding;
  await client.endInput();
  const { code } = await client.ended();
  await eve.until("the last one", () => heard().at(-1) === `${LINES - 1}`);
  assert(inOrder(heard()), "out of order, or twice");
  const told = client.logLines().flatMap(({ message }) =>
    /not known whether "(\d+)" of line \d+ arrived/.exec(message)?.[1] ?? []
  );
  // No more than were sent at once, and each but once.
  assert(told.length <= 64 && inOrder(told), told.join());
  assertEquals(code, told.length === 0 ? 0 : 1);
  assert([b, c].every(({ mishap }) => mishap === undefined));
});

Deno.test("skein drain: clients that write without pause are at other servers, and not a line is lost, repeated or out of order", async () => {
  await using fleet = await MeshFleet.start();
  const [a] = fleet.servers;
  await using client = skein("chat", "-c", a.address, "-u", "Dana");
  await client.feed(encode(lines(0, CHUNK)));
  await fleet.logged("a line", ({ type }) => type === "msg");
  await using drain = skein("drain", "-c", a.address, "--wait");
  let count = CHUNK;
  for (; drain.exit === undefined; count += CHUNK) {
    await client.feed(encode(lines(count, count + CHUNK)));
  }
  await client.feed(encode(lines(count, count + CHUNK)));
  await client.endInput();
  assertEquals([drain.exit.code, drain.lines], [0, []]);
  assert(drain.outputText().endsWith("Server A is empty\n"));
  const { code } = await client.ended();
  assertEquals(code, 0, client.lines.join("\n"));
  const texts = await fleet.until("the last line is logged", () => {
    const all = logged(fleet);
    return all.at(-1) === `${count + CHUNK - 1}` ? all : undefined;
  });
  assert(inOrder(texts), "out of order, or twice");
  assertEquals(texts.length, count + CHUNK);
  const servers = new Set(
    fleet.log().flatMap(({ type, server }) => type === "msg" ? [server] : []),
  );
  assertEquals(servers.size, 2, "all was sent before it was emptied");
});
