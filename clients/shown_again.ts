/** Output of a command that shows something once, or every second until it is stopped. */

const EVERY_MS = 1_000;

/** What is shown at one time. */
export interface Shown {
  readonly lines: readonly string[];
  /** The exit code if nothing were shown after it. */
  readonly code: number;
}

/** How it is shown. */
export interface ShownAgainOptions {
  /** Lines for programs: nothing is drawn over. */
  readonly json: boolean;
}

/**
 * Shows what `next` gives, again and again, until Ctrl-C.
 *
 * @returns The exit code of what was shown last.
 */
export async function showAgain(
  next: () => Promise<Shown>,
  { json }: ShownAgainOptions,
): Promise<number> {
  const stop = Promise.withResolvers<"stop">();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    if (Deno.build.os === "windows" && signal === "SIGTERM") continue;
    Deno.addSignalListener(signal, () => stop.resolve("stop"));
  }
  const redraws = Deno.stdout.isTerminal() && !json;
  if (redraws) print("\x1b[2J", "");
  let code = 1;
  for (;;) {
    const due = new Promise<void>((resolve) => setTimeout(resolve, EVERY_MS));
    const shown = await Promise.race([next(), stop.promise]);
    if (shown === "stop") return code;
    code = shown.code;
    if (redraws) {
      // As logs say it, wherever this runs: 22:35:03.
      const at = new Date().toTimeString().slice(0, 8);
      // Over what stands there: to clear it all first would flicker.
      const lines = [...shown.lines, "", `${at}, Ctrl-C ends this`]
        .map((line) => `${line}\x1b[K\n`).join("");
      print(`\x1b[H${lines}\x1b[J`, "");
    } else print(shown.lines.join("\n"), json ? "\n" : "\n\n");
    if (await Promise.race([due, stop.promise]) === "stop") return code;
  }
}

/** Writes to standard output, whole; a reader that has gone ends the process. */
export function print(text: string, end = "\n"): void {
  const bytes = new TextEncoder().encode(`${text}${end}`);
  try {
    for (let at = 0; at < bytes.length;) {
      at += Deno.stdout.writeSync(bytes.subarray(at));
    }
  } catch (error) {
    // Whoever read it (`--watch | head`) has seen enough.
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(0);
    throw error;
  }
}
