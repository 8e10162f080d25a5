/** Logs in segments on a simulated disk, ready for a test. */

import type { Epoch } from "../../protocol/epoch.ts";
import type { LogEntry } from "../../protocol/replica.ts";
import type { Disk } from "../../storage/disk.ts";
import {
  type OpenedSegmentLog,
  SegmentLog,
} from "../../storage/segment_log.ts";
import type { SimDisk } from "../sim/sim_disk.ts";
import { readAll, simDisk } from "./record_fixture.ts";

/** Where the tests keep their log. */
export const LOG_DIRECTORY = "/data";

/** Opens a log with short segments, most of which is not in memory. */
export function openLog(
  disk: Disk,
  options: {
    segmentBytesMax?: number;
    tailBytesMax?: number;
    aheadBytes?: number;
  } = {},
  directory = LOG_DIRECTORY,
): Promise<OpenedSegmentLog> {
  return SegmentLog.open(disk, directory, {
    segmentBytesMax: 512,
    entryBytesMax: 1000,
    tailBytesMax: 600,
    ...options,
  });
}

/** An epoch of one store. */
export function epochOf(counter: number): Epoch {
  return { counter, store: "00000000000000aa" };
}

/** Entries whose commands tell their index and epoch. */
export function entriesOf(
  first: number,
  count: number,
  counter = 1,
): LogEntry[] {
  return Array.from({ length: count }, (_, i) => ({
    index: first + i,
    epoch: epochOf(counter),
    command: commandOf(first + i, counter),
  }));
}

function commandOf(index: number, counter: number): Uint8Array {
  return new TextEncoder().encode(`entry ${index} of epoch ${counter};`);
}

/** Appends entries one by one, syncing each, so that segments end. */
export async function appendAll(
  log: SegmentLog,
  entries: readonly LogEntry[],
): Promise<void> {
  for (const entry of entries) {
    log.append([entry]);
    await log.sync();
  }
}

/** What is in a log, as text. */
export function textsIn(log: SegmentLog): string[] {
  return log.read(log.firstIndex, { bytesMax: Infinity })
    .map(({ command }) => new TextDecoder().decode(command));
}

/** The texts of some entries. */
export function textsOfEntries(entries: readonly LogEntry[]): string[] {
  return entries.map(({ command }) => new TextDecoder().decode(command));
}

/** Whether each entry is one that was appended once, with its own command. */
export function areGenuine(entries: readonly LogEntry[]): boolean {
  return entries.every(({ index, epoch, command }) =>
    new TextDecoder().decode(command) ===
      new TextDecoder().decode(commandOf(index, epoch.counter))
  );
}

/** All files of a directory. */
export type Files = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** Copies what is in a directory. */
export function filesOf(disk: SimDisk, directory = LOG_DIRECTORY): Files {
  return new Map(
    disk.list(directory).map((name) => [
      name,
      readAll(disk, `${directory}/${name}`),
    ]),
  );
}

/** A disk that holds just these files, synced. */
export async function diskOf(files: Files): Promise<SimDisk> {
  const disk = simDisk();
  await putFiles(disk, files);
  return disk;
}

/** Puts files on a disk, synced. */
export async function putFiles(disk: Disk, files: Files): Promise<void> {
  for (const [name, bytes] of files) {
    const file = disk.create(`${LOG_DIRECTORY}/${name}`);
    file.write(bytes, 0);
    file.syncNow();
    file.close();
  }
  await disk.syncDirectory(LOG_DIRECTORY);
}
