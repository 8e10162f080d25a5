/** What can go wrong between a node and its disk, by code. */

/** Every code of a {@linkcode StorageError}, and what is to be done about it. */
export const STORAGE_CODES = {
  /** Another process uses the directory: stop it, or choose another directory. */
  "locked": "Refuse to start",
  /** The file or directory cannot be opened, made or read; the cause says why. */
  "open-failed": "Refuse to start",
  /** The file is of another kind, of another format version, or not Skein's. */
  "wrong-format": "Refuse to start",
  /** Bytes that were safely on disk are no longer what they were. */
  "damaged": "Refuse to start, or repair from a peer",
  /** A write or a sync failed: nothing newer than the last sync is certain. */
  "write-failed": "Exit non-zero at once; never retry",
} as const;

/** One of {@linkcode STORAGE_CODES}. */
export type StorageCode = keyof typeof STORAGE_CODES;

/** Which file or directory, where in it, and why. */
export interface StorageErrorOptions extends ErrorOptions {
  readonly path: string;
  /** Byte position in the file, from 0. */
  readonly position?: number;
}

/** The disk, or what is on it, is not as it must be. The message is for an operator. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageCode;
  /** The file or directory that this is about. */
  readonly path: string;
  /** Where in the file, in bytes from 0; only for `damaged`. */
  readonly position: number | undefined;

  constructor(
    code: StorageCode,
    message: string,
    options: StorageErrorOptions,
  ) {
    super(message, options);
    this.code = code;
    this.path = options.path;
    this.position = options.position;
  }
}

/** The text of whatever was thrown, for the end of a message. */
export function causeText(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
