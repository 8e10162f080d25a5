import {
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { FrameLink } from "../../../nodes/host/frame_link.ts";
import { Link } from "../../../nodes/host/link.ts";
import { WireError } from "../../../protocol/errors.ts";
import { encodeFrame, FRAME, writeUint32 } from "../../../protocol/frame.ts";
import { encodeError, PeerError } from "../../../protocol/handshake.ts";
import { FRAME_BYTES_MAX } from "../../../protocol/limits.ts";
import { arrivals, bytesOf, joined, textOf } from "../../protocol/splits.ts";
import {
  connectEnds,
  type Ends,
  framesOf,
  greeting,
  readToEnd,
  readUntil,
  roundTrips,
} from "./loopback.ts";

const LOST = new WireError("link-lost", "over");

/** A connection that notes each write. */
function counted(conn: Deno.Conn): { conn: Deno.Conn; writes: number[] } {
  const writes: number[] = [];
  const noting = new Proxy(conn, {
    get(target, name) {
      if (name === "write") {
        return (bytes: Uint8Array) => {
          writes.push(bytes.length);
          return target.write(bytes);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { conn: noting, writes };
}

/** A link at one end of a connection; `rest` came with the handshake. */
function linkAt(
  conn: Deno.Conn,
  options: { rest?: Uint8Array; queueBytesMax?: number } = {},
): FrameLink {
  return new FrameLink({
    link: new Link(conn, { silentMsMax: undefined }),
    peer: greeting().self,
    rest: options.rest ?? new Uint8Array(0),
  }, options.queueBytesMax);
}

function frame(kind: number, text: string): Uint8Array<ArrayBuffer> {
  return encodeFrame(kind, bytesOf(text));
}

/** Frames read one after another until the link ends, as text; and why. */
async function readAll(link: FrameLink): Promise<[string[], WireError]> {
  const texts: string[] = [];
  for (;;) {
    try {
      for (const { kind, payload } of await link.read()) {
        texts.push(`${kind} ${textOf(payload)}`);
      }
    } catch (error) {
      assertInstanceOf(error, WireError);
      return [texts, error];
    }
  }
}

async function writeAll(ends: Ends, pieces: readonly Uint8Array[]) {
  for (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      at += await ends.dialed.write(piece.subarray(at));
    }
    if (pieces.length < 20) await roundTrips(1);
  }
}

Deno.test("frame link: frames are read however they arrive, beats are not seen", async () => {
  const bytes = joined([
    frame(40, "one"),
    frame(FRAME.beat, ""),
    frame(41, "two"),
    frame(42, ""),
  ]);
  for (const { pieces } of arrivals(bytes)) {
    using ends = await connectEnds();
    const link = linkAt(ends.accepted);
    await writeAll(ends, pieces);
    await ends.dialed.closeWrite();
    const [texts, error] = await readAll(link);
    assertEquals(texts, ["40 one", "41 two", "42 "]);
    assertEquals(error.message, "Peer closed the link");
    link.abort(LOST);
  }
});

Deno.test("frame link: what came with the handshake is read first, and one frame if one is wanted", async () => {
  using ends = await connectEnds();
  const both = joined([frame(40, "one"), frame(41, "two"), frame(42, "thr")]);
  const rest = both.subarray(0, both.length - 2);
  const link = linkAt(ends.accepted, { rest });
  const [first, ...none] = await link.read(1);
  assertEquals([first.kind, textOf(first.payload), none.length], [
    40,
    "one",
    0,
  ]);
  assertEquals((await link.read()).map(({ kind }) => kind), [41]);
  await writeAll(ends, [both.subarray(both.length - 2)]);
  assertEquals((await link.read()).map(({ kind }) => kind), [42]);
  link.abort(LOST);
});

Deno.test("frame link: the largest frames pass, one after another", async () => {
  using ends = await connectEnds();
  const link = linkAt(ends.accepted);
  const payload = new Uint8Array(FRAME_BYTES_MAX - 5).fill(7);
  const bytes = encodeFrame(40, payload);
  const writing = writeAll(ends, Array(9).fill(bytes))
    .then(() => ends.dialed.closeWrite());
  let count = 0;
  const end = await assertRejects(async () => {
    for (;;) {
      for (const frame of await link.read()) {
        assertEquals(frame.payload.length, payload.length);
        assertEquals([frame.payload[0], frame.payload.at(-1)], [7, 7]);
        count += 1;
      }
    }
  });
  await writing;
  assertInstanceOf(end, WireError);
  assertEquals([count, link.bytes.received], [9, 9 * FRAME_BYTES_MAX]);
  link.abort(LOST);
});

Deno.test("frame link: what comes before a mistake or a farewell counts", async () => {
  const large = new Uint8Array(5);
  writeUint32(large, 0, FRAME_BYTES_MAX);
  const farewell = encodeError(new WireError("id-taken", "it is"));
  for (
    const { last, code } of [
      { last: large, code: "too-large" },
      { last: farewell, code: "id-taken" },
    ]
  ) {
    using ends = await connectEnds();
    const link = linkAt(ends.accepted);
    await writeAll(ends, [
      joined([frame(40, "one"), frame(41, "two"), last]),
    ]);
    const [texts, error] = await readAll(link);
    assertEquals([texts, error.code], [["40 one", "41 two"], code]);
    assertEquals(error instanceof PeerError, code === "id-taken");
    link.abort(LOST);
  }
});

Deno.test("frame link: what is sent in one turn leaves in one write, in order", async () => {
  using ends = await connectEnds();
  const { conn, writes } = counted(ends.accepted);
  const link = linkAt(conn);
  const frames = Array.from({ length: 50 }, (_, i) => frame(40, `${i}`));
  for (const bytes of frames) link.send(bytes);
  assertEquals(writes, []);
  const all = joined(frames);
  const got = await readUntil(ends.dialed, (b) => b.length === all.length);
  assertEquals(got, all);
  assertEquals(writes, [all.length]);
  link.send(frames[0]);
  link.flush();
  // Already, though the turn is not over: what follows may block.
  assertEquals(writes, [all.length, frames[0].length]);
  await link.sent();
  assertEquals(link.bytes.sent, all.length + frames[0].length);
  link.abort(LOST);
});

Deno.test("frame link: what is sent while a write is under way leaves in the next one", async () => {
  using ends = await connectEnds();
  const { conn, writes } = counted(ends.accepted);
  const link = linkAt(conn);
  for (let i = 0; i < 40; i++) {
    link.send(frame(40, "x".repeat(200_000)));
    link.flush();
  }
  const reading = readToEnd(ends.dialed);
  await link.sent();
  // Some are the rest of a write that the system took only a part of.
  assertLess(writes.length, 40);
  link.abort(LOST);
  assertEquals(framesOf(await reading).length, 40);
});

Deno.test("frame link: a piece above the bound of a write goes in several", async () => {
  using ends = await connectEnds();
  const link = linkAt(ends.accepted);
  const pieces = Array.from(
    { length: 30 },
    (_, i) => encodeFrame(40, new Uint8Array(250_000).fill(i)),
  );
  const reading = readToEnd(ends.dialed).then((bytes) => {
    ends.dialed.close();
    return bytes;
  });
  link.send(joined(pieces));
  link.send(frame(41, "last"));
  await link.close();
  const got = framesOf(await reading);
  assertEquals(got.length, 31);
  assertEquals(got.slice(0, 30).map(({ payload }) => payload[9]), [
    ...Array(30).keys(),
  ]);
  assertEquals(textOf(got[30].payload), "last");
});

Deno.test("frame link: above its bound it is given up, and the next read says so", async () => {
  using ends = await connectEnds();
  const link = linkAt(ends.accepted, { queueBytesMax: 100 });
  const reading = assertRejects(() => link.read(), WireError);
  link.send(new Uint8Array(100));
  link.send(new Uint8Array(1));
  link.send(new Uint8Array(1));
  const error = await reading;
  assertEquals(error.code, "busy");
  assertStringIncludes(
    error.message,
    "101 bytes wait to be sent, limit is 100",
  );
  assertEquals(await assertRejects(() => link.read()), error);
  await link.close(error);
});

Deno.test("frame link: closing tells why, once, and not to who said it", async () => {
  for (
    const [error, told] of [
      [new WireError("invalid-message", "no"), true],
      [new PeerError("busy", "yours"), false],
      [new WireError("link-lost", "gone"), false],
      [undefined, false],
    ] as const
  ) {
    using ends = await connectEnds();
    const link = linkAt(ends.accepted);
    const reading = readToEnd(ends.dialed).then((bytes) => {
      ends.dialed.close();
      return bytes;
    });
    await link.close(error);
    assertEquals(framesOf(await reading).length, told ? 1 : 0);
  }
});

Deno.test("frame link: closing does not wait for ever for who does not read", async () => {
  using ends = await connectEnds();
  const link = linkAt(ends.accepted);
  for (let i = 0; i < 30; i++) link.send(new Uint8Array(1_000_000));
  const startMs = performance.now();
  await link.close();
  assertLess(performance.now() - startMs, 10_000);
});
