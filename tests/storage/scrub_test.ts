import { assert, assertEquals, assertRejects } from "@std/assert";
import { LogScrub } from "../../storage/scrub.ts";
import type { SegmentDamage, SegmentLog } from "../../storage/segment_log.ts";
import { Random } from "../sim/random.ts";
import type { SimDisk } from "../sim/sim_disk.ts";
import {
  appendAll,
  diskOf,
  entriesOf,
  type Files,
  filesOf,
  LOG_DIRECTORY,
  openLog,
  putFiles,
  textsIn,
} from "./log_fixture.ts";
import { simDisk } from "./record_fixture.ts";
import { SteppedDisk } from "./stepped_disk.ts";

/** A log with cuts within and across its segments. */
async function someLog(): Promise<Files> {
  const disk = simDisk();
  const { log } = await openLog(disk);
  await appendAll(log, entriesOf(1, 9));
  log.cut(7);
  await appendAll(log, entriesOf(8, 12, 2));
  log.cut(5);
  await appendAll(log, entriesOf(6, 30, 3));
  await log.close();
  return filesOf(disk);
}

/** Steps through one whole round. */
function scrubAll(log: SegmentLog, stepBytes = 100): SegmentDamage[] {
  const scrub = new LogScrub(log, stepBytes);
  const found: SegmentDamage[] = [];
  for (let step = 0; scrub.roundCount === 0; step++) {
    assert(step < 10_000, "It never ends");
    const damage = scrub.step();
    if (damage !== undefined) found.push(damage);
  }
  return found;
}

Deno.test("scrub: a good log is good, in steps of any size", async () => {
  const disk = await diskOf(await someLog());
  const { log } = await openLog(disk);
  for (const stepBytes of [1, 50, 100, 1000, 1e6]) {
    assertEquals(scrubAll(log, stepBytes), []);
  }
  await log.close();
});

Deno.test("scrub: zeros that a crash has left at the end of a segment are not rot", async () => {
  for (const left of [1, 15, 16, 17, 5000]) {
    const files = new Map(await someLog());
    for (const [name, bytes] of files) {
      // The mark is missing, whole or in part.
      const rest = bytes.slice(0, bytes.length - left % 17);
      const zeros = new Uint8Array(rest.length + left);
      zeros.set(rest);
      files.set(name, zeros);
    }
    const disk = await diskOf(files);
    const { log, damage } = await openLog(disk, { aheadBytes: 100 });
    assertEquals(damage, undefined);
    assertEquals(scrubAll(log), []);
    await log.close();
  }
});

Deno.test("scrub: a log of one segment gives it nothing to do", async () => {
  const { log } = await openLog(simDisk());
  log.append(entriesOf(1, 1));
  const scrub = new LogScrub(log);
  for (let i = 0; i < 5; i++) assertEquals(scrub.step(), undefined);
  assertEquals(scrub.roundCount, 0);
  await log.close();
});

Deno.test("scrub: any one rotten byte is found, and mended from the entries of a peer", async () => {
  const files = await someLog();
  const names = [...files.keys()].slice(0, -1);
  assert(names.length >= 3);
  const { log: peer } = await openLog(await diskOf(files));
  const texts = textsIn(peer);
  for (const [at, name] of names.entries()) {
    const { length } = files.get(name) ?? [];
    for (let position = 0; position < (length ?? 0) - 16; position += 13) {
      const disk = await diskOf(files);
      // Nothing is kept in memory, so that what is read comes from the disk.
      const { log } = await openLog(disk, { tailBytesMax: 0 });
      const path = `${LOG_DIRECTORY}/${name}`;
      disk.flip(path, position, 1 + position % 255);
      const [damage, ...more] = scrubAll(log);
      assertEquals(more, []);
      assert(damage !== undefined, `${name}, byte ${position}`);
      assertEquals([damage.path, damage.segment], [path, at + 1]);
      assert(damage.position <= position);
      await mend(log, damage, peer);
      assertEquals(scrubAll(log), []);
      assertEquals(textsIn(log), texts);
      await appendAll(log, entriesOf(log.lastIndex + 1, 3, 7));
      await log.close();
      const again = await openLog(disk);
      assertEquals([again.damage, again.cutBytes], [undefined, 0]);
      assertEquals(textsIn(again.log).slice(0, texts.length), texts);
      await again.log.close();
    }
  }
});

async function mend(
  log: SegmentLog,
  damage: SegmentDamage,
  peer: SegmentLog,
): Promise<void> {
  const { firstIndex, lastIndex } = damage;
  const entries = peer.read(firstIndex, { bytesMax: 1e9, to: lastIndex });
  assertEquals(entries.length, lastIndex - firstIndex + 1);
  await log.repair(damage, entries);
}

