/** What single commands do, and the running hash. */

import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { SEEN_ENTRIES_MAX } from "../../../../nodes/chat/state/commands.ts";
import type { Result } from "../../../../nodes/chat/state/results.ts";
import {
  type Applied,
  StateCore,
} from "../../../../nodes/chat/state/state_core.ts";
import { StateHash } from "../../../../nodes/chat/state/state_hash.ts";
import { UserTable } from "../../../../nodes/chat/state/users.ts";
import { EPOCH, hex, History, sessionId } from "./state_fixture.ts";

const OK: Result = { code: "ok", value: 0 };

/** A core to which entries are applied as they are made. */
class World {
  readonly history = new History();
  readonly core: StateCore;

  constructor(core = new StateCore()) {
    this.core = core;
  }

  /** Applies all that was added since. */
  apply(): Applied {
    const rest = this.history.entries.slice(this.core.applied.index);
    const applied = rest.map((entry) => this.core.apply(entry));
    return applied[applied.length - 1];
  }

  /** Registers a user and opens a session of the same number. */
  join(name: string, session: number): number {
    this.history.register(name);
    const id = this.apply().result.value;
    this.history.open(session, { name, id });
    assertEquals(this.apply().result, OK);
    return id;
  }

  /** Empty entries, up to and with `index`. */
  pass(index: number): void {
    while (this.core.applied.index < index) {
      this.core.apply({
        index: this.core.applied.index + 1,
        epoch: EPOCH,
        command: new Uint8Array(0),
      });
    }
  }
}

Deno.test("state core: a message goes to the user of that name", () => {
  const world = new World();
  const alice = world.join("alice", 1);
  const bob = world.join("bob", 2);
  world.history.send([1, 1], "bob", "hi");
  const { index, result, message } = world.apply();
  assertEquals(result, { code: "ok", value: index });
  assertEquals(message, {
    id: index,
    from: alice,
    to: bob,
    time: 1_004,
    text: "hi",
  });
});

Deno.test("state core: a repeated command has the first one's result and no effect", () => {
  const world = new World();
  world.join("alice", 1);
  world.history.send([1, 1], "alice", "first");
  const first = world.apply();
  world.history.send([1, 1], "alice", "other");
  const again = world.apply();
  assertEquals(again.result, first.result);
  assertEquals(again.message, undefined);
});

Deno.test("state core: an unknown recipient uses up the sequence", () => {
  const world = new World();
  world.join("alice", 1);
  world.history.send([1, 1], "nobody");
  assertEquals(world.apply().result.code, "unknown-user");
  world.join("nobody", 2);
  world.history.send([1, 1], "nobody");
  assertEquals(world.apply().result.code, "unknown-user");
  world.history.send([1, 2], "nobody");
  assertEquals(world.apply().result.code, "ok");
});

Deno.test("state core: a deleted user is gone with its sessions, and its name is free", () => {
  const world = new World();
  const first = world.join("alice", 1);
  world.history.open(2, { name: "alice", id: first });
  world.apply();
  world.history.deleteAccount([1, 1]);
  const { result, ended, deleted } = world.apply();
  assertEquals(result, { code: "ok", value: first });
  assertEquals(ended.map(({ id, reason }) => [id, reason]), [
    [sessionId(1), "user-deleted"],
    [sessionId(2), "user-deleted"],
  ]);
  assertEquals(deleted?.name, "alice");
  // Asked again, the answer is the same.
  world.history.deleteAccount([1, 1]);
  assertEquals(world.apply().result, { code: "ok", value: first });
  assertNotEquals(world.join("alice", 3), first);
  // A login that was checked against the old account.
  world.history.open(4, { name: "alice", id: first });
  assertEquals(world.apply().result.code, "unknown-user");
});

Deno.test("state core: a late repetition does not bring a deleted account back", () => {
  const world = new World();
  const token = hex(9, 32);
  const first = world.history.register("alice", token);
  const { value: id } = world.apply().result;
  world.history.addBytes(first.command);
  assertEquals(world.apply().result, { code: "ok", value: id });
  world.history.open(1, { name: "alice", id });
  world.history.deleteAccount([1, 1]);
  world.apply();
  world.history.addBytes(first.command);
  assertEquals(world.apply().result.code, "stale");
  assertEquals(world.core.users.size, 0);
  // Nor when it is forgotten that there was one.
  const deletedAt = world.history.index - 1;
  world.pass(deletedAt + SEEN_ENTRIES_MAX);
  const index = world.core.applied.index + 1;
  assertEquals(world.core.apply({ ...first, index }).result.code, "late");
  assertEquals(world.core.users.size, 0);
  assertEquals([...world.core.users.deletedRows()], []);
});

Deno.test("state core: the number of accounts has an end", () => {
  const users = new UserTable({}, { usersMax: 2 });
  const world = new World(new StateCore({ users }));
  world.join("a", 1);
  world.join("b", 2);
  world.history.register("c");
  assertEquals(world.apply().result.code, "too-many-users");
});

Deno.test("state core: only sessions that were not used since expire", () => {
  const world = new World();
  world.join("alice", 1);
  world.join("bob", 2);
  const used = [1, 2].map((number) => ({
    id: sessionId(number),
    used: world.core.sessions.get(sessionId(number))?.used ?? 0,
  }));
  world.history.send([1, 1], "bob");
  world.history.add({ kind: "expire-sessions", sessions: used, time: 1 });
  const { result, ended } = world.apply();
  assertEquals(result, { code: "ok", value: 1 });
  assertEquals(ended.map(({ id, reason }) => [id, reason]), [
    [sessionId(2), "expired"],
  ]);
});

