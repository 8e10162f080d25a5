/** One line of the shared log: how it is written, and what a reader takes for one. */

/** What is logged; the log adds `seq` and its server. */
export interface SharedLogEntry {
  /** `msg`, `login`, `peer_up` …: the log does not care which there are. */
  readonly type: string;
  /** Since 1970. */
  readonly timeMs: number;
  readonly from?: string | undefined;
  readonly room?: string | undefined;
  readonly to?: string | undefined;
  readonly text?: string | undefined;
}

/** A line as it was read back. */
export interface SharedLogLine extends SharedLogEntry {
  /** From 1; one more than that of the line before, whichever server wrote it. */
  readonly seq: number;
  /** `timeMs` as it is in the file: ISO 8601, UTC, in milliseconds. */
  readonly time: string;
  readonly server: string;
}

/**
 * Bytes of a line with its newline: a text of 16 KiB in which each character
 * takes six as JSON, with room to spare. Of anything longer no reader keeps more.
 */
export const LOG_LINE_BYTES_MAX = 131_072;

/** How every line begins; what is behind it does not depend on its number. */
export const LINE_START = '{"seq":';

/** The keys that a line may have, in their order. */
export const LINE_KEYS: readonly string[] = [
  "seq",
  "time",
  "server",
  "type",
  "from",
  "room",
  "to",
  "text",
];

const KEYS_REQUIRED = 4;
const TIME = /^\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

// What `JSON.stringify` leaves as it is and some program takes for the end of a
// line, or a terminal for an order: DEL, C1, line separators, bidi controls.
const UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f]/;
const UNSAFE_ALL = new RegExp(UNSAFE, "g");

// What JSON has between its quotes as it is: most texts, told more quickly than
// they are written and looked through.
const PLAIN = /^[ !#-[\]-~]*$/;

/** Names that are kept as JSON; when there are more it begins anew. */
const NAMES_MAX = 1_000;

/**
 * Writes entries as they will be in the file but for their numbers, which they
 * get under the lock. Of a busy log most entries have the millisecond and type
 * of the one before, and few names.
 */
export class LineFormatter {
  readonly #server: string;
  readonly #names = new Map<string, string>();
  #timeMs = NaN;
  #type = "";
  #head = "";

  constructor(server: string) {
    this.#server = quoted(server);
  }

  /**
   * What is behind the number: `,"time":` to the newline.
   *
   * @throws {RangeError} The time is none.
   */
  formatRest(entry: SharedLogEntry): string {
    const { type, timeMs, from, room, to, text } = entry;
    if (timeMs !== this.#timeMs || type !== this.#type) {
      const time = new Date(timeMs).toISOString();
      this.#head = `,"time":"${time}","server":${this.#server},"type":${
        quoted(type)
      }`;
      this.#timeMs = timeMs;
      this.#type = type;
    }
    let rest = this.#head;
    if (from !== undefined) rest += `,"from":${this.#name(from)}`;
    if (room !== undefined) rest += `,"room":${this.#name(room)}`;
    if (to !== undefined) rest += `,"to":${this.#name(to)}`;
    if (text !== undefined) rest += `,"text":${quoted(text)}`;
    return `${rest}}\n`;
  }

  #name(name: string): string {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    if (this.#names.size >= NAMES_MAX) this.#names.clear();
    const json = quoted(name);
    this.#names.set(name, json);
    return json;
  }
}

/** A text as JSON in which nothing can end a line or be an order to a terminal. */
function quoted(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  const json = JSON.stringify(text);
  return UNSAFE.test(json) ? json.replace(UNSAFE_ALL, escapeUnicode) : json;
}

/** A line, or what is wrong with it. */
export type ReadLine =
  | { readonly line: SharedLogLine; readonly problem?: undefined }
  | {
    readonly line?: undefined;
    /** A sentence without its subject: "is no JSON". */
    readonly problem: string;
  };

/**
 * Reads a line without its newline.
 *
 * @param text From a file that others write to as well: anything at all.
 */
export function readLogLine(text: string): ReadLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: "is no JSON" };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { problem: "is no JSON object" };
  }
  const fields: Record<string, unknown> = { ...value };
  const problem = problemOf(fields);
  if (problem !== undefined) return { problem };
  const { seq, time, server, type, from, room, to, text: said } = fields;
  return {
    line: {
      seq: Number(seq),
      time: String(time),
      timeMs: Date.parse(String(time)),
      server: String(server),
      type: String(type),
      ...from !== undefined && { from: String(from) },
      ...room !== undefined && { room: String(room) },
      ...to !== undefined && { to: String(to) },
      ...said !== undefined && { text: String(said) },
    },
  };
}

function problemOf(fields: Record<string, unknown>): string | undefined {
  let at = 0;
  for (const key of Object.keys(fields)) {
    const found = LINE_KEYS.indexOf(key);
    if (found < 0) return `has a key of another kind: ${JSON.stringify(key)}`;
    if (found < at) return `has its keys in another order: "${key}"`;
    at = found + 1;
  }
  const missing = LINE_KEYS.slice(0, KEYS_REQUIRED)
    .find((key) => fields[key] === undefined);
  if (missing !== undefined) return `has no "${missing}"`;
  const { seq, time } = fields;
  if (typeof seq !== "number" || !Number.isSafeInteger(seq) || seq < 1) {
    return `has a "seq" that is no number from 1 on`;
  }
  if (typeof time !== "string" || !TIME.test(time)) {
    return `has a "time" that is none`;
  }
  if (Number.isNaN(Date.parse(time))) return `has a "time" that is none`;
  const wrong = LINE_KEYS.slice(2).find((key) =>
    fields[key] !== undefined && typeof fields[key] !== "string"
  );
  return wrong === undefined ? undefined : `has a "${wrong}" that is no text`;
}

function escapeUnicode(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
