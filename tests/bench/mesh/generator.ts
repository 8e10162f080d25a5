/** The generator of the load, `fan_out.c`: compiled once, run for each measurement. */

import Type from "typebox";
import { Value } from "typebox/value";
import type { Workbench } from "../workbench.ts";
import type { FanOutResult } from "./figures.ts";

const SOURCE = new URL("./fan_out.c", import.meta.url).pathname;

/** From the end of its output until its reason has been read. */
const WORD_WAIT_MS = 5_000;

/** How far the publisher may be ahead of the slowest subscriber. */
export const WINDOW_MESSAGES = 64;

/** Of the text alone; each system adds its own. */
export const TEXT_BYTES = 100;

/** What the generator can speak. */
export type Protocol = "skein" | "irc" | "mqtt" | "nats";

/** One measurement. */
export interface FanOutPlan {
  readonly protocol: Protocol;
  readonly port: number;
  /** Process of the server. */
  readonly pid: number;
  readonly subscribers: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

const Result = Type.Object({
  seconds: Type.Number(),
  delivered: Type.Integer(),
  published: Type.Integer(),
  p50Us: Type.Integer(),
  p99Us: Type.Integer(),
  maxUs: Type.Integer(),
  samples: Type.Integer({ minimum: 1 }),
  serverSeconds: Type.Number(),
  loadSeconds: Type.Number(),
  memoryBytes: Type.Integer(),
  openMs: Type.Number(),
});

/** A compiled generator, as long as its bench is open. */
export class Generator {
  readonly #bench: Workbench;
  readonly #program: string;

  private constructor(bench: Workbench, program: string) {
    this.#bench = bench;
    this.#program = program;
  }

  /** @throws {Error} When there is no gcc, or it finds fault with the source. */
  static async compile(bench: Workbench): Promise<Generator> {
    const program = `${bench.folder("generator")}/fan_out`;
    const { success, stderr } = await gcc(["-O2", "-o", program, SOURCE]);
    if (success) return new Generator(bench, program);
    const text = new TextDecoder().decode(stderr).trim();
    throw new Error(`Cannot compile ${SOURCE}: ${text}`);
  }

  /** @throws {Error} When a message was lost, repeated, cut or out of order, or none came any more. */
  async run(plan: FanOutPlan): Promise<FanOutResult> {
    const { protocol, port, pid, subscribers, warmUpMs, measureMs } = plan;
    const numbers = [
      port,
      subscribers,
      WINDOW_MESSAGES,
      warmUpMs,
      measureMs,
      pid,
    ];
    const child = this.#bench.start(this.#program, {
      args: [protocol, ...numbers.map(String)],
      isRead: true,
    });
    const text = await new Response(child.stdout).text();
    if (text === "") throw new Error((await child.said(/.+/, WORD_WAIT_MS))[0]);
    await child.end();
    const result: unknown = JSON.parse(text);
    if (Value.Check(Result, result)) return result;
    throw new Error(`The generator said ${text}`);
  }
}

function gcc(args: readonly string[]): Promise<Deno.CommandOutput> {
  try {
    return new Deno.Command("gcc", { args: [...args] }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const text =
      "gcc is not installed; on Debian: apt-get install gcc libc6-dev";
    throw new Error(text, { cause: error });
  }
}