Deno.test("scrub: a read that meets rot names the segment to be mended", async () => {
  const files = await someLog();
  const { log: peer } = await openLog(await diskOf(files));
  const disk = await diskOf(files);
  const { log } = await openLog(disk, { tailBytesMax: 0 });
  disk.flip(`${LOG_DIRECTORY}/log-000001.log`, 120, 1);
  let error: unknown;
  try {
    log.read(1, { bytesMax: 1e9 });
  } catch (thrown) {
    error = thrown;
  }
  const damage = log.damageOf(error);
  assert(damage !== undefined);
  assertEquals([damage.segment, damage.firstIndex], [1, 1]);
  await mend(log, damage, peer);
  assertEquals(textsIn(log), textsIn(peer));
  assertEquals(log.damageOf(new Error("x")), undefined);
  await log.close();
  // In the segment being written nothing can be mended.
  const { log: again } = await openLog(disk, { tailBytesMax: 0 });
  const last = again.segments[again.segments.length - 1];
  disk.flip(last.path, 80, 1);
  try {
    again.read(last.first, { bytesMax: 1e9 });
    error = undefined;
  } catch (thrown) {
    error = thrown;
  }
  assert(error !== undefined);
  assertEquals(again.damageOf(error), undefined);
});

Deno.test("scrub: entries that the log does not have mend nothing", async () => {
  const disk = await diskOf(await someLog());
  const { log } = await openLog(disk);
  const before = filesOf(disk);
  const [{ number: segment, first, count }] = log.segments;
  const right = log.read(first, { bytesMax: 1e9, to: first + count - 1 });
  for (
    const wrong of [
      right.slice(1),
      right.slice(0, -1),
      entriesOf(first, count, 9),
      entriesOf(first + 1, count, 1),
    ]
  ) {
    await assertRejects(() => log.repair({ segment }, wrong), RangeError);
  }
  assertEquals(filesOf(disk), before);
  const last = log.segments[log.segments.length - 1].number;
  await assertRejects(
    () => log.repair({ segment: last }, []),
    RangeError,
    "still being written",
  );
  // One that was compacted meanwhile needs nothing.
  await log.repair({ segment: 999 }, right);
  await log.close();
});

Deno.test("scrub: it goes on through compactions, repairs and new segments", async () => {
  const disk = await diskOf(await someLog());
  const { log } = await openLog(disk);
  const scrub = new LogScrub(log, 90);
  const random = new Random(3);
  for (let i = 0; i < 300; i++) {
    assertEquals(scrub.step(), undefined);
    if (random.chance(0.2)) {
      await appendAll(log, entriesOf(log.lastIndex + 1, 3, 9));
    }
    if (random.chance(0.05)) await log.compact(log.lastIndex - 30);
    if (random.chance(0.1) && log.segments.length > 1) {
      const { number: segment, first, count } = log.segments[0];
      const range = { bytesMax: 1e9, to: first + count - 1 };
      await log.repair({ segment }, log.read(first, range));
    }
  }
  assert(scrub.roundCount > 2, `${scrub.roundCount}`);
  await log.close();
});

Deno.test("scrub: a crash during a repair leaves the old segment or the new one", async () => {
  const files = await someLog();
  for (let seed = 0; seed < 200; seed++) {
    const stepped = new SteppedDisk(seed);
    const { disk } = stepped;
    const random = new Random(seed);
    await stepped.finish(putFiles(disk, files));
    const { log } = await stepped.finish(openLog(disk));
    const texts = [textsIn(log)];
    const segments = log.segments.slice(0, -1)
      .filter(({ count }) => count > 0);
    const damaged = random.pick(segments);
    if (random.chance(0.5)) {
      log.cut(damaged.first + random.int(damaged.count));
      texts.push(textsIn(log));
    }
    const { number: segment, first, count } = damaged;
    const range = { bytesMax: 1e9, to: first + count - 1 };
    log.repair({ segment }, log.read(first, range));
    if (random.chance(0.5)) {
      log.cut(Math.min(log.lastIndex, first + random.int(damaged.count)));
      texts.push(textsIn(log));
    }
    for (let step = random.int(8); step >= 0; step--) {
      await stepped.finishOne();
    }
    stepped.die(random.pick(["kill", "crash"]));
    const again = await stepped.finish(openLog(disk));
    assertEquals(again.damage, undefined);
    const found = textsIn(again.log).join();
    assert(texts.some((wanted) => wanted.join() === found), `seed ${seed}`);
    await stepped.finish(again.log.close());
    assertEquals(leftovers(disk), []);
  }
});

function leftovers(disk: SimDisk): string[] {
  return disk.list(LOG_DIRECTORY)
    .filter((name) => !/^log-\d+\.log$/.test(name));
}
