/** A process that writes a log on a real disk is killed, again and again. */

import { assert, assertEquals } from "@std/assert";
import { TextLineStream } from "@std/streams";
import { AcceptorFile } from "../../storage/acceptor_file.ts";
import { LocalDisk } from "../../storage/disk.ts";
import { SnapshotReader } from "../../storage/snapshot_reader.ts";
import { Random } from "../sim/random.ts";
import { areGenuine, openLog } from "./log_fixture.ts";

const CHILD = new URL("./log_child.ts", import.meta.url).pathname;
const KILLS = 6;

/** What the child said last. */
type Said = Map<string, number>;

for (const mode of ["now", "soon"]) {
  Deno.test(`segment log: a process killed while it syncs (${mode}), begins segments and compacts loses nothing`, async () => {
    const directory = Deno.makeTempDirSync();
    const random = new Random(mode.length);
    const said: Said = new Map();
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        // Half of them while it compacts.
        const after = kill % 2 === 0 ? undefined : "compacting";
        const lines = 20 + random.int(300);
        await killed([directory, mode], { after, lines, said });
        await check(directory, said);
      }
      assert((said.get("compacted") ?? 0) > 0, "It never compacted");
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

/** Runs the child until it has said so many lines, and then `after`. */
async function killed(
  args: string[],
  until: { after: string | undefined; lines: number; said: Said },
): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", CHILD, ...args],
    stdout: "piped",
  }).spawn();
  let count = 0;
  let isKilled = false;
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  for await (const line of lines) {
    const [what, index] = line.split(" ");
    until.said.set(what, Number(index));
    count += 1;
    if (isKilled || count < until.lines) continue;
    if (until.after !== undefined && what !== until.after) continue;
    child.kill("SIGKILL");
    isKilled = true;
  }
  const { signal } = await child.status;
  assertEquals(signal, "SIGKILL");
}

async function check(directory: string, said: Said): Promise<void> {
  const disk = new LocalDisk();
  const { log, damage } = await openLog(disk, {
    segmentBytesMax: 1024,
    tailBytesMax: 4096,
  }, directory);
  assertEquals(damage, undefined);
  const synced = said.get("synced") ?? 0;
  assert(log.lastIndex >= synced, `${log.lastIndex}, ${synced} was synced`);
  assert(log.base.index >= (said.get("compacted") ?? 0));
  assert(log.base.index <= (said.get("compacting") ?? 0));
  const entries = log.read(log.firstIndex, { bytesMax: Infinity });
  assertEquals(entries.length, log.lastIndex - log.base.index);
  assert(areGenuine(entries));
  await log.close();
  const { file, origin } = await AcceptorFile.open(disk, directory, {
    hasLog: true,
  });
  assertEquals(origin, undefined);
  assert(file.state.promised.counter >= (said.get("promised") ?? 0));
  await file.close();
  const { snapshot, damaged } = SnapshotReader.newest(disk, directory);
  assertEquals(damaged, []);
  assert((snapshot?.info.index ?? 0) >= (said.get("snapshot") ?? 0));
  snapshot?.verify();
  snapshot?.close();
}
