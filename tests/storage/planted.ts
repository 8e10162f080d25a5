/** Storage with a bug planted into it, to see the checkers fail. */

/** One place in the source, which must occur exactly once, and what to put there. */
export interface Planted {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/**
 * Copies `storage/` to a directory of its own, with the bug in it.
 *
 * @returns The directory, to be removed by the caller.
 * @throws {Error} The place is not there, or there are several.
 */
export function plant(bug: Planted): string {
  const source = new URL("../../storage/", import.meta.url);
  const directory = Deno.makeTempDirSync({ prefix: "planted_" });
  for (const { name } of Deno.readDirSync(source)) {
    if (!name.endsWith(".ts")) continue;
    const text = Deno.readTextFileSync(new URL(name, source));
    const planted = name === bug.file ? mutate(text, bug) : text;
    Deno.writeTextFileSync(`${directory}/${name}`, planted);
  }
  return directory;
}

function mutate(text: string, bug: Planted): string {
  const parts = text.split(bug.find);
  if (parts.length !== 2) {
    throw new Error(
      `"${bug.find}" is ${parts.length - 1} times in ${bug.file}, wanted once`,
    );
  }
  return parts.join(bug.replace);
}
