/** What a state does whose file cannot be written. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { ChatState } from "../../../../nodes/chat/state/state.ts";
import { StorageError } from "../../../../storage/errors.ts";
import { History, inDirectory } from "./state_fixture.ts";

/** Applies what the history has and the state has not. */
function apply(state: ChatState, history: History): void {
  state.apply(history.entries.slice(state.applied.index));
}

Deno.test("state: after a write that failed nothing is answered any more", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/state.db`;
    const state = ChatState.open(path);
    const history = new History();
    for (const [at, name] of ["alice", "bob"].entries()) {
      history.register(name);
      history.open(at + 1, { name, id: history.index });
    }
    apply(state, history);
    const bob = state.users.byName("bob")?.id ?? 0;
    history.send([1, 1], "bob");
    apply(state, history);
    await state.flush();
    // Nobody but the state writes; a full disk looks the same to it.
    using other = new DatabaseSync(path);
    other.exec("begin immediate");
    history.send([1, 2], "bob");
    apply(state, history);
    await assertRejects(() => state.flush(), StorageError, "Cannot write");
    other.exec("rollback");
    // The message is in neither place: an answer would leave it out.
    assertThrows(() => state.list(bob, { limit: 9 }), StorageError);
    history.send([1, 3], "bob");
    assertThrows(() => apply(state, history), StorageError);
    await assertRejects(() => state.close(), StorageError);
    const again = ChatState.open(path);
    apply(again, history);
    assertEquals(again.list(bob, { limit: 9 }).messages.length, 3);
    await again.close();
  });
});

Deno.test("state: what was applied with the end of its group is never written", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/state.db`;
    const history = new History();
    history.add({ kind: "touch-sessions", ids: [], time: 1 });
    const state = ChatState.open(path);
    apply(state, history);
    await state.flush();
    history.add({ kind: "dissolve", into: "00c0ffee00c0ffee", time: 1 });
    apply(state, history);
    await state.maintain();
    assertEquals((await state.checkpoint()).index, 1);
    // A stop that comes before the server has begun anew.
    await state.close();
    const again = ChatState.open(path);
    assertEquals(again.applied.index, 1);
    history.register("alice");
    const [end, later] = again.apply(history.entries.slice(1));
    assertEquals(end.dissolved, "00c0ffee00c0ffee");
    assertEquals([later.registered, again.users.size], [undefined, 0]);
    await again.close();
  });
});
