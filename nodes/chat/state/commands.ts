/** The commands of the chat's log: UTF-8 JSON, made by one server, applied by all. */

import { Buffer } from "node:buffer";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import {
  TEXT_BYTES_MAX,
  USER_NAME_CHARACTERS_MAX,
} from "../../../protocol/chat.ts";
import type { StoreId } from "../../../protocol/epoch.ts";
import { WireError } from "../../../protocol/errors.ts";
import { COMMAND_BYTES_MAX } from "../../../protocol/replica.ts";

/** Characters of a PHC string; one of scrypt has about 100. */
export const PHC_CHARACTERS_MAX = 512;

/** Sessions in one `expire-sessions` or `touch-sessions`; keeps a command below 64 KiB. */
export const SESSIONS_IN_COMMAND_MAX = 1_000;

/**
 * How many entries a `register` or `open-session` may be behind: if more were
 * committed between what its server had applied when it made it (`seen`) and
 * its own place in the log, it is refused as `late`. So servers need to
 * remember ended sessions and accounts only for so long to tell a repeated
 * command from a new one. 4 s at 30,000 commands/s.
 */
export const SEEN_ENTRIES_MAX = 131_072;

/** Makes an account. Result `ok`: `value` is the user id, the index of this entry. */
export interface RegisterCommand {
  readonly kind: "register";
  /** As `readUserName` gives it. */
  readonly user: string;
  /** The password's hash as a PHC string. */
  readonly phc: string;
  /** 32 hexadecimal digits, drawn at random: tells a repetition from a rival. */
  readonly token: string;
  /** The index that the server had applied when it made this. */
  readonly seen: number;
  /** Wall clock of the server that made this, in ms since 1970. */
  readonly time: number;
}

/** Logs a user in. The same again, while the session lives, is `ok` again. */
export interface OpenSessionCommand {
  readonly kind: "open-session";
  /** 16 hexadecimal digits, drawn at random. */
  readonly session: string;
  /** SHA-256 of the secret, 64 hexadecimal digits. */
  readonly secretHash: string;
  readonly user: string;
  /** Id of the account whose password was checked: a name may have been taken anew. */
  readonly userId: number;
  readonly seen: number;
  readonly time: number;
}

/** Of every command that a session numbers. */
interface InSession {
  readonly session: string;
  /** 1, 2, 3 … in each session. */
  readonly sequence: number;
  readonly time: number;
}

/** Logs out. */
export interface CloseSessionCommand extends InSession {
  readonly kind: "close-session";
}

/** Sends a direct message. Result `ok`: `value` is the message id, the index of this entry. */
export interface SendCommand extends InSession {
  readonly kind: "send";
  /** The recipient's name. */
  readonly to: string;
  /** 1 to `TEXT_BYTES_MAX` bytes, no NUL. */
  readonly text: string;
}

/** Marks messages as read up to an id. Result `ok`: `value` is what is read now. */
export interface MarkReadCommand extends InSession {
  readonly kind: "mark-read";
  readonly upTo: number;
}

/** Deletes the session's user with all its data. Result `ok`: `value` is the user id. */
export interface DeleteAccountCommand extends InSession {
  readonly kind: "delete-account";
}

/** A session as the one who proposes to expire it saw it. */
export interface IdleSession {
  readonly id: string;
  /** Index of the entry that used it last: if it was used since, it lives on. */
  readonly used: number;
}

/** Ends idle sessions. Result `ok`: `value` is how many. */
export interface ExpireSessionsCommand {
  readonly kind: "expire-sessions";
  /** 1 to {@linkcode SESSIONS_IN_COMMAND_MAX}. */
  readonly sessions: readonly IdleSession[];
  readonly time: number;
}

/** Keeps sessions alive whose clients only listen. Result `ok`: `value` is how many. */
export interface TouchSessionsCommand {
  readonly kind: "touch-sessions";
  /** 1 to {@linkcode SESSIONS_IN_COMMAND_MAX}. */
  readonly ids: readonly string[];
  readonly time: number;
}

/**
 * Ends an empty group, so that its servers may join another one. Result `ok`:
 * `value` is 1, or 0 if there is an account, and then nothing has happened.
 */
export interface DissolveCommand {
  readonly kind: "dissolve";
  /** The group that remains. */
  readonly into: StoreId;
  readonly time: number;
}

/** Commands that a session numbers. */
export type SessionCommand =
  | CloseSessionCommand
  | SendCommand
  | MarkReadCommand
  | DeleteAccountCommand;

/** Every command. Kinds are only ever added, never reused. */
export type Command =
  | RegisterCommand
  | OpenSessionCommand
  | SessionCommand
  | ExpireSessionsCommand
  | TouchSessionsCommand
  | DissolveCommand;

// What is a letter was asked before it was proposed, see readUserName. Here no
// table of Unicode may take part: they differ between versions of the runtime.
const NAME_UNITS_MAX = 2 * USER_NAME_CHARACTERS_MAX;
// deno-lint-ignore no-control-regex -- these are what is refused.
const NAME_REFUSED = /[\u0000-\u0020\u007f-\u00a0]/;

const Index = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Sequence = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const Time = Index;
// A store has the same form.
const SessionId = Type.String({ pattern: /^[0-9a-f]{16}$/ });
// Whatever is no session id is the id of no session; a pattern costs 0.2 us.
const inSession = { session: Type.String(), sequence: Sequence, time: Time };

