import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { ChatBystander, PASSWORD } from "./chat_bystander.ts";
import { RawClient, type Said } from "./raw_client.ts";

/** An answer to one line: "ok", or a code and what its text says. */
type Wanted = "ok" | readonly [code: string, text: RegExp];

interface Case {
  readonly what: string;
  readonly send: readonly (string | Uint8Array)[];
  readonly wanted: readonly Wanted[];
}

const PING = '{"type":"ping"}';
const json = (value: unknown) => `${JSON.stringify(value)}\n`;
const bytes = (...values: number[]) => Uint8Array.of(...values);

/** A line that is answered shows that what came before it did no harm. */
const withPing = (
  what: string,
  line: string | Uint8Array,
  wanted: Wanted,
): Case => ({
  what,
  send: [line, "\n", PING, "\n"],
  wanted: [wanted, "ok"],
});

/** Before a login. */
const STRANGERS: readonly Case[] = [
  withPing("no JSON", "hello", ["invalid-message", /not JSON/]),
  withPing("half an object", '{"type":"ping"', ["invalid-message", /JSON/]),
  withPing("single quotes", "{'type':'ping'}", ["invalid-message", /JSON/]),
  withPing("two objects in a line", `${PING}${PING}`, [
    "invalid-message",
    /not JSON/,
  ]),
  withPing("a list", "[]", ["invalid-message", /not a JSON object/]),
  withPing("null", "null", ["invalid-message", /not a JSON object/]),
  withPing("a number", "7", ["invalid-message", /not a JSON object/]),
  withPing("no type", "{}", ["invalid-message", /"type" is missing/]),
  withPing("an unknown type", '{"type":"fly"}', [
    "invalid-message",
    /"type" is "fly", wanted one of register, login, /,
  ]),
  withPing("a type of another type", '{"type":{}}', [
    "invalid-message",
    /"type" is no text/,
  ]),
  withPing(
    "a type that objects have",
    '{"type":"constructor","__proto__":{"type":"ping"}}',
    ["invalid-message", /"type" is "constructor"/],
  ),
  withPing("an id of a wrong type", '{"type":"ping","id":[1]}', [
    "invalid-message",
    /"id" is neither/,
  ]),
  withPing(
    "a login without a password",
    '{"type":"login","user":"x"}',
    ["invalid-message", /password/],
  ),
  withPing(
    "a user that is a number",
    '{"type":"login","user":5,"password":"x"}',
    ["invalid-message", /"user" must be string/],
  ),
  withPing(
    "a session that is none",
    json({ type: "resume", session: "../../etc", secret: "x" }).trim(),
    ["invalid-message", /"session"/],
  ),
  withPing("a byte order mark", `\ufeff${PING}`, [
    "invalid-message",
    /byte order mark/,
  ]),
  withPing("a NUL byte", "\0", ["invalid-message", /not JSON/]),
  withPing("bytes that are not UTF-8", bytes(0xc3, 0x28), [
    "invalid-utf8",
    /not UTF-8/,
  ]),
  withPing(
    "half a surrogate pair as bytes",
    bytes(0x22, 0xed, 0xa0, 0x80, 0x22),
    ["invalid-utf8", /not UTF-8/],
  ),
  withPing("an escape sequence", "\x1b[2J\x1b]0;title\x07", [
    "invalid-message",
    /not JSON/,
  ]),
  withPing("brackets without end", "[".repeat(16_000), [
    "invalid-message",
    /not JSON/,
  ]),
  withPing("brackets that close", "[".repeat(8_000) + "]".repeat(8_000), [
    "invalid-message",
    /not a JSON object/,
  ]),
  {
    what: "a type, escaped",
    send: ['{"type":"\\u0070ing"}\n'],
    wanted: ["ok"],
  },
  {
    what: "empty lines, blanks, CRLF, and no newline at the end",
    send: ["\n\r\n  \n", PING, "\r\n\n", `\t${PING} \r\n`, PING],
    wanted: ["ok", "ok", "ok"],
  },
  {
    // A web page may have made a browser send it: nothing behind it counts.
    what: "an HTTP request",
    send: [`POST / HTTP/1.1\r\nHost: example\r\n\r\n${PING}\n`],
    wanted: [["invalid-message", /JSON/]],
  },
  {
    what: "the first words of TLS",
    send: [tlsHello()],
    wanted: [["invalid-utf8", /not UTF-8/]],
  },
  { what: "nothing", send: [], wanted: [] },
  {
    what: "the longest line, and one byte more",
    send: [
      `${paddedPing(16_384)}\n`,
      `${paddedPing(16_385)}\n`,
      PING,
      "\n",
    ],
    wanted: ["ok", ["too-large", /is 16385 bytes\b.*limit is 16384$/], "ok"],
  },
  {
    what: "a line between the bound and the size of a buffer, at once",
    send: [`${PING}\n${paddedPing(30_000)}\n${PING}\n`],
    wanted: ["ok", ["too-large", /is 30000 bytes\b.*limit is 16384$/], "ok"],
  },
  {
    what: "a password of 10 MB",
    send: [
      json({ type: "login", user: "x", password: PASSWORD.repeat(500_000) }),
      PING,
    ],
    wanted: [["too-large", /is \d+ bytes or more, limit is 16384$/], "ok"],
  },
  {
    what: "a password one byte too long",
    send: [
      json({
        type: "register",
        user: "x",
        password: PASSWORD.padEnd(1_025, "x"),
      }),
      json({ type: "login", user: "x", password: PASSWORD.padEnd(1_025, "x") }),
    ],
    wanted: [
      ["invalid-password", /1025 bytes, limit is 1024$/],
      ["invalid-password", /1025 bytes, limit is 1024$/],
    ],
  },
  {
    what: "lines that are no text, in the order of all lines",
    send: ["x\n", bytes(0xff, 10), "y\n", bytes(0xfe, 10, 0xff), `\n${PING}`],
    wanted: [
      ["invalid-message", /./],
      ["invalid-utf8", /./],
      ["invalid-message", /./],
      ["invalid-utf8", /./],
      ["invalid-utf8", /./],
      "ok",
    ],
  },
];

