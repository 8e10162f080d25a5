/** Where a launcher prints: whole lines, one after the other. */

/** Lines from several sources, on one output. */
export interface Line {
  /** Whose line it is; without it, the launcher's own. */
  readonly from?: string;
  /** Printable, without a newline. */
  readonly text: string;
}

/** Where the lines end up; resolves when all bytes are taken. */
export type Sink = (bytes: Uint8Array) => Promise<void>;

const COLOURS = [36, 33, 32, 35, 34, 31]; // ANSI foreground, told apart easily

/** Prints lines, each after its source's name, never one inside another. */
export class Screen {
  readonly #sink: Sink;
  readonly #names: readonly string[];
  readonly #colours: boolean;
  readonly #encoder = new TextEncoder();
  readonly #broken = Promise.withResolvers<unknown>();
  #isBroken = false;
  #last: Promise<void> = Promise.resolve();

  constructor(
    options: {
      readonly sink: Sink;
      /** All sources, for the width of the names and their colours. */
      readonly names: readonly string[];
      readonly colours: boolean;
    },
  ) {
    this.#sink = options.sink;
    this.#names = options.names;
    this.#colours = options.colours;
  }

  /** Resolves with the error when the output takes no more: its reader has gone. */
  get broken(): Promise<unknown> {
    return this.#broken.promise;
  }

  /** Prints after what was printed before; resolves when it is out, or when nobody reads. */
  print(lines: readonly Line[]): Promise<void> {
    if (lines.length === 0 || this.#isBroken) return this.#last;
    const text = lines.map((line) => this.#prefix(line) + line.text + "\n");
    const bytes = this.#encoder.encode(text.join(""));
    this.#last = this.#last.then(() => this.#write(bytes));
    return this.#last;
  }

  /** Prints lines of the launcher itself. */
  say(...texts: readonly string[]): Promise<void> {
    return this.print(texts.map((text) => ({ text })));
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#isBroken) return;
    try {
      await this.#sink(bytes);
    } catch (error) {
      // The nodes' output is still drained, so that they can end in order.
      this.#isBroken = true;
      this.#broken.resolve(error);
    }
  }

  #prefix({ from }: Line): string {
    if (from === undefined) return "";
    const width = Math.max(...this.#names.map((name) => name.length));
    const prefix = `${from.padEnd(width)} |`;
    if (!this.#colours) return `${prefix} `;
    const colour = COLOURS[this.#names.indexOf(from) % COLOURS.length];
    return `\x1b[${colour}m${prefix}\x1b[0m `;
  }
}

/** Standard output as a sink. */
export async function standardOutput(bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    written += await Deno.stdout.write(bytes.subarray(written));
  }
}
