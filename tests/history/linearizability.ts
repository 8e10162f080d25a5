/**
 * Whether a history of append-only lists is linearizable: whether every call
 * can be given one moment between its invocation and its answer, so that what
 * was answered is what one list at a time would have answered.
 *
 * The search is that of Wing and Gong, just in time and with a memory of
 * configurations as Lowe has it, key by key, because linearizability is local.
 *
 * @see Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), section 4
 * @see Lowe, "Testing for Linearizability" (2017), section 3
 */

import type { HistoryEvent } from "./history.ts";

/** What was found. */
export type Verdict =
  | { readonly kind: "linearizable"; readonly calls: number }
  | {
    readonly kind: "broken";
    readonly key: string;
    /** Why, for people. */
    readonly reason: string;
  }
  /** The search was given up: too many calls at once. */
  | { readonly kind: "undecided"; readonly key: string };

/** Configurations tried before a key's search is given up. */
export const TRIES_MAX = 2_000_000;

/** One call of a client; all of it that counts. */
export interface Call {
  readonly f: "append" | "read";
  /** What is appended; of a read undefined. */
  readonly element: string | undefined;
  /** What was read; undefined if it is an append. */
  readonly list: readonly string[] | undefined;
  /** Which place the append was told that it got. */
  readonly position: number | undefined;
  /** Line of the invocation. */
  readonly from: number;
  /** Line of the answer; Infinity if there was none. */
  readonly to: number;
}

/** Checks a whole history, key by key in the order in which they appear. */
export function checkHistory(
  events: readonly HistoryEvent[],
  options: { triesMax: number } = { triesMax: TRIES_MAX },
): Verdict {
  let calls = 0;
  const keys = callsByKey(events);
  if (typeof keys === "string") {
    return { kind: "broken", key: "", reason: keys };
  }
  for (const [key, ofKey] of keys) {
    calls += ofKey.length;
    const found = checkCalls(ofKey, options);
    if (found === "undecided") return { kind: "undecided", key };
    if (found !== undefined) return { kind: "broken", key, reason: found };
  }
  return { kind: "linearizable", calls };
}

/** Pairs invocations and answers; a sentence if they do not pair. */
export function callsByKey(
  events: readonly HistoryEvent[],
): Map<string, Call[]> | string {
  const open = new Map<number, number>();
  const answered = new Map<number, number>();
  for (const [line, event] of events.entries()) {
    if (event.type === "invoke") {
      if (open.has(event.process)) {
        return `process ${event.process} has two open calls`;
      }
      open.set(event.process, line);
      continue;
    }
    const from = open.get(event.process);
    if (from === undefined) return `process ${event.process} had asked nothing`;
    answered.set(from, line);
    // After `info` the call stays open for ever, and its process with it.
    if (event.type !== "info") open.delete(event.process);
  }
  const keys = new Map<string, Call[]>();
  for (const [line, event] of events.entries()) {
    if (event.type !== "invoke") continue;
    const call = makeCall(event, { line, events, to: answered.get(line) });
    if (call === undefined) continue;
    const calls = keys.get(event.key) ?? [];
    calls.push(call);
    keys.set(event.key, calls);
  }
  return keys;
}

/** Undefined if the call tells nothing: it failed, or is a read without an answer. */
function makeCall(
  { f, value }: HistoryEvent,
  options: {
    line: number;
    to: number | undefined;
    events: readonly HistoryEvent[];
  },
): Call | undefined {
  const { line, to, events } = options;
  const answer = to === undefined ? undefined : events[to];
  if (answer?.type === "fail") return undefined;
  const isOk = answer?.type === "ok";
  if (f === "read" && !isOk) return undefined;
  return {
    f,
    element: f === "append" && typeof value === "string" ? value : undefined,
    list: f === "read" && Array.isArray(answer?.value)
      ? answer.value
      : undefined,
    position: isOk ? answer?.position : undefined,
    from: line,
    to: isOk && to !== undefined ? to : Infinity,
  };
}

/** A list in the tree of all lists met: two are equal if they are one object. */
class ListNode {
  readonly length: number;
  readonly #longer = new Map<string, ListNode>();

  constructor(length: number) {
    this.length = length;
  }

  and(element: string): ListNode {
    let longer = this.#longer.get(element);
    if (longer === undefined) {
      longer = new ListNode(this.length + 1);
      this.#longer.set(element, longer);
    }
    return longer;
  }
}

/**
 * What the answers alone say about places: an element that is in a list keeps
 * its place for ever. Prunes the search; refuses nothing that is linearizable.
 */
interface Places {
  readonly elements: Map<number, string>;
  /** Only of elements that one call alone appends. */
  readonly positions: Map<string, number>;
}

/** How far a search has come. */
interface Configuration {
  /** The next of all invocations and answers. */
  readonly at: number;
  readonly list: ListNode;
  /** Numbers of the calls that were asked and have no moment yet, ascending. */
  readonly open: readonly number[];
}

/** One call's place in the order of time. */
interface Moment {
  readonly line: number;
  readonly number: number;
  readonly isAnswer: boolean;
}

