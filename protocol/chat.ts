/** What clients and chat servers say to each other, a JSON object a line; see `WIRE.md#chat-clients`. */

import { Buffer } from "node:buffer";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import type { ChatView } from "./chat_view.ts";
import { type Outcome, type WireCode, WireError } from "./errors.ts";
import type { LeaveChallenge } from "./leave_proof.ts";

/**
 * Bytes of a request, its newline not counted. A request becomes a command of
 * the replicated log, which holds as many: a longer line could not be kept.
 */
export const REQUEST_BYTES_MAX = 131_072;

/** Bytes of a message's text in UTF-8; as long as a line of the chain. */
export const TEXT_BYTES_MAX = 65_536;

/** Bytes of a text as JSON: what a command has left beside its other fields. */
export const TEXT_JSON_BYTES_MAX = 130_048;

/** Characters (code points) of a user's name. */
export const USER_NAME_CHARACTERS_MAX = 64;

/** Characters (UTF-16 units) of a password; NIST SP 800-63B, section 3.1.1.2. */
export const PASSWORD_CHARACTERS_MIN = 8;

/** Bytes of a password in UTF-8: nobody types more, and hashing it costs time. */
export const PASSWORD_BYTES_MAX = 1_024;

/** Characters of an id that is a text. */
export const REQUEST_ID_CHARACTERS_MAX = 64;

/** Characters of a type that is none; a longer one is not repeated. */
const TYPE_CHARACTERS_SHOWN = 32;

/** Messages of one `list`. */
export const LIST_LIMIT_MAX = 200;
export const LIST_LIMIT_DEFAULT = 50;

/** Names a request within its connection; its answer carries the same. */
export type RequestId = number | string;

/** A session and what proves that it is one's own. */
export interface SessionProof {
  /** 16 hexadecimal digits. */
  readonly session: string;
  /** 32 hexadecimal digits; whoever knows them is the user. */
  readonly secret: string;
}

/** Fields that every request may have. */
interface AnyRequest {
  readonly id?: RequestId | undefined;
}

/** Fields of a request that changes something within a session. */
interface AnyWrite extends AnyRequest {
  /** The session's next number, 1 first; absent: the server counts. */
  readonly seq?: number | undefined;
}

/** Fields of a request that reads. */
interface AnyRead extends AnyRequest {
  /** Answer only what is at least as new as this index. */
  readonly seen?: number | undefined;
}

/** Makes an account. */
export interface RegisterRequest extends AnyRequest {
  readonly type: "register";
  readonly user: string;
  readonly password: string;
}

/** Opens a session. */
export interface LoginRequest extends AnyRead {
  readonly type: "login";
  readonly user: string;
  readonly password: string;
}

/** Goes on with a session, at this server or another. */
export interface ResumeRequest extends AnyRead, SessionProof {
  readonly type: "resume";
}

/** Ends the session. */
export interface LogoutRequest extends AnyWrite {
  readonly type: "logout";
}

/** Sends a direct message. */
export interface SendRequest extends AnyWrite {
  readonly type: "send";
  readonly to: string;
  readonly text: string;
}

/** Reads messages. */
export interface ListRequest extends AnyRead {
  readonly type: "list";
  /** Only messages with a higher number; the oldest of them first. */
  readonly after?: number | undefined;
  /** Only messages with a lower number; without `after` the newest of them. */
  readonly before?: number | undefined;
  /** 1 to {@linkcode LIST_LIMIT_MAX}; {@linkcode LIST_LIMIT_DEFAULT} if absent. */
  readonly limit?: number | undefined;
  /** Only those not marked as read. */
  readonly unread?: boolean | undefined;
  /** See every write that was acknowledged anywhere before this request. */
  readonly linearizable?: boolean | undefined;
}

/** Marks all messages up to a number as read. */
export interface MarkReadRequest extends AnyWrite {
  readonly type: "mark_read";
  readonly upto: number;
}

/** Deletes the account with everything that belongs to it. */
export interface DeleteAccountRequest extends AnyWrite {
  readonly type: "delete_account";
  readonly password: string;
}

/** Asks how the server and its group are. */
export interface StatusRequest extends AnyRequest {
  readonly type: "status";
}

/** Asks for the group's view, and to be told of each that follows. */
export interface WatchRequest extends AnyRequest {
  readonly type: "watch";
}

/** Asks the server to leave its group for good, and to end. */
export interface LeaveRequest extends AnyRequest {
  readonly type: "leave";
  /** Of the challenge that the server gave before. */
  readonly nonce?: string | undefined;
  /** What {@linkcode leaveProof} makes of that challenge. */
  readonly proof?: string | undefined;
}

