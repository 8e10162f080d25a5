import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { type LogFilter, parseLogFlags } from "../../clients/log_flags.ts";
import { followLines } from "../../clients/log_follow.ts";
import { shownLines } from "../../clients/log_lines.ts";
import { verifyLog } from "../../clients/log_verify.ts";
import { FlagsExit } from "../../nodes/host/flags.ts";
import { SharedLog } from "../../storage/shared_log.ts";
import { until } from "../process/until.ts";

const ALL: LogFilter = {
  servers: [],
  from: [],
  rooms: [],
  types: [],
  sinceMs: undefined,
  untilMs: undefined,
  grep: undefined,
};
const MAIN = new URL("../../main.ts", import.meta.url).pathname;

function line(seq: number, more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    seq,
    time: "2026-11-21T00:38:36.123Z",
    server: "A",
    type: "msg",
    from: "Dana",
    ...more,
  });
}

function flags(...args: string[]) {
  return parseLogFlags(args, new Map(), "/nonexistent/.env");
}

function refusal(...args: string[]): string {
  return assertThrows(() => flags(...args), FlagsExit).stderr;
}

async function inFolder(test: (path: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await test(`${folder}/chat.log`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function verified(
  path: string,
): Promise<{ count: number | undefined; lines: string[] }> {
  const lines: string[] = [];
  const count = await verifyLog(path, {
    print: (text) => lines.push(text),
    progress: () => {},
  });
  return { count, lines };
}

Deno.test("skein log: the file is a word, a flag, a variable or the default", () => {
  assertEquals(flags().file, "shared/logs/chat.log");
  assertEquals(flags("a.log").file, "a.log");
  assertEquals(flags("-n", "5", "a.log", "-f").file, "a.log");
  assertEquals(flags("--file", "a.log").file, "a.log");
  assertEquals(flags("--grep", "word").file, "shared/logs/chat.log");
  assertEquals(flags("-f", "--", "-odd").file, "-odd");
  const env = new Map([["SKEIN_LOG", "b.log"]]);
  assertEquals(parseLogFlags([], env, "/nonexistent/.env").file, "b.log");
  assertMatch(refusal("a.log", "b.log"), /"b.log"/);
});

Deno.test("skein log: what is shown, and what contradicts itself", () => {
  assertEquals(flags().count, 50);
  assertEquals(flags("-n", "0").count, 0);
  assertEquals(flags("--all").count, Infinity);
  const { filter } = flags("--room", "#x,y", "--room", "z", "--grep", "HI");
  assertEquals([filter.rooms, filter.grep], [["x", "y", "z"], "hi"]);
  const since = flags("--since", "10m").filter.sinceMs ?? 0;
  assert(Math.abs(Date.now() - 600_000 - since) < 60_000);
  assertEquals(
    flags("--until", "2026-11-21T18:30:00Z").filter.untilMs,
    Date.UTC(2026, 10, 21, 18, 30),
  );
  assertEquals(
    flags("--since", "2026-11-21 18:30").filter.sinceMs,
    new Date(2026, 10, 21, 18, 30).getTime(),
  );
  assertEquals(
    flags("--since", "2026-11-21").filter.sinceMs,
    new Date(2026, 10, 21).getTime(),
  );
  for (const wrong of ["25:00", "soon", "2026-13-01", "10"]) {
    assertMatch(refusal("--since", wrong), /is no time, wanted/);
  }
  assertMatch(refusal("--all", "-n", "3"), /contradict/);
  assertMatch(refusal("--verify", "-f"), /"--verify" looks at all lines/);
  assertMatch(refusal("--server", "A,,B"), /has an empty word/);
});

Deno.test("skein log: a line for people cannot be forged, and is wrapped below its text", () => {
  const view = { filter: ALL, json: false, columnsMax: Infinity };
  const forged = 'hi\n2026-11-21 00:00:00 B Ahmad: "\u2028\u009b2J\u202e';
  const [shown, ...more] = shownLines(line(1, { text: forged }), view);
  assertEquals(more, []);
  assertMatch(shown, /^2026-11-2\d \d\d:\d\d:36 A Dana: hi\\n2026-/);
  assertMatch(shown, /\\u2028\\x9b2J\\u202e$/);
  const raw = shownLines(line(1, { text: forged }), { ...view, json: true });
  assertMatch(raw[0], /\\u2028\\u009b2J\\u202e"}$/);
  assertEquals(JSON.parse(raw[0]).text, forged);
  const words = line(2, { room: "x", text: "one two three four five six" });
  const wrapped = shownLines(words, { ...view, columnsMax: 52 });
  assertEquals(wrapped.map((text) => text.replace(/^2.*:36/, "T".repeat(19))), [
    "TTTTTTTTTTTTTTTTTTT A #x Dana: one two three four",
    "                               five six",
  ]);
  const long = line(3, { text: "x".repeat(70) });
  for (const row of shownLines(long, { ...view, columnsMax: 50 })) {
    assert(row.length <= 50, row);
  }
  assertEquals(shownLines("cron: \x1b[2J", view), ["? cron: \\x1b[2J"]);
});

Deno.test("skein log: filters let through what they name", () => {
  const show = (text: string, filter: Partial<LogFilter>) =>
    shownLines(text, {
      filter: { ...ALL, ...filter },
      json: false,
      columnsMax: Infinity,
    }).length === 1;
  const at = Date.UTC(2026, 10, 21, 0, 38, 36, 123);
  const one = line(1, { room: "x", text: "Hello" });
  assert(show(one, { servers: ["B", "A"], rooms: ["x"], grep: "hell" }));
  assert(!show(one, { servers: ["B"] }));
  assert(!show(one, { from: ["Ahmad"] }));
  assert(!show(one, { types: ["dm"] }));
  assert(!show(line(1), { rooms: ["x"] }));
  assert(!show(line(1), { grep: "hell" }));
  assert(show(one, { sinceMs: at, untilMs: at + 1 }));
  assert(!show(one, { untilMs: at }) && !show(one, { sinceMs: at + 1 }));
  assert(!show("cron", { types: ["msg"] }));
});

/** What is done to four good lines, and what must be said of it. */
const DAMAGE: readonly (readonly [
  what: string,
  damage: (lines: string[]) => string[],
  finding: RegExp,
])[] = [
  ["a line is gone", (l) => l.toSpliced(1, 1), /:2: has number 3 after 1: 1 n/],
  ["a line is twice", (l) => l.toSpliced(2, 0, l[1]), /:3: .* it was there/],
  ["two change places", ([a, b, c, d]) => [a, c, b, d], /:3: .* out of order/],
  [
    "half a line, one behind it",
    (l) => l.with(1, l[1].slice(0, 30)),
    /:2: is no JSON/,
  ],
  ["two in one", (l) => [l[0], l[1] + l[2], l[3]], /:2: is no JSON/],
  ["an empty line", (l) => l.toSpliced(2, 0, ""), /:3: is no JSON/],
  ["a list", (l) => l.toSpliced(2, 0, "[]"), /:3: is no JSON object/],
  [
    "no UTF-8",
    (l) => l.with(2, l[2].replace("Dana", "\ud800")),
    /:3: is no UTF-8/,
  ],
  [
    "a number as a text",
    (l) => l.with(2, l[2].replace("3", '"3"')),
    /:3: has a "seq"/,
  ],
  [
    "a time that is none",
    (l) => l.with(2, l[2].replace("11-21", "13-21")),
    /:3: has a "time"/,
  ],
  [
    "a key too many",
    (l) => l.with(2, l[2].replace("}", ',"x":1}')),
    /:3: .*kind: "x"/,
  ],
  [
    "no server",
    (l) => l.with(2, l[2].replace('"server":"A",', "")),
    /:3: has no "server"/,
  ],
  [
    "another order",
    (l) => l.with(2, l[2].replace(/("server":"A"),("type":"msg")/, "$2,$1")),
    /:3: has its keys/,
  ],
  [
    "a text that is none",
    (l) => l.with(2, l[2].replace('"Dana"', "7")),
    /:3: has a "from"/,
  ],
  [
    "no end",
    (l) => l.with(2, "x".repeat(600_000)),
    /:3: has more than 131072 bytes/,
  ],
];

for (const [what, damage, finding] of DAMAGE) {
  Deno.test(`skein log --verify: ${what} is found`, async () => {
    await inFolder(async (path) => {
      const good = [1, 2, 3, 4].map((seq) => line(seq));
      const text = (lines: string[]) => lines.map((one) => `${one}\n`).join("");
      Deno.writeTextFileSync(path, text(good));
      const { count, lines } = await verified(path);
      assertEquals([count, lines], [0, [
        "4 lines in 1 file, numbers 1 to 4: all is well",
      ]]);
      const bytes = new TextEncoder().encode(text(damage(good)));
      // No string is a text that is none: so it is made here.
      const at = text(damage(good)).indexOf("\ud800");
      if (at >= 0) bytes.set([0xff, 0xfe, 0xfd], at);
      Deno.writeFileSync(path, bytes);
      const bad = await verified(path);
      assert((bad.count ?? 0) > 0, "nothing was found");
      assertMatch(bad.lines.slice(0, 2).join(" "), finding);
    });
  });
}

Deno.test("skein log --verify: through rotated files; half a line at the end; many findings are counted", async () => {
  await inFolder(async (path) => {
    assertEquals((await verified(path)).count, undefined);
    const text = (seqs: number[]) =>
      seqs.map((seq) => `${line(seq)}\n`).join("");
    Deno.writeTextFileSync(`${path}.10`, text([7, 8]));
    Deno.writeTextFileSync(`${path}.9`, text([9]));
    Deno.writeTextFileSync(path, text([10, 11]));
    Deno.writeTextFileSync(`${path}.bak`, "no file of the log");
    assertEquals((await verified(path)).lines, [
      "5 lines in 3 files, numbers 7 to 11: all is well",
    ]);
    Deno.writeTextFileSync(path, '{"seq":12', { append: true });
    const torn = await verified(path);
    assertEquals(torn.lines[0], `${path}:3: ends in half a line`);
    Deno.writeTextFileSync(path, "x\n".repeat(150));
    const many = await verified(path);
    assertEquals([many.count, many.lines.length], [150, 102]);
    assertEquals(many.lines[100], "and 50 more");
  });
});

Deno.test("skein log --verify: half a line that is being written is no finding", async () => {
  await inFolder(async (path) => {
    const whole = `${line(1)}\n${line(2)}\n`;
    Deno.writeTextFileSync(path, whole.slice(0, -20));
    using writer = Deno.openSync(path, { read: true, append: true });
    writer.lockSync(true);
    let isDone = false;
    const result = verified(path).finally(() => isDone = true);
    // It reads the file, and then waits for the lock.
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert(!isDone);
    writer.writeSync(new TextEncoder().encode(whole.slice(-20)));
    writer.unlockSync();
    assertEquals((await result).count, 0);
  });
});

Deno.test("skein log -f: waits for the file, follows through rotations, a repair and a removal", async () => {
  await inFolder(async (path) => {
    const seen: number[] = [];
    const lost: number[] = [];
    let missing = 0;
    const stop = new AbortController();
    const following = (async () => {
      const followed = followLines(path, {
        lastSeq: 0,
        onMissing: () => missing += 1,
        onLost: ({ from, to }) => lost.push(from, to),
        signal: stop.signal,
      });
      for await (const lines of followed) {
        for (const text of lines) seen.push(JSON.parse(text).seq);
      }
    })();
    try {
      await until("it waits", () => missing === 1);
      const log = await SharedLog.open(path, {
        server: "A",
        fileBytesMax: 2_000,
        filesMax: 1_000,
      });
      const append = async (count: number) => {
        const last = (seen.at(-1) ?? 0) + count;
        for (let at = 0; at < count; at++) {
          log.append({ type: "msg", timeMs: Date.now(), text: "hello" });
          if (at % 5 === 0) await log.flush();
        }
        await log.flush();
        await until(`it shows ${last}`, () => seen.at(-1) === last);
      };
      await append(500);
      Deno.writeTextFileSync(path, '{"seq":501,"ti', { append: true });
      await append(1);
      Deno.removeSync(path);
      await append(30);
      await log.close(0);
      assertEquals(log.counters.rotations > 10, true);
      assertEquals(seen, Array.from({ length: 531 }, (_, index) => index + 1));
      assertEquals([lost, missing], [[], 1]);
    } finally {
      stop.abort();
      await following;
    }
  });
});

async function run(
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...[
        "run",
        "--quiet",
        "--no-prompt",
        "--allow-read",
        "--allow-env=SKEIN_*",
      ],
      ...[MAIN, "client", "log", ...args],
    ],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

Deno.test("skein log: its exit codes, its end, and all of it", async () => {
  await inFolder(async (path) => {
    const none = await run(path);
    assertEquals([none.code, none.stdout], [1, ""]);
    assertMatch(none.stderr, /^skein log: There is no ".*chat\.log"\n$/);
    const text = (from: number, to: number) =>
      Array.from(
        { length: to - from + 1 },
        (_, at) => `${line(from + at, { text: `text ${from + at}` })}\n`,
      ).join("");
    Deno.writeTextFileSync(`${path}.1`, text(1, 60));
    Deno.writeTextFileSync(path, text(61, 80));
    const last = await run(path, "--json");
    assertEquals([last.code, last.stdout], [0, text(31, 80)]);
    assertEquals((await run(path, "--json", "--all")).stdout, text(1, 80));
    const some = await run(path, "-n", "1", "--grep", "TEXT 5");
    assertMatch(some.stdout, /^2026-11-2\d \d\d:\d\d:36 A Dana: text 59\n$/);
    assertEquals((await run(path, "--verify")).code, 0);
    Deno.removeSync(`${path}.1`);
    Deno.writeTextFileSync(path, text(5, 6), { append: true });
    const bad = await run(path, "--verify");
    assertEquals(bad.code, 1);
    assertMatch(bad.stdout, /chat\.log:21: has number 5 after 80/);
    assertEquals((await run(path, "--verify", "--all")).code, 2);
  });
});

Deno.test("skein log: a type that nobody has is told of, one that another version writes is shown", async () => {
  await inFolder(async (path) => {
    const lines = [line(1), line(2, { type: "novel", text: "new" })];
    await Deno.writeTextFile(path, `${lines.join("\n")}\n`);
    const run = async (type: string) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", MAIN, "client", "log", path, "--type", type],
      }).output();
      const [shown, told] = [stdout, stderr].map((bytes) =>
        new TextDecoder().decode(bytes).trim()
      );
      return { code, count: shown === "" ? 0 : shown.split("\n").length, told };
    };
    assertEquals(await run("logn"), {
      ...{ code: 0, count: 0 },
      told: 'skein log: No line is of type "logn"; did you mean "login"?',
    });
    const far = await run("nonsense");
    assertMatch(far.told, /type "nonsense"; there are msg, dm, login, /);
    assertEquals(await run("novel"), { code: 0, count: 1, told: "" });
    assertEquals(await run("dm"), { code: 0, count: 0, told: "" });
  });
});
