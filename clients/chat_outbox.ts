/** Commands of a chat client until they have their results: numbered, and sent again as they were. */

import type { ErrorAnswer, OkAnswer } from "../protocol/chat.ts";
import type { WireCode } from "../protocol/errors.ts";

/** Commands sent and not answered: a session remembers so many results. */
const SENT_MAX = 64;

/** Commands and bytes kept; beyond it no more input is read. */
const COMMANDS_MAX = 1_024;
const CHARACTERS_MAX = 4_194_304;

/** Errors after which the same command may be sent again. */
const AGAIN_CODES: ReadonlySet<WireCode> = new Set<WireCode>([
  "busy",
  "no-primary",
  "timeout",
  "sequence-gap",
  "shutting-down",
]);

/** What a session numbers. */
export type Outgoing =
  | {
    readonly kind: "send";
    readonly to: string;
    readonly text: string;
    /** Number of its line in the input, for errors. */
    readonly line: number;
  }
  | { readonly kind: "mark-read"; readonly upto: number }
  | { readonly kind: "delete-account"; readonly password: string }
  | { readonly kind: "logout" };

/** What became of a command. */
export type OutgoingResult =
  /** `n` is a sent message's number, where it is remembered. */
  | { readonly kind: "ok"; readonly n: number | undefined }
  | { readonly kind: "refused"; readonly code: WireCode; readonly text: string }
  /** Done or not: nobody can say. */
  | { readonly kind: "unknown"; readonly reason: string };

/** What an answer means for the outbox. */
export type Settled =
  | {
    readonly kind: "settled";
    readonly command: Outgoing;
    readonly result: OutgoingResult;
  }
  /** It goes again, after a while. */
  | { readonly kind: "again"; readonly retryMs: number | undefined }
  | { readonly kind: "no-session" };

interface Kept {
  /** What is sent under this number; no longer the command where that was refused unnumbered. */
  command: Outgoing | { readonly kind: "nothing" };
  sequence: number;
  /** Of the request last sent; undefined: none since the link stands. */
  id: number | undefined;
  /** Whether a server may have it. */
  wasSent: boolean;
}

/** Keeps commands in order. */
export class ChatOutbox {
  #kept: Kept[] = [];
  #nextSequence = 1;
  #characters = 0;

  /** Commands without a result. */
  get size(): number {
    return this.#kept.length;
  }

  /** Commands sent and not answered. */
  get sentCount(): number {
    return this.#kept.filter(({ id }) => id !== undefined).length;
  }

  get hasRoom(): boolean {
    return this.#kept.length < COMMANDS_MAX &&
      this.#characters < CHARACTERS_MAX;
  }

  /** Whether a server may have such a command. */
  wasSent(kind: Outgoing["kind"]): boolean {
    return this.#kept.some(({ command, wasSent }) =>
      wasSent && command.kind === kind
    );
  }

  add(command: Outgoing): void {
    const sequence = this.#nextSequence++;
    this.#characters += sizeOf(command);
    this.#kept.push({ command, sequence, id: undefined, wasSent: false });
  }

  /** The lines to send now. */
  take(nextId: () => number): string {
    let lines = "";
    let sent = 0;
    for (const kept of this.#kept) {
      if (sent === SENT_MAX) break;
      sent += 1;
      if (kept.id !== undefined) continue;
      kept.id = nextId();
      kept.wasSent = true;
      lines += lineOf(kept, kept.id);
    }
    return lines;
  }

  /** Nothing that was sent will be answered. */
  linkDown(): void {
    for (const kept of this.#kept) kept.id = undefined;
  }

  /**
   * Begins to number from 1, for a new session.
   *
   * @returns What the session before may or may not have done; it is not sent again.
   */
  renumber(): readonly Outgoing[] {
    const lost: Outgoing[] = [];
    const rest = this.#kept.filter((kept) => {
      if (kept.wasSent && kept.command.kind !== "nothing") {
        lost.push(kept.command);
        this.#characters -= sizeOf(kept.command);
      }
      return !kept.wasSent;
    });
    rest.forEach((kept, index) => kept.sequence = index + 1);
    this.#kept = rest;
    this.#nextSequence = rest.length + 1;
    return lost;
  }

  /** Takes an answer; undefined: it is to none of these. */
  answer(id: number, answer: OkAnswer | ErrorAnswer): Settled | undefined {
    const index = this.#kept.findIndex((kept) => kept.id === id);
    if (index < 0) return undefined;
    const kept = this.#kept[index];
    if (answer.type === "ok") {
      const { n } = answer.fields;
      return this.#settle(index, {
        kind: "ok",
        n: typeof n === "number" ? n : undefined,
      });
    }
    const { code, text, retryMs } = answer;
    if (AGAIN_CODES.has(code)) {
      // Those behind it that met a gap are each told so.
      kept.id = undefined;
      return { kind: "again", retryMs };
    }
    if (code === "session-unknown" || code === "not-logged-in") {
      // Refused before it had a number: it was not done in this session.
      if (code === "not-logged-in") kept.wasSent = false;
      this.linkDown();
      return { kind: "no-session" };
    }
    // Done, but what became of it is forgotten.
    if (code === "sequence-stale") {
      return this.#settle(index, { kind: "ok", n: undefined });
    }
    if (code === "no-such-user") {
      return this.#settle(index, { kind: "refused", code, text });
    }
    return this.#leaveOut(kept, { kind: "refused", code, text });
  }

  #settle(index: number, result: OutgoingResult): Settled | undefined {
    const [{ command }] = this.#kept.splice(index, 1);
    if (command.kind === "nothing") return undefined;
    this.#characters -= sizeOf(command);
    return { kind: "settled", command, result };
  }

  /**
   * The server did not number it, and would take nothing behind the hole that
   * it leaves: something without effect goes in its place.
   */
  #leaveOut(kept: Kept, result: OutgoingResult): Settled | undefined {
    const { command } = kept;
    if (command.kind === "nothing") {
      return { kind: "again", retryMs: undefined };
    }
    this.#characters -= sizeOf(command);
    kept.command = { kind: "nothing" };
    kept.id = undefined;
    return { kind: "settled", command, result };
  }
}

function sizeOf(command: Outgoing): number {
  return command.kind === "send" ? command.text.length : 0;
}

function lineOf({ command, sequence: seq }: Kept, id: number): string {
  switch (command.kind) {
    case "send": {
      const { to, text } = command;
      return line({ type: "send", id, seq, to, text });
    }
    case "mark-read":
      return line({ type: "mark_read", id, seq, upto: command.upto });
    case "delete-account":
      return line({
        type: "delete_account",
        id,
        seq,
        password: command.password,
      });
    case "logout":
      return line({ type: "logout", id, seq });
    case "nothing":
      return line({ type: "mark_read", id, seq, upto: 0 });
  }
}

function line(request: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(request)}\n`;
}
