import { assert, assertEquals } from "@std/assert";
import type {
  ClientSide,
  ClientTransport,
} from "../../../../nodes/chat/service/client.ts";
import { ClientConnection } from "../../../../nodes/chat/service/client_connection.ts";
import { Link } from "../../../../nodes/host/link.ts";
import { REQUEST_BYTES_MAX } from "../../../../protocol/chat.ts";
import type { WireError } from "../../../../protocol/errors.ts";
import { bounded } from "../../../process/until.ts";
import {
  connectEnds,
  readToEnd,
  readUntil,
  roundTrips,
} from "../../host/loopback.ts";

/** A service that keeps what it is told. */
class Recorder implements ClientSide {
  lineBytesMax = REQUEST_BYTES_MAX;
  readonly lines: string[] = [];
  readonly refused: string[] = [];
  drainedCount = 0;
  /** Whether lines are taken at once. */
  goesOn = true;
  onLines = () => {};
  readonly end = Promise.withResolvers<void>();
  readonly over = Promise.withResolvers<void>();

  take(lines: string): boolean {
    this.lines.push(...lines.slice(0, -1).split("\n"));
    this.onLines();
    return this.goesOn;
  }
  refuse(error: WireError): boolean {
    this.refused.push(error.code);
    this.onLines();
    return this.goesOn;
  }
  drained(): void {
    this.drainedCount += 1;
  }
  ended(): void {
    this.end.resolve();
  }
  closed(): void {
    this.over.resolve();
  }

  /** Resolves once so many lines were taken or refused. */
  async has(count: number): Promise<void> {
    await bounded(
      `${count} lines`,
      new Promise<void>((resolve) => {
        this.onLines = () => {
          if (this.lines.length + this.refused.length >= count) resolve();
        };
        this.onLines();
      }),
    );
  }
}

async function serve(
  test: (
    ends: {
      side: Recorder;
      transport: ClientTransport;
      conn: Deno.TcpConn;
    },
  ) => Promise<void>,
  first = "",
): Promise<void> {
  using ends = await connectEnds();
  const side = new Recorder();
  const released = Promise.withResolvers<void>();
  let transport: ClientTransport | undefined;
  ClientConnection.serve(new Link(ends.accepted, { silentMsMax: undefined }), {
    first: new TextEncoder().encode(first),
    open: (opened) => {
      transport = opened;
      return side;
    },
    onClosed: () => released.resolve(),
  });
  assert(transport !== undefined);
  await test({ side, transport, conn: ends.dialed });
  transport.close();
  try {
    ends.dialed.close();
  } catch {
    // Closed by the test already.
  }
  await bounded("the end", Promise.all([released.promise, side.over.promise]));
}

async function write(conn: Deno.TcpConn, text: string | Uint8Array) {
  const bytes = typeof text === "string"
    ? new TextEncoder().encode(text)
    : text;
  for (let at = 0; at < bytes.length;) {
    at += await conn.write(bytes.subarray(at));
  }
}

Deno.test("client connection: lines come whole, however they were cut", async () => {
  await serve(async ({ side, conn }) => {
    await side.has(1);
    for (const byte of new TextEncoder().encode("rd\r\nzwölf\n\n")) {
      await write(conn, new Uint8Array([byte]));
    }
    await side.has(4);
    assertEquals(side.lines, ["first", "third\r", "zwölf", ""]);
  }, "first\nthi");
});

Deno.test("client connection: what is no text is refused, and the lines around it are not", async () => {
  await serve(async ({ side, conn }) => {
    const bad = new Uint8Array([0x61, 0xff, 0x0a]);
    await write(conn, "one\n");
    await write(conn, bad);
    await write(conn, "two\n");
    await side.has(3);
    assertEquals(side.lines, ["one", "two"]);
    assertEquals(side.refused, ["invalid-utf8"]);
  });
});

Deno.test("client connection: a line of the largest size comes, one byte more does not", async () => {
  await serve(async ({ side, conn }) => {
    const longest = "x".repeat(REQUEST_BYTES_MAX);
    await write(conn, `${longest}\n`);
    await side.has(1);
    assertEquals(side.lines[0].length, REQUEST_BYTES_MAX);
    await write(conn, `${longest}y\nafter\n`);
    await side.has(3);
    assertEquals(side.refused, ["too-large"]);
    assertEquals(side.lines[1], "after");
  });
});

