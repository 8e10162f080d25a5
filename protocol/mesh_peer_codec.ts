/** What mesh servers say to each other as frames; see `WIRE.md#mesh-peers`. */

import { Buffer } from "node:buffer";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { readUserName } from "./chat.ts";
import { WireError } from "./errors.ts";
import {
  encodeFrame,
  FRAME,
  FRAME_HEADER_BYTES,
  writeFrameHeader,
} from "./frame.ts";
import { isName, type NodeId } from "./ids.ts";
import { parseJson } from "./json.ts";
import { FRAME_BYTES_MAX } from "./limits.ts";
import { ROOMS_PER_CLIENT_MAX, TOPOLOGIES } from "./mesh.ts";
import { readMeshEvent } from "./mesh_event.ts";
import {
  GENERATION_MAX,
  HOPS_MAX,
  MESH_SERVERS_MAX,
  type PeerMessage,
  type PresentUser,
  type RelayedEvent,
  type ServerState,
} from "./mesh_peer.ts";
import { readRoomName } from "./mesh_requests.ts";

/** Bytes of a frame's payload. */
const PAYLOAD_BYTES_MAX = FRAME_BYTES_MAX - FRAME_HEADER_BYTES;

/** Servers in one frame: with the longest of all ids, that of each with all others fits. */
const SERVERS_PER_FRAME = 32;

/** Users of one frame of presence; its bytes bound them too. */
const USERS_PER_FRAME_MAX = 10_000;

const ADDRESS_CHARACTERS_MAX = 300;

type Beat = Extract<PeerMessage, { kind: "beat" }>;

const ID = Type.String({ pattern: "^[A-Za-z0-9._:-]{1,64}$" });
const COUNT = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
// One more must always be possible.
const NUMBER = Type.Integer({ minimum: 0, maximum: GENERATION_MAX });
const ORIGIN = Type.Object({ id: ID, generation: NUMBER });
const CHECKS = {
  hello: Compile(Type.Object({ generation: NUMBER, known: NUMBER })),
  beat: Compile(Type.Object({
    servers: Type.Array(
      Type.Object({
        id: ID,
        generation: NUMBER,
        version: NUMBER,
        neighbours: Type.Array(ID, { maxItems: MESH_SERVERS_MAX }),
        clients: COUNT,
        draining: Type.Boolean(),
        address: Type.Optional(
          Type.String({ maxLength: ADDRESS_CHARACTERS_MAX }),
        ),
      }),
      { maxItems: MESH_SERVERS_MAX },
    ),
    seen: Type.Array(Type.Object({ id: ID, generation: NUMBER, n: COUNT }), {
      maxItems: MESH_SERVERS_MAX,
    }),
    topology: Type.Object({
      topology: Type.Union(TOPOLOGIES.map((name) => Type.Literal(name))),
      version: NUMBER,
      by: ID,
    }),
  })),
  ask: Compile(Type.Object({ origin: ORIGIN, after: Type.Optional(COUNT) })),
  presence: Compile(Type.Object({
    origin: ORIGIN,
    after: Type.Optional(COUNT),
    n: COUNT,
    messages: COUNT,
    users: Type.Array(
      Type.Object({
        name: Type.String(),
        since: COUNT,
        rooms: Type.Array(Type.String(), { maxItems: ROOMS_PER_CLIENT_MAX }),
      }),
      { maxItems: USERS_PER_FRAME_MAX },
    ),
    isFirst: Type.Boolean(),
    isLast: Type.Boolean(),
  })),
};

/**
 * A message as whole frames, each complete in itself: events and the servers
 * of a beat that no frame holds become several.
 *
 * @throws {RangeError} A presence or an event above a frame: the caller cuts those.
 */
export function encodePeerMessage(
  message: PeerMessage,
): Uint8Array<ArrayBuffer>[] {
  switch (message.kind) {
    case "hello": {
      const { generation, known } = message;
      return [encodeJson(FRAME.meshHello, { generation, known })];
    }
    case "events":
      return encodeEvents(message.events);
    case "beat":
      return encodeBeat(message);
    case "ask": {
      const { origin, after } = message;
      return [encodeJson(FRAME.meshAsk, { origin, after })];
    }
    case "presence": {
      const { kind: _kind, ...fields } = message;
      return [encodeJson(FRAME.meshPresence, fields)];
    }
  }
}

/**
 * The message in a frame.
 *
 * @throws {WireError} Close the link.
 */
