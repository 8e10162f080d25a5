/** A line's beginning up to its value: blanks, perhaps `export`, a name, `=`. */
const ASSIGNMENT =
  /^[^\S\n]*(?:export[^\S\n]+)?(?<name>[^\s=#]+)[^\S\n]*=[^\S\n]*/gm;

/** A name a shell takes. */
const NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** What a backslash and a letter stand for in double quotes. */
const ESCAPED: ReadonlyMap<string, string> = new Map([
  ["\\n", "\n"],
  ["\\r", "\r"],
  ["\\t", "\t"],
]);

/**
 * Reads the text of a `.env` file: `NAME=value` lines, `#` comments, `export`
 * before a name. A bare value ends at a `#` or its line's end and is trimmed. One
 * in single or double quotes ends at the next such quote, lines later perhaps;
 * one line break next to either quote is dropped, and in double quotes `\n`,
 * `\r` and `\t` are a line break, a carriage return and a tab. Of two lines for
 * one name the later counts. Any other line is passed over; a name that no shell
 * takes is dropped with a warning.
 *
 * The real package puts a variable's value in place of `$NAME`, `${NAME}` and
 * `${NAME:-value}` in a bare value; here they stay as they are. In quotes they
 * stay in both. `parseEnv` of `node:util` is not underneath: to it the value of
 * `A= ` is the next line, and a comment after blanks may be an assignment.
 *
 * @returns The values by name.
 */
export function parse(text: string): Record<string, string> {
  const values: Record<string, string> = {};
  const assignment = new RegExp(ASSIGNMENT);
  for (;;) {
    const name = assignment.exec(text)?.groups?.name;
    if (name === undefined) return values;
    const { value, end } = valueAt(text, assignment.lastIndex);
    assignment.lastIndex = end;
    if (isName(name)) values[name] = value;
  }
}

/** Reads the value that starts at an index; what its line has left is no value. */
function valueAt(text: string, start: number): { value: string; end: number } {
  const quote = text.charAt(start);
  const close = text.indexOf(quote, start + 1);
  if ((quote !== "'" && quote !== '"') || close === -1) {
    const found = text.indexOf("\n", start);
    const end = found === -1 ? text.length : found;
    return { value: text.slice(start, end).replace(/#.*/s, "").trim(), end };
  }
  const inside = text.slice(start + 1, close).replace(/^\r?\n|\r?\n$/g, "");
  const value = quote === "'"
    ? inside
    : inside.replace(/\\[nrt]/g, (found) => ESCAPED.get(found) ?? found);
  return { value, end: close + 1 };
}

function isName(name: string): boolean {
  if (NAME.test(name)) return true;
  // The signature leaves no other way to be heard; the real one does so too.
  console.warn(`Ignored the name "${name}": it has to match ${NAME}`);
  return false;
}
