/** Dumps that are not what they should be. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { ChatState } from "../../../../nodes/chat/state/state.ts";
import { StateDatabase } from "../../../../nodes/chat/state/state_database.ts";
import {
  DUMP_CHUNK_BYTES_MAX,
  DUMP_RECORD,
  dumpState,
} from "../../../../nodes/chat/state/state_dump.ts";
import { StateLoader } from "../../../../nodes/chat/state/state_load.ts";
import { createTables } from "../../../../nodes/chat/state/state_schema.ts";
import { StorageError } from "../../../../storage/errors.ts";
import {
  assertSameDump,
  dumpOf,
  hex,
  History,
  sessionId,
} from "./state_fixture.ts";

/** Two users, three sessions of which one has ended, one deleted user, two messages. */
async function smallDump(): Promise<Uint8Array> {
  const state = ChatState.open(":memory:");
  const history = new History();
  ["alice", "zoë", "gone"].forEach((name, at) => {
    history.register(name);
    history.open(at + 1, { name, id: history.index });
  });
  history.open(4, { name: "alice", id: 1 });
  history.send([1, 1], "zoë", "so schön");
  history.send([2, 1], "alice", "ja 😀");
  history.close([4, 1]);
  history.deleteAccount([3, 1]);
  state.apply(history.entries);
  const [dump, ...rest] = await dumpOf(state);
  assertEquals(rest, []);
  await state.close();
  return dump;
}

/** Loads chunks into a new database, and dumps that again. */
function load(chunks: readonly Uint8Array[]): Uint8Array[] {
  const connection = new DatabaseSync(":memory:");
  try {
    createTables(connection);
    const database = new StateDatabase(connection);
    const loader = new StateLoader(database, "a.db");
    for (const chunk of chunks) loader.push(chunk);
    loader.finish();
    return [...dumpState(database)];
  } finally {
    connection.close();
  }
}

function refusal(chunks: readonly Uint8Array[]): string {
  const error = assertThrows(() => load(chunks), StorageError);
  assertEquals(error.code, "damaged");
  return error.message;
}

/** A dump's records, apart. */
function recordsOf(dump: Uint8Array): Uint8Array[] {
  const bytes = Buffer.from(dump);
  const records: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    records.push(dump.subarray(at, end));
    at = end;
  }
  return records;
}

function record(kind: number, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(5 + payload.length);
  bytes[0] = kind;
  bytes.writeUInt32BE(payload.length, 1);
  bytes.set(payload, 5);
  return bytes;
}

Deno.test("state dump: the bytes are as FORMAT.md says", async () => {
  const state = ChatState.open(":memory:");
  const history = new History();
  history.register("zoë", hex(0xabc, 32));
  history.open(7, { name: "zoë", id: 1 });
  history.send([7, 1], "zoë", "hé");
  state.apply(history.entries);
  const [dump] = await dumpOf(state);
  const n = (value: number) => hex(value, 16);
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    return hex(bytes.length, 8) + bytes.toString("hex");
  };
  const made = (kind: number, payload: string) =>
    hex(kind, 2) + hex(payload.length / 2, 8) + payload;
  assertEquals(
    Buffer.from(dump).toString("hex"),
    [
      made(1, `01${n(3)}${n(3)}00000000000000aa${state.hash}`),
      made(
        2,
        n(1) + n(1_000) + n(3 - 2) + hex(0xabc, 32) + text("zoë") +
          text("phc"),
      ),
      made(
        4,
        sessionId(7) + hex(7, 64) + n(1) + n(2) + n(3) + n(1_002) + n(1) +
          n(3 * 16),
      ),
      made(
        6,
        n(3) + n(1) + n(1) + n(1_002) + Buffer.from("hé").toString("hex"),
      ),
      made(7, n(1) + n(1) + n(1)),
    ].join(""),
  );
  await state.close();
});

