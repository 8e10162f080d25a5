/** `skein send`: lines of text into a chain, until the tail has them all. */

import { formatAddress } from "../protocol/address.ts";
import type { LinkId } from "../protocol/core.ts";
import { WireError } from "../protocol/errors.ts";
import { encodeError } from "../protocol/handshake.ts";
import { clientIdOf } from "../protocol/ids.ts";
import { orExit } from "../nodes/host/flags.ts";
import {
  backoffMs,
  dial,
  drawIncarnation,
  type Greeting,
  type Link,
} from "../nodes/host/link.ts";
import { type OpenLog, openLog } from "../nodes/host/log.ts";
import { LineInput } from "./line_input.ts";
import {
  SEND_TEXT_BYTES_MAX,
  SendCore,
  type SendEffect,
  type SendInput,
  type SendProblem,
} from "./send_core.ts";
import { parseSendFlags, type SendFlags } from "./send_flags.ts";

const DIAL_WAIT_MS_MAX = 1_000;
const LINK_SILENT_MS_MAX = 3_000;

/** How long an interrupted sender waits for what is under way. */
const INTERRUPT_WAIT_MS = 5_000;

/** A launcher in between may pass one Ctrl-C on twice. */
const ONE_CTRL_C_MS = 400;

const PROGRESS_EVERY_MS = 200;

/** Exit codes: all delivered; something was not; wrong flags are 2. */
const EXIT_ALL = 0;
const EXIT_NOT_ALL = 1;
const EXIT_INTERRUPTED = 130;

