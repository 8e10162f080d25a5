/** Text from elsewhere, made safe to show: on terminals, in logs, in errors. */

// C0, DEL and C1 (`Cc`); the Arabic letter mark; left-to-right and
// right-to-left marks; line and paragraph separators with the embeddings and
// overrides behind them; the isolates and the deprecated format controls.
const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f]/u;
const UNSAFE_ALL = new RegExp(UNSAFE, "gu");

const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ["\t", "\\t"],
  ["\n", "\\n"],
  ["\r", "\\r"],
]);

/**
 * Writes out every character that could end a line, move a cursor, start an
 * escape sequence or turn the reading direction, so that text from elsewhere
 * can neither forge a line nor hide a part of one.
 *
 * @returns The same string when it is clean; else `\n`, `\t`, `\r`, `\x1b`
 *   or `\u2028` in place of each such character. A backslash stays as it is:
 *   this is for people to read, not to be undone.
 */
export function escapeText(text: string): string {
  if (!UNSAFE.test(text)) return text;
  return text.replace(UNSAFE_ALL, escapeCharacter);
}

/**
 * The same for JSON that is already written: what `JSON.stringify` leaves
 * inside its strings (DEL, C1, U+2028, bidi controls) becomes `\u` escapes, so
 * that the value stays the same.
 */
export function escapeJson(json: string): string {
  if (!UNSAFE.test(json)) return json;
  return json.replace(UNSAFE_ALL, escapeUnicode);
}

/**
 * Keeps the first characters of a long text and says how many were cut.
 *
 * @param charactersMax UTF-16 units kept; a surrogate pair is not split.
 */
export function cutText(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text;
  const last = text.charCodeAt(charactersMax - 1);
  const kept = last >= 0xd800 && last <= 0xdbff
    ? charactersMax - 1
    : charactersMax;
  return `${text.slice(0, kept)}… (${text.length - kept} more characters)`;
}

function escapeCharacter(character: string): string {
  const short = SHORT_ESCAPES.get(character);
  if (short !== undefined) return short;
  const code = character.charCodeAt(0);
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, "0")}`
    : escapeUnicode(character);
}

function escapeUnicode(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
