/** What became of a command: a code and at most one number, the same on all servers. */

/**
 * Every code of a {@linkcode Result}. Their order is part of the files and of
 * the state's hash: only ever add at the end, 16 at most.
 */
export const RESULT_CODES = [
  /** It took effect. `value` is said at each command. */
  "ok",
  /** The bytes are no command that this version knows; nothing happened. */
  "invalid",
  /** Another account has the name. */
  "user-exists",
  /** There is no such account, or it is not the one that was meant. */
  "unknown-user",
  /** At the bound of accounts. */
  "too-many-users",
  /** At the bound of sessions: try again later. */
  "too-many-sessions",
  /** The session was never opened, or has ended: log in again. */
  "no-session",
  /** A command before this one is missing; `value` is the sequence wanted. Not stored. */
  "gap",
  /** Executed so long ago that its result is forgotten; it took effect once. */
  "stale",
  /** It waited too long to be committed, see `SEEN_ENTRIES_MAX`: make it anew. */
  "late",
] as const;

/** One of {@linkcode RESULT_CODES}. */
export type ResultCode = (typeof RESULT_CODES)[number];

/** What became of a command. */
export interface Result {
  readonly code: ResultCode;
  /** 0 to 2^49 - 1; 0 where the code or the command gives it no meaning. */
  readonly value: number;
}

/** Values are below this, so that code and value fit into one exact number. */
const VALUE_LIMIT = 2 ** 49;

const CODE_NUMBERS = Object.fromEntries(
  RESULT_CODES.map((code, number) => [code, number]),
) as Readonly<Record<ResultCode, number>>;

/** A code's place in {@linkcode RESULT_CODES}. */
export function codeNumber(code: ResultCode): number {
  return CODE_NUMBERS[code];
}

/** Code and value in one whole number below 2^53, as sessions keep them. */
export function packResult({ code, value }: Result): number {
  if (value >= VALUE_LIMIT) {
    throw new Error(`Value ${value} of a result is not below ${VALUE_LIMIT}`);
  }
  return value * 16 + CODE_NUMBERS[code];
}

/** @returns `undefined` if the number is none that {@linkcode packResult} makes. */
export function unpackResult(packed: number): Result | undefined {
  if (!Number.isSafeInteger(packed) || packed < 0) return undefined;
  const code = RESULT_CODES.at(packed % 16);
  if (code === undefined) return undefined;
  return { code, value: Math.floor(packed / 16) };
}