/** Asks whether the server is there. */
export interface PingRequest extends AnyRequest {
  readonly type: "ping";
}

/** Asks what one can ask. */
export interface HelpRequest extends AnyRequest {
  readonly type: "help";
}

/** Whatever a client may ask for. */
export type ChatRequest =
  | RegisterRequest
  | LoginRequest
  | ResumeRequest
  | LogoutRequest
  | SendRequest
  | ListRequest
  | MarkReadRequest
  | DeleteAccountRequest
  | StatusRequest
  | WatchRequest
  | LeaveRequest
  | PingRequest
  | HelpRequest;

/** A direct message, as it is pushed and listed. */
export interface ChatMessage {
  /** Its number: the index of its entry in the log; grows with every message. */
  readonly n: number;
  readonly from: string;
  readonly to: string;
  readonly text: string;
  /** When the sender's server took it, in ms since 1970, by that server's clock. */
  readonly time: number;
}

/** A request did what it says. */
export interface OkAnswer {
  readonly type: "ok";
  readonly id: RequestId | undefined;
  /** Further fields, by the request's type. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A request did not do what it says, or perhaps did; or the connection ends. */
export interface ErrorAnswer {
  readonly type: "error";
  readonly id: RequestId | undefined;
  /** A code of another version becomes `invalid-message`. */
  readonly code: WireCode;
  readonly text: string;
  readonly outcome: Outcome;
  /** When to try again, in ms from now. */
  readonly retryMs: number | undefined;
  /** What a proof of the cluster key is wanted for. */
  readonly challenge?: LeaveChallenge;
}

/** A message for this user has come. */
export interface MessagePush extends ChatMessage {
  readonly type: "message";
}

/** Something that a client may want to know. */
export interface NoticePush {
  readonly type: "notice";
  /** `missed`: list what is after the last message seen. Others are for people. */
  readonly code: string;
  readonly text: string;
}

/** The group has another view, or its servers other addresses; newest last. */
export interface ViewPush extends ChatView {
  readonly type: "view";
}

/** Whatever a server may say. */
export type ChatAnswer =
  | OkAnswer
  | ErrorAnswer
  | MessagePush
  | NoticePush
  | ViewPush;

/** A request that cannot be taken, and which it was, if that could be read. */
export class RequestError extends WireError {
  readonly id: RequestId | undefined;

  constructor(code: WireCode, message: string, id: RequestId | undefined) {
    super(code, message);
    this.id = id;
  }
}

// Names, passwords and texts

const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const ANY_NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]{0,63}$/u;

/**
 * A user's name in the one form in which it is kept (NFC).
 *
 * @throws {WireError} `invalid-name`: 1 to {@linkcode USER_NAME_CHARACTERS_MAX}
 *   letters and digits of any script are wanted, and `.`, `_`, `-` after the first.
 */
export function readUserName(text: string): string {
  if (PLAIN_NAME.test(text)) return text;
  // What is far too long is not worth normalizing.
  if (text.length <= 4 * USER_NAME_CHARACTERS_MAX) {
    const name = text.normalize("NFC");
    if (ANY_NAME.test(name)) return name;
  }
  throw new WireError(
    "invalid-name",
    `Cannot take a name of ${text.length} characters: wanted 1 to ${USER_NAME_CHARACTERS_MAX} letters and digits, and ".", "_", "-" after the first`,
  );
}

/**
 * Checks a password that somebody chooses.
 *
 * @throws {WireError} `invalid-password`; names lengths, never the password.
 */
export function checkNewPassword(password: string): void {
  checkPassword(password);
  if (password.length >= PASSWORD_CHARACTERS_MIN) return;
  throw new WireError(
    "invalid-password",
    `Cannot take a password of ${password.length} character${
      password.length === 1 ? "" : "s"
    }: wanted ${PASSWORD_CHARACTERS_MIN} or more`,
  );
}

/** @throws {WireError} `invalid-password` when no account can have this password. */
export function checkPassword(password: string): void {
  const bytes = Buffer.byteLength(password);
  if (bytes > PASSWORD_BYTES_MAX) {
    throw new WireError(
      "invalid-password",
      `Cannot take a password of ${bytes} bytes, limit is ${PASSWORD_BYTES_MAX}`,
    );
  }
  if (!password.isWellFormed()) {
    throw new WireError(
      "invalid-password",
      "Cannot take a password that is not Unicode",
    );
  }
}

// All of C0 but tab, newline and carriage return; DEL; C1.
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/;

