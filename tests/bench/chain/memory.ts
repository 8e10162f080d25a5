/** How much memory a head needs while its successor stands still. */

import { inTime } from "../in_time.ts";
import type { Workbench } from "../workbench.ts";
import type { Load } from "./load.ts";
import { type SkeinFleet, startSkeinFleet } from "./skein_fleet.ts";
import { prepareFrame, SkeinSender } from "./skein_sender.ts";

/** For so long nothing moves before the pipe counts as full. */
const STILL_MS = 1_000;
const DRAINED = { waitMs: 30_000, what: "a full pipe to run empty" };

/** A head's memory, in bytes. */
export interface Memory {
  readonly startBytes: number;
  /** With the pipe full and the successor stopped. */
  readonly fullBytes: number;
  /** The most it ever had, until all was delivered after that. */
  readonly peakBytes: number;
  /** What the sender could hand over before everything stood still. */
  readonly takenBytes: number;
}

/** Fills a chain whose second node is stopped; undefined without `/proc`. */
export async function measureMemory(
  bench: Workbench,
  options: { load: Load; isFramed: boolean },
): Promise<Memory | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  const fleet = await startSkeinFleet(bench);
  const [head, second] = fleet.nodes;
  const filler = options.isFramed
    ? await fillByFrames(fleet, options.load)
    : await fillByLines(fleet, options.load);
  const startBytes = readMemory(head.pid).residentBytes;
  second.kill("SIGSTOP");
  const takenBytes = await filler.fill();
  const fullBytes = readMemory(head.pid).residentBytes;
  second.kill("SIGCONT");
  await filler.finish();
  const { peakBytes } = readMemory(head.pid);
  await Promise.all(fleet.nodes.map((node) => node.end()));
  return { startBytes, fullBytes, peakBytes, takenBytes };
}

interface Filler {
  /** Writes until nothing moves; returns how many bytes that took. */
  fill(): Promise<number>;
  /** Waits until the tail has delivered all of them. */
  finish(): Promise<void>;
}

async function fillByFrames(fleet: SkeinFleet, load: Load): Promise<Filler> {
  const sender = await SkeinSender.connect(fleet.port);
  const frame = prepareFrame(load.block, load.lines);
  let last: Promise<unknown> = Promise.resolve();
  return {
    fill: async () => {
      do last = sender.send(frame); while (await settles(last, STILL_MS));
      return sender.sent;
    },
    finish: async () => {
      await inTime(last.then(() => sender.acknowledged(sender.sent)), DRAINED);
      sender[Symbol.dispose]();
    },
  };
}

async function fillByLines(fleet: SkeinFleet, load: Load): Promise<Filler> {
  const { port, sink } = fleet;
  const { block, line } = load;
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(line);
  await sink.reached(line.length);
  let writing: Promise<number> = Promise.resolve(0);
  let taken = 0;
  return {
    fill: async () => {
      // Each write goes on where the one before stopped within the block.
      for (;;) {
        writing = conn.write(block.subarray(taken % block.length));
        if (!await settles(writing, STILL_MS)) return taken;
        taken += await writing;
      }
    },
    finish: async () => {
      taken += await inTime(writing, DRAINED);
      const cut = taken % load.lineBytes;
      if (cut > 0) {
        const rest = line.subarray(cut);
        taken += await inTime(conn.write(rest), DRAINED);
      }
      await inTime(sink.reached(line.length + taken), DRAINED);
      conn.close();
    },
  };
}

function readMemory(
  pid: number,
): { residentBytes: number; peakBytes: number } {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const field = (name: string) => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status);
    if (match === null) throw new Error(`Found no ${name} of process ${pid}`);
    return Number(match[1]) * 1_024;
  };
  return { residentBytes: field("VmRSS"), peakBytes: field("VmHWM") };
}

/** Whether `work` is over within `waitMs`. */
async function settles(
  work: Promise<unknown>,
  waitMs: number,
): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), waitMs);
  });
  const isOver = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return isOver;
}
