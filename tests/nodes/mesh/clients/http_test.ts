import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { closeFrame } from "../../../../nodes/mesh/clients/frames.ts";
import {
  HEAD_BYTES_MAX,
  mayOriginEnter,
} from "../../../../nodes/mesh/clients/http_request.ts";
import { MESH_REQUEST_BYTES_MAX } from "../../../../protocol/mesh.ts";
import { bounded, until } from "../../../process/until.ts";
import { readToEnd, readUntil } from "../../host/loopback.ts";
import { Served } from "./served.ts";
import { frame, KEY, upgrade } from "./socket_bytes.ts";

const LOGIN = '{"type":"login","username":"Eve"}\n';

const text = (what: object) => frame(0x81, Buffer.from(JSON.stringify(what)));

/** What a request is answered until the connection ends. */
async function answerTo(served: Served, request: string): Promise<string> {
  using client = await served.connect();
  await client.send(request);
  return await client.rest();
}

/** A browser's view of one connection. */
class Page implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly lines: string[] = [];
  closed: CloseEvent | undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.onmessage = ({ data }) => this.lines.push(data);
    socket.onclose = (event) => this.closed = event;
  }

  static async open(served: Served): Promise<Page> {
    const socket = new WebSocket(`ws://127.0.0.1:${served.port}/ws`);
    const page = new Page(socket);
    await bounded(
      "it is open",
      new Promise<void>((resolve, reject) => {
        socket.onopen = () => resolve();
        socket.onerror = () => reject(new Error("it was not opened"));
      }),
    );
    socket.onerror = null;
    return page;
  }

  send(what: object | string | Uint8Array<ArrayBuffer>): void {
    const isRaw = typeof what === "string" || what instanceof Uint8Array;
    this.socket.send(isRaw ? what : JSON.stringify(what));
  }

  async line(at: number): Promise<string> {
    await until(`line ${at}`, () => this.lines.length > at);
    return this.lines[at];
  }

  async end(): Promise<CloseEvent> {
    return await until("it is closed", () => this.closed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close();
    await this.end();
  }
}

Deno.test("mesh websocket: the same messages, one a frame, among clients of lines", async () => {
  await using served = new Served();
  await using page = await Page.open(served);
  using dana = await served.login("Dana");
  page.send({ type: "login", username: "Web" });
  assertEquals(
    await page.line(0),
    '{"type":"system","text":"Welcome Web to Server A"}',
  );
  page.send({ type: "msg", text: "Hello everyone!" });
  const said =
    '{"type":"msg","from":"Web","server":"A","text":"Hello everyone!"}';
  assertEquals(await page.line(1), said);
  assertEquals(await dana.line(), said);
  await dana.send({ type: "msg", text: "é".repeat(100) });
  assertMatch(await page.line(2), /éé/);
  await dana.send({ type: "msg", text: "x".repeat(16_000) });
  assertEquals(JSON.parse(await page.line(3)).text.length, 16_000);
  page.send('{\n"type":\n"ping"\n}');
  assertEquals(await page.line(4), '{"type":"pong"}');
  page.send("hello");
  assertMatch(await page.line(5), /not JSON/);
  page.send({ type: "quit" });
  assertEquals((await page.end()).code, 1_000);
  await until("it is logged out", () => served.core.status.clients === 1);
  assertEquals(served.clients.counters.webSockets, 1);
});

Deno.test("mesh websocket: with more it gets what others get who want more", async () => {
  await using served = new Served();
  await using page = await Page.open(served);
  page.send({ type: "login", username: "Web", more: true, id: 1 });
  assertEquals(JSON.parse(await page.line(0)).code, "welcome");
  page.send({ type: "msg", text: "Hi", id: 2 });
  assertEquals(JSON.parse(await page.line(1)).n > 0, true);
  assertEquals(JSON.parse(await page.line(2)).type, "ok");
});