/**
 * Checks a message's text: Unicode without control characters other than tab,
 * newline and carriage return.
 *
 * @throws {WireError} `invalid-message`, `too-large`, `invalid-utf8`,
 *   `nul-byte` or `control-character`.
 */
export function checkText(text: string): void {
  if (text === "") {
    throw new WireError("invalid-message", "Cannot send an empty text");
  }
  // A UTF-16 unit is at most 3 bytes of UTF-8, and 2 of JSON where it is escaped.
  if (text.length * 3 > TEXT_BYTES_MAX) checkTextSize(text);
  if (!text.isWellFormed()) {
    throw new WireError(
      "invalid-utf8",
      "Cannot send text with half a surrogate pair: it is not Unicode",
    );
  }
  const at = text.search(CONTROL);
  if (at < 0) return;
  const unit = text.charCodeAt(at);
  if (unit === 0) {
    throw new WireError("nul-byte", "Cannot send text: it holds a NUL byte");
  }
  throw new WireError(
    "control-character",
    `Cannot send text: character ${at + 1} is the control character U+${
      unit.toString(16).toUpperCase().padStart(4, "0")
    }`,
  );
}

function checkTextSize(text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > TEXT_BYTES_MAX) {
    throw new WireError(
      "too-large",
      `Cannot send text of ${bytes} bytes, limit is ${TEXT_BYTES_MAX}`,
    );
  }
  if (bytes * 2 + 2 <= TEXT_JSON_BYTES_MAX) return;
  const jsonBytes = Buffer.byteLength(JSON.stringify(text));
  if (jsonBytes <= TEXT_JSON_BYTES_MAX) return;
  throw new WireError(
    "too-large",
    `Cannot send text: it has ${jsonBytes} bytes as JSON, limit is ${TEXT_JSON_BYTES_MAX}`,
  );
}

// Requests

const INDEX = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const SEQUENCE = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const NUMBERED = { seq: Type.Optional(SEQUENCE) };
const SEEN = { seen: Type.Optional(INDEX) };
const TEXT = Type.String();
const CHECKS = {
  register: Compile(Type.Object({ user: TEXT, password: TEXT })),
  login: Compile(Type.Object({ user: TEXT, password: TEXT, ...SEEN })),
  resume: Compile(Type.Object({
    session: Type.String({ pattern: "^[0-9a-f]{16}$" }),
    secret: Type.String({ pattern: "^[0-9a-f]{32}$" }),
    ...SEEN,
  })),
  logout: Compile(Type.Object(NUMBERED)),
  list: Compile(Type.Object({
    after: Type.Optional(INDEX),
    before: Type.Optional(INDEX),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: LIST_LIMIT_MAX }),
    ),
    unread: Type.Optional(Type.Boolean()),
    linearizable: Type.Optional(Type.Boolean()),
    ...SEEN,
  })),
  mark_read: Compile(Type.Object({ upto: INDEX, ...NUMBERED })),
  delete_account: Compile(Type.Object({ password: TEXT, ...NUMBERED })),
  leave: Compile(Type.Object({
    nonce: Type.Optional(Type.String({ pattern: "^[0-9a-f]{32}$" })),
    proof: Type.Optional(Type.String({ pattern: "^[0-9a-f]{64}$" })),
  })),
};

/** Every type of request. */
export const REQUEST_TYPES: readonly string[] = [
  "register",
  "login",
  "resume",
  "logout",
  "send",
  "list",
  "mark_read",
  "delete_account",
  "status",
  "watch",
  "leave",
  "ping",
  "help",
];

/** What every request has, whatever it asks for. */
export interface RequestHead {
  /** The whole request. */
  readonly value: object;
  /** Not looked at yet. */
  readonly type: unknown;
  readonly id: RequestId | undefined;
}

/**
 * Reads one line from a client. Unknown fields are ignored.
 *
 * @param line Without its newline, at most {@linkcode REQUEST_BYTES_MAX} bytes.
 * @throws {RequestError} Answer it; the connection goes on.
 */
export function readRequest(line: string): ChatRequest {
  const { value, type, id } = readRequestHead(line);
  try {
    // By hand, because nearly every request is one of these.
    if (type === "send") return readSend(value, id);
    return readOther(value, { type, id });
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new RequestError(error.code, error.message, id);
  }
}

/**
 * Reads what is the same in every service's requests.
 *
 * @throws {RequestError} Answer it; the connection goes on.
 */
