/** Skein's chain as its clients see it: by frames, and by lines of text. */

import {
  type Flood,
  type Floodable,
  type Load,
  type Pingable,
  UNDER_WAY_BYTES_MAX,
} from "./load.ts";
import type { SkeinFleet } from "./skein_fleet.ts";
import { prepareFrame, SkeinSender } from "./skein_sender.ts";
import { refuseSurplus, writeAll } from "./tcp_chain.ts";

/** With acknowledgements, by the protocol of `skein send`. */
export class FramedSkeinChain implements Floodable, Pingable {
  readonly #fleet: SkeinFleet;

  constructor(fleet: SkeinFleet) {
    this.#fleet = fleet;
  }

  async flood(load: Load, forMs: number): Promise<Flood> {
    const { sink, port } = this.#fleet;
    using sender = await SkeinSender.connect(port);
    const frame = prepareFrame(load.block, load.lines);
    const from = sink.bytes;
    let frames = 0;
    const startMs = performance.now();
    do {
      frames += 1;
      const end = frames * frame.bytes.length;
      await sender.acknowledged(end - UNDER_WAY_BYTES_MAX);
      await sender.send(frame);
    } while (performance.now() - startMs < forMs);
    const end = from + frames * load.block.length;
    const arrived = sink.reached(end).then(() => performance.now() - startMs);
    await sender.acknowledged(sender.sent);
    const acknowledgedMs = performance.now() - startMs;
    const arrivedMs = await arrived;
    refuseSurplus(sink, end);
    return { messages: frames * load.lines, arrivedMs, acknowledgedMs };
  }

  async ping(load: Load, count: number): Promise<Float64Array> {
    const { sink, port } = this.#fleet;
    using sender = await SkeinSender.connect(port);
    const frame = prepareFrame(load.line, 1);
    const tookUs = new Float64Array(count);
    for (let index = 0; index < count; index++) {
      const end = sink.bytes + load.line.length;
      const startMs = performance.now();
      const sending = sender.send(frame);
      await sink.reached(end);
      tookUs[index] = (performance.now() - startMs) * 1_000;
      await sending;
    }
    await sender.acknowledged(sender.sent);
    return tookUs;
  }
}

/** As `nc` would: lines in; the head closes when the tail has them all. */
export class TextSkeinChain implements Floodable {
  readonly #fleet: SkeinFleet;

  constructor(fleet: SkeinFleet) {
    this.#fleet = fleet;
  }

  async flood(load: Load, forMs: number): Promise<Flood> {
    const { sink, port } = this.#fleet;
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    conn.setNoDelay(true);
    const from = sink.bytes;
    let blocks = 0;
    const startMs = performance.now();
    do {
      blocks += 1;
      const end = from + blocks * load.block.length;
      await sink.reached(end - UNDER_WAY_BYTES_MAX);
      await writeAll(conn, load.block);
    } while (performance.now() - startMs < forMs);
    const end = from + blocks * load.block.length;
    const arrived = sink.reached(end).then(() => performance.now() - startMs);
    await conn.closeWrite();
    await endOf(conn);
    const acknowledgedMs = performance.now() - startMs;
    const arrivedMs = await arrived;
    refuseSurplus(sink, end);
    return { messages: blocks * load.lines, arrivedMs, acknowledgedMs };
  }
}

async function endOf(conn: Deno.Conn): Promise<void> {
  const answer = new Uint8Array(4_096);
  const count = await conn.read(answer);
  conn.close();
  if (count === null) return;
  const text = new TextDecoder().decode(answer.subarray(0, count));
  throw new Error(`Found an answer, wanted none: "${text.trim()}"`);
}
