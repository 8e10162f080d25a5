import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import type { StoreId } from "../../../../protocol/epoch.ts";
import type { AcceptorState, View } from "../../../../protocol/view.ts";
import { AcceptorFile } from "../../../../storage/acceptor_file.ts";
import { DirectoryLock } from "../../../../storage/directory_lock.ts";
import { LocalDisk } from "../../../../storage/disk.ts";
import { StorageError } from "../../../../storage/errors.ts";
import {
  RECOVERED_EPOCH_STEP,
  RECOVERED_REASON,
  recoveredVotes,
} from "../../../../nodes/chat/recovery/forced_view.ts";
import {
  type ChatStorage,
  openStorage,
} from "../../../../nodes/chat/open_storage.ts";
import {
  recover,
  RecoverError,
} from "../../../../nodes/chat/recovery/recover.ts";
import { parseRecoverFlags } from "../../../../nodes/chat/recovery/recover_flags.ts";
import type { Log } from "../../../../nodes/host/log.ts";
import { FlagsExit } from "../../../../nodes/host/flags.ts";
import { EPOCH, History } from "../state/state_fixture.ts";

const B = "00000000000000bb";
const C = "00000000000000cc";
const W1 = "00000000000000d1";
const W2 = "00000000000000d2";

const SEGMENT_BYTES = 65_536;

const noLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
};

/** A view of servers a (this one), b, c and witnesses w1, w2; c leads. */
function viewOf(store: StoreId, members: readonly StoreId[]): View {
  return {
    epoch: { counter: 7, store: C },
    group: store,
    voters: [store, B, C, W1, W2].sort(),
    members: [...members].sort(),
    primary: C,
    nodes: {
      [store]: { id: "a", kind: "server", priority: 4 },
      [B]: { id: "b", kind: "server", priority: 0 },
      [C]: { id: "c", kind: "server", priority: 0 },
      [W1]: { id: "w1", kind: "witness", priority: 0 },
      [W2]: { id: "w2", kind: "witness", priority: 0 },
    },
    reason: "c joined",
  };
}

