/** Structured logs over LogTape: bounded, never blocking, one line per record. */

import {
  configureSync,
  getLogger,
  type LogLevel as LogTapeLevel,
  type LogRecord,
  type Sink,
} from "@logtape/logtape";
import type { LogLevel } from "./log_level.ts";
import { settleWithin } from "./settle_within.ts";
import { cutText, escapeJson, escapeText } from "./text.ts";

/** Values that belong to a line: strings, numbers, errors, small objects. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where to say what happened. A call never throws and never waits. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** How a log is written. */
export interface LogOptions {
  /** The node's id, in every JSON line. */
  readonly node: string;
  /** Lines below it are not written. */
  readonly level: LogLevel;
  /** Writes some of the bytes and says how many; default: standard error. */
  readonly write?: (bytes: Uint8Array) => Promise<number>;
  /** Lines for people instead of JSON; default: standard error is a terminal. */
  readonly terminal?: boolean;
  /** Colours on a terminal; default: unless `NO_COLOR` is set. */
  readonly color?: boolean;
}

/** An open log, and the way to end it. */
export interface OpenLog {
  readonly log: Log;
  /**
   * Resolves when all lines so far are written, or after
   * {@linkcode FLUSH_WAIT_MS}: a reader that is stuck must not hold up a stop.
   */
  flush(): Promise<void>;
}

/** Bytes of lines that wait for a slow standard error; more are dropped. */
export const PENDING_BYTES_MAX = 1024 * 1024;
/** How long `flush` waits for a reader that is stuck. */
export const FLUSH_WAIT_MS = 1_000;
/** Characters of one message and of one field; the rest is cut, and says so. */
export const VALUE_CHARACTERS_MAX = 4_096;

const FIELD_COUNT_MAX = 64;
const NESTED_VALUES_MAX = 256;
const NESTED_DEPTH_MAX = 4;
const WRITE_BYTES_MAX = 64 * 1024;
const WRITE_AGAIN_AFTER_MS = 20;
const LOG_COUNT_MAX = 1_024;

const LOGTAPE_LEVELS = {
  debug: "debug",
  info: "info",
  warn: "warning",
  error: "error",
} as const satisfies Record<LogLevel, LogTapeLevel>;

const COLORS: Readonly<Record<LogLevel, string>> = {
  debug: "\x1b[2m",
  info: "\x1b[32m",
  warn: "\x1b[33m",
  error: "\x1b[1;31m",
};
const DIM = "\x1b[2m";
const PLAIN = "\x1b[0m";

/** What a line says, before it is laid out. */
interface Entry {
  readonly atMs: number;
  readonly level: LogLevel;
  readonly message: string;
  /** What the caller gave; reading one may throw. */
  readonly fields: object;
}

// LogTape has one configuration for a whole process; each open log adds its
// category to it, so that several nodes can live in one process (tests do).
const openSinks: { readonly sink: Sink; readonly level: LogTapeLevel }[] = [];

/**
 * Opens a log to standard error.
 *
 * @returns The log; lines are written in order and in the background. At most
 *   {@linkcode PENDING_BYTES_MAX} wait; further lines are dropped, counted, and
 *   the count is logged when the rest is written.
 */
export function openLog(options: LogOptions): OpenLog {
  const layOut = layoutOf(options);
  const lines = new LineQueue(
    options.write ?? ((bytes) => Deno.stderr.write(bytes)),
    (count) =>
      layOut({
        atMs: Date.now(),
        level: "warn",
        message: "Dropped log lines",
        fields: { count },
      }),
  );
  const category = addSink({
    level: LOGTAPE_LEVELS[options.level],
    sink: (record) => {
      try {
        lines.push(layOut(entryOf(record)));
      } catch {
        // Fields that cannot even be listed; the count says that it happened.
        lines.countDropped();
      }
    },
  });
  const logger = getLogger(category);

  function write(
    level: LogLevel,
    line: { message: string; fields: LogFields | undefined },
  ): void {
    // In a field of its own, so that LogTape does not read what may throw.
    logger[LOGTAPE_LEVELS[level]](line.message, { fields: line.fields });
  }
  return {
    log: {
      debug: (message, fields) => write("debug", { message, fields }),
      info: (message, fields) => write("info", { message, fields }),
      warn: (message, fields) => write("warn", { message, fields }),
      error: (message, fields) => write("error", { message, fields }),
    },
    flush: () => lines.flush(),
  };
}

