import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  FLUSH_WAIT_MS,
  type LogFields,
  openLog,
  PENDING_BYTES_MAX,
  VALUE_CHARACTERS_MAX,
} from "../../../nodes/host/log.ts";

const decoder = new TextDecoder();

/** A standard error that keeps everything. */
function collector() {
  let text = "";
  return {
    write: (bytes: Uint8Array) => {
      text += decoder.decode(bytes, { stream: true });
      return Promise.resolve(bytes.length);
    },
    lines: () => text.split("\n").slice(0, -1),
  };
}

async function jsonOf(message: string, fields?: LogFields) {
  const { write, lines } = collector();
  const { log, flush } = openLog({
    node: "n1",
    level: "debug",
    write,
    terminal: false,
  });
  log.info(message, fields);
  await flush();
  assertEquals(lines().length, 1);
  assertMatch(lines()[0], /^[^\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]*$/u);
  const { time, ...rest } = JSON.parse(lines()[0]);
  assertMatch(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  return rest;
}

async function prettyOf(
  message: string,
  fields?: LogFields,
  options = { color: false },
) {
  const { write, lines } = collector();
  const { log, flush } = openLog({
    node: "n1",
    level: "debug",
    write,
    terminal: true,
    ...options,
  });
  log.warn(message, fields);
  await flush();
  assertEquals(lines().length, 1);
  return lines()[0];
}

Deno.test("log: elsewhere than on a terminal a line is one JSON object", async () => {
  assertEquals(await jsonOf("Listening", { port: 3527, tail: true }), {
    level: "info",
    node: "n1",
    message: "Listening",
    port: 3527,
    tail: true,
  });
  assertEquals(await jsonOf("No fields"), {
    level: "info",
    node: "n1",
    message: "No fields",
  });
});

Deno.test("log: on a terminal a line is for people", async () => {
  assertMatch(
    await prettyOf("Link down", { peer: "a:1", ms: 5, gone: undefined }),
    /^\d\d:\d\d:\d\d\.\d{3} WARN {2}Link down peer=a:1 ms=5$/,
  );
  assertMatch(
    await prettyOf("Link down", { peer: "a:1" }, { color: true }),
    // deno-lint-ignore no-control-regex
    /^\x1b\[2m[\d:.]+\x1b\[0m \x1b\[33mWARN \x1b\[0m Link down \x1b\[2mpeer=\x1b\[0ma:1$/,
  );
});

Deno.test("log: neither message nor field forges a line, a field or a colour", async () => {
  const evil = 'x\n{"level":"error"}\r\x1b[2J\x9b\u2028\u202e level=error';
  const line = await prettyOf(evil, { [evil]: evil, list: [evil] });
  assertMatch(line, /^[^\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]*$/u);
  assert(line.endsWith("]"), line);
  const json = await jsonOf(evil, { [evil]: evil });
  assertEquals(json.message, evil);
  assertEquals(json[evil], evil);
});

Deno.test("log: a field does not pass for one of the line's own", async () => {
  assertEquals(await jsonOf("m", { level: "error", message: 1, node: "n2" }), {
    level: "info",
    node: "n1",
    message: "m",
    level_: "error",
    message_: 1,
    node_: "n2",
  });
});

Deno.test("log: braces in a message are text, not placeholders", async () => {
  const { message } = await jsonOf("got {name} and {{", { name: "x" });
  assertEquals(message, "got {name} and {{");
});

Deno.test("log: values that JSON cannot hold are shown nevertheless", async () => {
  const circle: Record<string, unknown> = {};
  circle.again = circle;
  const cause = new TypeError("inner");
  for (
    const [value, expected] of [
      [10n, "10"],
      [NaN, "NaN"],
      [null, null],
      [
        new Error("outer", { cause }),
        "Error: outer; caused by TypeError: inner",
      ],
      [new Uint8Array(7), "(7 bytes)"],
      [new Set([1, "a"]), [1, "a"]],
      [new Map([["k", { v: 1n }]]), { k: { v: "1" } }],
      [() => 1, "(function)"],
      [new Date(0), "1970-01-01T00:00:00.000Z"],
      [circle, { again: { again: { again: { again: "…" } } } }],
      [{
        get x() {
          throw new Error("no");
        },
      }, "(cannot be shown: Error: no)"],
    ]
  ) assertEquals((await jsonOf("m", { value })).value, expected);
});

Deno.test("log: a field that throws costs only itself", async () => {
  const fields = {
    get bad(): string {
      throw new Error("no");
    },
    good: 1,
  };
  const { bad, good } = await jsonOf("m", fields);
  assertEquals({ bad, good }, { bad: "(cannot be shown: Error: no)", good: 1 });
});

Deno.test("log: long values are cut and say so", async () => {
  const long = "x".repeat(VALUE_CHARACTERS_MAX + 5);
  const cut = `${long.slice(5)}… (5 more characters)`;
  const line = await jsonOf(long, { long });
  assertEquals([line.message, line.long], [cut, cut]);
  const many = Object.fromEntries(
    Array.from({ length: 70 }, (_, index) => [`field${index}`, index]),
  );
  assertEquals((await jsonOf("m", many)).moreFields, 6);
  const { list } = await jsonOf("m", { list: Array(1000).fill(0) });
  assertEquals([list.length, list.at(-1)], [257, "…"]);
  const { words } = await jsonOf("m", {
    words: Array(200).fill("y".repeat(99)),
  });
  assertMatch(words, /… \(\d+ more characters\)$/);
});

Deno.test("log: lines below the level are not written", async () => {
  const { write, lines } = collector();
  const { log, flush } = openLog({
    node: "n",
    level: "warn",
    write,
    terminal: false,
  });
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  await flush();
  const said = lines().map((line) => JSON.parse(line));
  assertEquals(said.map(({ level, message }) => `${level} ${message}`), [
    "warn c",
    "error d",
  ]);
});

Deno.test("log: two logs of one process do not mix", async () => {
  const [one, two] = [collector(), collector()];
  const common = { level: "info", terminal: false } as const;
  const first = openLog({ ...common, node: "a", write: one.write });
  const second = openLog({ ...common, node: "b", write: two.write });
  first.log.info("1");
  second.log.info("2");
  await Promise.all([first.flush(), second.flush()]);
  assertEquals(JSON.parse(one.lines()[0]).node, "a");
  assertEquals(JSON.parse(two.lines()[0]).node, "b");
  assertEquals([one.lines().length, two.lines().length], [1, 1]);
});

Deno.test("log: lines stay whole and in order through short writes", async () => {
  let text = "";
  const { log, flush } = openLog({
    node: "n",
    level: "info",
    terminal: false,
    write: (bytes) => {
      const count = Math.min(bytes.length, 7);
      text += decoder.decode(bytes.subarray(0, count), { stream: true });
      return Promise.resolve(count);
    },
  });
  for (let number = 0; number < 100; number++) log.info("é", { number });
  await flush();
  const numbers = text.trimEnd().split("\n").map((line) =>
    JSON.parse(line).number
  );
  assertEquals(numbers, Array.from({ length: 100 }, (_, number) => number));
});

Deno.test("log: a write that would block is repeated", async () => {
  const { write, lines } = collector();
  let calls = 0;
  const { log, flush } = openLog({
    node: "n",
    level: "info",
    terminal: false,
    write: (bytes) => {
      calls += 1;
      if (calls === 1) return Promise.reject(new Deno.errors.WouldBlock());
      return write(bytes);
    },
  });
  log.info("a");
  await flush();
  assertEquals([calls, lines().length], [2, 1]);
});

Deno.test("log: a blocked reader costs lines, which are counted", async () => {
  const { write, lines } = collector();
  let open = () => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  const { log, flush } = openLog({
    node: "n",
    level: "info",
    terminal: false,
    write: async (bytes) => {
      await opened;
      return await write(bytes);
    },
  });
  const said = 2_000;
  for (let number = 0; number < said; number++) {
    log.info("x".repeat(1_000), { number });
  }
  open();
  await flush();
  const records = lines().map((line) => JSON.parse(line));
  const last = records.pop();
  assertEquals([last.level, last.message], ["warn", "Dropped log lines"]);
  assertEquals(records.length + last.count, said);
  assert(last.count > 0, "nothing was dropped");
  const written = lines().slice(0, -1).join("\n").length + 1;
  assert(written <= PENDING_BYTES_MAX, `${written} bytes were pending`);
  assertEquals(records.at(-1).number, records.length - 1);

  // And it goes on.
  log.info("after");
  await flush();
  assertEquals(JSON.parse(lines().at(-1) ?? "").message, "after");
});

Deno.test("log: a standard error that is gone stops nothing", async () => {
  let calls = 0;
  const { log, flush } = openLog({
    node: "n",
    level: "info",
    terminal: false,
    write: () => {
      calls += 1;
      return Promise.reject(new Deno.errors.BrokenPipe());
    },
  });
  log.info("a");
  log.info("b");
  await flush();
  // Two attempts of lines and one of the count; no endless loop.
  assert(calls <= 4, `${calls} writes`);
});

Deno.test("log: flush gives up on a reader that is stuck", async () => {
  const { log, flush } = openLog({
    node: "n",
    level: "info",
    terminal: false,
    write: () => new Promise(() => {}),
  });
  log.info("a");
  const startedAt = performance.now();
  await flush();
  assert(performance.now() - startedAt >= FLUSH_WAIT_MS - 50);
});

Deno.test("log: a process whose standard error nobody reads stays alive", async () => {
  const module = new URL("../../../nodes/host/log.ts", import.meta.url);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `import { openLog } from ${JSON.stringify(module.href)};
      const { log } = openLog({ node: "n", level: "info" });
      for (let i = 0; i < 20_000; i++) log.info("x".repeat(100), { i });
      setTimeout(() => console.log("alive"), 0);`,
    ],
    cwd: new URL("../../..", import.meta.url),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  // Only then is standard error read: the child has long filled it.
  const alive = await new Response(firstChunk(child.stdout)).text();
  assertEquals(alive, "alive\n");
  const lines = (await new Response(child.stderr).text()).trimEnd().split("\n");
  assertEquals((await child.status).code, 0);
  const { message, count } = JSON.parse(lines.at(-1) ?? "");
  assertEquals(message, "Dropped log lines");
  assertEquals(lines.length - 1 + count, 20_000);
});

function firstChunk(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
  let seen = 0;
  return stream.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        seen += chunk.length;
        controller.enqueue(chunk);
        if (seen >= "alive\n".length) controller.terminate();
      },
    }),
  );
}
