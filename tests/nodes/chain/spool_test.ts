import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Progress } from "../../../nodes/chain/spool.ts";
import { ProgressSpool, QueueSpool } from "../../../nodes/chain/spool.ts";
import { encodeFrame, FRAME, readUint32 } from "../../../protocol/frame.ts";
import { plant, type Planted } from "../../plant.ts";
import { cutAt, joined } from "../../protocol/splits.ts";
import { Random } from "../../sim/random.ts";
import {
  type Death,
  death,
  DIRECTORY,
  SteppedDisk,
} from "../../storage/stepped_disk.ts";

/** Stories played to the end for the real thing. */
const STORIES = 300;

/** Stories after which a planted bug should have been caught. */
const STORIES_WITH_BUG_MAX = 3_000;

/** What a spool imports; a planted bug is in one of these. */
const FOLDERS = ["protocol", "nodes/chain", "nodes/host", "storage"];

/** What happens to a spool; whatever needs a process starts one. */
type Step =
  /** So many frames come into the queue, or clients get further. */
  | { readonly kind: "take"; readonly count: number }
  /** What is new is appended, in views that end at these places. */
  | { readonly kind: "append"; readonly cuts: readonly number[] }
  /** The successor acknowledges this part of the queue, in hundredths. */
  | { readonly kind: "acknowledge"; readonly part: number }
  | { readonly kind: "renew" }
  | { readonly kind: "disk-finishes" }
  | { readonly kind: "stop" }
  | { readonly kind: "die"; readonly how: Death };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("take" as const),
        count: fc.integer({ min: 1, max: 5 }),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("append" as const),
        cuts: fc.array(fc.nat(10_000), { maxLength: 2 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("acknowledge" as const),
        part: fc.nat(100),
      }),
    },
    { weight: 2, arbitrary: fc.constant({ kind: "renew" as const }) },
    { weight: 9, arbitrary: fc.constant({ kind: "disk-finishes" as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: "stop" as const }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("die" as const), how: death }),
    },
  ),
  { maxLength: 50, size: "max" },
);

/** One frame of the queue, known by a number that is never used twice. */
interface Queued {
  readonly number: number;
  readonly bytes: Uint8Array;
  /** Position after it, in bytes since this run began. */
  readonly end: number;
}

/**
 * A queue and its spool, used as the core uses them. Throws if, at a start, a
 * frame is torn, changed or out of order, was never appended, or is missing
 * though it was synced and not acknowledged.
 */
class QueueWorld {
  readonly #random: Random;
  readonly #disk: SteppedDisk;
  readonly #class: typeof QueueSpool;
  #spool: QueueSpool | undefined;
  #numbers = 0;
  /** All frames that were ever made, by number. */
  readonly #made = new Map<number, Uint8Array>();
  readonly #appended = new Set<number>();
  readonly #durable = new Set<number>();
  readonly #acknowledged = new Set<number>();
  /** This run's frames, acknowledged ones included. */
  #queue: Queued[] = [];
  #start = 0;
  #spooledEnd = 0;
  #isBusy = false;
  #wasStopped = false;

