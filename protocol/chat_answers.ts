/** What a chat server says, written and read; see `WIRE.md#chat-clients`. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import {
  type ChatAnswer,
  type ChatMessage,
  type ErrorAnswer,
  type RequestId,
} from "./chat.ts";
import { readChatView } from "./chat_view.ts";
import {
  isWireCode,
  type Outcome,
  WIRE_CODES,
  type WireCode,
  WireError,
} from "./errors.ts";
import { type LeaveChallenge, readLeaveChallenge } from "./leave_proof.ts";
import { ERROR_TEXT_CHARACTERS_MAX } from "./limits.ts";

/** What belongs to an error beside its code and text. */
export interface ErrorDetails {
  /** The request that it answers; absent where none could be read. */
  readonly id?: RequestId | undefined;
  /** What the code says, unless more is known. */
  readonly outcome?: Outcome | undefined;
  /** When to try again, in ms from now. */
  readonly retryMs?: number | undefined;
  /** Number of the line in the connection, 1 first, where `id` is not known. */
  readonly line?: number | undefined;
  /** What to prove the cluster key for. */
  readonly challenge?: LeaveChallenge | undefined;
}

/** An answer `ok`, as a line. */
export function formatOk(
  id: RequestId | undefined,
  fields: Readonly<Record<string, unknown>> = {},
): string {
  const rest = JSON.stringify(fields);
  const comma = rest === "{}" ? "" : ",";
  return `{"type":"ok"${formatId(id)}${comma}${rest.slice(1)}\n`;
}

/** The answer to a `send`, as a line: the most frequent one of all. */
export function formatSent(
  id: RequestId | undefined,
  sent: { readonly seq: number; readonly n: number },
): string {
  return `{"type":"ok"${formatId(id)},"seq":${sent.seq},"n":${sent.n}}\n`;
}

/** An error, as a line. */
export function formatError(error: WireError, details: ErrorDetails): string {
  const { id, outcome = error.outcome, retryMs, line, challenge } = details;
  const rest = JSON.stringify({
    code: error.code,
    text: error.message.slice(0, ERROR_TEXT_CHARACTERS_MAX),
    outcome,
    retryMs,
    line,
    ...challenge,
  });
  return `{"type":"error"${formatId(id)},${rest.slice(1)}\n`;
}

/** A pushed message, as a line. */
export function formatMessage(message: ChatMessage): string {
  return `{"type":"message",${messageFields(message)}}\n`;
}

/** A message within a list. */
export function formatListed(message: ChatMessage): string {
  return `{${messageFields(message)}}`;
}

/** A notice, as a line. */
export function formatNotice(
  code: string,
  text: string,
  fields: Readonly<Record<string, unknown>> = {},
): string {
  return `${JSON.stringify({ type: "notice", code, text, ...fields })}\n`;
}

function messageFields(message: ChatMessage): string {
  const { n, from, to, text, time } = message;
  return `"n":${n},"from":${JSON.stringify(from)},"to":${
    JSON.stringify(to)
  },"text":${JSON.stringify(text)},"time":${time}`;
}

function formatId(id: RequestId | undefined): string {
  if (id === undefined) return "";
  return typeof id === "number" ? `,"id":${id}` : `,"id":${JSON.stringify(id)}`;
}

// The client's side

const ERROR = Compile(Type.Object({
  code: Type.String(),
  text: Type.String(),
  outcome: Type.Optional(Type.String()),
  retryMs: Type.Optional(Type.Number({ minimum: 0 })),
}));
const NOTICE = Compile(Type.Object({
  code: Type.String(),
  text: Type.String(),
}));

/**
 * Reads one line from a chat server.
 *
 * @returns Undefined for a type that this version does not know: ignore it.
 * @throws {WireError} `invalid-message`: it is no chat server, or it is broken.
 */
export function readAnswer(line: string): ChatAnswer | undefined {
  const value = parseObject(line);
  switch ("type" in value ? value.type : undefined) {
    case "ok": {
      const { id, fields } = splitId(value);
      return { type: "ok", id, fields };
    }
    case "error":
      return readErrorAnswer(value);
    case "message": {
      const message = readMessage(value);
      if (message === undefined) break;
      return { type: "message", ...message };
    }
    case "notice":
      if (!NOTICE.Check(value)) break;
      return { type: "notice", code: value.code, text: value.text };
    case "view": {
      const view = readChatView(value);
      if (view === undefined) break;
      return { type: "view", ...view };
    }
    default:
      if (!("type" in value)) break;
      return undefined;
  }
  throw unreadable(line);
}

/** A message from a push or a list; undefined if it is none. */
export function readMessage(value: unknown): ChatMessage | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const isMessage = "n" in value && Number.isSafeInteger(value.n) &&
    "from" in value && "to" in value && "text" in value && "time" in value;
  if (!isMessage) return undefined;
  const { n, from, to, text, time } = value;
  const isTyped = typeof n === "number" && typeof from === "string" &&
    typeof to === "string" && typeof text === "string" &&
    typeof time === "number" && Number.isFinite(time);
  return isTyped ? { n, from, to, text, time } : undefined;
}

function parseObject(line: string): object {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw unreadable(line);
  }
  if (typeof value !== "object" || value === null) throw unreadable(line);
  return value;
}

function splitId(
  value: object,
): { id: RequestId | undefined; fields: Record<string, unknown> } {
  const { type: _, id, ...fields }: Record<string, unknown> = { ...value };
  return { id: readAnswerId(id), fields };
}

function readAnswerId(id: unknown): RequestId | undefined {
  return typeof id === "number" || typeof id === "string" ? id : undefined;
}

function readErrorAnswer(value: object): ErrorAnswer {
  const id = "id" in value ? readAnswerId(value.id) : undefined;
  if (!ERROR.Check(value)) {
    return {
      type: "error",
      id,
      code: "invalid-message",
      text: "The server sent an error that cannot be read",
      outcome: "indefinite",
      retryMs: undefined,
    };
  }
  const code: WireCode = isWireCode(value.code)
    ? value.code
    : "invalid-message";
  const outcome = value.outcome === "definite" || value.outcome === "indefinite"
    ? value.outcome
    : isWireCode(value.code)
    ? WIRE_CODES[value.code]
    : "indefinite";
  const text = value.text.slice(0, ERROR_TEXT_CHARACTERS_MAX);
  const challenge = readLeaveChallenge(value);
  return {
    type: "error",
    id,
    code,
    text,
    outcome,
    retryMs: value.retryMs,
    ...challenge !== undefined && { challenge },
  };
}

function unreadable(line: string): WireError {
  return new WireError(
    "invalid-message",
    `Cannot read what the server says: ${line.length} characters are no message of a chat server`,
  );
}