Deno.test("state dump: what is loaded is dumped alike, however it is cut into chunks", async () => {
  const dump = await smallDump();
  assertEquals(load([dump]), [dump]);
  assertEquals(load(recordsOf(dump)), [dump]);
  assertEquals(load([new Uint8Array(0), dump, new Uint8Array(0)]), [dump]);
  const kinds = recordsOf(dump).map(([kind]) => kind);
  assertEquals(kinds, [1, 2, 2, 3, 4, 4, 5, 5, 6, 6, 7]);
});

Deno.test("state dump: many records and long texts go over many chunks", async () => {
  const state = ChatState.open(":memory:");
  const history = new History();
  history.register("alice");
  history.open(1, { name: "alice", id: 1 });
  for (let sequence = 1; sequence <= 12_000; sequence += 1) {
    const text = sequence % 500 === 0 ? "x".repeat(65_536) : `text ${sequence}`;
    history.send([1, sequence], "alice", text);
  }
  state.apply(history.entries);
  const chunks = await dumpOf(state);
  assert(chunks.length > 6, `${chunks.length} chunks`);
  for (const chunk of chunks) assert(chunk.length <= DUMP_CHUNK_BYTES_MAX);
  assertSameDump(load(chunks), chunks);
  const other = ChatState.open(":memory:");
  await other.install(chunks);
  assertEquals(other.hash, state.hash);
  assertEquals(
    other.list(1, { after: 5_000, limit: 200 }),
    state.list(1, { after: 5_000, limit: 200 }),
  );
  await state.close();
  await other.close();
});

Deno.test("state dump: every cut of it is refused", async () => {
  const dump = await smallDump();
  for (let length = 0; length < dump.length; length += 1) {
    refusal([dump.subarray(0, length)]);
  }
});

Deno.test("state dump: records that are missing, twice or out of order are refused", async () => {
  const records = recordsOf(await smallDump());
  records.forEach((one, at) => {
    const [kind] = one;
    // Nothing counts these two; they only tell late repetitions.
    const isCounted = kind !== DUMP_RECORD.deletedUser &&
      kind !== DUMP_RECORD.endedSession;
    if (isCounted) refusal(records.toSpliced(at, 1));
    if (isCounted) refusal(records.toSpliced(at, 0, one));
    if (at > 0) {
      const swapped = records.toSpliced(at - 1, 2, one, records[at - 1]);
      const isOther = kind !== records[at - 1][0] || isCounted;
      if (isOther) refusal(swapped);
    }
  });
});

Deno.test("state dump: unknown versions, kinds and lengths are refused by name", async () => {
  const dump = await smallDump();
  const records = recordsOf(dump);
  const [head] = records;
  const later = Uint8Array.from(head);
  later[5] = 2;
  assert(refusal([later]).includes("version 2, wanted 1"));
  const odd = record(9, new Uint8Array(3));
  assert(refusal([head, odd]).includes("record 9"));
  assert(refusal([dump, odd]).includes("record 9"));
  const long = record(1, Uint8Array.of(...head.subarray(5), 0));
  assert(refusal([long]).includes("longer"));
  const short = record(1, head.subarray(5, 20));
  assert(refusal([short]).includes("shorter"));
  const huge = new Uint8Array(DUMP_CHUNK_BYTES_MAX + 1);
  assert(refusal([huge]).includes(`limit is ${DUMP_CHUNK_BYTES_MAX}`));
});

Deno.test("state dump: whatever bytes come, they are loaded or refused", async () => {
  const dump = await smallDump();
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(dump.length - 1), fc.nat(255)), {
        minLength: 1,
        maxLength: 4,
      }),
      (changes) => {
        const changed = Uint8Array.from(dump);
        for (const [at, value] of changes) changed[at] = value;
        try {
          load([changed]);
        } catch (error) {
          assert(error instanceof StorageError, String(error));
        }
      },
    ),
    { numRuns: 300 },
  );
});