/** After a login. */
const MEMBERS: readonly Case[] = [
  withPing("brackets, 100,000 deep", "[".repeat(100_000), [
    "invalid-message",
    /not JSON/,
  ]),
  withPing(
    "brackets, 100,000 deep, in a field that is ignored",
    `{"type":"ping","x":${"[".repeat(60_000)}${"]".repeat(60_000)}}`,
    "ok",
  ),
  withPing(
    "objects, 10,000 deep, as text",
    `{"type":"send","to":"x","text":${'{"a":'.repeat(10_000)}1${
      "}".repeat(10_000)
    }}`,
    ["invalid-message", /"text" must be a text/],
  ),
  ...[
    ["a NUL", "\0", "nul-byte", /NUL/],
    ["an escape sequence", "\x1b[2J", "control-character", /U\+001B/],
    [
      "a control sequence of one byte",
      "\x9b2J",
      "control-character",
      /U\+009B/,
    ],
    ["half a surrogate pair", "a\ud800", "invalid-utf8", /surrogate/],
    ["nothing", "", "invalid-message", /empty/],
  ].map(([what, text, code, says]) =>
    withPing(
      `${what} as text`,
      JSON.stringify({ type: "send", to: "bystander-1", text }),
      [String(code), says instanceof RegExp ? says : /./],
    )
  ),
  withPing(
    "no recipient",
    '{"type":"send","text":"x"}',
    ["invalid-message", /"to" must be a text/],
  ),
  {
    what: "a recipient who is nobody",
    send: ['{"type":"send","to":"nobody","text":"x"}\n'],
    wanted: [["no-such-user", /"nobody"/]],
  },
  withPing(
    "a name that forges a line",
    JSON.stringify({ type: "send", to: 'x\n{"FORGED":1}', text: "x" }),
    ["invalid-name", /14 characters: wanted 1 to 64/],
  ),
  ...[0, -1, 1.5, 2 ** 53, 1e300, "1", null, true].map((seq) =>
    withPing(
      `the sequence ${seq}`,
      JSON.stringify({ type: "send", to: "bystander-1", text: "x", seq }),
      ["invalid-message", /"seq" .*whole number from 1 to 2\^53 - 1/],
    )
  ),
  ...[
    [{ limit: 0 }, /"limit" .* 1\b/],
    [{ limit: 201 }, /"limit" .* 200$/],
    [{ after: -1 }, /"after"/],
    [{ before: 2 ** 53 }, /"before"/],
    [{ unread: 1 }, /"unread"/],
    [{ seen: 0.5 }, /"seen"/],
  ].map(([fields, says]) =>
    withPing(
      `a list with ${JSON.stringify(fields)}`,
      JSON.stringify({ type: "list", ...fields }),
      ["invalid-message", says instanceof RegExp ? says : /./],
    )
  ),
  withPing(
    "a list beyond the end",
    `{"type":"list","after":${2 ** 53 - 1},"before":0}`,
    "ok",
  ),
  withPing(
    "a mark far ahead",
    `{"type":"mark_read","upto":${2 ** 53 - 1}}`,
    "ok",
  ),
  withPing(
    "a second login",
    JSON.stringify({ type: "login", user: "x", password: PASSWORD }),
    ["logged-in", /log out first/],
  ),
  withPing(
    "another user's password for a deletion",
    JSON.stringify({ type: "delete_account", password: `${PASSWORD}?` }),
    ["wrong-password", /nothing was deleted/],
  ),
  {
    what: "the longest line, and one byte more",
    send: [`${paddedPing(131_072)}\n${paddedPing(131_073)}\n${PING}\n`],
    wanted: ["ok", ["too-large", /is 131073 bytes\b.*limit is 131072$/], "ok"],
  },
];

