import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  checkNewPassword,
  checkText,
  PASSWORD_BYTES_MAX,
  readRequest,
  readUserName,
  RequestError,
  TEXT_BYTES_MAX,
} from "../../protocol/chat.ts";
import {
  formatError,
  formatListed,
  formatMessage,
  formatNotice,
  formatOk,
  formatSent,
  readAnswer,
  readMessage,
} from "../../protocol/chat_answers.ts";
import { type WireCode, WireError } from "../../protocol/errors.ts";
import { COMMAND_BYTES_MAX } from "../../protocol/replica.ts";

const SESSION = "00c0ffee00c0ffee";
const SECRET = "000102030405060708090a0b0c0d0e0f";

/** A request that leaves out what is not said. */
function read(line: string): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(readRequest(line)).filter(([, value]) =>
      value !== undefined
    ),
  );
}

function refused(line: string, code: WireCode): RequestError {
  try {
    readRequest(line);
  } catch (error) {
    assert(error instanceof RequestError, `${error}`);
    assertEquals(error.code, code, line.slice(0, 200));
    return error;
  }
  throw new Error(`Not refused: ${line.slice(0, 200)}`);
}

Deno.test("chat: every type of request is read as it is", () => {
  const requests: readonly Record<string, unknown>[] = [
    { type: "register", user: "ann", password: "12345678" },
    { type: "login", user: "ann", password: "x", seen: 7, id: 0 },
    { type: "resume", session: SESSION, secret: SECRET, seen: 0, id: "" },
    { type: "logout", seq: 1 },
    { type: "send", to: "bob", text: "hi\n\tthere", seq: 3, id: "a\u2028" },
    { type: "list" },
    {
      type: "list",
      after: 1,
      before: 9,
      limit: 200,
      unread: true,
      linearizable: false,
      seen: 3,
    },
    { type: "mark_read", upto: 0 },
    { type: "delete_account", password: "x", id: Number.MAX_SAFE_INTEGER },
    { type: "status" },
    { type: "watch", id: 1 },
    { type: "leave" },
    { type: "leave", nonce: SECRET, proof: SECRET + SECRET },
    { type: "ping" },
    { type: "help" },
  ];
  for (const request of requests) {
    assertEquals(read(JSON.stringify(request)), request);
    const more = JSON.stringify({ ...request, later: { field: [1] } });
    assertEquals(read(`${more}\r`), request);
  }
});

Deno.test("chat: what is no request is refused, and says which it was where that can be read", () => {
  const table: readonly (readonly [string, WireCode, unknown?])[] = [
    ["", "invalid-message"],
    ["hello", "invalid-message"],
    ["[]", "invalid-message"],
    ["null", "invalid-message"],
    ['"send"', "invalid-message"],
    ["{}", "invalid-message"],
    ['{"type":"fly","id":3}', "invalid-message", 3],
    ['{"type":5,"id":"x"}', "invalid-message", "x"],
    ['{"type":"toString"}', "invalid-message"],
    ['{"type":"__proto__"}', "invalid-message"],
    ['{"type":"ping","id":-1}', "invalid-message"],
    ['{"type":"ping","id":1.5}', "invalid-message"],
    ['{"type":"ping","id":null}', "invalid-message"],
    ['{"type":"ping","id":{}}', "invalid-message"],
    [`{"type":"ping","id":"${"x".repeat(65)}"}`, "invalid-message"],
    ['{"type":"ping","id":"\\ud800"}', "invalid-message"],
    ['{"type":"send","id":1,"text":"x"}', "invalid-message", 1],
    ['{"type":"send","id":1,"to":"bob"}', "invalid-message", 1],
    ['{"type":"send","id":1,"to":7,"text":"x"}', "invalid-message", 1],
    ['{"type":"send","id":1,"to":"bob","text":["x"]}', "invalid-message", 1],
    ['{"type":"send","to":"bob","text":""}', "invalid-message"],
    ['{"type":"send","to":"bob","text":"x","seq":0}', "invalid-message"],
    ['{"type":"send","to":"bob","text":"x","seq":"1"}', "invalid-message"],
    ['{"type":"send","to":"","text":"x"}', "invalid-name"],
    ['{"type":"send","to":"bob","text":"\\u0000"}', "nul-byte"],
    ['{"type":"send","to":"bob","text":"\\u001b[2J"}', "control-character"],
    ['{"type":"send","to":"bob","text":"\\u009b2J"}', "control-character"],
    ['{"type":"send","to":"bob","text":"\\udc00"}', "invalid-utf8"],
    ['{"type":"login","user":"ann"}', "invalid-message"],
    ['{"type":"leave","nonce":"00"}', "invalid-message"],
    [`{"type":"leave","proof":"${"F".repeat(64)}"}`, "invalid-message"],
    ['{"type":"login","password":"x"}', "invalid-message"],
    ['{"type":"register","user":"a b","password":"12345678"}', "invalid-name"],
    [
      '{"type":"register","user":"ann","password":"1234567"}',
      "invalid-password",
    ],
    ['{"type":"list","limit":0}', "invalid-message"],
    ['{"type":"list","limit":201}', "invalid-message"],
    ['{"type":"list","after":"1"}', "invalid-message"],
    ['{"type":"list","unread":1}', "invalid-message"],
    ['{"type":"mark_read"}', "invalid-message"],
    ['{"type":"mark_read","upto":1e300}', "invalid-message"],
    [
      `{"type":"resume","session":"${SESSION}","secret":"x"}`,
      "invalid-message",
    ],
    [
      `{"type":"resume","session":"..","secret":"${SECRET}"}`,
      "invalid-message",
    ],
  ];
  for (const [line, code, id] of table) {
    assertEquals(refused(line, code).id, id, line);
  }
});

