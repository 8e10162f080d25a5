/** Whether this process may open more files: a crowd must not take those of the disk. */

/** Always there, and no bytes. */
const FILE = Deno.build.os === "windows" ? "NUL" : "/dev/null";

/**
 * Whether so many further descriptors can be had just now: tries it, about 5 us
 * each. (The limit itself, `ulimit -n`, may be read by privileged programs only.)
 *
 * @returns True where that cannot be found out.
 */
export function areFilesFree(count: number): boolean {
  const files: Deno.FsFile[] = [];
  try {
    while (files.length < count) files.push(Deno.openSync(FILE));
    return true;
  } catch (error) {
    return !isTooMany(error);
  } finally {
    for (const file of files) file.close();
  }
}

/** EMFILE, or ENFILE of the whole system. */
function isTooMany(error: unknown): boolean {
  return error instanceof Error &&
    /too many open files|file table overflow/i.test(error.message);
}