/** One check a kind, so that a command is not tried against all of them. */
const CHECKS = {
  "register": Compile(Type.Object({
    kind: Type.Literal("register"),
    user: Type.String(),
    phc: Type.String(),
    token: Type.String({ pattern: /^[0-9a-f]{32}$/ }),
    seen: Index,
    time: Time,
  })),
  "open-session": Compile(Type.Object({
    kind: Type.Literal("open-session"),
    session: SessionId,
    secretHash: Type.String({ pattern: /^[0-9a-f]{64}$/ }),
    user: Type.String(),
    userId: Index,
    seen: Index,
    time: Time,
  })),
  "close-session": Compile(Type.Object({
    kind: Type.Literal("close-session"),
    ...inSession,
  })),
  "send": Compile(Type.Object({
    kind: Type.Literal("send"),
    ...inSession,
    to: Type.String(),
    text: Type.String(),
  })),
  "mark-read": Compile(Type.Object({
    kind: Type.Literal("mark-read"),
    ...inSession,
    upTo: Index,
  })),
  "delete-account": Compile(Type.Object({
    kind: Type.Literal("delete-account"),
    ...inSession,
  })),
  "expire-sessions": Compile(Type.Object({
    kind: Type.Literal("expire-sessions"),
    sessions: Type.Array(Type.Object({ id: SessionId, used: Index }), {
      minItems: 1,
      maxItems: SESSIONS_IN_COMMAND_MAX,
    }),
    time: Time,
  })),
  "touch-sessions": Compile(Type.Object({
    kind: Type.Literal("touch-sessions"),
    ids: Type.Array(SessionId, {
      minItems: 1,
      maxItems: SESSIONS_IN_COMMAND_MAX,
    }),
    time: Time,
  })),
  "dissolve": Compile(Type.Object({
    kind: Type.Literal("dissolve"),
    into: SessionId,
    time: Time,
  })),
} as const;

const Kind = Compile(Type.Object({ kind: Type.String() }));
const fatalDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The bytes to be proposed.
 *
 * @throws {WireError} `too-large`: the text does not fit a command; tell the client.
 */
export function encodeCommand(command: Command): Uint8Array {
  // Buffer is three times as fast as TextEncoder for texts of this length.
  const bytes = Buffer.from(JSON.stringify(command));
  if (bytes.length > COMMAND_BYTES_MAX) {
    throw new WireError(
      "too-large",
      `Cannot propose ${command.kind}: it is ${bytes.length} bytes, limit is ${COMMAND_BYTES_MAX}`,
    );
  }
  return bytes;
}

/**
 * Reads a committed command. What it accepts must never depend on the machine
 * or the runtime's version: all servers must agree on it.
 *
 * @param bytes Whatever was committed; not kept.
 * @returns `undefined` for bytes that are no command. Never throws.
 */
export function decodeCommand(bytes: Uint8Array): Command | undefined {
  const value = parse(bytes);
  if (!Kind.Check(value)) return undefined;
  switch (value.kind) {
    case "send":
      return CHECKS.send.Check(value) && isNamable(value.to) &&
          isText(value.text)
        ? value
        : undefined;
    case "mark-read":
      return CHECKS["mark-read"].Check(value) ? value : undefined;
    case "register":
      return CHECKS.register.Check(value) && isNamable(value.user) &&
          value.phc.length <= PHC_CHARACTERS_MAX && isAscii(value.phc)
        ? value
        : undefined;
    case "open-session":
      return CHECKS["open-session"].Check(value) && isNamable(value.user)
        ? value
        : undefined;
    case "close-session":
      return CHECKS["close-session"].Check(value) ? value : undefined;
    case "delete-account":
      return CHECKS["delete-account"].Check(value) ? value : undefined;
    case "expire-sessions":
      return CHECKS["expire-sessions"].Check(value) ? value : undefined;
    case "touch-sessions":
      return CHECKS["touch-sessions"].Check(value) ? value : undefined;
    case "dissolve":
      return CHECKS.dissolve.Check(value) ? value : undefined;
    default:
      // Not a union: a kind of a later version, or anything.
      return undefined;
  }
}

/** Whether a message may have this text: 1 to `TEXT_BYTES_MAX` bytes, no NUL. */
export function isText(text: string): boolean {
  // Half a surrogate pair would come back from disk as something else. NUL
  // ends a text in too many programs. No character needs more than 3 bytes a unit.
  return text.length > 0 && text.isWellFormed() && !text.includes("\0") &&
    (text.length * 3 <= TEXT_BYTES_MAX ||
      Buffer.byteLength(text) <= TEXT_BYTES_MAX);
}

function isNamable(text: string): boolean {
  return text.length > 0 && text.length <= NAME_UNITS_MAX &&
    text.isWellFormed() && !NAME_REFUSED.test(text);
}

function isAscii(text: string): boolean {
  return /^[\x21-\x7e]*$/.test(text);
}

function parse(bytes: Uint8Array): unknown {
  // Twice as fast as TextDecoder; it puts U+FFFD for what is not UTF-8, so
  // only a text that has one is looked at again.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    .toString();
  try {
    return JSON.parse(
      text.includes("\ufffd") ? fatalDecoder.decode(bytes) : text,
    );
  } catch {
    // Not an error of ours: the caller's `undefined` becomes the result `invalid`.
    return undefined;
  }
}
