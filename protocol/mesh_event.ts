/** Events of mesh servers as JSON: encoded once, where they happen; see `WIRE.md#mesh-peers`. */

import { readUserName } from "./chat.ts";
import { WireError } from "./errors.ts";
import { isName, type NodeId } from "./ids.ts";
import { ROOMS_PER_CLIENT_MAX } from "./mesh.ts";
import { GENERATION_MAX, HOPS_MAX } from "./mesh_peer.ts";
import type { MeshEvent, MeshEventBody } from "./mesh_peer.ts";
import { checkMeshText, readRoomName } from "./mesh_requests.ts";

/**
 * Characters of an event's JSON: twice what the longest text takes, for fields
 * that later versions add. With the longest way in front it fits a frame even
 * if each takes three bytes, so that nobody is sent what he cannot pass on.
 */
export const EVENT_CHARACTERS_MAX = 65_536;

/** Fields of any event; which of them count is said by `type`. */
interface EventFields {
  readonly [field: string]: unknown;
}

/** An event as the JSON that all servers forward as it is; one line. */
export function formatMeshEvent(event: MeshEvent): string {
  const { origin, n, messages, time, body } = event;
  const stamp = {
    timestamp: Math.floor(time / 1_000),
    generation: origin.generation,
    n,
    messages,
    time,
  };
  const type = `relay_${body.kind}`;
  const origin_server = origin.id;
  switch (body.kind) {
    case "msg": {
      const { from, text, room } = body;
      return JSON.stringify({
        ...{ type, from, origin_server, text },
        ...stamp,
        room,
      });
    }
    case "dm": {
      const { from, to, at, text } = body;
      return JSON.stringify({
        ...{ type, from, origin_server, to, at, text },
        ...stamp,
      });
    }
    case "login": {
      const { name: from, since } = body;
      return JSON.stringify({
        ...{ type, from, origin_server, since },
        ...stamp,
        ..."was" in body && { was: body.was, rooms: body.rooms },
      });
    }
    case "logout":
      return JSON.stringify({ type, from: body.name, origin_server, ...stamp });
    case "join":
    case "leave": {
      const { name: from, room } = body;
      return JSON.stringify({ type, from, origin_server, room, ...stamp });
    }
    case "trace":
    case "traced": {
      const { kind: _kind, ...fields } = body;
      return JSON.stringify({ type, origin_server, ...fields, ...stamp });
    }
  }
}

/**
 * Reads an event; unknown fields are ignored, and travel on.
 *
 * @throws {WireError} Close the link: its sender read the same, and should
 *   not have sent it on.
 */
export function readMeshEvent(json: string): MeshEvent {
  if (json.length > EVENT_CHARACTERS_MAX) {
    throw new WireError(
      "too-large",
      `Cannot read event of ${json.length} characters, limit is ${EVENT_CHARACTERS_MAX}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new WireError("invalid-message", "Cannot read event: not JSON", {
      cause,
    });
  }
  if (!hasFields(value)) throw wrong("it");
  const fields = value;
  const id = readId(fields.origin_server, "origin_server");
  const generation = readCount(fields.generation, "generation");
  if (generation > GENERATION_MAX) throw wrong("generation");
  const n = readCount(fields.n, "n");
  const messages = readCount(fields.messages, "messages");
  if (n < 1 || messages > n) throw wrong("n");
  const time = readCount(fields.time, "time");
  const body = readBody(fields);
  return { origin: { id, generation }, n, messages, time, body };
}

function hasFields(value: unknown): value is EventFields {
  return typeof value === "object" && value !== null;
}

function readBody(fields: EventFields): MeshEventBody {
  switch (fields.type) {
    case "relay_msg": {
      const from = readPerson(fields.from, "from");
      const text = readText(fields.text);
      if (fields.room === undefined) return { kind: "msg", from, text };
      return { kind: "msg", from, text, room: readRoom(fields.room) };
    }
    case "relay_dm":
      return {
        kind: "dm",
        from: readPerson(fields.from, "from"),
        to: readPerson(fields.to, "to"),
        at: readId(fields.at, "at"),
        text: readText(fields.text),
      };
    case "relay_login": {
      const name = readPerson(fields.from, "from");
      const since = readCount(fields.since, "since");
      if (fields.was === undefined) return { kind: "login", name, since };
      const was = readPerson(fields.was, "was");
      const rooms = readRooms(fields.rooms);
      return { kind: "login", name, since, was, rooms };
    }
    case "relay_logout":
      return { kind: "logout", name: readPerson(fields.from, "from") };
    case "relay_join":
    case "relay_leave":
      return {
        kind: fields.type === "relay_join" ? "join" : "leave",
        name: readPerson(fields.from, "from"),
        room: readRoom(fields.room),
      };
    case "relay_trace":
      return { kind: "trace", trace: readCount(fields.trace, "trace") };
    case "relay_traced":
      return {
        kind: "traced",
        trace: readCount(fields.trace, "trace"),
        of: readId(fields.of, "of"),
        path: readPath(fields.path),
      };
    default:
      throw wrong("type");
  }
}

function readPath(value: unknown): NodeId[] {
  // One more than the hops: the server that reports stands at its end.
  if (!Array.isArray(value) || value.length > HOPS_MAX + 1) throw wrong("path");
  return value.map((id) => readId(id, "path"));
}

function readId(value: unknown, field: string): NodeId {
  if (typeof value !== "string" || !isName(value)) throw wrong(field);
  return value;
}

function readCount(value: unknown, field: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw wrong(field);
  }
  return value;
}

/** Names are kept in one form: an origin that sends another is not ours. */
function readPerson(value: unknown, field: string): string {
  if (typeof value !== "string") throw wrong(field);
  return readUserName(value);
}

function readRoom(value: unknown): string {
  if (typeof value !== "string") throw wrong("room");
  return readRoomName(value);
}

function readRooms(value: unknown): string[] {
  if (!Array.isArray(value) || value.length > ROOMS_PER_CLIENT_MAX) {
    throw wrong("rooms");
  }
  return value.map(readRoom);
}

function readText(value: unknown): string {
  if (typeof value !== "string") throw wrong("text");
  checkMeshText(value);
  return value;
}

function wrong(field: string): WireError {
  return new WireError(
    "invalid-message",
    `Cannot read event: "${field}" is not as it should be`,
  );
}