class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "skein-recover-" });
  readonly data = `${this.path}/data`;

  async open(): Promise<ChatStorage> {
    await Deno.mkdir(this.data, { recursive: true });
    return await openStorage({
      directory: this.data,
      segmentBytes: SEGMENT_BYTES,
      journal: noLog,
    });
  }

  /** A server that has written, and was stopped. */
  async make(what: {
    readonly entries: number;
    readonly applied: number;
    readonly votes?: (store: StoreId) => Partial<AcceptorState>;
    readonly alter?: (storage: ChatStorage) => Promise<void>;
  }): Promise<void> {
    const storage = await this.open();
    const { log, state, acceptor } = storage;
    const history = new History();
    history.register("ann");
    while (history.index < what.entries) {
      history.addBytes(new Uint8Array(5_000));
      log.append(history.entries.slice(log.lastIndex));
      await log.sync();
    }
    state.apply(history.entries.slice(0, what.applied));
    await state.flush();
    acceptor.saveNow({
      ...acceptor.state,
      ...(what.votes ?? memberVotes)(acceptor.store),
    });
    await what.alter?.(storage);
    await close(storage);
  }

  /** Runs the command. @returns What it said. */
  async recover(
    args: readonly string[] = [],
    answer?: string,
  ): Promise<string> {
    const lines: string[] = [];
    const flags = parseRecoverFlags(["--data", this.data, ...args], new Map());
    await recover(flags, {
      say: (line) => lines.push(line),
      ask: () => answer,
    });
    return lines.join("\n");
  }

  async refusal(
    args: readonly string[],
    answer?: string,
  ): Promise<RecoverError | StorageError> {
    const error = await assertRejects(() => this.recover(args, answer));
    assert(error instanceof RecoverError || error instanceof StorageError);
    return error;
  }

  /** The files that count, with their bytes. */
  files(): Record<string, string> {
    const files: Record<string, string> = {};
    for (const { name } of Deno.readDirSync(this.data)) {
      if (name === "lock" || /-(wal|shm)$/.test(name)) continue;
      files[name] = Deno.readFileSync(`${this.data}/${name}`).toHex();
    }
    return files;
  }

  /** Turns one bit of a file round. */
  rot(name: string, at: number): void {
    const path = `${this.data}/${name}`;
    const bytes = Deno.readFileSync(path);
    bytes[at] ^= 1;
    Deno.writeFileSync(path, bytes);
  }

  remove(pattern: RegExp): void {
    for (const { name } of Deno.readDirSync(this.data)) {
      if (pattern.test(name)) Deno.removeSync(`${this.data}/${name}`);
    }
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

async function close(storage: ChatStorage): Promise<void> {
  await storage.snapshots.close();
  await storage.state.close();
  await storage.log.close();
  await storage.acceptor.close();
}

function memberVotes(store: StoreId): Partial<AcceptorState> {
  const accepted = viewOf(store, [store, B, C]);
  return { promised: accepted.epoch, accepted };
}

function learnerVotes(store: StoreId): Partial<AcceptorState> {
  const accepted = viewOf(store, [B, C]);
  return { promised: { counter: 9, store: B }, accepted };
}

function isMissing(text: string, what: string): void {
  assert(!text.includes(what), `${what} in:\n${text}`);
}

Deno.test("recover: a member's directory, and what else is needed", async () => {
  using folder = new Folder();
  await folder.make({ entries: 30, applied: 28 });
  const before = folder.files();
  const text = await folder.recover();
  assertMatch(text, /^Directory .*\/data, of server a$/m);
  assertMatch(text, /^Store {6}[0-9a-f]{16}$/m);
  assertMatch(text, /^Promised {3}epoch 7\.0000$/m);
  assertMatch(
    text,
    /^Accepted {3}view 7\.0000: c leads a, b, c; voters a, b, c, w1, w2; c joined$/m,
  );
  assertMatch(text, /^Log {8}entries 1 to 30, the last of epoch 3\.0000$/m);
  assertMatch(text, /^State {6}applied up to 28, hash [0-9a-f]{16}$/m);
  assertMatch(text, /^Snapshot {3}none$/m);
  assertMatch(text, /^Damage {5}none$/m);
  assertMatch(text, /a was in sync in that view: it has every write/);
  assertMatch(text, /Entries 29 to 30 are in its log/);
  assertMatch(text, /from index 31 on it cannot know/);
  assertMatch(text, /this one and any 2 of b, c, w1, w2\.$/m);
  assertEquals(folder.files(), before, "nothing was changed");
});

Deno.test("recover: a learner's directory says from where on writes may be missing", async () => {
  using folder = new Folder();
  await folder.make({ entries: 12, applied: 10, votes: learnerVotes });
  const text = await folder.recover();
  assertMatch(text, /a was not in sync in that view/);
  assertMatch(text, /has promised epoch 9\.0000 since, to b/);
  assertMatch(text, /from index 11 on it cannot know/);
  assertMatch(
    text,
    /this one and any 2 of b, c, w1, w2; one of b, c, in sync, must be among them\.$/m,
  );
});

Deno.test("recover: a change of voters needs both majorities", async () => {
  using folder = new Folder();
  await folder.make({
    entries: 2,
    applied: 2,
    votes: (store) => ({
      accepted: {
        ...viewOf(store, [store, C]),
        voters: [store, C, W1].sort(),
        previousVoters: [store, B, C, W1].sort(),
      },
    }),
  });
  assertMatch(
    await folder.recover(),
    /this one and any 1 of c, w1; any 2 of b, c, w1\.$/m,
  );
});

Deno.test("recover: damage is told, and nothing is mended by looking", async () => {
  using folder = new Folder();
  await folder.make({ entries: 30, applied: 5 });
  folder.rot("log-000001.log", 9_000);
  const before = folder.files();
  const text = await folder.recover();
  assertMatch(text, /^Log {8}entries 1 to 2, /m);
  assertMatch(text, /^Damage {5}of the log only .*log-000001\.log"/m);
  assertMatch(text, /a was in sync in that view, but has lost entries since/);
  assertMatch(text, /from index 6 on it cannot know/);
  assertMatch(text, /one of b, c, in sync, must be among them/);
  assertEquals(folder.files(), before);
});

Deno.test("recover: lost votes are told", async () => {
  using folder = new Folder();
  await folder.make({ entries: 30, applied: 5 });
  folder.remove(/^acceptor/);
  const text = await folder.recover();
  assertMatch(text, /^Store {6}none: There is a log in/m);
  assertMatch(text, /knows no view: writes may be missing/);
  assertEquals(
    Object.keys(folder.files()).some((name) => name.startsWith("acceptor")),
    false,
  );
});

Deno.test("recover: a witness's directory is only reported on", async () => {
  using folder = new Folder();
  const disk = new LocalDisk();
  disk.createDirectory(folder.data);
  const { file } = await AcceptorFile.open(disk, folder.data, {
    hasLog: false,
  });
  const view = viewOf("00000000000000aa", [B, C]);
  file.saveNow({
    promised: view.epoch,
    accepted: {
      ...view,
      voters: [file.store, B, C].sort(),
      nodes: {
        ...view.nodes,
        [file.store]: { id: "w3", kind: "witness", priority: 0 },
      },
    },
    isDamaged: false,
  });
  await file.close();
  const text = await folder.recover();
  assertMatch(text, /of witness w3$/m);
  isMissing(text, "Snapshot");
  assertMatch(
    text,
    /this one and any 1 of b, c; one of b, c, in sync, must be among them/,
  );
  const error = await folder.refusal(["--force", "--yes"]);
  assertMatch(error.message, /it is a witness's/);
});

Deno.test("recover: by force a server is the only one of its group", async () => {
  using folder = new Folder();
  await folder.make({
    entries: 30,
    applied: 28,
    votes: (store) => ({ ...learnerVotes(store), isDamaged: true }),
  });
  const text = await folder.recover(["--force"], "a");
  assertMatch(text, /from index 29 on it cannot know/);
  assertMatch(text, /WARNING: by force .* up to index 30/);
  assertMatch(text, /only others \(b, c, w1, w2\) have is lost for good/);
  assertMatch(text, /WARNING: these data are not known to be whole/);
  assertMatch(text, /^Recovered: view 1000009\.[0-9a-f]{4}, in which a is/m);
  const storage = await folder.open();
  const { acceptor, log, state } = storage;
  const { store } = acceptor;
  const epoch = { counter: 9 + RECOVERED_EPOCH_STEP, store };
  assertEquals(acceptor.state, {
    promised: epoch,
    accepted: {
      epoch,
      group: store,
      voters: [store],
      members: [store],
      primary: store,
      nodes: { [store]: { id: "a", kind: "server", priority: 4 } },
      reason: RECOVERED_REASON,
    },
    isDamaged: false,
  });
  assertEquals([log.lastIndex, state.applied.index], [30, 28]);
  await close(storage);
  const again = await folder.recover();
  assertMatch(again, /when these are up: this one\.$/m);
  isMissing(again, "cannot know");
});

Deno.test("recover: by force, once more: the epoch grows", async () => {
  using folder = new Folder();
  await folder.make({ entries: 3, applied: 3 });
  await folder.recover(["--force", "--yes"]);
  await folder.recover(["--force", "--yes"]);
  const storage = await folder.open();
  assertEquals(
    storage.acceptor.state.promised.counter,
    7 + 2 * RECOVERED_EPOCH_STEP,
  );
  await close(storage);
});

Deno.test("recover: by force only after the server's name was given", async () => {
  using folder = new Folder();
  await folder.make({ entries: 3, applied: 3 });
  const before = folder.files();
  for (const answer of [undefined, "", "yes", "b"]) {
    const error = await folder.refusal(["--force"], answer);
    assertMatch(error.message, /^Nothing was changed/);
  }
  const other = await folder.refusal(["--force", "--yes", "--id", "b"]);
  assertMatch(other.message, /it is the directory of a, wanted that of b/);
  assertEquals(folder.files(), before);
});

Deno.test("recover: by force with a damaged log goes on with what is good of it", async () => {
  using folder = new Folder();
  await folder.make({ entries: 30, applied: 1 });
  folder.rot("log-000002.log", 9_000);
  const goodTo = Number(
    /^Log {8}entries 1 to (\d+),/m.exec(await folder.recover())?.[1],
  );
  assert(goodTo > 10 && goodTo < 30, String(goodTo));
  const text = await folder.recover(["--force", "--yes"]);
  assertStringIncludes(text, `with all up to index ${goodTo}.`);
  const storage = await folder.open();
  assertEquals(storage.acceptor.state.isDamaged, false);
  assertEquals(storage.log.lastIndex, goodTo);
  await close(storage);
});

Deno.test("recover: by force the state goes on where it reaches beyond the log", async () => {
  using folder = new Folder();
  await folder.make({ entries: 30, applied: 30 });
  folder.rot("log-000001.log", 9_000);
  const text = await folder.recover(["--force", "--yes"]);
  assertStringIncludes(text, "with all up to index 30.");
  const storage = await folder.open();
  assertEquals(storage.acceptor.state.isDamaged, false);
  assertEquals(storage.log.base, { index: 30, epoch: EPOCH });
  assertEquals(storage.state.applied.index, 30);
  assertEquals(storage.state.users.byName("ann")?.name, "ann");
  await close(storage);
});

Deno.test("recover: by force a snapshot does where log and state are gone", async () => {
  using folder = new Folder();
  await folder.make({
    entries: 30,
    applied: 30,
    alter: async ({ snapshots }) => void await snapshots.take(),
  });
  folder.remove(/^state|^log/);
  const text = await folder.recover();
  assertMatch(text, /^Log {8}none$/m);
  assertMatch(text, /^Snapshot {3}up to 30$/m);
  assertMatch(text, /^Damage {5}the log is missing$/m);
  await folder.recover(["--force", "--yes"]);
  const storage = await folder.open();
  assertEquals(storage.acceptor.state.isDamaged, false);
  assertEquals(storage.log.lastIndex, 30);
  assertEquals(storage.state.users.byName("ann")?.name, "ann");
  await close(storage);
});

Deno.test("recover: by force with lost votes it is a new store, above its log's epochs", async () => {
  using folder = new Folder();
  await folder.make({ entries: 30, applied: 30 });
  folder.remove(/^acceptor/);
  const unnamed = await folder.refusal(["--force", "--yes"]);
  assertMatch(unnamed.message, /add "--id NAME"/);
  const text = await folder.recover(["--force", "--yes", "--id", "a"]);
  assertMatch(text, /view 1000003\./);
});

Deno.test("recover: by force only where something can be served", async () => {
  using folder = new Folder();
  await folder.make({
    entries: 60,
    applied: 60,
    alter: async ({ snapshots, log }) => {
      await log.compact(await snapshots.take());
      assertNotEquals(log.base.index, 0);
    },
  });
  folder.remove(/^state/);
  const name = Object.keys(folder.files()).find((one) => /^snap/.test(one));
  assert(name !== undefined);
  folder.rot(name, 100);
  const text = await folder.recover();
  assertMatch(text, /these data cannot be served/);
  const error = await folder.refusal(["--force", "--yes"]);
  assertMatch(error.message, /neither state nor snapshot come so far/);
  using empty = new Folder();
  await empty.make({ entries: 0, applied: 0 });
  const nothing = await empty.refusal(["--force", "--yes"]);
  assertMatch(nothing.message, /it holds nothing/);
});

Deno.test("recover: not while the node runs, and not where there is none", async () => {
  using folder = new Folder();
  const none = await folder.refusal([]);
  assertMatch(none.message, /^There is no directory/);
  assertEquals([...Deno.readDirSync(folder.path)], []);
  await folder.make({ entries: 3, applied: 3 });
  using _lock = DirectoryLock.acquire(folder.data);
  for (const args of [[], ["--force", "--yes"]]) {
    const error = await folder.refusal(args);
    assert(error instanceof StorageError && error.code === "locked");
    assertStringIncludes(error.message, `process ${Deno.pid}`);
  }
});

Deno.test("recover: an epoch that no further one follows", () => {
  const promised = { counter: Number.MAX_SAFE_INTEGER - 5, store: B };
  const votes = { promised, accepted: undefined, isDamaged: false };
  const error = (() => {
    try {
      return recoveredVotes({ store: C, id: "c", votes, epochs: [] });
    } catch (caught) {
      return caught;
    }
  })();
  assert(error instanceof RangeError);
});

Deno.test("recover: flags", () => {
  const code = (...args: string[]) => {
    try {
      parseRecoverFlags(args, new Map());
      return undefined;
    } catch (error) {
      assert(error instanceof FlagsExit);
      return error.code;
    }
  };
  assertEquals(code(), 2);
  assertEquals(code("--data", "d"), undefined);
  assertEquals(code("--data", "d", "--yes"), 2);
  assertEquals(code("--data", "d", "--force", "--yes"), undefined);
  assertEquals(code("--help"), 0);
});
