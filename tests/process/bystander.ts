/** A well-behaved sender beside those that are not. */

import { assertEquals } from "@std/assert";
import { ChainFleet } from "./chain_fleet.ts";
import type { ChainNode } from "./chain_node.ts";
import { type NumberedText, numberedText } from "./numbered_text.ts";
import { assertSameText } from "./same_text.ts";
import type { SendProcess } from "./send_process.ts";

const PART_BYTES = 300_000;

/** A chain of two with `--ack-lines` and a transfer that nothing may disturb. */
export class Bystander implements AsyncDisposable {
  readonly fleet: ChainFleet;
  readonly head: ChainNode;
  readonly tail: ChainNode;
  readonly #text: NumberedText;
  #send: SendProcess | undefined;
  #fedBytes = 0;

  private constructor(fleet: ChainFleet, text: NumberedText) {
    this.fleet = fleet;
    this.#text = text;
    this.head = fleet.node("head", { next: ["tail"], flags: ["--ack-lines"] });
    this.tail = fleet.node("tail", {
      flags: ["--output", fleet.path("output")],
    });
  }

  /** Starts all; `parts` is how often {@linkcode feed} will be called. */
  static async start(parts: number): Promise<Bystander> {
    const text = numberedText({ bytesMin: parts * PART_BYTES, seed: 12 });
    const started = new Bystander(new ChainFleet(), text);
    try {
      await started.fleet.startReady();
      started.#send = started.fleet.send({ to: ["head"], input: "piped" });
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Sends some more; it arrives while a test does its worst. */
  async feed(): Promise<void> {
    const end = this.#fedBytes + PART_BYTES;
    await this.#send?.feed(this.#text.bytes.subarray(this.#fedBytes, end));
    this.#fedBytes = end;
  }

  /**
   * Ends the transfer: all arrived once, in order, without a reconnect or a
   * word of complaint, and of others exactly `extra`, in any order, and perhaps of `maybe`.
   */
  async assertUnharmed(
    extra: readonly string[],
    maybe: readonly string[] = [],
  ): Promise<void> {
    const send = this.#send;
    if (send === undefined) throw new Error("There was no start");
    await send.feed(this.#text.bytes.subarray(this.#fedBytes));
    await send.endInput();
    const { seconds: _, ...counts } = await send.outcome();
    assertEquals(counts, {
      code: 0,
      sent: this.#text.lineCount,
      delivered: this.#text.lineCount,
      resent: 0,
      leftOut: 0,
    }, this.fleet.describe());
    assertEquals(send.lines.length, 1, this.fleet.describe());
    assertEquals([this.head.mishap, this.tail.mishap], [undefined, undefined]);
    const wanted = new Set(extra);
    const lines = Deno.readTextFileSync(this.fleet.path("output")).split("\n")
      .filter((line) => !maybe.includes(line));
    const own = lines.filter((line) => !wanted.has(line)).join("\n");
    assertSameText(new TextEncoder().encode(own), this.#text.bytes);
    const others = lines.filter((line) => wanted.has(line));
    assertEquals(others.toSorted(), [...extra].toSorted());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet[Symbol.asyncDispose]();
  }
}
