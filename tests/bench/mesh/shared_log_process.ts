/**
 * One of several processes of the bench of the shared log: KIND PATH SECONDS
 * START, as shared_log_flock.c. KIND is
 *
 * - `skein`: lines of 150 bytes into Skein's log, as many as it takes;
 * - `sqlite`: a row each into an SQLite database in WAL mode;
 * - `paced`: a chat's load, 1,000 lines a second into Skein's log, and how late
 *   a timer is meanwhile; also says "late P99 MAX" in ms;
 * - `idle`: the same without the log.
 */

import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers";
import { SharedLog } from "../../../storage/shared_log.ts";
import { quantile } from "../statistics.ts";

const [kind, path, secondsText, startText] = Deno.args;
const seconds = Number(secondsText);
const LINES_PER_TURN = 64;
const TIMER_MS = 5;
const LINES_PER_TIMER = 5;

const entry = (text: string) => ({
  type: "msg",
  timeMs: Date.now(),
  from: "Dana",
  text,
});

/** Written so far, or in all. */
let lines = 0;

switch (kind) {
  case "skein":
    await skein();
    break;
  case "sqlite":
    await sqlite();
    break;
  case "paced":
  case "idle":
    await paced(kind === "paced");
    break;
  default:
    throw new Error(`"${kind}" is no kind`);
}

async function skein(): Promise<void> {
  const log = await SharedLog.open(path, {
    server: "A",
    fileBytesMax: 2 ** 40,
  });
  // With a number of six digits the line has 150 bytes.
  const text = "x".repeat(51);
  const beginMs = await started();
  const endMs = beginMs + seconds * 1_000;
  while (performance.now() < endMs) {
    for (let more = 0; more < LINES_PER_TURN && !log.isFull; more++) {
      log.append(entry(text));
      lines += 1;
    }
    if (log.isFull) await log.flush();
    else await nextTurn();
  }
  await log.flush();
  say(performance.now() - beginMs);
  await log.close(0);
}

async function sqlite(): Promise<void> {
  const database = new DatabaseSync(path);
  database.exec("PRAGMA busy_timeout = 20000");
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("PRAGMA synchronous = NORMAL");
  database.exec(
    'CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, time TEXT, server TEXT, type TEXT, "from" TEXT, text TEXT)',
  );
  const insert = database.prepare(
    'INSERT INTO log (time, server, type, "from", text) VALUES (?, ?, ?, ?, ?)',
  );
  const text = "x".repeat(51);
  const beginMs = await started();
  const endMs = beginMs + seconds * 1_000;
  while (performance.now() < endMs) {
    insert.run(new Date().toISOString(), "A", "msg", "Dana", text);
    lines += 1;
  }
  say(performance.now() - beginMs);
  database.close();
}

async function paced(isLogged: boolean): Promise<void> {
  const log = await SharedLog.open(path, {
    server: "P",
    fileBytesMax: 2 ** 40,
  });
  const text = "x".repeat(51);
  const late: number[] = [];
  const beginMs = await started();
  const endMs = beginMs + seconds * 1_000;
  for (let nowMs = beginMs; nowMs < endMs;) {
    await new Promise<void>((resolve) => setTimeout(resolve, TIMER_MS));
    late.push(performance.now() - nowMs - TIMER_MS);
    for (let more = 0; more < LINES_PER_TIMER; more++) {
      const one = entry(text);
      if (isLogged) log.append(one);
      else JSON.stringify(one);
      lines += 1;
    }
    nowMs = performance.now();
  }
  await log.flush();
  say(performance.now() - beginMs);
  const sorted = Float64Array.from(late).sort();
  const [p99, max] = [quantile(sorted, 0.99), quantile(sorted, 1)];
  console.error(`late ${p99.toFixed(3)} ${max.toFixed(3)}`);
  await log.close(0);
}

/** Waits for the common start; its time on this process's clock. */
async function started(): Promise<number> {
  const waitMs = Number(startText) - Date.now();
  await new Promise<void>((resolve) =>
    setTimeout(resolve, Math.max(0, waitMs))
  );
  return performance.now();
}

function say(ms: number): void {
  console.error(`wrote ${lines} ${ms / 1_000}`);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
