/** What Skein uses of `@std/dotenv`: see `std/README.md`. */
import { parse } from "./parse.ts";

export { parse } from "./parse.ts";

/** Which file to load and where its values go. */
export interface LoadOptions {
  /** The file; ".env" in the working directory by default; none if null. */
  envPath?: string | URL | null;
  /** Whether to set the values in the process's environment too; no by default. */
  export?: boolean;
}

/**
 * Reads a `.env` file: see {@linkcode parse}. With `export`, sets each variable
 * the environment does not have yet.
 *
 * @returns The file's values, the environment notwithstanding; none without a file.
 * @throws {Deno.errors.NotCapable} Without the permission to read the file, or,
 * with `export`, to use the environment.
 * @throws Whatever else reading a file can fail with.
 */
export async function load(
  options: LoadOptions = {},
): Promise<Record<string, string>> {
  const { envPath = ".env" } = options;
  if (!envPath) return {};
  try {
    return loaded(await Deno.readTextFile(envPath), options);
  } catch (error) {
    return withoutFile(error);
  }
}

/** Like {@linkcode load}, but blocks until the file is read. */
export function loadSync(options: LoadOptions = {}): Record<string, string> {
  const { envPath = ".env" } = options;
  if (!envPath) return {};
  try {
    return loaded(Deno.readTextFileSync(envPath), options);
  } catch (error) {
    return withoutFile(error);
  }
}

function loaded(text: string, options: LoadOptions): Record<string, string> {
  const values = parse(text);
  if (!options.export) return values;
  for (const [name, value] of Object.entries(values)) {
    if (Deno.env.get(name) === undefined) Deno.env.set(name, value);
  }
  return values;
}

/** A file that is not there is an empty one. */
function withoutFile(error: unknown): Record<string, string> {
  if (error instanceof Deno.errors.NotFound) return {};
  throw error;
}
