/** A chain that passes bytes from one TCP connection to the next. */

import { ByteSink } from "../byte_sink.ts";
import {
  type Flood,
  type Floodable,
  type Load,
  type Pingable,
  UNDER_WAY_BYTES_MAX,
} from "./load.ts";

const CONNECT_WAIT_MS = 10_000;
const CONNECT_EVERY_MS = 20;

/** Both ends of such a chain: one connection in, a listening sink at its end. */
export class TcpChain implements Floodable, Pingable {
  readonly #sink: ByteSink;
  readonly #conn: Deno.TcpConn;

  private constructor(sink: ByteSink, conn: Deno.TcpConn) {
    this.#sink = sink;
    this.#conn = conn;
  }

  /**
   * Connects through a chain that ends in a connection to the sink.
   *
   * @param start Starts the hops, given the sink's port; resolves with the
   * head's port once each hop listens.
   */
  static async open(
    start: (sinkPort: number) => Promise<number>,
  ): Promise<TcpChain> {
    const sink = new ByteSink();
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    void acceptAll(listener, sink);
    return await TcpChain.#connect(sink, await start(listener.addr.port));
  }

  /**
   * Connects through a chain whose last hop prints, as Skein's does.
   *
   * @param start Starts the hops; resolves with the head's port.
   */
  static async openPrinting(
    start: (sink: ByteSink) => Promise<number>,
  ): Promise<TcpChain> {
    const sink = new ByteSink();
    return await TcpChain.#connect(sink, await start(sink));
  }

  static async #connect(sink: ByteSink, port: number): Promise<TcpChain> {
    const conn = await connect(port);
    conn.setNoDelay(true);
    return new TcpChain(sink, conn);
  }

  async flood(load: Load, forMs: number): Promise<Flood> {
    const { block } = load;
    const from = this.#sink.bytes;
    let blocks = 0;
    const startMs = performance.now();
    do {
      blocks += 1;
      const end = from + blocks * block.length;
      await this.#sink.reached(end - UNDER_WAY_BYTES_MAX);
      await writeAll(this.#conn, block);
    } while (performance.now() - startMs < forMs);
    const end = from + blocks * block.length;
    await this.#sink.reached(end);
    const arrivedMs = performance.now() - startMs;
    refuseSurplus(this.#sink, end);
    return { messages: blocks * load.lines, arrivedMs };
  }

  async ping(load: Load, count: number): Promise<Float64Array> {
    const { line } = load;
    const tookUs = new Float64Array(count);
    for (let index = 0; index < count; index++) {
      const end = this.#sink.bytes + line.length;
      const startMs = performance.now();
      const writing = writeAll(this.#conn, line);
      await this.#sink.reached(end);
      tookUs[index] = (performance.now() - startMs) * 1_000;
      await writing;
    }
    return tookUs;
  }
}

/** Waits until somebody listens on `port` of this machine. */
export async function listening(port: number): Promise<void> {
  (await connect(port)).close();
}

/** @throws {Error} When more has come than was sent: something is repeated. */
export function refuseSurplus(sink: ByteSink, bytes: number): void {
  if (sink.bytes === bytes) return;
  throw new Error(`The sink has ${sink.bytes} bytes, wanted ${bytes}`);
}

export async function writeAll(
  conn: Deno.Conn,
  bytes: Uint8Array,
): Promise<void> {
  let at = await conn.write(bytes);
  while (at < bytes.length) at += await conn.write(bytes.subarray(at));
}

async function acceptAll(
  listener: Deno.TcpListener,
  sink: ByteSink,
): Promise<void> {
  for (;;) {
    try {
      const conn = await listener.accept();
      // A hop that is ended resets its connection: what counts came before.
      sink.drain(conn).catch(() => {}).finally(() => conn.close());
    } catch (error) {
      // Whoever only tried whether a hop listens may be gone already.
      if (!(error instanceof Deno.errors.NotConnected)) throw error;
    }
  }
}

async function connect(port: number): Promise<Deno.TcpConn> {
  const deadlineMs = performance.now() + CONNECT_WAIT_MS;
  for (;;) {
    try {
      return await Deno.connect({ hostname: "127.0.0.1", port });
    } catch (error) {
      const isRefused = error instanceof Deno.errors.ConnectionRefused;
      if (!isRefused || performance.now() > deadlineMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, CONNECT_EVERY_MS));
    }
  }
}
