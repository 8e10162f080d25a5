/** Sessions and results. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { SEEN_ENTRIES_MAX } from "../../../../nodes/chat/state/commands.ts";
import {
  packResult,
  type Result,
  RESULT_CODES,
  unpackResult,
} from "../../../../nodes/chat/state/results.ts";
import {
  RESULTS_KEPT,
  type Session,
  SESSIONS_PER_USER_MAX,
  SessionTable,
} from "../../../../nodes/chat/state/sessions.ts";
import { hex, sessionId } from "./state_fixture.ts";

/** Opens a session in the entry `index`. */
function open(
  table: SessionTable,
  number: number,
  options: { user?: number; index?: number; seen?: number } = {},
): Result {
  const { user = 1, index = number } = options;
  const { seen = index - 1 } = options;
  table.advance(index);
  return table.open({
    id: sessionId(number),
    secretHash: hex(number, 64),
    user,
    seen,
    index,
    timeMs: index,
  }).result;
}

function get(table: SessionTable, number: number): Session {
  const session = table.get(sessionId(number));
  assert(session !== undefined);
  return session;
}

/** Executes the next command of a session, whose result is its index. */
function next(table: SessionTable, session: Session, index: number): void {
  const result: Result = { code: "ok", value: index };
  table.complete(session, { result, index, timeMs: index });
}

Deno.test("sessions: the next sequence is executed, and no other", () => {
  const table = new SessionTable();
  open(table, 1);
  const session = get(table, 1);
  assertEquals(table.judge(session.id, 1), undefined);
  assertEquals(table.judge(session.id, 2), { code: "gap", value: 1 });
  next(table, session, 10);
  assertEquals(table.judge(session.id, 1), { code: "ok", value: 10 });
  assertEquals(table.judge(session.id, 2), undefined);
  assertEquals(table.judge(session.id, 99), { code: "gap", value: 2 });
  assertEquals(table.judge(sessionId(2), 1), { code: "no-session", value: 0 });
});

Deno.test("sessions: the last 64 results are kept, older ones are stale", () => {
  const table = new SessionTable();
  open(table, 1);
  const session = get(table, 1);
  for (let sequence = 1; sequence <= 200; sequence += 1) {
    next(table, session, 1_000 + sequence);
    for (let asked = 1; asked <= sequence; asked += 1) {
      assertEquals(
        table.judge(session.id, asked),
        asked > sequence - RESULTS_KEPT
          ? { code: "ok", value: 1_000 + asked }
          : { code: "stale", value: 0 },
      );
    }
  }
});

Deno.test("sessions: opened twice is opened once; by another it is refused", () => {
  const table = new SessionTable();
  assertEquals(open(table, 5).code, "ok");
  next(table, get(table, 5), 6);
  assertEquals(open(table, 5, { index: 7 }).code, "ok");
  assertEquals(get(table, 5).sequence, 1);
  assertEquals(open(table, 5, { index: 8, user: 2 }).code, "stale");
});

Deno.test("sessions: what has ended is not opened again by a late repetition", () => {
  const table = new SessionTable();
  open(table, 5);
  table.end(get(table, 5), { index: 6, reason: "closed" });
  assertEquals(open(table, 5, { index: 7, seen: 4 }).code, "stale");
  // As long as it could still be taken for new, it is remembered.
  const last = 4 + SEEN_ENTRIES_MAX;
  assertEquals(open(table, 5, { index: last, seen: 4 }).code, "stale");
  const beyond = 6 + SEEN_ENTRIES_MAX;
  assertEquals(open(table, 5, { index: beyond, seen: 4 }).code, "stale");
  assertEquals(open(table, 5, { index: beyond + 1, seen: 4 }).code, "late");
  assertEquals([...table.endedRows()], []);
});

Deno.test("sessions: what comes from the future is refused", () => {
  const table = new SessionTable();
  assertEquals(open(table, 5, { seen: 5 }).code, "late");
  assertEquals(open(table, 5, { seen: 2 ** 52 }).code, "late");
});

Deno.test("sessions: one too many of a user closes the least recently used", () => {
  const table = new SessionTable();
  for (let number = 1; number <= SESSIONS_PER_USER_MAX; number += 1) {
    open(table, number);
  }
  open(table, 50, { user: 2 });
  next(table, get(table, 1), 60);
  assertEquals(open(table, 70).code, "ok");
  assertEquals(table.get(sessionId(2)), undefined);
  assertEquals(table.ofUser(1).length, SESSIONS_PER_USER_MAX);
  assertEquals(table.ofUser(2).length, 1);
});

