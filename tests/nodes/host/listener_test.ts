import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { dial, type Link, type OpenLink } from "../../../nodes/host/link.ts";
import {
  Listener,
  type ListenerOptions,
} from "../../../nodes/host/listener.ts";
import type { Log, LogFields } from "../../../nodes/host/log.ts";
import { type WireCode, WireError } from "../../../protocol/errors.ts";
import { FRAME, PREFACE, writeUint32 } from "../../../protocol/frame.ts";
import { PeerError } from "../../../protocol/handshake.ts";
import { bytesOf, joined, textOf } from "../../protocol/splits.ts";
import {
  closeOnce,
  framesOf,
  greeting,
  LISTEN,
  readToEnd,
  readUntil,
  roundTrips,
} from "./loopback.ts";

const KEY = bytesOf("a key of sixteen bytes");

/** Keeps what would be written to the log. */
class KeptLog implements Log {
  readonly warnings: { message: string; fields: LogFields }[] = [];
  debug(): void {}
  info(): void {}
  error(): void {}
  warn(message: string, fields: LogFields = {}): void {
    this.warnings.push({ message, fields });
  }
}

/** A listener, and what it has let in; all of it is closed in the end. */
class Door implements AsyncDisposable {
  readonly listener: Listener;
  readonly log = new KeptLog();
  readonly links: OpenLink[] = [];
  readonly lines: { readonly link: Link; readonly first: Uint8Array }[] = [];
  readonly #dialed: Link[] = [];
  readonly #conns: Deno.Conn[] = [];
  #onChange: () => void = () => {};
  #isClosed = false;

  constructor(changes: Partial<ListenerOptions> = {}) {
    this.listener = new Listener({
      listen: { host: LISTEN.hostname, port: 0 },
      greeting: greeting({ id: "n1" }),
      silentMsMax: 60_000,
      lines: "loopback",
      connectionsMax: 100,
      log: this.log,
      onLink: (open) => {
        this.links.push(open);
        this.#onChange();
      },
      onLines: (link, first) => {
        this.lines.push({ link, first });
        this.#onChange();
      },
      ...changes,
    });
  }

  /** A process dials the door and shakes hands. */
  async dial(as = greeting({ id: "n0" })): Promise<OpenLink> {
    const open = await dial(this.listener.address, as, { silentMsMax: 60_000 });
    this.#dialed.push(open.link);
    return open;
  }

  /** Dials, is refused, and says with what. */
  async dialRefused(
    code: WireCode,
    as = greeting({ id: "n0" }),
  ): Promise<PeerError> {
    const error = await assertRejects(() => this.dial(as), WireError);
    assertInstanceOf(error, PeerError);
    assertEquals(error.code, code, error.message);
    return error;
  }

  /** Somebody connects and sends these bytes, if any. */
  async connect(bytes: Uint8Array | string = ""): Promise<Deno.TcpConn> {
    const { port } = this.listener.address;
    const conn = await Deno.connect({ ...LISTEN, port });
    this.#conns.push(conn);
    const first = typeof bytes === "string" ? bytesOf(bytes) : bytes;
    if (first.length > 0) await conn.write(first);
    return conn;
  }