  constructor(seed: number, spoolClass: typeof QueueSpool) {
    this.#random = new Random(seed);
    this.#disk = new SteppedDisk(seed);
    this.#class = spoolClass;
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case "take":
        await this.#process();
        for (let i = 0; i < step.count; i++) this.#make();
        return;
      case "append":
        return this.#append(await this.#process(), step.cuts);
      case "acknowledge":
        return this.#acknowledge(await this.#process(), step.part);
      case "renew":
        return this.#renew(await this.#process());
      case "disk-finishes":
        return await this.#disk.finishOne();
      case "stop":
        return await this.#stop(await this.#process());
      case "die":
        this.#disk.die(step.how);
        this.#spool = undefined;
        return;
    }
  }

  get #end(): number {
    return this.#queue.at(-1)?.end ?? 0;
  }

  #make(): void {
    const payload = this.#random.bytes(4 + this.#random.int(300));
    const number = this.#numbers += 1;
    new DataView(payload.buffer).setUint32(0, number);
    const bytes = encodeFrame(FRAME.chainData, payload);
    this.#made.set(number, bytes);
    this.#queue.push({ number, bytes, end: this.#end + bytes.length });
  }

  #append(spool: QueueSpool, cuts: readonly number[]): void {
    // What is acknowledged already need not be kept.
    const position = Math.max(this.#spooledEnd, this.#start);
    if (this.#isBusy || this.#spooledEnd === this.#end) return;
    const queued = this.#queue.filter(({ end }) => end > position);
    const views = cutAt(joined(queued.map(({ bytes }) => bytes)), cuts);
    this.#spooledEnd = this.#end;
    this.#isBusy = true;
    for (const { number } of queued) this.#appended.add(number);
    this.#disk.whenDone(spool.append(position, views), () => {
      this.#isBusy = false;
      for (const { number } of queued) this.#durable.add(number);
    });
  }

  #acknowledge(spool: QueueSpool, part: number): void {
    const waiting = this.#queue.filter(({ end }) => end > this.#start);
    const count = Math.ceil(waiting.length * part / 100);
    if (count === 0) return;
    for (const { number, end } of waiting.slice(0, count)) {
      this.#acknowledged.add(number);
      this.#start = end;
    }
    spool.acknowledge(this.#start);
  }

  #renew(spool: QueueSpool): void {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const position = Math.min(this.#start, this.#spooledEnd);
    const frames = this.#queue.filter(({ end }) =>
      end > this.#start && end <= this.#spooledEnd
    ).map(({ bytes }) => bytes);
    this.#disk.whenDone(
      spool.renew(position, frames),
      () => this.#isBusy = false,
    );
  }

  async #stop(spool: QueueSpool): Promise<void> {
    while (this.#isBusy) await this.#disk.finishOne();
    await this.#disk.finish(spool.close());
    this.#spool = undefined;
    this.#wasStopped = true;
  }

  /** The spool of the process that runs; if none does, one is started and checked. */
  async #process(): Promise<QueueSpool> {
    if (this.#spool !== undefined) return this.#spool;
    const opening = this.#class.open(this.#disk.disk, DIRECTORY);
    const { spool, frames, cutBytes } = await this.#disk.finish(opening);
    const found = split(frames);
    if (this.#wasStopped) assertEquals(cutBytes, 0);
    this.#wasStopped = false;
    let before = 0;
    for (const frame of found) {
      const number = readUint32(frame, 5);
      assert(this.#appended.has(number), `${number} was never appended`);
      assert(number > before, `${number} comes after ${before}`);
      assertEquals(frame.slice(), this.#made.get(number), "changed");
      before = number;
    }
    const numbers = new Set(found.map((frame) => readUint32(frame, 5)));
    for (const number of this.#durable) {
      assert(
        numbers.has(number) || this.#acknowledged.has(number),
        `${number} was synced and is lost; there are ${[...numbers]}`,
      );
    }
    this.#restart(found);
    this.#spool = spool;
    return spool;
  }

  /** What was found is the queue of this run. */
  #restart(found: readonly Uint8Array[]): void {
    this.#queue = [];
    for (const bytes of found) {
      const number = readUint32(bytes, 5);
      this.#queue.push({ number, bytes, end: this.#end + bytes.length });
      // It is sent again, and acknowledged anew.
      this.#acknowledged.delete(number);
      this.#durable.add(number);
    }
    for (const number of this.#durable) {
      if (!found.some((frame) => readUint32(frame, 5) === number)) {
        this.#durable.delete(number);
      }
    }
    this.#start = 0;
    this.#spooledEnd = this.#end;
    this.#isBusy = false;
  }
}

/** Frames that lie one behind the other, all of them whole. */
function split(bytes: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + readUint32(bytes, at);
    assert(end <= bytes.length && end - at >= 9, `a torn frame at ${at}`);
    frames.push(bytes.slice(at, end));
    at = end;
  }
  return frames;
}

/** A progress spool, used as the tail uses it. */
class ProgressWorld {
  readonly #random: Random;
  readonly #disk: SteppedDisk;
  readonly #class: typeof ProgressSpool;
  #spool: ProgressSpool | undefined;
  /** What the progress was after each append, oldest first; the last is now. */
  #states: Progress[] = [];
  /** Index of the newest state that was synced. */
  #durable = -1;
  #now = new Map<bigint, number>();
  #outputBytes = 0;
  #changed = new Set<bigint>();
  #isBusy = false;

