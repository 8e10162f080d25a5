/** What nodes print, cut into lines that one can read side by side. */

import { escapeText } from "../nodes/host/text.ts";

/** Longer lines are cut into pieces of this length. */
export const LINE_CHARACTERS_MAX = 65_536;

/** Cuts a byte stream into lines. Keeps a partial line until the rest arrives. */
export class LineSplitter {
  readonly #decoder = new TextDecoder(); // invalid bytes become U+FFFD
  #rest = "";

  /**
   * @param chunk Any number of bytes; may end inside a character.
   * @returns Whole lines without their newline, oldest first. Each piece of an
   * over-long line but its last ends in `…`.
   */
  push(chunk: Uint8Array): string[] {
    return this.#split(this.#decoder.decode(chunk, { stream: true }));
  }

  /** The last line, where it has no newline. */
  end(): string[] {
    const lines = this.#split(this.#decoder.decode());
    if (this.#rest !== "") lines.push(this.#rest);
    this.#rest = "";
    return lines;
  }

  #split(text: string): string[] {
    const whole = (this.#rest + text).split("\n");
    this.#rest = whole.pop() ?? "";
    const lines = whole.flatMap(pieces);
    const partial = pieces(this.#rest);
    this.#rest = partial.pop() ?? "";
    return lines.concat(partial);
  }
}

function pieces(line: string): string[] {
  if (line.length <= LINE_CHARACTERS_MAX) return [line];
  const found: string[] = [];
  let start = 0;
  for (
    ;
    line.length - start > LINE_CHARACTERS_MAX;
    start += LINE_CHARACTERS_MAX
  ) {
    found.push(`${line.slice(start, start + LINE_CHARACTERS_MAX)}…`);
  }
  found.push(line.slice(start));
  return found;
}

/**
 * Turns a node's JSON log line into `TIME LEVEL MESSAGE key=value …`; any
 * other line stays as it is. The result is printable, whatever the values hold.
 */
export function readableLogLine(line: string): string {
  const fields = parseObject(line);
  if (typeof fields?.message !== "string") return escapeText(line);
  // The node's name stands before the line already.
  const { time, level, node: _, message, ...rest } = fields;
  const words = [
    timeOfDay(time),
    typeof level === "string" ? level.toUpperCase().padEnd(5) : "",
    message,
    ...Object.entries(rest).map(([key, value]) => `${key}=${quote(value)}`),
  ];
  return escapeText(words.filter((word) => word !== "").join(" "));
}

/** `HH:MM:SS.mmm` of an ISO time, as a clock here shows it. */
function timeOfDay(time: unknown): string {
  if (typeof time !== "string") return "";
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:` +
    `${two(date.getSeconds())}.${
      String(date.getMilliseconds()).padStart(3, "0")
    }`;
}

/** In quotes where a space or `=` could make one field look like two. */
function quote(value: unknown): string {
  return typeof value === "string" && /^[^\s"=]+$/.test(value)
    ? value
    : JSON.stringify(value);
}

function parseObject(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