export function decodePeerMessage(
  kind: number,
  payload: Uint8Array,
): PeerMessage {
  switch (kind) {
    case FRAME.meshHello: {
      const value = parseJson(payload);
      if (!CHECKS.hello.Check(value)) throw wrong("hello");
      const { generation, known } = value;
      return { kind: "hello", generation, known };
    }
    case FRAME.meshEvents:
      return { kind: "events", events: decodeEvents(payload) };
    case FRAME.meshBeat: {
      const value = parseJson(payload);
      if (!CHECKS.beat.Check(value)) throw wrong("beat");
      const { servers, seen, topology } = value;
      return { kind: "beat", servers, seen, topology };
    }
    case FRAME.meshAsk: {
      const value = parseJson(payload);
      if (!CHECKS.ask.Check(value)) throw wrong("ask");
      const { origin, after } = value;
      return after === undefined
        ? { kind: "ask", origin }
        : { kind: "ask", origin, after };
    }
    case FRAME.meshPresence:
      return decodePresence(payload);
    default:
      throw new WireError(
        "invalid-message",
        `Cannot take frame of kind ${kind} from a mesh server`,
      );
  }
}

// Events: a line each, `VIA JSON`

/** Bytes of an event on the wire: its line in an `events` frame. */
export function relayedBytes(relayed: RelayedEvent): number {
  let bytes = Buffer.byteLength(relayed.json) + 2;
  for (const id of relayed.via) bytes += id.length + 1;
  return bytes;
}

function encodeEvents(
  events: readonly RelayedEvent[],
): Uint8Array<ArrayBuffer>[] {
  const frames: Uint8Array<ArrayBuffer>[] = [];
  let lines = "";
  let bytes = 0;
  for (const { via, json } of events) {
    const line = `${via.join(",")} ${json}\n`;
    const lineBytes = Buffer.byteLength(line);
    if (bytes + lineBytes > PAYLOAD_BYTES_MAX) {
      if (bytes > 0) frames.push(linesFrame(lines, bytes));
      lines = "";
      bytes = 0;
    }
    lines += line;
    bytes += lineBytes;
  }
  if (bytes > 0) frames.push(linesFrame(lines, bytes));
  return frames;
}

const ENCODER = new TextEncoder();

function linesFrame(lines: string, bytes: number): Uint8Array<ArrayBuffer> {
  checkPayload(bytes);
  const frame = new Uint8Array(FRAME_HEADER_BYTES + bytes);
  writeFrameHeader(frame, 0, { kind: FRAME.meshEvents, bytes: frame.length });
  ENCODER.encodeInto(lines, frame.subarray(FRAME_HEADER_BYTES));
  return frame;
}

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeEvents(payload: Uint8Array): RelayedEvent[] {
  let text: string;
  try {
    text = DECODER.decode(payload);
  } catch (cause) {
    throw new WireError("invalid-utf8", "Cannot read events: not UTF-8", {
      cause,
    });
  }
  if (!text.endsWith("\n")) throw wrong("events");
  const events: RelayedEvent[] = [];
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf("\n", at);
    const space = text.indexOf(" ", at);
    if (space < 0 || space > end) throw wrong("events");
    const json = text.slice(space + 1, end);
    const via = readVia(text.slice(at, space));
    events.push({ via, event: readMeshEvent(json), json });
    at = end + 1;
  }
  return events;
}

function readVia(text: string): NodeId[] {
  const via = text.split(",");
  if (via.length <= HOPS_MAX && via.every(isName)) return via;
  throw wrong("events");
}

// The rest: JSON

function encodeBeat(beat: Beat): Uint8Array<ArrayBuffer>[] {
  const frames: Uint8Array<ArrayBuffer>[] = [];
  let { seen } = beat;
  let at = 0;
  do {
    const servers: readonly ServerState[] = beat.servers
      .slice(at, at + SERVERS_PER_FRAME);
    at += SERVERS_PER_FRAME;
    frames.push(encodeJson(FRAME.meshBeat, {
      ...{ servers, seen, topology: beat.topology },
    }));
    seen = [];
  } while (at < beat.servers.length);
  return frames;
}

function decodePresence(payload: Uint8Array): PeerMessage {
  const value = parseJson(payload);
  if (!CHECKS.presence.Check(value)) throw wrong("presence");
  const { origin, after, n, messages, isFirst, isLast } = value;
  const users = value.users.map(({ name, since, rooms }): PresentUser => ({
    name: readUserName(name),
    since,
    rooms: rooms.map(readRoomName),
  }));
  return {
    ...{ kind: "presence", origin, n, messages, users, isFirst, isLast },
    ...after !== undefined && { after },
  };
}

function encodeJson(kind: number, value: unknown): Uint8Array<ArrayBuffer> {
  const payload = ENCODER.encode(JSON.stringify(value));
  checkPayload(payload.length);
  return encodeFrame(kind, payload);
}

function checkPayload(bytes: number): void {
  if (bytes <= PAYLOAD_BYTES_MAX) return;
  throw new RangeError(
    `Cannot send ${bytes} bytes in a frame, limit is ${PAYLOAD_BYTES_MAX}`,
  );
}

function wrong(name: string): WireError {
  return new WireError(
    "invalid-message",
    `Cannot read ${name}: it is not as it should be`,
  );
}
