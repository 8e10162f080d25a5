/** A process that a bench started. */

/** Lines of its standard error that are kept for error messages. */
const LAST_LINES_MAX = 10;

/** How a child is started. */
export interface ChildOptions {
  readonly args: readonly string[];
  readonly cwd: string;
  /** Read what it prints through {@linkcode Child.stdout}; else it goes nowhere. */
  readonly isRead: boolean;
}

/** Runs until it ends by itself or is ended; never outlives {@linkcode end}. */
export class Child {
  readonly pid: number;
  readonly #command: string;
  readonly #child: Deno.ChildProcess;
  readonly #lastLines: string[] = [];
  #awaited: {
    readonly pattern: RegExp;
    found(match: RegExpExecArray): void;
  }[] = [];
  readonly #read: Promise<void>;
  #hasEnded = false;
  #ending: Promise<void> | undefined;

  /** @throws {Deno.errors.NotFound} When there is no such program. */
  constructor(command: string, options: ChildOptions) {
    this.#command = command;
    this.#child = new Deno.Command(command, {
      args: [...options.args],
      cwd: options.cwd,
      env: environment(),
      clearEnv: true,
      // Never written to: some children end when it closes, which it does
      // however the bench ends.
      stdin: "piped",
      stdout: options.isRead ? "piped" : "null",
      stderr: "piped",
      // A terminal's Ctrl-C reaches the bench alone, which then ends them.
      detached: true,
    }).spawn();
    this.pid = this.#child.pid;
    this.#read = this.#readErrors();
  }

  /** What it prints; only if it was started with `isRead`. */
  get stdout(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#child.stdout;
  }

  /**
   * Waits for a line on its standard error.
   *
   * @throws {Error} When the child ends first, or after `waitMs`.
   */
  async said(pattern: RegExp, waitMs: number): Promise<RegExpExecArray> {
    for (const line of this.#lastLines) {
      const match = pattern.exec(line);
      if (match !== null) return match;
    }
    const { promise, resolve } = Promise.withResolvers<RegExpExecArray>();
    this.#awaited.push({ pattern, found: resolve });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const fail = (what: string) => reject(new Error(this.#describe(what)));
      timer = setTimeout(() => fail(`did not say ${pattern}`), waitMs);
      void this.#read.then(() => fail(`ended before it said ${pattern}`));
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a signal if it still runs. */
  kill(signal: Deno.Signal): void {
    if (this.#hasEnded) return;
    try {
      this.#child.kill(signal);
    } catch (error) {
      // Ended, and its exit is not reported yet.
      if (error instanceof Deno.errors.NotFound) return;
      if (error instanceof TypeError) return;
      throw error;
    }
  }

  /** Ends it at once; resolves when it is gone. May be called again. */
  end(): Promise<void> {
    return this.#ending ??= this.#end();
  }

  async #end(): Promise<void> {
    this.#killAll();
    await this.#child.status;
    this.#hasEnded = true;
    await this.#read;
    await this.#child.stdin.close();
  }

  /** Ends also what it started: it leads a group of its own. */
  #killAll(): void {
    if (Deno.build.os === "windows") return this.kill("SIGKILL");
    try {
      Deno.kill(-this.pid, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  #describe(what: string): string {
    const last = this.#lastLines.length === 0
      ? ""
      : `; it said last: ${this.#lastLines.join(" | ")}`;
    return `"${this.#command}" ${what}${last}`;
  }

  async #readErrors(): Promise<void> {
    const decoder = new TextDecoder();
    let kept = "";
    for await (const chunk of this.#child.stderr) {
      const lines = (kept + decoder.decode(chunk, { stream: true })).split(
        "\n",
      );
      kept = lines.pop() ?? "";
      for (const line of lines) this.#hear(line);
    }
    if (kept !== "") this.#hear(kept);
  }

  #hear(line: string): void {
    this.#lastLines.push(line);
    if (this.#lastLines.length > LAST_LINES_MAX) this.#lastLines.shift();
    this.#awaited = this.#awaited.filter(({ pattern, found }) => {
      const match = pattern.exec(line);
      if (match === null) return true;
      found(match);
      return false;
    });
  }
}

/** This process's environment without what would configure a node. */
function environment(): Record<string, string> {
  const all = Object.entries(Deno.env.toObject());
  return Object.fromEntries(
    all.filter(([name]) => !name.startsWith("SKEIN_")),
  );
}