Deno.test("chat: a short password is refused with its length, in whole words", () => {
  for (
    const [password, length] of [["x", "1 character"], ["xx", "2 characters"]]
  ) {
    assertThrows(
      () => checkNewPassword(password),
      WireError,
      `Cannot take a password of ${length}: wanted 8 or more`,
    );
  }
});

Deno.test("chat: deep nesting, huge numbers and long passwords are refused like anything else", () => {
  const deep = "[".repeat(60_000) + "]".repeat(60_000);
  refused(deep, "invalid-message");
  refused(`{"type":"send","to":"bob","text":${deep}}`, "invalid-message");
  refused(`{"a":${"[".repeat(100_000)}`, "invalid-message");
  const password = "x".repeat(PASSWORD_BYTES_MAX + 1);
  const login = JSON.stringify({ type: "login", user: "ann", password });
  const error = refused(login, "invalid-password");
  assert(!error.message.includes("xxx"));
});

Deno.test("chat: an error never repeats a password", () => {
  const secret = "hunter2";
  for (
    const request of [
      { type: "register", user: "ann", password: secret },
      { type: "login", user: "ann", password: { secret } },
      { type: "delete_account", password: [secret] },
      { type: "register", user: 5, password: secret },
    ]
  ) {
    try {
      readRequest(JSON.stringify(request));
    } catch (error) {
      assert(error instanceof RequestError);
      assert(!error.message.includes(secret), error.message);
    }
  }
});

Deno.test("chat: names of any script, in one form", () => {
  for (
    const name of ["a", "Ann_2", "7of9", "a.b-c", "zoë", "김", "x".repeat(64)]
  ) {
    assertEquals(readUserName(name), name);
  }
  assertEquals(readUserName("zoe\u0308"), "zoë");
  for (
    const name of [
      ...["", " ", "a b", ".a", "-a", "_a", "a\n", "a\u0000", "a/b", "@a"],
      ..."😀 a\u202eb \ud800 x\u200by".split(" "),
      ...["x".repeat(65), "x".repeat(1_000_000)],
    ]
  ) {
    const error = assertThrows(() => readUserName(name), WireError);
    assertEquals(error.code, "invalid-name");
    assert(error.message.length < 300);
  }
});