  constructor(seed: number, spoolClass: typeof ProgressSpool) {
    this.#random = new Random(seed);
    this.#disk = new SteppedDisk(seed);
    this.#class = spoolClass;
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case "take":
        await this.#process();
        for (let i = 0; i < step.count; i++) this.#advance();
        return;
      case "append":
        return this.#append(await this.#process());
      case "renew":
        return this.#renew(await this.#process());
      case "acknowledge":
        return;
      case "disk-finishes":
        return await this.#disk.finishOne();
      case "stop": {
        const spool = await this.#process();
        while (this.#isBusy) await this.#disk.finishOne();
        await this.#disk.finish(spool.close());
        this.#durable = this.#states.length - 1;
        this.#spool = undefined;
        return;
      }
      case "die":
        this.#disk.die(step.how);
        this.#spool = undefined;
        return;
    }
  }

  #advance(): void {
    const client = BigInt(this.#random.int(6)) << 60n;
    const bytes = 1 + this.#random.int(1_000);
    this.#now.set(client, (this.#now.get(client) ?? 0) + bytes);
    this.#outputBytes += bytes;
    this.#changed.add(client);
  }

  #append(spool: ProgressSpool): void {
    if (this.#isBusy) return;
    const clients = Array.from(
      this.#changed,
      (client) => [client, this.#now.get(client) ?? 0] as const,
    );
    this.#changed = new Set();
    const outputBytes = this.#outputBytes;
    const known = new Map(this.#states.at(-1)?.clients);
    for (const [client, end] of clients) {
      known.delete(client);
      known.set(client, end);
    }
    this.#states.push({ outputBytes, clients: Array.from(known) });
    this.#await(spool.append({ outputBytes, clients }));
  }

  #renew(spool: ProgressSpool): void {
    const state = this.#states.at(-1);
    if (this.#isBusy || state === undefined) return;
    this.#await(spool.renew(state));
  }

  #await(done: Promise<void>): void {
    const index = this.#states.length - 1;
    this.#isBusy = true;
    this.#disk.whenDone(done, () => {
      this.#isBusy = false;
      this.#durable = index;
    });
  }

  async #process(): Promise<ProgressSpool> {
    if (this.#spool !== undefined) return this.#spool;
    const opening = this.#class.open(this.#disk.disk, DIRECTORY);
    const { spool, progress } = await this.#disk.finish(opening);
    const text = (state: Progress | undefined) =>
      state && `${state.outputBytes}: ${state.clients.join(" ")}`;
    const index = this.#states.findLastIndex((state) =>
      text(state) === text(progress)
    );
    assert(
      index >= this.#durable && (index >= 0 || progress === undefined),
      `"${text(progress)}" is state ${index}, ${this.#durable} was synced`,
    );
    this.#states = progress === undefined ? [] : [progress];
    this.#durable = this.#states.length - 1;
    this.#now = new Map(progress?.clients);
    this.#outputBytes = progress?.outputBytes ?? 0;
    this.#changed = new Set();
    this.#isBusy = false;
    this.#spool = spool;
    return spool;
  }
}

async function play(
  world: { take(step: Step): Promise<void> },
  story: readonly Step[],
): Promise<void> {
  for (const step of story) await world.take(step);
  await world.take({ kind: "die", how: "crash" });
  await world.take({ kind: "stop" });
  await world.take({ kind: "stop" });
}

function queueProperty(spoolClass: typeof QueueSpool = QueueSpool) {
  return fc.asyncProperty(
    fc.integer(),
    steps,
    (seed, story) => play(new QueueWorld(seed, spoolClass), story),
  );
}

function progressProperty(spoolClass: typeof ProgressSpool = ProgressSpool) {
  return fc.asyncProperty(
    fc.integer(),
    steps,
    (seed, story) => play(new ProgressWorld(seed, spoolClass), story),
  );
}

Deno.test("spool: after any crash the queue has whole frames, and all that was synced and not acknowledged", async () => {
  await fc.assert(queueProperty(), { numRuns: STORIES });
});

