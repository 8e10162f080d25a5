import { assert, assertEquals, assertThrows } from "@std/assert";
import { listenAtFree } from "../../../nodes/host/free_port.ts";

const hostname = "127.0.0.1";

function listenAt(port: number, mayMove: boolean): Deno.TcpListener {
  return listenAtFree({ host: hostname, port }, {
    mayMove,
    listen: (address) => Deno.listen({ hostname, port: address.port }),
  });
}

/** Free ports in a row, which nobody else is likely to take meanwhile. */
function portsInARow(count: number): number {
  for (;;) {
    const base = 20_000 + Math.floor(Math.random() * 20_000);
    const opened: Deno.TcpListener[] = [];
    try {
      for (let more = 0; more < count; more += 1) {
        opened.push(Deno.listen({ hostname, port: base + more }));
      }
      return base;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    } finally {
      for (const listener of opened) listener.close();
    }
  }
}

Deno.test("free port: the first that is free of those that follow, then any", () => {
  const base = portsInARow(9);
  const listeners: Deno.TcpListener[] = [];
  try {
    for (let count = 0; count < 9; count += 1) {
      listeners.push(listenAt(base, true));
    }
    assertEquals(
      listeners.map(({ addr }) => addr.port),
      Array.from({ length: 9 }, (_, more) => base + more),
    );
    const beyond = listenAt(base, true);
    listeners.push(beyond);
    assert(beyond.addr.port < base || beyond.addr.port > base + 8);
  } finally {
    for (const listener of listeners) listener.close();
  }
});

Deno.test("free port: a port that was asked for is that one or none", () => {
  const base = portsInARow(1);
  using _first = listenAt(base, false);
  assertThrows(() => listenAt(base, false), Deno.errors.AddrInUse);
});

Deno.test("free port: an address that is not there is not looked for elsewhere", () => {
  let tries = 0;
  assertThrows(
    () =>
      listenAtFree({ host: "x", port: 1 }, {
        mayMove: true,
        listen: () => {
          tries += 1;
          throw new Deno.errors.AddrNotAvailable("not here");
        },
      }),
    Deno.errors.AddrNotAvailable,
  );
  assertEquals(tries, 1);
});
