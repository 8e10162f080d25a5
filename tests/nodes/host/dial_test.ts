import {
  assertEquals,
  assertGreaterOrEqual,
  assertLess,
  assertRejects,
} from "@std/assert";
import { dial, shakeHands } from "../../../nodes/host/link.ts";
import { WireError } from "../../../protocol/errors.ts";
import { PREFACE } from "../../../protocol/frame.ts";
import { bytesOf } from "../../protocol/splits.ts";
import {
  closeOnce,
  freePort,
  greeting,
  LISTEN,
  readToEnd,
  readUntil,
  roundTrips,
} from "./loopback.ts";

/** How long something took, in ms. */
async function timed(act: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await act();
  return performance.now() - startMs;
}

Deno.test("dial: dialing where nobody listens says so", async () => {
  const address = { host: LISTEN.hostname, port: freePort() };
  const error = await assertRejects(
    () => dial(address, greeting(), { silentMsMax: 60_000 }),
    WireError,
    "connection refused",
  );
  assertEquals(error.code, "link-lost");
});

Deno.test("dial: an aborted dial ends at once and leaves nothing behind", async () => {
  using listener = Deno.listen(LISTEN);
  const address = { host: LISTEN.hostname, port: listener.addr.port };
  const controller = new AbortController();
  const dialing = dial(address, greeting(), {
    silentMsMax: 60_000,
    signal: controller.signal,
  });
  const refusal = assertRejects(() => dialing, WireError);
  using conn = await listener.accept();
  // It waits for a challenge that does not come.
  await readUntil(conn, (bytes) => bytes.length > PREFACE.length + 5);
  const ms = await timed(async () => {
    controller.abort();
    assertEquals((await refusal).code, "link-lost");
  });
  assertLess(ms, 2_000);
  await readToEnd(conn);
  await roundTrips();
});

Deno.test("dial: dialing leaves nothing behind on a signal that outlives it", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    listeners += 1;
    Reflect.apply(addEventListener, signal, args);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    listeners -= 1;
    Reflect.apply(removeEventListener, signal, args);
  };
  const refusing = { host: LISTEN.hostname, port: freePort() };
  for (let i = 0; i < 3; i++) {
    await assertRejects(() =>
      dial(refusing, greeting(), { silentMsMax: 60_000, signal })
    );
  }
  assertEquals(listeners, 0);
  using listener = Deno.listen(LISTEN);
  const accepting = listener.accept().then((conn) =>
    shakeHands(conn, {
      side: "accept",
      greeting: greeting(),
      first: new Uint8Array(0),
      silentMsMax: 60_000,
    })
  );
  const address = { host: LISTEN.hostname, port: listener.addr.port };
  const { link } = await dial(address, greeting(), {
    silentMsMax: 60_000,
    signal,
  });
  assertEquals(listeners, 0);
  // What stands is its owner's, not the attempt's.
  controller.abort();
  await link.send(bytesOf("still here"));
  link.abort();
  (await accepting).link.abort();
});

Deno.test("dial: a dial that was given up before it began does not connect", async () => {
  using listener = Deno.listen(LISTEN);
  const address = { host: LISTEN.hostname, port: listener.addr.port };
  const error = await assertRejects(
    () =>
      dial(address, greeting(), {
        silentMsMax: 60_000,
        signal: AbortSignal.abort(),
      }),
    WireError,
    "Given up",
  );
  assertEquals(error.code, "link-lost");
  await roundTrips();
  let hasCome = false;
  const accepting = listener.accept().then((conn) => {
    hasCome = true;
    conn.close();
  }, () => {});
  await roundTrips();
  assertEquals(hasCome, false);
  listener.close();
  await accepting;
});

Deno.test("dial: a dial that is aborted as it connects ends, and its connection with it", async () => {
  for (let turns = 0; turns < 12; turns++) {
    using listener = Deno.listen(LISTEN);
    const address = { host: LISTEN.hostname, port: listener.addr.port };
    const controller = new AbortController();
    const refusal = assertRejects(
      () =>
        dial(address, greeting(), {
          silentMsMax: 60_000,
          signal: controller.signal,
        }),
      WireError,
    );
    using conn = await listener.accept();
    for (let i = 0; i < turns; i++) await Promise.resolve();
    controller.abort();
    assertEquals((await refusal).code, "link-lost");
    await readToEnd(conn);
  }
});

Deno.test("dial: a dial whose peer never answers ends after the time that it was given", async () => {
  using listener = Deno.listen(LISTEN);
  const address = { host: LISTEN.hostname, port: listener.addr.port };
  const ms = await timed(async () => {
    const error = await assertRejects(
      () => dial(address, greeting(), { silentMsMax: 60_000, waitMs: 60 }),
      WireError,
      "Handshake took longer than 60 ms",
    );
    assertEquals(error.code, "timeout");
  });
  assertGreaterOrEqual(ms, 50);
  assertLess(ms, 3_000);
  using conn = await listener.accept();
  await readToEnd(conn);
});

Deno.test("dial: a dial where nobody answers at all ends after the time that it was given", async () => {
  using listener = Deno.listen({ ...LISTEN, tcpBacklog: 1 });
  const address = { host: LISTEN.hostname, port: listener.addr.port };
  // Nobody is accepted: when enough wait, the system answers no more.
  const connecting: Promise<Deno.Conn>[] = [];
  let isFull = false;
  while (!isFull && connecting.length < 10) {
    const connection = Deno.connect({ ...LISTEN, port: address.port });
    connecting.push(connection);
    isFull = await Promise.race([
      connection.then(() => false),
      roundTrips(100).then(() => true),
    ]);
  }
  const ms = await timed(async () => {
    const error = await assertRejects(
      () => dial(address, greeting(), { silentMsMax: 60_000, waitMs: 60 }),
      WireError,
      "No answer within 60 ms",
    );
    assertEquals(error.code, "timeout");
  });
  assertGreaterOrEqual(ms, 50);
  assertLess(ms, 3_000);
  listener.close();
  for (const connection of connecting) {
    await connection.then(closeOnce, () => {});
  }
});