Deno.test("mesh websocket: closed with the code that says why", async () => {
  await using served = new Served();
  await using binary = await Page.open(served);
  binary.send(new Uint8Array([1, 2, 3]));
  assertEquals((await binary.end()).code, 1_003);
  await using large = await Page.open(served);
  large.send("x".repeat(MESH_REQUEST_BYTES_MAX + 1));
  assertEquals((await large.end()).code, 1_009);
  const codeOf = async (bytes: Uint8Array) => {
    using client = await served.connect();
    await client.send(upgrade());
    await client.send(bytes);
    const answer = await readUntil(
      client.conn,
      (all) => Buffer.from(all).includes(Buffer.from([0x88])),
    );
    const at = Buffer.from(answer).lastIndexOf(0x88);
    return Buffer.from(answer).readUInt16BE(at + 2);
  };
  assertEquals(await codeOf(frame(0x81, Buffer.from([0xff, 0xfe]))), 1_007);
  assertEquals(await codeOf(Buffer.from([0x81, 1, 65])), 1_002); // not masked
  assertEquals(await codeOf(frame(0x83, Buffer.from([65]))), 1_002); // opcode
  assertEquals(
    await codeOf(frame(0x81, Buffer.from([65]), MESH_REQUEST_BYTES_MAX + 1)),
    1_009,
  );
});

