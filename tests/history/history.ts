/** Histories of what clients asked and were told; see `README.md` for the format. */

/** One line of a history. The order of the lines is the order in time. */
export interface HistoryEvent {
  /** Whose call it is; a process has one open call. After `info` it makes no more. */
  readonly process: number;
  /** Asked; done; certainly not done; nobody knows. */
  readonly type: "invoke" | "ok" | "fail" | "info";
  readonly f: "append" | "read";
  /** Which list. */
  readonly key: string;
  /** The element to append, or the list that was read (null unless `ok`). */
  readonly value: string | readonly string[] | null;
  /** Of an `ok` append, where it is known: which place it has in its list, from 1. */
  readonly position?: number;
  /** Milliseconds from any origin; for people. */
  readonly time: number;
}

/** Collects events, and hands out processes. */
export class HistoryRecorder {
  readonly events: HistoryEvent[] = [];
  #processes = 0;

  newProcess(): number {
    return this.#processes++;
  }

  add(event: HistoryEvent): void {
    this.events.push(event);
  }
}

/** One JSON object a line. */
export function formatHistory(events: readonly HistoryEvent[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

/**
 * Reads what {@linkcode formatHistory} wrote, or another program.
 *
 * @throws {Error} Names the line that is no event.
 */
export function parseHistory(text: string): HistoryEvent[] {
  const events: HistoryEvent[] = [];
  for (const [number, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    try {
      events.push(parseEvent(JSON.parse(line)));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`Cannot read line ${number + 1}: ${reason}`, { cause });
    }
  }
  return events;
}

function parseEvent(body: unknown): HistoryEvent {
  if (typeof body !== "object" || body === null) {
    throw new Error("wanted an object");
  }
  const event: Record<string, unknown> = { ...body };
  const { process, type, f, key, value, position, time } = event;
  if (typeof process !== "number" || !Number.isSafeInteger(process)) {
    throw new Error(`process is ${process}, wanted a whole number`);
  }
  if (
    type !== "invoke" && type !== "ok" && type !== "fail" && type !== "info"
  ) {
    throw new Error(`type is ${type}, wanted invoke, ok, fail or info`);
  }
  if (f !== "append" && f !== "read") {
    throw new Error(`f is ${f}, wanted append or read`);
  }
  if (typeof key !== "string") throw new Error(`key is ${key}, wanted text`);
  if (typeof time !== "number") {
    throw new Error(`time is ${time}, wanted a number`);
  }
  if (position !== undefined && typeof position !== "number") {
    throw new Error(`position is ${position}, wanted a number`);
  }
  return {
    process,
    type,
    f,
    key,
    value: parseValue(value, { f, type }),
    ...(position === undefined ? {} : { position }),
    time,
  };
}

function parseValue(
  value: unknown,
  { f, type }: Pick<HistoryEvent, "f" | "type">,
): string | readonly string[] | null {
  if (f === "append") {
    if (typeof value === "string") return value;
    throw new Error(`value is ${value}, wanted the element`);
  }
  if (type !== "ok") return null;
  if (Array.isArray(value)) {
    const list: unknown[] = value;
    const texts = list.filter((item) => typeof item === "string");
    if (texts.length === list.length) return texts;
  }
  throw new Error(`value is ${value}, wanted a list of texts`);
}
