/** What others said while a mesh chat client was on its way to another server: found in that server's log, in order, shown once. */

import type {
  HistoryLine,
  MeshMessage,
  MeshRequestId,
  ToClient,
} from "../protocol/mesh.ts";
import { HISTORY_LIMIT_MAX } from "../protocol/mesh.ts";

/** Of each stream so many of the last messages are known again; the very last may be in no log. */
const KNOWN_PER_STREAM = 16;

/** Streams, those heard of last: servers times rooms. */
const STREAMS_MAX = 256;

/** A stream from which nothing was heard is looked at from so long before the break. */
const BEFORE_MS = 2_000;

/** After so long servers have written what they passed on before. */
const SETTLE_MS = 250;

/** How long what comes meanwhile is held back for a log that is behind. */
const HOLD_MS_MAX = 2_000;

/** Messages and characters held back; 20,000 come in some tenths of a second. */
const HELD_MAX = 20_000;
const HELD_CHARACTERS_MAX = 8_388_608;

/** Lines of the log that are looked at: what is more is read with `/history`. */
const LINES_MAX = 5_000;

type Written = MeshMessage | ToClient & { readonly type: "dm" };
type HistoryAnswer = ToClient & { readonly type: "history" };

/** One page of the log, as it is asked for. */
export interface GapQuestion {
  readonly room: string | undefined;
  readonly limit: number;
  readonly before: number | undefined;
}

/** What the host knows of time. */
export interface GapClock {
  /** What to add to the times given here, for ms since 1970. */
  readonly epochMs: number;
  /** Reads a time of the log, in ISO 8601; ms since 1970. */
  readTime(text: string): number;
}

/** What came of it. */
export interface GapFilled {
  /** What was said meanwhile, oldest first. */
  readonly late: readonly HistoryLine[];
  /** What came since then and was held back, to be shown behind it. */
  readonly held: readonly Written[];
  /** Whether `late` is known to be all; else the log may have more. */
  readonly isWhole: boolean;
}

/** What to do next. */
export interface GapTurn {
  readonly questions: readonly GapQuestion[];
  /** When to ask again what to do, if no answer comes before. */
  readonly wakeAtMs?: number;
  readonly filled?: GapFilled;
}

/** The last messages of one server in one room. */
interface Known {
  /** Oldest first. */
  readonly keys: string[];
  readonly room: string | undefined;
  /** Of the last one that a log of others has, by its server's clock. */
  timeMs: number | undefined;
}

/** What was read of a room's log, or of what was said to all. */
interface Page {
  /** Oldest first. */
  lines: readonly HistoryLine[];
  isDone: boolean;
  /** There is more that belongs to the gap. */
  isCut: boolean;
}

/**
 * Messages of one server in one room come in one order, live and in the log.
 * So what is missing of each such stream is what stands in the log between the
 * last that was shown and the first that came at the new server.
 *
 * The same person saying the same twice within a millisecond counts as once.
 */
export class MeshGap {
  readonly #clock: GapClock;
  readonly #known = new Map<string, Known>();
  /** What was shown out of the log and may still come live. */
  readonly #late = new Map<string, Set<string>>();
  /** How far this clock is ahead of that of the servers. */
  #aheadMs: number;
  #isOpen = false;
  #server = "";
  #sinceMs = 0;
  #openedMs = 0;
  #askAtMs = 0;
  #rooms: readonly (string | undefined)[] = [];
  #pages = new Map<string | undefined, Page>();
  #awaited = new Map<MeshRequestId, string | undefined>();
  #held: Written[] = [];
  #heldCharacters = 0;

  constructor(clock: GapClock) {
    this.#clock = clock;
    this.#aheadMs = -clock.epochMs;
  }

  /** Whether messages go to {@linkcode hold} just now. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Notes what is about to be shown; false: it was shown already, out of the log. */
  isNew(message: MeshMessage, nowMs: number): boolean {
    const stream = streamOf(message);
    const key = keyOf(message, message.time);
    const late = this.#late.get(stream);
    const isLate = late?.delete(key) === true;
    // Behind the first that is new nothing old comes.
    if (!isLate && message.n > 0) this.#late.delete(stream);
    if (message.time > 0) {
      this.#aheadMs = nowMs - message.time;
      this.#know(message, message.time);
    }
    return !isLate;
  }

