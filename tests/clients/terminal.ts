/** A program with a terminal of its own, as somebody who types has it. */

import { RunningProcess } from "../process/running_process.ts";

const SCRIPT_MISSING = scriptMissing();

/** A program on a terminal of its own: what is fed to it is typed. */
export class Terminal extends RunningProcess {
  constructor(
    command: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ) {
    const quoted = command.map((word) => `'${word}'`);
    super({
      name: "terminal",
      command: ["script", "-qefc", `exec ${quoted.join(" ")}`, "/dev/null"],
      folder: "/",
      environment: { TERM: "xterm", ...environment },
    });
  }

  /** Waits until the screen was sent something since the last time, and types. */
  async types(text: string, after: RegExp): Promise<void> {
    await this.shows(after);
    await this.feed(new TextEncoder().encode(text));
  }

  /** Waits until the screen was sent that since the last time. */
  async shows(pattern: RegExp): Promise<void> {
    await this.until(`the screen shows ${pattern}`, () => {
      const rest = this.outputText().slice(this.#seen);
      const match = pattern.exec(rest);
      if (match === null) return false;
      this.#seen += match.index + match[0].length;
      return true;
    }).catch((error) => {
      throw new Error(`${error.message}\n${this.outputText()}`);
    });
  }
  #seen = 0;
}

/** A test that needs a terminal; else it says why it is left out. */
export function terminalTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: SCRIPT_MISSING === undefined
      ? name
      : `${name} (skipped: ${SCRIPT_MISSING})`,
    ignore: SCRIPT_MISSING !== undefined,
    fn,
  });
}

function scriptMissing(): string | undefined {
  try {
    const { success } = new Deno.Command("script", {
      args: ["-qec", "true", "/dev/null"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).outputSync();
    return success ? undefined : "script does not work";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "script is missing";
    throw error;
  }
}
