/** Contract of an etcd client's connection, against Node's own HTTP/2. */

import { assertEquals } from "@std/assert";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { EtcdLink } from "./etcd_link.ts";
import { EventLog, FakeServer } from "./fake_server.ts";
import { VALUE } from "./write_link.ts";

/** A gRPC answer without fields. */
const EMPTY_ANSWER = new Uint8Array(5);

interface Put {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Uint8Array;
  readonly stream: ServerHttp2Stream;
}

/** Hands out each request when it is whole. */
async function serve(
  answer: (put: Put) => void,
): Promise<{ port: number; puts: Put[] } & AsyncDisposable> {
  const puts: Put[] = [];
  const server = createServer();
  server.on("stream", (stream, headers) => {
    const parts: Uint8Array[] = [];
    stream.on("data", (part: Uint8Array) => parts.push(part));
    stream.on("end", () => {
      const body = new Uint8Array(parts.flatMap((part) => [...part]));
      const put = { headers: { ...headers }, body, stream };
      puts.push(put);
      answer(put);
    });
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve())
  );
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("port");
  return {
    port: address.port,
    puts,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

function accept({ stream }: Put): void {
  stream.respond({ ":status": 200 }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(EMPTY_ANSWER);
}

Deno.test("etcd link: puts are gRPC, from the first to the next", async () => {
  await using server = await serve(accept);
  const log = new EventLog();
  const link = await EtcdLink.connect(server.port, log);
  for (const lane of [4, 200]) {
    link.write(lane);
    link.flush();
    assertEquals(await log.next(1), [`acked ${lane}`]);
  }
  link.close();
  for (const { headers, body } of server.puts) {
    assertEquals(headers[":method"], "POST");
    assertEquals(headers[":path"], "/etcdserverpb.KV/Put");
    assertEquals(headers["content-type"], "application/grpc");
    assertEquals(headers["te"], "trailers");
    const length = new DataView(body.buffer).getUint32(1);
    assertEquals(length, body.length - 5);
    assertEquals(body.slice(-VALUE.length), VALUE);
  }
  assertEquals(server.puts.length, 2);
});

Deno.test("etcd link: many at once, beyond the first window", async () => {
  await using server = await serve(accept);
  const log = new EventLog();
  const link = await EtcdLink.connect(server.port, log);
  const lanes = Array.from({ length: 400 }, (_, lane) => lane);
  for (const lane of lanes) link.write(lane);
  link.flush();
  const said = await log.next(lanes.length);
  assertEquals(
    said.toSorted(),
    lanes.map((lane) => `acked ${lane}`).toSorted(),
  );
  link.close();
});

Deno.test("etcd link: trailers alone are a refusal", async () => {
  await using server = await serve(({ stream }) =>
    stream.respond({ ":status": 200, "grpc-status": "14" }, { endStream: true })
  );
  const log = new EventLog();
  const link = await EtcdLink.connect(server.port, log);
  link.write(1);
  link.flush();
  assertEquals(await log.next(1), ["refused 1 refused in trailers"]);
  link.close();
});

Deno.test("etcd link: frames may come byte by byte", async () => {
  await using server = new FakeServer();
  const log = new EventLog();
  const opening = EtcdLink.connect(server.port, log);
  await server.until("SM\r\n\r\n");
  await server.writeSlowly("\0\0\0\x04\0\0\0\0\0");
  const link = await opening;
  link.write(9);
  link.flush();
  await server.writeSlowly(
    "\0\0\x01\x01\x04\0\0\0\x01x" + "\0\0\x05\0\0\0\0\0\x01\0\0\0\0\0" +
      "\0\0\x01\x01\x05\0\0\0\x01x",
  );
  assertEquals(await log.next(1), ["acked 9"]);
  await server.hangUp();
  assertEquals(await log.next(1), ["lost The server closed the connection"]);
});
