/** What mesh servers say to clients, written and read; see `WIRE.md#mesh-clients`. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { isWireCode, WireError } from "./errors.ts";
import { ERROR_TEXT_CHARACTERS_MAX } from "./limits.ts";
import {
  type MeshMessage,
  type MeshRequestId,
  type Notice,
  type ToClient,
  TOPOLOGIES,
} from "./mesh.ts";

/**
 * A message as a client gets it that logged in without `more`. What answers a
 * request with an `id` has all its fields for such a client too: it asked.
 *
 * @returns JSON without a newline; undefined where such a client gets nothing.
 */
export function formatPlain(message: ToClient): string | undefined {
  switch (message.type) {
    case "msg": {
      const { room } = message;
      return `{"type":"msg",${messageFields(message)}${
        room === undefined ? "" : `,"room":${JSON.stringify(room)}`
      }}`;
    }
    case "system":
      if (message.id !== undefined) return formatMore(message);
      return `{"type":"system","text":${JSON.stringify(message.text)}}`;
    case "error":
      if (message.id !== undefined) return formatMore(message);
      return `{"type":"error","text":${errorText(message.text)}}`;
    case "presence":
    case "server":
      return undefined;
    case "dm":
    case "ok":
    case "who":
    case "rooms":
    case "history":
    case "status":
    case "topology":
    case "trace":
    case "pong":
    case "help":
      return formatMore(message);
  }
}

/** A message with all its fields, as JSON without a newline. */
export function formatMore(message: ToClient): string {
  switch (message.type) {
    case "msg": {
      const { time, n, room, local } = message;
      return `{"type":"msg",${messageFields(message)},"time":${time},"n":${n}${
        room === undefined ? "" : `,"room":${JSON.stringify(room)}`
      }${local === undefined ? "" : ',"local":true'}}`;
    }
    case "system": {
      const { type, text, id, notice } = message;
      return JSON.stringify({ type, text, id, ...notice });
    }
    case "error": {
      const { code, id } = message;
      return `{"type":"error","text":${
        errorText(message.text)
      },"code":"${code}"${
        id === undefined ? "" : `,"id":${JSON.stringify(id)}`
      }}`;
    }
    case "ok": {
      const { id, n } = message;
      return `{"type":"ok","id":${JSON.stringify(id)}${
        n === undefined ? "" : `,"n":${n}`
      }}`;
    }
    case "dm":
    case "presence":
    case "server":
    case "who":
    case "rooms":
    case "history":
    case "status":
    case "topology":
    case "trace":
    case "pong":
    case "help":
      return JSON.stringify(message);
  }
}

let lastFrom = "";
let lastServer = "";
let lastHead = '"from":"","server":""';

function messageFields({ from, server, text }: MeshMessage): string {
  // Many messages in a row are from the same person.
  if (from !== lastFrom || server !== lastServer) {
    lastHead = `"from":${JSON.stringify(from)},"server":${
      JSON.stringify(server)
    }`;
    lastFrom = from;
    lastServer = server;
  }
  return `${lastHead},"text":${JSON.stringify(text)}`;
}

function errorText(text: string): string {
  return JSON.stringify(text.slice(0, ERROR_TEXT_CHARACTERS_MAX));
}

// The client's side

const TEXT = Type.String();
const NUMBER = Type.Number();
const FLAG = Type.Boolean();
const NAMES = Type.Array(TEXT);
const SERVER = Type.Object({
  id: TEXT,
  up: FLAG,
  clients: NUMBER,
  draining: FLAG,
  address: Type.Optional(TEXT),
});
const TOPOLOGY = Type.Union(TOPOLOGIES.map((name) => Type.Literal(name)));

const CHECKS = {
  system: Compile(Type.Object({ text: TEXT })),
  msg: Compile(Type.Object({
    from: TEXT,
    server: TEXT,
    text: TEXT,
    time: Type.Optional(NUMBER),
    n: Type.Optional(NUMBER),
    room: Type.Optional(TEXT),
    local: Type.Optional(FLAG),
  })),
  dm: Compile(Type.Object({
    from: TEXT,
    server: TEXT,
    to: TEXT,
    text: TEXT,
    time: NUMBER,
    n: NUMBER,
  })),
  error: Compile(Type.Object({ text: TEXT, code: Type.Optional(TEXT) })),
  ok: Compile(Type.Object({ n: Type.Optional(NUMBER) })),
  presence: Compile(Type.Object({
    event: Type.Union([
      Type.Literal("login"),
      Type.Literal("logout"),
      Type.Literal("rename"),
    ]),
    name: TEXT,
    was: Type.Optional(TEXT),
    server: TEXT,
  })),
  server: Compile(Type.Object({
    event: Type.Union([Type.Literal("up"), Type.Literal("down")]),
    server: TEXT,
  })),
  who: Compile(Type.Object({
    room: Type.Optional(TEXT),
    users: Type.Array(
      Type.Object({ name: TEXT, server: TEXT, since: NUMBER }),
    ),
    total: NUMBER,
  })),
  rooms: Compile(Type.Object({
    rooms: Type.Array(Type.Object({ room: TEXT, users: NUMBER })),
    total: NUMBER,
  })),
  history: Compile(Type.Object({
    room: Type.Optional(TEXT),
    messages: Type.Array(Type.Object({
      seq: NUMBER,
      time: TEXT,
      server: TEXT,
      from: TEXT,
      text: TEXT,
      room: Type.Optional(TEXT),
    })),
    more: FLAG,
  })),
  status: Compile(Type.Object({
    service: Type.Literal("mesh"),
    server: TEXT,
    cluster: TEXT,
    clients: NUMBER,
    draining: FLAG,
    topology: TOPOLOGY,
    servers: Type.Array(SERVER),
  })),
  topology: Compile(Type.Object({
    topology: TOPOLOGY,
    by: Type.Optional(TEXT),
    edges: Type.Array(Type.Tuple([TEXT, TEXT])),
  })),
  trace: Compile(Type.Object({
    topology: TOPOLOGY,
    reports: Type.Array(
      Type.Object({ server: TEXT, path: NAMES, ms: NUMBER }),
    ),
    missing: NAMES,
  })),
  help: Compile(Type.Object({ text: TEXT })),
};

