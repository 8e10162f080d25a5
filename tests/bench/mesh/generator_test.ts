/** What the generator counts, and what it does not let pass. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Workbench } from "../workbench.ts";
import type { FanOutResult } from "./figures.ts";
import { Generator, WINDOW_MESSAGES } from "./generator.ts";

const SUBSCRIBERS = 3;

/** What the first subscriber gets instead of the messages `texts`. */
type Fault = (texts: readonly string[]) => readonly string[];

/** Runs the generator against a server of a few lines that speaks as NATS does. */
async function measure(fault: Fault = (texts) => texts): Promise<FanOutResult> {
  // The last one is closed first.
  await using relay = new Relay(fault);
  await using bench = new Workbench();
  const generator = await Generator.compile(bench);
  return await generator.run({
    protocol: "nats",
    port: relay.port,
    pid: Deno.pid,
    subscribers: SUBSCRIBERS,
    warmUpMs: 20,
    measureMs: 200,
  });
}

class Relay implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #conns: Deno.Conn[] = [];
  readonly #served: Promise<void>[] = [];
  readonly #fault: Fault;

  constructor(fault: Fault) {
    this.#fault = fault;
    this.#served.push(this.#accept());
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** The generator has ended before: all its connections come to their end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await Promise.all(this.#served);
    for (const conn of this.#conns) conn.close();
  }

  async #accept(): Promise<void> {
    for await (const conn of this.#listener) {
      this.#conns.push(conn);
      this.#served.push(this.#serve(conn));
    }
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(65_536);
    const decoder = new TextDecoder();
    let kept = "";
    try {
      while (true) {
        const length = await conn.read(buffer);
        if (length === null) return;
        const lines = (kept + decoder.decode(buffer.subarray(0, length)))
          .split("\r\n");
        kept = lines.pop() ?? "";
        await this.#hear(conn, lines);
      }
    } catch (error) {
      // It ends as soon as it has found a fault.
      const isOver = error instanceof Deno.errors.ConnectionReset ||
        error instanceof Deno.errors.BrokenPipe;
      if (!isOver) throw error;
    }
  }

  async #hear(conn: Deno.Conn, lines: readonly string[]): Promise<void> {
    if (lines.includes("PING")) await say(conn, "PONG\r\n");
    const texts = lines.filter((line) => line.endsWith("|"));
    if (texts.length === 0) return;
    assert(texts.length <= WINDOW_MESSAGES);
    for (const [at, subscriber] of this.#conns.entries()) {
      // The last one is the publisher.
      if (at === SUBSCRIBERS) continue;
      const got = at === 0 ? this.#fault(texts) : texts;
      const wire = got.map((one) => `MSG bench 1 ${one.length}\r\n${one}\r\n`);
      await say(subscriber, wire.join(""));
    }
  }
}

async function say(conn: Deno.Conn, text: string): Promise<void> {
  let left = new TextEncoder().encode(text);
  while (left.length > 0) left = left.subarray(await conn.write(left));
}

Deno.test("fan_out: every message to every subscriber is counted", async () => {
  const result = await measure();
  assert(result.published > 0);
  // Where the measuring begins and ends, some are under way.
  const wanted = result.published * SUBSCRIBERS;
  const slack = 2 * WINDOW_MESSAGES * SUBSCRIBERS;
  assert(
    Math.abs(result.delivered - wanted) <= slack,
    `${result.delivered} delivered, ${wanted} wanted`,
  );
  assert(result.p50Us <= result.p99Us && result.p99Us <= result.maxUs);
  assert(result.seconds >= 0.15 && result.memoryBytes > 1_000_000);
});

Deno.test("fan_out: a lost message is an error", async () => {
  const lose: Fault = (texts) => texts.slice(1);
  await assertRejects(() => measure(lose), Error, "wanted 0");
});

Deno.test("fan_out: a message repeated is an error", async () => {
  const repeat: Fault = (texts) => [texts[0], ...texts];
  await assertRejects(() => measure(repeat), Error, "wanted 1");
});

Deno.test("fan_out: two messages in the wrong order are an error", async () => {
  const swap: Fault = (texts) => texts.toReversed();
  await assertRejects(() => measure(swap), Error, "wanted 0");
});

Deno.test("fan_out: a message cut short is an error", async () => {
  const cut: Fault = (texts) => texts.map((text) => text.slice(0, 50) + "|");
  await assertRejects(() => measure(cut), Error, "got message xxxxxxxxxx");
});

Deno.test("fan_out: the last one that comes no more is an error", async () => {
  let isLost = false;
  const stop: Fault = (texts) => {
    const got = isLost ? [] : texts;
    isLost = true;
    return got;
  };
  const text =
    "nothing came for 5000 ms: 128 messages published, the slowest subscriber has 64";
  await assertRejects(() => measure(stop), Error, text);
});

Deno.test("fan_out: what is wrong on the command line is said", async () => {
  await using bench = new Workbench();
  const generator = await Generator.compile(bench);
  const plan = {
    protocol: "nats",
    port: 0,
    pid: Deno.pid,
    subscribers: 1,
    warmUpMs: 0,
    measureMs: 1,
  } as const;
  const text = 'found "0", wanted 1 to 65535';
  await assertRejects(() => generator.run(plan), Error, text);
  assertEquals(WINDOW_MESSAGES, 64);
});