Deno.test("chat bad input: lines that are refused say why, and harm nobody", async (t) => {
  await using chat = await ChatBystander.start({ witnesses: 0 });
  const { servers: [a, , c] } = chat.fleet;
  for (const { what, send, wanted } of STRANGERS) {
    await t.step(`before a login: ${what}`, async () => {
      await using client = await RawClient.connect(a.clients);
      await client.write(...send);
      await client.closeWrite();
      assertAnswers(await client.toEnd(), wanted);
      await chat.more(1);
    });
  }
  const account = { user: "mallory", password: PASSWORD };
  for (const [at, { what, send, wanted }] of MEMBERS.entries()) {
    await t.step(`after a login: ${what}`, async () => {
      await using client = await RawClient.connect(c.clients);
      if (at === 0) await client.ask({ type: "register", ...account });
      await client.ask({ type: "login", ...account });
      await client.write(...send);
      await client.closeWrite();
      assertAnswers(await client.toEnd(), wanted);
      await chat.more(1);
    });
  }
  await t.step("what was refused is not there", async () => {
    await using client = await RawClient.connect(c.clients);
    await client.ask({ type: "login", ...account });
    const { messages } = await client.ask({ type: "list" });
    assertEquals(messages, []);
  });
  await t.step("50 MB without a newline cost no memory", async () => {
    await using client = await RawClient.connect(a.clients);
    const before = a.process.residentBytes();
    const part = new Uint8Array(1_000_000).fill(0x78);
    for (let i = 0; i < 50; i += 1) await client.write(part);
    assertLess(a.process.residentBytes() - before, 100_000_000);
    await client.write(`\n${PING}\n`);
    assertAnswers([await next(client), await next(client)], [
      ["too-large", /or more, limit is 16384$/],
      "ok",
    ]);
  });
  await t.step("a line that comes byte by byte is one", async () => {
    await using client = await RawClient.connect(a.clients);
    for (const letter of `${PING}\n`) {
      await client.write(letter);
      await chat.more(1);
    }
    assertAnswers([await next(client)], ["ok"]);
  });
  await t.step("random bytes", async () => {
    for (let round = 0; round < 20; round += 1) {
      await using client = await RawClient.connect(a.clients);
      const junk = crypto.getRandomValues(new Uint8Array(60_000));
      if (junk[0] === 0xfe) junk[0] = 0;
      await client.write(junk, "\n");
      await client.closeWrite();
      const said = await client.toEnd();
      assert(said.length > 0 && said.every(({ type }) => type === "error"));
    }
  });
  await t.step("Skein's frames", async () => {
    await using client = await RawClient.connect(a.clients);
    await client.write(bytes(0xfe), "SKEIN\r\n", bytes(0, 0, 0, 3, 1), "{}");
    await client.closeWrite();
    // Its answer is frames as well, and not for a reader of lines.
    await a.process.line(/Refused a connection: .*"code":"invalid-message"/);
    await chat.more(1);
  });
  await t.step("who was there all the time noticed nothing", async () => {
    await chat.assertUnharmed();
  });
});

async function next(client: RawClient): Promise<Said> {
  const said = await client.line();
  assert(said !== undefined, "The server has closed");
  return said;
}

/** Answers in the order of their lines, whatever the order in which they came. */
function assertAnswers(said: readonly Said[], wanted: readonly Wanted[]) {
  assertEquals(
    said.map(({ type, code }) => type === "ok" ? "ok" : code),
    wanted.map((one) => typeof one === "string" ? one : one[0]),
    JSON.stringify(said).slice(0, 2_000),
  );
  for (const [at, one] of wanted.entries()) {
    if (one === "ok") continue;
    const { text, outcome, line } = said[at];
    assertMatch(String(text), one[1]);
    assert(outcome === "definite", `${text}: ${outcome}`);
    assert(line === undefined || typeof line === "number");
  }
}

function paddedPing(length: number): string {
  const head = '{"type":"ping","x":"';
  return `${head}${"x".repeat(length - head.length - 2)}"}`;
}

/** A ClientHello, in which no byte happens to be a newline. */
function tlsHello(): Uint8Array {
  return bytes(
    ...[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3],
    ...Array(32).fill(0xaa),
    ...[0, 0, 2, 0x13, 1, 1, 0],
  );
}
