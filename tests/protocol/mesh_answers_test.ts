import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { WireError } from "../../protocol/errors.ts";
import {
  formatMore,
  formatPlain,
  readMeshAnswer,
} from "../../protocol/mesh_answers.ts";
import type { MeshMessage, ToClient } from "../../protocol/mesh.ts";

const HELLO: MeshMessage = {
  ...{ type: "msg", from: "Dana", server: "A", text: "Hello everyone!" },
  ...{ time: 1732199912000, n: 17 },
};

/** What is said, to whom it is said in bare form, and with all fields. */
const SAID: readonly (readonly [ToClient, string | undefined, string])[] = [
  [
    {
      ...{ type: "system", text: "Welcome Dana to Server A" },
      notice: { code: "welcome", name: "Dana", server: "A" },
    },
    '{"type":"system","text":"Welcome Dana to Server A"}',
    '{"type":"system","text":"Welcome Dana to Server A","code":"welcome","name":"Dana","server":"A"}',
  ],
  [
    HELLO,
    '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!"}',
    '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!","time":1732199912000,"n":17}',
  ],
  [
    { ...HELLO, room: "tea", local: true },
    '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!","room":"tea"}',
    '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!","time":1732199912000,"n":17,"room":"tea","local":true}',
  ],
  [
    { type: "error", text: "username taken", code: "name-taken" },
    '{"type":"error","text":"username taken"}',
    '{"type":"error","text":"username taken","code":"name-taken"}',
  ],
  [
    { type: "error", text: "username taken", code: "name-taken", id: "a" },
    '{"type":"error","text":"username taken","code":"name-taken","id":"a"}',
    '{"type":"error","text":"username taken","code":"name-taken","id":"a"}',
  ],
  [
    { type: "ok", id: 3, n: 17 },
    '{"type":"ok","id":3,"n":17}',
    '{"type":"ok","id":3,"n":17}',
  ],
  [
    { type: "presence", event: "login", name: "Dana", server: "A" },
    undefined,
    '{"type":"presence","event":"login","name":"Dana","server":"A"}',
  ],
  [
    { type: "server", event: "up", server: "B" },
    undefined,
    '{"type":"server","event":"up","server":"B"}',
  ],
  [
    { type: "pong", id: undefined },
    '{"type":"pong"}',
    '{"type":"pong"}',
  ],
];

Deno.test("mesh answers: bare and with all fields, byte for byte", () => {
  for (const [message, plain, more] of SAID) {
    assertEquals(formatPlain(message), plain);
    assertEquals(formatMore(message), more);
  }
});

const ALL: readonly ToClient[] = [
  ...SAID.map(([message]) => message),
  {
    ...{ type: "system", text: "Another Dana …" },
    notice: { code: "renamed", name: "Dana-B", was: "Dana" },
    id: 4,
  },
  {
    ...{ type: "system", text: "7 messages from Server B were missed" },
    notice: { code: "missed", server: "B", count: 7 },
  },
  {
    ...{ type: "system", text: "Go" },
    notice: { code: "move", to: ["h:1", "h:2"] },
  },
  {
    ...{ type: "system", text: "In" },
    notice: { code: "joined", room: "tea" },
  },
  { type: "system", text: "Wait", notice: { code: "waiting" } },
  { type: "system", text: "Nothing else" },
  {
    ...{ type: "dm", from: "Dana", server: "A", to: "Ahmad", text: "psst" },
    ...{ time: 5, n: 2 },
  },
  {
    ...{ type: "presence", event: "rename", name: "Dana-B", was: "Dana" },
    server: "B",
  },
  {
    ...{ type: "who", id: 1, room: "tea", total: 1 },
    users: [{ name: "Dana", server: "A", since: 12 }],
  },
  { type: "rooms", rooms: [{ room: "tea", users: 2 }], total: 1 },
  {
    ...{ type: "history", id: "h", more: true },
    messages: [{
      ...{ seq: 4, time: "2026-11-21T00:00:00.000Z", server: "A" },
      ...{ from: "Dana", text: "Hello", room: "tea" },
    }],
  },
  {
    ...{ type: "status", id: 2, service: "mesh", server: "A", cluster: "c" },
    ...{ clients: 1, draining: false, topology: "star" },
    servers: [
      { id: "A", up: true, clients: 1, draining: false, address: "h:1" },
      { id: "B", up: false, clients: 0, draining: true },
    ],
  },
  {
    ...{ type: "topology", topology: "ring", by: "A" },
    edges: [["A", "B"], ["B", "C"]],
  },
  {
    ...{ type: "trace", topology: "bus", missing: ["C"] },
    reports: [{ server: "B", path: ["A", "B"], ms: 0.5 }],
  },
  { type: "help", text: "lines" },
];

function bare(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

Deno.test("mesh answers: a client reads what a server says", () => {
  for (const message of ALL) {
    const line = formatMore(message);
    assert(!line.includes("\n"));
    assertEquals(bare(readMeshAnswer(line)), bare(message), line);
  }
});

Deno.test("mesh answers: a bare message is read too", () => {
  assertEquals(readMeshAnswer(SAID[1][1] ?? ""), { ...HELLO, time: 0, n: 0 });
  assertEquals(
    bare(readMeshAnswer('{"type":"error","text":"username taken"}')),
    { type: "error", text: "username taken", code: "invalid-message" },
  );
});

Deno.test("mesh answers: an unknown type or notice is nothing to stumble over", () => {
  assertEquals(readMeshAnswer('{"type":"later","x":1}'), undefined);
  const later = readMeshAnswer('{"type":"system","text":"T","code":"later"}');
  assertEquals(bare(later), { type: "system", text: "T" });
});

Deno.test("mesh answers: what is none is refused", () => {
  for (
    const line of [
      ...["", "ok 1", "null", "7", "{}", '{"type":1}', '{"type":"ok"}'],
      ...['{"type":"msg"}', '{"type":"who","users":{},"total":1}'],
      '{"type":"status","service":"chat","server":"A"}',
      '{"type":"topology","topology":"mesh","edges":[["A"]]}',
    ]
  ) {
    const error = assertThrows(() => readMeshAnswer(line), WireError);
    assertEquals(error.code, "invalid-message");
  }
});

Deno.test("mesh answers: no text and no name can end a line, or begin another field", () => {
  const anyText = fc.string({ unit: "binary" });
  fc.assert(
    fc.property(anyText, anyText, anyText, (from, text, room) => {
      const message: ToClient = { ...HELLO, from, text, room };
      for (const line of [formatPlain(message), formatMore(message)]) {
        assert(line !== undefined && !line.includes("\n"));
        const { from: f, text: t, room: r } = JSON.parse(line);
        assertEquals([f, t, r], [from, text, room]);
      }
      const error: ToClient = { type: "error", text, code: "busy" };
      assert(!formatMore(error).includes("\n"));
    }),
  );
});

Deno.test("mesh answers: any change of any field is read, ignored or refused", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...ALL),
      fc.nat(),
      fc.jsonValue(),
      (message, which, value) => {
        const fields: Record<string, unknown> = JSON.parse(formatMore(message));
        const keys = Object.keys(fields);
        fields[keys[which % keys.length]] = value;
        try {
          readMeshAnswer(JSON.stringify(fields));
        } catch (error) {
          assert(error instanceof WireError, String(error));
        }
      },
    ),
    { numRuns: 2_000 },
  );
});
