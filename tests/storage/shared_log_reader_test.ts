import { assert, assertEquals } from "@std/assert";
import { SharedLog } from "../../storage/shared_log.ts";
import { readHistory } from "../../storage/shared_log_reader.ts";

const ROOMS = [undefined, "lobby", "x"] as const;
const COUNT = 3_000;

/** A log of many files: message N is in room N mod 3; some are longer than what is read at once. */
async function withLog(test: (path: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/chat.log`;
  try {
    const log = await SharedLog.open(path, {
      server: "A",
      fileBytesMax: 150_000,
      filesMax: 100,
    });
    for (let at = 1; at <= COUNT; at++) {
      const room = ROOMS[at % 3];
      log.append({
        type: at % 7 === 0 ? "join" : "msg",
        timeMs: 1_700_000_000_000 + at,
        from: "Dana",
        ...room !== undefined && { room },
        // Text that looks like the keys that are looked for.
        text: `${at} "room":"lobby" ${
          "é".repeat(at % 500 === 1 ? 35_000 : 20)
        }`,
      });
    }
    await log.close(10_000);
    assert([...Deno.readDirSync(folder)].length > 3);
    await test(path);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function wanted(room: string | undefined, type: string): number[] {
  return Array.from({ length: COUNT }, (_, index) => index + 1)
    .filter((at) =>
      ROOMS[at % 3] === room && (at % 7 === 0 ? "join" : "msg") === type
    );
}

Deno.test("shared log history: page by page it is all of a room, each line once", async () => {
  await withLog(async (path) => {
    for (const room of ROOMS) {
      for (const type of ["msg", "join"]) {
        const found: number[] = [];
        let before: number | undefined;
        for (;;) {
          const page = await readHistory(path, {
            room,
            type,
            limit: 97,
            before,
          });
          assert(page.entries.length <= 97);
          found.unshift(...page.entries.map(({ seq }) => seq));
          if (!page.more) break;
          before = page.searchedTo;
        }
        assertEquals(found, wanted(room, type), `${room}, ${type}`);
      }
    }
  });
});

Deno.test("shared log history: before any number come the ones before it", async () => {
  await withLog(async (path) => {
    const all = wanted("x", "msg");
    for (let before = 1; before <= COUNT + 1; before += 83) {
      const page = await readHistory(path, { room: "x", limit: 5, before });
      const expected = all.filter((seq) => seq < before);
      assertEquals(
        page.entries.map(({ seq }) => seq),
        expected.slice(-5),
        `before ${before}`,
      );
      assertEquals(page.more, expected.length > 5);
    }
  });
});

Deno.test("shared log history: a call that has read its bytes says where to go on", async () => {
  await withLog(async (path) => {
    const found: number[] = [];
    let before: number | undefined;
    let calls = 0;
    for (;;) {
      const page = await readHistory(path, {
        room: "nobody's",
        limit: 5,
        before,
        bytesMax: 100_000,
      });
      calls += 1;
      found.push(...page.entries.map(({ seq }) => seq));
      if (!page.more) break;
      assert(page.searchedTo < (before ?? Infinity), "it goes on");
      before = page.searchedTo;
    }
    assertEquals(found, []);
    assert(calls > 3, `${calls} calls`);
  });
});

Deno.test("shared log history: no log has none; half a line, and what is no line, is passed over", async () => {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/chat.log`;
  try {
    const none = { entries: [], more: false, searchedTo: 1 };
    assertEquals(await readHistory(path, { limit: 5 }), none);
    Deno.writeTextFileSync(path, "");
    assertEquals(await readHistory(path, { limit: 5 }), none);
    const line = (seq: number) =>
      `{"seq":${seq},"time":"2026-11-21T00:38:36.123Z","server":"A","type":"msg","from":"Dana","text":"hi"}`;
    const text = [
      line(1),
      "cron: done",
      "",
      line(2),
      '{"type":"msg"}',
      "x"
        .repeat(400_000),
      line(3),
      line(4).slice(0, -9),
    ].join("\n");
    Deno.writeTextFileSync(path, text);
    const { entries, more } = await readHistory(path, { limit: 5 });
    assertEquals([entries.map(({ seq }) => seq), more], [[1, 2, 3], false]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
