/** A disk that is really full. Needs the right to mount one. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LocalDisk } from "../../storage/disk.ts";
import { StorageError } from "../../storage/errors.ts";
import { RecordFile } from "../../storage/record_file.ts";
import { textsOf } from "./record_fixture.ts";
import { onSmallDisk, whyNoSmallDisk } from "./small_disk.ts";

const DISK_BYTES = 256 * 1024;
const FILLER_BYTES = 64 * 1024;

const refusal = whyNoSmallDisk();

Deno.test({
  name: refusal === undefined
    ? "disk full: what was synced stays, the rest is refused, and room helps"
    : `disk full: not run, since a small disk cannot be mounted: ${refusal}`,
  ignore: refusal !== undefined,
  fn: () => onSmallDisk(DISK_BYTES, fillAndFree),
});

async function fillAndFree(directory: string): Promise<void> {
  Deno.writeFileSync(`${directory}/filler`, new Uint8Array(FILLER_BYTES));
  const opened = await openLog(directory);
  let syncedCount = 0;
  let appendedCount = 0;
  const error = await assertRejects(async () => {
    for (; appendedCount < 1000; appendedCount++) {
      opened.file.append([textOfRecord(appendedCount)]);
      if (appendedCount % 10 !== 9) continue;
      await opened.file.sync();
      syncedCount = appendedCount + 1;
    }
  }, StorageError);
  assertEquals([error.code, error.path], ["write-failed", `${directory}/log`]);
  assert(error.message.includes("No space left on device"), error.message);
  assert(syncedCount > 0);

  Deno.removeSync(`${directory}/filler`);
  assert(assertThrows(() => opened.file.append([])) === error);
  assert(await assertRejects(() => opened.file.sync()) === error);
  assert(await assertRejects(() => opened.file.close()) === error);

  const again = await openLog(directory);
  assert(again.texts.length >= syncedCount, "A synced record is lost");
  assert(again.texts.length <= appendedCount);
  again.file.append([textOfRecord(again.texts.length)]);
  await again.file.close();
  const { texts, cutBytes, file } = await openLog(directory);
  const wanted = Array.from(
    { length: again.texts.length + 1 },
    (_, i) => textOfRecord(i),
  );
  assertEquals(texts, textsOf(wanted));
  assertEquals(cutBytes, 0);
  await file.close();
}

async function openLog(directory: string) {
  const payloads: Uint8Array[] = [];
  const opened = await RecordFile.open(new LocalDisk(), `${directory}/log`, {
    kind: "test",
    recordBytesMax: 10_000,
    onRecord: (payload) => payloads.push(payload),
  });
  return { ...opened, texts: textsOf(payloads) };
}

function textOfRecord(index: number): Uint8Array {
  return new TextEncoder().encode(`${index} `.repeat(333));
}