  /**
   * Logged in at another server, or at the same again.
   *
   * @param options.brokeMs Since when nothing was heard.
   * @param options.rooms Those that one is in.
   */
  open(
    options: {
      readonly brokeMs: number;
      readonly server: string;
      readonly rooms: Iterable<string>;
    },
    nowMs: number,
  ): void {
    const { brokeMs, server, rooms } = options;
    this.#isOpen = true;
    this.#server = server;
    this.#rooms = [undefined, ...rooms];
    this.#sinceMs = brokeMs - this.#aheadMs - BEFORE_MS;
    this.#openedMs = nowMs;
    this.#askAtMs = nowMs + SETTLE_MS;
    this.#pages = new Map();
    this.#awaited = new Map();
  }

  /** Keeps a message until what was said before is shown; false: no more can be kept. */
  hold(message: Written): boolean {
    this.#held.push(message);
    this.#heldCharacters += message.text.length;
    return this.#held.length < HELD_MAX &&
      this.#heldCharacters < HELD_CHARACTERS_MAX;
  }

  /** What is to be asked, and whether it is filled. */
  turn(nowMs: number): GapTurn {
    if (!this.#isOpen) return { questions: [] };
    const endMs = this.#openedMs + HOLD_MS_MAX;
    if (nowMs >= endMs) return { questions: [], filled: this.close() };
    if (this.#pages.size === 0) {
      if (nowMs < this.#askAtMs) return waits(this.#askAtMs);
      for (const room of this.#rooms) {
        this.#pages.set(room, { lines: [], isDone: false, isCut: false });
      }
      return {
        questions: this.#rooms.map((room) => question(room)),
        wakeAtMs: endMs,
      };
    }
    if (this.#awaited.size > 0) return waits(endMs);
    const unread = [...this.#pages].filter(([, { isDone }]) => !isDone);
    if (unread.length > 0) {
      const questions = unread.map(([room, { lines }]) =>
        question(room, lines.at(0)?.seq)
      );
      return { questions, wakeAtMs: endMs };
    }
    const { mayGrow, ...filled } = this.#fill();
    if (!mayGrow) return { questions: [], filled: this.#closed(filled) };
    // A server is behind with its log, or has another: the same again.
    this.#pages.clear();
    this.#askAtMs = nowMs + SETTLE_MS;
    return waits(Math.min(this.#askAtMs, endMs));
  }

  /** A question is under way. */
  asked(id: MeshRequestId, { room }: GapQuestion): void {
    this.#awaited.set(id, room);
  }

  /** Takes an answer to one of the questions; what else it is, it is no page. */
  answered(id: MeshRequestId, answer: ToClient): void {
    const room = this.#awaited.get(id);
    const isAwaited = this.#awaited.delete(id);
    const page = this.#pages.get(room);
    if (!isAwaited || page === undefined) return;
    if (answer.type === "history") return this.#read(page, answer);
    page.isDone = true;
    page.isCut = true;
  }

  /** Ends it with what is known. */
  close(): GapFilled {
    return this.#closed({ ...this.#fill(), isWhole: false });
  }

  #read(page: Page, { messages, more }: HistoryAnswer): void {
    page.lines = [...messages, ...page.lines];
    const first = messages.at(0);
    const isBack = first !== undefined &&
      this.#clock.readTime(first.time) < this.#sinceMs;
    const count = [...this.#pages.values()].reduce(
      (sum, { lines }) => sum + lines.length,
      0,
    );
    const isFull = count >= LINES_MAX || first === undefined;
    page.isDone = !more || isBack || isFull;
    page.isCut = more && !isBack && isFull;
  }

  #closed({ late, isWhole }: Omit<GapFilled, "held">): GapFilled {
    const held = this.#held;
    this.#isOpen = false;
    this.#held = [];
    this.#heldCharacters = 0;
    this.#pages = new Map();
    this.#awaited = new Map();
    this.#late.clear();
    const isHeld = new Set(
      held.flatMap((one) => one.type === "msg" ? [streamOf(one)] : []),
    );
    for (const line of late) {
      const stream = streamOf(line);
      const timeMs = this.#clock.readTime(line.time);
      this.#know(line, timeMs);
      if (isHeld.has(stream)) continue;
      const keys = this.#late.get(stream) ?? new Set<string>();
      this.#late.set(stream, keys.add(keyOf(line, timeMs)));
    }
    return { late, held, isWhole };
  }

  /** Puts together what is missing; `mayGrow`: another look may find more. */
  #fill(): Omit<GapFilled, "held"> & { readonly mayGrow: boolean } {
    const streams = new Map<string, HistoryLine[]>();
    const pages = [...this.#pages.values()];
    let isShared = false;
    for (const line of pages.flatMap(({ lines }) => lines)) {
      // What another server has written: then it is one log.
      if (line.server !== this.#server) isShared = true;
      const lines = streams.get(streamOf(line));
      if (lines === undefined) streams.set(streamOf(line), [line]);
      else lines.push(line);
    }
    const firstHeld = this.#firstHeld();
    let isMatched = true;
    const late: HistoryLine[] = [];
    for (
      const stream of new Set([...streams.keys(), ...firstHeld.keys()])
    ) {
      const lines = streams.get(stream) ?? [];
      const missing = this.#missing(stream, lines, firstHeld.get(stream));
      late.push(...missing.late);
      if (!missing.isMatched) isMatched = false;
    }
    // A stream that was heard shortly before, and has nothing in this log.
    for (const [stream, { timeMs = 0, room }] of this.#known) {
      const isRecent = timeMs >= this.#sinceMs && this.#rooms.includes(room);
      if (isRecent && !streams.has(stream)) isMatched = false;
    }
    late.sort((one, other) => one.seq - other.seq);
    const isCut = pages.length === 0 || pages.some((page) => page.isCut);
    return {
      ...{ late, isWhole: isShared && isMatched && !isCut },
      mayGrow: isShared && !isMatched && !isCut,
    };
  }

  /** By stream; but for what no log has. */
  #firstHeld(): Map<string, string> {
    const first = new Map<string, string>();
    for (const one of this.#held) {
      if (one.type !== "msg" || one.n === 0) continue;
      const stream = streamOf(one);
      if (!first.has(stream)) first.set(stream, keyOf(one, one.time));
    }
    return first;
  }

  #missing(
    stream: string,
    lines: readonly HistoryLine[],
    firstHeld: string | undefined,
  ): { readonly late: readonly HistoryLine[]; readonly isMatched: boolean } {
    const known = this.#known.get(stream);
    const keys = lines.map((line) =>
      keyOf(line, this.#clock.readTime(line.time))
    );
    const lastShown = keys.findLastIndex((key) =>
      known?.keys.includes(key) === true
    );
    const found = firstHeld === undefined
      ? keys.length
      : keys.indexOf(firstHeld, lastShown + 1);
    const between = lines.slice(
      lastShown + 1,
      found < 0 ? keys.length : found,
    );
    if (lastShown >= 0) return { late: between, isMatched: found >= 0 };
    const timeMs = known?.timeMs ?? this.#sinceMs;
    return {
      late: between.filter(({ time }) => this.#clock.readTime(time) > timeMs),
      isMatched: found >= 0 && timeMs <= this.#sinceMs,
    };
  }

  #know(message: MeshMessage | HistoryLine, timeMs: number): void {
    const stream = streamOf(message);
    const { room } = message;
    const known: Known = this.#known.get(stream) ??
      { keys: [], room, timeMs: undefined };
    // What was for one server alone is told to no other, and has no number.
    if (!("n" in message) || message.n > 0) known.timeMs = timeMs;
    known.keys.push(keyOf(message, timeMs));
    if (known.keys.length > KNOWN_PER_STREAM) known.keys.shift();
    this.#known.delete(stream);
    this.#known.set(stream, known);
    if (this.#known.size <= STREAMS_MAX) return;
    const [oldest = ""] = this.#known.keys();
    this.#known.delete(oldest);
  }
}

function question(
  room: string | undefined,
  before?: number,
): GapQuestion {
  return { room, limit: HISTORY_LIMIT_MAX, before };
}

function waits(wakeAtMs: number): GapTurn {
  return { questions: [], wakeAtMs };
}

function streamOf({ server, room = "" }: MeshMessage | HistoryLine): string {
  return `${server} ${room}`;
}

/** The log and a live message have these in common. */
function keyOf(
  { from, text }: MeshMessage | HistoryLine,
  timeMs: number,
): string {
  return `${timeMs} ${from} ${text}`;
}
