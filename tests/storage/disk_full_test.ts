/** A disk that is really full. Needs the right to mount one. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LocalDisk } from "../../storage/disk.ts";
import { StorageError } from "../../storage/errors.ts";
import { RecordFile } from "../../storage/record_file.ts";
import { textsOf } from "./record_fixture.ts";

const DISK_BYTES = 256 * 1024;
const FILLER_BYTES = 64 * 1024;

const refusal = mountAndUnmount();

Deno.test({
  name: refusal === undefined
    ? "disk full: what was synced stays, the rest is refused, and room helps"
    : `disk full: not run, since a small disk cannot be mounted: ${refusal}`,
  ignore: refusal !== undefined,
  fn: () => onSmallDisk(fillAndFree),
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

async function onSmallDisk(
  test: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync();
  const options = `size=${DISK_BYTES},mode=0700`;
  run("mount", ["-t", "tmpfs", "-o", options, "skein-test", directory]);
  try {
    await test(directory);
  } finally {
    run("umount", ["--lazy", directory]);
    Deno.removeSync(directory);
  }
}

/** Why a disk cannot be mounted here; nothing if it can. */
function mountAndUnmount(): string | undefined {
  const directory = Deno.makeTempDirSync();
  try {
    run("mount", ["-t", "tmpfs", "-o", "size=64k", "skein-test", directory]);
    run("umount", [directory]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    Deno.removeSync(directory);
  }
}

function run(command: string, args: string[]): void {
  const { success, stderr } = new Deno.Command(command, { args }).outputSync();
  if (success) return;
  throw new Error(new TextDecoder().decode(stderr).trim());
}