export function readRequestHead(line: string): RequestHead {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    const why = line.startsWith("\ufeff")
      ? "it begins with a byte order mark"
      : 'it is not JSON; try {"type":"help"}';
    throw new RequestError(
      "invalid-message",
      `Cannot read request: ${why}`,
      undefined,
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RequestError(
      "invalid-message",
      "Cannot read request: it is not a JSON object",
      undefined,
    );
  }
  const id = "id" in value ? readId(value.id) : undefined;
  return { value, type: "type" in value ? value.type : undefined, id };
}

function readId(id: unknown): RequestId | undefined {
  if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return id;
  const isText = typeof id === "string" &&
    id.length <= REQUEST_ID_CHARACTERS_MAX && id.isWellFormed();
  if (isText) return id;
  throw new RequestError(
    "invalid-message",
    `Cannot read request: "id" is neither a whole number from 0 to 2^53 - 1 nor a text of at most ${REQUEST_ID_CHARACTERS_MAX} characters`,
    undefined,
  );
}

function readSend(value: object, id: RequestId | undefined): SendRequest {
  const to = "to" in value ? value.to : undefined;
  const text = "text" in value ? value.text : undefined;
  const seq = "seq" in value ? value.seq : undefined;
  if (typeof to !== "string") throw wrongField("to", "a text");
  if (typeof text !== "string") throw wrongField("text", "a text");
  checkText(text);
  return {
    type: "send",
    id,
    to: readUserName(to),
    text,
    seq: seq === undefined ? undefined : readSequence(seq),
  };
}

function readSequence(seq: unknown): number {
  if (typeof seq === "number" && Number.isSafeInteger(seq) && seq >= 1) {
    return seq;
  }
  throw wrongField("seq", "a whole number from 1 to 2^53 - 1");
}

/** Says that one field of a request is not what it must be. */
export function wrongField(name: string, wanted: string): WireError {
  return new WireError(
    "invalid-message",
    `Cannot read request: "${name}" must be ${wanted}`,
  );
}

function readOther(
  value: object,
  head: { type: unknown; id: RequestId | undefined },
): ChatRequest {
  const { type, id } = head;
  switch (type) {
    case "register": {
      if (!CHECKS.register.Check(value)) break;
      checkNewPassword(value.password);
      const user = readUserName(value.user);
      return { type, id, user, password: value.password };
    }
    case "login": {
      if (!CHECKS.login.Check(value)) break;
      checkPassword(value.password);
      const { password, seen } = value;
      return { type, id, user: readUserName(value.user), password, seen };
    }
    case "resume": {
      if (!CHECKS.resume.Check(value)) break;
      const { session, secret, seen } = value;
      return { type, id, session, secret, seen };
    }
    case "logout":
      if (!CHECKS.logout.Check(value)) break;
      return { type, id, seq: value.seq };
    case "list": {
      if (!CHECKS.list.Check(value)) break;
      const { after, before, limit, unread, linearizable, seen } = value;
      return { type, id, after, before, limit, unread, linearizable, seen };
    }
    case "mark_read":
      if (!CHECKS.mark_read.Check(value)) break;
      return { type, id, upto: value.upto, seq: value.seq };
    case "delete_account":
      if (!CHECKS.delete_account.Check(value)) break;
      checkPassword(value.password);
      return { type, id, password: value.password, seq: value.seq };
    case "leave":
      if (!CHECKS.leave.Check(value)) break;
      return { type, id, nonce: value.nonce, proof: value.proof };
    case "status":
    case "watch":
    case "ping":
    case "help":
      return { type, id };
    default:
      throw new WireError(
        "invalid-message",
        unknownType(type, REQUEST_TYPES),
      );
  }
  throw new WireError("invalid-message", reasonOf(type, value));
}

/** Says that a request is of no known type. */
export function unknownType(type: unknown, wanted: readonly string[]): string {
  return `Cannot read request: "type" ${typeText(type)}, wanted one of ${
    wanted.join(", ")
  }`;
}

/** Why this is no type of a request. */
function typeText(type: unknown): string {
  if (type === undefined) return "is missing";
  if (typeof type !== "string") return "is no text";
  if (type.length > TYPE_CHARACTERS_SHOWN) {
    return `has ${type.length} characters`;
  }
  return `is ${JSON.stringify(type)}`;
}

/** Which field is wrong, and what it should be. */
function reasonOf(type: keyof typeof CHECKS, value: object): string {
  const [error] = CHECKS[type].Errors(value);
  const where = error?.instancePath.slice(1) ?? "";
  const said = error?.message ?? "it is not as it should be";
  return `Cannot read ${type} request: ${
    where === "" ? said : `"${where}" ${said}`
  }`;
}
