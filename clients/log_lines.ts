/** Lines of a shared log for people: which are shown, and how. */

import { readLogLine, type SharedLogLine } from "../storage/shared_log_line.ts";
import { escapeJson, escapeText } from "../nodes/host/text.ts";
import type { LogFilter } from "./log_flags.ts";

/** How lines are shown. */
export interface LogView {
  readonly filter: LogFilter;
  /** As they are in the file. */
  readonly json: boolean;
  /** A longer line goes on below its text; `Infinity`: it stays one. */
  readonly columnsMax: number;
}

/** At least so many columns for a text, however long the name before it is. */
const TEXT_COLUMNS_MIN = 20;

/**
 * What is shown of a line: one line of output or, for a long text on a
 * terminal, more; none if it is not wanted.
 *
 * @param text A line of the file, whatever is in it.
 */
export function shownLines(text: string, view: LogView): string[] {
  const { line } = readLogLine(text);
  if (line === undefined) {
    // Somebody else's: shown to people who see everything, and only as that.
    if (view.json || hasFilter(view.filter)) return [];
    return [`? ${escapeText(text)}`];
  }
  if (!isWanted(line, view.filter)) return [];
  if (view.json) return [escapeJson(text)];
  const { head, text: said } = partsOf(line);
  return wrap(head, { text: said, columnsMax: view.columnsMax });
}

/** Whether a line passes a filter. */
export function isWanted(line: SharedLogLine, filter: LogFilter): boolean {
  const { servers, from, rooms, types, sinceMs, untilMs, grep } = filter;
  return has(servers, line.server) && has(from, line.from) &&
    has(rooms, line.room) && has(types, line.type) &&
    (sinceMs === undefined || line.timeMs >= sinceMs) &&
    (untilMs === undefined || line.timeMs < untilMs) &&
    (grep === undefined ||
      (line.text?.toLowerCase().includes(grep) ?? false));
}

function has(list: readonly string[], value: string | undefined): boolean {
  return list.length === 0 || value !== undefined && list.includes(value);
}

function hasFilter(filter: LogFilter): boolean {
  const { servers, from, rooms, types, sinceMs, untilMs, grep } = filter;
  return [servers, from, rooms, types].some((list) => list.length > 0) ||
    sinceMs !== undefined || untilMs !== undefined || grep !== undefined;
}

/** Time, server, room, who; and what was said, or what has happened. */
function partsOf(line: SharedLogLine): { head: string; text: string } {
  const { server, type, from, room, to, text } = line;
  const place = [localTime(line.timeMs), server];
  if (room !== undefined) place.push(`#${room}`);
  if (type === "msg" || type === "dm") {
    place.push(`${from ?? "?"}${to === undefined ? "" : ` -> ${to}`}:`);
    return { head: escapeText(place.join(" ")), text: escapeText(text ?? "") };
  }
  const what = ["*", type.replaceAll("_", " ")];
  if (from !== undefined) what.push(from);
  if (to !== undefined) what.push(`-> ${to}`);
  return {
    head: escapeText([...place, ...what].join(" ")) +
      (text === undefined ? "" : ":"),
    text: escapeText(text ?? ""),
  };
}

/** As the clock on the wall says it: `2026-11-21 18:30:05`. */
function localTime(ms: number): string {
  const at = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  const date = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())];
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two);
  return `${date.join("-")} ${time.join(":")}`;
}

/** Breaks a text between words; what follows stands below where it began. */
function wrap(
  head: string,
  { text, columnsMax }: { readonly text: string; readonly columnsMax: number },
): string[] {
  if (text === "") return [head];
  const whole = `${head} ${text}`;
  if (whole.length <= columnsMax) return [whole];
  const indent = Math.min(
    head.length + 1,
    Math.max(2, columnsMax - TEXT_COLUMNS_MIN),
  );
  const width = Math.max(TEXT_COLUMNS_MIN, columnsMax - indent);
  const lines: string[] = [];
  let row = "";
  for (const word of text.split(" ").flatMap((one) => cut(one, width))) {
    if (row !== "" && row.length + 1 + word.length > width) {
      lines.push(row);
      row = word;
    } else row = row === "" ? word : `${row} ${word}`;
  }
  lines.push(row);
  // A head that is longer than its place has a row for itself.
  if (head.length + 1 > indent) lines.unshift("");
  return lines.map((line, at) =>
    at === 0 ? `${head} ${line}`.trimEnd() : `${" ".repeat(indent)}${line}`
  );
}

/** A word in parts that fit; a surrogate pair stays together. */
function cut(word: string, width: number): string[] {
  if (word.length <= width) return [word];
  const parts: string[] = [];
  let part = "";
  for (const character of word) {
    if (part.length + character.length > width) {
      parts.push(part);
      part = "";
    }
    part += character;
  }
  return [...parts, part];
}
