/** The state with its database: lists, files, dumps. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { nextTurn } from "../../../../nodes/chat/state/slices.ts";
import { ChatState } from "../../../../nodes/chat/state/state.ts";
import type { StateCounts } from "../../../../nodes/chat/state/state.ts";
import { RecentIds } from "../../../../nodes/chat/state/recent_messages.ts";
import { StateCore } from "../../../../nodes/chat/state/state_core.ts";
import { StateDatabase } from "../../../../nodes/chat/state/state_database.ts";
import { DUMP_CHUNK_BYTES_MAX } from "../../../../nodes/chat/state/state_dump.ts";
import { createTables } from "../../../../nodes/chat/state/state_schema.ts";
import { StorageError } from "../../../../storage/errors.ts";
import {
  assertSameDump,
  dumpOf,
  EPOCH,
  History,
  inDirectory,
  sessionId,
} from "./state_fixture.ts";

/** Users `names`, each with a session of its number from 1 on. */
function joined(state: ChatState, names: readonly string[]): {
  history: History;
  ids: number[];
} {
  const history = new History();
  const ids = names.map((name, at) => {
    history.register(name);
    const id = history.index;
    history.open(at + 1, { name, id });
    return id;
  });
  apply(state, history);
  return { history, ids };
}

/** Applies what the history has and the state has not. */
function apply(state: ChatState, history: History): void {
  state.apply(history.entries.slice(state.applied.index));
}

/** The same question to a state before and after it wrote. */
async function atBoth(
  state: ChatState,
  ask: () => void,
): Promise<void> {
  ask();
  await state.flush();
  ask();
}

function idsOf(
  { messages }: { messages: readonly { id: number }[] },
): number[] {
  return messages.map(({ id }) => id);
}

Deno.test("state: lists go both ways, page by page", async () => {
  const state = ChatState.open(":memory:");
  const { history, ids: [alice, bob] } = joined(state, ["alice", "bob"]);
  const sent: number[] = [];
  for (let sequence = 1; sequence <= 25; sequence += 1) {
    history.send([1, sequence], sequence % 5 === 0 ? "alice" : "bob");
    if (sequence % 5 !== 0) sent.push(history.index);
    if (sequence % 10 === 0) {
      apply(state, history);
      await state.flush();
    }
  }
  apply(state, history);
  await atBoth(state, () => {
    assertEquals(idsOf(state.list(bob, { limit: 200 })), sent);
    assertEquals(idsOf(state.list(bob, { limit: 3 })), sent.slice(-3));
    for (const limit of [1, 3, 7, 20, 200]) {
      const down: number[] = [];
      for (let before: number | undefined = Infinity; before !== undefined;) {
        const page = state.list(bob, { limit, before });
        assert(page.messages.length <= limit);
        down.unshift(...idsOf(page));
        before = page.next;
      }
      assertEquals(down, sent);
      const up: number[] = [];
      for (let after: number | undefined = 0; after !== undefined;) {
        const page = state.list(bob, { limit, after });
        up.push(...idsOf(page));
        after = page.next;
      }
      assertEquals(up, sent);
    }
    assertEquals(
      idsOf(state.list(bob, { after: sent[4], before: sent[9], limit: 200 })),
      sent.slice(5, 9),
    );
    assertEquals(state.list(alice, { limit: 200 }).messages.length, 5);
    assertEquals(state.list(999, { limit: 200 }).messages, []);
  });
  await state.close();
});

Deno.test("state: what is read is not listed as unread", async () => {
  const state = ChatState.open(":memory:");
  const { history, ids: [, bob] } = joined(state, ["alice", "bob"]);
  for (let sequence = 1; sequence <= 9; sequence += 1) {
    history.send([1, sequence], "bob");
  }
  const { index } = history;
  apply(state, history);
  history.markRead([2, 1], index - 2);
  apply(state, history);
  await atBoth(state, () => {
    const unread = { unreadOnly: true, limit: 200 };
    assertEquals(idsOf(state.list(bob, unread)), [index - 1, index]);
    const first = state.list(bob, { ...unread, limit: 1 });
    assertEquals([idsOf(first), first.next], [[index - 1], index - 1]);
  });
  await state.close();
});

