import { assertEquals, assertLess } from "@std/assert";
import {
  DatagramReader,
  DATAGRAMS_PER_SECOND_MAX,
} from "../../../../nodes/host/discovery/datagram_reader.ts";
import { until } from "../../../process/until.ts";
import { LISTEN } from "../loopback.ts";

function listen(): Deno.DatagramConn {
  return Deno.listenDatagram({
    ...{ transport: "udp", hostname: LISTEN.hostname, port: 0 },
  });
}

Deno.test("datagram reader: a mistake of whoever takes a datagram is not hidden", async () => {
  const conn = listen();
  const sender = listen();
  const mistake = new Error("a planted mistake");
  const seen = Promise.withResolvers<unknown>();
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    seen.resolve(event.reason);
  };
  addEventListener("unhandledrejection", onRejection);
  const reader = new DatagramReader(conn, {
    onDatagram: () => {
      throw mistake;
    },
  });
  try {
    await sender.send(new Uint8Array(1), conn.addr);
    assertEquals(await seen.promise, mistake);
    assertEquals(reader.failures, 0);
  } finally {
    reader.close();
    sender.close();
    removeEventListener("unhandledrejection", onRejection);
  }
});

Deno.test("datagram reader: after a burst it reads on soon, not only in the next second", async () => {
  const conn = listen();
  const sender = listen();
  const reader = new DatagramReader(conn, { onDatagram: () => {} });
  try {
    let sent = 0;
    while (reader.pauses === 0 && sent < DATAGRAMS_PER_SECOND_MAX / 2) {
      await sender.send(new Uint8Array(1), conn.addr);
      sent += 1;
    }
    await until("it pauses", () => reader.pauses > 0);
    // What the system kept meanwhile is not lost, nor late.
    const startMs = performance.now();
    const { received } = reader;
    await sender.send(new Uint8Array(1), conn.addr);
    await until("it goes on", () => reader.received > received);
    assertLess(performance.now() - startMs, 500);
  } finally {
    reader.close();
    sender.close();
  }
});
