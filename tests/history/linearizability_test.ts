import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Random } from "../sim/random.ts";
import { formatHistory, type HistoryEvent, parseHistory } from "./history.ts";
import { type Call, callsByKey, checkHistory } from "./linearizability.ts";

const RANDOM_HISTORIES = 4_000;

/** A history from a few words: `0 append a` asks, `0 ok a 1` and `1 ok [a,b]` answer. */
function history(lines: readonly string[]): HistoryEvent[] {
  const asked = new Map<number, HistoryEvent>();
  return lines.map((line, time) => {
    const [who, what, ...rest] = line.split(" ");
    const process = Number(who);
    if (what === "append" || what === "read") {
      const [value, key = "k"] = what === "append" ? rest : ["", ...rest];
      const event: HistoryEvent = {
        process,
        type: "invoke",
        f: what,
        key,
        value: what === "append" ? value : null,
        time,
      };
      asked.set(process, event);
      return event;
    }
    const open = asked.get(process);
    if (open === undefined) throw new Error(`Nothing asked before "${line}"`);
    const type = what === "ok" ? "ok" : what === "fail" ? "fail" : "info";
    const list = rest[0]?.slice(1, -1);
    const isRead = open.f === "read" && type === "ok";
    return {
      ...open,
      type,
      value: isRead ? list === "" ? [] : list.split(",") : open.value,
      ...(!isRead && rest[1] ? { position: Number(rest[1]) } : {}),
      time,
    };
  });
}

const HELD: Record<string, string[]> = {
  "nothing happened": [],
  "one after the other": [
    "0 append a",
    "0 ok a 1",
    "1 read",
    "1 ok [a]",
    "0 append b",
    "0 ok b 2",
    "1 read",
    "1 ok [a,b]",
  ],
  "a read sees an append that is under way": [
    "0 append a",
    "1 read",
    "1 ok [a]",
    "0 ok a 1",
  ],
  "a read does not see an append that is under way": [
    "0 append a",
    "1 read",
    "1 ok []",
    "0 ok a 1",
  ],
  "an append nobody knows of is seen much later": [
    "0 append a",
    "0 info",
    "1 read",
    "1 ok []",
    "1 append b",
    "1 ok b 1",
    "1 read",
    "1 ok [b,a]",
  ],
  "an append nobody knows of never happens": [
    "0 append a",
    "0 info",
    "1 append b",
    "1 ok b 1",
    "1 read",
    "1 ok [b]",
  ],
  "an append nobody knows of fills a place": [
    "0 append a",
    "0 info",
    "1 append b",
    "1 ok b 2",
  ],
  "appends at once may come in any order": [
    "0 append a",
    "1 append b",
    "0 ok a 2",
    "1 ok b 1",
  ],
  "a failed append is not there": [
    "0 append a",
    "0 fail",
    "1 read",
    "1 ok []",
  ],
  "keys have nothing to do with one another": [
    "0 append a x",
    "0 ok a 1",
    "1 append b y",
    "1 ok b 1",
    "1 read x",
    "1 ok [a]",
  ],
};

const BROKEN: Record<string, string[]> = {
  "a lost write": ["0 append a", "0 ok a 1", "1 read", "1 ok []"],
  "a write that comes twice": [
    "0 append a",
    "0 ok a 1",
    "1 read",
    "1 ok [a,a]",
  ],
  "a read that goes back": [
    "0 append a",
    "1 read",
    "1 ok [a]",
    "2 read",
    "2 ok []",
    "0 ok a 1",
  ],
  "a read of what was never written": ["0 read", "0 ok [z]"],
  "a read of what failed": ["0 append a", "0 fail", "1 read", "1 ok [a]"],
  "a read before the write was asked for": [
    "1 read",
    "1 ok [a]",
    "0 append a",
    "0 ok a 1",
  ],
  "two orders of one list": [
    "0 append a",
    "1 append b",
    "2 read",
    "2 ok [a,b]",
    "3 read",
    "3 ok [b,a]",
    "0 ok a",
    "1 ok b",
  ],
  "writes against the order of time": [
    "0 append a",
    "0 ok a",
    "1 append b",
    "1 ok b",
    "2 read",
    "2 ok [b,a]",
  ],
  "one place given twice": [
    "0 append a",
    "1 append b",
    "0 ok a 1",
    "1 ok b 1",
  ],
  "a place that nothing precedes": ["0 append a", "0 ok a 2"],
  "a stale read from the side that was cut off": [
    "0 append a",
    "0 ok a 1",
    "1 append b",
    "2 read",
    "1 ok b 2",
    "2 ok [a]",
    "2 read",
    "2 ok [a]",
  ],
};

