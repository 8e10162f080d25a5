/** The programs that Skein's chain is measured against. */

import type { Child } from "../child.ts";
import type { Workbench } from "../workbench.ts";
import { listening, TcpChain } from "./tcp_chain.ts";

/** Hops between the sender and the sink. */
export const HOPS = 4;

const START_WAIT_MS = 10_000;

/** A chain of another program. */
export interface Peer {
  readonly name: string;
  /** What has to be installed; undefined: nothing. */
  readonly program: string | undefined;
  /** As Debian, Homebrew and most others call it. */
  readonly packageName: string;
  readonly versionFlag: string;
  readonly processes: number;
  open(bench: Workbench): Promise<TcpChain>;
}

export const SOCAT = "socat";
export const SOCAT_LARGE = "socat -b 262144";
export const PYTHON = "Python asyncio, by line";

const LARGE = ["-b", "262144"];

/** All there are; the first one has no hops and shows what the bench costs. */
export const PEERS: readonly Peer[] = [
  {
    name: "no hops, bench alone",
    program: undefined,
    packageName: "",
    versionFlag: "",
    processes: 0,
    open: () => TcpChain.open((sinkPort) => Promise.resolve(sinkPort)),
  },
  socat(SOCAT, { flags: [], isPrinting: false }),
  socat(SOCAT_LARGE, { flags: LARGE, isPrinting: false }),
  socat(`${SOCAT_LARGE}, printing`, { flags: LARGE, isPrinting: true }),
  haproxy(1),
  haproxy(HOPS),
  {
    name: PYTHON,
    program: "python3",
    packageName: "python3",
    versionFlag: "--version",
    processes: HOPS,
    open: (bench) => openPython(bench),
  },
];

/** How a chain of socat is made. */
interface SocatOptions {
  readonly flags: readonly string[];
  /** The last hop prints to a pipe that the bench reads, as Skein's tail does. */
  readonly isPrinting: boolean;
}

function socat(name: string, options: SocatOptions): Peer {
  return {
    name,
    program: "socat",
    packageName: "socat",
    versionFlag: "-V",
    processes: HOPS,
    open: (bench) =>
      options.isPrinting
        ? openPrintingSocat(bench, options.flags)
        : openHops(bench, async (port, next) => {
          await startSocat(bench, [
            ...options.flags,
            `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,nodelay`,
            `TCP:127.0.0.1:${next},nodelay`,
          ]);
        }),
  };
}

function openPrintingSocat(
  bench: Workbench,
  flags: readonly string[],
): Promise<TcpChain> {
  return TcpChain.openPrinting(async (sink) => {
    const [tail, ...others] = bench.ports(HOPS);
    const from = (port: number) =>
      `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,nodelay`;
    const child = await startSocat(
      bench,
      [...flags, "-u", from(tail), "STDOUT"],
    );
    void sink.drainOutput(child.stdout);
    let next = tail;
    for (const port of others) {
      const to = `TCP:127.0.0.1:${next},nodelay`;
      await startSocat(bench, [...flags, from(port), to]);
      next = port;
    }
    return next;
  });
}

async function startSocat(
  bench: Workbench,
  args: readonly string[],
): Promise<Child> {
  const child = bench.start("socat", {
    // Twice `-d` says when it listens, and nothing for each message.
    args: ["-d", "-d", ...args],
    isRead: args.includes("STDOUT"),
  });
  // It takes one connection: trying whether it listens would use it up.
  await child.said(/listening on/, START_WAIT_MS);
  return child;
}

function haproxy(processes: number): Peer {
  return {
    name: processes === 1
      ? "HAProxy, nbthread 1, one process"
      : "HAProxy, nbthread 1, a process a hop",
    program: "haproxy",
    packageName: "haproxy",
    versionFlag: "-v",
    processes,
    open: (bench) =>
      processes === 1
        ? openHaproxy(bench)
        : openHops(bench, async (port, next) => {
          startHaproxy(bench, [[port, next]]);
          await listening(port);
        }),
  };
}

function openHaproxy(bench: Workbench): Promise<TcpChain> {
  return TcpChain.open(async (sinkPort) => {
    const ports = bench.ports(HOPS);
    const nexts = [...ports.slice(1), sinkPort];
    startHaproxy(bench, ports.map((port, hop) => [port, nexts[hop]]));
    await listening(ports[0]);
    return ports[0];
  });
}

function startHaproxy(
  bench: Workbench,
  hops: readonly (readonly [port: number, next: number])[],
): void {
  const lines = [
    "global",
    "  nbthread 1",
    "  maxconn 64",
    "defaults",
    "  mode tcp",
    "  timeout connect 5s",
    "  timeout client 1h",
    "  timeout server 1h",
    ...hops.flatMap(([port, next]) => [
      `frontend from${port}`,
      `  bind 127.0.0.1:${port}`,
      `  default_backend to${next}`,
      `backend to${next}`,
      `  server next 127.0.0.1:${next}`,
    ]),
    "",
  ];
  const path = bench.write(`haproxy-${hops[0][0]}.cfg`, lines.join("\n"));
  // The shell ends it when the bench has gone without doing so.
  const guarded = 'haproxy -q -db -f "$0" & cat > /dev/null; kill -9 $!';
  bench.start("sh", { args: ["-c", guarded, path] });
}

function openPython(bench: Workbench): Promise<TcpChain> {
  const path = bench.write("relay.py", PYTHON_RELAY);
  return openHops(bench, async (port, next) => {
    const child = bench.start("python3", {
      args: [path, `${port}`, `${next}`],
    });
    await child.said(/^listening$/, START_WAIT_MS);
  });
}

/** Starts a hop after the other, the last one first. */
function openHops(
  bench: Workbench,
  start: (port: number, next: number) => Promise<void>,
): Promise<TcpChain> {
  return TcpChain.open(async (sinkPort) => {
    const ports = bench.ports(HOPS);
    let next = sinkPort;
    for (const port of ports) {
      await start(port, next);
      next = port;
    }
    return next;
  });
}

const PYTHON_RELAY = `"""Takes lines, prints each, passes each on."""
import asyncio
import os
import sys
import threading


async def main(port, next_port):
    async def relay(reader, writer):
        _, onward = await asyncio.open_connection("127.0.0.1", next_port)
        while line := await reader.readline():
            message = line.decode("utf-8").rstrip("\\n")
            print("received:", message)
            onward.write((message + "\\n").encode("utf-8"))
            await onward.drain()
        onward.close()
        writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", port)
    print("listening", file=sys.stderr, flush=True)
    async with server:
        await server.serve_forever()


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
`;