Deno.test("state: what a deleted user left is not seen, and then it is gone", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/state.db`;
    let state = ChatState.open(path);
    const { history, ids: [, bob] } = joined(state, ["alice", "bob", "carol"]);
    for (let sequence = 1; sequence <= 600; sequence += 1) {
      history.send([1, sequence], sequence % 2 ? "bob" : "alice", "from alice");
      history.send([2, sequence], sequence % 2 ? "alice" : "carol");
      history.send([3, sequence], "bob");
    }
    apply(state, history);
    await state.flush();
    history.deleteAccount([1, 601]);
    apply(state, history);
    const seen = () => {
      const { messages } = state.list(bob, { limit: 200 });
      assertEquals(
        new Set(messages.map(({ from }) => from)),
        new Set(["carol"]),
      );
    };
    await atBoth(state, seen);
    const dump = await dumpOf(state);
    assertEquals(state.hasWork, true);
    // A restart before it is swept away.
    await state.close();
    state = ChatState.open(path);
    seen();
    assertEquals(state.hasWork, true);
    while (state.hasWork) await state.maintain();
    seen();
    assertSameDump(await dumpOf(state), dump);
    const expected: StateCounts = { users: 2, sessions: 2, messages: 900 };
    assertEquals(state.counts, expected);
    await state.close();
    const database = new DatabaseSync(path);
    const count = (sql: string) =>
      Object.values(database.prepare(sql).get() ?? {})[0];
    assertEquals(count("select count(*) from message"), 900);
    assertEquals(count("select count(*) from sweep"), 0);
    assertEquals(
      count("select count(*) from message where text = 'from alice'"),
      0,
    );
    database.close();
    const bytes = new TextDecoder("latin1").decode(Deno.readFileSync(path));
    assertEquals(bytes.includes("from alice"), false);
  });
});

Deno.test("state: a name taken anew has none of the old messages", async () => {
  const state = ChatState.open(":memory:");
  const { history } = joined(state, ["alice", "bob"]);
  history.send([2, 1], "alice");
  history.deleteAccount([1, 1]);
  history.register("alice");
  const { index: anew } = history;
  apply(state, history);
  await atBoth(state, () => {
    assertEquals(state.users.byName("alice")?.id, anew);
    assertEquals(state.list(anew, { limit: 200 }).messages, []);
  });
  await state.close();
});

Deno.test("state: a file that is missing, foreign, damaged or of another version is made anew", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/state.db`;
    const make = async () => {
      const state = ChatState.open(path);
      const { history } = joined(state, ["alice", "bob"]);
      history.send([1, 1], "bob");
      apply(state, history);
      await state.close();
    };
    const run = (sql: string) => {
      const database = new DatabaseSync(path);
      database.exec(sql);
      database.close();
    };
    const cases: readonly [string, () => void, RegExp][] = [
      ["missing", () => Deno.removeSync(path), /^$/],
      ["other-version", () => run("pragma user_version = 99"), /version 99/],
      [
        "other-version",
        () => run("pragma application_id = 1"),
        /no database of Skein/,
      ],
      [
        "damaged",
        () => Deno.writeTextFileSync(path, "no database ".repeat(999)),
        /not a database/,
      ],
      ["damaged", () => Deno.truncateSync(path, 20_000), /malformed|damaged/],
      ["damaged", () => run("update user set token = x'00'"), /token/],
      ["damaged", () => run("delete from mark"), /no mark/],
      ["other-version", () => Deno.truncateSync(path, 0), /no database/],
    ];
    for (const [kind, spoil, reason] of cases) {
      await make();
      spoil();
      const state = ChatState.open(path);
      assertEquals(state.opened.kind, kind);
      assert(reason.test(state.opened.reason), state.opened.reason);
      assertEquals(state.applied.index, 0);
      assertEquals(state.counts, { users: 0, sessions: 0, messages: 0 });
      await state.close();
      Deno.removeSync(path);
    }
    await make();
    const state = ChatState.open(path);
    assertEquals(state.opened.kind, "found");
    await state.close();
  });
});