Deno.test("mesh websocket: bytes that come with the request, in pieces, and a ping", async () => {
  await using served = new Served();
  using client = await served.connect();
  const all = Buffer.concat([
    Buffer.from(upgrade()),
    text({ type: "login", username: "Raw" }),
    frame(0x89, Buffer.from("here?")),
    frame(0x01, Buffer.from('{"type":')), // in two frames
    frame(0x80, Buffer.from('"ping","id":7}')),
  ]);
  for (let at = 0; at < all.length; at += 37) {
    await client.send(all.subarray(at, at + 37));
  }
  const bytes = await readUntil(
    client.conn,
    (got) => Buffer.from(got).includes('{"type":"pong","id":7}'),
  );
  const answer = Buffer.from(bytes).toString("latin1");
  assertMatch(answer, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
  // RFC 6455, section 1.3, has this very example.
  assertMatch(answer, /Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/);
  assertMatch(answer, /Welcome Raw to Server A/);
  assert(answer.includes("\x8a\x05here?"), "no pong");
  await client.send(frame(0x88, closeFrame(1_000, "").subarray(2)));
  assertEquals(
    await readToEnd(client.conn),
    Uint8Array.from(closeFrame(1_000, "")),
  );
  await until("it is over", () => served.clients.count === 0);
});

Deno.test("mesh websocket: pages of elsewhere are refused", async () => {
  await using served = new Served({ allowOrigins: ["https://chat.example"] });
  const status = async (origin: string) => {
    using client = await served.connect();
    await client.send(upgrade([`Origin: ${origin}`]));
    const bytes = await readUntil(
      client.conn,
      (got) => Buffer.from(got).includes("\r\n\r\n"),
    );
    return Buffer.from(bytes).toString().slice(9, 12);
  };
  for (
    const origin of [
      "https://evil.example",
      "null",
      "http://evil.example:5001",
      "http://127.0.0.1.evil.example",
      "http://localhost.evil.example",
      "file://",
      "garbage",
      "http://192.168.1.1",
    ]
  ) assertEquals(await status(origin), "403", origin);
  for (
    const origin of [
      "http://127.0.0.1:5001",
      "http://localhost:3000",
      "http://[::1]:3000",
      "https://chat.example",
    ]
  ) assertEquals(await status(origin), "101", origin);
});

Deno.test("mesh websocket: whoever comes through a proxy is not this machine's operator", async () => {
  const answerTo = async (headers: readonly string[]) => {
    await using served = new Served();
    using client = await served.connect();
    await client.send(upgrade(headers));
    await client.send(text({ type: "drain", id: 1 }));
    const bytes = await readUntil(
      client.conn,
      (got) => Buffer.from(got).includes('"id":1'),
    );
    assertEquals(
      served.core.status.draining,
      Buffer.from(bytes).includes('"type":"ok"'),
    );
    return Buffer.from(bytes).includes("not-allowed");
  };
  assertEquals(await answerTo([]), false);
  for (
    const header of [
      ...["Forwarded: for=192.0.2.60", "X-Forwarded-For: 192.0.2.60"],
      ...["X-Real-IP: 192.0.2.60", "Via: 1.1 proxy", "VIA:"],
    ]
  ) assertEquals(await answerTo([header]), true, header);
});

Deno.test("mesh http: an address is the same host, a name is not: it could be anybody's", () => {
  const allowed: string[] = [];
  const may = (origin: string, host: string) =>
    mayOriginEnter(origin, { host, allowed });
  assert(may("http://192.168.1.5:5001", "192.168.1.5:5001"));
  assert(may("http://[fd00::1]:5001", "[fd00::1]:5001"));
  assert(!may("http://192.168.1.5:5002", "192.168.1.5:5001"));
  assert(!may("http://rebound.example:5001", "rebound.example:5001"));
  assert(mayOriginEnter(undefined, { host: undefined, allowed }));
  assert(!mayOriginEnter("null", { host: undefined, allowed }));
});

Deno.test("mesh http: requests for anything else are answered, and never taken as lines", async () => {
  await using served = new Served();
  using dana = await served.login("Dana");
  const body = `${LOGIN}{"type":"msg","text":"forged"}\n`;
  const length = `Content-Length: ${body.length}`;
  const host = "Host: 127.0.0.1";
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      `GET / HTTP/1.1\r\n${host}\r\n\r\n`,
      /^HTTP\/1\.1 200 OK\r\n[^]*skein chat/,
    ],
    [`HEAD / HTTP/1.1\r\n${host}\r\n\r\n`, /^HTTP\/1\.1 200 [^]*\r\n\r\n$/],
    [`GET /x HTTP/1.1\r\n${host}\r\n\r\n`, /^HTTP\/1\.1 404 /],
    [`GET /ws HTTP/1.1\r\n${host}\r\n\r\n`, /^HTTP\/1\.1 426 /],
    [
      `POST / HTTP/1.1\r\n${host}\r\n${length}\r\n\r\n${body}`,
      /^HTTP\/1\.1 405 [^]*Allow: GET/,
    ],
    [`POST /ws HTTP/1.1\r\n${host}\r\n\r\n${body}`, /^HTTP\/1\.1 405 /],
    [`OPTIONS / HTTP/1.1\r\n${host}\r\n\r\n${body}`, /^HTTP\/1\.1 405 /],
    [`put / HTTP/1.1\r\n\r\n${body}`, /^HTTP\/1\.1 405 /],
    [`GET / HTTP/1.1\r\n${host}\r\n${host}\r\n\r\n`, /^HTTP\/1\.1 400 /],
    [`GET / HTTP/1.1\r\nno header\r\n\r\n${body}`, /^HTTP\/1\.1 400 /],
    [`GET / HTTP/1.1\r\nA: ${"x".repeat(HEAD_BYTES_MAX)}`, /^HTTP\/1\.1 431 /],
    [upgrade(["Sec-WebSocket-Version: 12"]), /^HTTP\/1\.1 400 /],
    [upgrade().replace(KEY, "short"), /^HTTP\/1\.1 400 /],
  ];
  for (const [request, wanted] of cases) {
    const answer = await answerTo(served, request);
    assertMatch(answer, wanted);
    assert(!answer.includes("Welcome Eve"), request);
  }
  await dana.send({ type: "msg", text: "true" });
  assertMatch(await dana.line(), /"from":"Dana".*"true"/);
  assertEquals(served.core.status.clients, 1);
});

Deno.test("mesh http: a first line that only looks like it at first is a line", async () => {
  await using served = new Served();
  for (
    const first of ["Hello\n", "GET /\n", "GET\n", `P${"x".repeat(9_000)}\n`]
  ) {
    using client = await served.connect();
    for (let at = 0; at < first.length; at += 4_000) {
      await client.send(first.slice(at, at + 4_000));
    }
    assertMatch(await client.line(), /not JSON/);
    await client.send(LOGIN);
    assertMatch(await client.line(), /Welcome Eve/);
    await client.send({ type: "quit" });
    await client.rest();
    await until("Eve has left", () => served.core.status.clients === 0);
  }
});

Deno.test("mesh http: a request whose page has gone leaves nothing behind", async () => {
  await using served = new Served();
  for (const part of ["GE", "GET / HTTP/1.1\r\n", upgrade()]) {
    using client = await served.connect();
    await client.send(part);
    client.conn.close();
  }
  await until("all are over", () => served.closed === 3);
  assertEquals(served.clients.count, 0);
});
