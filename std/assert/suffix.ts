/**
 * Ends a failure's message with the caller's words, as all of `@std/assert` does.
 *
 * @returns `: ` and the words, or a full stop where there are none.
 */
export function suffix(words: string | undefined): string {
  return words ? `: ${words}` : ".";
}