Deno.test("state: a file that cannot be opened says so", async () => {
  await inDirectory((directory) => {
    const path = `${directory}/none/state.db`;
    let found: unknown;
    try {
      ChatState.open(path);
    } catch (error) {
      found = error;
    }
    assert(found instanceof StorageError);
    assertEquals(found.code, "open-failed");
    assert(found.message.includes(path), found.message);
    return Promise.resolve();
  });
});

Deno.test("state: only its owner may read the files", async () => {
  if (Deno.build.os === "windows") return;
  await inDirectory(async (directory) => {
    const state = ChatState.open(`${directory}/state.db`);
    await state.checkpoint();
    for (const { name } of Deno.readDirSync(directory)) {
      const { mode } = Deno.statSync(`${directory}/${name}`);
      assertEquals((mode ?? 0) & 0o077, 0, name);
    }
    await state.close();
  });
});

Deno.test("state: a crash at any step of a write leaves all of it or nothing", async () => {
  await inDirectory(async (directory) => {
    const core = new StateCore();
    const history = new History();
    history.register("alice");
    history.open(1, { name: "alice", id: 1 });
    for (let user = 2; user <= 600; user += 1) history.register(`user-${user}`);
    for (let sequence = 1; sequence <= 1_500; sequence += 1) {
      history.send([1, sequence], "alice");
    }
    const messages = history.entries.map((entry) => core.apply(entry).message)
      .filter((message) => message !== undefined);
    const path = `${directory}/state.db`;
    await ChatState.open(path).close();
    const connection = new DatabaseSync(path);
    connection.exec("pragma journal_mode = wal; pragma synchronous = off");
    const database = new StateDatabase(connection);
    const recent = new RecentIds();
    for (const message of messages) recent.add(message);
    function* stepsOf(): Generator<void> {
      database.addMessages(messages.slice(0, 700));
      yield;
      database.addMessages(messages.slice(700));
      yield;
      yield* database.write({
        applied: core.applied,
        hash: core.hash,
        users: core.users.takeChanges(),
        sessions: core.sessions.takeChanges(),
        inboxes: recent.inboxes(),
        messageCount: messages.length,
      });
    }
    const steps = stepsOf();
    const found: number[] = [];
    for (let isOver = false; !isOver;) {
      isOver = steps.next().done === true;
      const copy = `${directory}/copy-${found.length}.db`;
      Deno.copyFileSync(path, copy);
      Deno.copyFileSync(`${path}-wal`, `${copy}-wal`);
      const state = ChatState.open(copy);
      const { index } = state.applied;
      found.push(index);
      assertEquals(state.counts.messages, index === 0 ? 0 : 1_500);
      apply(state, history);
      await state.flush();
      assertEquals(state.hash, core.hash);
      assertEquals(
        state.list(1, { after: 0, limit: 200 }).messages.length,
        200,
      );
      await state.close();
    }
    assertEquals(found.at(-1), history.index);
    assert(found.filter((index) => index === 0).length >= 3, found.join());
    connection.close();
  });
});

