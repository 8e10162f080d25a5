import { assert, assertEquals, assertMatch } from "@std/assert";
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

/** Lines of each of two while a listener moves, ten in 10 ms. */
const HEARD = 2_000;
const TEN_EVERY_MS = 10;

/** What a client shows with `--json`, whole lines alone. */
function shown(process: RunningProcess): Record<string, unknown>[] {
  return process.outputText().split("\n").slice(0, -1).map((line) =>
    JSON.parse(line)
  );
}

/** Texts of the lines, in the order in which they were shown. */
function texts(process: RunningProcess): string[] {
  return shown(process).flatMap(({ type, text }) =>
    type === "msg" ? [String(text)] : []
  );
}

/** The last of ten lines goes to the room, the others to all. */
async function writes(client: RunningProcess, name: string): Promise<void> {
  for (let at = 0; at < HEARD; at += 10) {
    const nine = Array.from({ length: 9 }, (_, i) => `${name} ${at + i}\n`);
    const tenth = `/room lab\n${name} ${at + 9}\n/all\n`;
    await client.feed(encode(nine.join("") + tenth));
    await new Promise((resolve) => setTimeout(resolve, TEN_EVERY_MS));
  }
  await client.endInput();
  assertEquals((await client.ended()).code, 0, client.lines.join("\n"));
}

/** What one has written, as numbers; to the room or to all. */
function numbersOf(heard: readonly string[], name: string, isRoom: boolean) {
  return heard.flatMap((text) => {
    const [from, number] = text.split(" ");
    return from === name && isRoom === number.endsWith("9") ? [number] : [];
  });
}

/** Eve listens at `c`; two write at `a` and `b`, and meanwhile `leave` makes her go there. */
async function listenerMoves(
  fleet: MeshFleet,
  leave: (c: MeshFleet["servers"][number]) => Promise<void>,
): Promise<{ heard: string[]; moved: Record<string, unknown>[] }> {
  const [a, b, c] = fleet.servers;
  await using eve = skein("chat", "-c", c.address, "-u", "Eve", "--json");
  await eve.feed(encode("/join lab\n"));
  await fleet.logged("Eve in the lab", ({ type }) => type === "join");
  await using dana = skein("chat", "-c", a.address, "-u", "Dana");
  await using bea = skein("chat", "-c", b.address, "-u", "Bea");
  const writing = Promise.all([writes(dana, "Dana"), writes(bea, "Bea")]);
  await eve.until("some have come", () => texts(eve).length > HEARD / 2);
  await leave(c);
  await writing;
  const last = [`Dana ${HEARD - 1}`, `Bea ${HEARD - 1}`];
  await eve.until("the last ones", () => {
    const heard = texts(eve);
    return last.every((text) => heard.includes(text));
  });
  assert([a, b].every(({ mishap }) => mishap === undefined));
  const moved = shown(eve).filter(({ code }) => code === "moved");
  return { heard: texts(eve), moved };
}

for (
  const [how, leave] of [
    ["is emptied", async (c) => {
      await using drain = skein("drain", "-c", c.address, "--wait");
      assertEquals((await drain.ended()).code, 0);
    }],
    ["is killed", (c) => c.kill()],
  ] satisfies [string, (c: MeshFleet["servers"][number]) => Promise<void>][]
) {
  Deno.test(`skein chat at a mesh: a listener whose server ${how} under load misses nothing, and has nothing twice or out of order`, async () => {
    await using fleet = await MeshFleet.start();
    const { heard, moved } = await listenerMoves(fleet, leave);
    assertEquals(moved.length, 1);
    const [{ was, whole, late, text }] = moved;
    assertEquals([was, whole], ["C", true], `${late} ${text}`);
    for (const name of ["Dana", "Bea"]) {
      for (const isRoom of [false, true]) {
        const numbers = numbersOf(heard, name, isRoom);
        assert(inOrder(numbers), `${name}: out of order, or twice`);
        const count = isRoom ? HEARD / 10 : HEARD / 10 * 9;
        assertEquals(numbers.length, count, `${name}: some are missing`);
      }
    }
  });
}

Deno.test("skein chat at a mesh: where servers keep logs of their own a listener that moves is told what it may have missed", async () => {
  await using fleet = await MeshFleet.start({ hasOwnLogs: true });
  const [a, b, c] = fleet.servers;
  await using eve = skein("chat", "-c", c.address, "-u", "Eve", "--json");
  await fleet.logged("Eve", ({ type }) => type === "login", "C");
  await using dana = skein("chat", "-c", a.address, "-u", "Dana");
  await dana.feed(encode("one\n"));
  await eve.until("it has come", () => texts(eve).length === 1);
  await c.kill();
  await eve.until(
    "it is told",
    () => shown(eve).some(({ code }) => code === "moved"),
  );
  const moved = shown(eve).find(({ code }) => code === "moved");
  assertEquals([moved?.was, moved?.whole, moved?.late], ["C", false, 0]);
  assertMatch(String(moved?.text), /in between \(\d+\.\d s\) is not shown/);
  assert([a, b].every(({ mishap }) => mishap === undefined));
});
