import { assert, assertEquals, assertThrows } from "@std/assert";
import { WireError } from "../../protocol/errors.ts";
import { FRAME, FrameReader } from "../../protocol/frame.ts";
import { FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import {
  EVENT_CHARACTERS_MAX,
  formatMeshEvent,
  readMeshEvent,
} from "../../protocol/mesh_event.ts";
import {
  GENERATION_MAX,
  HOPS_MAX,
  MESH_SERVERS_MAX,
  type MeshEvent,
  type MeshEventBody,
  type PeerMessage,
  type RelayedEvent,
} from "../../protocol/mesh_peer.ts";
import { MESH_TEXT_BYTES_MAX } from "../../protocol/mesh.ts";
import {
  decodePeerMessage,
  encodePeerMessage,
} from "../../protocol/mesh_peer_codec.ts";

const ORIGIN = { id: "A", generation: 1_732_199_912_345 };

const BODIES: readonly MeshEventBody[] = [
  { kind: "msg", from: "Dana", text: "Hello from A" },
  { kind: "msg", from: "Dana", text: 'tea "?"\nyes\u2028', room: "tea" },
  { kind: "dm", from: "Dana", to: "Ahmad", at: "B", text: "psst" },
  { kind: "login", name: "Dana", since: 7 },
  {
    ...{ kind: "login", name: "Dana-B", since: 7, was: "Dana" },
    rooms: ["tea", "work"],
  },
  { kind: "logout", name: "Łucja" },
  { kind: "join", name: "Dana", room: "tea" },
  { kind: "leave", name: "Dana", room: "tea" },
  { kind: "trace", trace: 3 },
  { kind: "traced", trace: 3, of: "B", path: ["B", "A"] },
];

function event(body: MeshEventBody, n = 2): MeshEvent {
  return { origin: ORIGIN, n, messages: 1, time: 1_732_199_912_999, body };
}

function relayed(body: MeshEventBody, n = 2): RelayedEvent {
  const one = event(body, n);
  return { via: ["A", "C"], event: one, json: formatMeshEvent(one) };
}

function decodeAll(frames: readonly Uint8Array[]): PeerMessage[] {
  const reader = new FrameReader();
  for (const frame of frames) reader.push(frame);
  const messages: PeerMessage[] = [];
  for (let frame = reader.next(); frame; frame = reader.next()) {
    messages.push(decodePeerMessage(frame.kind, frame.payload));
  }
  return messages;
}

function decodeEvents(frame: Uint8Array): readonly RelayedEvent[] {
  const [message] = decodeAll([frame]);
  assert(message.kind === "events");
  return message.events;
}

const MESSAGES: readonly PeerMessage[] = [
  { kind: "hello", generation: 5, known: 0 },
  { kind: "events", events: BODIES.map((body) => relayed(body)) },
  {
    kind: "beat",
    servers: [{
      ...{ id: "A", generation: 5, version: 2, neighbours: ["B"], clients: 3 },
      ...{ draining: true, address: "10.0.0.1:5001" },
    }],
    seen: [{ id: "A", generation: 5, n: 9 }],
    topology: { topology: "ring", version: 1, by: "A" },
  },
  { kind: "ask", origin: ORIGIN },
  { kind: "ask", origin: ORIGIN, after: 7 },
  {
    ...{ kind: "presence", origin: ORIGIN, after: 3, n: 9, messages: 4 },
    users: [{ name: "Dana", since: 1, rooms: ["tea"] }],
    ...{ isFirst: true, isLast: false },
  },
];

for (const message of MESSAGES) {
  Deno.test(`mesh peers: ${message.kind} is read as it was written`, () => {
    assertEquals(decodeAll(encodePeerMessage(message)), [message]);
  });
}

for (const body of BODIES) {
  Deno.test(`mesh peers: event ${JSON.stringify(body)} is read as it was written`, () => {
    assertEquals(readMeshEvent(formatMeshEvent(event(body))), event(body));
  });
}

Deno.test("mesh peers: a relayed message has the fields of a plain relay_msg", () => {
  const { type, from, origin_server, text, timestamp } = JSON.parse(
    formatMeshEvent(event(BODIES[0])),
  );
  assertEquals({ type, from, origin_server, text, timestamp }, {
    ...{ type: "relay_msg", from: "Dana", origin_server: "A" },
    ...{ text: "Hello from A", timestamp: 1_732_199_912 },
  });
});

Deno.test("mesh peers: an event goes on as it came, unknown fields and all", () => {
  const json = `{"mood":"good",${formatMeshEvent(event(BODIES[0])).slice(1)}`;
  const one = { via: ["A"], event: event(BODIES[0]), json };
  const [read] = decodeAll(
    encodePeerMessage({ kind: "events", events: [one] }),
  );
  assertEquals(read, { kind: "events", events: [one] });
});

Deno.test("mesh peers: events that no frame holds become several frames", () => {
  const text = "ö".repeat(8_000);
  const events = Array.from(
    { length: 100 },
    (_, at) => relayed({ kind: "msg", from: "Dana", text }, at + 1),
  );
  const frames = encodePeerMessage({ kind: "events", events });
  assert(frames.length > 1);
  assert(frames.every(({ length }) => length <= FRAME_BYTES_MAX));
  const read = decodeAll(frames).flatMap((message) =>
    message.kind === "events" ? message.events : []
  );
  assertEquals(read, events);
});

Deno.test("mesh peers: a beat of the most servers with the longest ids fits its frames", () => {
  const ids = Array.from(
    { length: MESH_SERVERS_MAX },
    (_, at) => String(at).padStart(64, "x"),
  );
  const servers = ids.map((id) => ({
    ...{ id, generation: GENERATION_MAX, version: GENERATION_MAX },
    ...{ neighbours: ids, clients: 10_000, draining: false },
    address: "y".repeat(300),
  }));
  const frames = encodePeerMessage({
    ...{ kind: "beat", servers },
    seen: ids.map((id) => ({
      ...{ id, generation: GENERATION_MAX, n: Number.MAX_SAFE_INTEGER },
    })),
    topology: { topology: "mesh", version: 0, by: ids[0] },
  });
  assert(frames.every(({ length }) => length <= FRAME_BYTES_MAX));
  const beats = decodeAll(frames);
  assertEquals(
    beats.flatMap((beat) => beat.kind === "beat" ? beat.servers : []).length,
    MESH_SERVERS_MAX,
  );
});

const GOOD = formatMeshEvent(event(BODIES[0]));
const LINE = (via: string, json = GOOD) => `${via} ${json}\n`;
const WITH = (fields: object) =>
  LINE("A", JSON.stringify({ ...JSON.parse(GOOD), ...fields }));

const BAD_EVENTS: Record<string, string> = {
  "no line": "",
  "a line without an end": LINE("A").trimEnd(),
  "no way": LINE(""),
  "a way without names": LINE("A,,B"),
  "too long a way": LINE(
    Array.from({ length: HOPS_MAX + 1 }, (_, at) => `s${at}`).join(","),
  ),
  "no JSON": LINE("A", "{"),
  "no object": LINE("A", "null"),
  "an unknown type": WITH({ type: "relay_song" }),
  "no number": WITH({ n: 0 }),
  "a number that is none": WITH({ n: 1.5 }),
  "more messages than events": WITH({ n: 1, messages: 2 }),
  "a generation above the highest": WITH({ generation: GENERATION_MAX + 1 }),
  "a time before all": WITH({ time: -1 }),
  "an id that is none": WITH({ origin_server: "a b" }),
  "a name that is none": WITH({ from: "a\nb" }),
  "a text with a control character": WITH({ text: "a\u001b[2J" }),
  "a text that is too long": WITH({ text: "x".repeat(16_385) }),
  "a room that is none": WITH({ room: "" }),
  "a path that is none": WITH({
    ...{ type: "relay_traced", trace: 1, of: "B", path: "A" },
  }),
};

for (const [name, lines] of Object.entries(BAD_EVENTS)) {
  Deno.test(`mesh peers: events with ${name} are refused`, () => {
    const payload = new TextEncoder().encode(lines);
    assertThrows(() => decodePeerMessage(FRAME.meshEvents, payload), WireError);
  });
}

Deno.test("mesh peers: bytes that are not UTF-8 are refused", () => {
  const payload = new TextEncoder().encode(LINE("A"));
  payload[20] = 0xff;
  const error = assertThrows(
    () => decodePeerMessage(FRAME.meshEvents, payload),
    WireError,
  );
  assertEquals(error.code, "invalid-utf8");
});

Deno.test("mesh peers: what is taken can be passed on, however long it is", () => {
  const via = Array.from({ length: HOPS_MAX }, () => "A".repeat(64));
  // The text as long as its JSON can be, and a field that nobody knows.
  const body = { kind: "msg", from: "Dana", text: "x" } as const;
  const text = '"'.repeat(MESH_TEXT_BYTES_MAX);
  const longest = formatMeshEvent(event({ ...body, text }));
  const padding = (json: string) =>
    `${json.slice(0, -1)},"more":"${
      "\u20ac".repeat(EVENT_CHARACTERS_MAX - json.length - 10)
    }"}`;
  for (const json of [longest, padding(longest), padding(relayed(body).json)]) {
    const one = { via: via.slice(1), event: event(body), json };
    for (const frame of encodePeerMessage({ kind: "events", events: [one] })) {
      const [{ json }] = decodeEvents(frame);
      const onward = { ...one, via, json };
      encodePeerMessage({ kind: "events", events: [onward] });
    }
  }
  const tooLong = padding(longest).replace('"more"', '"more2"');
  assertEquals(
    assertThrows(() => readMeshEvent(tooLong), WireError).code,
    "too-large",
  );
});

Deno.test("mesh peers: every cut and every strange kind of frame is refused", () => {
  for (const message of MESSAGES) {
    const [frame] = encodePeerMessage(message);
    const payload = frame.subarray(5);
    for (let end = 0; end < payload.length; end++) {
      if (message.kind === "events" && payload[end - 1] === 0x0a) continue;
      assertThrows(
        () => decodePeerMessage(frame[4], payload.subarray(0, end)),
        WireError,
      );
    }
  }
  assertThrows(() => decodePeerMessage(FRAME.chainAck, new Uint8Array(8)));
});

Deno.test("mesh peers: fields of other kinds and beyond bounds are refused", () => {
  const bad: readonly (readonly [number, unknown])[] = [
    [FRAME.meshHello, { generation: -1, known: 0 }],
    [FRAME.meshHello, { generation: 1 }],
    [FRAME.meshHello, { generation: GENERATION_MAX + 1, known: 0 }],
    [FRAME.meshAsk, { origin: { id: "A B", generation: 1 } }],
    [FRAME.meshAsk, { origin: ORIGIN, after: -1 }],
    [FRAME.meshBeat, { servers: [], seen: [] }],
    [FRAME.meshBeat, {
      ...{ servers: [], seen: [] },
      topology: { topology: "cube", version: 0, by: "A" },
    }],
    [FRAME.meshBeat, {
      servers: [],
      seen: Array.from({ length: MESH_SERVERS_MAX + 1 }, () => ({
        ...{ id: "A", generation: 1, n: 1 },
      })),
      topology: { topology: "mesh", version: 0, by: "A" },
    }],
    [FRAME.meshPresence, {
      ...{ origin: ORIGIN, n: 1, messages: 1, isFirst: true, isLast: true },
      users: [{ name: "Da na", since: 1, rooms: [] }],
    }],
    [FRAME.meshPresence, {
      ...{ origin: ORIGIN, n: 1, messages: 1, isFirst: true, isLast: true },
      users: [{ name: "Dana", since: 1, rooms: Array(33).fill("tea") }],
    }],
  ];
  for (const [kind, value] of bad) {
    const payload = new TextEncoder().encode(JSON.stringify(value));
    assertThrows(() => decodePeerMessage(kind, payload), WireError);
  }
});
