/** The files of a log's segments: their names, and changes of whole files that survive crashes. */

import { basename, join } from "node:path";
import type { LogEntry, LogPosition } from "../protocol/replica.ts";
import type { Disk } from "./disk.ts";
import { LogRecordCoder } from "./log_record.ts";
import type { Segment } from "./log_map.ts";
import { RecordFile, UNFINISHED_SUFFIX } from "./record_file.ts";
import { FILE_HEADER_BYTES, RECORD_HEADER_BYTES } from "./record_format.ts";

/** Kind of the record files. */
export const SEGMENT_KIND = "CLOG";

/** Added to a segment's name while it is written anew. */
export const REPAIR_SUFFIX = ".repair";

/** Added to the name of a segment that is not part of the log any more. */
export const DAMAGED_SUFFIX = ".damaged";

const NAME = /^log-(\d{6,15})\.log$/;
const LEFTOVER = /^(log-\d{6,15}\.log)\.(new|repair|repair\.new)$/;

/** Where a log is, and the bound of its records. */
export interface SegmentDirectory {
  readonly disk: Disk;
  readonly directory: string;
  /** Largest payload of a record. */
  readonly recordBytesMax: number;
  /** See `RecordFileOptions`. */
  readonly aheadBytes: number;
}

/** The path of a segment. */
export function segmentPath(directory: string, number: number): string {
  return join(directory, `log-${`${number}`.padStart(6, "0")}.log`);
}

/** The numbers of the segments that are there, ascending. */
export function segmentNumbers(disk: Disk, directory: string): number[] {
  return disk.list(directory)
    .map((name) => NAME.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

/**
 * Finishes or removes what a process that died has left half done.
 *
 * A whole `.repair` whose segment is gone takes its place: the segment was
 * moved out of the way only after that one was on disk.
 */
export async function tidySegments(
  disk: Disk,
  directory: string,
): Promise<void> {
  const names = disk.list(directory);
  let isChanged = false;
  for (const name of names) {
    const [, original, suffix] = LEFTOVER.exec(name) ?? [];
    if (original === undefined) continue;
    const path = join(directory, name);
    if (suffix === "repair" && !names.includes(original)) {
      disk.rename(path, join(directory, original));
    } else {
      disk.remove(path);
    }
    isChanged = true;
  }
  if (isChanged) await disk.syncDirectory(directory);
}

/**
 * Writes a segment anew under its path with {@linkcode REPAIR_SUFFIX}, from
 * entries alone, durably. The caller moves it into place.
 *
 * @param what `before` is the position before the segment's first entry that
 * counts; `entries` are all that count; `end` is the position with which the
 * next segment begins, if there is one.
 * @returns Where each entry's record begins.
 */
export async function writeRepaired(
  files: SegmentDirectory,
  segment: Segment,
  what: {
    readonly before: LogPosition;
    readonly entries: readonly LogEntry[];
    readonly end: LogPosition | undefined;
  },
): Promise<Uint32Array<ArrayBuffer>> {
  const { disk, recordBytesMax } = files;
  const { before, end } = what;
  const coder = new LogRecordCoder();
  const payloads = [coder.encode(segment.kind, segment.base)];
  if (before.index < segment.base.index) {
    payloads.push(coder.encode("cut", before));
  }
  const firstEntry = payloads.length;
  const encoded = coder.encodeEntries(what.entries);
  for (const payload of encoded.payloads) payloads.push(payload);
  const last = encoded.entries.at(-1) ?? before;
  // Entries that were here and do not count: a later segment begins after them,
  // and cuts them.
  if (end !== undefined && end.index > last.index) {
    payloads.push(coder.encode("gone", end));
  }
  const path = segment.path + REPAIR_SUFFIX;
  for (const name of [path, path + UNFINISHED_SUFFIX]) {
    const leftover = disk.open(name);
    leftover?.close();
    if (leftover !== undefined) disk.remove(name);
  }
  const { file } = await RecordFile.open(disk, path, {
    kind: SEGMENT_KIND,
    recordBytesMax,
    onRecord: () => {},
  });
  try {
    file.append(payloads);
  } finally {
    await file.close();
  }
  const positions = new Uint32Array(encoded.entries.length);
  let position = FILE_HEADER_BYTES;
  for (const [i, payload] of payloads.entries()) {
    const entry = i - firstEntry;
    if (entry >= 0 && entry < positions.length) positions[entry] = position;
    position += RECORD_HEADER_BYTES + payload.length;
  }
  return positions;
}

/**
 * Moves the segments after a damaged one out of the log, in place of what was
 * moved there before.
 */
export async function moveAwayAfter(
  files: SegmentDirectory,
  damaged: number,
): Promise<void> {
  const { disk, directory } = files;
  for (const name of disk.list(directory)) {
    if (!name.startsWith("log-") || !name.endsWith(DAMAGED_SUFFIX)) continue;
    disk.remove(join(directory, name));
  }
  // The last one first, and each for sure, so that there is never a gap.
  for (const number of segmentNumbers(disk, directory).toReversed()) {
    if (number <= damaged) return;
    const path = segmentPath(directory, number);
    disk.rename(path, path + DAMAGED_SUFFIX);
    await disk.syncDirectory(directory);
  }
}

/**
 * Moves a damaged segment out of the log, and what is good of it into its
 * place, if that was written; see {@linkcode writeRepaired}.
 */
export async function replaceDamaged(
  files: SegmentDirectory,
  number: number,
): Promise<void> {
  const { disk, directory } = files;
  if (!segmentNumbers(disk, directory).includes(number)) return;
  const path = segmentPath(directory, number);
  disk.rename(path, path + DAMAGED_SUFFIX);
  // A crash here leaves it to the next start to finish, see tidySegments.
  if (disk.list(directory).includes(basename(path + REPAIR_SUFFIX))) {
    disk.rename(path + REPAIR_SUFFIX, path);
  }
  await disk.syncDirectory(directory);
}
