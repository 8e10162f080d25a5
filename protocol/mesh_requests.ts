/** What clients ask of mesh servers, read from their lines; see `WIRE.md#mesh-clients`. */

import { Buffer } from "node:buffer";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import {
  checkText,
  readRequestHead,
  readUserName,
  RequestError,
  unknownType,
  wrongField,
} from "./chat.ts";
import { type WireCode, WireError } from "./errors.ts";
import { isName } from "./ids.ts";
import {
  HISTORY_LIMIT_MAX,
  MESH_TEXT_BYTES_MAX,
  type MeshRequest,
  type MeshRequestId,
  type MeshSay,
  type RelayLine,
  ROOM_CHARACTERS_MAX,
  TOPOLOGIES,
  type Topology,
} from "./mesh.ts";

/** Every type of request. */
export const MESH_REQUEST_TYPES: readonly string[] = [
  "login",
  "msg",
  "dm",
  "join",
  "leave",
  "who",
  "rooms",
  "history",
  "topology",
  "trace",
  "status",
  "drain",
  "ping",
  "help",
  "quit",
  "relay_msg",
];

/** A request that cannot be taken. */
export class MeshRequestError extends RequestError {
  /** Of a login: whether it wants all fields, and so has them in its answer. */
  readonly loginMore: boolean | undefined;

  constructor(
    error: { readonly code: WireCode; readonly message: string },
    of: { id: MeshRequestId | undefined; loginMore: boolean | undefined },
  ) {
    super(error.code, error.message, of.id);
    this.loginMore = of.loginMore;
  }
}

// Carriage returns too, unlike in the replicated chat: they do nothing but
// write over a line on the screens of clients that print what they get.
const RETURN = "\r";

/**
 * Checks a message's text: Unicode of 1 to {@linkcode MESH_TEXT_BYTES_MAX}
 * bytes, without control characters other than tab and newline.
 *
 * @throws {WireError} `invalid-message`, `too-large`, `invalid-utf8`,
 *   `nul-byte` or `control-character`.
 */
export function checkMeshText(text: string): void {
  // A UTF-16 unit is at most 3 bytes of UTF-8.
  if (text.length * 3 > MESH_TEXT_BYTES_MAX) {
    const bytes = Buffer.byteLength(text);
    if (bytes > MESH_TEXT_BYTES_MAX) {
      throw new WireError(
        "too-large",
        `Cannot send text of ${bytes} bytes, limit is ${MESH_TEXT_BYTES_MAX}`,
      );
    }
  }
  checkText(text);
  const at = text.indexOf(RETURN);
  if (at < 0) return;
  throw new WireError(
    "control-character",
    `Cannot send text: character ${at + 1} is the control character U+000D`,
  );
}

const ROOM = new RegExp(
  `^[\\p{L}\\p{N}][\\p{L}\\p{M}\\p{N}._-]{0,${ROOM_CHARACTERS_MAX - 1}}$`,
  "u",
);

/**
 * A room's name in the one form in which it is kept (NFC).
 *
 * @throws {WireError} `invalid-name`
 */
export function readRoomName(text: string): string {
  // What is far too long is not worth normalizing.
  if (text.length <= 4 * ROOM_CHARACTERS_MAX) {
    const room = text.normalize("NFC");
    if (ROOM.test(room)) return room;
  }
  throw new WireError(
    "invalid-name",
    `Cannot take a room's name of ${text.length} characters: wanted 1 to ${ROOM_CHARACTERS_MAX} letters and digits, and ".", "_", "-" after the first`,
  );
}

const TEXT = Type.String();
const COUNT_MAX = Number.MAX_SAFE_INTEGER;
const CHECKS = {
  login: Compile(Type.Object({
    username: TEXT,
    more: Type.Optional(Type.Boolean()),
  })),
  dm: Compile(Type.Object({ to: TEXT, text: TEXT })),
  join: Compile(Type.Object({ room: TEXT })),
  leave: Compile(Type.Object({ room: TEXT })),
  who: Compile(Type.Object({ room: Type.Optional(TEXT) })),
  history: Compile(Type.Object({
    room: Type.Optional(TEXT),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: HISTORY_LIMIT_MAX }),
    ),
    before: Type.Optional(Type.Integer({ minimum: 0, maximum: COUNT_MAX })),
  })),
  topology: Compile(Type.Object({ topology: Type.Optional(TEXT) })),
  drain: Compile(Type.Object({ undo: Type.Optional(Type.Boolean()) })),
  relay_msg: Compile(Type.Object({
    from: TEXT,
    origin_server: TEXT,
    text: TEXT,
    timestamp: Type.Number({ minimum: 0, maximum: COUNT_MAX }),
  })),
};