function addSink(opened: typeof openSinks[number]): string[] {
  if (openSinks.length === LOG_COUNT_MAX) {
    throw new Error(`Cannot open a log: ${LOG_COUNT_MAX} are open already`);
  }
  openSinks.push(opened);
  configureSync({
    reset: true,
    sinks: Object.fromEntries(
      openSinks.map(({ sink }, index) => [String(index), sink]),
    ),
    loggers: [
      ...openSinks.map(({ level }, index) => ({
        category: ["skein", String(index)],
        sinks: [String(index)],
        lowestLevel: level,
      })),
      // What LogTape says of itself goes nowhere; its default is the console.
      { category: ["logtape", "meta"], sinks: [] },
    ],
  });
  return ["skein", String(openSinks.length - 1)];
}

function entryOf(record: LogRecord): Entry {
  const { fields } = record.properties;
  return {
    atMs: record.timestamp,
    level: levelOf(record.level),
    // The raw one: `{name}` in it is text that somebody sent, no placeholder.
    message: String(record.rawMessage),
    fields: typeof fields === "object" && fields !== null ? fields : {},
  };
}

function levelOf(level: LogTapeLevel): LogLevel {
  switch (level) {
    case "trace":
    case "debug":
      return "debug";
    case "info":
      return "info";
    case "warning":
      return "warn";
    case "error":
    case "fatal":
      return "error";
  }
}

function layoutOf(options: LogOptions): (entry: Entry) => string {
  if (!(options.terminal ?? Deno.stderr.isTerminal())) {
    return (entry) => jsonLine(entry, options.node);
  }
  const color = options.color ?? !Deno.noColor;
  return (entry) => prettyLine(entry, { color });
}

function jsonLine(entry: Entry, node: string): string {
  let line = `{"time":"${new Date(entry.atMs).toISOString()}"` +
    `,"level":"${entry.level}","node":${JSON.stringify(node)}` +
    `,"message":${
      JSON.stringify(cutText(entry.message, VALUE_CHARACTERS_MAX))
    }`;
  for (const [name, value] of plainFields(entry.fields)) {
    // A field may not pass for one of the line's own.
    const key = /^(?:time|level|node|message)$/.test(name) ? `${name}_` : name;
    line += `,${JSON.stringify(key)}:${JSON.stringify(value)}`;
  }
  return `${escapeJson(line)}}\n`;
}

function prettyLine(entry: Entry, options: { color: boolean }): string {
  const paint = (color: string, text: string) =>
    options.color ? `${color}${text}${PLAIN}` : text;
  const message = escapeText(cutText(entry.message, VALUE_CHARACTERS_MAX));
  let line = `${paint(DIM, clockTime(entry.atMs))} ` +
    `${paint(COLORS[entry.level], entry.level.toUpperCase().padEnd(5))} ` +
    message;
  for (const [name, value] of plainFields(entry.fields)) {
    line += ` ${paint(DIM, `${quote(name)}=`)}${
      typeof value === "string"
        ? quote(value)
        : escapeText(JSON.stringify(value))
    }`;
  }
  return `${line}\n`;
}