Deno.test("state: the write-ahead log is moved into the file and emptied", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/state.db`;
    const state = ChatState.open(path);
    const { history, ids: [alice] } = joined(state, ["alice"]);
    for (let sequence = 1; sequence <= 150; sequence += 1) {
      history.send([1, sequence], "alice", "x".repeat(60_000));
    }
    apply(state, history);
    await state.flush();
    assertEquals(state.hasWork, true);
    await state.maintain();
    assertEquals(state.hasWork, false);
    assertEquals(Deno.statSync(`${path}-wal`).size, 0);
    assert(Deno.statSync(path).size > 8_000_000);
    // What a machine that lost power finds: the file alone.
    const copy = `${directory}/copy.db`;
    Deno.copyFileSync(path, copy);
    const copied = ChatState.open(copy);
    assertEquals(copied.hash, state.hash);
    assertEquals(copied.list(alice, { limit: 200 }).messages.length, 150);
    await copied.close();
    await state.close();
  });
});

Deno.test("state: entries are applied while a dump and a maintenance are under way", async () => {
  await inDirectory(async (directory) => {
    const state = ChatState.open(`${directory}/state.db`);
    const { history, ids: [alice] } = joined(state, ["alice"]);
    let sequence = 0;
    const grow = (count: number) => {
      for (let time = 0; time < count; time += 1) {
        sequence += 1;
        history.send([1, sequence], "alice", "x".repeat(3_000));
      }
      apply(state, history);
    };
    grow(1_500);
    const frozen = await dumpOf(state);
    assert(frozen.length > 5, `${frozen.length} chunks`);
    const chunks: Uint8Array[] = [];
    const maintained: Promise<void>[] = [];
    for await (const chunk of state.dump()) {
      chunks.push(chunk);
      grow(200);
      maintained.push(state.maintain());
    }
    await Promise.all(maintained);
    assertSameDump(chunks, frozen);
    assertEquals(state.counts.messages, sequence);
    assertEquals(state.list(alice, { limit: 1 }).messages[0].id, history.index);
    const again = ChatState.open(":memory:");
    again.apply(history.entries);
    assertSameDump(await dumpOf(state), await dumpOf(again));
    await again.close();
    await state.close();
  });
});

Deno.test("state: a dump has nothing of what is written while it begins", async () => {
  await inDirectory(async (directory) => {
    const state = ChatState.open(`${directory}/state.db`);
    const { history } = joined(state, ["alice"]);
    for (let user = 0; user < 5_000; user += 1) {
      history.register(`user-${user}`);
    }
    history.send([1, 1], "alice");
    apply(state, history);
    const { index } = history;
    let start = 0;
    const dump = state.dump((position) => start = position.index);
    const first = dump.next();
    await nextTurn();
    // So many that their rows are written at once, in the same transaction.
    for (let sequence = 2; sequence <= 1_500; sequence += 1) {
      history.send([1, sequence], "alice");
    }
    apply(state, history);
    const chunks = [(await first).value ?? new Uint8Array(0)];
    for await (const chunk of dump) chunks.push(chunk);
    assertEquals(start, index);
    const other = ChatState.open(":memory:");
    other.apply(history.entries.slice(0, index));
    assertSameDump(chunks, await dumpOf(other));
    await other.close();
    await state.close();
  });
});

Deno.test("state: a dump that is not read to its end leaves no reader behind", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/state.db`;
    const state = ChatState.open(path);
    const { history } = joined(state, ["alice"]);
    for (let sequence = 1; sequence <= 100; sequence += 1) {
      history.send([1, sequence], "alice", "x".repeat(60_000));
    }
    apply(state, history);
    for await (const chunk of state.dump()) {
      assert(chunk.length > 0 && chunk.length <= DUMP_CHUNK_BYTES_MAX);
      break;
    }
    await state.maintain();
    assertEquals(Deno.statSync(`${path}-wal`).size, 0);
    await state.close();
  });
});

Deno.test("state: while it writes, everything is seen once", async () => {
  await inDirectory(async (directory) => {
    const state = ChatState.open(`${directory}/state.db`);
    const { history, ids: [alice] } = joined(state, ["alice"]);
    const sent: number[] = [];
    for (let part = 0; part < 3; part += 1) {
      // Many rows, so that the write takes more than one turn.
      for (let user = 0; user < 3_000; user += 1) {
        history.register(`user-${part}-${user}`);
      }
      for (let time = 0; time < 50; time += 1) {
        history.send([1, sent.length + 1], "alice");
        sent.push(history.index);
      }
      apply(state, history);
      let turns = 0;
      let isWritten = false;
      const writing = state.flush().then(() => {
        isWritten = true;
      });
      while (!isWritten) {
        turns += 1;
        assertEquals(idsOf(state.list(alice, { limit: 200 })), sent);
        assertEquals(idsOf(state.list(alice, { after: 0, limit: 200 })), sent);
        assertEquals(state.counts.messages, sent.length);
        await nextTurn();
      }
      await writing;
      // Asked at least once in the middle of it, however quick the disk is.
      assert(turns > 1, `${turns} turns`);
    }
    await state.close();
  });
});