/**
 * Reads one line from a client. Unknown fields are ignored.
 *
 * @param line Without its newline, at most `MESH_REQUEST_BYTES_MAX` bytes.
 * @throws {RequestError} Answer it; the connection goes on. A
 *   {@linkcode MeshRequestError} where it is known what the request was.
 */
export function readMeshRequest(line: string): MeshRequest {
  const { value, type, id } = readRequestHead(line);
  try {
    // By hand, because nearly every request is one of these.
    if (type === "msg") return readSay(value, id);
    return readOther(value, { type, id });
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    const isMore = "more" in value && value.more === true;
    const loginMore = type === "login" ? isMore : undefined;
    throw new MeshRequestError(error, { id, loginMore });
  }
}

function readSay(value: object, id: MeshRequestId | undefined): MeshSay {
  const text = "text" in value ? value.text : undefined;
  const room = "room" in value ? value.room : undefined;
  const local = "local" in value ? value.local : undefined;
  if (typeof text !== "string") throw wrongField("text", "a text");
  checkMeshText(text);
  if (room !== undefined && typeof room !== "string") {
    throw wrongField("room", "a text");
  }
  if (local !== undefined && typeof local !== "boolean") {
    throw wrongField("local", "true or false");
  }
  return {
    type: "msg",
    id,
    text,
    room: room === undefined ? undefined : readRoomName(room),
    local,
  };
}

function readOther(
  value: object,
  head: { type: unknown; id: MeshRequestId | undefined },
): MeshRequest {
  const { type, id } = head;
  switch (type) {
    case "login":
      if (!CHECKS.login.Check(value)) break;
      return {
        type,
        id,
        username: readUserName(value.username),
        more: value.more,
      };
    case "dm":
      if (!CHECKS.dm.Check(value)) break;
      checkMeshText(value.text);
      return { type, id, to: readUserName(value.to), text: value.text };
    case "join":
    case "leave":
      if (!CHECKS[type].Check(value)) break;
      return { type, id, room: readRoomName(value.room) };
    case "who":
      if (!CHECKS.who.Check(value)) break;
      return { type, id, room: readRoom(value.room) };
    case "history": {
      if (!CHECKS.history.Check(value)) break;
      const { limit, before } = value;
      return { type, id, room: readRoom(value.room), limit, before };
    }
    case "topology":
      if (!CHECKS.topology.Check(value)) break;
      return { type, id, topology: readTopology(value.topology) };
    case "drain":
      if (!CHECKS.drain.Check(value)) break;
      return { type, id, undo: value.undo };
    case "relay_msg":
      if (!CHECKS.relay_msg.Check(value)) break;
      return readRelay(value);
    case "rooms":
    case "status":
    case "trace":
    case "ping":
    case "help":
    case "quit":
      return { type, id };
    default:
      throw new WireError(
        "invalid-message",
        unknownType(type, MESH_REQUEST_TYPES),
      );
  }
  throw new WireError("invalid-message", reasonOf(type, value));
}

function readRoom(room: string | undefined): string | undefined {
  return room === undefined ? undefined : readRoomName(room);
}

function readTopology(text: string | undefined): Topology | undefined {
  if (text === undefined) return undefined;
  const topology = TOPOLOGIES.find((known) => known === text);
  if (topology !== undefined) return topology;
  throw wrongField("topology", `one of ${TOPOLOGIES.join(", ")}`);
}

function readRelay(line: Omit<RelayLine, "type">): RelayLine {
  const { from, origin_server, text, timestamp } = line;
  if (!isName(origin_server)) {
    throw wrongField(
      "origin_server",
      'a server\'s id: 1 to 64 of A-Z, a-z, 0-9, ".", "_", ":", "-"',
    );
  }
  checkMeshText(text);
  return {
    type: "relay_msg",
    from: readUserName(from),
    origin_server,
    text,
    timestamp,
  };
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