function clockTime(atMs: number): string {
  const at = new Date(atMs);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:` +
    `${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** In quotes where a space or `=` could make one field look like two. */
function quote(text: string): string {
  return escapeText(/^[^\s="]+$/.test(text) ? text : JSON.stringify(text));
}

/** A value that JSON can hold as it is. */
type Plain =
  | string
  | number
  | boolean
  | null
  | readonly Plain[]
  | { readonly [key: string]: Plain };

function plainFields(fields: object): (readonly [string, Plain])[] {
  const names = Object.keys(fields);
  const plain: (readonly [string, Plain])[] = [];
  for (const name of names.slice(0, FIELD_COUNT_MAX)) {
    const value = plainField(fields, name);
    if (value === undefined) continue;
    plain.push([cutText(name, VALUE_CHARACTERS_MAX), value]);
  }
  if (names.length > FIELD_COUNT_MAX) {
    plain.push(["moreFields", names.length - FIELD_COUNT_MAX]);
  }
  return plain;
}

function plainField(fields: object, name: string): Plain | undefined {
  try {
    const value: unknown = Reflect.get(fields, name);
    if (value === undefined) return undefined;
    const plain = toPlain(value, { depth: 0, budget: { values: 0 } });
    if (typeof plain !== "object") return plain;
    const json = JSON.stringify(plain);
    return json.length > VALUE_CHARACTERS_MAX
      ? cutText(json, VALUE_CHARACTERS_MAX)
      : plain;
  } catch (error) {
    // A getter, proxy or `toJSON` that throws: the line is worth more.
    return `(cannot be shown: ${errorText(error)})`;
  }
}

interface Nesting {
  readonly depth: number;
  readonly budget: { values: number };
}

function toPlain(value: unknown, nesting: Nesting): Plain {
  switch (typeof value) {
    case "string":
      return cutText(value, VALUE_CHARACTERS_MAX);
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "bigint":
    case "symbol":
      return cutText(String(value), VALUE_CHARACTERS_MAX);
    case "undefined":
      return null;
    case "function":
      return "(function)";
    case "object":
      return value === null ? null : objectToPlain(value, nesting);
  }
}

function objectToPlain(value: object, nesting: Nesting): Plain {
  if (value instanceof Error) return errorText(value);
  if (ArrayBuffer.isView(value)) return `(${value.byteLength} bytes)`;
  if (nesting.depth === NESTED_DEPTH_MAX) return "…";
  const { budget } = nesting;
  const inside = { depth: nesting.depth + 1, budget };
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return toPlain(value.toJSON(), inside);
  }
  if (Array.isArray(value) || value instanceof Set) {
    const items: Plain[] = [];
    for (const item of value) {
      if (budget.values++ >= NESTED_VALUES_MAX) return [...items, "…"];
      items.push(toPlain(item, inside));
    }
    return items;
  }
  const entries: [string, Plain][] = [];
  const pairs = value instanceof Map ? value : Object.entries(value);
  for (const [key, item] of pairs) {
    if (budget.values++ >= NESTED_VALUES_MAX) {
      entries.push(["…", "…"]);
      break;
    }
    const name = cutText(String(key), VALUE_CHARACTERS_MAX);
    entries.push([name, toPlain(item, inside)]);
  }
  return Object.fromEntries(entries);
}

/** `Name: message`, and what caused it, some steps deep. */
function errorText(error: unknown): string {
  let text = "";
  let cause = error;
  for (let depth = 0; depth < NESTED_DEPTH_MAX; depth++) {
    text += cause instanceof Error
      ? `${cause.name}: ${cause.message}`
      : String(cause);
    if (!(cause instanceof Error) || cause.cause === undefined) break;
    text += "; caused by ";
    cause = cause.cause;
  }
  return cutText(text, VALUE_CHARACTERS_MAX);
}

/** Lines on their way out: in order, one write at a time, bounded in bytes. */
class LineQueue {
  readonly #write: (bytes: Uint8Array) => Promise<number>;
  readonly #droppedLine: (count: number) => string;
  readonly #encoder = new TextEncoder();
  #lines: Uint8Array[] = [];
  #pendingBytes = 0;
  #droppedCount = 0;
  #draining: Promise<void> | undefined;

  constructor(
    write: (bytes: Uint8Array) => Promise<number>,
    droppedLine: (count: number) => string,
  ) {
    this.#write = write;
    this.#droppedLine = droppedLine;
  }

  push(line: string): void {
    const bytes = this.#encoder.encode(line);
    if (this.#pendingBytes + bytes.length > PENDING_BYTES_MAX) {
      this.countDropped();
      return;
    }
    this.#lines.push(bytes);
    this.#pendingBytes += bytes.length;
    this.#draining ??= this.#drain();
  }

  countDropped(): void {
    this.#droppedCount += 1;
    this.#draining ??= this.#drain();
  }

  async flush(): Promise<void> {
    if (this.#draining === undefined) return;
    await settleWithin(this.#draining, FLUSH_WAIT_MS);
  }

  async #drain(): Promise<void> {
    while (this.#lines.length > 0 || this.#droppedCount > 0) {
      if (this.#lines.length === 0) {
        const count = this.#droppedCount;
        this.#droppedCount = 0;
        const line = this.#encoder.encode(this.#droppedLine(count));
        // To a standard error that is gone this one is lost as well, and not
        // counted again: else the two would chase each other for ever.
        await this.#writeAll(line);
        continue;
      }
      const { bytes, lineCount } = this.#take();
      const written = await this.#writeAll(bytes);
      this.#pendingBytes -= bytes.length;
      if (!written) this.#droppedCount += lineCount;
    }
    this.#draining = undefined;
  }

  /** As many whole lines as go into one write, one at least. */
  #take(): { bytes: Uint8Array; lineCount: number } {
    let length = 0;
    let lineCount = 0;
    for (const line of this.#lines) {
      if (lineCount > 0 && length + line.length > WRITE_BYTES_MAX) break;
      length += line.length;
      lineCount += 1;
    }
    const bytes = new Uint8Array(length);
    let offset = 0;
    for (const line of this.#lines.splice(0, lineCount)) {
      bytes.set(line, offset);
      offset += line.length;
    }
    return { bytes, lineCount };
  }

  /** Whether all was written; not, when standard error is closed. */
  async #writeAll(bytes: Uint8Array): Promise<boolean> {
    let offset = 0;
    while (offset < bytes.length) {
      try {
        offset += await this.#write(bytes.subarray(offset));
      } catch (error) {
        // A terminal or pipe that another process set to non-blocking.
        if (!(error instanceof Deno.errors.WouldBlock)) return false;
        await new Promise<void>((resolve) => {
          Deno.unrefTimer(setTimeout(resolve, WRITE_AGAIN_AFTER_MS));
        });
      }
    }
    return true;
  }
}
