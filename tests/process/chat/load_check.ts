/** What must have become of messages, whatever happened to the servers meanwhile. */

import type { ChatMessage } from "../../../protocol/chat.ts";

/** A message that a client asked to be sent, within one session. */
export interface Sent {
  readonly from: string;
  readonly to: string;
  /** No other message has the same. */
  readonly text: string;
  /** Its place in the session, 1 first. */
  readonly sequence: number;
  /** The number that was answered; undefined while nobody knows whether it was sent. */
  n: number | undefined;
}

/**
 * Compares what was sent with what is there.
 *
 * @param inboxes All messages to each user, in the order of their numbers.
 * @returns What is wrong, a sentence each: a message that nobody sent, that is
 *   there twice, that is lost, that has another number than was answered, that
 *   is in another's inbox, or that overtook an earlier one of its session.
 */
export function faultsOf(
  sent: readonly Sent[],
  inboxes: ReadonlyMap<string, readonly ChatMessage[]>,
): string[] {
  const faults: string[] = [];
  const expected = new Map(sent.map((one) => [one.text, one]));
  const found = new Set<string>();
  const numbers = new Map<number, string>();
  for (const [user, inbox] of inboxes) {
    const lasts = new Map<string, Sent>();
    let before = 0;
    for (const { n, from, to, text } of inbox) {
      const one = expected.get(text);
      const what = `${shown(text)} at ${n}`;
      if (n <= before) faults.push(`${what} comes after ${before}`);
      before = n;
      if (one === undefined) {
        faults.push(`${what} was never sent`);
        continue;
      }
      if (found.has(text)) faults.push(`${what} is there twice`);
      found.add(text);
      if (from !== one.from || to !== one.to || user !== one.to) {
        faults.push(`${what} is of ${from} to ${to}, found with ${user}`);
      }
      if (one.n !== undefined && one.n !== n) {
        faults.push(`${what} was answered as ${one.n}`);
      }
      const other = numbers.get(n);
      if (other !== undefined) {
        faults.push(`${what} is ${shown(other)} as well`);
      }
      numbers.set(n, text);
      const last = lasts.get(from);
      if (last !== undefined && last.sequence >= one.sequence) {
        faults.push(`${what} was overtaken by ${shown(last.text)}`);
      }
      lasts.set(from, one);
    }
  }
  for (const { text, n } of sent) {
    if (n === undefined || found.has(text)) continue;
    faults.push(`${shown(text)} at ${n} is lost`);
  }
  return faults;
}

/** A text without the dots that only make it long. */
export function nameOf(text: string): string {
  return text.replace(/\.+$/, "");
}

function shown(text: string): string {
  return `"${nameOf(text)}"`;
}