Deno.test("chat: a text of the largest size fits a command, one byte more is too large", () => {
  const fits = (text: string) => {
    checkText(text);
    const command = {
      kind: "send",
      session: SESSION,
      sequence: Number.MAX_SAFE_INTEGER,
      time: Number.MAX_SAFE_INTEGER,
      to: "\u{10ffff}".repeat(64),
      text,
    };
    const bytes = new TextEncoder().encode(JSON.stringify(command)).length;
    assert(bytes <= COMMAND_BYTES_MAX, `${bytes} bytes`);
  };
  fits("x".repeat(TEXT_BYTES_MAX));
  fits("é".repeat(TEXT_BYTES_MAX / 2));
  fits("\n".repeat(65_023));
  for (
    const text of [
      "x".repeat(TEXT_BYTES_MAX + 1),
      "é".repeat(TEXT_BYTES_MAX / 2) + "x",
      "\u{1f600}".repeat(TEXT_BYTES_MAX / 4) + "x",
      "\n".repeat(65_024),
      '"'.repeat(TEXT_BYTES_MAX),
    ]
  ) {
    const error = assertThrows(() => checkText(text), WireError);
    assertEquals(error.code, "too-large");
  }
});

Deno.test("chat: whatever a line holds, it is read or refused, never worse", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
    try {
      readRequest(line);
    } catch (error) {
      assert(error instanceof RequestError, `${error}`);
    }
  }));
  const field = fc.constantFrom(
    ...["type", "id", "to", "text", "seq", "user", "password", "upto", "after"],
  );
  const type = fc.constantFrom("send", "list", "login", "mark_read", "ping");
  fc.assert(fc.property(
    fc.dictionary(field, fc.jsonValue()),
    type,
    (fields, type) => {
      try {
        readRequest(JSON.stringify({ ...fields, type }));
      } catch (error) {
        assert(error instanceof RequestError, `${error}`);
      }
    },
  ));
});

Deno.test("chat: what a server says, a client reads", () => {
  const message = {
    n: 7,
    from: "ann",
    to: "zoë",
    text: 'a"\\\n\u2028\u{1f600}',
    time: 1_763_600_000_000,
  };
  const lines: readonly (readonly [string, unknown])[] = [
    [formatOk(undefined), { type: "ok", id: undefined, fields: {} }],
    [formatOk(0, { index: 3 }), { type: "ok", id: 0, fields: { index: 3 } }],
    [formatOk('a"b'), { type: "ok", id: 'a"b', fields: {} }],
    [
      formatSent("x", { seq: 1, n: 9 }),
      { type: "ok", id: "x", fields: { seq: 1, n: 9 } },
    ],
    [formatMessage(message), { type: "message", ...message }],
    [
      formatNotice("missed", "list", { index: 1 }),
      { type: "notice", code: "missed", text: "list" },
    ],
    [
      formatError(new WireError("busy", "later"), { id: 2, retryMs: 50 }),
      {
        type: "error",
        id: 2,
        code: "busy",
        text: "later",
        outcome: "definite",
        retryMs: 50,
      },
    ],
    [
      formatError(new WireError("key-required", "prove"), {
        id: 3,
        challenge: { node: "a", incarnation: SESSION, nonce: SECRET },
      }),
      {
        type: "error",
        id: 3,
        code: "key-required",
        text: "prove",
        outcome: "definite",
        retryMs: undefined,
        challenge: { node: "a", incarnation: SESSION, nonce: SECRET },
      },
    ],
    [
      formatError(new WireError("sequence-gap", "gap"), {
        outcome: "indefinite",
      }),
      {
        type: "error",
        id: undefined,
        code: "sequence-gap",
        text: "gap",
        outcome: "indefinite",
        retryMs: undefined,
      },
    ],
  ];
  for (const [line, answer] of lines) {
    assert(line.endsWith("\n") && !line.slice(0, -1).includes("\n"), line);
    assertEquals(readAnswer(line), answer);
  }
  assertEquals(readMessage(JSON.parse(formatListed(message))), message);
});

Deno.test("chat: a client ignores what is newer and refuses what is broken", () => {
  assertEquals(readAnswer('{"type":"typing","from":"ann"}'), undefined);
  const later = readAnswer('{"type":"error","code":"later","text":"x"}');
  assert(later?.type === "error");
  assertEquals([later.code, later.outcome], ["invalid-message", "indefinite"]);
  for (
    const line of [
      ...["", "hello", "[]", "null", "{}", '{"type":"notice"}'],
      '{"type":"message","n":"1","from":"a","to":"b","text":"c","time":0}',
      '{"type":"message","n":1,"from":"a","to":"b","text":"c"}',
    ]
  ) assertThrows(() => readAnswer(line), WireError);
});