Deno.test("spool: after any crash the progress is one that was appended, the last synced or later", async () => {
  await fc.assert(progressProperty(), { numRuns: STORIES });
});

Deno.test("spool: a new one is empty", async () => {
  const stepped = new SteppedDisk(1);
  const queue = await stepped.finish(
    QueueSpool.open(stepped.disk, DIRECTORY),
  );
  assertEquals([queue.frames.length, queue.cutBytes], [0, 0]);
  const delivered = await stepped.finish(
    ProgressSpool.open(stepped.disk, DIRECTORY),
  );
  assertEquals(delivered.progress, undefined);
  assertEquals(queue.spool.isWorthRenewing, false);
  assertEquals(delivered.spool.isWorthRenewing, false);
});

Deno.test("spool: when most of it is acknowledged it is worth beginning anew, and then no more", async () => {
  const stepped = new SteppedDisk(1);
  const { spool } = await stepped.finish(
    QueueSpool.open(stepped.disk, DIRECTORY),
  );
  spool.acknowledge(67_108_864);
  assertEquals(spool.isWorthRenewing, false);
  spool.acknowledge(67_108_865);
  assertEquals(spool.isWorthRenewing, true);
  await stepped.finish(spool.renew(67_108_865, []));
  assertEquals(spool.isWorthRenewing, false);
});

const QUEUE_BUGS: Record<string, Planted> = {
  "a torn frame stays": {
    file: "nodes/chain/spool.ts",
    find: "wholeFrames(unacknowledged(records))",
    replace: "unacknowledged(records)",
  },
  "what is acknowledged is counted from each record": {
    file: "nodes/chain/spool.ts",
    find: "Math.max(0, acknowledged - readUint53(record, 1))",
    replace: "acknowledged",
  },
  "frames are not synced": {
    file: "nodes/chain/spool.ts",
    find: "this.#log.append(records);\n    await this.#log.sync();",
    replace: "this.#log.append(records);\n    await null;",
  },
  "acknowledgements are noted in a file that is being left": {
    file: "nodes/chain/spool.ts",
    find: "if (!this.#isRenewing) this.#noteAcknowledged();",
    replace: "this.#noteAcknowledged();",
  },
  "positions go on from the run before": {
    file: "nodes/chain/spool.ts",
    find: "await log.renew(framesRecord(0, frames));",
    replace: "void framesRecord;",
  },
};

const PROGRESS_BUGS: Record<string, Planted> = {
  "progress is not synced": {
    file: "nodes/chain/spool.ts",
    find: "this.#log.append([progressRecord(progress)]);\n" +
      "    await this.#log.sync();",
    replace: "this.#log.append([progressRecord(progress)]);\n    await null;",
  },
  "only the last record of the progress counts": {
    file: "nodes/chain/spool.ts",
    find: "outputBytes = readUint53(record, 1);",
    replace: "outputBytes = readUint53(record, 1); clients.clear();",
  },
};

async function importPlanted(bug: Planted) {
  const directory = plant(FOLDERS, bug);
  const planted: {
    QueueSpool: typeof QueueSpool;
    ProgressSpool: typeof ProgressSpool;
  } = await import(`file://${directory}/nodes/chain/spool.ts`);
  Deno.removeSync(directory, { recursive: true });
  return planted;
}

async function assertCaught(
  property: fc.IAsyncProperty<[number, Step[]]>,
): Promise<void> {
  const details = await fc.check(property, {
    numRuns: STORIES_WITH_BUG_MAX,
    seed: 1,
    endOnFailure: true,
  });
  assert(details.failed, `Not caught in ${details.numRuns} stories`);
}

for (const [name, bug] of Object.entries(QUEUE_BUGS)) {
  Deno.test(`spool: the stories catch it if ${name}`, async () => {
    const planted = await importPlanted(bug);
    await assertCaught(queueProperty(planted.QueueSpool));
  });
}

for (const [name, bug] of Object.entries(PROGRESS_BUGS)) {
  Deno.test(`spool: the stories catch it if ${name}`, async () => {
    const planted = await importPlanted(bug);
    await assertCaught(progressProperty(planted.ProgressSpool));
  });
}
