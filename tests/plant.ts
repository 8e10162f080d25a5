/** Bugs planted into a copy of the source, to see the checkers fail. */

/** One place in the source, which must occur exactly once, and what to put there. */
export interface Planted {
  /** From the top of the repository, with slashes. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/**
 * Copies folders of the repository to a directory of their own, with the bug
 * in it; some need several places.
 *
 * @returns The directory, to be removed by the caller.
 * @throws {Error} The place is not there, or there are several.
 */
export function plant(
  folders: readonly string[],
  bug: Planted | readonly Planted[],
): string {
  const bugs = "file" in bug ? [bug] : bug;
  const directory = Deno.makeTempDirSync({ prefix: "planted_" });
  const planted = new Set<Planted>();
  const copy = (path: string) => {
    const source = new URL(`../${path}`, import.meta.url);
    Deno.mkdirSync(`${directory}/${path}`, { recursive: true });
    for (
      const { name, isDirectory } of Deno.readDirSync(new URL(`${source}/`))
    ) {
      if (isDirectory) {
        copy(`${path}/${name}`);
        continue;
      }
      if (!name.endsWith(".ts")) continue;
      const file = `${path}/${name}`;
      const text = Deno.readTextFileSync(
        new URL(`../${file}`, import.meta.url),
      );
      const here = bugs.filter((bug) => bug.file === file);
      for (const bug of here) planted.add(bug);
      Deno.writeTextFileSync(`${directory}/${file}`, here.reduce(mutate, text));
    }
  };
  try {
    for (const folder of folders) copy(folder);
    for (const bug of bugs) {
      if (!planted.has(bug)) throw new Error(`There is no file ${bug.file}`);
    }
  } catch (error) {
    Deno.removeSync(directory, { recursive: true });
    throw error;
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