Deno.test("client connection: ten megabytes without a newline cost a bounded buffer and one error", async () => {
  await serve(async ({ side, conn }) => {
    side.lineBytesMax = 16_384;
    await write(conn, new Uint8Array(10_000_000).fill(0x78));
    await write(conn, "\nafter\n");
    await side.has(2);
    assertEquals(side.refused, ["too-large"]);
    assertEquals(side.lines, ["after"]);
  });
});

Deno.test("client connection: nothing is read while the service is full", async () => {
  await serve(async ({ side, transport, conn }) => {
    side.goesOn = false;
    await write(conn, "one\n");
    await side.has(1);
    await write(conn, "two\n");
    await roundTrips();
    assertEquals(side.lines, ["one"]);
    side.goesOn = true;
    transport.readOn();
    await side.has(2);
  });
});

Deno.test("client connection: what is said is written in order, and the service hears of room", async () => {
  await serve(async ({ side, transport, conn }) => {
    const lines = Array.from({ length: 5_000 }, (_, i) => `line ${i}\n`);
    for (const line of lines) transport.write(line);
    transport.write(`${"x".repeat(300_000)}\n`);
    const wanted = `${lines.join("")}${"x".repeat(300_000)}\n`;
    const bytes = await readUntil(
      conn,
      ({ length }) => length >= wanted.length,
    );
    assertEquals(new TextDecoder().decode(bytes), wanted);
    await roundTrips();
    assert(side.drainedCount > 0);
    assertEquals(transport.queuedBytes, 0);
  });
});

Deno.test("client connection: a last word comes after what was said, and the end after it", async () => {
  await serve(async ({ transport, conn }) => {
    transport.write("answer\n");
    transport.close("goodbye\n");
    transport.write("nothing more\n");
    const bytes = await readToEnd(conn);
    assertEquals(new TextDecoder().decode(bytes), "answer\ngoodbye\n");
  });
});

Deno.test("client connection: who is cut off gets whole lines and the last word", async () => {
  await serve(async ({ transport, conn }) => {
    const line = `${"x".repeat(99_999)}\n`;
    for (let i = 0; i < 100; i++) transport.write(line);
    await roundTrips();
    transport.cutOff("goodbye\n");
    const text = new TextDecoder().decode(await readToEnd(conn));
    const lines = text.slice(0, -1).split("\n");
    assertEquals(lines.pop(), "goodbye");
    assert(lines.length < 100, `${lines.length} lines`);
    assert(lines.every(({ length }) => length === 99_999));
  });
});

Deno.test("client connection: a side that is closed ends the last line and is told", async () => {
  await serve(async ({ side, transport, conn }) => {
    await write(conn, "one\ntwo");
    await conn.closeWrite();
    await bounded("the end", side.end.promise);
    assertEquals(side.lines, ["one", "two"]);
    transport.write("answer\n");
    transport.close();
    const bytes = await readToEnd(conn);
    assertEquals(new TextDecoder().decode(bytes), "answer\n");
  });
});

Deno.test("client connection: a stuck reader and an unfinished line are noticed", async () => {
  await serve(async ({ side, transport, conn }) => {
    const nowMs = performance.now();
    assertEquals(transport.check(nowMs), undefined);
    await write(conn, "half a line");
    await roundTrips();
    assertEquals(transport.check(nowMs), undefined);
    assertEquals(transport.check(nowMs + 60_000), undefined);
    assertEquals(transport.check(nowMs + 60_001)?.code, "timeout");
    await write(conn, "\n");
    await side.has(1);
    assertEquals(transport.check(nowMs + 120_002), undefined);
    for (let i = 0; i < 200; i++) transport.write(`${"x".repeat(99_999)}\n`);
    await roundTrips();
    assertEquals(transport.check(performance.now()), undefined);
    const error = transport.check(performance.now() + 31_000);
    assertEquals(error?.code, "timeout");
    conn.close();
  });
});

Deno.test("client connection: a broken connection is the end", async () => {
  await serve(async ({ side, conn }) => {
    conn.close();
    await bounded("the end", side.end.promise);
  });
});
