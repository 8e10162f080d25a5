/** `deno task cluster` as a child process, on ports and notes of its own. */

import { TextLineStream } from "@std/streams";
import { type FleetState, FleetStates } from "../../deploy/fleet_state.ts";
import { type ProcessId, signal, waitGone } from "../../deploy/process_id.ts";
import { within } from "../../deploy/within.ts";
import { PortBlock } from "./port_block.ts";

export const CHECKOUT = new URL("../../", import.meta.url).pathname;
const CLUSTER = `${CHECKOUT}deploy/cluster.ts`;
/** Long: a laptop may run all tests at once. */
export const WAIT_MS = 90_000;

/** Ports and a folder that belong to one test. */
export class ClusterSite implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "skein-cluster-" });
  readonly ports = PortBlock.reserve();
  readonly states = new FleetStates(this.folder);
  readonly #started: ClusterProcess[] = [];
  readonly #seen = new Map<number, ProcessId>();

  /** Starts a fleet here. */
  start(fleet = "chain", ...flags: string[]): ClusterProcess {
    const started = new ClusterProcess([...this.flags(fleet), ...flags]);
    this.#started.push(started);
    return started;
  }

  /** Runs a command to its end. */
  async run(what: string): Promise<{ code: number; text: string }> {
    const process = new ClusterProcess(this.flags(what));
    this.#started.push(process);
    const { code } = await process.ended();
    return { code, text: process.lines.join("\n") };
  }

  /** The note of what runs here now. */
  state(): FleetState {
    const [state] = this.states.read();
    if (state === undefined) throw new Error("There is no note of a fleet");
    for (const process of [state.launcher, ...state.nodes]) {
      this.#seen.set(process.pid, process);
    }
    return state;
  }

  flags(what: string): string[] {
    return [
      ...[what, "--base-port", String(this.ports.base)],
      ...["--state-folder", this.folder],
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const started of this.#started) started.kill("SIGKILL");
    for (const state of this.states.read()) {
      for (const process of [state.launcher, ...state.nodes]) {
        this.#seen.set(process.pid, process);
      }
    }
    const all = [...this.#seen.values()];
    for (const process of all) signal(process, "SIGKILL");
    await waitGone(all, WAIT_MS);
    await Promise.all(this.#started.map((started) => started.ended()));
    this.ports[Symbol.dispose]();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** One run of `deploy/cluster.ts`. */
export class ClusterProcess {
  /** All lines so far, of both outputs. */
  readonly lines: string[] = [];
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<unknown>;
  #wake = Promise.withResolvers<void>();
  #isOver = false;

  constructor(args: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "-A", CLUSTER, ...args],
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#child.pid;
    this.#read = Promise.all([
      this.#collect(this.#child.stdout),
      this.#collect(this.#child.stderr),
    ]).finally(() => {
      this.#isOver = true;
      this.#wake.resolve();
    });
  }

  /** Waits for a line; throws with all lines when it does not come. */
  async line(pattern: RegExp): Promise<string> {
    const deadlineMs = performance.now() + WAIT_MS;
    while (true) {
      const found = this.lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (this.#isOver || performance.now() > deadlineMs) {
        throw new Error(
          `No line matches ${pattern} in:\n${this.lines.join("\n")}`,
        );
      }
      await within(deadlineMs - performance.now(), [this.#wake.promise]);
    }
  }

  /** Waits until all nodes are ready and it has said how to reach them. */
  async ready(): Promise<void> {
    await this.line(/^Ctrl-C stops all$/);
  }

  /** Resolves when it has ended and all its lines are here. */
  async ended(): Promise<Deno.CommandStatus> {
    const status = await this.#child.status;
    await this.#read;
    return status;
  }

  kill(name: Deno.Signal): void {
    try {
      this.#child.kill(name);
    } catch (error) {
      // It has ended already.
      if (
        !(error instanceof TypeError || error instanceof Deno.errors.NotFound)
      ) {
        throw error;
      }
    }
  }

  async #collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    const lines = stream.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      this.lines.push(line);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    }
  }
}
