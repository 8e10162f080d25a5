import { assertEquals, assertThrows } from "@std/assert";
import {
  AUTOMATIC_NAME,
  ENDED_GROUPS_MAX,
  ENDED_GROUPS_NAME,
  endGroup,
  openEndedGroups,
} from "../../storage/ended_groups.ts";
import { StorageError } from "../../storage/errors.ts";

function group(number: number): string {
  return number.toString(16).padStart(16, "0");
}

async function inDirectory(body: (path: string) => void): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "skein-ended-" });
  try {
    body(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function filesIn(path: string): string[] {
  return Array.from(Deno.readDirSync(path), ({ name }) => name).sort();
}

Deno.test("ended groups: nothing is removed where no group has ended", async () => {
  await inDirectory((path) => {
    Deno.writeTextFileSync(`${path}/log-000001.log`, "entries");
    assertEquals(openEndedGroups(path), []);
    assertEquals(filesIn(path), ["log-000001.log"]);
  });
});

/** All that a node may leave in its directory. */
const LEFT = [
  ...["", ".new", ".damaged"].map((end) => `acceptor-000002.log${end}`),
  ...["", ".new", ".repair", ".repair.new", ".damaged"]
    .map((end) => `log-000001.log${end}`),
  ...["", ".new"].map((end) => `snapshot-000000000012.snap${end}`),
  ...["", "-wal", "-shm", ".new", ".new-wal", ".new-shm"]
    .map((end) => `state.db${end}`),
  `${ENDED_GROUPS_NAME}.new`,
];

Deno.test("ended groups: the files of one that ended are removed, but for the lock and the name", async () => {
  await inDirectory((path) => {
    const kept = ["lock", AUTOMATIC_NAME];
    for (const name of [...kept, ...LEFT]) {
      Deno.writeTextFileSync(`${path}/${name}`, "x");
    }
    endGroup(path, group(1));
    assertEquals(openEndedGroups(path), [group(1)]);
    assertEquals(filesIn(path), [...kept, ENDED_GROUPS_NAME].sort());
    // What comes after it stays.
    Deno.writeTextFileSync(`${path}/log-000001.log`, "anew");
    assertEquals(openEndedGroups(path), [group(1)]);
    assertEquals(Deno.readTextFileSync(`${path}/log-000001.log`), "anew");
  });
});

Deno.test("ended groups: what is somebody else's stays", async () => {
  await inDirectory((path) => {
    const names = ["notes.txt", "log-1.log", "my-state.db", "state.db.mine"];
    for (const name of [...names, "state.db"]) {
      Deno.writeTextFileSync(`${path}/${name}`, "x");
    }
    Deno.mkdirSync(`${path}/server-2`);
    Deno.writeTextFileSync(`${path}/server-2/state.db`, "x");
    endGroup(path, group(1));
    openEndedGroups(path);
    assertEquals(
      filesIn(path),
      [...names, "server-2", ENDED_GROUPS_NAME].sort(),
    );
    assertEquals(filesIn(`${path}/server-2`), ["state.db"]);
  });
});

Deno.test("ended groups: an interrupted removal is ended at the next start", async () => {
  await inDirectory((path) => {
    for (const name of ["log-000001.log", "state.db"]) {
      Deno.writeTextFileSync(`${path}/${name}`, "x");
    }
    endGroup(path, group(1));
    Deno.removeSync(`${path}/state.db`);
    openEndedGroups(path);
    assertEquals(filesIn(path), [ENDED_GROUPS_NAME]);
  });
});

Deno.test("ended groups: the latest are remembered", async () => {
  await inDirectory((path) => {
    const count = ENDED_GROUPS_MAX + 3;
    for (let number = 1; number <= count; number += 1) {
      endGroup(path, group(number));
      openEndedGroups(path);
    }
    endGroup(path, group(7));
    const groups = openEndedGroups(path);
    assertEquals(groups.length, ENDED_GROUPS_MAX);
    assertEquals(groups.slice(-2), [group(count), group(7)]);
  });
});

Deno.test("ended groups: a file that is none of ours stops the start, and nothing is removed", async () => {
  await inDirectory((path) => {
    Deno.writeTextFileSync(`${path}/state.db`, "x");
    for (const text of ["", "{}", "\u0000", '{"groups":[7]}']) {
      Deno.writeTextFileSync(`${path}/${ENDED_GROUPS_NAME}`, text);
      assertThrows(() => openEndedGroups(path), StorageError, "remove it");
    }
    assertEquals(filesIn(path), [ENDED_GROUPS_NAME, "state.db"].sort());
  });
});