Deno.test("state: no entry is applied while a dump is installed", async () => {
  const source = ChatState.open(":memory:");
  const { history } = joined(source, ["alice", "bob"]);
  const state = ChatState.open(":memory:");
  // Messages that the dump has as well, some in the database and some not yet.
  history.send([1, 1], "bob");
  apply(state, history);
  await state.flush();
  history.send([1, 2], "bob");
  apply(state, history);
  history.send([1, 3], "bob");
  apply(source, history);
  const installing = state.install(await dumpOf(source));
  await assertRejects(
    () => Promise.resolve().then(() => state.apply(history.entries)),
    Error,
    "installed",
  );
  await installing;
  assertEquals(state.hash, source.hash);
  history.send([1, 4], "alice");
  apply(state, history);
  apply(source, history);
  assertSameDump(await dumpOf(state), await dumpOf(source));
  assertEquals(state.counts, source.counts);
  await state.close();
  await source.close();
});

Deno.test("state: a bad dump changes nothing", async () => {
  await inDirectory(async (directory) => {
    const state = ChatState.open(`${directory}/state.db`);
    const { history } = joined(state, ["alice", "bob"]);
    apply(state, history);
    const dump = await dumpOf(state);
    const cut = dump[0].subarray(0, dump[0].length - 1);
    const error = await assertRejects(
      () => state.install([cut]),
      StorageError,
    );
    assertEquals(error.code, "damaged");
    history.send([1, 1], "bob");
    apply(state, history);
    await state.close();
    const again = ChatState.open(`${directory}/state.db`);
    assertEquals(again.opened.kind, "found");
    assertEquals(again.applied.index, history.index);
    assertEquals(
      [...Deno.readDirSync(directory)].map(({ name }) => name)
        .filter((name) => name.endsWith(".new")),
      [],
    );
    await again.close();
  });
});

Deno.test("state: damage that is found later ends it, and the next start begins anew", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/state.db`;
    let state = ChatState.open(path);
    const { history, ids: [alice] } = joined(state, ["alice"]);
    for (let sequence = 1; sequence <= 400; sequence += 1) {
      history.send([1, sequence], "alice", "x".repeat(900));
    }
    apply(state, history);
    await state.close();
    const file = Deno.openSync(path, { read: true, write: true });
    const { size } = file.statSync();
    // Between the pages that opening reads: the first and the last.
    for (let at = 8_192 * 20; at + 8_192 * 6 <= size; at += 8_192) {
      file.seekSync(at, Deno.SeekMode.Start);
      file.writeSync(new Uint8Array(8_192).fill(0xa5));
    }
    file.close();
    state = ChatState.open(path);
    let found: unknown;
    try {
      if (state.opened.kind === "found") state.list(alice, { limit: 200 });
    } catch (error) {
      found = error;
    }
    assert(found instanceof StorageError, state.opened.kind);
    assertEquals(found.code, "damaged");
    await state.close().catch(() => {});
    const anew = ChatState.open(path);
    assertEquals(anew.opened.kind, "missing");
    await anew.close();
  });
});

Deno.test("state: idle sessions and rights to resume are found", async () => {
  const state = ChatState.open(":memory:");
  const { ids: [alice] } = joined(state, ["alice", "bob"]);
  const session = state.sessions.get(sessionId(1));
  assertEquals(session?.user, alice);
  assertEquals(state.sessions.ofUser(alice).length, 1);
  assertEquals(state.sessions.idleSince(1_002, 9).map(({ id }) => id), [
    sessionId(1),
  ]);
  assertEquals(state.applied, { index: 4, epoch: EPOCH });
  await state.close();
});

Deno.test("state database: tables are made once", () => {
  const connection = new DatabaseSync(":memory:");
  createTables(connection);
  assertEquals(new StateDatabase(connection).mark().index, 0);
  connection.close();
});
