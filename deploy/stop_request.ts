/** Signals that ask a launcher to stop: once in order, twice at once. */

const SIGNALS: readonly Deno.Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"];
/**
 * One Ctrl-C may arrive more than once: from the terminal, and again from the
 * programs that started us and pass it on. A person's second takes longer.
 */
const SAME_REQUEST_MS = 400;

/** Listens for the signals until closed. */
export class StopRequest {
  readonly #stop = Promise.withResolvers<Deno.Signal>();
  readonly #kill = Promise.withResolvers<Deno.Signal>();
  readonly #listeners = SIGNALS.map((name) =>
    [name, () => this.#on(name)] as const
  );
  #firstMs: number | undefined;

  constructor() {
    for (const listener of this.#listeners) {
      Deno.addSignalListener(...listener);
    }
  }

  /** Resolves at the first signal. */
  get stop(): Promise<Deno.Signal> {
    return this.#stop.promise;
  }

  /** Resolves at the second signal. */
  get kill(): Promise<Deno.Signal> {
    return this.#kill.promise;
  }

  /** Gives the signals their usual meaning again. */
  close(): void {
    for (const listener of this.#listeners) {
      Deno.removeSignalListener(...listener);
    }
  }

  #on(name: Deno.Signal): void {
    const nowMs = performance.now();
    this.#firstMs ??= nowMs;
    this.#stop.resolve(name);
    if (nowMs - this.#firstMs > SAME_REQUEST_MS) this.#kill.resolve(name);
  }
}