  /** Waits until so many plain-text connections were let in. */
  async letIn(count: number): Promise<void> {
    while (this.lines.length < count) {
      await new Promise<void>((resolve) => this.#onChange = resolve);
    }
  }

  /** The listener stops; once, by the test or in the end. */
  close(): void {
    if (!this.#isClosed) this.listener.close();
    this.#isClosed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    for (const link of this.#dialed) link.abort();
    for (const conn of this.#conns) closeOnce(conn);
    for (const { link } of [...this.links, ...this.lines]) link.abort();
    await roundTrips();
  }
}

/** What somebody who is not let in is told, until the node closes. */
async function answerTo(door: Door, bytes: Uint8Array | string) {
  const admitted = door.letIn(door.lines.length + 1).then(() => {
    throw new Error("It was let in");
  });
  const conn = await door.connect(bytes);
  const answer = await Promise.race([readToEnd(conn), admitted]);
  closeOnce(conn);
  return answer;
}

Deno.test("listener: it says which port the system gave it", async () => {
  await using door = new Door();
  const { host, port } = door.listener.address;
  assertEquals(host, "127.0.0.1");
  assert(port > 0);
  assertEquals(door.listener.refused, 0);
});

Deno.test("listener: a port that is taken is an error at once", async () => {
  await using door = new Door();
  await assertRejects(
    () =>
      Promise.resolve().then(() => new Door({ listen: door.listener.address })),
    Deno.errors.AddrInUse,
  );
});

Deno.test("listener: a framed link is handed over with its peer, and carries bytes both ways", async () => {
  await using door = new Door();
  const mine = await door.dial(greeting({ id: "c1", role: "client" }));
  assertEquals(mine.peer.id, "n1");
  const [theirs] = door.links;
  assertEquals([theirs.peer.id, theirs.peer.role], ["c1", "client"]);
  await mine.link.send(bytesOf("there"));
  await theirs.link.send(bytesOf("back"));
  const there = await readUntil(theirs.link, ({ length }) => length >= 5);
  const back = await readUntil(mine.link, ({ length }) => length >= 4);
  assertEquals([textOf(there), textOf(back)], ["there", "back"]);
  assertEquals(door.lines.length, 0);
});

Deno.test("listener: plain text is handed over with what was read already", async () => {
  await using door = new Door();
  const conn = await door.connect("hello\n");
  await door.letIn(1);
  const [{ link, first }] = door.lines;
  assertEquals(textOf(first), "hello\n");
  assertMatch(link.label, /^127\.0\.0\.1:\d+$/);
  await link.send(bytesOf("ok 1\n"));
  const answer = await readUntil(conn, ({ length }) => length >= 5);
  assertEquals(textOf(answer), "ok 1\n");
});

Deno.test("listener: plain text is let in from where it is wanted, and told why not", async () => {
  for (const lines of ["loopback", "private"] as const) {
    await using door = new Door({ lines });
    await door.connect("hello\n");
    await door.letIn(1);
    assertEquals(door.listener.refused, 0);
  }
  await using door = new Door({ lines: "none" });
  assertEquals(
    textOf(await answerTo(door, "hello\n")),
    "error 0 lines-refused This node takes plain text from nobody\n",
  );
  assertEquals([door.lines.length, door.listener.refused], [0, 1]);
  assertEquals(door.log.warnings[0].fields.code, "lines-refused");
  // Frames are not concerned.
  await door.dial();
  assertEquals(door.links.length, 1);
});

Deno.test("listener: with another key both sides get a clear error", async () => {
  await using door = new Door({ greeting: greeting({ key: KEY }) });
  const other = greeting({ key: bytesOf("another key altogether") });
  const error = await door.dialRefused("wrong-key", other);
  assertStringIncludes(error.message, "cluster's key");
  assertEquals(door.listener.refused, 1);
  const [warning] = door.log.warnings;
  assertStringIncludes(warning.message, "cluster's key");
  assertEquals(warning.fields.code, "wrong-key");
  assertMatch(`${warning.fields.from}`, /^127\.0\.0\.1:\d+$/);
  await door.dialRefused("key-required", greeting());
  await door.dial(greeting({ key: KEY }));
  assertEquals([door.links.length, door.listener.refused], [1, 2]);
});

Deno.test("listener: another cluster or role is refused by name", async () => {
  await using door = new Door({ greeting: greeting({ accepts: ["chain"] }) });
  const cluster = greeting({ cluster: "blue" });
  assertStringIncludes(
    (await door.dialRefused("cluster-mismatch", cluster)).message,
    '"blue"',
  );
  const client = greeting({ role: "client" });
  assertStringIncludes(
    (await door.dialRefused("role-mismatch", client)).message,
    '"client"',
  );
});

/** The error frame that a stranger gets who begins as Skein does. */
async function errorFrame(door: Door, bytes: Uint8Array): Promise<string> {
  const answer = await answerTo(door, bytes);
  assertEquals(answer.slice(0, PREFACE.length), PREFACE.slice());
  const last = framesOf(answer.subarray(PREFACE.length)).at(-1);
  assertEquals(last?.kind, FRAME.error);
  return textOf(last?.payload ?? new Uint8Array(0));
}

Deno.test("listener: who begins as Skein and goes on otherwise gets an error frame", async () => {
  await using door = new Door();
  const text = await errorFrame(door, Uint8Array.of(PREFACE[0], 1, 2, 3));
  assertStringIncludes(text, "not-skein");
  assertEquals(door.listener.refused, 1);
});

Deno.test("listener: an oversize frame before the handshake is refused by both numbers", async () => {
  await using door = new Door();
  const length = new Uint8Array(4);
  writeUint32(length, 0, 2 ** 32 - 1);
  const text = await errorFrame(door, joined([PREFACE, length]));
  assertStringIncludes(text, "too-large");
  assertStringIncludes(text, "4294967299 bytes, limit is 4096");
});

Deno.test("listener: one connection more than its bound is told that it is busy", async () => {
  await using door = new Door({ connectionsMax: 2 });
  const first = await door.dial();
  await door.connect("hello\n");
  await door.letIn(1);
  const error = await door.dialRefused("busy");
  assertStringIncludes(error.message, "has 2 connections, which is its limit");
  assertMatch(
    textOf(await answerTo(door, "hello\n")),
    /^error 0 busy This node has 2 connections/,
  );
  // Those who are in stay in, and the next takes the place of who leaves.
  await first.link.send(bytesOf("still here"));
  assertEquals((await readUntil(door.links[0].link, () => true)).length, 0);
  door.lines[0].link.abort();
  door.listener.release();
  await roundTrips();
  await door.dial();
  assertEquals(door.links.length, 2);
});

Deno.test("listener: refused and broken connections take nobody's place", async () => {
  await using door = new Door({
    connectionsMax: 1,
    greeting: greeting({ key: KEY }),
    lines: "none",
  });
  const strangers: (Uint8Array | string)[] = [
    "hello\n",
    Uint8Array.of(PREFACE[0], 1),
    joined([PREFACE, new Uint8Array(8)]),
  ];
  for (const bytes of strangers) {
    await answerTo(door, bytes);
    await roundTrips();
  }
  await door.dialRefused("key-required", greeting());
  await roundTrips();
  for (const bytes of ["", PREFACE.slice(), PREFACE.subarray(0, 1)]) {
    closeOnce(await door.connect(bytes));
    await roundTrips();
  }
  await door.dial(greeting({ key: KEY }));
  assertEquals(door.links.length, 1);
});

Deno.test("listener: who goes in the middle of its handshake is not refused, and is no warning", async () => {
  await using door = new Door({ connectionsMax: 1 });
  for (let i = 0; i < 3; i++) {
    const conn = await door.connect(PREFACE.slice());
    await conn.closeWrite();
    await readToEnd(conn);
    closeOnce(conn);
    await roundTrips();
  }
  await door.dial();
  assertEquals(door.listener.refused, 0);
  assertEquals(door.log.warnings, []);
});

Deno.test("listener: many refusals are all counted, and few of them logged", async () => {
  await using door = new Door({ lines: "none" });
  await Promise.all(
    Array.from({ length: 60 }, () => answerTo(door, "hello\n")),
  );
  assertEquals(door.listener.refused, 60);
  // At most five in each second that this takes.
  assertLess(door.log.warnings.length, 40);
});

Deno.test("listener: closing ends handshakes and silent connections, not links", async () => {
  await using door = new Door();
  const silent = await door.connect();
  const begun = await door.connect(PREFACE.slice());
  await readUntil(begun, ({ length }) => length >= PREFACE.length);
  const { link } = await door.dial();
  door.close();
  assertEquals((await readToEnd(silent)).length, 0);
  await readToEnd(begun);
  await link.send(bytesOf("still here"));
  const bytes = await readUntil(
    door.links[0].link,
    ({ length }) => length >= 10,
  );
  assertEquals(textOf(bytes), "still here");
  const { port } = door.listener.address;
  await assertRejects(
    () => Deno.connect({ ...LISTEN, port }),
    Deno.errors.ConnectionRefused,
  );
});

Deno.test("listener: closing in the turn in which a stranger's time is over is closing all the same", async () => {
  for (const bytes of [new Uint8Array(0), PREFACE.slice()]) {
    await using door = new Door({ lines: "none", handshakeWaitMs: 40 });
    const conn = await door.connect(bytes);
    await roundTrips();
    const closing = new Promise<void>((resolve, reject) => {
      setTimeout(() => {
        try {
          door.close();
          resolve();
        } catch (error) {
          reject(error);
        }
      }, 41);
    });
    // Both times are over before anything else can happen.
    const endMs = performance.now() + 60;
    while (performance.now() < endMs);
    await closing;
    await readToEnd(conn);
  }
});

Deno.test("listener: where no lines are taken a silent stranger does not keep its place", async () => {
  await using door = new Door({
    lines: "none",
    connectionsMax: 1,
    handshakeWaitMs: 50,
  });
  const silent = await door.connect();
  assertEquals((await readToEnd(silent)).length, 0);
  await roundTrips();
  await door.dial();
  assertEquals([door.links.length, door.listener.refused], [1, 0]);
});

Deno.test("listener: who may type lines may take his time", async () => {
  await using door = new Door({ lines: "loopback", handshakeWaitMs: 20 });
  const conn = await door.connect();
  const endMs = performance.now() + 60;
  while (performance.now() < endMs) await roundTrips(1);
  await conn.write(bytesOf("hello\n"));
  await door.letIn(1);
  assertEquals(textOf(door.lines[0].first), "hello\n");
});