for (const [name, lines] of Object.entries(HELD)) {
  Deno.test(`history: holds: ${name}`, () => {
    assertEquals(checkHistory(history(lines)).kind, "linearizable");
  });
}

for (const [name, lines] of Object.entries(BROKEN)) {
  Deno.test(`history: is broken: ${name}`, () => {
    assertEquals(checkHistory(history(lines)).kind, "broken");
  });
}

Deno.test("history: says which call has no explanation", () => {
  const verdict = checkHistory(
    history(BROKEN["a stale read from the side that was cut off"]),
  );
  assert(verdict.kind === "broken");
  assertEquals(verdict.key, "k");
  assertStringIncludes(verdict.reason, "read of 1 elements, asked in line 7");
});

Deno.test("history: calls and answers that do not pair are broken", () => {
  const twice = history(["0 append a", "0 append b"]);
  assertEquals(checkHistory(twice).kind, "broken");
  const [, answer] = history(["0 append a", "0 ok a 1"]);
  assertEquals(checkHistory([answer]).kind, "broken");
});

Deno.test("history: a search without end is given up", () => {
  // Elements many times over: their places say nothing about their calls.
  const lines = Array.from(
    { length: 16 },
    (_, at) => `${at} append ${at % 2 === 0 ? "a" : "b"}`,
  );
  for (let at = 0; at < 16; at++) lines.push(`${at} ok`);
  lines.push("20 read", "20 ok [a,a,a,a,a,a,a,a,a,b,b,b,b,b,b,b,b]");
  assertEquals(
    checkHistory(history(lines), { triesMax: 100 }).kind,
    "undecided",
  );
});

Deno.test("history: agrees with trying every order", () => {
  const random = new Random(1);
  const found = { linearizable: 0, broken: 0, undecided: 0 };
  for (let round = 0; round < RANDOM_HISTORIES; round++) {
    const events = randomHistory(random);
    const { kind } = checkHistory(events);
    found[kind] += 1;
    const calls = callsByKey(events);
    assert(typeof calls !== "string");
    const holds = [...calls.values()].every((ofKey) => explains(ofKey));
    assertEquals(
      kind,
      holds ? "linearizable" : "broken",
      formatHistory(events),
    );
  }
  // Neither answer may be rare, or the comparison would prove little.
  assert(found.linearizable > RANDOM_HISTORIES / 5, JSON.stringify(found));
  assert(found.broken > RANDOM_HISTORIES / 5, JSON.stringify(found));
});

Deno.test("history: a long history with many clients is quick to check", () => {
  const random = new Random(3);
  const events = executedHistory(random, { calls: 3_000, processes: 16 });
  const startMs = performance.now();
  assertEquals(checkHistory(events).kind, "linearizable");
  assert(performance.now() - startMs < 5_000, "it took more than 5 s");
});

Deno.test("history: a history comes back from its lines", () => {
  const events = randomHistory(new Random(5));
  assertEquals(parseHistory(formatHistory(events)), events);
});

