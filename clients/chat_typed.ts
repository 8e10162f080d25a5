/** What somebody types into `skein chat`, and what is shown there. */

import { type ChatMessage, checkText, readUserName } from "../protocol/chat.ts";
import type { ChatView } from "../protocol/chat_view.ts";
import { WireError } from "../protocol/errors.ts";
import { escapeText } from "../nodes/host/text.ts";

/** What a line means. */
export type Typed =
  | { readonly kind: "nothing" }
  | { readonly kind: "send"; readonly to: string; readonly text: string }
  /** Whom lines without a name go to from now on. */
  | { readonly kind: "partner"; readonly to: string }
  | { readonly kind: "list"; readonly limit: number; readonly unread: boolean }
  /** Undefined: up to the last message shown. */
  | { readonly kind: "mark-read"; readonly upto: number | undefined }
  | { readonly kind: "delete-account" }
  | { readonly kind: "logout" }
  | { readonly kind: "who" }
  | { readonly kind: "help" }
  | { readonly kind: "quit" }
  | { readonly kind: "wrong"; readonly text: string };

const LIST_COUNT = 20;
const LIST_COUNT_MAX = 200;

/** What `/help` says. */
export const TYPED_HELP = `@NAME TEXT      Send Message: to somebody
/to NAME        lines without a name go to NAME from now on
/list [N]       View Messages: the last N, ${LIST_COUNT} unless said
/unread         those not marked as read
/read [N]       mark as read, up to number N or to the last one shown
/delete         Delete Account, with all its messages
/who            who you are, and whom you write to
/quit           log out and leave (Ctrl-D as well)`;

/** The menu before login: what the service can do, by number. */
export const MENU: readonly string[] = [
  "Register",
  "Login",
  "Send Message",
  "View Messages",
  "Delete Account",
  "Quit",
];

/**
 * Reads a line.
 *
 * @param partner Whom a line without a name goes to, if to anybody.
 */
export function readTyped(line: string, partner: string | undefined): Typed {
  const text = line.replace(/\r$/, "");
  if (text.trim() === "") return { kind: "nothing" };
  try {
    const addressed = /^@(\S+?)[:,]?(?:\s+(.*))?$/s.exec(text);
    if (addressed !== null) return message(addressed[1], addressed[2]);
    // A second slash says that the first belongs to the text.
    if (text.startsWith("/") && !text.startsWith("//")) return command(text);
    if (partner === undefined) {
      return wrong('To whom? Say "@NAME TEXT", or "/to NAME" first');
    }
    return message(partner, text.startsWith("//") ? text.slice(1) : text);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return wrong(error.message);
  }
}

function message(name: string, text: string | undefined): Typed {
  const to = readUserName(name);
  if (text === undefined || text.trim() === "") return { kind: "partner", to };
  checkText(text);
  return { kind: "send", to, text };
}

function command(text: string): Typed {
  const [, name, rest = ""] = /^\/(\S*)(?:\s+(.*))?$/s.exec(text) ?? [];
  switch (name) {
    case "to":
    case "send": {
      const [, to, body] = /^@?(\S+)(?:\s+(.*))?$/s.exec(rest) ?? [];
      if (to === undefined) return wrong(`Whom? Say "/${name} NAME"`);
      return message(to, body);
    }
    case "list":
    case "view": {
      const limit = rest === "" ? LIST_COUNT : wholeNumber(rest);
      if (limit === undefined || limit < 1 || limit > LIST_COUNT_MAX) {
        return wrong(`"/${name} N" takes a number from 1 to ${LIST_COUNT_MAX}`);
      }
      return { kind: "list", limit, unread: false };
    }
    case "unread":
      return { kind: "list", limit: LIST_COUNT_MAX, unread: true };
    case "read": {
      const upto = rest === "" ? undefined : wholeNumber(rest);
      if (rest !== "" && upto === undefined) {
        return wrong('"/read N" takes the number of a message');
      }
      return { kind: "mark-read", upto };
    }
    case "delete":
      return { kind: "delete-account" };
    case "logout":
      return { kind: "logout" };
    case "who":
    case "who?":
      return { kind: "who" };
    case "help":
    case "?":
      return { kind: "help" };
    case "quit":
    case "exit":
      return { kind: "quit" };
    default:
      return wrong(`"/${escapeText(name ?? "")}" is no command; try /help`);
  }
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,15}$/.test(text.trim()) ? Number(text) : undefined;
}

function wrong(text: string): Typed {
  return { kind: "wrong", text };
}

/**
 * A message as a line for people. What somebody else wrote can neither end the
 * line nor move the cursor.
 *
 * @param timeOf How a time in ms since 1970 is shown.
 */
export function showMessage(
  message: ChatMessage,
  timeOf: (ms: number) => string,
): string {
  const { n, from, text, time } = message;
  const lines = text.replaceAll("\r\n", "\n").replace(/\n$/, "").split("\n");
  const head = `[${n} ${timeOf(time)}] ${escapeText(from)}: `;
  const indent = `\n${" ".repeat(head.length)}`;
  return head + lines.map(escapeText).join(indent);
}

/** A change of the group as a line: who leads from now on, and why. */
export function showView({ epoch, leader, reason = "" }: ChatView): string {
  const why = reason === "" ? "" : `; ${reason}`;
  return escapeText(
    `* epoch ${epoch?.counter ?? "?"}: ${leader ?? "nobody"} leads${why}`,
  );
}
