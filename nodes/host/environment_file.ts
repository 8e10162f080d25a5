/** The `.env` file in the working directory: a fallback for the environment. */

import { parse } from "@std/dotenv";
import { readSmallFile } from "./small_file.ts";

const FILE_BYTES_MAX = 64 * 1024;
const ASSIGNMENT = /^\s*(?:export\s+)?([^\s=#]+)\s*=\s*(.*)$/;

/**
 * Reads the variables of ours from a `.env` file; the other names in it belong
 * to others and are not looked at.
 *
 * @returns Values by name; empty when there is no such file.
 * @throws {RangeError} When the file cannot be read, is no UTF-8, is above
 *   64 KiB, or has a line that is not `NAME=value`; says which.
 */
export function readEnvironmentFile(
  path: string,
  names: ReadonlySet<string>,
): ReadonlyMap<string, string> {
  const text = readText(path);
  if (text === undefined) return new Map();
  let own = "";
  for (const assignment of assignmentsOf(text.split(/\r?\n/), path)) {
    if (names.has(assignment.name)) own += `${assignment.text}\n`;
  }
  return new Map(Object.entries(parse(own)));
}

function readText(path: string): string | undefined {
  try {
    const { bytes } = readSmallFile(path, { bytesMax: FILE_BYTES_MAX });
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) {
      throw new RangeError(`Cannot read "${path}": it is not UTF-8`, {
        cause: error,
      });
    }
    const { cause } = error instanceof Error ? error : { cause: undefined };
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

interface Assignment {
  readonly name: string;
  /** Its line, or its lines when a quoted value goes over several. */
  readonly text: string;
}

function assignmentsOf(lines: readonly string[], path: string): Assignment[] {
  const assignments: Assignment[] = [];
  for (let at = 0; at < lines.length; at++) {
    if (/^\s*(?:#|$)/.test(lines[at])) continue;
    const match = ASSIGNMENT.exec(lines[at]);
    if (match === null) {
      throw new RangeError(
        `Cannot read "${path}": line ${at + 1} is not NAME=value`,
      );
    }
    const first = at;
    const [, name, value] = match;
    const quote = /^["'`]/.exec(value)?.[0];
    if (quote !== undefined && !value.slice(1).includes(quote)) {
      do at += 1; while (at < lines.length && !lines[at].includes(quote));
      if (at === lines.length) {
        throw new RangeError(
          `Cannot read "${path}": the quote in line ${first + 1} has no end`,
        );
      }
    }
    assignments.push({ name, text: lines.slice(first, at + 1).join("\n") });
  }
  return assignments;
}
