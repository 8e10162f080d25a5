/**
 * Another process for the log's kill tests: `DIRECTORY MODE`.
 *
 * Appends entries for ever, and says what is on disk for good: `synced INDEX`,
 * `compacting INDEX` before and `compacted INDEX` after a compaction,
 * `promised NUMBER` after a save of the acceptor's state, `snapshot INDEX` when
 * one was finished. MODE is `now` for blocking syncs, else `soon`.
 */

import { LocalDisk } from "../../storage/disk.ts";
import { AcceptorFile } from "../../storage/acceptor_file.ts";
import { SnapshotWriter } from "../../storage/snapshot_writer.ts";
import { entriesOf, epochOf, openLog } from "./log_fixture.ts";

/** Entries between two compactions. */
const COMPACT_EVERY = 60;

const [directory, mode] = Deno.args;
const disk = new LocalDisk();
const { log } = await openLog(disk, {
  segmentBytesMax: 1024,
  tailBytesMax: 4096,
}, directory);
const { file: acceptor } = await AcceptorFile.open(disk, directory, {
  hasLog: log.lastIndex > 0,
  recordsMax: 5,
});

for (let round = 0;; round++) {
  log.append(entriesOf(log.lastIndex + 1, 1 + round % 7));
  if (mode === "now") log.syncNow();
  else await log.sync();
  say(`synced ${log.lastIndex}`);
  if (round % 3 === 0) {
    const counter = acceptor.state.promised.counter + 1;
    acceptor.saveNow({ ...acceptor.state, promised: epochOf(counter) });
    say(`promised ${counter}`);
  }
  if (log.lastIndex - log.base.index > COMPACT_EVERY) {
    const index = log.lastIndex - 10;
    const position = { index, epoch: epochOf(1) };
    const writer = await SnapshotWriter.create(disk, directory, position);
    await writer.write(new Uint8Array(5000).fill(index % 251));
    await writer.finish();
    say(`snapshot ${index}`);
    say(`compacting ${index}`);
    await log.compact(index);
    say(`compacted ${log.base.index}`);
  }
  // What is done beside it needs its turns too.
  await new Promise((resolve) => setTimeout(resolve, 0));
}

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}