/** Undefined if the calls of one list are linearizable, otherwise why not. */
export function checkCalls(
  calls: readonly Call[],
  options: { triesMax: number },
): string | undefined {
  const places = placesOf(calls);
  if (typeof places === "string") return places;
  return new Search(calls, places).run(options.triesMax);
}

/** Gives calls their moments as late as may be: when an answer asks for one. */
class Search {
  readonly #calls: readonly Call[];
  readonly #places: Places;
  readonly #moments: readonly Moment[];
  /** For each read the list that it saw. */
  readonly #wanted: readonly (ListNode | undefined)[];
  readonly #seen = new Map<ListNode, Set<string>>();
  readonly #root = new ListNode(0);

  constructor(calls: readonly Call[], places: Places) {
    this.#calls = calls;
    this.#places = places;
    this.#moments = momentsOf(calls);
    this.#wanted = calls.map(({ list }) =>
      list?.reduce((node, element) => node.and(element), this.#root)
    );
  }

  run(triesMax: number): string | undefined {
    const stack: Configuration[] = [{ at: 0, list: this.#root, open: [] }];
    let tries = 0;
    let furthest = -1;
    for (;;) {
      const next = stack.pop();
      if (next === undefined) {
        const { number } = this.#moments[furthest];
        return `no order explains the ${formatCall(this.#calls[number])}`;
      }
      const stuck = this.#advance(next);
      if (stuck === undefined) return undefined;
      furthest = Math.max(furthest, stuck.at);
      if (!this.#isNew(stuck)) continue;
      if (++tries > triesMax) return "undecided";
      stack.push(...this.#choices(stuck));
    }
  }

  /** Up to the first answer whose call has no moment; undefined at the end. */
  #advance(from: Configuration): Configuration | undefined {
    const { list } = from;
    const open = [...from.open];
    for (let at = from.at; at < this.#moments.length; at++) {
      const { number, isAnswer } = this.#moments[at];
      // A read that sees just this list does no harm to any other call.
      if (!isAnswer && this.#wanted[number] !== list) open.push(number);
      if (isAnswer && open.includes(number)) return { at, list, open };
    }
    return undefined;
  }

  /** Each append that may be next; the most promising last. */
  #choices({ at, list, open }: Configuration): Configuration[] {
    const { number: asking } = this.#moments[at];
    const choices: Configuration[] = [];
    for (const number of open) {
      const { element } = this.#calls[number];
      if (element === undefined) continue;
      if (!this.#mayFollow(list, this.#calls[number])) continue;
      const longer = list.and(element);
      const choice = {
        at,
        list: longer,
        open: open.filter((other) =>
          other !== number && this.#wanted[other] !== longer
        ),
      };
      if (number === asking) choices.push(choice);
      else choices.unshift(choice);
    }
    return choices;
  }

  #mayFollow(list: ListNode, { element, position }: Call): boolean {
    if (element === undefined) return false;
    const next = list.length + 1;
    if (position !== undefined && position !== next) return false;
    const there = this.#places.elements.get(next);
    if (there !== undefined && there !== element) return false;
    const place = this.#places.positions.get(element);
    return place === undefined || place === next;
  }

  #isNew({ at, list, open }: Configuration): boolean {
    let configurations = this.#seen.get(list);
    if (configurations === undefined) {
      configurations = new Set();
      this.#seen.set(list, configurations);
    }
    const configuration = `${at}:${open.join()}`;
    if (configurations.has(configuration)) return false;
    configurations.add(configuration);
    return true;
  }
}

/** Where elements must be; a sentence if the answers contradict one another. */
function placesOf(calls: readonly Call[]): Places | string {
  const elements = new Map<number, string>();
  const place = (position: number, element: string): boolean => {
    const there = elements.get(position);
    if (there !== undefined) return there === element;
    elements.set(position, element);
    return true;
  };
  const appends = new Map<string, number>();
  for (const { element, position, list } of calls) {
    if (element !== undefined) {
      appends.set(element, (appends.get(element) ?? 0) + 1);
      if (position !== undefined && !place(position, element)) {
        return `place ${position} holds "${
          elements.get(position)
        }" and "${element}"`;
      }
    }
    for (const [index, inList] of list?.entries() ?? []) {
      if (!place(index + 1, inList)) {
        return `place ${index + 1} holds "${
          elements.get(index + 1)
        }" and "${inList}"`;
      }
    }
  }
  const positions = new Map<string, number>();
  for (const [position, element] of elements) {
    if (appends.get(element) !== 1) continue;
    const other = positions.get(element);
    if (other !== undefined) {
      return `"${element}" was appended once and has the places ${other} and ${position}`;
    }
    positions.set(element, position);
  }
  return { elements, positions };
}

/** All invocations and answers in the order of time. */
function momentsOf(calls: readonly Call[]): Moment[] {
  const moments: Moment[] = [];
  for (const [number, { from, to }] of calls.entries()) {
    moments.push({ line: from, number, isAnswer: false });
    if (to !== Infinity) moments.push({ line: to, number, isAnswer: true });
  }
  return moments.sort((a, b) => a.line - b.line);
}

function formatCall({ f, element, list, position, from }: Call): string {
  const what = f === "append"
    ? `append of "${element}"${position ? ` at ${position}` : ""}`
    : `read of ${list?.length} elements`;
  return `${what}, asked in line ${from + 1}`;
}