Deno.test("state core: a touched session does not expire", () => {
  const world = new World();
  world.join("alice", 1);
  const { used = 0 } = world.core.sessions.get(sessionId(1)) ?? {};
  const ids = [sessionId(1), sessionId(7)];
  world.history.add({ kind: "touch-sessions", ids, time: 50_000 });
  assertEquals(world.apply().result, { code: "ok", value: 1 });
  assertEquals(world.core.sessions.get(sessionId(1))?.usedMs, 50_000);
  const sessions = [{ id: sessionId(1), used }];
  world.history.add({ kind: "expire-sessions", sessions, time: 1 });
  assertEquals(world.apply().result, OK);
});

Deno.test("state core: read marks never go back, nor ahead of the log", () => {
  const world = new World();
  const id = world.join("alice", 1);
  world.history.markRead([1, 1], 1_000);
  const { index } = world.apply();
  assertEquals(world.core.users.byId(id)?.readUpTo, index);
  world.history.markRead([1, 2], 1);
  assertEquals(world.apply().result, { code: "ok", value: index });
});

Deno.test("state core: empty entries and junk advance and do nothing", () => {
  const world = new World();
  world.history.addBytes(new Uint8Array(0));
  assertEquals(world.apply().result, OK);
  world.history.addBytes(Uint8Array.of(1, 2, 3));
  assertEquals(world.apply().result.code, "invalid");
  assertEquals(world.core.applied, { index: 2, epoch: EPOCH });
});

Deno.test("state core: a missing entry is our mistake", () => {
  const world = new World();
  const entry = world.history.register("a");
  assertThrows(
    () => world.core.apply({ ...entry, index: 2 }),
    Error,
    "entry 2",
  );
});

Deno.test("state hash: it tells index, epoch, command and result apart", () => {
  const entry = {
    index: 5,
    epoch: EPOCH,
    command: Uint8Array.of(1, 2, 3, 4, 5),
  };
  const result: Result = { code: "ok", value: 7 };
  const others: readonly [Partial<typeof entry>, Partial<Result>][] = [
    [{ index: 6 }, {}],
    [{ index: 5 + 2 ** 32 }, {}],
    [{ epoch: { ...EPOCH, counter: 4 } }, {}],
    [{ epoch: { ...EPOCH, store: "00000000000000ab" } }, {}],
    [{ epoch: { ...EPOCH, store: "10000000000000aa" } }, {}],
    [{ command: Uint8Array.of(1, 2, 3, 4) }, {}],
    [{ command: Uint8Array.of(1, 2, 3, 4, 5, 0) }, {}],
    [{ command: Uint8Array.of(1, 2, 3, 5, 5) }, {}],
    [{ command: Uint8Array.of(1, 2, 3, 4, 6) }, {}],
    [{}, { code: "stale" }],
    [{}, { value: 8 }],
    [{}, { value: 7 + 2 ** 40 }],
  ];
  const seen = new Set<string>();
  for (const [entryChange, resultChange] of [[{}, {}] as const, ...others]) {
    const hash = new StateHash();
    hash.add({ ...entry, ...entryChange }, { ...result, ...resultChange });
    seen.add(hash.text);
  }
  assertEquals(seen.size, others.length + 1);
});

Deno.test("state hash: it goes on from its text, and never changes", () => {
  const hash = new StateHash();
  for (let index = 1; index <= 20; index += 1) {
    const command = new TextEncoder().encode("skein ".repeat(index));
    const copy = new StateHash(hash.text);
    const entry = { index, epoch: EPOCH, command };
    // Where the bytes lie in their buffer must not matter.
    const moved = new Uint8Array(command.length + 3);
    moved.set(command, 3);
    hash.add(entry, { code: "ok", value: index });
    copy.add({ ...entry, command: moved.subarray(3) }, {
      code: "ok",
      value: index,
    });
    assertEquals(copy.text, hash.text);
  }
  // Servers of different versions compare it: if this fails, mend the hash.
  assertEquals(hash.text, "e9daa448ae0bc50e");
});

Deno.test("state core: a group ends only while nobody could miss anything, and then nothing counts", () => {
  const into = hex(7, 16);
  const full = new World();
  full.join("ann", 1);
  assertEquals(full.core.isVoid, false);
  full.history.add({ kind: "dissolve", into, time: 1 });
  const refused = full.apply();
  assertEquals([refused.result, refused.dissolved], [OK, undefined]);
  full.history.send([1, 1], "ann");
  assertEquals(full.apply().result.code, "ok");

  const empty = new World();
  // An entry that begins an epoch, and a command without effect.
  empty.pass(1);
  assertEquals(empty.core.isVoid, true);
  const history = new History();
  history.addBytes(new Uint8Array(0));
  history.add({ kind: "dissolve", into, time: 1 });
  history.register("ann");
  history.add({ kind: "dissolve", into: hex(8, 16), time: 1 });
  const [ended, ...later] = history.entries.slice(1)
    .map((entry) => empty.core.apply(entry));
  assertEquals([ended.result.value, ended.dissolved], [1, into]);
  for (const { result, registered, dissolved } of later) {
    assertEquals([result.code, registered, dissolved], [
      ...["invalid", undefined, undefined],
    ]);
  }
  assertEquals(empty.core.users.size, 0);
});