Deno.test("sessions: of those that one entry used, the order of the list decides nothing", () => {
  const rows = [3, 1, 2].map((number) => ({
    id: sessionId(number),
    secretHash: hex(0, 64),
    user: 1,
    opened: number,
    used: 9,
    usedMs: 9,
    sequence: 0,
    results: [],
  }));
  for (const sessions of [rows, rows.toReversed()]) {
    const table = new SessionTable({ sessions });
    for (let number = 11; number <= 24; number += 1) open(table, number);
    assertEquals(table.get(sessionId(1)), undefined);
    assertEquals(table.size, SESSIONS_PER_USER_MAX);
  }
});

Deno.test("sessions: the table has an end", () => {
  const table = new SessionTable({}, { sessionsMax: 3 });
  for (let user = 1; user <= 3; user += 1) open(table, user, { user });
  assertEquals(open(table, 4, { user: 4 }).code, "too-many-sessions");
  table.end(get(table, 2), { index: 5, reason: "closed" });
  assertEquals(open(table, 6, { user: 4 }).code, "ok");
});

Deno.test("sessions: the command that ended a session gets its result again", () => {
  const table = new SessionTable();
  open(table, 1);
  next(table, get(table, 1), 2);
  const result: Result = { code: "ok", value: 77 };
  table.end(get(table, 1), {
    index: 3,
    reason: "closed",
    own: { sequence: 2, result },
  });
  assertEquals(table.judge(sessionId(1), 2), result);
  assertEquals(table.judge(sessionId(1), 1)?.code, "no-session");
  assertEquals(table.judge(sessionId(1), 3)?.code, "no-session");
});

Deno.test("sessions: the longest idle come first", () => {
  const table = new SessionTable();
  for (let number = 1; number <= 5; number += 1) open(table, number);
  table.touch(get(table, 1), { index: 9, timeMs: 900 });
  assertEquals(
    table.idleSince(5, 2).map(({ id }) => id),
    [sessionId(2), sessionId(3)],
  );
  assertEquals(table.idleSince(1_000, 9).length, 5);
});

Deno.test("sessions: changes are copies, and taken once", () => {
  const table = new SessionTable();
  open(table, 1);
  open(table, 2);
  table.end(get(table, 2), { index: 3, reason: "closed" });
  const { changed, ended } = table.takeChanges();
  next(table, get(table, 1), 4);
  assertEquals(changed.map(({ id, sequence }) => [id, sequence]), [
    [sessionId(1), 0],
  ]);
  assertEquals(ended.map(({ id }) => id), [sessionId(2)]);
  assertEquals(table.takeChanges().changed[0].results.length, 1);
  assertEquals(table.takeChanges().changed, []);
});

Deno.test("sessions: a table that was written and read goes on alike", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.nat(40), fc.nat(3), fc.nat(70)), { maxLength: 200 }),
    fc.nat(200),
    (steps, cut) => {
      const whole = new SessionTable({}, { sessionsMax: 20 });
      let split = new SessionTable({}, { sessionsMax: 20 });
      steps.forEach(([number, kind, sequence], at) => {
        if (at === cut) {
          split = new SessionTable({
            sessions: [...split.rows()].toReversed(),
            ended: split.endedRows(),
          }, { sessionsMax: 20 });
        }
        const index = at + 1;
        const outcomes = [whole, split].map((table) => {
          if (kind === 0) {
            return open(table, number, { user: number % 2, index });
          }
          const judged = table.judge(sessionId(number), sequence);
          const session = table.get(sessionId(number));
          if (judged !== undefined || session === undefined) return judged;
          if (kind === 1) {
            return table.end(session, { index, reason: "closed" });
          }
          next(table, session, index);
        });
        assertEquals(outcomes[0], outcomes[1]);
      });
      const rows = (table: SessionTable) =>
        [...table.rows()].map(({ id, used, results }) => ({
          id,
          used,
          results,
        })).sort((a, b) => a.id < b.id ? -1 : 1);
      assertEquals(rows(whole), rows(split));
    },
  ));
});

Deno.test("results: code and value fit one number, and come back", () => {
  for (const code of RESULT_CODES) {
    for (const value of [0, 1, 2 ** 49 - 1]) {
      assertEquals(unpackResult(packResult({ code, value })), { code, value });
    }
  }
  assertThrows(() => packResult({ code: "ok", value: 2 ** 49 }));
  for (const wrong of [15, -1, 1.5, NaN, 2 ** 53]) {
    assertEquals(unpackResult(wrong), undefined);
  }
  assert(RESULT_CODES.length <= 15);
});
