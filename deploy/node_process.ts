/** One node of a fleet as a child process. */

import { get } from "node:http";
import type { FleetNode } from "./fleets.ts";
import { LineSplitter, readableLogLine } from "./node_output.ts";
import { escapeText } from "../nodes/host/text.ts";
import { type ProcessId, processId } from "./process_id.ts";
import type { Screen } from "./screen.ts";
import { within } from "./within.ts";

const LAST_LINES_MAX = 10;
const READY_POLL_MS = 50;
const READY_ANSWER_WAIT_MS = 1_000;
const READY_TEXT_CHARACTERS_MAX = 200;

/** How a process ended. */
export interface Exit {
  readonly code: number;
  readonly signal: string | null;
}

/** A started node: what it prints goes to the screen as it comes. */
export class NodeProcess {
  readonly node: FleetNode;
  /** Nothing if it ended before we could look. */
  readonly id: ProcessId | undefined;
  readonly exited: Promise<Exit>;
  readonly #child: Deno.ChildProcess;
  readonly #screen: Screen;
  readonly #lastLines: string[] = [];
  readonly #printed: Promise<unknown>;
  #exit: Exit | undefined;

  /** @param program The command that is followed by the node's own arguments. */
  constructor(
    node: FleetNode,
    options: { readonly program: readonly string[]; readonly screen: Screen },
  ) {
    this.node = node;
    this.#screen = options.screen;
    const [command, ...leading] = options.program;
    this.#child = new Deno.Command(command, {
      args: [...leading, ...node.arguments],
      // Never written to. It ends with the launcher, however that ends, and
      // so ends the node: this is what `--exit-with-parent` listens to.
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      // A session of its own: a terminal's Ctrl-C reaches the launcher alone,
      // which then stops the nodes in its own way.
      detached: true,
      // The prefix alone is coloured, by the screen.
      env: { NO_COLOR: "1", ...node.environment },
    }).spawn();
    this.id = processId(this.#child.pid);
    this.#printed = Promise.all([
      this.#show(this.#child.stdout, escapeText),
      this.#show(this.#child.stderr, readableLogLine),
    ]);
    this.exited = this.#end();
  }

  /** How it ended; nothing while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** The newest lines that it printed, oldest first. */
  get lastLines(): readonly string[] {
    return this.#lastLines;
  }

  /** Resolves when all that an ended node printed is on the screen, at the latest after `waitMs`. */
  async printed(waitMs: number): Promise<void> {
    // A process that the node left behind could keep the pipe open.
    await within(waitMs, [this.#printed]);
  }

  /** Sends a signal if it still runs. */
  kill(signal: Deno.Signal): void {
    if (this.#exit !== undefined) return;
    try {
      this.#child.kill(signal);
    } catch (error) {
      // Ended, and its exit is not reported yet.
      if (error instanceof Deno.errors.NotFound) return;
      if (error instanceof TypeError) return; // "Child process has already terminated"
      throw error;
    }
  }

  /**
   * Waits until the node is ready, it ends, or `waitMs` is over.
   *
   * @returns Nothing when ready, else why not.
   */
  async ready(waitMs: number): Promise<string | undefined> {
    const deadlineMs = performance.now() + waitMs;
    let last = "no answer";
    while (performance.now() < deadlineMs) {
      if (this.#exit !== undefined) {
        return `it ended ${describeExit(this.#exit)}`;
      }
      const answer = await ask(this.node.readyUrl);
      if (answer.status === 200) return undefined;
      last = answer.text;
      await within(READY_POLL_MS, [this.exited]);
    }
    return `after ${waitMs / 1000} s ${this.node.readyUrl} says: ${last}`;
  }

  async #end(): Promise<Exit> {
    const { code, signal } = await this.#child.status;
    this.#exit = { code, signal };
    await this.#child.stdin.close();
    return this.#exit;
  }

  async #show(
    stream: ReadableStream<Uint8Array>,
    render: (line: string) => string,
  ): Promise<void> {
    const splitter = new LineSplitter();
    for await (const chunk of stream) {
      await this.#print(splitter.push(chunk).map(render));
    }
    await this.#print(splitter.end().map(render));
  }

  async #print(texts: string[]): Promise<void> {
    this.#lastLines.push(...texts.slice(-LAST_LINES_MAX));
    this.#lastLines.splice(0, this.#lastLines.length - LAST_LINES_MAX);
    const from = this.node.name;
    await this.#screen.print(texts.map((text) => ({ from, text })));
  }
}

/** `with code 1` or `by SIGKILL`. */
export function describeExit(exit: Exit): string {
  return exit.signal === null ? `with code ${exit.code}` : `by ${exit.signal}`;
}

/** One request; `node:http` because `fetch` would go through `HTTP_PROXY`. */
function ask(url: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve) => {
    const fail = (error: Error) =>
      resolve({ status: 0, text: escapeText(error.message) });
    const request = get(
      url,
      { agent: false, signal: AbortSignal.timeout(READY_ANSWER_WAIT_MS) },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => {
          text = (text + part).slice(0, READY_TEXT_CHARACTERS_MAX);
        });
        response.on("error", fail);
        response.on("end", () => {
          const status = response.statusCode ?? 0;
          resolve({ status, text: `${status} ${escapeText(text.trim())}` });
        });
      },
    );
    request.on("error", fail);
  });
}
