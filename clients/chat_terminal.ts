/** A terminal with a line being typed at its foot and text running above it. */

import process from "node:process";
import readline from "node:readline";
import { Writable } from "node:stream";

/** Answers typed at the terminal; undefined is Ctrl-D: no answer. */
export type Answer = string | undefined;

/** What somebody does while no question is open. */
export interface TerminalEvents {
  /** A line was typed. */
  onLine(line: string): void;
  /** Ctrl-D: nothing more will be typed. */
  onEnd(): void;
  /** Ctrl-C. */
  onInterrupt(): void;
}

/** Standard input and output of somebody who types. */
export class ChatTerminal {
  readonly #interface: readline.Interface;
  readonly #events: TerminalEvents;
  /** What is typed is not shown: a password. */
  #isSecret = false;
  #question: ((answer: Answer) => void) | undefined;
  #isClosed = false;
  #hasPrompt = false;

  constructor(events: TerminalEvents) {
    this.#events = events;
    const output = new Writable({
      write: (chunk: Uint8Array, _encoding, done) => {
        if (!this.#isSecret) process.stdout.write(chunk);
        done();
      },
    });
    // The line editor wraps where the terminal does.
    Object.defineProperty(output, "columns", {
      get: () => process.stdout.columns,
    });
    this.#interface = readline.createInterface({
      input: process.stdin,
      output,
      terminal: true,
      historySize: 200,
    });
    this.#interface.on("line", (line) => this.#line(line));
    this.#interface.on("SIGINT", () => events.onInterrupt());
    this.#interface.on("close", () => this.#closed());
  }

  /** Shows a line above what is being typed. */
  print(text: string): void {
    if (!this.#hasPrompt || this.#isClosed) {
      process.stdout.write(`${text}\n`);
      return;
    }
    process.stdout.write(`\r\x1b[K${text}\n`);
    if (!this.#isSecret) this.#interface.prompt(true);
  }

  /** Waits for lines from now on. */
  prompt(text: string): void {
    this.#interface.setPrompt(text);
    this.#hasPrompt = true;
    if (!this.#isClosed) this.#interface.prompt(true);
  }

  /** Asks for one line. */
  ask(question: string): Promise<Answer> {
    return this.#ask(question);
  }

  /** Asks for one line that is not shown while it is typed. */
  async askSecret(question: string): Promise<Answer> {
    process.stdout.write(question);
    this.#isSecret = true;
    try {
      return await this.#ask("");
    } finally {
      this.#isSecret = false;
      process.stdout.write("\n");
    }
  }

  /** Gives the terminal back as it was. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#hasPrompt) process.stdout.write("\r\x1b[K");
    this.#interface.close();
  }

  #ask(question: string): Promise<Answer> {
    if (this.#isClosed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#question = resolve;
      this.#interface.setPrompt(question);
      this.#interface.prompt();
    });
  }

  #line(line: string): void {
    const question = this.#question;
    if (question === undefined) {
      this.#events.onLine(line);
      if (this.#hasPrompt && !this.#isClosed) this.#interface.prompt();
      return;
    }
    this.#question = undefined;
    if (this.#isSecret) this.#forget();
    question(line);
  }

  /** A password belongs into no history. */
  #forget(): void {
    const { history } = this.#interface as { history?: string[] };
    history?.shift();
  }

  #closed(): void {
    const wasClosed = this.#isClosed;
    this.#isClosed = true;
    // What comes next, a shell's prompt, begins a line. A secret ends its own.
    if (this.#question !== undefined && !this.#isSecret) {
      process.stdout.write("\n");
    }
    this.#question?.(undefined);
    this.#question = undefined;
    if (!wasClosed) this.#events.onEnd();
  }
}
