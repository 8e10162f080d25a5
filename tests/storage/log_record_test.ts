import { assert, assertEquals, assertThrows } from "@std/assert";
import { EPOCH_NONE } from "../../protocol/epoch.ts";
import { StorageError } from "../../storage/errors.ts";
import {
  LOG_RECORD_BYTES,
  LOG_RECORD_KINDS,
  LogRecordCoder,
} from "../../storage/log_record.ts";
import { openLog } from "./log_fixture.ts";
import { bytesOf, diskWith } from "./record_fixture.ts";

const AT = { path: "/data/x", position: 16 };

Deno.test("log record: what is encoded is parsed", () => {
  const epochs = [
    EPOCH_NONE,
    { counter: 1, store: "00000000000000aa" },
    { counter: Number.MAX_SAFE_INTEGER, store: "ffffffffffffffff" },
  ];
  const indexes = [0, 1, 255, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER];
  const [writer, reader] = [new LogRecordCoder(), new LogRecordCoder()];
  for (const epoch of epochs) {
    for (const index of indexes) {
      for (const kind of LOG_RECORD_KINDS) {
        if (kind === "entry") continue;
        const record = reader.parse(writer.encode(kind, { index, epoch }), AT);
        assertEquals(record, { kind, index, epoch, command: bytesOf("") });
      }
      const command = bytesOf("command");
      const { payloads, entries } = writer.encodeEntries([
        { index, epoch, command },
        { index, epoch, command: bytesOf("") },
      ]);
      assertEquals(
        payloads.map((payload) => reader.parse(payload, AT)),
        [
          { kind: "entry" as const, index, epoch, command },
          { kind: "entry" as const, index, epoch, command: bytesOf("") },
        ],
      );
      assertEquals(entries[0], { index, epoch, command });
    }
  }
});

Deno.test("log record: the entries kept are copies, and share their epoch", () => {
  const command = bytesOf("mine");
  const epoch = () => ({ counter: 4, store: "00000000000000aa" });
  const { entries } = new LogRecordCoder().encodeEntries([
    { index: 1, epoch: epoch(), command },
    { index: 2, epoch: epoch(), command },
  ]);
  command.fill(0);
  assertEquals(entries[0].command, bytesOf("mine"));
  assert(entries[0].epoch === entries[1].epoch);
});

Deno.test("log record: anything else is refused", () => {
  const coder = new LogRecordCoder();
  const epoch = { counter: 1, store: "00000000000000aa" };
  const cut = coder.encode("cut", { index: 1, epoch });
  const wrong: Uint8Array[] = [];
  for (let length = 0; length < LOG_RECORD_BYTES; length++) {
    wrong.push(cut.subarray(0, length));
  }
  for (const kind of [0, LOG_RECORD_KINDS.length + 1, 255]) {
    const bytes = cut.slice();
    bytes[0] = kind;
    wrong.push(bytes);
  }
  // Only an entry may be longer; numbers above 2^53 - 1 are none.
  wrong.push(Uint8Array.of(...cut, 0));
  for (const at of [1, 9]) {
    const bytes = cut.slice();
    bytes[at] = 255;
    wrong.push(bytes);
  }
  for (const bytes of wrong) {
    const error = assertThrows(() => coder.parse(bytes, AT), StorageError);
    assert(error instanceof StorageError);
    assertEquals(
      [error.code, error.path, error.position],
      ["wrong-format", AT.path, AT.position],
    );
  }
});

Deno.test("log record: what has no epoch of a store is not written", () => {
  const coder = new LogRecordCoder();
  for (
    const epoch of [
      { counter: -1, store: "00000000000000aa" },
      { counter: 2 ** 53, store: "00000000000000aa" },
      { counter: 1, store: "00000000000000AA" },
      { counter: 1, store: "aa" },
    ]
  ) {
    assertThrows(() => coder.encode("cut", { index: 1, epoch }), RangeError);
  }
});

Deno.test("log record: the example of FORMAT.md is what it says", async () => {
  const page = Deno.readTextFileSync(
    new URL("../../storage/FORMAT.md", import.meta.url),
  );
  const [, section] = page.split("\n## Log of a replica\n");
  const [, example] = section.split("```text\n");
  const bytes = example.split("```")[0].trimEnd().split("\n")
    .flatMap((line) => line.slice(4, 55).trim().split(/ +/))
    .filter((text) => /^[0-9a-f]{2}$/.test(text))
    .map((text) => parseInt(text, 16));
  const disk = await diskWith(Uint8Array.from(bytes));
  disk.rename("/data/test.log", "/data/log-000001.log");
  const { log, cutBytes, damage } = await openLog(disk);
  assertEquals([log.lastIndex, cutBytes, damage], [0, 0, undefined]);
  assertEquals(log.base, { index: 0, epoch: EPOCH_NONE });
  const size = bytes.length;
  assertEquals(log.activeBytes, size);
  await log.close();
  // Without its last records it still has the entry.
  const shorter = await diskWith(Uint8Array.from(bytes.slice(0, 0x74)));
  shorter.rename("/data/test.log", "/data/log-000001.log");
  const again = await openLog(shorter);
  assertEquals(again.log.read(1, { bytesMax: 10 }), [{
    index: 1,
    epoch: { counter: 1, store: "00000000000000aa" },
    command: bytesOf("hi"),
  }]);
  await again.log.close();
});
