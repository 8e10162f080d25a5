import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../protocol/chat.ts";
import type { WireCode } from "../../protocol/errors.ts";
import {
  HISTORY_LIMIT_MAX,
  MESH_TEXT_BYTES_MAX,
  type MeshRequest,
} from "../../protocol/mesh.ts";
import {
  MESH_REQUEST_TYPES,
  MeshRequestError,
  readMeshRequest,
} from "../../protocol/mesh_requests.ts";

/** What was read, without the fields that are not there. */
function read(line: string): unknown {
  return JSON.parse(JSON.stringify(readMeshRequest(line)));
}

const TAKEN: readonly Record<string, unknown>[] = [
  { type: "login", username: "Dana" },
  { type: "login", username: "Zoë-7", more: true, id: 0 },
  { type: "msg", text: "Hello everyone!" },
  { type: "msg", text: "a\tb\nc", room: "tea", local: true, id: "x" },
  { type: "msg", text: "é".repeat(MESH_TEXT_BYTES_MAX / 2) },
  { type: "dm", to: "Ahmad", text: "psst" },
  { type: "join", room: "r".repeat(64) },
  { type: "leave", room: "чай_1.2-3" },
  { type: "who" },
  { type: "who", room: "tea" },
  { type: "rooms" },
  { type: "history" },
  { type: "history", room: "tea", limit: HISTORY_LIMIT_MAX, before: 0 },
  { type: "topology" },
  { type: "topology", topology: "ring" },
  { type: "trace", id: 9 },
  { type: "status" },
  { type: "drain" },
  { type: "drain", undo: true },
  { type: "ping" },
  { type: "help" },
  { type: "quit" },
  {
    type: "relay_msg",
    from: "Dana",
    origin_server: "A",
    text: "Hello from A",
    timestamp: 1732199912,
  },
];

Deno.test("mesh requests: each is read as it was written, unknown fields are ignored", () => {
  for (const request of TAKEN) {
    assertEquals(read(JSON.stringify(request)), request);
    assertEquals(
      read(JSON.stringify({ ...request, unknown: { a: [1] } })),
      request,
    );
  }
  const types = new Set(TAKEN.map(({ type }) => type));
  assertEquals(types, new Set<unknown>(MESH_REQUEST_TYPES));
});

Deno.test("mesh requests: names are kept in one form", () => {
  const login = readMeshRequest('{"type":"login","username":"Zoe\u0308"}');
  assertEquals(login, {
    ...{ type: "login", id: undefined, more: undefined },
    username: "Zoë",
  });
  const join = readMeshRequest('{"type":"join","room":"cafe\u0301"}');
  assertEquals(join, { type: "join", id: undefined, room: "café" });
});