const NOTICES = {
  welcome: Compile(Type.Object({ name: TEXT, server: TEXT })),
  renamed: Compile(Type.Object({ name: TEXT, was: TEXT })),
  missed: Compile(Type.Object({ server: TEXT, count: NUMBER })),
  move: Compile(Type.Object({ to: NAMES })),
  room: Compile(Type.Object({ room: TEXT })),
};

/**
 * Reads one line from a mesh server. In a bare message, `time` and `n` are 0;
 * a bare error has the code `invalid-message`.
 *
 * @returns Undefined for a type that this version does not know: ignore it.
 * @throws {WireError} `invalid-message`: it is no mesh server, or it is broken.
 */
export function readMeshAnswer(line: string): ToClient | undefined {
  const value = parseObject(line);
  const id = "id" in value ? readAnswerId(value.id) : undefined;
  const type = "type" in value ? value.type : undefined;
  switch (type) {
    case "system": {
      if (!CHECKS.system.Check(value)) break;
      const notice = readNotice(value);
      return { type, text: value.text, id, ...notice && { notice } };
    }
    case "msg": {
      if (!CHECKS.msg.Check(value)) break;
      const { from, server, text, time = 0, n = 0, room, local } = value;
      return {
        ...{ type, from, server, text, time, n },
        ...room !== undefined && { room },
        ...local === true && { local },
      };
    }
    case "error": {
      if (!CHECKS.error.Check(value)) break;
      const { code = "" } = value;
      const text = value.text.slice(0, ERROR_TEXT_CHARACTERS_MAX);
      return {
        ...{ type, text, id },
        code: isWireCode(code) ? code : "invalid-message",
      };
    }
    case "ok":
      if (id === undefined || !CHECKS.ok.Check(value)) break;
      return { type, id, n: value.n };
    case "pong":
      return { type, id };
    default:
      return readOther(value, { line, type, id });
  }
  throw unreadable(line);
}

function readOther(
  value: object,
  { line, type, id }: {
    line: string;
    type: unknown;
    id: MeshRequestId | undefined;
  },
): ToClient | undefined {
  switch (type) {
    case "dm":
      if (!CHECKS.dm.Check(value)) break;
      return { ...value, type };
    case "presence":
      if (!CHECKS.presence.Check(value)) break;
      return { ...value, type };
    case "server":
      if (!CHECKS.server.Check(value)) break;
      return { ...value, type };
    case "who":
      if (!CHECKS.who.Check(value)) break;
      return { ...value, type, id };
    case "rooms":
      if (!CHECKS.rooms.Check(value)) break;
      return { ...value, type, id };
    case "history":
      if (!CHECKS.history.Check(value)) break;
      return { ...value, type, id };
    case "status":
      if (!CHECKS.status.Check(value)) break;
      return { ...value, type, id };
    case "topology":
      if (!CHECKS.topology.Check(value)) break;
      return { ...value, type, id };
    case "trace":
      if (!CHECKS.trace.Check(value)) break;
      return { ...value, type, id };
    case "help":
      if (!CHECKS.help.Check(value)) break;
      return { ...value, type, id };
    default:
      if (typeof type !== "string") break;
      return undefined;
  }
  throw unreadable(line);
}

/** What a notice is about; undefined if this version does not know. */
function readNotice(value: object): Notice | undefined {
  const code = "code" in value ? value.code : undefined;
  switch (code) {
    case "welcome":
      if (!NOTICES.welcome.Check(value)) return undefined;
      return { code, name: value.name, server: value.server };
    case "renamed":
      if (!NOTICES.renamed.Check(value)) return undefined;
      return { code, name: value.name, was: value.was };
    case "missed":
      if (!NOTICES.missed.Check(value)) return undefined;
      return { code, server: value.server, count: value.count };
    case "move":
      if (!NOTICES.move.Check(value)) return undefined;
      return { code, to: value.to };
    case "joined":
    case "left":
      if (!NOTICES.room.Check(value)) return undefined;
      return { code, room: value.room };
    case "waiting":
    case "going-on":
      return { code };
    default:
      return undefined;
  }
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

function readAnswerId(id: unknown): MeshRequestId | undefined {
  return typeof id === "number" || typeof id === "string" ? id : undefined;
}

function unreadable(line: string): WireError {
  return new WireError(
    "invalid-message",
    `Cannot read what the server says: ${line.length} characters are no message of a mesh server`,
  );
}