/** Sends, and exits with 0 only if all was delivered. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseSendFlags(args, Deno.env));
  const opened = openLog({ node: "skein-send", level: flags.logLevel });
  for (const warning of flags.warnings) opened.log.warn(warning);
  const code = await new Sender(flags, opened).run();
  await opened.flush();
  Deno.exit(code);
}

class Sender {
  readonly #flags: SendFlags;
  readonly #opened: OpenLog;
  readonly #core: SendCore;
  readonly #input: LineInput;
  readonly #greeting: Greeting;
  readonly #startMs = performance.now();
  readonly #showsProgress: boolean;
  #link: { id: LinkId; link: Link } | undefined;
  #nextLink = 1;
  #lastTrouble = "";
  #progressMs = performance.now();
  #timer: ReturnType<typeof setInterval> | undefined;
  #hasProgressLine = false;
  #interruptedMs: number | undefined;
  #finish: (code: number) => void = () => {};

  constructor(flags: SendFlags, opened: OpenLog) {
    this.#flags = flags;
    this.#opened = opened;
    const incarnation = drawIncarnation();
    const { cluster, key } = flags;
    this.#greeting = {
      self: { cluster, role: "client", id: `send-${Deno.pid}`, incarnation },
      accepts: ["chain"],
      ...(key !== undefined && { key }),
    };
    this.#core = new SendCore({
      client: clientIdOf(incarnation),
      targetCount: flags.connect.length,
    });
    const isTyped = flags.file === undefined && Deno.stdin.isTerminal();
    this.#showsProgress = !flags.quiet && !isTyped && Deno.stderr.isTerminal();
    this.#input = new LineInput(this.#open(), {
      blockBytesMax: SEND_TEXT_BYTES_MAX,
      onRefused: (line, error) => {
        this.#clearProgressLine();
        opened.log.error(`Line ${line} is left out: ${error.message}`);
      },
    });
  }

  /** Resolves with the exit code. */
  async run(): Promise<number> {
    const finished = new Promise<number>((resolve) => this.#finish = resolve);
    Deno.addSignalListener("SIGINT", () => this.#interrupt());
    this.#timer = setInterval(() => this.#tick(), PROGRESS_EVERY_MS);
    this.#step({ kind: "start" });
    const code = await finished;
    clearInterval(this.#timer);
    this.#clearProgressLine();
    await this.#opened.flush();
    if (!this.#flags.quiet) this.#summarize();
    return code === EXIT_ALL && this.#input.refused > 0 ? EXIT_NOT_ALL : code;
  }

  #open(): { read(into: Uint8Array): Promise<number | null> } {
    const { file } = this.#flags;
    if (file === undefined) return Deno.stdin;
    try {
      return Deno.openSync(file);
    } catch (error) {
      const text = error instanceof Error ? error.message : error;
      console.error(`skein send: cannot read "${file}": ${text}`);
      Deno.exit(EXIT_NOT_ALL);
    }
  }

  #step(input: SendInput): void {
    for (const effect of this.#core.step(input)) this.#act(effect);
  }

  #act(effect: SendEffect): void {
    switch (effect.kind) {
      case "dial":
        return void this.#dial(effect.target, effect.attempt);
      case "read":
        return void this.#read(effect.link, effect.into);
      case "write":
        return void this.#write(effect.link, effect.bytes);
      case "close":
        return this.#close(effect.link, effect.error);
      case "want-text":
        return void this.#handOver();
      case "progress":
        this.#progressMs = performance.now();
        return;
      case "route": {
        const { problem, complete } = effect.route;
        if (complete && this.#lastTrouble !== "") {
          this.#clearProgressLine();
          this.#opened.log.warn("The chain is complete");
          this.#lastTrouble = "";
        }
        if (!complete && problem !== undefined) this.#say(problem);
        return;
      }
      case "trouble":
        return this.#say(effect.problem);
      case "done":
        if (effect.problem !== undefined) {
          this.#clearProgressLine();
          this.#opened.log.error(effect.problem.text, {
            code: effect.problem.code,
          });
        }
        return this.#finish(
          effect.problem === undefined ? EXIT_ALL : EXIT_NOT_ALL,
        );
    }
  }

  async #handOver(): Promise<void> {
    try {
      const block = await this.#input.next();
      if (this.#core.queuedBytes === 0) this.#progressMs = performance.now();
      this.#step(
        block === undefined ? { kind: "end" } : { kind: "text", ...block },
      );
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#opened.log.error(`Cannot read the input: ${text}`);
      this.#finish(EXIT_NOT_ALL);
    }
  }

  async #dial(target: number, attempt: number): Promise<void> {
    const waitMs = backoffMs(attempt, Math.random(), DIAL_WAIT_MS_MAX);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    const address = this.#flags.connect[target];
    try {
      const { link, rest } = await dial(address, this.#greeting, {
        silentMsMax: LINK_SILENT_MS_MAX,
      });
      const id = this.#nextLink++;
      this.#link = { id, link };
      this.#step({ kind: "connected", link: id, bytes: rest });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      const text = `Cannot send to ${formatAddress(address)}: ${error.message}`;
      this.#step({ kind: "unreachable", error: { code: error.code, text } });
    }
  }

  async #read(id: LinkId, into: Uint8Array): Promise<void> {
    const open = this.#link;
    if (open?.id !== id) return;
    try {
      const length = await open.link.read(into);
      if (this.#link?.id !== id) return;
      this.#step(
        length === null
          ? { kind: "ended", link: id }
          : { kind: "read", link: id, length },
      );
    } catch (error) {
      this.#lost(id, error);
    }
  }

  async #write(id: LinkId, bytes: Uint8Array): Promise<void> {
    const open = this.#link;
    if (open?.id !== id) return;
    try {
      await open.link.send(bytes);
      if (this.#link?.id === id) this.#step({ kind: "written", link: id });
    } catch (error) {
      this.#lost(id, error);
    }
  }

  #lost(id: LinkId, error: unknown): void {
    if (!(error instanceof WireError)) throw error;
    if (this.#link?.id !== id) return;
    this.#link.link.abort();
    this.#link = undefined;
    this.#step({ kind: "link-down", link: id, reason: error.message });
  }

  #close(id: LinkId, error?: WireError): void {
    if (this.#link?.id !== id) return;
    void this.#link.link.close(error && encodeError(error));
    this.#link = undefined;
  }

  #interrupt(): void {
    const nowMs = performance.now();
    if (this.#interruptedMs !== undefined) {
      if (nowMs - this.#interruptedMs < ONE_CTRL_C_MS) return;
      return this.#finish(EXIT_INTERRUPTED);
    }
    this.#interruptedMs = nowMs;
    const { taken, delivered } = this.#core.counts;
    if (taken === delivered) return this.#finish(EXIT_ALL);
    this.#clearProgressLine();
    this.#opened.log.warn(
      `Waiting for ${
        taken - delivered
      } messages under way; Ctrl-C again gives them up`,
    );
    setTimeout(() => this.#finish(EXIT_NOT_ALL), INTERRUPT_WAIT_MS);
    this.#step({ kind: "end" });
  }

  #tick(): void {
    const { timeoutMs } = this.#flags;
    const { taken, delivered } = this.#core.counts;
    const idleMs = performance.now() - this.#progressMs;
    if (
      timeoutMs !== undefined && taken > delivered && idleMs >= timeoutMs
    ) {
      this.#clearProgressLine();
      this.#opened.log.error(
        `Giving up: nothing was delivered for ${timeoutMs / 1_000} s`,
      );
      return this.#finish(EXIT_NOT_ALL);
    }
    if (this.#showsProgress) this.#showProgress();
  }

  /** Says what is wrong, once for each thing that is. */
  #say(problem: SendProblem): void {
    if (problem.text === this.#lastTrouble) return;
    this.#lastTrouble = problem.text;
    this.#clearProgressLine();
    this.#opened.log.warn(`${problem.text}; still trying`, {
      code: problem.code,
    });
  }

  #showProgress(): void {
    const { taken, delivered } = this.#core.counts;
    const seconds = (performance.now() - this.#startMs) / 1_000;
    const mbPerSecond = this.#core.textBytes / 1e6 / seconds;
    this.#hasProgressLine = true;
    writeError(
      `\r\x1b[Ksent ${taken}, delivered ${delivered}, ${
        mbPerSecond.toFixed(1)
      } MB/s`,
    );
  }

  #clearProgressLine(): void {
    if (!this.#hasProgressLine) return;
    this.#hasProgressLine = false;
    writeError("\r\x1b[K");
  }

  #summarize(): void {
    const { taken, delivered, resent } = this.#core.counts;
    const { refused } = this.#input;
    const seconds = (performance.now() - this.#startMs) / 1_000;
    const left = refused === 0 ? "" : `, left out ${refused}`;
    writeError(
      `sent ${taken}, delivered ${delivered}, resent ${resent}${left}, ${
        seconds.toFixed(2)
      } s\n`,
    );
  }
}

function writeError(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}