const REFUSED: readonly (readonly [string, WireCode, RegExp])[] = [
  ["", "invalid-message", /not JSON/],
  ["hello", "invalid-message", /not JSON; try/],
  ["\ufeff{}", "invalid-message", /byte order mark/],
  ["[]", "invalid-message", /not a JSON object/],
  ["null", "invalid-message", /not a JSON object/],
  ["{}", "invalid-message", /"type" is missing, wanted one of login, msg/],
  ['{"type":"shout"}', "invalid-message", /"type" is "shout"/],
  ['{"type":"__proto__"}', "invalid-message", /"type" is "__proto__"/],
  [`{"type":"${"x".repeat(99)}"}`, "invalid-message", /99 characters/],
  ['{"type":7}', "invalid-message", /is no text/],
  ['{"type":"ping","id":-1}', "invalid-message", /"id"/],
  ['{"type":"ping","id":{}}', "invalid-message", /"id"/],
  [`{"type":"ping","id":"${"i".repeat(65)}"}`, "invalid-message", /"id"/],
  ['{"type":"login"}', "invalid-message", /login request/],
  ['{"type":"login","username":7}', "invalid-message", /"username"/],
  ['{"type":"login","username":""}', "invalid-name", /0 characters/],
  ['{"type":"login","username":"a b"}', "invalid-name", /3 characters/],
  ['{"type":"login","username":"a\\u0007"}', "invalid-name", /2 characters/],
  ['{"type":"login","username":"a\\u202eb"}', "invalid-name", /characters/],
  ['{"type":"login","username":"\\u001b[2J"}', "invalid-name", /characters/],
  [
    `{"type":"login","username":"${"n".repeat(10_000)}"}`,
    "invalid-name",
    /10000 characters/,
  ],
  ['{"type":"login","username":"a","more":1}', "invalid-message", /"more"/],
  ['{"type":"msg"}', "invalid-message", /"text" must be a text/],
  ['{"type":"msg","text":""}', "invalid-message", /empty/],
  ['{"type":"msg","text":"a\\u0000"}', "nul-byte", /NUL/],
  ['{"type":"msg","text":"\\u001b[2J"}', "control-character", /U\+001B/],
  ['{"type":"msg","text":"a\\rb"}', "control-character", /2 .* U\+000D/],
  ['{"type":"msg","text":"\\u009b1m"}', "control-character", /U\+009B/],
  ['{"type":"msg","text":"\\ud800"}', "invalid-utf8", /surrogate/],
  [
    `{"type":"msg","text":"${"x".repeat(MESH_TEXT_BYTES_MAX + 1)}"}`,
    "too-large",
    /16385 bytes, limit is 16384/,
  ],
  ['{"type":"msg","text":"a","room":""}', "invalid-name", /0 characters/],
  ['{"type":"msg","text":"a","room":7}', "invalid-message", /"room"/],
  ['{"type":"msg","text":"a","local":"no"}', "invalid-message", /"local"/],
  ['{"type":"dm","text":"a"}', "invalid-message", /dm request/],
  ['{"type":"dm","to":"a b","text":"a"}', "invalid-name", /3 characters/],
  ['{"type":"join","room":"#tea"}', "invalid-name", /4 characters/],
  [`{"type":"join","room":"${"r".repeat(65)}"}`, "invalid-name", /1 to 64/],
  ['{"type":"history","limit":0}', "invalid-message", /"limit"/],
  ['{"type":"history","limit":201}', "invalid-message", /"limit"/],
  ['{"type":"history","limit":1.5}', "invalid-message", /"limit"/],
  ['{"type":"history","before":-1}', "invalid-message", /"before"/],
  ['{"type":"topology","topology":"cube"}', "invalid-message", /mesh, ring/],
  ['{"type":"drain","undo":1}', "invalid-message", /"undo"/],
  ['{"type":"relay_msg","from":"a"}', "invalid-message", /relay_msg/],
  [
    '{"type":"relay_msg","from":"a","origin_server":"A\\n","text":"x","timestamp":1}',
    "invalid-message",
    /"origin_server"/,
  ],
  [
    '{"type":"relay_msg","from":"a","origin_server":"A","text":"x","timestamp":"now"}',
    "invalid-message",
    /"timestamp"/,
  ],
];

for (const [line, code, why] of REFUSED) {
  Deno.test(`mesh requests: refused: ${line.slice(0, 60)}`, () => {
    const error = assertThrows(() => readMeshRequest(line), RequestError);
    assertEquals(error.code, code);
    assert(why.test(error.message), error.message);
    assert(error.message.length <= 1_024);
  });
}

Deno.test("mesh requests: an error knows the id, and whether a bare answer is wanted", () => {
  const of = (line: string) =>
    assertThrows(() => readMeshRequest(line), MeshRequestError);
  const plain = of('{"type":"login","username":" ","id":5}');
  assertEquals([plain.id, plain.loginMore], [5, false]);
  const more = of('{"type":"login","username":" ","more":true}');
  assertEquals([more.id, more.loginMore], [undefined, true]);
  assertEquals(of('{"type":"msg","id":"m"}').loginMore, undefined);
});

Deno.test("mesh requests: any change of any field is read or refused, and says why", () => {
  const anyValue = fc.oneof(fc.jsonValue(), fc.string({ unit: "binary" }));
  fc.assert(
    fc.property(
      fc.constantFrom(...TAKEN),
      fc.string(),
      anyValue,
      (request, name, value) => {
        const keys = Object.keys(request);
        const key = keys[name.length % keys.length];
        const line = JSON.stringify({ ...request, [key]: value });
        let taken: MeshRequest;
        try {
          taken = readMeshRequest(line);
        } catch (error) {
          assert(error instanceof RequestError, String(error));
          return;
        }
        assert(MESH_REQUEST_TYPES.includes(taken.type));
        // What was taken can be said again.
        assertEquals(
          read(JSON.stringify(taken)),
          JSON.parse(JSON.stringify(taken)),
        );
      },
    ),
    { numRuns: 2_000 },
  );
});

Deno.test("mesh requests: no bytes whatever do more than be refused", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: "binary" }), fc.json()),
      (line) => {
        try {
          readMeshRequest(line);
        } catch (error) {
          assert(error instanceof RequestError, String(error));
        }
      },
    ),
    { numRuns: 2_000 },
  );
});
