/** Files that are read whole at the start: `.env`, keys. */

/** A small file's bytes, and who may read them. */
export interface SmallFile {
  readonly bytes: Uint8Array;
  /** Whether every user of this machine may read it; false where unknown. */
  readonly isReadableByAll: boolean;
}

/**
 * Reads a file whole.
 *
 * @throws {RangeError} When it cannot be read or is larger than `bytesMax`;
 *   `cause` has the system's error (`Deno.errors.NotFound` and so on).
 */
export function readSmallFile(
  path: string,
  options: { bytesMax: number },
): SmallFile {
  try {
    using file = Deno.openSync(path);
    const { mode } = file.statSync();
    // One more than allowed: a pipe or device does not tell its length.
    const buffer = new Uint8Array(options.bytesMax + 1);
    let length = 0;
    while (length < buffer.length) {
      const count = file.readSync(buffer.subarray(length));
      if (count === null) break;
      length += count;
    }
    if (length > options.bytesMax) {
      throw new RangeError(`it is larger than ${options.bytesMax} bytes`);
    }
    return {
      bytes: buffer.slice(0, length),
      isReadableByAll: mode !== null && (mode & 0o004) !== 0,
    };
  } catch (error) {
    throw new RangeError(`Cannot read "${path}": ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  if (error instanceof Deno.errors.PermissionDenied) return "not permitted";
  if (error instanceof Deno.errors.NotCapable) return "not permitted";
  if (error instanceof Deno.errors.IsADirectory) return "it is a directory";
  return error instanceof Error ? error.message : String(error);
}
