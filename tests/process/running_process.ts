/** A program under test as a child process: its output, its signals, its end. */

import { bounded, until } from "./until.ts";

const LAST_LINES_MAX = 15;
const FEED_BYTES = 65_536;

/** Variables that a program may need; no other reaches it. */
const VARIABLES_KEPT = [
  "PATH",
  "HOME",
  "TMPDIR",
  "DENO_DIR",
  "XDG_CACHE_HOME",
];

/** What to run. */
export interface ProcessOptions {
  /** For failure texts. */
  readonly name: string;
  /** Program and arguments. */
  readonly command: readonly string[];
  /** Working directory: a `.env` in it would count. */
  readonly folder: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Default: piped, and open until it is closed. */
  readonly input?: "piped" | "null";
  /** `unread`: nobody reads its standard output. Default: collected. */
  readonly output?: "collected" | "unread";
}

/** How a process ended. */
export interface Exit {
  readonly code: number;
  readonly signal: Deno.Signal | null;
}

/** One line of a structured log. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** A child process. It is killed, at the latest, when it is disposed of. */
export class RunningProcess implements AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Lines on standard error so far, without their newlines. */
  readonly lines: string[] = [];
  /** Bytes of {@linkcode feed} that the process has taken. */
  fedBytes = 0;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array> | undefined;
  readonly #output: Uint8Array[] = [];
  readonly #over: Promise<Exit>;
  #outputBytes = 0;
  #exit: Exit | undefined;
  #isInputClosed = false;

  constructor(options: ProcessOptions) {
    const { name, command: [program, ...args], input = "piped" } = options;
    this.name = name;
    this.#child = new Deno.Command(program, {
      args,
      cwd: options.folder,
      clearEnv: true,
      env: {
        ...keptVariables(),
        NO_COLOR: "1",
        ...options.environment,
      },
      stdin: input,
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#child.pid;
    this.#input = input === "piped" ? this.#child.stdin.getWriter() : undefined;
    this.#over = this.#run(options.output ?? "collected");
  }

  /** How it ended; undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** Bytes on standard output so far. */
  get outputBytes(): number {
    return this.#outputBytes;
  }

  /** Standard output so far. */
  output(): Uint8Array {
    const all = new Uint8Array(this.#outputBytes);
    let at = 0;
    for (const part of this.#output) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  /** Standard output so far, as text. */
  outputText(): string {
    return new TextDecoder().decode(this.output());
  }

  /** The lines of standard error that are of a structured log. */
  logLines(): LogLine[] {
    return this.lines.flatMap((line) => {
      const parsed = line.startsWith("{") ? parseLog(line) : undefined;
      return parsed === undefined ? [] : [parsed];
    });
  }

  /** Waits for a line on standard error, `from` the given one on. */
  async line(pattern: RegExp, from = 0): Promise<string> {
    return await this.until(
      `${this.name} logs ${pattern}`,
      () => this.lines.slice(from).find((line) => pattern.test(line)),
    );
  }

  /** {@linkcode until}; gives up when the process has ended. */
  async until<T>(what: string, look: () => T | Promise<T>) {
    return await until(what, look, {
      context: () => this.describe(),
      hopeless: () => {
        if (this.#exit === undefined) return undefined;
        return `${this.name} ended ${describeExit(this.#exit)}`;
      },
    });
  }

  /** Waits for its end, with all its output here. */
  async ended(waitMs?: number): Promise<Exit> {
    return await bounded(`${this.name} ends`, this.#over, {
      context: () => this.describe(),
      ...(waitMs !== undefined && { waitMs }),
    });
  }

  /** Sends a signal; does nothing when it has ended. */
  signal(name: Deno.Signal): void {
    if (this.#exit !== undefined) return;
    try {
      this.#child.kill(name);
    } catch (error) {
      // Ended, and its end is not reported yet.
      if (
        error instanceof TypeError || error instanceof Deno.errors.NotFound
      ) return;
      throw error;
    }
  }

  /**
   * Sends a signal again and again until it ends, as somebody does who is in
   * a hurry: a single one right after the first may count as the same.
   */
  async press(name: Deno.Signal, waitMs: number): Promise<Exit> {
    return await until(`${this.name} ends by ${name}`, () => {
      this.signal(name);
      return this.#exit;
    }, { waitMs, context: () => this.describe() });
  }

  /** Stops its execution; it is stopped when this resolves. */
  async freeze(): Promise<void> {
    this.signal("SIGSTOP");
    await this.until(
      `${this.name} is stopped`,
      () => Deno.build.os !== "linux" || stateOf(this.pid) === "T",
    );
  }

  /** Lets it go on after {@linkcode freeze}. */
  thaw(): void {
    this.signal("SIGCONT");
  }

  /** Writes to its standard input; resolves once the process has taken it. */
  async feed(bytes: Uint8Array): Promise<void> {
    if (this.#input === undefined) throw new Error("It has no standard input");
    for (let at = 0; at < bytes.length; at += FEED_BYTES) {
      const part = bytes.subarray(at, at + FEED_BYTES);
      await this.#input.write(part);
      this.fedBytes += part.length;
    }
  }

  /** Closes its standard input. */
  async endInput(): Promise<void> {
    if (this.#isInputClosed) return;
    this.#isInputClosed = true;
    try {
      await this.#input?.close();
    } catch (error) {
      // It ended first, and with it the pipe.
      if (this.#exit === undefined && !isPipeGone(error)) throw error;
    }
  }

  /** Goes away from its standard output, which nobody was reading. */
  async closeOutput(): Promise<void> {
    await this.#child.stdout.cancel();
  }

  /** Memory in RAM, in bytes; Linux only. */
  residentBytes(): number {
    const status = Deno.readTextFileSync(`/proc/${this.pid}/status`);
    const kibibytes = /^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1];
    if (kibibytes === undefined) throw new Error(`${this.name} has no memory`);
    return Number(kibibytes) * 1024;
  }

  /** Its state and last lines, for failure texts. */
  describe(): string {
    const how = this.#exit === undefined ? "runs" : describeExit(this.#exit);
    const last = this.lines.slice(-LAST_LINES_MAX).map((line) => `  ${line}\n`);
    return `${this.name} (process ${this.pid}, ${how}, ${this.#outputBytes} bytes of output):\n${
      last.join("")
    }`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.#over;
    if (this.#isInputClosed) return;
    this.#isInputClosed = true;
    await this.#input?.abort().catch(() => {
      // A feed was under way: it is told, and the process is gone.
    });
  }

  async #run(output: "collected" | "unread"): Promise<Exit> {
    const [{ code, signal }] = await Promise.all([
      this.#child.status.then((status) => {
        const { code, signal } = status;
        this.#exit = { code, signal };
        return status;
      }),
      output === "collected"
        ? this.#collect()
        : this.#child.status.then(() => this.#child.stdout.cancel()),
      this.#readLines(),
    ]);
    return { code, signal };
  }

  async #collect(): Promise<void> {
    for await (const part of this.#child.stdout) {
      this.#output.push(part);
      this.#outputBytes += part.length;
    }
  }

  async #readLines(): Promise<void> {
    let rest = "";
    const decoded = this.#child.stderr.pipeThrough(new TextDecoderStream());
    for await (const part of decoded) {
      const lines = (rest + part).split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(...lines);
    }
    if (rest !== "") this.lines.push(rest);
  }
}

/** `with code 1` or `by SIGKILL`. */
export function describeExit(exit: Exit): string {
  return exit.signal === null ? `with code ${exit.code}` : `by ${exit.signal}`;
}

function keptVariables(): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of VARIABLES_KEPT) {
    const value = Deno.env.get(name);
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

function parseLog(line: string): LogLine | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // Cut short by the end of the process.
  }
}

function isPipeGone(error: unknown): boolean {
  return error instanceof Deno.errors.BrokenPipe ||
    error instanceof TypeError; // The stream broke in a write before.
}

/** The letter in proc(5) for what a process does; "T" is stopped. */
function stateOf(pid: number): string {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
}