Deno.test("history: a line that is no event is named", () => {
  for (
    const [line, reason] of [
      ["{", "line 2"],
      ["[]", "process is undefined"],
      ['{"process":1,"type":"done"}', "type is done"],
      ['{"process":1,"type":"ok","f":"add"}', "f is add"],
      ['{"process":1,"type":"ok","f":"read","key":1}', "key is 1"],
      ['{"process":1,"type":"ok","f":"read","key":"k"}', "time is undefined"],
      [
        '{"process":1,"type":"ok","f":"read","key":"k","time":1,"value":[1]}',
        "wanted a list of texts",
      ],
      [
        '{"process":1,"type":"ok","f":"append","key":"k","time":1}',
        "wanted the element",
      ],
    ]
  ) {
    let text = "";
    try {
      parseHistory(`\n${line}\n`);
    } catch (error) {
      text = String(error);
    }
    assertStringIncludes(text, reason);
  }
});

/** What a correct list answered, with answers left out and, often, one forged. */
function randomHistory(random: Random): HistoryEvent[] {
  const events = executedHistory(random, {
    calls: 2 + random.int(5),
    processes: 1 + random.int(4),
  });
  if (random.chance(0.35)) return events;
  return events.map((event) => {
    if (event.type !== "ok" || random.chance(0.6)) return event;
    if (event.f === "append") {
      const forged = random.int(3);
      if (forged === 0) return { ...event, position: 1 + random.int(4) };
      return forged === 1 ? { ...event, type: "fail" } : event;
    }
    const list = Array.isArray(event.value) ? [...event.value] : [];
    const forged = random.int(4);
    if (forged < 2) list.pop();
    else if (forged === 2) list.reverse();
    else list.push(`v${random.int(6)}`);
    return { ...event, value: list };
  });
}

/** Calls whose moment is drawn at random between their two ends. */
function executedHistory(
  random: Random,
  { calls, processes }: { calls: number; processes: number },
): HistoryEvent[] {
  const lists = new Map<string, string[]>();
  const events: HistoryEvent[] = [];
  const open = new Map<number, { event: HistoryEvent; position: number }>();
  const idle = Array.from({ length: processes }, (_, at) => at);
  let unused = processes;
  let asked = 0;
  while (asked < calls || open.size > 0) {
    if (asked < calls && idle.length > 0 && random.chance(0.5)) {
      const [process] = idle.splice(random.int(idle.length), 1);
      const f = random.chance(0.5) ? "append" : "read";
      const name = random.chance(0.1) ? random.int(3) : asked;
      const value = f === "append" ? `v${name}` : null;
      const key = `k${random.int(2)}`;
      asked += 1;
      const time = events.length;
      const event = { process, type: "invoke", f, key, value, time } as const;
      events.push(event);
      open.set(process, { event, position: 0 });
      continue;
    }
    if (open.size === 0) continue;
    const [process, call] = random.pick([...open]);
    const list = lists.get(call.event.key) ?? [];
    lists.set(call.event.key, list);
    if (call.position === 0 && typeof call.event.value === "string") {
      // Of an answer that never comes the append may happen or not.
      if (random.chance(0.1)) {
        if (random.chance(0.5)) list.push(call.event.value);
        events.push({ ...call.event, type: "info", time: events.length });
        open.delete(process);
        idle.push(unused++);
        continue;
      }
      call.position = list.push(call.event.value);
      if (random.chance(0.5)) continue;
    }
    const time = events.length;
    const { position } = call;
    events.push(
      call.event.f === "read"
        ? { ...call.event, type: "ok", value: [...list], time }
        : random.chance(0.5)
        ? { ...call.event, type: "ok", time }
        : { ...call.event, type: "ok", position, time },
    );
    open.delete(process);
    idle.push(process);
  }
  return events;
}

/** Tries every order that time allows; calls without an answer may be left out. */
function explains(
  calls: readonly Call[],
  list: readonly string[] = [],
): boolean {
  if (calls.every(({ to }) => to === Infinity)) return true;
  return calls.some((call) => {
    if (calls.some(({ to }) => to < call.from)) return false;
    const others = calls.filter((other) => other !== call);
    if (call.element === undefined) {
      return call.list?.join() === list.join() && explains(others, list);
    }
    if (call.position !== undefined && call.position !== list.length + 1) {
      return false;
    }
    return explains(others, [...list, call.element]);
  });
}
