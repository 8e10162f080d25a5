/** What tests ask of a shared log's files. */

import { SharedLogChecker } from "../../storage/shared_log_checker.ts";
import {
  LineCutter,
  openLogFiles,
  scanLines,
} from "../../storage/shared_log_scan.ts";
import {
  readLogLine,
  type SharedLogLine,
} from "../../storage/shared_log_line.ts";

/** All lines of all files, the oldest first, with all that is wrong with them. */
export async function readWholeLog(
  path: string,
): Promise<{ readonly lines: SharedLogLine[]; readonly findings: string[] }> {
  const checker = new SharedLogChecker();
  const lines: SharedLogLine[] = [];
  const findings: string[] = [];
  const files = openLogFiles(path);
  for (const scanned of files) {
    using _file = scanned;
    const cutter = new LineCutter();
    for await (const part of scanLines(scanned, cutter)) {
      for (const text of part) {
        const problem = typeof text === "string"
          ? checker.take(text)
          : text.problem;
        if (problem !== undefined) findings.push(`${scanned.path}: ${problem}`);
        const { line } = typeof text === "string" ? readLogLine(text) : {};
        if (line !== undefined) lines.push(line);
      }
    }
    if (cutter.restBytes > 0) findings.push(`${scanned.path}: half a line`);
  }
  return { lines, findings };
}
