/** Flags of the tasks in this folder: help, and one line for a wrong one. */

import { runParserSync } from "@optique/core/facade";
import type { Message } from "@optique/core/message";
import type { Parser } from "@optique/core/parser";

/** What a task's help says besides its flags. */
export interface TaskPage {
  /** As people type it: `deno task NAME`. */
  readonly program: string;
  readonly brief: Message;
  readonly description?: Message;
  readonly examples: Message;
}

const WRONG_FLAG_EXIT = 2;

/** Reads the flags of this process; ends it after help (0) or an error (2). */
export function taskFlags<T>(
  parser: Parser<"sync", T, unknown>,
  { program, ...page }: TaskPage,
): T {
  return runParserSync(parser, program, Deno.args, {
    ...page,
    help: { option: true, onShow: () => Deno.exit(0) },
    showChoices: true,
    aboveError: "none",
    stdout: (text) => console.log(text),
    stderr: (text) => console.error(text.trim().replaceAll(/\s+/g, " ")),
    onError: () => Deno.exit(WRONG_FLAG_EXIT),
  });
}
