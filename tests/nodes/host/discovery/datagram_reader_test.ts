import { assertEquals } from "@std/assert";
import { DatagramReader } from "../../../../nodes/host/discovery/datagram_reader.ts";
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
