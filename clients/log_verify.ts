/** `skein log --verify`: each line of a shared log, through all its files. */

import { SharedLogChecker } from "../storage/shared_log_checker.ts";
import {
  LineCutter,
  openLogFiles,
  scanLines,
  type ScannedFile,
} from "../storage/shared_log_scan.ts";

/** What is said while it is checked. */
export interface VerifyOutput {
  /** A line for standard output. */
  print(line: string): void;
  /** After each part; bytes of all files. */
  progress(doneBytes: number, allBytes: number): void;
}

/** Findings that are shown; more are counted. */
const FINDINGS_MAX = 100;

/** How long a line that is being written may take. */
const END_WAIT_MS = 2_000;
const END_POLL_MS = 20;

/**
 * Checks all files, the oldest first.
 *
 * @returns How many things are wrong; `undefined`: there is no log.
 * @throws {StorageError} `open-failed`.
 */
export async function verifyLog(
  path: string,
  output: VerifyOutput,
): Promise<number | undefined> {
  const files = openLogFiles(path);
  if (files.length === 0) return undefined;
  const checker = new SharedLogChecker();
  let count = 0;
  const find = (place: string, problem: string) => {
    count += 1;
    if (count <= FINDINGS_MAX) output.print(`${place}: ${problem}`);
  };
  try {
    const allBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    let doneBytes = 0;
    for (const scanned of files) {
      let number = 0;
      const cutter = new LineCutter();
      for await (const lines of scanLines(scanned, cutter)) {
        for (const text of lines) {
          number += 1;
          const problem = typeof text === "string"
            ? checker.take(text)
            : text.problem;
          if (problem !== undefined) {
            find(`${scanned.path}:${number}`, problem);
          }
        }
        output.progress(
          doneBytes + scanned.file.seekSync(0, Deno.SeekMode.Current),
          allBytes,
        );
      }
      doneBytes += scanned.sizeBytes;
      if (cutter.restBytes === 0) continue;
      if (await endsTorn(scanned)) {
        find(`${scanned.path}:${number + 1}`, "ends in half a line");
      }
    }
  } finally {
    for (const { file } of files) file.close();
  }
  if (count > FINDINGS_MAX) {
    output.print(`and ${count - FINDINGS_MAX} more`);
  }
  const range = checker.firstSeq === undefined
    ? ""
    : `, numbers ${checker.firstSeq} to ${checker.lastSeq}`;
  output.print(
    `${plural(checker.lineCount, "line")} in ${
      plural(files.length, "file")
    }${range}: ${count === 0 ? "all is well" : plural(count, "finding")}`,
  );
  return count;
}

/**
 * Whether the last line stays half a one though nobody writes: whoever does has
 * the lock. A server that is stopped while it has it tells nobody.
 */
async function endsTorn({ file, sizeBytes }: ScannedFile): Promise<boolean> {
  const endMs = performance.now() + END_WAIT_MS;
  do {
    if (file.tryLockSync(false)) {
      try {
        // More was written: it was under way. Less: it was cut.
        return file.statSync().size === sizeBytes;
      } finally {
        file.unlockSync();
      }
    }
    await new Promise((resolve) => setTimeout(resolve, END_POLL_MS));
  } while (performance.now() < endMs);
  return false;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
